"""A journal: lines are added, and none is ever lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from disentangle.errors import DisentangleError
from disentangle.storage import journal


def test_lines_are_added_in_their_order(tmp_path: Path):
    path = tmp_path / "runs.jsonl"
    for n in range(3):
        journal.append(path, {"n": n, "name": "a\nb ä"})
    assert [entry["n"] for entry in journal.read(path)[0]] == [0, 1, 2]
    assert len(path.read_bytes().splitlines()) == 3


def test_half_a_line_costs_itself_alone(tmp_path: Path):
    path = tmp_path / "runs.jsonl"
    journal.append(path, {"n": 0})
    journal.append(path, {"n": 1})
    path.write_bytes(path.read_bytes()[:-4])
    assert journal.read(path) == ([{"n": 0}], 1)
    journal.append(path, {"n": 2})
    path.write_bytes(path.read_bytes() + b'[1]\n\xff\n"' + b"[" * 100_000)
    assert journal.read(path) == ([{"n": 0}, {"n": 2}], 4)


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "runs.jsonl"
    journal.append(path, {"n": 0})
    before, write = path.read_bytes(), os.write
    monkeypatch.setattr(os, "write", lambda number, line: write(number, line[:3]))
    with pytest.raises(DisentangleError, match=r"cannot write .*runs.jsonl: No space left on device"):
        journal.append(path, {"n": 1})
    assert path.read_bytes() == before


def test_lines_of_several_processes_never_mix(tmp_path: Path):
    path = tmp_path / "runs.jsonl"
    code = (
        "import sys; from pathlib import Path; from disentangle.storage import journal\n"
        "for n in range(50): journal.append(Path(sys.argv[1]), {'who': sys.argv[2], 'n': n, 'x': 'x' * 9999})"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    writers = [subprocess.Popen([sys.executable, "-c", code, path, str(i)], env=env) for i in range(3)]
    assert [one.wait() for one in writers] == [0, 0, 0]
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert sorted((one["who"], one["n"]) for one in lines) == [
        (str(i), n) for i in range(3) for n in range(50)
    ]


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DisentangleError, match=r"cannot write .*pipe: it is a pipe"):
        journal.append(tmp_path / "pipe", {})
    with pytest.raises(DisentangleError, match="cannot write"):
        journal.append(tmp_path, {})
