"""Downloads from a real server on this machine, which keeps to the rules or breaks them as told."""

from __future__ import annotations

import errno
import gzip
import io
import json
import logging
import os
import socket
import subprocess
import sys
import threading
from base64 import b64encode
from collections import namedtuple
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from server import CONTENT, CUT, DATE, NEW_CONTENT, Answer, Server
from urllib3 import HTTPResponse

from disentangle.data import download
from disentangle.data.download import fetch
from disentangle.errors import DisentangleError
from disentangle.runtime import progress
from disentangle.storage import space

SECRET = "s3cret"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "set.bin"


def part(path: Path) -> Path:
    return path.with_name("set.bin.part")


def names(path: Path) -> list[str]:
    return sorted(file.name for file in path.parent.iterdir())


def message(url: str, path: Path) -> str:
    with pytest.raises(DisentangleError) as caught:
        fetch(url, path)
    text = str(caught.value)
    assert text.isprintable()
    assert len(text) < 600
    assert not path.exists()
    return text


def interrupt(server: Server, path: Path, *answers: Answer) -> None:
    """One call that is given up after `CUT` bytes, or after the answers given."""
    server.answers = [*(answers or [Answer(cut=CUT)])]
    attempts, download.ATTEMPTS = download.ATTEMPTS, 1
    try:
        message(server.url, path)
    finally:
        download.ATTEMPTS = attempts
    server.answers.clear()
    server.seen.clear()
    server.sent.clear()


def test_a_file_arrives_whole_and_alone(server: Server, path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    path.write_bytes(b"an older one")
    fetch(server.url, path)
    assert path.read_bytes() == CONTENT
    assert names(path) == ["set.bin"]
    assert server.seen[0]["Accept-Encoding"] == "identity"
    assert caplog.messages == [f"set.bin: 300.0 kB from {server.url}"]


@pytest.mark.parametrize("etag", ['"first"', None, 'W/"weak"'])
def test_a_cut_connection_is_resumed(server: Server, path: Path, etag: str | None):
    server.etag, server.date = etag, DATE
    server.answers = [Answer(cut=CUT)]
    fetch(server.url, path)
    assert path.read_bytes() == CONTENT
    assert server.ranges() == [None, f"bytes={CUT}-"]
    assert server.seen[1]["If-Range"] == (etag if etag == '"first"' else DATE)
    assert server.sent == [CUT, len(CONTENT) - CUT]


def test_a_later_call_resumes(server: Server, path: Path, caplog: pytest.LogCaptureFixture):
    interrupt(server, path)
    assert names(path) == ["set.bin.part", "set.bin.part.json"]
    record = json.loads(path.with_name("set.bin.part.json").read_text())
    assert record == {"url": server.url, "total": len(CONTENT), "validator": '"first"'}
    caplog.set_level(logging.INFO)
    fetch(server.url, path)
    assert path.read_bytes() == CONTENT
    assert server.ranges() == [f"bytes={CUT}-"]
    assert server.sent == [len(CONTENT) - CUT]
    assert names(path) == ["set.bin"]
    assert caplog.messages == ["set.bin: going on at 200.0 kB of 300.0 kB"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.with_name("set.bin.part.json").unlink(),
        lambda path: path.with_name("set.bin.part.json").write_text("{"),
        lambda path: path.with_name("set.bin.part.json").write_text("[1]"),
        lambda path: path.with_name("set.bin.part.json").write_text('{"url": "http://other/", "total": 9}'),
        lambda path: part(path).unlink(),
        lambda path: part(path).write_bytes(b""),
        lambda path: part(path).write_bytes(CONTENT),
    ],
)
def test_a_part_in_doubt_is_not_used(server: Server, path: Path, damage: Callable[[Path], None]):
    interrupt(server, path)
    damage(path)
    fetch(server.url, path)
    assert path.read_bytes() == CONTENT
    assert server.ranges() == [None]


