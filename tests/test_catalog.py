"""Known datasets: fetched from a real server or a folder, verified, unpacked, of the published sizes."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import scipy.sparse as sp
from conftest import Command, run_disentangle
from server import Answer, Server

from disentangle import catalog, data, stages
from disentangle.catalog import Entry
from disentangle.errors import DisentangleError

NAME = "wiki10-31k"


def pack(folder: Path, name: str = NAME, inside: str = "xmc-base") -> bytes:
    """A dataset's folder as an archive of PECOS's."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.add(folder, f"{inside}/{name}" if inside else name)
    return packed.getvalue()


@pytest.fixture
def archive(verbs: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """An archive of real data under a known name, whose published sizes are those of the data."""
    sizes = data.sizes_in(verbs / "verbs")
    entry = catalog.entries()[NAME]
    known = catalog.entries() | {NAME: Entry(entry.archive, ({"source": "a paper"} | sizes,), {})}
    monkeypatch.setattr(catalog, "entries", lambda: known)
    return pack(verbs / "verbs")


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def mirror(server: Server) -> str:
    return server.url.rpartition("/")[0]


def test_a_dataset_is_fetched_unpacked_and_recorded(
    archive: bytes, server: Server, tmp_path: Path, verbs: Path
):
    server.content = archive
    folder = catalog.get(tmp_path / "data", NAME, mirror(server))
    before, after = data.load_dataset(verbs, "verbs"), data.load_dataset(tmp_path / "data", NAME)
    assert (before.X_trn != after.X_trn).nnz == 0
    assert files(tmp_path / "data") == [NAME, f"{NAME}.tar.gz.sha256"]
    origin = json.loads((folder / "source.json").read_text())
    assert origin["source"] == f"{mirror(server)}/{NAME}.tar.gz"
    assert origin["size"] == len(archive)
    recorded = (tmp_path / "data" / f"{NAME}.tar.gz.sha256").read_text()
    assert recorded == f"{origin['sha256']}  {NAME}.tar.gz\n"
    catalog.get(tmp_path / "data", NAME, mirror(server))
    assert len(server.seen) == 1


def test_a_mirror_may_be_a_folder_whose_archive_stays(archive: bytes, tmp_path: Path):
    source = tmp_path / "mirror" / f"{NAME}.tar.gz"
    source.parent.mkdir()
    source.write_bytes(archive)
    catalog.get(tmp_path / "data", NAME, str(source.parent))
    assert data.load_dataset(tmp_path / "data", NAME).Y_trn.nnz
    assert source.read_bytes() == archive
    with pytest.raises(DisentangleError, match=r"must be a URL or a folder with eurlex-4k\.tar\.gz"):
        catalog.get(tmp_path / "data", "eurlex-4k", str(source.parent))


def test_a_broken_download_goes_on_with_the_next_call(archive: bytes, server: Server, tmp_path: Path):
    server.content = archive
    server.answers = [Answer(status=404, headers={"Content-Range": None})]
    with pytest.raises(DisentangleError, match=r"cannot download .*404"):
        catalog.get(tmp_path / "data", NAME, mirror(server))
    server.answers = [Answer(cut=1000)] + [Answer(hang_up=True)] * 6
    with pytest.raises(DisentangleError, match="the same command goes on from the"):
        catalog.get(tmp_path / "data", NAME, mirror(server))
    server.answers.clear()
    catalog.get(tmp_path / "data", NAME, mirror(server))
    assert server.ranges()[-1] == "bytes=1000-"
    assert data.load_dataset(tmp_path / "data", NAME).Y_trn.nnz


def test_another_archive_than_the_first_is_refused(
    archive: bytes, server: Server, tmp_path: Path, verbs: Path
):
    server.content = archive
    folder = catalog.get(tmp_path / "data", NAME, mirror(server))
    shutil.rmtree(folder)
    server.content, server.etag = pack(verbs / "verbs", inside=""), '"other"'
    with pytest.raises(DisentangleError, match=r"must have the sha256 that .*\.sha256 recorded at first"):
        catalog.get(tmp_path / "data", NAME, mirror(server))
    assert files(tmp_path / "data") == [f"{NAME}.tar.gz.sha256"]
    (tmp_path / "data" / f"{NAME}.tar.gz.sha256").unlink()
    catalog.get(tmp_path / "data", NAME, mirror(server))
    assert data.load_dataset(tmp_path / "data", NAME).Y_trn.nnz


def without(file: str) -> Callable[[Path], None]:
    return lambda folder: (folder / file).unlink()


def no_matrix(folder: Path) -> None:
    (folder / "Y.tst.npz").write_text("0 1\n")


def one_less(folder: Path) -> None:
    for file in ("Y.tst.npz", "tfidf-attnxml/X.tst.npz"):
        sp.save_npz(folder / file, sp.load_npz(folder / file)[1:])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("Y.trn.npz"), "must hold Y.trn.npz, found no such file"),
        (without("tfidf-attnxml/X.tst.npz"), "must hold tfidf-attnxml/X.tst.npz, found no such file"),
        (no_matrix, "Y.tst.npz is damaged or no sparse matrix"),
        (one_less, "4,000 train instances, 1,000 test instances, .* labels .a paper., got .* 999 test"),
    ],
)
def test_an_archive_of_something_else_is_refused(
    archive: bytes, server: Server, tmp_path: Path, verbs: Path, change: Callable[[Path], None], message: str
):
    shutil.copytree(verbs / "verbs", tmp_path / "changed")
    change(tmp_path / "changed")
    server.content = pack(tmp_path / "changed")
    with pytest.raises(DisentangleError, match=message) as error:
        catalog.get(tmp_path / "data", NAME, mirror(server))
    assert ".tmp-" not in str(error.value)
    assert not (tmp_path / "data" / NAME).exists()


