"""Known datasets: fetched from a real server or a folder, verified, unpacked, of the published sizes."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from conftest import Command, ok, refused, run_disentangle
from server import Answer, Server

from disentangle.cli import main
from disentangle.data import datasets, known_datasets
from disentangle.data.known_datasets import Entry
from disentangle.errors import DisentangleError
from disentangle.runtime import memory
from disentangle.storage import atomic

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
    sizes = datasets.sizes_in(verbs / "verbs")
    known = known_datasets.entries() | {NAME: Entry(({"source": "a paper"} | sizes,), {})}
    monkeypatch.setattr(known_datasets, "entries", lambda: known)
    return pack(verbs / "verbs")


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def mirror(server: Server) -> str:
    return server.url.rpartition("/")[0]


def test_a_dataset_is_fetched_unpacked_and_recorded(
    archive: bytes, server: Server, tmp_path: Path, verbs: Path
):
    server.content = archive
    folder = known_datasets.get(tmp_path / "data", NAME, mirror(server))
    before, after = datasets.load_dataset(verbs, "verbs"), datasets.load_dataset(tmp_path / "data", NAME)
    assert (before.X_trn != after.X_trn).nnz == 0
    assert files(tmp_path / "data") == [NAME, f"{NAME}.tar.gz.sha256"]
    origin = json.loads((folder / "source.json").read_text())
    assert origin["source"] == f"{mirror(server)}/{NAME}.tar.gz"
    assert origin["size"] == len(archive)
    recorded = (tmp_path / "data" / f"{NAME}.tar.gz.sha256").read_text()
    assert recorded == f"{origin['sha256']}  {NAME}.tar.gz\n"
    known_datasets.get(tmp_path / "data", NAME, mirror(server))
    assert len(server.seen) == 1


def test_a_mirror_may_be_a_folder_whose_archive_stays(archive: bytes, tmp_path: Path):
    source = tmp_path / "mirror" / f"{NAME}.tar.gz"
    source.parent.mkdir()
    source.write_bytes(archive)
    known_datasets.get(tmp_path / "data", NAME, str(source.parent))
    assert datasets.load_dataset(tmp_path / "data", NAME).Y_trn.nnz
    assert source.read_bytes() == archive


@pytest.mark.parametrize(
    "make",
    [
        lambda path: None,
        lambda path: path.symlink_to("nowhere"),
        lambda path: path.mkdir(),
        os.mkfifo,
        lambda path: path.symlink_to("/dev/zero"),
    ],
)
def test_what_is_no_file_with_an_end_is_not_waited_for(make: Callable[[Path], object], tmp_path: Path):
    source = tmp_path / "mirror" / f"{NAME}.tar.gz"
    source.parent.mkdir()
    make(source)
    with pytest.raises(DisentangleError) as caught:
        known_datasets.get(tmp_path / "data", NAME, str(source.parent))
    assert files(tmp_path) == ["mirror"]
    expected = f"the mirror {source.parent} must be a URL or a folder with {NAME}.tar.gz, found no such file"
    assert str(caught.value) == expected


def test_a_broken_download_goes_on_with_the_next_call(archive: bytes, server: Server, tmp_path: Path):
    server.content = archive
    server.answers = [Answer(status=404, headers={"Content-Range": None})]
    with pytest.raises(DisentangleError, match=r"cannot download .*404"):
        known_datasets.get(tmp_path / "data", NAME, mirror(server))
    server.answers = [Answer(cut=1000)] + [Answer(hang_up=True)] * 6
    with pytest.raises(DisentangleError, match="the same command goes on from the"):
        known_datasets.get(tmp_path / "data", NAME, mirror(server))
    server.answers.clear()
    known_datasets.get(tmp_path / "data", NAME, mirror(server))
    assert server.ranges()[-1] == "bytes=1000-"
    assert datasets.load_dataset(tmp_path / "data", NAME).Y_trn.nnz


def test_another_archive_than_the_first_is_refused(
    archive: bytes, server: Server, tmp_path: Path, verbs: Path
):
    server.content = archive
    folder = known_datasets.get(tmp_path / "data", NAME, mirror(server))
    shutil.rmtree(folder)
    server.content, server.etag = pack(verbs / "verbs", inside=""), '"other"'
    with pytest.raises(DisentangleError, match=r"must have the sha256 that .*\.sha256 recorded at first"):
        known_datasets.get(tmp_path / "data", NAME, mirror(server))
    assert files(tmp_path / "data") == [f"{NAME}.tar.gz.sha256"]
    (tmp_path / "data" / f"{NAME}.tar.gz.sha256").unlink()
    known_datasets.get(tmp_path / "data", NAME, mirror(server))
    assert datasets.load_dataset(tmp_path / "data", NAME).Y_trn.nnz


def without(file: str) -> Callable[[Path], None]:
    return lambda folder: (folder / file).unlink()


def a_folder(file: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / file).unlink(missing_ok=True)
        (folder / file).mkdir()
        (folder / file / "file").touch()

    return change


def one_less(folder: Path) -> None:
    for file in ("Y.tst.npz", "tfidf-attnxml/X.tst.npz"):
        sp.save_npz(folder / file, sp.load_npz(folder / file)[1:])


def one_more(folder: Path) -> None:
    matrix = sp.load_npz(folder / "tfidf-attnxml/X.trn.npz")
    sp.save_npz(folder / "tfidf-attnxml/X.trn.npz", sp.vstack([matrix, matrix[:1]]))


def damaged(folder: Path) -> None:
    """The shape can be read, the rest cannot."""
    path = folder / "tfidf-attnxml/X.trn.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


def displaced(folder: Path) -> None:
    """The list at the end of an npz file points in front of its start, which is an OSError of zipfile's."""
    path = folder / "Y.trn.npz"
    content = path.read_bytes()
    path.write_bytes(content[:-6] + (2**31 - 1).to_bytes(4, "little") + content[-2:])


