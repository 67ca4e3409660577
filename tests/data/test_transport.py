"""One GET from servers that stall, never end, send others elsewhere or write to the terminal."""

from __future__ import annotations

import itertools
import socket
from base64 import b64encode
from http.client import HTTPException

import pytest
from server import CONTENT, Answer, Server

from disentangle.data import transport
from disentangle.data.transport import Interrupted, Pace, get
from disentangle.errors import DisentangleError


def content(url: str) -> bytes:
    with get(url, {}) as answer:
        assert answer.status == 200
        return b"".join(iter(lambda: answer.read(1 << 16), b""))


def trouble(url: str, kind: type[Exception] = Interrupted) -> str:
    with pytest.raises(kind) as caught:
        content(url)
    text = str(caught.value)
    assert text.isprintable()
    assert len(text) < 400
    return text


@pytest.fixture
def slow_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every read seems to take a minute."""
    monkeypatch.setattr(transport, "clock", itertools.count(0, 60).__next__)


def reads(monkeypatch: pytest.MonkeyPatch, seconds: float, sizes: list[int]) -> None:
    """Reads of such sizes, which take so many seconds each."""
    monkeypatch.setattr(transport, "clock", itertools.count(0, seconds).__next__)
    pace = Pace()
    for size in sizes:
        pace.begin_block()
        assert pace.read(lambda _, size=size: size, memoryview(b"")) == size


def test_drops_are_an_interruption(monkeypatch: pytest.MonkeyPatch):
    reads(monkeypatch, 1, [1] * 59)
    with pytest.raises(TimeoutError, match="only 60 bytes came in 60 s"):
        reads(monkeypatch, 1, [1] * 60)
    with pytest.raises(TimeoutError):  # what came before the window does not help
        reads(monkeypatch, 1, [1 << 20] * 60 + [1] * 60)


def test_slow_but_steady_is_none(monkeypatch: pytest.MonkeyPatch):
    reads(monkeypatch, 59, [1 << 14] * 100)
    reads(monkeypatch, 1, [1 << 9] * 1000)
    reads(monkeypatch, 40, [1, 0])  # the end is not late


def test_a_server_that_drips_its_headers(server: Server, slow_clock: None):
    server.answers = [Answer(raw=b"HTTP/1.1 200 OK\r\nServer: ")]
    assert trouble(server.url) == "only 25 bytes came in 60 s"


def test_a_server_that_drips_its_content(server: Server, monkeypatch: pytest.MonkeyPatch):
    with get(server.url, {}) as answer:
        monkeypatch.setattr(transport, "clock", itertools.count(0, 60).__next__)
        monkeypatch.setattr(transport, "WINDOW_BYTES", 1 << 30)
        with pytest.raises(Interrupted, match="came in 60 s"):
            answer.read(1 << 16)


HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("raw", "repeat"),
    [
        (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\n", b"X-More: yes\r\n"),
        (b"HTTP/1.1 200 ", b"O"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        (HEAD + b"1\r\nx\r\n0\r\n", b"X-More: yes\r\n"),
        (HEAD, b"1;" + b"x" * 1000 + b"\r\nx\r\n"),
    ],
    ids=["100 Continue", "headers", "a status line", "a header", "trailers", "frames of chunks"],
)
def test_what_never_ends(server: Server, raw: bytes, repeat: bytes):
    server.answers = [Answer(raw=raw, repeat=repeat)]
    trouble(server.url)


def test_the_body_of_a_redirect_is_not_read(server: Server):
    raw = b"HTTP/1.1 302 Found\r\nLocation: /set.bin\r\n\r\n"
    server.answers = [Answer(raw=raw, repeat=b"x" * 1000)]
    assert content(server.url) == CONTENT


def test_redirects_for_ever(server: Server):
    server.answers = [Answer(status=302, headers={"Location": "/again"})] * 100
    expected = f"cannot download {server.url}: the server redirects more than 30 times"
    assert trouble(server.url, DisentangleError) == expected
    assert len(server.seen) == 31


def test_what_redirects_say_is_escaped(server: Server):
    for location in ("ftp://h/\x1b[2J\x9b\xff", "http://\x1b]0;evil\x07/", f"ftp://h/{'x' * 60_000}"):
        server.answers = [Answer(status=302, headers={"Location": location})] * 2
        with pytest.raises((DisentangleError, Interrupted)) as caught:
            content(server.url)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "raw",
    [
        b"\x1b[2J\x1b]0;evil\x07\r\n\r\n",
        b"HTTP/9.9\x1b[2J 200 OK\r\n\r\n",
        b"HTTP/1.1 \x1b[2J OK\r\n\r\n",
        b"HTTP/1.1 " + b"\x9b\xff" * 30_000 + b"\r\n\r\n",
        b"HTTP/1.1 " + b"x" * 100_000 + b"\r\n\r\n",
        b"\xff\xfe\x00" * 10,
        HEAD + b"\x1b[2J\r\n",
    ],
)
def test_an_answer_that_is_none(
    server: Server, raw: bytes, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
):
    server.answers = [Answer(raw=raw)]
    trouble(server.url)
    assert "\x1b" not in "".join(capfd.readouterr())


def test_what_is_no_http_is_quoted(server: Server):
    server.answers = [Answer(raw=b"220 \x1b[2J ftp\r\n")]
    assert trouble(server.url) == r"expected an answer in HTTP, found '220 \x1b[2J ftp'"


def test_lengths_that_disagree(server: Server):
    server.answers = [Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\n")]
    assert trouble(server.url, DisentangleError).startswith(f"cannot download {server.url}: ")


@pytest.mark.parametrize(
    ("target", "second"),
    [
        ("/elsewhere", "me:secret"),
        ("http://127.0.0.1:{port}/", "me:secret"),
        ("http://localhost:{port}/", None),
        ("http://you:pw@localhost:{port}/", "you:pw"),
    ],
)
def test_credentials_go_to_their_own_host_alone(server: Server, target: str, second: str | None):
    server.answers = [Answer(status=302, headers={"Location": target.format(port=server.server_port)})]
    assert content(server.url.replace("//", "//me:secret@")) == CONTENT
    expected = [one and f"Basic {b64encode(one.encode()).decode()}" for one in ("me:secret", second)]
    assert [request.get("Authorization") for request in server.seen] == expected


def test_an_error_does_not_show_the_query(server: Server):
    for location in ("http://.h/?s3cret", "http://h:1/?s3cret", "http://you:s3cret@[::x]/"):
        server.answers = [Answer(status=302, headers={"Location": location})]
        with pytest.raises((DisentangleError, Interrupted)) as caught:
            content(server.url)
        assert "s3cret" not in str(caught.value)


def test_an_address_of_version_6(server: Server):
    if not socket.has_ipv6:
        pytest.skip("needs IPv6")
    with socket.socket(socket.AF_INET6) as taken:
        try:
            taken.bind(("::1", 0))  # not listening
        except OSError:
            pytest.skip("needs IPv6")
        assert trouble(f"http://[::1]:{taken.getsockname()[1]}/") == "Connection refused"


def test_overhead_is_counted_up_to_the_next_block(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(transport, "MAX_OVERHEAD", 10)
    pace = Pace()
    pace.read(lambda _: 10, memoryview(b""))
    pace.begin_block()
    pace.read(lambda _: 10, memoryview(b""))
    with pytest.raises(HTTPException, match="more than 10 bytes came beside the content"):
        pace.read(lambda _: 1, memoryview(b""))