def test_other_sizes_are_taken_on_demand(
    archive: bytes, server: Server, tmp_path: Path, verbs: Path, caplog: pytest.LogCaptureFixture
):
    shutil.copytree(verbs / "verbs", tmp_path / "changed")
    one_less(tmp_path / "changed")
    server.content = pack(tmp_path / "changed")
    with pytest.raises(DisentangleError, match="other sizes than published"):
        catalog.get(tmp_path / "data", NAME, mirror(server))
    assert not (tmp_path / "data").exists()
    catalog.get(tmp_path / "data", NAME, mirror(server), any_size=True)
    assert "has other sizes than published" in caplog.text
    assert data.sizes_in(tmp_path / "data" / NAME)["n_test_instances"] == 999


@pytest.mark.parametrize("content", [b"", b"<html>Not here</html>", b"\x1f\x8b\x08 damaged"])
def test_a_damaged_archive_is_removed_so_that_the_next_call_fetches_anew(
    archive: bytes, server: Server, tmp_path: Path, content: bytes
):
    server.content = content
    with pytest.raises(DisentangleError, match=r"is damaged or no \.tar\.gz archive"):
        catalog.get(tmp_path / "data", NAME, mirror(server))
    server.content, server.etag = archive, '"mended"'
    catalog.get(tmp_path / "data", NAME, mirror(server))
    assert data.load_dataset(tmp_path / "data", NAME).Y_trn.nnz


def hostile(**member: Any) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        info = tarfile.TarInfo(member.pop("name"))
        for key, value in member.items():
            setattr(info, key, value)
        archive.addfile(info)
    return packed.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        hostile(name="/etc/evil"),
        hostile(name=f"{NAME}/../../evil"),
        hostile(name=f"{NAME}/evil", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        hostile(name="other-set/Y.trn.npz"),
    ],
)
def test_a_hostile_archive_leaves_nothing(archive: bytes, server: Server, tmp_path: Path, content: bytes):
    server.content = content
    with pytest.raises(DisentangleError, match="is not unpacked because of"):
        catalog.get(tmp_path / "a" / "data", NAME, mirror(server))
    assert not (tmp_path / "a" / "data").exists()


