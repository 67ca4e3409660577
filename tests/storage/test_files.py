"""Files that are opened: regular ones alone, wherever a command takes or finds one."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from conftest import Command, save_dataset

from disentangle.errors import DisentangleError
from disentangle.storage import files


def a_socket(path: Path) -> None:
    # The path of a socket is short.
    here = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"/proc/self/fd/{here}/{path.name}")
    os.close(here)


def link(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


KINDS = [
    pytest.param(os.mkfifo, "a pipe", id="pipe"),
    pytest.param(a_socket, "a socket", id="socket"),
    pytest.param(Path.mkdir, "a folder", id="folder"),
    pytest.param(link("/dev/zero"), "a device", id="zero"),
    pytest.param(link("/dev/full"), "a device", id="full"),
    pytest.param(link("/proc/self/maps"), "a file of the kernel's", id="proc"),
]


@pytest.mark.parametrize(("make", "found"), KINDS)
def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path, make: Callable, found: str):
    make(tmp_path / "odd")
    with pytest.raises(DisentangleError, match=f"odd must be a list, found {found}"):
        files.read(tmp_path / "odd", 10, "a list")


def test_links_to_regular_files_are_read(tmp_path: Path):
    (tmp_path / "one").write_bytes(b"12345")
    (tmp_path / "two").symlink_to("one")
    assert files.read(tmp_path / "two", 5) == b"12345"
    with pytest.raises(DisentangleError, match="two must have at most 4 bytes, found more"):
        files.read(tmp_path / "two", 4)


@pytest.mark.parametrize("name", ["absent", "x" * 300, "loop"])
def test_what_cannot_be_opened_is_a_sentence(tmp_path: Path, name: str):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(DisentangleError, match=r"cannot read .*: [A-Z]"):
        files.require(tmp_path / name)


ROLES = ["tfidf-attnxml/X.trn.npz", "Y.tst.npz", "output-items.txt", "components/labels.npz", "source.json"]


@pytest.mark.parametrize("role", ROLES)
def test_no_command_waits_for_a_pipe_in_a_dataset(tmp_path: Path, disentangle: Command, role: str):
    X = sp.csr_matrix(np.eye(3, dtype=np.float32))
    folder = save_dataset(tmp_path / "data" / "tiny", X_trn=X, Y_trn=X, X_tst=X, Y_tst=X)
    (folder / "components").mkdir()
    (folder / role).unlink(missing_ok=True)
    os.mkfifo(folder / role)
    result = disentangle("data", "check", "tiny", "--data-dir", tmp_path / "data")
    assert result.returncode in (1, 2)
    assert f"{Path(role).name} must be" in result.stdout or "source.json is damaged" in result.stdout
    assert "Traceback" not in result.stderr


def test_no_import_waits_for_a_pipe_of_names(tmp_path: Path, disentangle: Command):
    (tmp_path / "trn.txt").write_text("0\tred\n")
    os.mkfifo(tmp_path / "names.txt")
    options = ["--format", "pecos", "--trn", "trn.txt", "--tst", "trn.txt", "--output-items", "names.txt"]
    result = disentangle("data", "import", "made", *options)
    assert (result.returncode, result.stderr) == (2, "error: names.txt must be a file, found a pipe\n")
    assert not (tmp_path / "dataset").exists()


def test_what_is_remembered_of_files_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(files, "_MOST_DIGESTS", 2)
    monkeypatch.setattr(files, "_STEP", -(10**12))
    for i in range(5):
        path = tmp_path / str(i)
        path.write_text(str(i))
        assert files.sha256(path) == hashlib.sha256(str(i).encode()).hexdigest()
    assert 1 <= len(files._digests) <= 2


def test_a_copy_that_cannot_be_written_is_no_failure_to_read(tmp_path: Path):
    (tmp_path / "given").write_bytes(b"content")
    with files.opened(tmp_path / "given") as file:
        files.copy(file, tmp_path / "made")
    assert (tmp_path / "made").read_bytes() == b"content"
    with (
        pytest.raises(DisentangleError, match="cannot write /dev/full: No space left on device"),
        files.opened(tmp_path / "given") as file,
    ):
        files.copy(file, Path("/dev/full"))


def test_of_a_copy_that_failed_the_new_file_is_named(tmp_path: Path):
    # As `shutil.copyfile` raises it on a full disk.
    failed = OSError(errno.ENOSPC, "No space left on device", "given", None, "made")
    assert str(files.unwritten(failed, tmp_path)) == "cannot write made: No space left on device"
    alone = OSError(errno.ENOSPC, "No space left on device")
    assert str(files.unwritten(alone, tmp_path)) == f"cannot write {tmp_path}: No space left on device"
