"""Several seeds in each job: results beside each other, means, deviations and intervals."""

from __future__ import annotations

import csv
import json
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL_TREE, Command, ok, refused, run_disentangle, stages_run

from disentangle.cli import main
from disentangle.data import datasets
from disentangle.evaluate.outcomes import Outcomes
from disentangle.jobs.job import Job as Told
from disentangle.jobs.settings import Settings, variant_of
from disentangle.storage.saved import Saved

Job = Callable[..., subprocess.CompletedProcess]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("seeds")


@pytest.fixture(scope="module")
def run(verbs: Path, folder: Path) -> Job:
    """Run a job on `verbs` in the module's folder; it must succeed."""

    def run(job: str, *args: str) -> subprocess.CompletedProcess:
        return ok(run_disentangle(folder, job, "verbs", "--data-dir", verbs, *SMALL_TREE, *args))

    return run


@pytest.fixture(scope="module")
def base(run: Job) -> subprocess.CompletedProcess:
    return run("base", "--seeds", "1,0", "--preset", "paper,lean")


def report(folder: Path, job: str) -> dict:
    return json.loads((folder / "model" / "verbs" / job / "report.json").read_text())


def test_results_lie_where_each_seed_alone_puts_them(base, run: Job, folder: Path):
    assert len([stage for stage in stages_run(base) if stage.startswith("seed-1/")]) * 2 == len(
        stages_run(base)
    )
    before = report(folder, "base")
    assert before["seeds"] == [0, 1]
    again = run("base", "--seeds", "0,1", "--preset", "paper,lean")
    assert stages_run(again) == []
    assert again.stdout == base.stdout
    assert report(folder, "base") == before
    assert stages_run(run("base", "--seed", "1", "--preset", "paper,lean")) == []


def test_the_summary_is_of_all_seeds(base, run: Job, folder: Path):
    run("base", "--seeds", "0,1", "--preset", "paper,lean")
    found = report(folder, "base")
    assert [(one["settings"]["seed"], one["variant"]) for one in found["runs"]] == [
        (seed, variant) for seed in (0, 1) for variant in (None, "paper", "lean")
    ]
    for row in found["summary"]:
        own = [one for one in found["runs"] if one["variant"] == row["variant"]]
        for metric in ("precision", "recall", "psp"):
            values = np.array([one[metric] for one in own])
            assert row["mean"][metric] == pytest.approx(values.mean(axis=0), abs=1e-4)
            assert row["sd"][metric] == pytest.approx(values.std(axis=0, ddof=1), abs=1e-4)
    _, _, lean = found["summary"]
    assert [one["to"] for one in lean["differences"]] == ["XR-Linear", "paper"]
    single = [one for one in found["runs"] if one["variant"] == "lean"]
    for i, together in enumerate(lean["differences"]):
        alone = [one["differences"][i]["R@10"]["difference"] for one in single]
        assert together["R@10"]["difference"] == pytest.approx(np.mean(alone), abs=1e-3)
        assert together["R@10"]["sd"] == pytest.approx(np.std(alone, ddof=1), abs=1e-3)


def test_differences_are_those_of_the_evaluations(base, folder: Path):
    found = report(folder, "base")
    xr_linear, paper, _ = found["runs"][:3]
    (difference,) = paper["differences"]
    assert difference["to"] == "XR-Linear"
    assert difference["P@3"]["difference"] == pytest.approx(
        paper["precision"][2] - xr_linear["precision"][2], abs=1e-3
    )
    assert difference["P@3"]["low"] <= difference["P@3"]["difference"] <= difference["P@3"]["high"]
    kept, _ = Saved.at(folder / "model" / "verbs" / "base" / paper["evaluation"])
    assert 100 * Outcomes.load(kept).hits[:, 0].mean() == pytest.approx(paper["precision"][0], abs=1e-4)


