"""The application by itself: what it answers, what it refuses and how, and how much it takes on."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from disentangle.errors import DisentangleError
from disentangle.serve.answers import Answer
from disentangle.serve.app import App
from disentangle.serve.asked import FORM, JSON, Asked
from disentangle.serve.params import ServeParams
from disentangle.serve.project import name_of

SUGGEST, BATCH = "/v1/projects/tags/suggest", "/v1/projects/tags/suggest-batch"


def test_a_project_is_called_as_its_folder_or_the_link_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "made-2026").mkdir()
    (tmp_path / "current").symlink_to("made-2026")
    monkeypatch.chdir(tmp_path / "made-2026")
    found = [name_of(Path(path)) for path in (".", "../current", "../made-2026/")]
    assert found == ["made-2026", "current", "made-2026"]


class FakeProject:
    """Suggests the words of a text; a text `wait` lets it wait for `go_on`."""

    name = "tags"

    def __init__(self) -> None:
        self.entered, self.go_on = threading.Event(), threading.Event()

    def shown(self) -> dict[str, Any]:
        return {"project_id": self.name, "name": "Tags"}

    def check(self, asked: Asked) -> None:
        if asked.language not in (None, "en"):
            raise DisentangleError(f"language must be en, got {asked.language}")

    def suggest(self, asked: Asked) -> list[dict[str, Any]]:
        if asked.texts == ["wait"]:
            self.entered.set()
            self.go_on.wait()
        if asked.texts == ["fail"]:
            raise RuntimeError("a secret")
        if asked.texts == ["unfit"]:
            raise DisentangleError("the model is not there")
        return [{"results": text.split()[: asked.limit]} for text in asked.texts]


@pytest.fixture
def project() -> Any:
    project = FakeProject()
    yield project
    project.go_on.set()


async def ask(
    app: App, path: str, body: bytes | None = None, kind: str = FORM, method: str = "", query: bytes = b""
) -> tuple[int, dict[str, str], Any]:
    """Status, headers and what is said; a body that is None never comes to an end."""
    scope = {
        "type": "http",
        "method": method or ("POST" if "/suggest" in path else "GET"),
        "path": path,
        "query_string": query,
        "headers": [(b"content-type", kind.encode())],
    }
    sent: list[dict[str, Any]] = []
    parts = [body[:3], body[3:]] if body is not None else []

    async def receive() -> dict[str, Any]:
        if not parts:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, json.loads(sent[1]["body"])


def answer(project: FakeProject, *args: Any, params: ServeParams = ServeParams(), **kwargs: Any) -> Any:  # noqa: B008
    return asyncio.run(ask(App([project], params, 1), *args, **kwargs))


def test_what_annif_tells_of_projects(project):
    one = project.shown()
    assert answer(project, "/v1/projects")[2] == {"projects": [one]}
    assert answer(project, "/v1/projects/tags")[2] == one
    assert answer(project, "/v1/")[2]["title"] == answer(project, "/v1")[2]["title"] == "disentangle"
    assert answer(project, "/health")[2] == {"status": "ok"}


def test_a_form_and_a_batch_are_answered(project):
    status, headers, said = answer(project, SUGGEST, b"text=a+b%20c&limit=2&project=x&metadata_title=y")
    assert (status, headers["content-type"], said) == (200, "application/json", {"results": ["a", "b"]})
    documents = {"documents": [{"text": "a b", "document_id": "1"}, {"text": "c", "metadata": {"x": "y"}}]}
    said = answer(project, BATCH, json.dumps(documents).encode(), JSON, query=b"limit=1&threshold=0.5")[2]
    assert said == [{"results": ["a"], "document_id": "1"}, {"results": ["c"], "document_id": None}]
    assert answer(project, BATCH, b'{"documents": []}', JSON)[2] == []
    assert not any(name.startswith("access-control") for name in headers)
    assert answer(project, SUGGEST, b"text=" + b"w+" * 12)[2] == {"results": ["w"] * 10}


def test_half_a_character_comes_back_as_it_came(project):
    documents = b'{"documents": [{"text": "\\ud800", "document_id": "\\udfff"}]}'
    said = answer(project, BATCH, documents, JSON)[2]
    assert said == [{"results": ["\ud800"], "document_id": "\udfff"}]


@pytest.mark.parametrize(
    ("path", "body", "kind", "status", "detail"),
    [
        ("/v2", b"", FORM, 404, "no such path: /v2"),
        ("/v1/projects/tags/learn", b"", JSON, 404, "no such path: /v1/projects/tags/learn"),
        ("/v1/projects/other", b"", FORM, 404, "no such project: other"),
        ("/v1/projects/other/suggest", b"text=x", FORM, 404, "no such project: other"),
        (SUGGEST, b"text=x", JSON, 415, f"the body must be {FORM}, got {JSON}"),
        (BATCH, b"{}", "", 415, f"the body must be {JSON}, got none"),
        (SUGGEST, b"", FORM, 400, "the body must have a field text, found none"),
        (SUGGEST, b"text=a&text=b", FORM, 400, "the body must have text once, found it more often"),
        (SUGGEST, b"text=x&limit=-1", FORM, 400, "limit must be at least 0, got -1"),
        (SUGGEST, b"text=x&limit=1.5", FORM, 400, "limit must be an integer, got 1.5"),
        (SUGGEST, b"text=x&limit=" + b"9" * 9999, FORM, 400, f"limit must be an integer, got {'9' * 37}..."),
        (SUGGEST, b"text=x&threshold=nan", FORM, 400, "threshold must be a number, got nan"),
        (SUGGEST, b"text=x&threshold=2", FORM, 400, "threshold must be at most 1, got 2.0"),
        (SUGGEST, b"text=x&language=fi", FORM, 400, "language must be en, got fi"),
        (BATCH, b"[]", JSON, 400, "the body must be an object, got list"),
        (BATCH, b"{}", JSON, 400, "documents must be a list, got none"),
        (BATCH, b'{"documents": ["x"]}', JSON, 400, "documents[0] must be an object, got str"),
        (BATCH, b'{"documents": [{"text": 7}]}', JSON, 400, "text of documents[0] must be a text, got int"),
        (SUGGEST, b"text=unfit", FORM, 503, "the model is not there"),
    ],
)
def test_a_wrong_request_gets_one_sentence_as_annif_gives_it(project, path, body, kind, status, detail):
    got, headers, said = answer(project, path, body, kind)
    assert (got, headers["content-type"]) == (status, "application/problem+json")
    assert said["detail"] == detail
    assert (said["status"], said["type"]) == (status, "about:blank")
    assert said["title"]


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 200_000, b'{"documents": [{"text": ' + b"9" * 5000])
def test_json_that_is_none_is_refused(project, body):
    status, _, said = answer(project, BATCH, body, JSON)
    assert (status, said["detail"][:22]) == (400, "the body must be JSON:")


def test_a_form_that_is_not_utf8_or_endless_is_refused(project):
    for body in (b"text=\xff", b"text=%ff", b"&".join(b"f%d=" % i for i in range(101))):
        status, _, said = answer(project, SUGGEST, body)
        assert (status, said["detail"][:34]) == (400, "the body must be a form in UTF-8: ")


def test_too_many_documents_are_refused(project):
    documents = json.dumps({"documents": [{"text": "x"}] * 33}).encode()
    assert answer(project, BATCH, documents, JSON)[2]["detail"] == "documents must be at most 32, got 33"


def test_another_method_is_told_which_there_are(project):
    status, headers, said = answer(project, SUGGEST, method="GET")
    assert (status, headers["allow"]) == (405, "POST")
    assert said["detail"] == "the method must be POST, got GET"
    assert answer(project, "/v1/projects", method="DELETE")[1]["allow"] == "GET, HEAD"


def test_a_body_may_be_as_long_as_the_limit_and_no_longer(project):
    params = ServeParams(max_body=8 / 2**20)
    assert answer(project, SUGGEST, b"text=abc", params=params)[0] == 200
    status, headers, said = answer(project, SUGGEST, b"text=abcd", params=params)
    assert (status, said["detail"]) == (413, "the body must be at most 8 bytes, got more")
    assert headers["connection"] == "close"


def test_a_body_that_does_not_come_is_given_up(project):
    status, _, said = answer(project, SUGGEST, None, params=ServeParams(timeout=0.01))  # type: ignore[arg-type]
    assert (status, said["title"]) == (408, "Request Timeout")


def test_an_answer_that_takes_too_long_is_given_up(project):
    status, _, said = answer(project, SUGGEST, b"text=wait", params=ServeParams(timeout=0.01))  # type: ignore[arg-type]
    assert (status, said["detail"][:24]) == (503, "the answer must be ready")


def test_one_more_than_it_takes_on_is_refused_at_once(project):
    app = App([project], ServeParams(concurrency=1), 1)

    async def both() -> tuple[Any, Any, Any]:
        first = asyncio.create_task(ask(app, SUGGEST, b"text=wait"))
        await asyncio.to_thread(project.entered.wait)
        second = await ask(app, SUGGEST, b"text=x")
        page = await ask(app, "/health")
        project.go_on.set()
        return await first, second, page, await ask(app, SUGGEST, b"text=x")

    first, second, page, after = asyncio.run(both())
    assert (second[0], second[1]["retry-after"]) == (503, "1")
    assert second[2]["detail"] == "the server is busy: requests at one time are at most 1"
    assert (first[0], page[0], after[0]) == (200, 200, 200)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (b"127.0.0.1:8000", 200),
        (b"LOCALHOST", 200),
        (b"[::1]:80", 200),
        (b"", 200),
        (b"127.0.0.1.evil.example", 421),
    ],
)
def test_a_server_for_this_machine_is_asked_by_its_own_names(project, host: bytes, status: int):
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/health",
        "headers": [(b"host", host)],
        "query_string": b"",
    }
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    for is_local, expected in ((True, status), (False, 200)):
        sent.clear()
        asyncio.run(App([project], ServeParams(), 1, is_local)(scope, asyncio.Event().wait, send))  # type: ignore[arg-type]
        assert sent[0]["status"] == expected


def test_what_is_given_up_keeps_its_place_until_it_ends(project):
    app = App([project], ServeParams(concurrency=1, timeout=0.01), 1)

    async def both() -> tuple[Any, Any, int]:
        first = await ask(app, SUGGEST, b"text=wait")
        second = await ask(app, SUGGEST, b"text=x")
        project.go_on.set()
        await asyncio.to_thread(app.close)
        return first, second, app._n_busy

    first, second, n_busy = asyncio.run(both())
    assert (first[0], first[2]["detail"][:24]) == (503, "the answer must be ready")
    assert second[2]["detail"].startswith("the server is busy")
    assert n_busy == 0


def test_an_error_after_all_have_left_is_no_traceback(project):
    app, told = App([project], ServeParams(timeout=0.01), 1), []

    async def ask_both() -> list[int]:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        both = [await ask(app, SUGGEST, text) for text in (b"text=wait", b"text=x")]
        project.go_on.set()
        await asyncio.to_thread(app.close)
        await asyncio.sleep(0)  # what the threads have found is told here
        gc.collect()
        return [status for status, *_ in both]

    assert asyncio.run(ask_both()) == [503, 503]
    assert told == []


def test_what_fails_says_so_and_keeps_the_reason_to_the_log(project, caplog):
    status, _, said = answer(project, SUGGEST, b"text=fail")
    assert (status, said["detail"]) == (500, "the server has failed, and its log says how")
    assert "a secret" in caplog.text


def test_log_lines_are_plain_and_have_no_texts(project, caplog):
    caplog.set_level("INFO", "disentangle")
    answer(project, "/v1/\x1b[31m\n" + "x" * 1000)
    answer(project, SUGGEST, b"text=private")
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0].startswith("GET /v1/\\x1b[31m\\n")
    assert len(lines[0]) < 300
    assert lines[1].startswith(f"POST {SUGGEST} 200 ")
    assert "private" not in caplog.text


def test_the_description_has_the_paths_that_there_are(project):
    described = answer(project, "/v1/openapi.json")[2]
    for path, methods in described["paths"].items():
        for method in methods.keys() - {"parameters"}:
            given = path.replace("{project_id}", "tags")
            if method == "get":
                assert answer(project, given)[0] == 200
            else:
                kind = next(iter(methods["post"]["requestBody"]["content"]))
                body = b"text=x" if kind == FORM else b'{"documents": [{"text": "x"}]}'
                assert answer(project, given, body, kind)[0] == 200


def test_the_policy_allows_no_script_in_the_page():
    headers = dict(Answer(b"", "text/html").lines())
    policy = headers[b"content-security-policy"].decode()
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy


def test_closing_waits_for_what_has_begun(project):
    app = App([project], ServeParams(), 1)
    asking = threading.Thread(target=lambda: asyncio.run(ask(app, SUGGEST, b"text=wait")))
    asking.start()
    project.entered.wait()
    closed: list[bool] = []
    closing = threading.Thread(target=lambda: (app.close(), closed.append(project.go_on.is_set())))
    closing.start()
    while not app._pool._shutdown:
        pass
    project.go_on.set()
    closing.join()
    asking.join()
    assert closed == [True]
