"""Compiled kernels: kept for the next process, and in no job's way where they cannot be kept."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

MODULE = """
from numba import int64
from disentangle.kernels import kernel

@kernel(int64(int64))
def doubled(n):
    return 2 * n
"""
USE = """
from disentangle.runtime import progress
progress.set_up_logging()
import mine
print(mine.doubled(21))
"""
ALONE = "compiling doubled, for this process alone: "


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a module of one kernel."""
    (tmp_path / "mine.py").write_text(MODULE)
    return tmp_path


def use(folder: Path) -> list[str]:
    """What a process says that imports the module and calls its kernel, which must work."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    env |= {"PYTHONPATH": f"{ROOT / 'src'}:{folder}", "XDG_CACHE_HOME": str(folder / "user")}
    ended = subprocess.run([sys.executable, "-c", USE], env=env, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "42\n"), ended.stderr
    return [line.split(maxsplit=1)[1] for line in ended.stderr.splitlines()]


def test_a_kernel_is_compiled_once_for_an_installation(folder: Path):
    assert use(folder) == ["compiling doubled, once for an installation"]
    assert use(folder) == []


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
def test_a_damaged_cache_is_said_and_passed_over(folder: Path, suffix: str):
    use(folder)
    (file,) = (folder / "__pycache__").glob(f"*.{suffix}")
    file.write_bytes(b"")
    (line,) = use(folder)
    assert line.startswith(ALONE)


def test_without_a_folder_for_a_cache_a_kernel_is_compiled_each_time(folder: Path):
    for place in ("__pycache__", "user"):
        (folder / place).write_text("a file where the folder would be")
    for _ in range(2):
        (line,) = use(folder)
        assert line.startswith(f"{ALONE}RuntimeError: cannot cache function")