def escape_codes(folder: Path) -> None:
    path = folder / "Y.trn.npz"
    with np.load(path) as arrays:
        np.savez(path, **(dict(arrays) | {"format": np.array(b"\x1b[2J")}))


SOMETHING_ELSE = [
    (without("tfidf-attnxml/X.tst.npz"), "must hold tfidf-attnxml/X.tst.npz, found no such file"),
    (a_folder("Y.trn.npz"), "must hold Y.trn.npz, found a folder"),
    (a_folder("source.json"), "must hold source.json as a file or not at all, found a folder"),
    (one_less, "4,000 train instances, 1,000 test instances, .* labels .a paper., got .* 999 test"),
    (one_more, "must have as many instances as X.trn.npz .4001., got 4000"),
    (damaged, "X.trn.npz is damaged or no sparse matrix"),
    (displaced, "Y.trn.npz is damaged or no sparse matrix"),
    (escape_codes, r"Y.trn.npz is damaged or no sparse matrix .*x1b\[2J"),
]


@pytest.mark.parametrize(("change", "message"), SOMETHING_ELSE)
def test_an_archive_of_something_else_is_refused_and_forgotten(
    archive: bytes, server: Server, tmp_path: Path, verbs: Path, change: Callable[[Path], None], message: str
):
    shutil.copytree(verbs / "verbs", tmp_path / "changed")
    change(tmp_path / "changed")
    server.content = pack(tmp_path / "changed")
    with pytest.raises(DisentangleError, match=message) as error:
        known_datasets.get(tmp_path / "data", NAME, mirror(server))
    assert ".tmp-" not in str(error.value)
    assert not (tmp_path / "data").exists()
    server.content, server.etag = archive, '"mended"'
    known_datasets.get(tmp_path / "data", NAME, mirror(server))
    assert datasets.load_dataset(tmp_path / "data", NAME).Y_trn.nnz


def fail(error: OSError | MemoryError) -> Callable[..., None]:
    def stop(*args: object) -> None:
        if isinstance(error, MemoryError):
            raise error
        raise DisentangleError(f"cannot write {args[1]}/x: {error.strerror}") from error

    return stop


