"""Fetch a URL to a file: an interrupted download goes on, unless the file has changed meanwhile."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, IncompleteRead, responses
from pathlib import Path
from urllib.parse import urlsplit

import requests
from requests.auth import HTTPBasicAuth
from rich.filesize import decimal
from urllib3.exceptions import HTTPError

from ..errors import DisentangleError, excerpt
from ..runtime import progress
from ..storage import atomic, space
from . import urls
from .archive import MAX_SIZE

logger = logging.getLogger(__name__)

# Attempts in a row that bring nothing new; the waits between them double.
ATTEMPTS = 6
BACKOFF_SECONDS = 1.0
# The longest wait, whatever the server asks for.
MAX_WAIT_SECONDS = 60.0
# For the connection and for each byte to come.
TIMEOUT_SECONDS = 60.0
# A connection that breaks costs a block at most.
BLOCK_SIZE = 1 << 16

_OK, _PARTIAL, _NO_SUCH_RANGE, _TOO_MANY_REQUESTS = 200, 206, 416, 429
# Sent back to the server, and kept meanwhile in a file that anybody may change: a strong ETag, or a date.
_VALIDATORS = {"ETag": r'"[\x21\x23-\x7e]{0,250}"', "Last-Modified": "[A-Za-z0-9][A-Za-z0-9 ,:+-]{0,60}"}


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
        An http or https address; redirects are followed. User name, password and query are sent, but
        neither shown nor kept.
    path : Path
        In a folder that exists. One call at a time may write there.

    Raises
    ------
    DisentangleError
        If the URL is malformed, the server refuses, the connection keeps failing, the file is larger than
        `MAX_SIZE`, space is short, or the file cannot be written.
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
        except _Interrupted as interruption:
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
                total is None or done < total
            ) and any(re.fullmatch(form, validator) for form in _VALIDATORS.values()):
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
        _Interrupted
            If another attempt may get further.
        """
        headers = {"Accept-Encoding": "identity"}
        is_rest = bool(self.done) and self.validator is not None
        if is_rest:
            headers |= {"Range": f"bytes={self.done}-", "If-Range": str(self.validator)}
        with _asked(self._url, headers) as answer:
            if answer.status_code == _OK:
                self._start_over(answer)
            elif is_rest and answer.status_code in (_PARTIAL, _NO_SUCH_RANGE):
                self._continue(answer)
            else:
                raise _failure(self.shown, answer)
            self._receive(answer)
        self.part.replace(self.path)
        self._record.unlink(missing_ok=True)

    def _start_over(self, answer: requests.Response) -> None:
        """Empty the part; only then may its record name another version."""
        chunked = "Transfer-Encoding" in answer.headers
        self.total = None if chunked else _number(answer.headers.get("Content-Length"))
        self.validator = _validator(answer)
        size = "size unknown" if self.total is None else decimal(self.total)
        logger.info("%s: %s from %s", self.name, size, self.shown)
        self.part.write_bytes(b"")
        self.done = 0
        atomic.write_json(
            self._record, {"url": self._identity, "total": self.total, "validator": self.validator}
        )

    def _continue(self, answer: requests.Response) -> None:
        """Make sure that the answer is the rest of what is here; if it is not, the next one starts over."""
        span = re.fullmatch(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18})", answer.headers.get("Content-Range", ""))
        if (
            span is None
            or int(span[1]) != self.done
            or self.total not in (None, int(span[2]))
            or _validator(answer) not in (None, self.validator)
        ):
            at, self.done = self.done, 0
            raise _Interrupted(f"the server did not go on at byte {at} of the same file")
        self.total = int(span[2])
        logger.info("%s: going on at %s of %s", self.name, decimal(self.done), decimal(self.total))

    def _receive(self, answer: requests.Response) -> None:
        """Append the body to the part."""
        if self.total is not None:
            self._check_size(self.total)
            try:
                missing = self.total - self.done
                space.check(self.path.parent, missing, f"{self.name} needs {decimal(missing)}")
            except DisentangleError as error:
                raise DisentangleError(f"{error}; {self.give_up()}") from error
        with self.part.open("ab") as file, progress.transfer(self.name, self.total, self.done) as advance:
            while block := self._read(answer):
                self._check_size(self.done + len(block))
                file.write(block)
                self.done += len(block)
                advance(len(block))
        if self.total is not None and self.done > self.total:
            self.done = 0
            raise _Interrupted(f"the server sent more than the {decimal(self.total)} that it announced")
        if self.total is not None and self.done < self.total:
            raise _Interrupted(f"{_CUT} after {decimal(self.done)}")

    def _check_size(self, n_bytes: int) -> None:
        if n_bytes > MAX_SIZE:
            self._remove()
            raise DisentangleError(
                f"cannot download {self.shown}: expected at most {decimal(MAX_SIZE)}, the server sends more"
            )

    def _read(self, answer: requests.Response) -> bytes:
        """The next bytes as they were sent, whatever Content-Encoding says; fewer only at the end."""
        try:
            return bytes(answer.raw.read(BLOCK_SIZE, decode_content=False))
        except (OSError, HTTPError, HTTPException) as error:
            raise _Interrupted(f"{_reason(error)} after {decimal(self.done)}") from error


