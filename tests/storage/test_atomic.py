"""Processes side by side: each clears what killed ones left, and none takes what is another's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

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
