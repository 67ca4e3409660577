"""Fetch a URL to a file: an interrupted download goes on, unless the file has changed meanwhile."""

from __future__ import annotations

import json
import logging
import re
import time
from http.client import responses
from pathlib import Path
from typing import NoReturn

from rich.filesize import decimal

from ..errors import DisentangleError
from ..runtime import progress
from ..storage import atomic, space
from . import transport, urls
from .archive import MAX_SIZE
from .transport import Answer, Interrupted

logger = logging.getLogger(__name__)

# Attempts in a row that bring nothing new; the waits between them double.
ATTEMPTS = 6
BACKOFF_SECONDS = 1.0
# The longest wait, whatever the server asks for.
MAX_WAIT_SECONDS = 60.0
# A connection that breaks costs a block at most.
BLOCK_SIZE = 1 << 16

_OK, _PARTIAL, _NO_SUCH_RANGE, _TOO_MANY_REQUESTS = 200, 206, 416, 429
# Sent back to the server, and kept meanwhile in a file that anybody may have changed: a strong ETag, or a
# date; nothing longer than any server has.
_ETAG = re.compile(r'"[\x21\x23-\x7e]{0,250}"')
_DATE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ,:+-]{0,60}")


def fetch(url: str, path: Path) -> None:
    """Download a file, and replace the one at `path`, if there is one, once it is whole.

    What has come lies in `path` + ".part" until then, beside ".part.json", which tells the version that
    it belongs to. A later call goes on from there if the server still has that version and says so.

    Parameters
    ----------
    url : str
        An http or https address; redirects are followed. User name, password and query are sent, but
        neither shown nor kept.
    path : Path
        In a folder that exists. One call at a time may write there.

    Raises
    ------
    DisentangleError
        If the URL is malformed, the server refuses, the connection keeps failing or is too slow, the file
        is larger than `MAX_SIZE`, space is short, or the file cannot be written.
    """
    urls.check(url)
    try:
        _insist(_Download(url, path))
    except OSError as error:
        raise DisentangleError(f"cannot write {error.filename or path}: {error.strerror}") from error


