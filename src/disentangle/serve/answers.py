"""Answers, and problems as Annif tells of them: `application/problem+json` of RFC 9457."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from ..html import serve_page


@dataclass(frozen=True)
class Answer:
    """What is sent back.

    Attributes
    ----------
    body : bytes
    kind : str
        Media type.
    status : int
    headers : tuple of pairs of str
        Beside those that every answer has.
    """

    body: bytes
    kind: str
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()

    def lines(self) -> list[tuple[bytes, bytes]]:
        """All headers, as ASGI has them."""
        every = {
            "content-type": self.kind,
            "content-length": str(len(self.body)),
            "content-security-policy": serve_page.POLICY,
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
            "cache-control": "no-store",
        }
        return [(name.encode(), value.encode()) for name, value in (*every.items(), *self.headers)]


def of_json(said: Any) -> Answer:
    """JSON in ASCII: a client's own words, which may hold half of a character, come back as they came."""
    return Answer(json.dumps(said, allow_nan=False).encode(), "application/json")


class Problem(Exception):
    """A request that is not answered.

    Parameters
    ----------
    status : int
    detail : str
        One sentence.
    headers : tuple of pairs of str
    """

    def __init__(self, status: int, detail: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(detail)
        said = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
        self.answer = Answer(json.dumps(said).encode(), "application/problem+json", status, headers)
