"""The application, by ASGI: which path has which answer, and how much is taken on."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from .. import __version__
from ..errors import DisentangleError, excerpt
from ..html import serve_page
from .answers import Answer, Problem, of_json
from .asked import READERS
from .params import ServeParams
from .project import Project

logger = logging.getLogger(__name__)

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
T = TypeVar("T")
# Of a body that is too long: a client that is still sending would not read why it is refused.
_PASSED_OVER = 2**24
_LOCAL = re.compile(r"(localhost|127(\.\d+){3}|\[::1\])?(:\d+)?", re.ASCII | re.IGNORECASE)
_OPENAPI = Path(__file__).with_name("openapi.json")


class _Gone(Exception):
    """The client has left before it has said what it wants."""


class App:
    """Annif's REST API over projects.

    Parameters
    ----------
    projects : iterable of Project
        Of different names.
    params : ServeParams
    threads : int
        Requests whose labels are predicted at one time.
    is_local : bool
        Whether only this machine may ask: a page of another site whose name leads here may not.
    """

    def __init__(
        self, projects: Iterable[Project], params: ServeParams, threads: int, is_local: bool = False
    ) -> None:
        self._params, self._n_busy, self._is_local = params, 0, is_local
        self._pool = ThreadPoolExecutor(threads)
        self._projects = {project.name: project for project in projects}
        shown = {name: project.shown() for name, project in self._projects.items()}
        info = of_json({"title": "disentangle", "version": __version__})
        said: dict[str, Any] = {"/health": {"status": "ok"}, "/v1/projects": {"projects": [*shown.values()]}}
        said |= {f"/v1/projects/{name}": one for name, one in shown.items()}
        said["/v1/openapi.json"] = json.loads(_OPENAPI.read_text(encoding="utf-8"))
        self._pages = {path: of_json(one) for path, one in said.items()} | {"/v1": info, "/v1/": info}
        self._pages |= {path: Answer(body, kind) for path, (body, kind) in serve_page.files().items()}

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        start = time.perf_counter()
        try:
            answer = await self._answer(scope, receive)
        except _Gone:
            return
        except Problem as problem:
            answer = problem.answer
        except Exception:
            logger.exception("a request could not be answered")
            answer = Problem(500, "the server has failed, and its log says how").answer
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.lines()})
        await send({"type": "http.response.body", "body": answer.body})
        milliseconds = 1000 * (time.perf_counter() - start)
        logger.info("%s %s %d %.1f ms", scope["method"], excerpt(scope["path"]), answer.status, milliseconds)

    def close(self) -> None:
        """Begin nothing more, and wait for what has begun."""
        self._pool.shutdown(cancel_futures=True)

    async def _answer(self, scope: dict[str, Any], receive: Receive) -> Answer:
        path, method = scope["path"], scope["method"]
        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        if self._is_local and not _LOCAL.fullmatch(host):
            raise Problem(421, f"the host must be an address of this machine, got {excerpt(host)}")
        if path in self._pages:
            _check_method(method, "GET", "HEAD")
            return self._pages[path]
        name, _, what = path.removeprefix("/v1/projects/").rpartition("/")
        if not path.startswith("/v1/projects/") or (name and what not in READERS):
            raise Problem(404, f"no such path: {excerpt(path)}")
        if name not in self._projects:
            raise Problem(404, f"no such project: {excerpt(name or what)}")
        _check_method(method, "POST")
        _check_kind(scope, READERS[what][1])
        if self._n_busy >= self._params.concurrency:
            sentence = f"the server is busy: requests at one time are at most {self._params.concurrency}"
            raise Problem(503, sentence, (("retry-after", "1"),))
        self._n_busy += 1
        try:
            body = await self._in_time(_read(receive, self._params.max_bytes), 408, "the body must come")
            deadline = time.monotonic() + self._params.timeout
            work = self._pool.submit(_suggest, self._projects[name], what, body, scope, deadline)
        except BaseException:
            self._n_busy -= 1
            raise
        # Who waits may leave sooner; the body is held, and a thread taken, until the work ends.
        loop = asyncio.get_running_loop()
        work.add_done_callback(lambda _: self._free(loop))
        answer = asyncio.wrap_future(work)
        # An error that comes when nobody waits any more would be a traceback in the log.
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await self._in_time(asyncio.shield(answer), 503, "the answer must be ready")

    def _free(self, loop: asyncio.AbstractEventLoop) -> None:
        def free() -> None:
            self._n_busy -= 1

        with suppress(RuntimeError):  # where the server has ended meanwhile
            loop.call_soon_threadsafe(free)

    async def _in_time(self, awaited: Awaitable[T], status: int, rule: str) -> T:
        try:
            return await asyncio.wait_for(awaited, self._params.timeout)
        except asyncio.TimeoutError:
            sentence = f"{rule} within {self._params.timeout} seconds, which have passed"
            raise Problem(status, sentence, (("connection", "close"),)) from None


def _suggest(project: Project, what: str, body: bytes, scope: dict[str, Any], deadline: float) -> Answer:
    """Read a request, and answer it, unless it has waited so long that nobody waits for the answer."""
    if time.monotonic() > deadline:
        raise Problem(503, "the request has waited too long")
    try:
        asked = READERS[what][0](body, scope["query_string"])
        project.check(asked)
    except DisentangleError as error:
        raise Problem(400, str(error)) from error
    try:
        found = project.suggest(asked)
    except DisentangleError as error:
        raise Problem(503, str(error)) from error
    if what == "suggest":
        return of_json(found[0])
    return of_json([one | {"document_id": name} for one, name in zip(found, asked.ids, strict=True)])


async def _read(receive: Receive, most: int) -> bytes:
    """The body of a request, of at most so many bytes."""
    parts: list[bytes] = []
    size, is_more = 0, True
    while is_more and size <= most + _PASSED_OVER:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        size += len(message.get("body", b""))
        if size <= most:
            parts.append(message.get("body", b""))
        is_more = message.get("more_body", False)
    if size > most:
        raise Problem(413, f"the body must be at most {most:,} bytes, got more", (("connection", "close"),))
    return b"".join(parts)


def _check_method(method: str, *allowed: str) -> None:
    if method not in allowed:
        names = ", ".join(allowed)
        raise Problem(405, f"the method must be {names}, got {excerpt(method)}", (("allow", names),))


def _check_kind(scope: dict[str, Any], expected: str) -> None:
    sent = dict(scope["headers"]).get(b"content-type", b"").decode("latin-1")
    if sent.partition(";")[0].strip().lower() != expected:
        raise Problem(415, f"the body must be {expected}, got {excerpt(sent) or 'none'}")
