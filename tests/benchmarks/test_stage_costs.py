"""The benchmark of the stages: both of its ways agree on a trained model, and it says when they do not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import stage_costs
from conftest import ROOT
from pecos.xmc.xlinear import XLinearModel

from disentangle.data.datasets import Dataset, load_dataset
from disentangle.overlap.copies import Overlap
from disentangle.storage.saved import Saved


@pytest.fixture(scope="module")
def dataset(verbs: Path) -> Dataset:
    return load_dataset(verbs, "verbs")


@pytest.fixture(scope="module")
def base_run(verbs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The model folder that a base run left, and what it cost."""
    models = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT / "src"))
        return models, stage_costs.run_base("verbs", verbs, models, threads=1)


def test_a_base_runs_seconds_are_those_of_its_stages_and_the_rest(base_run: tuple[Path, dict[str, Any]]):
    cost = base_run[1]
    of_stages, wall = cost["stage_seconds"], cost["wall_seconds"]
    names = {"load", "train", "match", "assign", "expand", "split", "retrain", "predict", "evaluate"}
    assert set(of_stages) == names | {"first predict", "first evaluate"}
    # Imports alone take time, and no second is counted twice.
    assert 0 < cost["seconds_outside_stages"] == pytest.approx(wall - sum(of_stages.values()))
    trained = of_stages["train"] + of_stages["retrain"]
    assert cost["share_besides_trainings"] == pytest.approx((wall - trained) / wall)


def test_both_ways_of_the_overlap_step_are_equal(dataset: Dataset, base_run: tuple[Path, dict[str, Any]]):
    base = base_run[0] / "verbs" / "base"
    given = (base / "xr-linear", dataset.X_trn, dataset.Y_trn, 1)
    plain, package = stage_costs.overlap_plain(*given), stage_costs.overlap_fast(*given)
    assert stage_costs.same_overlap(plain, package)
    # It is also what the job was retrained on.
    saved = Overlap.load(Saved(base / "paper" / "overlap"))
    assert saved.n_pseudo_labels > 0
    assert plain[0].clusters.tolist() == saved.clusters.tolist()
    assert plain[0].original.tolist() == saved.original.tolist()


def test_both_ways_of_the_evaluation_are_equal(dataset: Dataset, base_run: tuple[Path, dict[str, Any]]):
    base = base_run[0] / "verbs" / "base"
    given = (base / "paper" / "overlap", dataset.X_tst, dataset.Y_tst, 1)
    plain, package = stage_costs.evaluate_plain(*given), stage_costs.evaluate_fast(*given)
    assert stage_costs.same_evaluation(plain, package)
    # They are also the figures that the job reported, but for rounding.
    reported = json.loads((base / "report.json").read_text())["runs"][1]
    assert plain.precision == pytest.approx(reported["precision"], abs=1e-4)
    assert plain.recall == pytest.approx(reported["recall"], abs=1e-4)
    assert plain.candidates == pytest.approx(reported["candidates_per_instance"])


def test_both_ways_of_training_are_equal(dataset: Dataset, base_run: tuple[Path, dict[str, Any]]):
    base = base_run[0] / "verbs" / "base"
    given = (base / "label-tree", dataset.X_trn, dataset.Y_trn, 1)
    plain, package = stage_costs.train_plain(*given), stage_costs.train_fast(*given)
    assert stage_costs.same_model(plain, package)
    # It is also what the job trained.
    saved = XLinearModel.load(str(base / "xr-linear"))
    assert stage_costs.same_model(plain, saved)
    saved.model.model_chain[-1].W.data[7] *= 1.5
    assert not stage_costs.same_model(plain, saved)


def test_other_results_are_not_taken_for_equal(dataset: Dataset, base_run: tuple[Path, dict[str, Any]]):
    base = base_run[0] / "verbs" / "base"
    model, X, Y = base / "xr-linear", dataset.X_trn, dataset.Y_trn
    whole, half = (stage_costs.overlap_fast(model, X[:n], Y[:n], 1) for n in (4000, 2000))
    assert not stage_costs.same_overlap(whole, half)
    model, X, Y = base / "paper" / "overlap", dataset.X_tst, dataset.Y_tst
    whole, half = (stage_costs.evaluate_fast(model, X[:n], Y[:n], 1) for n in (1000, 500))
    assert not stage_costs.same_evaluation(whole, half)