def test_the_terminal_has_means_and_marks(base):
    assert "means ± standard deviation over seeds 0, 1" in base.stdout
    assert re.search(r"^lean .*\d\d\.\d\d ± \d\.\d\d", base.stdout, re.MULTILINE)
    assert "difference to XR-Linear" in base.stdout
    assert "difference to paper" in base.stdout
    assert max(map(len, base.stdout.split("wrote")[0].splitlines())) < 120


def test_own_variants_stand_beside_presets_once(run: Job, folder: Path):
    grid = ("--preset", "paper,lean", "--grid", "merge=mean,noisy-or", "--grid", "n_copies=2")
    run("base", *grid)
    variants = [one["variant"] for one in report(folder, "base")["runs"] if one["settings"]["seed"] == 0]
    assert variants == [None, "paper", "paper-merge-noisy-or", "lean", "lean-merge-mean"]


def test_ensembles_begin_at_their_own_seeds(base, run: Job, folder: Path):
    result = run("base", "--seeds", "0,1", "--n-trees", "2")
    # The second tree of seed 0 is the first of seed 1.
    assert {stage.split("/")[0] for stage in stages_run(result) if "trees" not in stage} == {"seed-2"}
    found = report(folder, "base")
    assert [(row["variant"], row["n_trees"]) for row in found["summary"]] == [
        (None, 1),
        ("paper", 1),
        (None, 2),
        ("paper", 2),
    ]
    assert [len(row["differences"]) for row in found["summary"]] == [0, 1, 0, 1]


def test_a_sweep_names_the_winner_and_how_to_train_it(run: Job, verbs: Path, folder: Path):
    grid = ("--preset", "tuned", "--grid", "leaf_size=12,50", "--grid", "eps=0.5,0.7")
    result = run("sweep", "--seeds", "0,2", *grid)
    found = report(folder, "sweep")
    means = {
        row["variant"]: (sum(row["mean"]["precision"][k] for k in (0, 2, 4)) + row["mean"]["recall"][9]) / 4
        for row in found["summary"]
    }
    winner = found["winner"]
    overlaps = {variant: mean for variant, mean in means.items() if variant}
    assert winner["variant"] == max(overlaps, key=overlaps.__getitem__)
    assert winner["mean"] == pytest.approx(overlaps[winner["variant"]], abs=1e-3)
    second = winner["runner_up"]
    has_zero = second["difference"]["low"] <= 0 <= second["difference"]["high"]
    assert second["within_noise"] == has_zero == ("the two are within noise" in result.stdout)
    command = shlex.split(result.stdout.splitlines()[-1])
    args = main._parser().parse_args(command[command.index("-m") + 2 :])
    assert args.seeds == (0, 2)
    assert (args.nr_splits, args.max_leaf_size) == (8, 10)
    (preset,) = args.preset
    trained = variant_of(preset, vars(args))
    assert trained.name == winner["variant"]
    assert trained.params.parts() == winner["overlap"]
    for seed in (0, 2):
        alone = json.loads((folder / f"model/verbs/sweep/seed-{seed}/report.json").read_text())
        assert [one["variant"] for one in alone["runs"]] == [row["variant"] for row in found["summary"]]
    assert stages_run(run("sweep", "--seeds", "2,0", *grid)) == []
    assert report(folder, "sweep") == found


def test_figure_2_has_bands(run: Job, folder: Path):
    ways = ("--levels", "1")
    run("binned", *ways, "--seeds", "0,1")
    place = folder / "model" / "verbs" / "binned"
    rows = list(csv.DictReader((place / "figure-2-level-1-size-2-seeds.csv").open()))
    assert [row["method"] for row in rows[::10]] == ["XR-Linear", "overlap", "difference"]
    (xr_linear, overlap), first, last = report(folder, "binned")["summary"], rows[0], rows[-1]
    mean, sd = (xr_linear[name]["precision"][0] for name in ("mean", "sd"))
    assert float(first["precision"]) == mean
    assert float(first["precision_low"]) == pytest.approx(mean - sd, abs=1e-3)
    gained = overlap["mean"]["recall"][9] - xr_linear["mean"]["recall"][9]
    assert float(last["recall"]) == pytest.approx(gained, abs=1e-3)
    # A single seed is drawn with its interval.
    assert stages_run(run("binned", *ways)) == []
    alone = list(csv.DictReader((place / "figure-2-level-1-size-2.csv").open()))
    assert alone[0]["precision_low"] == ""
    interval = report(folder, "binned")["runs"][1]["differences"][0]["R@10"]
    assert [float(alone[-1][f"recall_{end}"]) for end in ("low", "high")] == [
        interval["low"],
        interval["high"],
    ]


