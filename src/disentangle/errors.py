"""The one exception for whatever the user can fix, and what else comes of a file that was not checked."""

from __future__ import annotations

_EXCERPT = 200  # characters
# What JSON that another version or nobody's job has written makes of the code that trusts it.
NONSENSE = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)


class DisentangleError(ValueError):
    """A condition the user can fix; its message is one sentence: what, where, expected, found.

    The message is printable whatever it quotes: a server, an archive or a matrix may hold a terminal's
    escape codes.
    """

    def __init__(self, message: object) -> None:
        super().__init__(printable(str(message)))


def printable(text: str) -> str:
    """The text with every control or other invisible character escaped as in `repr`."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def excerpt(text: str) -> str:
    """The printable start of a text that somebody else wrote, and may have written at any length."""
    text = printable(text.strip()[: _EXCERPT + 1])
    return text if len(text) <= _EXCERPT else f"{text[:_EXCERPT]}..."
