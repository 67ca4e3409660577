"""A real HTTP server on this machine, which keeps to the rules or breaks them as told."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CONTENT = random.Random(1).randbytes(300_000)
NEW_CONTENT = random.Random(2).randbytes(300_000)
CUT = 200_000
DATE = "Wed, 21 Oct 2015 07:28:00 GMT"


@dataclass
class Answer:
    """How the server answers one request; the default is by the rules."""

    status: int | None = None  # an error, without content
    headers: dict[str, str | None] = field(default_factory=dict)  # None leaves one out
    cut: int | None = None  # close the connection after so many bytes of content
    extra: bytes = b""  # send more than announced
    ignore_range: bool = False
    ignore_condition: bool = False
    chunked: bool = False
    hang_up: bool = False  # without any answer
    then: Callable[[], None] = lambda: None  # done before the content is sent


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.close_connection = True
        server = self.server
        server.seen.append(dict(self.headers.items()))
        server.paths.append(self.path)
        # The client may ask again before this thread is done.
        self.request_number = len(server.sent)
        server.sent.append(0)
        answer = server.answers.pop(0) if server.answers else Answer()
        if not answer.hang_up:
            self.answer(answer)

    def answer(self, answer: Answer) -> None:
        server = self.server
        status, start = answer.status or 200, 0
        condition = self.headers.get("If-Range")
        current = answer.ignore_condition or condition is None or condition in (server.etag, server.date)
        asked = self.headers.get("Range")
        headers = {"ETag": server.etag, "Last-Modified": server.date, "Connection": "close"}
        size = len(server.content)
        if asked and current and not answer.ignore_range and not answer.status:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            status = 206 if start < size else 416
            span = f"{start}-{size - 1}" if start < size else "*"
            headers["Content-Range"] = f"bytes {span}/{size}"
        body = server.content[start:] if status in (200, 206) else b""
        headers |= {"Transfer-Encoding": "chunked"} if answer.chunked else {"Content-Length": str(len(body))}
        self.send_response(status)
        for name, value in (headers | answer.headers).items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        answer.then()
        self.send(body + answer.extra, answer)

    def send(self, body: bytes, answer: Answer) -> None:
        kept = body[: answer.cut]
        self.server.sent[self.request_number] = len(kept)
        if answer.chunked:
            kept = b"%x\r\n%s\r\n" % (len(kept), kept) if kept else b""
            kept += b"0\r\n\r\n" if answer.cut is None else b""
        with suppress(OSError):  # the client has read enough
            self.wfile.write(kept)


class Server(ThreadingHTTPServer):
    """Serves one content, and keeps what it was asked and how much it sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/set.bin"
        self.content = CONTENT
        self.etag: str | None = '"first"'
        self.date: str | None = None
        self.answers: list[Answer] = []
        self.seen: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.sent: list[int] = []

    def change(self, size: int = len(NEW_CONTENT)) -> None:
        self.content = NEW_CONTENT[:size]
        self.etag = '"second"'

    def ranges(self) -> list[str | None]:
        return [request.get("Range") for request in self.seen]
