"""Addresses that may hold secrets: told apart and joined, and shown without them."""

from __future__ import annotations

import hashlib
import re
from urllib.parse import unquote, urlsplit

from ..errors import DisentangleError

_USER = re.compile(r"^([^/]*//)[^/?#]*@")
# Slow on purpose: a token may be short enough to be guessed.
_ROUNDS = 200_000


def is_url(place: str) -> bool:
    """Whether a place is meant as a URL; it is a folder otherwise."""
    return "://" in place or re.match("https?:", place, re.IGNORECASE) is not None


def check(url: str) -> None:
    """Raise DisentangleError unless it is an http or https URL with a host."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises for what is no port
        is_valid = parts.scheme in ("http", "https") and bool(parts.hostname) and url.isprintable()
    except ValueError:
        is_valid = False
    if not is_valid:
        raise DisentangleError(f"a download must have an http or https URL, got {shown(url)!r}")


def shown(url: str) -> str:
    """A URL for eyes and files: without user name and password, query and fragment.

    Of one that cannot be parsed little is left: the password may be anywhere.
    """
    place = re.split("[?#]", url, maxsplit=1)[0]
    rest = f"{url[len(place)]}..." if len(place) < len(url) else ""
    try:
        parts = urlsplit(url)
        _ = parts.port
        is_clear = bool(parts.netloc)
    except ValueError:
        is_clear = False
    if not is_clear and "@" in url:
        return re.split("[:/]", place)[0] + ":..."
    return bare(place) + rest


def bare(url: str) -> str:
    """A URL without user name and password."""
    return _USER.sub(r"\1", url)


def credentials(url: str) -> tuple[bytes, bytes] | None:
    """User name and password in a URL, as they are sent, or None."""
    parts = urlsplit(url)
    user, password = (unquote(text or "").encode() for text in (parts.username, parts.password))
    return (user, password) if user or password else None


def identity(url: str) -> str:
    """What tells a URL from others in files: no user name, no password, of a query its fingerprint."""
    place, mark, query = bare(url).partition("#")[0].partition("?")
    if not mark:
        return place
    digest = hashlib.pbkdf2_hmac("sha256", query.encode("utf-8", "surrogateescape"), place.encode(), _ROUNDS)
    return f"{place}?{digest.hex()}"


def join(folder: str, file: str) -> str:
    """The URL of a file in a folder, whose query, a token perhaps, it keeps.

    Raises
    ------
    DisentangleError
        If the folder is no http or https URL.
    """
    check(folder)
    place, mark, query = folder.partition("#")[0].partition("?")
    return f"{place.rstrip('/')}/{file}{mark}{query}"
