"""Processes side by side: each clears what killed ones left, and none takes what is another's."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import pytest
from conftest import ROOT

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