def test_the_metric_is_averaged(run: Job, folder: Path):
    result = run("metric", "--components", "binned", "--level", "1", "--seeds", "0,1")
    found = report(folder, "metric")
    alone = [one["mean_vi"] for one in found["runs"]]
    assert [one["seed"] for one in found["runs"]] == found["seeds"] == [0, 1]
    assert found["summary"]["mean"]["mean_vi"] == pytest.approx(np.mean(alone), abs=1e-4)
    assert found["summary"]["sd"]["mean_vi"] == pytest.approx(np.std(alone, ddof=1), abs=1e-4)
    place = folder / "model" / "verbs" / "metric"
    for name, vi in zip(("level-1-size-2", "level-1-size-2-seed-1"), alone, strict=True):
        assert json.loads((place / f"report-{name}.json").read_text())["mean_vi"] == vi
    assert f"{np.mean(alone):.4f} ± " in result.stdout


def test_data_are_loaded_once(run: Job, verbs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    loaded = []
    source = datasets.source(verbs, "verbs")
    monkeypatch.setattr(
        datasets, "source", lambda *_: source.__class__("verbs", source.inputs, lambda: loaded.append(1))
    )
    job = Told("verbs", verbs, tmp_path, tmp_path, Settings(threads=1), seeds=(0, 1))
    for one in job.by_seed():
        one.source().load()
    assert loaded == [1]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--seeds", "0,0"), "argument --seeds: expected up to 100 different numbers separated by commas"),
        (("--seeds", "x"), "argument --seeds: expected numbers separated by commas, got 'x'"),
        (("--seeds", "0,"), "argument --seeds: expected numbers separated by commas, got '0,'"),
        (("--seeds", ",".join(map(str, range(101)))), "argument --seeds: expected up to 100 different"),
        (("--seed", "1", "--seeds", "1,2"), "argument --seeds: not allowed with argument --seed"),
    ],
    ids=lambda value: value[-1][:20] if isinstance(value, tuple) else None,
)
@pytest.mark.parametrize("job", ["base", "binned", "metric", "sweep"])
def test_mistakes_are_one_sentence(capsys: pytest.CaptureFixture[str], job: str, args: tuple, message: str):
    with pytest.raises(SystemExit) as ended:
        main._parser().parse_args([job, *args])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {message}")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--seeds=-1,2",), "--seed must be at least 0, got -1"),
        (("--seeds", "0,4294967296"), "--seed must be at most 4294967295, got 4294967296"),
        (
            ("--seeds", "1,4294967295", "--n-trees", "2"),
            "--seed with --n-trees 2 must be at most 4294967294, got 4294967295",
        ),
    ],
)
def test_each_seed_is_in_its_range(
    disentangle: Command, verbs: Path, tmp_path: Path, args: tuple[str, ...], message: str
):
    refused(disentangle("base", "verbs", "--data-dir", verbs, *args), message)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("job", "more", "n"),
    [("metric", ("--components", "binned", "--level", "1"), 2), ("sweep", ("--preset", "lean"), 3)],
)
def test_the_journal_has_a_line_for_each_seed(
    run: Job, folder: Path, job: str, more: tuple[str, ...], n: int
):
    path = folder / "model" / "verbs" / "runs.jsonl"
    before = len(path.read_bytes().splitlines()) if path.exists() else 0
    run(job, *more, "--seeds", "0,1")
    assert [json.loads(line)["job"] for line in path.read_bytes().splitlines()[before:]] == [job] * n
