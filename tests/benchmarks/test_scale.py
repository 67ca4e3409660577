"""The benchmark of growth end to end at a tiny share, and the assignment that it measures alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scale
import scipy.sparse as sp
from conftest import ROOT
from test_growth import cells


def benchmark(name: str, *args: str | Path) -> subprocess.CompletedProcess:
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), *map(str, args)]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_cases_grow_in_one_thing_only():
    def shapes(part: str) -> set[tuple[int, ...]]:
        found = scale.cases(part, 1, 4)
        return {(case.shape.n_instances, case.shape.n_labels, case.n_copies, case.threads) for case in found}

    assert shapes("instances") == {(n, 5000, 2, 4) for n in (10_000, 20_000, 40_000, 80_000)}
    assert shapes("labels") == {(40_000, n, 2, 4) for n in (5000, 10_000, 20_000, 40_000)}
    assert shapes("copies") == {(20_000, 5000, n, 4) for n in (1, 2, 3, 4, 5)}
    assert shapes("threads") == {(40_000, 5000, 2, n) for n in (1, 2, 4)}
    assert [case.value for case in scale.cases("threads", 1, 6)] == [1, 2, 4, 6]
    assert [case.value for case in scale.cases("threads", 1, 1)] == [1]
    assert shapes("amazon-670k") == {(490_449, 670_091, 2, 4)}
    assert "amazon-670k" not in scale.DEFAULT_PARTS


def test_the_share_scales_sizes_and_no_means():
    case = scale.cases("amazon-670k", 0.01, 1)[0]
    assert (case.shape.n_instances, case.shape.n_labels, case.shape.n_features) == (4904, 6701, 1359)
    assert (case.shape.labels_per_instance, case.shape.features_per_instance) == (5.45, 76)


def test_the_assignment_is_measured_on_what_was_made(tmp_path: Path):
    folder = tmp_path / "made"
    made = benchmark("assignment", "make", folder, "--share", "0.001")
    assert (made.returncode, made.stderr) == (0, "")
    Y, M, own = sp.load_npz(folder / "Y.npz"), sp.load_npz(folder / "M.npz"), np.load(folder / "own.npy")
    assert (Y.shape, M.shape, own.shape) == ((1700, 2800), (1700, 33), (2800,))
    assert (np.diff(M.indptr) == 10).all()
    measured = benchmark("assignment", "measure", folder, "capacity 1.2, scores", "--threads", "1")
    found = json.loads(measured.stdout)
    assert found["seconds"] > 0
    assert found["peak_rss_mib"] >= found["rss_before_mib"] > 50
    assert 0 < found["n_pseudo_labels"] <= 2800
    again = benchmark("assignment", "make", folder)
    assert (again.returncode, again.stderr) == (
        2,
        f"error: {folder} exists: name a new folder, or remove it\n",
    )


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("make", "out", "--share", "0"), "share must be in 0.0003..1, got 0"),
        (("make", "out", "--share", "nan"), "share must be in 0.0003..1, got nan"),
        (("make", "out", "--seed", "-1"), "seed must be at least 0, got -1"),
        (("measure", "nowhere", "paper", "--threads", "0"), "threads must be at least 1, got 0"),
        (
            ("measure", "nowhere", "paper"),
            "nowhere must be a folder that `make` wrote, found no own.npy",
        ),
    ],
)
def test_a_bad_argument_of_the_assignment_gives_one_sentence(args: tuple[str, ...], sentence: str):
    result = benchmark("assignment", *args)
    assert (result.returncode, result.stderr) == (2, f"error: {sentence}\n")


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--only", "labels,sizes", f"only must name some of {', '.join(scale.PARTS)}, got 'sizes'"),
        ("--repeats", "0", "repeats must be at least 1, got 0"),
        ("--threads", "0", "threads must be at least 1, got 0"),
        ("--share", "1.5", "share must be above 0 and at most 1, got 1.5"),
        ("--share", "nan", "share must be above 0 and at most 1, got nan"),
    ],
)
def test_a_bad_argument_gives_one_sentence(tmp_path: Path, option: str, value: str, sentence: str):
    result = benchmark("scale", tmp_path / "work", "--results", tmp_path / "r.json", option, value)
    assert (result.returncode, result.stderr) == (2, f"error: {sentence}\n")
    assert list(tmp_path.iterdir()) == []


def test_results_of_other_sizes_or_none_are_refused(tmp_path: Path):
    path = tmp_path / "r.json"
    path.write_text("{", encoding="utf-8")
    result = benchmark("scale", tmp_path / "work", "--results", path)
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {path} must hold results in JSON")
    known = {"machine": scale.machine(), "versions": scale.versions(), "share": 1.0, "runs": []}
    path.write_text(json.dumps(known), encoding="utf-8")
    result = benchmark("scale", tmp_path / "work", "--results", path, "--share", "0.5")
    assert result.returncode == 2
    assert "must be of the same share (0.5), got 1.0" in result.stderr


@pytest.mark.slow
def test_a_tiny_run_leaves_every_repeat_and_is_not_made_again(tmp_path: Path):
    results = tmp_path / "scale.json"
    args = (tmp_path / "work", "--results", results, "--share", "0.01", "--repeats", "2", "--threads", "2")
    first = benchmark("scale", *args, "--only", "threads,assignment")
    assert first.returncode == 0, first.stderr
    found = json.loads(results.read_text())
    assert set(found) == {"machine", "versions", "share", "bare_rss_mib", "runs"}
    which = [(run["part"], run["value"], run["repeat"]) for run in found["runs"]]
    names = ("paper", "capacity 1.2, scores")
    assert which == [
        one
        for repeat in (0, 1)
        for one in (
            *(("threads", n, repeat) for n in (1, 2)),
            *(("assignment", name, repeat) for name in names),
        )
    ]
    base = found["runs"][1]
    arguments = "base synthetic-400-128 --preset paper --n-copies 2 --threads 2"
    assert base["command"] == f"python -m disentangle {arguments}"
    assert {"train", "match", "assign", "expand", "retrain", "predict", "evaluate"} <= set(base["seconds"])
    assert all(base["peak_rss_mib"][name] > 50 for name in ("train", "match", "assign", "retrain", "predict"))
    assert list((tmp_path / "work" / "models").iterdir()) == []
    assert (tmp_path / "scale.png").exists()

    again = benchmark("scale", *args, "--only", "threads,assignment")
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.endswith(first.stdout[first.stdout.index("\nexponents") :])
    assert json.loads(results.read_text()) == found
    assert cells(again.stdout.splitlines()[-1])[:4] == ["capacity 1.2, scores", "589,388", "2", "2"]
