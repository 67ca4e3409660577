"""JSON lines: an object per instance, its text and the names of its labels; and texts alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..columns import USUAL, Columns
from ..lines import Line, read_lines, write_lines
from .blocks import Block, blocks, checked_names, of_documents
from .part import Part
from .tables import LABELS, TEXT


def read_jsonl(path: Path, columns: Columns = USUAL) -> Iterator[Block]:
    """JSON lines: an object with "text" and a list of "labels", names or numbers that serve as names.

    Raises
    ------
    DisentangleError
        As `read_lines`, and if a line is not of this form.
    """
    text, labels = columns.text or TEXT, columns.labels or LABELS
    return of_documents(_parse_json(line, text, labels) for line in read_lines(path))


def read_texts(path: Path, is_json: bool) -> Iterator[list[str]]:
    """Texts without labels, a line each: the line itself, or an object with a "text".

    Raises
    ------
    DisentangleError
        As `read_lines`, and if a line should be such an object and is not.
    """
    for block in blocks(read_lines(path)):
        if is_json:
            expected = 'an object with a "text"'
            yield [joined_text(line, parse_object(line, expected), TEXT, expected) for line in block]
        else:
            yield [line.text for line in block]


def parse_object(line: Line, expected: str) -> dict[str, Any]:
    """The object of a line, which must be what is `expected`."""
    try:
        value = json.loads(line.text)
    except (ValueError, RecursionError):
        raise line.wrong(expected) from None
    if not isinstance(value, dict):
        raise line.wrong(expected)
    return value


def joined_text(line: Line, value: dict[str, Any], keys: tuple[str, ...], expected: str) -> str:
    """The texts of an object under one key or several, of which at least one must be there."""
    texts = [text for key in keys if (text := value.get(key)) is not None]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise line.wrong(expected)
    return "\n".join(texts)


def _parse_json(line: Line, text: tuple[str, ...], labels: tuple[str, ...]) -> tuple[list[str], str]:
    keys = [f'"{key}": "..."' for key in text] + [f'"{key}": ["...", ...]' for key in labels]
    expected = f"an object {{{', '.join(keys)}}}"
    value = parse_object(line, expected)
    names: list[Any] = []
    for key in labels:
        if not isinstance(own := value.get(key), list):
            raise line.wrong(expected)
        names += own
    if any(type(name) not in (str, int) for name in names):
        raise line.wrong(expected)
    return checked_names(line, list(map(str, names))), joined_text(line, value, text, expected)


def write_jsonl(folder: Path, part: Part) -> None:
    """`PART.jsonl` of `read_jsonl`."""
    rows = zip(part.read_labels(), part.read_texts(), strict=True)
    objects = ({"text": text, "labels": [part.names[i] for i in row]} for row, text in rows)
    write_lines(folder / f"{part.name}.jsonl", (json.dumps(one, ensure_ascii=False) for one in objects))
