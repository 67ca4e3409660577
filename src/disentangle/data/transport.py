"""One HTTP GET that no server can make wait, read or wander for ever, nor print what it likes."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.client import BadStatusLine, HTTPException, HTTPResponse, IncompleteRead, RemoteDisconnected
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth
from rich.filesize import decimal
from urllib3.exceptions import HTTPError

from ..errors import DisentangleError, excerpt
from . import urls

# For the connection and for each byte to come.
TIMEOUT_SECONDS = 60.0
# What comes more slowly than this takes more than a year for the largest benchmark archive.
WINDOW_SECONDS = 60.0
WINDOW_BYTES = 1 << 14
# Headers, trailers and the frames of chunks, up to the next block of content.
MAX_OVERHEAD = 1 << 20
# As many as requests follows.
MAX_REDIRECTS = 30
_REDIRECTS = (301, 302, 303, 307, 308)
CUT = "the connection was closed early"
# Tests have one of their own.
clock: Callable[[], float] = time.monotonic


class Interrupted(Exception):
    """An attempt failed in a way that the next one may not."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class Answer:
    """What a server sends.

    Attributes
    ----------
    status : int
    headers : mapping of str to str
        Names in any case; values are the server's, not to be shown.
    """

    def __init__(self, response: requests.Response, pace: Pace) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self._raw = response.raw
        self._pace = pace

    def read(self, size: int) -> bytes:
        """The next bytes as they were sent, whatever Content-Encoding says; fewer only at the end.

        Raises
        ------
        Interrupted
            If they do not come.
        """
        try:
            block = self._raw.read(size, decode_content=False)
        except (OSError, HTTPError, HTTPException) as error:
            raise Interrupted(_reason(error)) from error
        self._pace.begin_block()
        return block


class Pace:
    """Watches what comes over the wire: not too slowly, and not without end beside the content."""

    def __init__(self) -> None:
        self._seconds = 0.0  # spent reading, of the window
        self._bytes = 0  # of the window
        self._overhead = 0

    def begin_block(self) -> None:
        """Count overhead anew."""
        self._overhead = 0

    def read(self, readinto: Callable[[Any], int | None], buffer: memoryview) -> int:
        """Call `readinto(buffer)` and judge what came.

        Raises
        ------
        TimeoutError, HTTPException
        """
        start = clock()
        n_bytes = readinto(buffer) or 0
        self._seconds += clock() - start
        self._bytes += n_bytes
        self._overhead += n_bytes
        if self._overhead > MAX_OVERHEAD:
            raise HTTPException(f"more than {decimal(MAX_OVERHEAD)} came beside the content")
        if n_bytes and self._seconds >= WINDOW_SECONDS:
            if self._bytes < WINDOW_BYTES:
                raise TimeoutError(f"only {decimal(self._bytes)} came in {self._seconds:.0f} s")
            self._seconds, self._bytes = 0.0, 0
        return n_bytes


class _PacedFile(io.RawIOBase):
    """A socket's file, read at a pace."""

    def __init__(self, raw: io.RawIOBase, pace: Pace) -> None:
        self._raw = raw
        self._pace = pace

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._pace.read(self._raw.readinto, buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _PacedResponse(HTTPResponse):
    """An answer read at a pace from its first byte on: its headers, too, may come slowly or never end."""

    def __init__(self, pace: Pace, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        socket_file: Any = self.fp
        self.fp = io.BufferedReader(_PacedFile(socket_file.detach(), pace))


class _Adapter(HTTPAdapter):
    """Makes connections whose answers are read at a pace."""

    def __init__(self, pace: Pace) -> None:
        super().__init__()
        self._paced = {"response_class": partial(_PacedResponse, pace)}

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        pool = super().get_connection_with_tls_context(*args, **kwargs)
        pool.ConnectionCls = type("PacedConnection", (type(pool).ConnectionCls,), self._paced)
        return pool


class _Session(requests.Session):
    """Follows no redirects, and so leaves their bodies alone, which requests reads into memory whole."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


@contextmanager
def get(url: str, headers: dict[str, str]) -> Iterator[Answer]:
    """Ask, and follow redirects; the body of the answer is not read yet.

    User name and password in the URL are sent, but to no other host than the URL's.

    Raises
    ------
    Interrupted
        If there is no answer, but there may be one the next time.
    DisentangleError
        If there can be none: a redirect leads nowhere, for one.
    """
    pace = Pace()
    with _Session() as session:
        for scheme in ("http://", "https://"):
            session.mount(scheme, _Adapter(pace))
        try:
            response = _follow(session, url, headers)
        except DisentangleError as error:
            raise DisentangleError(f"cannot download {urls.shown(url)}: {error}") from error
        except (requests.ConnectionError, requests.Timeout, HTTPError) as error:
            raise Interrupted(_reason(error)) from error
        except (OSError, ValueError) as error:  # all of requests' own are OSErrors
            raise DisentangleError(f"cannot download {urls.shown(url)}: {_reason(error)}") from error
        pace.begin_block()
        with response:
            yield Answer(response, pace)


def _follow(session: requests.Session, url: str, headers: dict[str, str]) -> requests.Response:
    """The first answer that is no redirect; the error of one that leads nowhere is half a sentence."""
    auth = urls.credentials(url)
    for _ in range(MAX_REDIRECTS + 1):
        response = session.get(
            urls.bare(url),
            headers=headers,
            auth=HTTPBasicAuth(*auth) if auth else None,
            stream=True,
            timeout=TIMEOUT_SECONDS,
            allow_redirects=False,
        )
        location = response.headers.get("Location")
        if response.status_code not in _REDIRECTS or location is None:
            return response
        response.close()
        target = urls.redirected(url, location)
        if session.should_strip_auth(urls.bare(url), urls.bare(target)):
            auth = None
        auth = urls.credentials(target) or auth
        url = target
    raise DisentangleError(f"the server redirects more than {MAX_REDIRECTS} times")


def _reason(error: BaseException) -> str:
    """The innermost cause: the libraries wrap it three times, and it is the readable one.

    Without URLs, which may hold secrets, and short: it may be the server's own text.
    """
    while isinstance(inner := error.__cause__ or error.__context__, (OSError, HTTPError, HTTPException)):
        error = inner
    if isinstance(error, IncompleteRead):
        return CUT
    if isinstance(error, BadStatusLine) and not isinstance(error, RemoteDisconnected):
        return f"expected an answer in HTTP, found '{excerpt(str(error))}'"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    # An excerpt first: the search takes a time that grows with the square of the length.
    return re.sub(r"\S*://.*|(?<=with url: ).*", "...", excerpt(text))