def _insist(download: _Download) -> None:
    """Try again as long as something new comes, and a few times when nothing does."""
    failures, furthest = 0, download.done
    while True:
        try:
            return download.attempt()
        except Interrupted as interruption:
            failures = 1 if download.done > furthest else failures + 1
            furthest = max(furthest, download.done)
            if failures >= ATTEMPTS:
                raise DisentangleError(
                    f"cannot download {download.shown}: {interruption}; {download.give_up()}"
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
    shown : str
        The URL for the user, without secrets.
    done : int
        Bytes in `part`, of the version that `validator` names; 0 if they cannot be used.
    total : int or None
        Size of that version, if the server told it.
    validator : str or None
        Its strong ETag, else its date. Without one, nothing is ever continued: two versions of a file
        could not be told apart.
    """

    def __init__(self, url: str, path: Path) -> None:
        self.shown = urls.shown(url)
        self._url = url
        self._identity = urls.identity(url)
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
        except (OSError, ValueError, RecursionError):
            return
        match record:
            case {"url": self._identity, "total": int() | None as total, "validator": str(validator)} if (
                total is None or done <= total
            ) and (_ETAG.fullmatch(validator) or _DATE.fullmatch(validator)):
                self.done, self.total, self.validator = done, total, validator

    def give_up(self) -> str:
        """Remove what no later call can use; say what the next one will do."""
        if self.done and self.validator is not None:
            return f"the same command goes on from the {decimal(self.done)} kept in {self.part}"
        self._remove()
        return "the same command tries again"

    def _remove(self) -> None:
        for path in (self.part, self._record):
            path.unlink(missing_ok=True)

    def attempt(self) -> None:
        """Ask for what is missing, write it, and give the file its name if it is whole.

        Raises
        ------
        Interrupted
            If another attempt may get further.
        """
        headers = {"Accept-Encoding": "identity"}
        if self.done and self.validator is not None:
            headers |= {"Range": f"bytes={self.done}-", "If-Range": self.validator}
        with transport.get(self._url, headers) as answer:
            if answer.status == _OK:
                self._start_over(answer)
                self._receive(answer)
            elif answer.status == _PARTIAL and "Range" in headers:
                self._continue(answer)
                self._receive(answer)
            elif answer.status == _NO_SUCH_RANGE and "Range" in headers:
                self._check_complete(answer)
            else:
                raise _failure(self.shown, answer)
        self.part.replace(self.path)
        self._record.unlink(missing_ok=True)

    def _start_over(self, answer: Answer) -> None:
        """Empty the part; only then may its record name another version."""
        chunked = "Transfer-Encoding" in answer.headers
        total = None if chunked else _number(answer.headers.get("Content-Length"))
        size = "size unknown" if total is None else decimal(total)
        logger.info("%s: %s from %s", self.name, size, self.shown)
        self.part.write_bytes(b"")
        self.done = 0
        self._remember(total, _validator(answer))

    def _continue(self, answer: Answer) -> None:
        """Make sure that the answer is the rest of the version that is here."""
        unit, _, content = answer.headers.get("Content-Range", "").partition(" ")
        span, _, size = content.partition("/")
        first, last = (_number(end) for end in (span.partition("-")[0], span.partition("-")[2]))
        total = self.total if size == "*" else _number(size)
        if (
            unit != "bytes"
            or first != self.done
            or last is None
            or total is None
            or not first <= last < total
            or self.total not in (None, total)
            or _number(answer.headers.get("Content-Length")) not in (None, last - first + 1)
            or _validator(answer) not in (None, self.validator)
        ):
            self._discard(f"the server did not go on at byte {self.done} of the same file")
        logger.info("%s: going on at %s of %s", self.name, decimal(self.done), decimal(total))
        self._remember(total, self.validator)

    def _check_complete(self, answer: Answer) -> None:
        """There is nothing behind the part: because it is whole, or because the file has changed."""
        size = _number(answer.headers.get("Content-Range", "").rpartition("*/")[2])
        known = {size, self.total} - {None}
        if known != {self.done}:
            self._discard(f"the server has nothing behind byte {self.done}")

    def _discard(self, reason: str) -> NoReturn:
        """Let the next attempt start over."""
        self.done = 0
        raise Interrupted(reason)

    def _remember(self, total: int | None, validator: str | None) -> None:
        """Set and record the version that the part belongs to."""
        self.total, self.validator = total, validator
        atomic.write_json(self._record, {"url": self._identity, "total": total, "validator": validator})

    def _receive(self, answer: Answer) -> None:
        """Append the body to the part."""
        self._check_size(0 if self.total is None else self.total - self.done)
        with self.part.open("ab") as file, progress.transfer(self.name, self.total, self.done) as advance:
            while block := self._read(answer):
                if self.total is not None and self.done + len(block) > self.total:
                    self._discard(f"the server sent more than the {decimal(self.total)} that it announced")
                # Others write to the disk, too, and not every server announces a size.
                self._check_size(len(block))
                file.write(block)
                self.done += len(block)
                advance(len(block))
        if self.total is not None and self.done < self.total:
            raise Interrupted(f"{transport.CUT} after {decimal(self.done)}")

    def _check_size(self, missing: int) -> None:
        """Make sure that as many bytes more may come, and find room."""
        if self.done + missing > MAX_SIZE:
            self._remove()
            raise DisentangleError(
                f"cannot download {self.shown}: expected at most {decimal(MAX_SIZE)}, the server "
                + ("sends more" if self.total is None else f"announces {decimal(self.total)}")
            )
        if self.total is None:
            needs = f"more than the {decimal(self.done)} that came"
        else:
            needs = decimal(self.total - self.done)
        try:
            space.check(self.path.parent, missing, f"{self.name} needs {needs}")
        except DisentangleError as error:
            raise DisentangleError(f"{error}; {self.give_up()}") from error

    def _read(self, answer: Answer) -> bytes:
        try:
            return answer.read(BLOCK_SIZE)
        except Interrupted as interruption:
            raise Interrupted(f"{interruption} after {decimal(self.done)}") from interruption


def _failure(shown: str, answer: Answer) -> Exception:
    """What to raise for an answer without the file."""
    status = answer.status
    text = f"the server answered {status} {responses.get(status, '')}".rstrip()
    if status == _TOO_MANY_REQUESTS or status >= 500:
        return Interrupted(text, wait=_number(answer.headers.get("Retry-After")) or 0)
    return DisentangleError(f"cannot download {shown}: {text}")


def _number(header: str | None) -> int | None:
    """A header's value, if it is a plain number of a sane size."""
    plain = header is not None and len(header) < 19 and header.isascii() and header.isdigit()
    return int(header) if header and plain else None


def _validator(answer: Answer) -> str | None:
    """What identifies the version sent: its ETag, unless that is a weak one, else its date."""
    etag, date = (answer.headers.get(name, "") for name in ("ETag", "Last-Modified"))
    return etag if _ETAG.fullmatch(etag) else date if _DATE.fullmatch(date) else None
