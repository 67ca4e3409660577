"""What a terminal would obey instead of showing it."""

from __future__ import annotations

import unicodedata


def shown(text: str) -> str:
    """A text with U+FFFD for each control character, those that break lines among them.

    For a terminal alone: a file gets every text as it is.
    """
    return "".join("\ufffd" if unicodedata.category(c) == "Cc" else c for c in text)
