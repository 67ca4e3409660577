"""The server as a user starts it: it answers, drains, refuses what it cannot serve, stands what is sent."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import re
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import requests
import scipy.sparse as sp
from conftest import EMBEDDED, ROOT, refused, run_disentangle, run_python
from serve_annif import round_trip
from serve_load import send_malformed
from serving import Server, serving

import disentangle
from disentangle.serve.project import uris_of
from disentangle.serve.server import _listen

needs_uvicorn = pytest.mark.skipif(
    importlib.util.find_spec("uvicorn") is None,
    reason="no uvicorn: python -m pip install -r requirements-serve.txt",
)
N = 300


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return (EMBEDDED / "X.trn.txt").read_text(encoding="utf-8").splitlines()[-N:]


@pytest.fixture(scope="module")
def tags() -> list[list[str]]:
    names = (EMBEDDED / "output-items.txt").read_text(encoding="utf-8").splitlines()
    Y = sp.load_npz(EMBEDDED / "Y.trn.npz").tocsr()[-N:]
    return [[names[i] for i in Y[r].indices] for r in range(N)]


@pytest.fixture(scope="module")
def bundle(texts: list[str], tags: list[list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("serve") / "verbs"
    disentangle.LabelTreeClassifier(nr_splits=8, max_leaf_size=10).fit(texts, tags).save(folder)
    return folder


@needs_uvicorn
def test_it_suggests_what_the_bundle_does(bundle: Path, texts: list[str]):
    expected = disentangle.load(bundle).suggest(texts[:3], limit=4, threshold=0.01)
    with serving(bundle) as server:
        address = f"{server.url}/v1/projects/verbs/suggest-batch?limit=4&threshold=0.01"
        said = requests.post(address, json={"documents": [{"text": text} for text in texts[:3]]}).json()
        alone = requests.post(f"{server.url}/v1/projects/verbs/suggest", data={"text": texts[0], "limit": 0})
    found = [[(one["label"], one["score"]) for one in document["results"]] for document in said]
    assert found == [[(one.name, one.score) for one in labels] for labels in expected]
    assert any(found)
    assert said[0]["results"][0]["uri"].startswith("urn:x-label:")
    assert alone.json() == {"results": []}


def test_the_body_of_an_answer_does_not_wait_for_its_head_to_be_confirmed():
    with _listen("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@contextmanager
def half_a_request(server: Server) -> Iterator[socket.socket]:
    """A connection whose request has begun: the server has asked for its body, `text=walk`."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            b"POST /v1/projects/verbs/suggest HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n"
            b"Expect: 100-continue\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\n"
        )
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")
        yield connection


@needs_uvicorn
def test_it_answers_what_has_begun_before_it_ends(bundle: Path):
    with serving(bundle) as server, half_a_request(server) as connection:
        server.process.terminate()
        server.wait_for("ending")
        connection.sendall(b"text=walk")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
        assert server.process.wait() == 0
    assert "ended" in server.log[-1]


@needs_uvicorn
def test_a_second_signal_ends_it_at_once(bundle: Path):
    with serving(bundle) as server, half_a_request(server):
        server.process.terminate()
        server.wait_for("ending")
        server.process.terminate()
        assert server.process.wait() == 128 + signal.SIGTERM


@needs_uvicorn
def test_no_malformed_request_makes_it_fail(bundle: Path):
    with serving(bundle, "--timeout", "1") as server:
        got = asyncio.run(send_malformed(server.url, "verbs", 700, 5.0))
        assert requests.get(f"{server.url}/health").json() == {"status": "ok"}
    assert [sent for sent, status, _ in got if status in (500, 501, 502)] == []
    # Requests have come as far as their bodies, and are refused there.
    statuses = Counter(status for _, status, _ in got)
    assert min(statuses[status] for status in (400, 404, 415)) > 10
    assert sum(n for status, n in statuses.items() if status is not None and status >= 400) > 500
    for _, status, body in got:
        if status not in (None, 200) and body.startswith(b"{"):
            said = json.loads(body)
            assert said["status"] == status
            assert "\n" not in said["detail"]
    assert not any("Traceback" in line for line in server.log)
    # uvicorn's own lines have no time.
    assert all(re.match(r"\d\d:\d\d:\d\d ", line) for line in server.log)


@needs_uvicorn
def test_an_address_that_is_taken_is_one_sentence(bundle: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run_disentangle(bundle.parent, "serve", "verbs", "--port", str(port))
    refused(ended, rf"^error: cannot listen at 127\.0\.0\.1, port {port}: Address already in use$")


@needs_uvicorn
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("none",), "{place}/none must be a bundle, as `bundle` or `save` writes it, found none"),
        # Before any is read.
        (("none", "./verbs", "verbs"), "bundles must have folders of different names, got verbs twice"),
        (("verbs", "--host", ""), "--host must be an address, got ''"),
        (("verbs", "--concurrency", "0"), "--concurrency must be at least 1, got 0"),
        (("verbs", "--max-body", "0"), "--max-body must be above 0, got 0.0"),
    ],
)
def test_what_cannot_be_served_is_one_sentence(bundle: Path, arguments: tuple[str, ...], sentence: str):
    ended = run_disentangle(bundle.parent, "serve", *arguments, "--port", "0")
    said = sentence.format(place=bundle.parent)
    assert (ended.returncode, ended.stderr.splitlines()[-1].partition("error: ")[2]) == (2, said)


