"""X-Transformer's features: fetched from a real server or taken from a folder, whole or not at all."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from conftest import Command, ok, refused
from server import Answer, Server

from disentangle.data import datasets, download
from disentangle.data.features import FeatureSet
from disentangle.errors import DisentangleError
from disentangle.jobs import published_features
from disentangle.jobs.published_features import NAME, get

N = {"trn": 4000, "tst": 1000}


@pytest.fixture
def data_dir(verbs: Path, tmp_path: Path) -> Path:
    shutil.copytree(verbs / "verbs", tmp_path / "data" / "verbs")
    return tmp_path / "data"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with both parts, sparse and dense."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for part, n in N.items():
        rows = rng.normal(size=(n, 5)).astype(np.float32)
        np.save(folder / f"emb.{part}.npy", rows)
        sp.save_npz(folder / f"X.{part}.npz", sp.csr_matrix(rows))
    return folder


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def url(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The same, on a server."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=str(place))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_they_are_fetched_checked_and_recorded(data_dir: Path, place: Path, url: str):
    before = names(data_dir / "verbs")
    folder = get(data_dir, "verbs", url)
    assert folder == data_dir / "verbs" / NAME
    assert names(folder) == ["X.trn.npz", "X.tst.npz", "source.json"]
    assert (folder / "X.tst.npz").read_bytes() == (place / "X.tst.npz").read_bytes()
    assert json.loads((folder / "source.json").read_text())["source"] == [
        f"{url}/X.trn.npz",
        f"{url}/X.tst.npz",
    ]
    assert names(data_dir / "verbs") == sorted([*before, NAME, f"{NAME}.sha256"])
    assert datasets.load_dataset(data_dir, "verbs", NAME).is_dense is not None
    (place / "X.trn.npz").unlink()
    assert get(data_dir, "verbs", url) == folder  # nothing is fetched again


def test_dense_ones_become_a_block_beside_the_tf_idf(data_dir: Path, place: Path):
    folder = get(data_dir, "verbs", str(place), ("emb.trn.npy", "emb.tst.npy"))
    made = FeatureSet.at(folder)
    assert [(block.name, block.kind, block.is_normalised) for block in made.blocks] == [
        ("tfidf", "sparse", False),
        ("embedding", "dense", True),
    ]
    X, tfidf = made.load("tst"), sp.load_npz(data_dir / "verbs" / "tfidf-attnxml" / "X.tst.npz")
    rows = np.load(place / "emb.tst.npy")
    assert (X[:, :-5] != tfidf).nnz == 0
    expected = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    assert X[:, -5:].toarray() == pytest.approx(expected, abs=1e-6)


def test_a_download_that_breaks_off_goes_on_with_the_next_call(
    data_dir: Path, place: Path, server: Server, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    server.content = (place / "X.trn.npz").read_bytes()
    server.answers = [Answer(cut=1000)]
    where = server.url.rpartition("/")[0]
    with pytest.raises(DisentangleError, match="the same command goes on from"):
        get(data_dir, "verbs", where)
    assert not (data_dir / "verbs" / NAME).exists()
    # The server has one content for all, so the second part has the rows of the first.
    with pytest.raises(DisentangleError, match=r"X.tst.npz must have 1,000 rows, one an instance, got 4,000"):
        get(data_dir, "verbs", where)
    assert server.ranges() == [None, "bytes=1000-", None]
    assert server.paths == ["/X.trn.npz", "/X.trn.npz", "/X.tst.npz"]
    assert not [name for name in names(data_dir / "verbs") if NAME in name or name.startswith(".X")]


def test_others_than_at_first_are_refused(data_dir: Path, place: Path):
    shutil.rmtree(get(data_dir, "verbs", str(place)))
    sp.save_npz(place / "X.tst.npz", 2 * sp.load_npz(place / "X.tst.npz"))
    with pytest.raises(DisentangleError, match=r"must have the sha256 that .*x-transformer.sha256 recorded"):
        get(data_dir, "verbs", str(place))
    (data_dir / "verbs" / f"{NAME}.sha256").unlink()
    assert get(data_dir, "verbs", str(place)).is_dir()


def nothing(place: Path) -> None:
    (place / "X.tst.npz").unlink()


def damaged(place: Path) -> None:
    content = (place / "X.tst.npz").read_bytes()
    (place / "X.tst.npz").write_bytes(content[: len(content) // 2])


def not_a_number(place: Path) -> None:
    X = sp.load_npz(place / "X.tst.npz")
    X.data[3] = np.nan
    sp.save_npz(place / "X.tst.npz", X)


def one_column_less(place: Path) -> None:
    sp.save_npz(place / "X.tst.npz", sp.load_npz(place / "X.tst.npz")[:, 1:])


def pickled(place: Path) -> None:
    np.savez(place / "X.tst.npz", np.array([{}], dtype=object))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (nothing, r"must be a URL or a folder with X.tst.npz"),
        (damaged, r"theirs/X.tst.npz is damaged"),
        (not_a_number, r"theirs/X.tst.npz .*nan"),
        (one_column_less, r"theirs/X.tst.npz must have as many columns as the other, got 4"),
        (pickled, r"theirs/X.tst.npz is damaged or no sparse matrix"),
    ],
)
def test_what_is_wrong_is_said_and_leaves_nothing(data_dir: Path, place: Path, spoil, message: str):
    spoil(place)
    before = names(data_dir / "verbs")
    with pytest.raises(DisentangleError, match=message) as caught:
        get(data_dir, "verbs", str(place))
    assert ".tmp" not in str(caught.value)
    assert names(data_dir / "verbs") == before
    assert "X.trn.npz" in names(place)  # a user's own stays


@pytest.mark.parametrize(
    "given", [("X.trn.npz", "X.trn.npz"), ("a.npz", "b.npy"), ("a.tar.gz", "b.tar.gz"), ("../a.npz", "b.npz")]
)
def test_names_that_no_part_can_have(data_dir: Path, given: tuple[str, str]):
    with pytest.raises(DisentangleError, match=r"--files must be two names that both end in .npz or in .npy"):
        get(data_dir, "verbs", "nowhere", given)


def test_something_else_of_that_name_is_in_the_way(data_dir: Path, place: Path):
    (data_dir / "verbs" / NAME).mkdir()
    with pytest.raises(DisentangleError, match="is in the way"):
        get(data_dir, "verbs", str(place))


def test_the_command(data_dir: Path, place: Path, disentangle: Command, server: Server):
    given = ("data", "get", "verbs", "--data-dir", data_dir)
    ended = disentangle(*given, "--from", place)
    assert refused(ended, "--from and --files must come with --features x-transformer").stdout == ""
    server.answers = [Answer(status=404)]
    ended = disentangle(*given, "--features", NAME, "--from", server.url.rpartition("/")[0])
    refused(ended, "the server answered 404")
    ended = ok(disentangle(*given, "--features", NAME, "--from", place))
    assert ended.stdout == f"{data_dir / 'verbs' / NAME}\n"
    assert published_features.FILES == ("X.trn.npz", "X.tst.npz")