def test_an_archive_that_an_interrupted_call_left_is_used_if_it_is_from_the_same_place(
    archive: bytes, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def stop(*args: object) -> None:
        raise KeyboardInterrupt

    server.content = archive
    for other, n_requests in (("", 1), ("/elsewhere", 2)):
        with monkeypatch.context() as patch:
            patch.setattr("disentangle.archive.unpack", stop)
            with pytest.raises(KeyboardInterrupt):
                catalog.get(tmp_path / "data", NAME, mirror(server) + other)
        assert len(server.seen) == n_requests
    folder = catalog.get(tmp_path / "data", NAME, mirror(server) + "/elsewhere")
    assert len(server.seen) == 2
    assert json.loads((folder / "source.json").read_text())["source"].endswith(f"/elsewhere/{NAME}.tar.gz")
    assert files(tmp_path / "data") == [NAME, f"{NAME}.tar.gz.sha256"]


def test_something_else_of_that_name_is_in_the_way(tmp_path: Path):
    (tmp_path / NAME).mkdir()
    with pytest.raises(DisentangleError, match=rf"{NAME} is in the way"):
        catalog.get(tmp_path, NAME, "http://127.0.0.1:9")


def test_an_unknown_name_lists_the_known(tmp_path: Path):
    with pytest.raises(
        DisentangleError, match=r"no dataset 'wiki' to fetch: known are eurlex-4k, .*amazon-3m"
    ):
        catalog.get(tmp_path, "wiki")


def test_two_at_once_are_one_too_many(archive: bytes, server: Server, tmp_path: Path):
    with (
        stages.claim(tmp_path / NAME),
        pytest.raises(DisentangleError, match=rf"another run is at work in .*\.{NAME}\.lock is held"),
    ):
        catalog.get(tmp_path, NAME, mirror(server))


def test_a_job_fetches_what_it_lacks(archive: bytes, server: Server, tmp_path: Path, verbs: Path):
    """The command line, in a process of its own, which knows the true published sizes."""
    server.content = archive
    result = run_disentangle(tmp_path, "base", NAME, "--mirror", mirror(server))
    assert result.returncode == 2
    assert (
        "other sizes than published: expected 14,146 train instances, 6,616 test instances" in result.stderr
    )
    assert result.stderr.count("\n") < 10
    assert "Traceback" not in result.stderr
    got = run_disentangle(tmp_path, "data", "get", NAME, "--mirror", mirror(server), "--any-size")
    assert got.returncode == 0
    assert got.stdout == f"dataset/xmc-base/{NAME}\n"
    run = run_disentangle(tmp_path, "base", NAME, "--max-leaf-size", "20", "--nr-splits", "8")
    assert run.returncode == 0, run.stderr
    check = run_disentangle(tmp_path, "data", "check", NAME)
    assert check.returncode == 1
    assert "warning: other sizes than published" in check.stdout


def test_a_server_that_is_not_there(disentangle: Command, server: Server):
    result = disentangle("data", "get", NAME, "--mirror", "ftp://example.org")
    assert result.returncode == 2
    assert result.stderr == ("error: a download must have an http or https URL, got 'ftp://example.org'\n")


def test_settings_are_read_by_name_and_given_ones_go_first(verbs: Path, tmp_path: Path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "wiki-500k").symlink_to(verbs / "verbs")
    tree = ("--data-dir", "data", "--max-leaf-size", "20", "--nr-splits", "8")
    for options, expected in (((), {"A": 0.5, "B": 0.4}), (("--propensity-a", "0.6"), {"A": 0.6, "B": 0.4})):
        result = run_disentangle(tmp_path, "base", "wiki-500k", *tree, *options)
        assert result.returncode == 0, result.stderr
        report = json.loads((tmp_path / "model" / "wiki-500k" / "base" / "report.json").read_text())
        assert report["params"]["propensity"] == expected
        assert report["dataset_settings"] == {"A": 0.5, "B": 0.4}
    assert "xr-linear ..." not in result.stderr  # propensities change no model


def test_every_file_of_settings_can_be_used():
    fields = {"A", "B", "nr_splits", "max_leaf_size", "beam_size", "top_k", "n_copies", "rounds"}
    assert len(catalog.entries()) == 6
    for name, entry in catalog.entries().items():
        assert entry.archive == f"{name}.tar.gz"
        assert set(entry.settings) <= fields
        for one in entry.published:
            assert set(one) == {"source", *data.SIZES}
    assert catalog.settings_of("amazon-670k") == catalog.settings_of("amazon-3m") == {"A": 0.6, "B": 2.6}
    assert catalog.settings_of("my-own") == {}
