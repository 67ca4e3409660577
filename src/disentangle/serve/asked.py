"""What a request asks for: a form of one text, or JSON of a batch, as Annif's REST API has them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from ..errors import DisentangleError, excerpt
from ..limits import Limits
from ..params import MAX_K

FORM, JSON = "application/x-www-form-urlencoded", "application/json"
MOST_DOCUMENTS = 32
_MOST_FIELDS = 100
_READ = ("text", "limit", "threshold", "language")
_LIMIT, _THRESHOLD = Limits(0), Limits(0.0, 1.0)


class Asked(NamedTuple):
    """Texts to suggest labels for.

    Attributes
    ----------
    texts : list of str
    ids : list of str or None
        What the client calls them.
    limit : int
        Most labels of a text; may be 0.
    threshold : float
        Least score of a label.
    language : str or None
        Of the labels, if the client wants a certain one.
    """

    texts: list[str]
    ids: list[str | None]
    limit: int
    threshold: float
    language: str | None


def of_form(body: bytes, query: bytes) -> Asked:
    """One text, with its limits beside it; other fields, such as metadata, are passed over.

    Raises
    ------
    DisentangleError
        If it is no such form.
    """
    fields = _fields("the body", body)
    if "text" not in fields:
        raise DisentangleError("the body must have a field text, found none")
    return Asked([fields["text"]], [None], *_options(fields))


def of_json(body: bytes, query: bytes) -> Asked:
    """Documents in the body, limits in the query.

    Raises
    ------
    DisentangleError
        If it is no such JSON.
    """
    options = _options(_fields("the query", query))
    try:
        read = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise DisentangleError(f"the body must be JSON: {excerpt(str(error))}") from error
    documents = _of_kind(read, dict, "the body").get("documents")
    n_documents = len(_of_kind(documents, list, "documents"))
    if n_documents > MOST_DOCUMENTS:
        raise DisentangleError(f"documents must be at most {MOST_DOCUMENTS}, got {n_documents}")
    texts, ids = [], []
    for i, document in enumerate(documents):
        said = _of_kind(document, dict, f"documents[{i}]")
        texts.append(_of_kind(said.get("text"), str, f"text of documents[{i}]"))
        name = said.get("document_id")
        ids.append(None if name is None else _of_kind(name, str, f"document_id of documents[{i}]"))
    return Asked(texts, ids, *options)


# How each kind of request is read, and of which kind its body is.
READERS: dict[str, tuple[Callable[[bytes, bytes], Asked], str]] = {
    "suggest": (of_form, FORM),
    "suggest-batch": (of_json, JSON),
}
_KINDS: dict[type, str] = {dict: "an object", list: "a list", str: "a text"}


def _of_kind(value: Any, kind: type, name: str) -> Any:
    if not isinstance(value, kind):
        found = "none" if value is None else type(value).__name__
        raise DisentangleError(f"{name} must be {_KINDS[kind]}, got {found}")
    return value


def _fields(name: str, content: bytes) -> dict[str, str]:
    """Fields of a form, or of a query."""
    try:
        pairs = parse_qsl(
            content.decode("utf-8"), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS
        )
    except ValueError as error:
        raise DisentangleError(f"{name} must be a form in UTF-8: {excerpt(str(error))}") from error
    names = [field for field, _ in pairs]
    if repeated := next((field for field in _READ if names.count(field) > 1), None):
        raise DisentangleError(f"{name} must have {repeated} once, found it more often")
    return dict(pairs)


def _options(fields: Mapping[str, str]) -> tuple[int, float, str | None]:
    """Limit, threshold and language."""
    limit = _number(int, fields.get("limit", MAX_K))
    threshold = _number(float, fields.get("threshold", 0.0))
    _LIMIT.check("limit", limit)
    _THRESHOLD.check("threshold", threshold)
    return limit, threshold, fields.get("language") or None


def _number(kind: type, value: Any) -> Any:
    """A number of its text; what is none stays as it is, to be refused."""
    try:
        return kind(value)
    except ValueError:
        return value
