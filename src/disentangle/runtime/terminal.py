"""Standard output, and what a terminal would obey instead of showing it."""

from __future__ import annotations

import io
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from ..errors import DisentangleError

_BREAKS = ("Cc", "Zl", "Zp")
# Embeddings, overrides and isolates of writing from right to left.
_TURNS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def shown(text: str) -> str:
    """A text with U+FFFD for each control character: those that break lines, or turn what follows round.

    For a terminal alone: a file gets every text as it is.
    """
    return "".join("\ufffd" if unicodedata.category(c) in _BREAKS or c in _TURNS else c for c in text)


def is_terminal() -> bool:
    """Whether standard output is one."""
    return sys.stdout is not None and sys.stdout.isatty()


@contextmanager
def standard_output() -> Iterator[TextIO]:
    """Standard output, in UTF-8 where it is no terminal: what reads it need not know this place's locale."""
    if sys.stdout is None:
        raise DisentangleError("standard output is closed: name a file with --out")
    if isinstance(sys.stdout, io.TextIOWrapper):
        if is_terminal():
            sys.stdout.reconfigure(errors="replace")
        else:
            # Half a surrogate pair, which JSON may hold, is no UTF-8.
            sys.stdout.reconfigure(encoding="utf-8", errors="replace")
    try:
        yield sys.stdout
        sys.stdout.flush()
    except OSError as error:
        # A closed pipe is no error, and what has a name is of another file.
        if isinstance(error, BrokenPipeError) or error.filename is not None:
            raise
        raise DisentangleError(f"cannot write to standard output: {error.strerror}") from error