def test_without_etag_and_date_nothing_is_resumed(server: Server, path: Path):
    server.etag = None
    text = "the same command tries again"
    server.answers = [Answer(cut=CUT)] * download.ATTEMPTS
    assert text in message(server.url, path)
    fetch(server.url, path)
    assert path.read_bytes() == CONTENT
    assert set(server.ranges()) == {None}


@pytest.mark.parametrize(
    "validator", ["日本", "a\nb", '"', "", '"x" "y"', " x", f'"{"x" * 5000}"', "Wed\r\nHost: other"]
)
def test_a_validator_that_cannot_be_sent_is_not_used(server: Server, path: Path, validator: str):
    interrupt(server, path)
    record = path.with_name("set.bin.part.json")
    record.write_text(json.dumps(json.loads(record.read_text()) | {"validator": validator}))
    fetch(server.url, path)
    assert path.read_bytes() == CONTENT
    assert server.ranges() == [None]


@pytest.mark.parametrize("etag", [f'"{"x" * 5000}"', '"\x1b[2J"', '"é"', '"', '"a"b"', "first"])
def test_an_etag_that_is_none_is_not_sent_back(server: Server, path: Path, etag: str):
    server.etag, server.date = etag, DATE
    server.answers = [Answer(cut=CUT)]
    fetch(server.url, path)
    assert path.read_bytes() == CONTENT
    assert server.seen[1]["If-Range"] == DATE


@pytest.mark.parametrize("within_a_call", [True, False])
@pytest.mark.parametrize("size", [len(CONTENT), CUT + 1, CUT, CUT - 1])
def test_a_file_that_changes_is_fetched_anew(server: Server, path: Path, within_a_call: bool, size: int):
    cut = Answer(cut=CUT, then=lambda: server.change(size))
    if within_a_call:
        server.answers = [cut]
    else:
        interrupt(server, path, cut)
    fetch(server.url, path)
    assert path.read_bytes() == NEW_CONTENT[:size]
    assert server.ranges()[-1] == f"bytes={CUT}-"


WRONG_RANGES = [
    f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}",  # another start
    f"bytes {CUT - 1}-{len(CONTENT) - 2}/{len(CONTENT)}",
    f"bytes {CUT}-{len(CONTENT) - 1}/{len(CONTENT) + 1}",  # another total
    f"lines {CUT}-{len(CONTENT) - 1}/{len(CONTENT)}",
    f"bytes */{len(CONTENT)}",
    None,
]


@pytest.mark.parametrize(
    "headers",
    [*({"Content-Range": wrong} for wrong in WRONG_RANGES), {"ETag": '"another"'}],
)
def test_a_continuation_that_does_not_fit_is_not_used(
    server: Server, path: Path, headers: dict[str, str | None]
):
    interrupt(server, path)
    server.answers = [Answer(headers=headers)]
    fetch(server.url, path)
    assert path.read_bytes() == CONTENT
    assert server.ranges() == [f"bytes={CUT}-", None]


def test_a_server_that_ignores_the_condition_gives_itself_away(server: Server, path: Path):
    interrupt(server, path, Answer(cut=CUT, then=server.change))
    server.answers = [Answer(ignore_condition=True)]
    fetch(server.url, path)
    assert path.read_bytes() == NEW_CONTENT
    assert server.ranges() == [f"bytes={CUT}-", None]


def test_a_server_without_ranges_starts_over(server: Server, path: Path):
    interrupt(server, path)
    server.answers = [Answer(ignore_range=True)]
    fetch(server.url, path)
    assert path.read_bytes() == CONTENT
    assert server.sent == [len(CONTENT)]


def test_fetching_the_same_again_is_no_progress(server: Server, path: Path):
    server.answers = [Answer(cut=CUT), Answer(headers={"ETag": '"another"'})] * 20
    message(server.url, path)
    assert len(server.seen) == download.ATTEMPTS


