"""The memory limit: batches that fit, and runs that cannot fit said so."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
from conftest import Command, ok, refused

from disentangle.errors import DisentangleError
from disentangle.runtime import memory
from disentangle.runtime.memory import UNLIMITED, Budget, Growing, resident
from disentangle.runtime.threads import in_threads

MIB = 1 << 20


@pytest.fixture
def hundred(monkeypatch: pytest.MonkeyPatch) -> Budget:
    """A limit that leaves 100 MiB, the process holding 400."""
    monkeypatch.setattr(memory, "resident", lambda: 400 * MIB)
    return Budget(500 * MIB)


def test_what_is_left_is_the_limit_without_what_is_held(hundred: Budget):
    assert hundred.left(0, "all") == 100 * MIB
    assert hundred.left(30 * MIB, "all") == 70 * MIB
    assert UNLIMITED.left(30 * MIB, "all") is None


def test_a_limit_that_leaves_nothing_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(memory, "resident", lambda: 495 * MIB)
    with pytest.raises(DisentangleError, match=r"at least 0\.5 GiB for predicting with .*, got 0\.48"):
        Budget(500 * MIB).left(0, "predicting with this model")


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan"), float("inf")])
def test_a_limit_is_a_positive_number(wrong: float):
    with pytest.raises(DisentangleError, match="--max-memory must be "):
        Budget.of(wrong)


def test_what_was_freed_is_not_held():
    before = resident()
    block = np.ones(64 * MIB // 8)
    assert resident() - before > 60 * MIB
    del block
    assert resident() - before < 30 * MIB


def test_a_run_that_cannot_fit_says_so_before_it_starts(verbs: Path, disentangle: Command, tmp_path: Path):
    ended = disentangle("base", "verbs", "--data-dir", verbs, "--max-memory", "0.1")
    refused(ended, r"--max-memory must be at least 0\.19 GiB for jobs on verbs, got 0\.1 GiB")
    assert not (tmp_path / "model").exists()


@pytest.mark.slow
def test_the_peak_of_all_but_training_stays_within_the_limit(disentangle: Command, tmp_path: Path):
    # The embedded set, where evaluation takes more without a limit.
    data_dir = Path(__file__).resolve().parents[2] / "dataset" / "xmc-base"
    limit = 0.65
    ok(disentangle("base", "--data-dir", data_dir, "--max-memory", str(limit)))
    peaks = {}
    for path in (tmp_path / "model").rglob("stage.json"):
        record = json.loads(path.read_text())
        if not {"train", "retrain"} & set(record["seconds"]):
            peaks[path.parent.name] = record["peak_rss_mib"]
    assert len(peaks) == 5
    # Of what is mapped the kernel keeps more or less.
    assert max(peaks.values()) <= 1.15 * limit * 1024


@pytest.mark.parametrize("limit", [None, 1])
def test_arrays_that_grow_or_are_written_leave_no_name_behind(limit: int | None, tmp_path: Path):
    budget = Budget(limit, tmp_path)
    growing, written = budget.growing(np.int32), budget.empty(3, np.float64)
    growing.append(np.array([1, 2], np.int64))
    growing.append(np.empty(0, np.int32))
    growing.append(np.array([3], np.int32))
    written[:] = [4, 5, 6]
    found = growing.array()
    assert (found.dtype, found.tolist(), written.tolist()) == (np.int32, [1, 2, 3], [4, 5, 6])
    assert (len(budget.growing(np.uint8).array()), len(budget.empty(0, np.uint8))) == (0, 0)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_said_of_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    full = pytest.raises(DisentangleError, match=f"cannot write to {tmp_path}: No space left")
    with Path("/dev/full").open("r+b", buffering=0) as file, full:
        Growing(np.int32, file, tmp_path).append(np.ones(3, np.int32))

    def full(*args: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DisentangleError, match=f"cannot write to {tmp_path}: No space left"):
        Budget(1, tmp_path).empty(3, np.float64)
    with pytest.raises(DisentangleError, match=r"\(TMPDIR names another folder\): No space left"):
        Budget(1).empty(3, np.float64)


def test_arrays_in_files_are_not_held(tmp_path: Path):
    before, budget = resident(), Budget(1, tmp_path)
    block = budget.empty(64 * MIB // 8, np.float64)
    block[:] = 1
    assert resident() - before < 30 * MIB
    del block


def test_calls_wait_for_who_takes_their_results():
    made: list[int] = []
    found = in_threads(lambda i: made.append(i) or i, range(2000), 2)
    assert next(found) == 0
    assert len(made) <= 2 * 64
    assert list(found) == list(range(1, 2000))
