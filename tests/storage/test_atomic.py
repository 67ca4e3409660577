"""Processes side by side: each clears what killed ones left, and none takes what is another's."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import pytest
from conftest import ROOT, run_python

from disentangle.errors import DisentangleError
from disentangle.storage import atomic

N_PROCESSES, N_TIMES = 3, 500
USE = f"""
from pathlib import Path
from disentangle.storage import atomic
for _ in range({N_TIMES}):
    with %s as place:
        %s
"""
MAKERS = {
    "folder": ("atomic.scratch()", "(place / 'file').write_text('whole')"),
    "file": ("atomic.replacing(Path('file'))", "place.write_text('whole')"),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_processes_that_begin_at_once_leave_each_other_alone(tmp_path: Path, kind: str):
    env = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", USE % MAKERS[kind]]
    processes = [
        subprocess.Popen(command, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True)
        for _ in range(N_PROCESSES)
    ]
    assert [process.communicate()[1] for process in processes] == [""] * N_PROCESSES
    left = [path.name for path in tmp_path.iterdir()]
    assert left == (["file"] if kind == "file" else [])


def as_nfs_locks(file: int | TextIO, how: int, flock: Callable[..., None] = fcntl.flock) -> None:
    """Refuse what a server of NFS refuses, or locks for one machine alone."""
    number = file if isinstance(file, int) else file.fileno()
    is_written = fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE
    if stat.S_ISDIR(os.fstat(number).st_mode) or not is_written:
        raise OSError(errno.EBADF, "Bad file descriptor")
    flock(number, how)


def test_what_is_locked_is_a_file_that_is_open_for_writing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(fcntl, "flock", as_nfs_locks)
    with atomic.replacing(tmp_path / "file") as place:
        place.write_text("whole")
    with atomic.scratch(tmp_path) as folder, atomic.workspace(tmp_path, "record"):
        (folder / "file").write_text("whole")
    assert (tmp_path / "file").read_text() == "whole"


def test_a_folder_that_was_left_goes_and_one_in_use_stays(tmp_path: Path):
    with atomic.scratch(tmp_path) as used:
        (used / "file").touch()
        left = shutil.copytree(used.parent, used.parent.with_name(f"{used.parent.name}-left"))
        begun = left.with_name(f"{left.name}-empty")
        begun.mkdir()
        with atomic.scratch(tmp_path):
            assert (used / "file").exists()
            assert not left.exists()
            assert not begun.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_replacing_that_was_killed_is_finished_before_a_name_is_claimed(tmp_path: Path):
    new, old = (tmp_path / f".tmp-{kind}set" for kind in ("", "old-"))
    for folder in (new, old):
        folder.mkdir()
        (folder / "record").write_text(folder.name)
    with atomic.claim(tmp_path / "set", "record"):
        assert (tmp_path / "set" / "record").read_text() == ".tmp-set"
        assert not new.exists()
        assert not old.exists()


# An audit event comes before what it tells of: the second renaming, so that the folder has no name now.
REPLACE = """
import os, sys, threading
from pathlib import Path
from disentangle.runtime import interrupt
from disentangle.storage import atomic

def hook(event, args):
    if event == "os.rename" and os.path.basename(os.fspath(args[0])) == ".tmp-set":
        os.kill(os.getpid(), int(sys.argv[1]))
        threading.Event().wait()

def replace():
    with atomic.claim(Path("set"), "record"), atomic.making(Path("set"), "record") as made:
        (made / "record").write_text("new")
        sys.addaudithook(hook)

interrupt.run(replace)
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143)])
def test_a_replacing_that_ends_between_its_renamings_is_finished(tmp_path: Path, number: int, status: int):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "record").write_text("old")
    ended = run_python(tmp_path, "-c", REPLACE, str(int(number)))
    assert ended.returncode == status, ended.stderr
    if number == signal.SIGKILL:
        assert not (tmp_path / "set").exists()
        with atomic.claim(tmp_path / "set", "record"):
            pass
    assert (tmp_path / "set" / "record").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_temporary_folder_that_cannot_be_made_is_said_where_it_should_be(tmp_path: Path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(DisentangleError, match=r"^cannot make a temporary folder: .*file"),
        atomic.scratch(tmp_path / "file" / "deep"),
    ):
        pass


def test_a_claim_that_makes_nothing_leaves_no_folder_that_was_made_for_it(tmp_path: Path):
    (tmp_path / "old").mkdir()
    with pytest.raises(ZeroDivisionError), atomic.claim(tmp_path / "old" / "new" / "deep" / "data"):
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.rglob("*")] == ["old"]


def test_what_a_lock_would_empty_stays(tmp_path: Path):
    out, notes, lock = tmp_path / "out", tmp_path / "notes.txt", tmp_path / ".out.lock"
    notes.write_text("mine")
    lock.symlink_to(notes)
    with pytest.raises(DisentangleError, match="lock is there, and no lock"), atomic.claim(out):
        pass
    lock.unlink()
    lock.write_text("mine, too")
    with pytest.raises(DisentangleError, match="lock is there, and no lock"), atomic.claim(out):
        pass
    assert (notes.read_text(), lock.read_text()) == ("mine", "mine, too")
    lock.unlink()
    os.mkfifo(lock)
    with pytest.raises(DisentangleError, match="lock is there, and no lock"), atomic.claim(out):
        pass


def test_a_file_of_nearly_a_temporary_name_stays(tmp_path: Path):
    (tmp_path / ".tmp-backup-labels.tsv").write_text("mine")
    (tmp_path / ".tmp-0123abcd-labels.tsv").write_text("left by a process that was killed")
    with atomic.replacing(tmp_path / "labels.tsv") as place:
        place.write_text("whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".tmp-backup-labels.tsv", "labels.tsv"]


def test_a_folder_whose_removal_was_killed_goes(tmp_path: Path):
    with atomic.scratch(tmp_path) as used:
        (used / "file").touch()
        left = shutil.copytree(used.parent, used.parent.with_name(f"{used.parent.name}-left"))
        (left / "lock").unlink()
        with atomic.scratch(tmp_path):
            assert not left.exists()
            assert (used / "file").exists()


def test_a_folder_that_is_made_lies_where_it_was_named(tmp_path: Path):
    (tmp_path / "disk" / "deep").mkdir(parents=True)
    (tmp_path / "model").symlink_to(tmp_path / "disk" / "deep")
    with atomic.making(tmp_path / "model" / "made", "record") as place:
        # What it says of its neighbours has to lead to them from there.
        assert place.parent == tmp_path / "model"
        (place / "record").touch()
    assert (tmp_path / "disk" / "deep" / "made" / "record").exists()


def test_folders_that_cannot_be_synced_are_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fsync(number: int, fsync=os.fsync) -> None:
        if stat.S_ISDIR(os.fstat(number).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        fsync(number)

    monkeypatch.setattr("os.fsync", fsync)
    atomic.write_json(tmp_path / "one.json", [1])
    with atomic.making(tmp_path / "made", "record") as made:
        (made / "record").touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made", "one.json"]