def test_a_smaller_span_than_asked_is_taken_and_the_rest_asked(server: Server, path: Path):
    interrupt(server, path)
    span = {"Content-Range": f"bytes {CUT}-{CUT + 9}/{len(CONTENT)}", "Content-Length": "10"}
    server.answers = [Answer(headers=span, cut=10)]
    fetch(server.url, path)
    assert path.read_bytes() == CONTENT
    assert server.ranges() == [f"bytes={CUT}-", f"bytes={CUT + 10}-"]


def test_416_starts_over(server: Server, path: Path):
    interrupt(server, path)
    server.answers = [Answer(status=416, headers={"Content-Range": f"bytes */{CUT}"})]
    fetch(server.url, path)
    assert path.read_bytes() == CONTENT
    assert server.ranges() == [f"bytes={CUT}-", None]


def test_chunked_content_without_a_length(server: Server, path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    server.answers = [Answer(chunked=True, cut=CUT), Answer(chunked=True)]
    fetch(server.url, path)
    assert path.read_bytes() == CONTENT
    # What had come of the last block is lost.
    assert server.ranges() == [None, f"bytes={CUT - CUT % download.BLOCK_SIZE}-"]
    assert caplog.messages[0] == f"set.bin: size unknown from {server.url}"


def test_a_length_beside_chunks_does_not_count(server: Server, path: Path):
    server.answers = [Answer(chunked=True, headers={"Content-Length": "5"})]
    fetch(server.url, path)
    assert path.read_bytes() == CONTENT
    assert len(server.seen) == 1


def test_more_than_announced(server: Server, path: Path):
    interrupt(server, path)
    server.answers = [Answer(chunked=True, extra=b"more")]
    fetch(server.url, path)
    assert path.read_bytes() == CONTENT
    assert server.ranges() == [f"bytes={CUT}-", None]


def test_fewer_than_announced_for_ever(server: Server, path: Path):
    server.answers = [Answer(headers={"Content-Length": str(len(CONTENT) + 1)})]
    server.answers += [Answer(status=416)] * 20
    text = message(server.url, path)
    assert text.startswith(f"cannot download {server.url}: ")
    assert names(path) == ["set.bin.part", "set.bin.part.json"]


def test_content_is_not_decoded(server: Server, path: Path):
    server.content = gzip.compress(CONTENT)
    server.answers = [Answer(headers={"Content-Encoding": "gzip"})]
    fetch(server.url, path)
    assert path.read_bytes() == server.content


@pytest.mark.parametrize(
    ("status", "name"),
    [(404, "Not Found"), (403, "Forbidden"), (410, "Gone"), (416, "R"), (204, "No")],
)
def test_a_refusal_is_final(server: Server, path: Path, status: int, name: str):
    server.answers = [Answer(status=status)]
    start = f"cannot download {server.url}: the server answered {status} {name}"
    assert message(server.url, path).startswith(start)
    assert len(server.seen) == 1
    assert names(path) == []


def test_errors_of_the_server_pass(server: Server, path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    server.answers = [Answer(status=500)] * (download.ATTEMPTS - 1)
    fetch(server.url, path)
    assert path.read_bytes() == CONTENT
    assert caplog.messages[0] == (
        "set.bin: the server answered 500 Internal Server Error; trying again in 0 s"
    )
    assert len(caplog.messages) == download.ATTEMPTS


def test_errors_that_last_end_with_what_is_kept(server: Server, path: Path):
    server.answers = [Answer(cut=CUT)] + [Answer(status=503)] * 20
    assert message(server.url, path) == (
        f"cannot download {server.url}: the server answered 503 Service Unavailable; "
        f"the same command goes on from the 200.0 kB kept in {part(path)}"
    )
    assert len(server.seen) == download.ATTEMPTS
    server.answers.clear()
    fetch(server.url, path)
    assert path.read_bytes() == CONTENT
    assert server.sent[-1] == len(CONTENT) - CUT


def test_progress_gives_new_attempts(server: Server, path: Path):
    server.answers = [Answer(cut=20_000) for _ in range(2 * download.ATTEMPTS)]
    fetch(server.url, path)
    assert path.read_bytes() == CONTENT
    assert len(server.seen) == 2 * download.ATTEMPTS + 1


def test_waits_double_and_the_server_may_ask_for_longer(
    server: Server, path: Path, monkeypatch: pytest.MonkeyPatch
):
    waits: list[float] = []
    monkeypatch.setattr(download.time, "sleep", waits.append)
    monkeypatch.setattr(download, "BACKOFF_SECONDS", 1)
    asked = ["7", "999999", "Wed, 21 Oct 2015 07:28:00 GMT", None, "-5"]
    server.answers = [Answer(status=429, headers={"Retry-After": value}) for value in asked]
    fetch(server.url, path)
    assert waits == [7, 60, 4, 8, 16]


def test_redirects_are_followed(server: Server, path: Path):
    server.answers = [Answer(status=302, headers={"Location": "/elsewhere"}), Answer(cut=CUT)]
    server.answers += [Answer(status=307, headers={"Location": "/elsewhere"})]
    fetch(server.url, path)
    assert path.read_bytes() == CONTENT
    assert server.ranges() == [None, None, f"bytes={CUT}-", f"bytes={CUT}-"]


def test_the_body_of_a_redirect_is_not_read(server: Server, path: Path):
    asked, came = threading.Event(), []
    body = {"Location": "/elsewhere", "Content-Length": "5"}
    # It is sent once the next request has come, or never would have.
    wait = Answer(status=302, headers=body, extra=b"12345", then=lambda: came.append(asked.wait(20)))
    server.answers = [wait, Answer(then=asked.set)]
    fetch(server.url, path)
    assert path.read_bytes() == CONTENT
    assert server.paths == ["/set.bin", "/elsewhere"]
    asked.set()
    assert came in ([], [True])


@pytest.mark.parametrize("location", ["ftp://h/\x1b[2J", "file:///etc/passwd?s3cret", "/set.bin", "http://["])
def test_redirects_to_nowhere(server: Server, path: Path, location: str):
    server.answers = [Answer(status=302, headers={"Location": location})] * 50
    text = message(server.url, path)
    assert text.startswith(f"cannot download {server.url}: ")
    assert SECRET not in text
    assert names(path) == []


def test_a_redirect_from_https_to_http_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch):
    answer = requests.Response()
    answer.url, answer.status_code, answer.raw = "http://host/", 200, io.BytesIO(CONTENT)
    monkeypatch.setattr(requests, "get", lambda *_, **__: answer)
    assert "the server redirects to http" in message("https://host/", path)
    monkeypatch.setattr(answer, "url", "https://other/")
    monkeypatch.setattr(answer, "raw", HTTPResponse(io.BytesIO(CONTENT), preload_content=False))
    fetch("https://host/", path)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("target", "is_sent"),
    [("/elsewhere", True), ("http://127.0.0.1:{port}/", True), ("http://localhost:{port}/", False)],
)
def test_credentials_go_to_their_own_host_alone(server: Server, path: Path, target: str, is_sent: bool):
    server.answers = [Answer(status=302, headers={"Location": target.format(port=server.server_port)})]
    fetch(server.url.replace("//", "//me:secret@"), path)
    assert ["Authorization" in request for request in server.seen] == [True, is_sent]


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/x",
        "file:///etc/passwd",
        "set.bin",
        "",
        "http://",
        "http:///x",
        "http://[::1",
        "http://h:x/",
        "http://h/\n",
    ],
)
def test_other_addresses_are_refused(path: Path, url: str):
    assert message(url, path) == f"a download must have an http or https URL, got {url!r}"