@needs_uvicorn
def test_a_calibrated_bundle_with_uris_answers_many_at_a_time_as_one(
    texts: list[str], tags: list[list[str]], tmp_path: Path
):
    model = disentangle.LabelTreeClassifier(nr_splits=8, max_leaf_size=10, calibrate=True).fit(texts, tags)
    model.save(tmp_path / "own", uris=[f"http://example.org/{i}" for i in range(len(model.classes_))])
    expected = disentangle.load(tmp_path / "own").suggest(texts[:8], limit=3)
    with serving(tmp_path / "own", "--threads", "3", "--language", "en") as server:
        address = f"{server.url}/v1/projects/own"

        def ask(text: str) -> bytes:
            return requests.post(
                f"{address}/suggest", data={"text": text, "limit": 3, "language": "en"}
            ).content

        alone = [ask(text) for text in texts[:8]]
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(ask, texts[:8])) == alone
        assert requests.get(address).json()["language"] == "en"
        wrong = requests.post(f"{address}/suggest", data={"text": texts[0], "language": "fi"})
        assert (wrong.status_code, wrong.json()["detail"]) == (400, "language must be en, got fi")
        assert requests.post(f"{address}/suggest", data={"text": texts[0], "limit": 10**6}).status_code == 200
    found = [
        [(one["uri"], one["label"], one["score"]) for one in json.loads(body)["results"]] for body in alone
    ]
    assert found == [[(one.uri, one.name, one.probability) for one in labels] for labels in expected]


def test_labels_of_one_name_have_uris_of_their_own():
    bundle = SimpleNamespace(names=["bank", "a rind", "bank", "bank"], uris=[None, None, None, "urn:b"])
    assert uris_of(bundle) == ["urn:x-label:bank:0", "urn:x-label:a%20rind", "urn:x-label:bank:2", "urn:b"]


@needs_uvicorn
def test_a_bundle_of_matrices_is_refused(tags: list[list[str]], tmp_path: Path):
    X = sp.random(N, 50, 0.2, "csr", np.float32, random_state=0)
    disentangle.LabelTreeClassifier(nr_splits=8, max_leaf_size=10).fit(X, tags).save(tmp_path / "matrices")
    ended = run_disentangle(tmp_path, "serve", "matrices", "--port", "0")
    refused(ended, "^error: matrices: texts need a model of texts")


def test_without_the_library_one_sentence_says_what_to_install(tmp_path: Path):
    # The interpreter that runs this may have it.
    code = (
        "import importlib.util, sys; find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *more: None if name == 'uvicorn' else find(name, *more)\n"
        "sys.argv = ['disentangle', 'serve', 'none']\n"
        "from disentangle.cli.main import main; main()"
    )
    ended = run_python(ROOT, "-c", code)
    sentence = "serve needs the package uvicorn, found none: python -m pip install -r requirements-serve.txt"
    assert (ended.returncode, ended.stderr) == (2, f"error: {sentence}\n")


@needs_uvicorn
@pytest.mark.slow
def test_annif_and_its_client_work_with_it(
    bundle: Path, texts: list[str], tags: list[list[str]], tmp_path: Path
):
    command = os.environ.get("ANNIF")
    if command is None:
        pytest.skip("no Annif: set ANNIF to its command, in an environment with annif and annif-client")
    names = disentangle.load(bundle).names
    number = {name: i for i, name in enumerate(names)}
    cells = [(r, number[tag]) for r, row in enumerate(tags[:20]) for tag in row]
    rows, columns = zip(*cells, strict=True)
    Y = sp.csr_matrix(([1.0] * len(cells), (rows, columns)), shape=(20, len(names)))
    found = round_trip(Path(command), tmp_path, bundle, texts[:20], Y)
    client = found["client"]
    assert client["project"]["project_id"] == "verbs"
    assert client["projects"] == [client["project"]]
    assert client["refused"] == "no such project: no-such-project"
    assert [document["document_id"] for document in client["batch"]] == ["0", "1", "2"]
    assert client["batch"][0]["results"] == client["one"][:2]
    first = found["suggest"][1].split("\t")
    assert first[:2] == [f"<{client['one'][0]['uri']}>", client["one"][0]["label"]]
    assert found["eval"]["Precision@1"] == pytest.approx(found["P@1"])
    assert found["P@1"] > 0