@pytest.mark.parametrize(
    ("error", "n_requests"),
    [
        (OSError(errno.ENOSPC, "full"), 1),
        (OSError(errno.EIO, "broken"), 1),
        (MemoryError(), 1),
        (OSError(errno.EINVAL, "an offset"), 2),
    ],
)
def test_a_disk_that_fails_costs_no_second_download(
    archive: bytes,
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: OSError | MemoryError,
    n_requests: int,
):
    server.content = archive
    with monkeypatch.context() as patch:
        patch.setattr("disentangle.data.archive.unpack", fail(error))
        with pytest.raises((DisentangleError, MemoryError)) as caught:
            known_datasets.get(tmp_path / "data", NAME, mirror(server))
    assert (f"cannot write {tmp_path / 'data' / NAME}/x" in str(caught.value)) == (
        n_requests == 1 and isinstance(error, OSError)
    )
    known_datasets.get(tmp_path / "data", NAME, mirror(server))
    assert len(server.seen) == n_requests


def test_a_matrix_larger_than_memory_costs_no_second_download(
    archive: bytes, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    server.content = archive
    with monkeypatch.context() as patch:
        patch.setattr(memory, "_least", lambda: (1, "here"))
        with pytest.raises(DisentangleError, match=r"once unpacked, needs about .* GiB are available here"):
            known_datasets.get(tmp_path / "data", NAME, mirror(server))
    known_datasets.get(tmp_path / "data", NAME, mirror(server))
    assert len(server.seen) == 1


SECRET = "s3cret"


def test_a_mirrors_secrets_work_and_stay_secret(
    archive: bytes,
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    caplog.set_level(logging.INFO)
    server.content = archive
    place = f"{mirror(server).replace('//', f'//me:{SECRET}@')}/sets?token={SECRET}"
    with monkeypatch.context() as patch:
        patch.setattr("disentangle.data.archive.unpack", fail(OSError(errno.ENOSPC, "full")))
        with pytest.raises(DisentangleError) as caught:
            known_datasets.get(tmp_path / "data", NAME, place)
    kept = [path.read_bytes() for path in (tmp_path / "data").iterdir()]
    folder = known_datasets.get(tmp_path / "data", NAME, place)
    assert server.paths == [f"/sets/{NAME}.tar.gz?token={SECRET}"]  # asked once
    assert "Authorization" in server.seen[0]
    source = json.loads((folder / "source.json").read_text())["source"]
    assert source == f"{mirror(server)}/sets/{NAME}.tar.gz?..."
    kept += [path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert not any(SECRET.encode() in content for content in kept)
    assert SECRET not in caplog.text + str(caught.value)


@pytest.mark.parametrize("command", [["data", "get"], ["base"]])
def test_help_does_not_show_the_environments_mirror(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("XMC_MIRROR", f"http://me:{SECRET}@host/")
    with pytest.raises(SystemExit):
        main._parser().parse_args([*command, "--help"])
    assert SECRET not in capsys.readouterr().out
    assert main._parser().parse_args([*command, NAME]).mirror == f"http://me:{SECRET}@host/"
    assert main._parser().parse_args([*command, NAME, "--mirror", "here"]).mirror == "here"


def test_other_sizes_are_taken_on_demand(
    archive: bytes, server: Server, tmp_path: Path, verbs: Path, caplog: pytest.LogCaptureFixture
):
    shutil.copytree(verbs / "verbs", tmp_path / "changed")
    one_less(tmp_path / "changed")
    server.content = pack(tmp_path / "changed")
    with pytest.raises(DisentangleError, match="other sizes than published"):
        known_datasets.get(tmp_path / "data", NAME, mirror(server))
    assert not (tmp_path / "data").exists()
    known_datasets.get(tmp_path / "data", NAME, mirror(server), any_size=True)
    assert "has other sizes than published" in caplog.text
    assert datasets.sizes_in(tmp_path / "data" / NAME)["n_test_instances"] == 999


@pytest.mark.parametrize("content", [b"", b"<html>Not here</html>", b"\x1f\x8b\x08 damaged"])
def test_a_damaged_archive_is_removed_so_that_the_next_call_fetches_anew(
    archive: bytes, server: Server, tmp_path: Path, content: bytes
):
    server.content = content
    with pytest.raises(
        DisentangleError, match=rf"^{mirror(server)}/{NAME}.tar.gz is damaged or no \.tar\.gz "
    ):
        known_datasets.get(tmp_path / "data", NAME, mirror(server))
    server.content, server.etag = archive, '"mended"'
    known_datasets.get(tmp_path / "data", NAME, mirror(server))
    assert datasets.load_dataset(tmp_path / "data", NAME).Y_trn.nnz


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
        hostile(name=f"{NAME}/../../evil"),
        hostile(name=f"{NAME}/evil", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        hostile(name=f"{NAME}/{'é' * 200}"),  # more bytes than a name may have
    ],
)
def test_a_hostile_archive_leaves_nothing(archive: bytes, server: Server, tmp_path: Path, content: bytes):
    server.content = content
    with pytest.raises(DisentangleError, match="is not unpacked because of"):
        known_datasets.get(tmp_path / "a" / "data", NAME, mirror(server))
    assert not (tmp_path / "a" / "data").exists()
    server.content, server.etag = archive, '"mended"'
    known_datasets.get(tmp_path / "a" / "data", NAME, mirror(server))


def test_an_archive_that_an_interrupted_call_left_is_used_if_it_is_from_the_same_place(
    archive: bytes, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def stop(*args: object) -> None:
        raise KeyboardInterrupt

    server.content = archive
    for other, n_requests in (("", 1), ("/elsewhere", 2)):
        with monkeypatch.context() as patch:
            patch.setattr("disentangle.data.archive.unpack", stop)
            with pytest.raises(KeyboardInterrupt):
                known_datasets.get(tmp_path / "data", NAME, mirror(server) + other)
        assert len(server.seen) == n_requests
    folder = known_datasets.get(tmp_path / "data", NAME, mirror(server) + "/elsewhere")
    assert len(server.seen) == 2
    assert json.loads((folder / "source.json").read_text())["source"].endswith(f"/elsewhere/{NAME}.tar.gz")
    assert files(tmp_path / "data") == [NAME, f"{NAME}.tar.gz.sha256"]


def test_something_else_of_that_name_is_in_the_way(tmp_path: Path):
    (tmp_path / NAME).mkdir()
    with pytest.raises(DisentangleError, match=rf"{NAME} is in the way"):
        known_datasets.get(tmp_path, NAME, "http://127.0.0.1:9")


def test_an_unknown_name_lists_the_known(tmp_path: Path):
    with pytest.raises(
        DisentangleError, match=r"no dataset 'wiki' to fetch: known are eurlex-4k, .*amazon-3m"
    ):
        known_datasets.get(tmp_path, "wiki")


def test_two_at_once_are_one_too_many(archive: bytes, server: Server, tmp_path: Path):
    with (
        atomic.claim(tmp_path / NAME),
        pytest.raises(DisentangleError, match=rf"another run is at work in .*\.{NAME}\.lock is held"),
    ):
        known_datasets.get(tmp_path, NAME, mirror(server))


def test_a_job_fetches_what_it_lacks(archive: bytes, server: Server, tmp_path: Path, verbs: Path):
    """The command line, in a process of its own, which knows the true published sizes."""
    server.content = archive
    result = run_disentangle(tmp_path, "base", NAME, "--mirror", mirror(server))
    refused(result, "other sizes than published: expected 14,146 train instances, 6,616 test instances")
    assert result.stderr.count("\n") < 10
    got = ok(run_disentangle(tmp_path, "data", "get", NAME, "--mirror", mirror(server), "--any-size"))
    assert got.stdout == f"dataset/xmc-base/{NAME}\n"
    ok(run_disentangle(tmp_path, "base", NAME, "--max-leaf-size", "20", "--nr-splits", "8"))
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
        result = ok(run_disentangle(tmp_path, "base", "wiki-500k", *tree, *options))
        report = json.loads((tmp_path / "model" / "wiki-500k" / "base" / "report.json").read_text())
        assert report["params"]["propensity"] == expected
        assert report["dataset_settings"] == {"A": 0.5, "B": 0.4}
    assert "xr-linear ..." not in result.stderr  # propensities change no model


def test_every_file_of_settings_can_be_used():
    fields = {"A", "B", "nr_splits", "max_leaf_size", "beam_size", "top_k", "n_copies"}
    assert len(known_datasets.entries()) == 6
    for entry in known_datasets.entries().values():
        assert set(entry.settings) <= fields
        for one in entry.published:
            assert set(one) == {"source", *datasets.SIZES}
    assert (
        known_datasets.settings_of("amazon-670k")
        == known_datasets.settings_of("amazon-3m")
        == {"A": 0.6, "B": 2.6}
    )
    assert known_datasets.settings_of("my-own") == {}