def test_different_results_end_the_benchmark():
    calls: list[str] = []

    def way(name: str, result: int) -> int:
        calls.append(name)
        return result

    ways = (lambda: way("plain", 1), lambda: way("package", 1))
    compared = stage_costs.alternate("x", *ways, int.__eq__, 2)
    assert calls == ["plain", "package"] * 2
    assert [len(values) for values in compared["seconds"].values()] == [2, 2]
    low, high = compared["times_faster_range"]
    assert low <= compared["times_faster_median"] <= high
    with pytest.raises(SystemExit, match=r"overlap step of x: .* different results"):
        stage_costs.alternate("overlap step of x", lambda: 1, lambda: 2, int.__eq__, 2)


def test_the_table_has_medians_and_ranges(capsys: pytest.CaptureFixture):
    def run(wall: float, train: float, retrain: float) -> dict[str, Any]:
        stage_seconds = {"train": train, "retrain": retrain, "match": 1.0}
        share = 1 - (train + retrain) / wall
        return {"wall_seconds": wall, "stage_seconds": stage_seconds, "share_besides_trainings": share}

    compared = {
        "seconds": {"plain": [4.0, 9.0, 6.0], "package": [1.0, 3.0, 1.0]},
        "times_faster_median": 4.0,
        "times_faster_range": [3.0, 6.0],
    }
    all_three = {"overlap_step": compared, "evaluation": compared, "training": compared}
    on = {"machine": {"processor": "a fast one"}, "threads": 2}
    runs = [run(10, 2, 6), run(20, 5, 5), run(40, 10, 20)]
    stage_costs.print_table(
        [
            {"dataset": "a", "base_runs": runs} | all_three | on,
            {"dataset": "b", "base_runs": []} | all_three | on,
        ]
    )
    lines = capsys.readouterr().out.strip().splitlines()
    ways = "6.00 | 1.00 | 4.0 (3.0 to 6.0)"
    assert lines[2:] == [
        f"| a | 3 | 20.0 | 10.0 | 25% | {ways} | {ways} | {ways} | a fast one | 2 |",
        f"| b | 0 |  |  |  | {ways} | {ways} | {ways} | a fast one | 2 |",
    ]
    assert len({line.count("|") for line in lines}) == 1


def run_benchmark(folder: Path, *args: str | Path) -> subprocess.CompletedProcess:
    """Run the command from a copy, whose results lie in a folder of their own."""
    for name in ("plain.py", "stage_costs.py"):
        shutil.copy(ROOT / "benchmarks" / name, folder)
    command = [sys.executable, folder / "stage_costs.py", *args, "--threads", "1", "--repeats", "1"]
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env)


def test_finished_models_are_compared_without_a_base_run(
    verbs: Path, base_run: tuple[Path, dict[str, Any]], tmp_path: Path
):
    run = run_benchmark(tmp_path, "verbs", "--data-dir", verbs, "--models", base_run[0])
    assert run.returncode == 0, run.stderr
    result = json.loads((tmp_path / "results" / "stage-costs-verbs.json").read_text())
    assert result["base_runs"] == []
    assert "not timed" in result["note"]
    assert result["command"].endswith(f"--models {base_run[0]} --threads 1 --repeats 1")
    assert len(result["evaluation"]["seconds"]["plain"]) == 1
    assert run.stdout.splitlines()[-1].startswith("| verbs | 0 |  |  |  | ")


@pytest.mark.slow
def test_base_runs_are_timed_from_nothing(verbs: Path, tmp_path: Path):
    run = run_benchmark(tmp_path, "verbs", "--data-dir", verbs, "--base-runs", "2")
    assert run.returncode == 0, run.stderr
    result = json.loads((tmp_path / "results" / "stage-costs-verbs.json").read_text())
    assert len(result["base_runs"]) == 2
    assert len(result["evaluation"]["seconds"]["plain"]) == 1
    assert "note" not in result
    assert result["base_runs"][0]["stage_seconds"]["train"] > 0


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("words",), "error: no dataset 'words' in"),
        (("verbs", "--base-runs", "0"), "error: base runs must be at least 1"),
        (("verbs", "--models", "nowhere"), "error: nowhere/verbs/base/label-tree must be a base job's"),
    ],
)
def test_what_is_missing_is_one_sentence(verbs: Path, tmp_path: Path, args: tuple[str, ...], sentence: str):
    run = run_benchmark(tmp_path, *args, "--data-dir", verbs)
    assert run.returncode == 2
    assert run.stderr.startswith(sentence)
    assert run.stderr.count("\n") == 1
    assert not (tmp_path / "results").exists()
