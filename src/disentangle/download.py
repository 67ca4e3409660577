"""Fetch a URL to a file: an interrupted download goes on, unless the file has changed meanwhile."""

from __future__ import annotations

import json
import logging
import shutil
import time
from http.client import HTTPException, IncompleteRead, responses
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import requests
from rich.filesize import decimal
from urllib3.exceptions import HTTPError

from . import atomic, progress
from .errors import DisentangleError

logger = logging.getLogger(__name__)

# Attempts in a row that bring nothing new; the waits between them double.
ATTEMPTS = 6
BACKOFF_SECONDS = 1.0
# The longest wait, whatever the server asks for.
MAX_WAIT_SECONDS = 60.0
TIMEOUT_SECONDS = 60.0
# A connection that breaks costs a block at most.
BLOCK_SIZE = 1 << 16

_OK, _PARTIAL, _NO_SUCH_RANGE, _TOO_MANY_REQUESTS = 200, 206, 416, 429
_CUT = "the connection was closed early"


class _Interrupted(Exception):
    """An attempt failed in a way that the next one may not."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


def fetch(url: str, path: Path) -> None:
    """Download a file, and replace the one at `path`, if there is one, once it is whole.

    What has come lies in `path` + ".part" until then, beside ".part.json", which tells the version that
    it belongs to. A later call goes on from there if the server still has that version and says so.

    Parameters
    ----------
    url : str
        An http or https address; redirects are followed.
    path : Path
        In a folder that exists. One call at a time may write there.

    Raises
    ------
    DisentangleError
        If the URL is malformed, the server refuses, the connection keeps failing, space is short or
        the file cannot be written.
    """
    _check(url)
    try:
        _insist(_Download(url, path))
    except OSError as error:
        raise DisentangleError(f"cannot write {error.filename or path}: {error.strerror}") from error


def _check(url: str) -> None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises for what is no port
        valid = parts.scheme in ("http", "https") and parts.hostname and url.isprintable()
    except ValueError:
        valid = False
    if not valid:
        raise DisentangleError(f"a download must have an http or https URL, got {url!r}")


def _insist(download: _Download) -> None:
    """Try again as long as something new comes, and a few times when nothing does."""
    failures, furthest = 0, download.done
    while True:
        try:
            return download.attempt()
        except _Interrupted as interruption:
            failures = 1 if download.done > furthest else failures + 1
            furthest = max(furthest, download.done)
            if failures >= ATTEMPTS:
                raise DisentangleError(
                    f"cannot download {download.url}: {interruption}; {download.advice()}"
                ) from interruption
            wait = interruption.wait or BACKOFF_SECONDS * 2 ** (failures - 1)
            wait = min(wait, MAX_WAIT_SECONDS)
            logger.info("%s: %s; trying again in %g s", download.name, interruption, wait)
            time.sleep(wait)


class _Download:
    """One file on its way.

    Attributes
    ----------
    name : str
        What the log calls it.
    done : int
        Bytes in `part`, of the version that `validator` names; 0 if they cannot be used.
    total : int or None
        Size of that version, if the server told it.
    validator : str or None
        Its strong ETag, else its date. Without one, nothing is ever continued: two versions of a file
        could not be told apart.
    """

    def __init__(self, url: str, path: Path) -> None:
        self.url = url
        self.path = path
        # Hidden files are hidden for as long as they are not whole: no part of what they are called.
        self.name = path.name.removeprefix(".")
        self.part = path.with_name(f"{path.name}.part")
        self._record = path.with_name(f"{path.name}.part.json")
        self.done = 0
        self.total: int | None = None
        self.validator: str | None = None
        self._recall()

    def _recall(self) -> None:
        """Take up what an earlier call left; anything odd about it means to start over."""
        try:
            record = json.loads(self._record.read_text(encoding="utf-8"))
            done = self.part.stat().st_size
        except (OSError, ValueError):
            return
        match record:
            case {"url": self.url, "total": int() | None as total, "validator": str(validator)} if (
                total is None or done <= total
            ):
                self.done, self.total, self.validator = done, total, validator

    def advice(self) -> str:
        """What the user can do after the last attempt."""
        if self.done and self.validator is not None:
            return f"the same command goes on from the {decimal(self.done)} kept in {self.part}"
        return "the same command tries again"

    def attempt(self) -> None:
        """Ask for what is missing, write it, and give the file its name if it is whole.

        Raises
        ------
        _Interrupted
            If another attempt may get further.
        """
        headers = {"Accept-Encoding": "identity"}
        if self.done and self.validator is not None:
            headers |= {"Range": f"bytes={self.done}-", "If-Range": self.validator}
        with _get(self.url, headers) as response:
            status = response.status_code
            if status == _OK:
                self._start_over(response)
                self._receive(response)
            elif status == _PARTIAL and "Range" in headers:
                self._continue(response)
                self._receive(response)
            elif status == _NO_SUCH_RANGE and "Range" in headers:
                self._check_complete(response)
            else:
                raise _failure(self.url, response)
        self.part.replace(self.path)
        self._record.unlink(missing_ok=True)

    def _start_over(self, response: requests.Response) -> None:
        """Empty the part; only then may its record name another version."""
        chunked = "Transfer-Encoding" in response.headers
        total = None if chunked else _number(response.headers.get("Content-Length"))
        size = "size unknown" if total is None else decimal(total)
        logger.info("%s: %s from %s", self.name, size, self.url)
        self.part.write_bytes(b"")
        self.done = 0
        self._remember(total, _validator(response))

    def _continue(self, response: requests.Response) -> None:
        """Make sure that the answer is the rest of the version that is here."""
        unit, _, content = response.headers.get("Content-Range", "").partition(" ")
        span, _, size = content.partition("/")
        first, last = (_number(end) for end in (span.partition("-")[0], span.partition("-")[2]))
        total = self.total if size == "*" else _number(size)
        if (
            unit != "bytes"
            or first != self.done
            or last is None
            or total is None
            or self.total not in (None, total)
            or _number(response.headers.get("Content-Length")) not in (None, last - first + 1)
            or _validator(response) not in (None, self.validator)
        ):
            self._discard(f"the server did not go on at byte {self.done} of the same file")
        logger.info("%s: going on at %s of %s", self.name, decimal(self.done), decimal(total))
        self._remember(total, self.validator)

    def _check_complete(self, response: requests.Response) -> None:
        """There is nothing behind the part: because it is whole, or because the file has changed."""
        size = _number(response.headers.get("Content-Range", "").rpartition("*/")[2])
        known = {size, self.total} - {None}
        if known != {self.done}:
            self._discard(f"the server has nothing behind byte {self.done}")

    def _discard(self, reason: str) -> NoReturn:
        """Let the next attempt start over."""
        self.done = 0
        raise _Interrupted(reason)

    def _remember(self, total: int | None, validator: str | None) -> None:
        """Set and record the version that the part belongs to."""
        self.total, self.validator = total, validator
        atomic.write_json(self._record, {"url": self.url, "total": total, "validator": validator})

    def _receive(self, response: requests.Response) -> None:
        """Append the body to the part."""
        self._check_space()
        with self.part.open("ab") as file, progress.transfer(self.name, self.total, self.done) as advance:
            while block := self._read(response):
                if self.total is not None and self.done + len(block) > self.total:
                    self._discard(f"the server sent more than the {decimal(self.total)} that it announced")
                file.write(block)
                self.done += len(block)
                advance(len(block))
        if self.total is not None and self.done < self.total:
            raise _Interrupted(f"{_CUT} after {decimal(self.done)}")

    def _check_space(self) -> None:
        folder = self.path.parent
        missing = 0 if self.total is None else self.total - self.done
        free = shutil.disk_usage(folder).free
        if missing > free:
            raise DisentangleError(
                f"not enough space in {folder}: {self.name} needs {decimal(missing)}, {decimal(free)} is free"
            )

    def _read(self, response: requests.Response) -> bytes:
        """The next bytes as they were sent, whatever Content-Encoding says."""
        try:
            return response.raw.read(BLOCK_SIZE, decode_content=False)
        except (OSError, HTTPError, HTTPException) as error:
            raise _Interrupted(f"{_reason(error)} after {decimal(self.done)}") from error


def _get(url: str, headers: dict[str, str]) -> requests.Response:
    """Ask; the body of the answer is not read yet."""
    try:
        return requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS)
    except (requests.ConnectionError, requests.Timeout) as error:
        raise _Interrupted(_reason(error)) from error
    except (OSError, ValueError) as error:  # all of requests' own are OSErrors: a bad redirect, for one
        raise DisentangleError(f"cannot download {url}: {_reason(error)}") from error
    except HTTPError as error:  # urllib3's, when the body of a redirect breaks off
        raise _Interrupted(_reason(error)) from error


def _failure(url: str, response: requests.Response) -> Exception:
    """What to raise for an answer without the file."""
    status = response.status_code
    answer = f"the server answered {status} {responses.get(status, '')}".rstrip()
    if status == _TOO_MANY_REQUESTS or status >= 500:
        return _Interrupted(answer, wait=_number(response.headers.get("Retry-After")) or 0)
    return DisentangleError(f"cannot download {url}: {answer}")


def _reason(error: BaseException) -> str:
    """The innermost cause: the libraries wrap it three times, and it is the readable one."""
    while isinstance(inner := error.__cause__ or error.__context__, (OSError, HTTPError, HTTPException)):
        error = inner
    if isinstance(error, IncompleteRead):
        return _CUT
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.splitlines()[0]


def _number(header: str | None) -> int | None:
    """A header's value, if it is a plain number of a sane size."""
    plain = header is not None and len(header) < 19 and header.isascii() and header.isdigit()
    return int(header) if header and plain else None


def _validator(response: requests.Response) -> str | None:
    """What identifies the version sent: its ETag, unless that is a weak one, else its date."""
    etag = response.headers.get("ETag", "")
    found = etag if etag.startswith('"') else response.headers.get("Last-Modified", "")
    return found if found and found.isprintable() else None