@contextmanager
def _asked(url: str, headers: dict[str, str]) -> Iterator[requests.Response]:
    """The answer to a GET, whose body is not read yet.

    User name and password in the URL are sent, but to no other host than the URL's.
    """
    auth = urls.credentials(url)
    try:
        answer = requests.get(
            urls.bare(url),
            headers=headers,
            auth=HTTPBasicAuth(*auth) if auth else None,
            stream=True,
            timeout=TIMEOUT_SECONDS,
            hooks={"response": _drop_redirect},
        )
    except (requests.ConnectionError, requests.Timeout, HTTPError) as error:
        raise _Interrupted(_reason(error)) from error
    except (OSError, ValueError) as error:  # all of requests' own are OSErrors
        raise DisentangleError(f"cannot download {urls.shown(url)}: {_reason(error)}") from error
    with answer:
        places = [one.url for one in (*answer.history, answer)]
        if urlsplit(url).scheme == "https" and not all(place.startswith("https:") for place in places):
            raise DisentangleError(
                f"cannot download {urls.shown(url)}: expected https, which nobody can change on its way, "
                "the server redirects to http"
            )
        yield answer


def _drop_redirect(answer: requests.Response, **_: object) -> None:
    """Close an answer that only names another place: requests would read all of its body first."""
    if answer.is_redirect:
        answer.close()


_CUT = "the connection was closed early"


def _reason(error: BaseException) -> str:
    """The innermost cause: the libraries wrap it three times, and it is the readable one.

    Without URLs, which may hold secrets, and short: it may be the server's own text.
    """
    while isinstance(inner := error.__cause__ or error.__context__, (OSError, HTTPError, HTTPException)):
        error = inner
    if isinstance(error, IncompleteRead):
        return _CUT
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    # An excerpt first: the search takes a time that grows with the square of the length.
    return re.sub(r"\S*://.*|(?<=with url: ).*", "...", excerpt(text))


def _failure(shown: str, answer: requests.Response) -> Exception:
    """What to raise for an answer without the file."""
    status = answer.status_code
    text = f"the server answered {status} {responses.get(status, '')}".rstrip()
    if status == _TOO_MANY_REQUESTS or status >= 500:
        return _Interrupted(text, wait=_number(answer.headers.get("Retry-After")) or 0)
    return DisentangleError(f"cannot download {shown}: {text}")


def _number(header: str | None) -> int | None:
    """A header's value, if it is a plain number of a sane size."""
    return int(header) if header and re.fullmatch("[0-9]{1,18}", header) else None


def _validator(answer: requests.Response) -> str | None:
    """What identifies the version sent: its ETag, unless that is a weak one, else its date."""
    given = ((answer.headers.get(name, ""), form) for name, form in _VALIDATORS.items())
    return next((value for value, form in given if re.fullmatch(form, value)), None)