def test_credentials_and_tokens_work_and_stay_secret(
    server: Server, path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    url = server.url.replace("//", f"//me:{SECRET}%20%C3%BC@") + f"?token={SECRET}#{SECRET}"
    server.answers = [Answer(cut=CUT), Answer(status=500), *[Answer(hang_up=True)] * (download.ATTEMPTS - 1)]
    text = message(url, path)
    record = path.with_name("set.bin.part.json").read_text()
    fetch(url, path)
    assert path.read_bytes() == CONTENT
    expected = f"Basic {b64encode(f'me:{SECRET} ü'.encode()).decode()}"
    assert {request["Authorization"] for request in server.seen} == {expected}
    assert set(server.paths) == {f"/set.bin?token={SECRET}"}
    assert server.ranges()[-1] == f"bytes={CUT}-"
    assert caplog.messages[0] == f"set.bin: 300.0 kB from {server.url}?..."
    assert text.startswith(f"cannot download {server.url}?...: ")
    for shown in (text, record, *caplog.messages):
        assert SECRET not in shown
        assert "me:" not in shown


@pytest.mark.parametrize(
    "url",
    [
        f"ftp://me:{SECRET}@host/x?{SECRET}",
        f"http://me:{SECRET}/word@host/",
        f"http://me:{SECRET}?@host/",
        f"http://me:{SECRET}#@host/",
        f"http://[::1?{SECRET}",
        f"http://h:x/?mail=a@b&token={SECRET}",
        f"http:/me:{SECRET}@host/",
        f"http://me:{SECRET}@host/\n",
        f"http://.host/?{SECRET}",
        f"http://me:{SECRET}@.host/?{SECRET}",
        f"http://me:{SECRET}@{'h' * 70}/?{SECRET}",
        f"http://me:{SECRET}@ho st/?{SECRET}",
        f"http://me:{SECRET}@127.0.0.1:1/?{SECRET}",
    ],
)
def test_bad_addresses_keep_their_secrets(
    path: Path, url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(download, "BACKOFF_SECONDS", 0)
    assert SECRET not in message(url, path)
    assert SECRET not in caplog.text


def test_a_part_is_of_one_query(server: Server, path: Path):
    server.answers = [Answer(cut=CUT), *[Answer(status=500)] * download.ATTEMPTS]
    message(f"{server.url}?version=1", path)
    server.answers.clear()
    server.seen.clear()
    fetch(f"{server.url}?version=2", path)
    assert server.ranges() == [None]


def test_nobody_listens(server: Server, path: Path):
    with socket.socket() as taken:  # bound, but not listening
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        expected = f"cannot download {url}: Connection refused; the same command tries again"
        assert message(url, path) == expected


def test_a_server_that_says_nothing(server: Server, path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(download, "TIMEOUT_SECONDS", 0.05)
    monkeypatch.setattr(download, "ATTEMPTS", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        assert message(url, path) == f"cannot download {url}: timed out; the same command tries again"


def test_a_server_that_hangs_up(server: Server, path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    server.answers = [Answer(hang_up=True)]
    fetch(server.url, path)
    assert path.read_bytes() == CONTENT
    assert "closed connection without response; trying again in 0 s" in caplog.messages[0]


def test_more_than_an_archive_may_have_is_not_fetched(server: Server, path: Path):
    server.answers = [Answer(headers={"Content-Length": "9" * 18})]
    assert message(server.url, path) == (
        f"cannot download {server.url}: expected at most 40.0 GB, the server sends more"
    )
    assert names(path) == []


def test_more_than_an_archive_may_have_is_not_fetched_unannounced(
    server: Server, path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(download, "MAX_SIZE", CUT)
    server.answers = [Answer(chunked=True)]
    assert message(server.url, path) == (
        f"cannot download {server.url}: expected at most 200.0 kB, the server sends more"
    )
    assert names(path) == []


Usage = namedtuple("Usage", "total used free")


def leave(monkeypatch: pytest.MonkeyPatch, path: Path, n_bytes: int) -> None:
    """Let the disk have so much left beside the reserve; what is written to the part counts."""

    def usage(folder: Path) -> Usage:
        written = part(path).stat().st_size if part(path).exists() else 0
        return Usage(0, 0, space.RESERVE + n_bytes - written)

    monkeypatch.setattr(space.shutil, "disk_usage", usage)


@pytest.mark.parametrize("size", ["many", "-5", "9" * 5000, ""])
def test_a_size_that_is_no_number_is_unknown(server: Server, path: Path, size: str):
    server.answers = [Answer(headers={"Content-Length": size})]
    fetch(server.url, path)
    assert path.read_bytes() == CONTENT


def test_space_is_checked_for_what_is_missing(server: Server, path: Path, monkeypatch: pytest.MonkeyPatch):
    leave(monkeypatch, path, CUT)
    assert message(server.url, path) == (
        f"not enough space in {path.parent}: set.bin needs 300.0 kB, 128.2 MB is free, "
        "of which 128.0 MB must stay so; the same command tries again"
    )
    assert names(path) == []
    leave(monkeypatch, path, len(CONTENT))
    interrupt(server, path)
    fetch(server.url, path)
    assert path.read_bytes() == CONTENT
    assert server.ranges() == [f"bytes={CUT}-"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk(server: Server, path: Path):
    part(path).symlink_to("/dev/full")
    assert message(server.url, path) == f"cannot write {path}: {os.strerror(errno.ENOSPC)}"
    assert len(server.seen) == 1


def test_a_folder_that_is_not_there(server: Server, tmp_path: Path):
    path = tmp_path / "none" / "set.bin"
    assert message(server.url, path) == f"cannot write {part(path)}: {os.strerror(errno.ENOENT)}"


def test_ctrl_c_keeps_the_part(server: Server, path: Path, monkeypatch: pytest.MonkeyPatch):
    @contextmanager
    def impatient(name: str, total: int | None, done: int) -> Iterator[Callable[[int], None]]:
        def advance(n_bytes: int) -> None:
            raise KeyboardInterrupt

        yield advance

    with monkeypatch.context() as patch:
        patch.setattr(progress, "transfer", impatient)
        with pytest.raises(KeyboardInterrupt):
            fetch(server.url, path)
    kept = part(path).stat().st_size
    assert 0 < kept < len(CONTENT)
    fetch(server.url, path)
    assert path.read_bytes() == CONTENT
    assert server.ranges() == [None, f"bytes={kept}-"]


def test_progress_is_logged_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    clock = iter([0.0, 29.0, 31.0, 31.0, 60.0, 62.0, 62.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(progress._live, "disable", True)
    caplog.set_level(logging.INFO)
    with progress.transfer("set.bin", 400_000_000, 100_000_000) as advance:
        for _ in range(4):
            advance(50_000_000)
    assert caplog.messages == ["set.bin: 50 % of 400.0 MB", "set.bin: 75 % of 400.0 MB"]


SHOW = """
import logging, sys, time
from contextlib import nullcontext
from disentangle.runtime import progress
progress.set_up_logging()
with progress.stage("outer [stage]") if sys.argv[1] == "nested" else nullcontext():
    with progress.transfer("set[/x].bin", 4_000_000, 1_000_000) as advance:
        advance(1_000_000)
        progress._live.refresh()
        logging.getLogger("disentangle").info("a line meanwhile")
    if sys.argv[1] == "nested":
        assert progress._live.live.is_started
        progress._live.refresh()
assert not progress._live.live.is_started
"""


@pytest.mark.parametrize("how", ["nested", "alone"])
def test_progress_on_a_terminal(how: str, terminal: tuple[int, int]):
    ours, theirs = terminal
    environment = os.environ | {
        "PYTHONPATH": str(Path(progress.__file__).parents[2]),
        "TERM": "xterm",
        "COLUMNS": "150",
    }
    process = subprocess.Popen([sys.executable, "-c", SHOW, how], stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    try:
        while block := os.read(ours, 1 << 16):
            shown += block
    except OSError:
        pass  # how Linux tells that the other side is closed
    os.close(ours)
    assert process.wait() == 0, shown
    text = shown.decode()
    assert "2.0/4.0 MB" in text
    assert "set[/x].bin" in text
    assert "a line meanwhile" in text
    assert ("outer [stage]" in text) == (how == "nested")
    assert "\x1b[?25h" in text  # the cursor is back
