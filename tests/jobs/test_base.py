"""The main job as a user runs it: figures, resumption, interruption, and one mistake after the other."""

from __future__ import annotations

import csv
import json
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from conftest import ROOT, SHARED, SMALL_TREE, Command, ok, refused, run_python, save_dataset, stages_run
from pecos.xmc.xlinear import XLinearModel

from disentangle.data import datasets
from disentangle.evaluate.metrics import precision, rank
from disentangle.jobs.plan import Plan
from disentangle.jobs.settings import Settings, Variant
from disentangle.model import beam_search, negatives, saved_model, tree
from disentangle.overlap.copies import Overlap
from disentangle.params import Copies, OverlapParams, TreeParams
from disentangle.presets import PRESETS
from disentangle.storage.compressed import one_per_row
from disentangle.storage.saved import Saved

STAGES = [
    "load",
    "label-tree",
    "matcher",
    "xr-linear",
    "xr-linear-evaluation",
    "matching",
    "paper/assignment",
    "paper/overlap",
    "paper/evaluation",
]
OF_PAPER = [stage for stage in STAGES if stage.startswith("paper/")]


RUN_DEPENDENT = ("seconds", "peak_rss_mib", "threads", "machine")


def figures(report: dict[str, Any]) -> list[dict[str, Any]]:
    """A report's runs without what differs from run to run."""
    return [{k: v for k, v in run.items() if k not in RUN_DEPENDENT} for run in report["runs"]]


@pytest.fixture(scope="module")
def finished(verbs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with the finished base run of `verbs`."""
    model_dir = tmp_path_factory.mktemp("finished")
    env = {**os.environ, "XMC_DATA": str(verbs), "XMC_MODEL": str(model_dir)}
    subprocess.run(
        ["bash", ROOT / "run_base.sh", "verbs", *SMALL_TREE, "--threads", "1"],
        env=env,
        check=True,
        capture_output=True,
    )
    return model_dir


@pytest.fixture
def base(disentangle: Command, verbs: Path):
    """Run the base job on `verbs` with a small tree."""

    def run(*args: str | Path, **kwargs: Any) -> subprocess.CompletedProcess:
        return disentangle("base", "verbs", "--data-dir", verbs, *SMALL_TREE, *args, **kwargs)

    return run


def test_golden_figures_of_the_driver(finished: Path):
    report = json.loads((finished / "verbs" / "base" / "report.json").read_text())
    xr_linear, overlap = report["runs"]
    assert (xr_linear["method"], xr_linear["preset"], xr_linear["n_copies"]) == ("xr-linear", None, 1)
    assert (overlap["method"], overlap["preset"], overlap["n_copies"]) == ("overlap", "paper", 2)
    golden = json.loads((Path(__file__).parent / "golden_base.json").read_text())
    for run, expected in zip(report["runs"], golden, strict=True):
        for name in ("precision", "recall", "ndcg", "psp"):
            # Training is float arithmetic: another processor may round otherwise.
            assert run[name] == pytest.approx(expected[name], abs=0.3)
        assert run["candidates_per_instance"] == pytest.approx(expected["candidates_per_instance"], rel=0.01)
        for name in ("n_pseudo_labels", "n_unmatched_labels"):
            assert run[name] == expected[name]


def test_the_report_says_what_was_run(finished: Path):
    report = json.loads((finished / "verbs" / "base" / "report.json").read_text())
    assert (report["job"], report["dataset"], report["seed"]) == ("base", "verbs", 0)
    assert report["params"]["max_leaf_size"] == 10
    assert report["params"]["beam_size"] == 10
    assert set(report["versions"]) >= {"python", "libpecos", "numpy", "scipy", "numba", "scikit-learn"}
    assert report["machine"]["cores"] >= 1
    xr_linear, overlap = report["runs"]
    assert set(xr_linear["seconds"]) == {"load", "train", "predict", "evaluate"}
    more = {"match", "assign", "expand", "split", "retrain"}
    assert set(overlap["seconds"]) == {*xr_linear["seconds"], *more}
    for run in report["runs"]:
        assert all(len(run[name]) == 10 for name in ("precision", "recall", "ndcg", "psp"))
        assert 50 < run["peak_rss_mib"] < 5000
    assert xr_linear["n_pseudo_labels"] == 0


def averaged(scores: sp.csr_matrix, copies: Overlap) -> sp.csr_matrix:
    """Means of the scores of those of a label's copies that were retrieved, by scipy."""
    is_copy_of = one_per_row(copies.original, copies.n_labels).astype(np.float64)
    n_retrieved = scores.astype(bool) @ is_copy_of
    return (scores @ is_copy_of).multiply(n_retrieved.power(-1)).tocsr().astype(np.float32)


def noisy_or(scores: sp.csr_matrix, copies: Overlap) -> np.ndarray:
    """1 - product of (1 - score) over a label's copies."""
    wrong = np.ones((scores.shape[0], copies.n_labels))
    for column, label in enumerate(copies.original):
        wrong[:, label] *= 1 - scores[:, [column]].toarray().ravel()
    return 1 - wrong


def test_the_saved_models_predict_the_reported_figures_with_pecos_alone(finished: Path, verbs: Path):
    folder = finished / "verbs" / "base"
    X = sp.load_npz(verbs / "verbs" / "tfidf-attnxml" / "X.tst.npz")
    Y_true = sp.load_npz(verbs / "verbs" / "Y.tst.npz")
    labelled = np.flatnonzero(np.diff(Y_true.indptr))
    X, Y_true = X[labelled], Y_true[labelled]
    xr_linear, overlap = json.loads((folder / "report.json").read_text())["runs"]
    scores = XLinearModel.load(str(folder / xr_linear["model"])).predict(X)
    assert precision(Y_true, rank(scores, 10)).tolist() == pytest.approx(xr_linear["precision"], abs=1e-3)
    copies = Overlap.load(Saved(folder / overlap["model"]))
    scores = XLinearModel.load(str(folder / overlap["model"])).predict(X)
    assert scores.shape[1] == copies.n_labels + copies.n_pseudo_labels
    merged = averaged(scores, copies)
    assert precision(Y_true, rank(merged, 10)).tolist() == pytest.approx(overlap["precision"], abs=1e-3)


def test_a_second_run_prints_the_table_and_does_nothing_else(base: Command, finished: Path, tmp_path: Path):
    model_dir = tmp_path / "copy"
    shutil.copytree(finished, model_dir)
    before = {path: path.stat().st_mtime_ns for path in (model_dir / "verbs").rglob("stage.json")}
    result = ok(base("--model-dir", model_dir))
    assert stages_run(result) == []
    assert "XR-Linear" in result.stdout
    assert "difference" in result.stdout
    assert before == {path: path.stat().st_mtime_ns for path in (model_dir / "verbs").rglob("stage.json")}


@pytest.mark.parametrize(
    ("option", "redone"),
    [
        (("--threads", "2"), []),
        (("--max-memory", "8"), []),
        (("--propensity-a", "0.6"), ["xr-linear-evaluation", "paper/evaluation"]),
        (("--max-leaf-size", "20"), STAGES[1:]),
        (
            ("--overlap-splits", "2"),
            ["label-tree-splits-2", "matcher-splits-2", "matching-splits-2"]
            + [stage.replace("paper", "paper-overlap-splits-2") for stage in OF_PAPER],
        ),
        (
            ("--terms", "5"),
            ["matcher-terms-5", "matching-terms-5"]
            + [stage.replace("paper", "paper-terms-5") for stage in OF_PAPER],
        ),
        (("--n-copies", "3"), [stage.replace("paper", "paper-n-copies-3") for stage in OF_PAPER]),
        (("--cost", "1"), [stage.replace("paper", "paper-cost-1.0") for stage in OF_PAPER]),
        (("--merge", "noisy-or"), ["paper/evaluation-merge-noisy-or"]),
        (
            ("--eps", "0.3"),
            ["matcher-eps-0.3", "matching-eps-0.3"]
            + [stage.replace("paper", "paper-eps-0.3") for stage in OF_PAPER],
        ),
        (("--threshold", "0"), [stage.replace("paper", "paper-threshold-0.0") for stage in OF_PAPER]),
        (("--hinge", "4"), [stage.replace("paper", "paper-hinge-4") for stage in OF_PAPER]),
        (("--top-k", "20"), ["xr-linear", "xr-linear-evaluation", "paper/overlap", "paper/evaluation"]),
        (("--beam-size", "4"), STAGES[2:]),
        (("--seed", "1"), [f"seed-1/{stage}" for stage in STAGES]),
        (("--force",), STAGES),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_changed_parameters_redo_exactly_the_stages_they_affect(
    base: Command, finished: Path, tmp_path: Path, option: tuple[str, ...], redone: list[str]
):
    model_dir = tmp_path / "copy"
    shutil.copytree(finished, model_dir)
    result = ok(base("--model-dir", model_dir, *option))
    assert stages_run(result) == redone


def test_without_xr_linear_its_ranker_is_not_trained(base: Command, finished: Path, tmp_path: Path):
    model_dir = tmp_path / "model"
    result = ok(base("--without-xr-linear"))
    assert stages_run(result) == [stage for stage in STAGES if not stage.startswith("xr-linear")]
    assert "paper" in result.stdout
    assert "XR-Linear" not in result.stdout
    assert "difference" not in result.stdout
    report = model_dir / "verbs" / "base" / "report.json"
    alone = figures(json.loads(report.read_text()))[0]
    beside = figures(json.loads((finished / "verbs" / "base" / "report.json").read_text()))[1]
    (difference,) = beside.pop("differences")
    assert difference["to"] == "XR-Linear"
    assert alone == beside
    # What is left out is made when it is asked for, and then stays in the figure.
    assert stages_run(base()) == ["xr-linear", "xr-linear-evaluation"]
    ok(base("--without-xr-linear"))
    settings = [row["setting"] for row in csv.DictReader((report.parent / "frontier.csv").open())]
    assert settings == ["paper", "XR-Linear"]


def test_overlaps_may_start_from_another_matcher_on_the_same_tree(base: Command, tmp_path: Path):
    start = ("--eps", "3", "--terms", "9", "--overlap-splits", "2", "--preset", "paper,lean")
    suffix = "splits-2-eps-3.0-terms-9"
    stages = ["label-tree", "label-tree-splits-2", f"matcher-{suffix}", f"matching-{suffix}"]
    result = base("--without-xr-linear", *start)
    # One for both, even if it is forced.
    assert [stage for stage in stages_run(result) if "/" not in stage] == ["load", *stages]
    result = base("--without-xr-linear", "--force", *start)
    assert [stage for stage in stages_run(result) if "/" not in stage] == ["load", *stages]
    folder = tmp_path / "model" / "verbs" / "base"

    def trained(*names: str) -> float:
        records = [json.loads((folder / name / "stage.json").read_text()) for name in names]
        return sum(record["seconds"]["train"] for record in records)

    run = json.loads((folder / "report.json").read_text())["runs"][0]
    assert run["seconds"]["train"] == pytest.approx(trained(*stages[:3]))
    # The retrained model's levels are those of the first matcher, above the same clusters.
    levels = [
        [C.shape for C in tree.load_chain(Saved(folder / name))] for name in (*stages[1:3], run["model"])
    ]
    assert levels[0][:-1] == levels[1] == levels[2][:-1]
    assert levels[1][:2] == [(2, 1), (4, 2)]
    ok(base("--eps", "3"))
    xr_linear, run = json.loads((folder / "report.json").read_text())["runs"][:2]
    assert xr_linear["seconds"]["train"] == pytest.approx(trained("label-tree", "matcher", "xr-linear"))
    assert run["seconds"]["train"] == pytest.approx(trained("label-tree", "matcher-eps-3.0"))
    loose, strict = folder / "matcher-eps-3.0", folder / "matcher"
    assert tree.load_chain(Saved(loose)) == tree.load_chain(Saved(strict))
    weights = [sp.load_npz(one / "ranker" / "1.model" / "W.npz") for one in (loose, strict)]
    assert (weights[0] != weights[1]).nnz > 0


def test_retraining_hands_its_parts_to_the_solver(
    verbs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    found: list[tuple[sp.csr_matrix, np.ndarray]] = []

    spread = negatives.spread

    def keep(M: sp.csr_matrix, drawn: np.ndarray, n_instances: int) -> sp.csr_matrix:
        found.append((M, drawn))
        return spread(M, drawn, n_instances)

    monkeypatch.setattr(negatives, "spread", keep)
    parts = (
        {"eps": 1.0},
        {"eps": 0.1},
        {"eps": 1.0, "negatives": 0.5, "predict_beam": 3},
        {"eps": 1.0, "negatives": 1e-9},
    )
    variants = tuple(
        Variant(f"v{i}", f"v{i}", "paper", OverlapParams().changed(given)) for i, given in enumerate(parts)
    )
    settings = Settings(threads=2, variants=variants, tree=TreeParams(nr_splits=8, max_leaf_size=10))
    plan = Plan(tmp_path, datasets.source(verbs, "verbs"), settings)
    layers = []
    for one in plan.overlaps:
        one.model.ensure()
        ranker = one.model.folder / "ranker"
        depth = len(list(ranker.glob("*.model")))
        layers.append([(ranker / f"{d}.model" / "W.npz").read_bytes() for d in range(depth)])
    loose, strict, against_drawn, none_drawn = layers
    assert all(one != other for one, other in zip(loose, strict, strict=True))
    assert loose[:-1] == against_drawn[:-1]
    assert loose[-1] != against_drawn[-1]
    assert loose == none_drawn
    # Negatives are where the retrained matcher sends drawn instances with the beam that it predicts with.
    ((sent, drawn),) = found
    X = plan.dataset.X_trn
    assert 0.4 < len(drawn) / X.shape[0] < 0.6
    matcher = saved_model.load(plan.overlaps[2].model.saved(), without=1)
    M = beam_search.match(matcher, X[drawn], 3, threads=1)
    assert (sent != M).nnz == 0


def retrained(verbs: Path, folder: Path, parts: dict[str, Any]) -> tuple[sp.csr_matrix, Path, Path]:
    """Training instances, and the folders of the first matcher and the model that a setting makes of them."""
    settings = Settings(
        threads=2,
        variants=(Variant("one", "one", "paper", OverlapParams().changed(parts)),),
        tree=TreeParams(nr_splits=8, max_leaf_size=10),
    )
    plan = Plan(folder, datasets.source(verbs, "verbs"), settings)
    (one,) = plan.overlaps
    one.model.ensure()
    return plan.dataset.X_trn, one.steps[1].folder, one.model.folder


def learnt(folder: Path) -> set[int]:
    """Features that a model has a weight of on some level."""
    levels = [sp.load_npz(path) for path in sorted(folder.glob("ranker/*.model/W.npz"))]
    return set().union(*(W.indices.tolist() for W in levels))


def test_what_is_not_among_an_instances_largest_features_is_not_learnt(verbs: Path, tmp_path: Path):
    X, matcher, model = retrained(verbs, tmp_path, {"terms": 4})
    # Of each instance, by sorting; the row after the last feature's is the bias.
    known = {X.shape[1]}
    for row in X:
        known |= set(row.indices[np.argsort(-row.data, kind="stable")[:4]].tolist())
    assert len(known) < X.shape[1]
    for folder in (matcher, model):
        assert learnt(folder) <= known
        assert len(learnt(folder)) > 50


def test_small_weights_are_dropped_from_the_retrained_ranker_alone(verbs: Path, tmp_path: Path):
    _, _, model = retrained(verbs, tmp_path, {"threshold": 0.25})
    levels = sorted(model.glob("ranker/*.model/W.npz"))
    least = [float(abs(sp.load_npz(path).data).min()) for path in levels]
    assert 0.25 <= least[-1] < 0.26
    assert all(0.1 <= found < 0.11 for found in least[:-1])


def test_variants_stand_beside_one_another(base: Command, finished: Path, tmp_path: Path):
    model_dir = tmp_path / "copy"
    shutil.copytree(finished, model_dir)
    parts = ("--gain", "scores", "--leaf-size", "12", "--n-copies", "4", "--positives", "frequent")
    ok(base("--model-dir", model_dir, *parts, "--merge", "noisy-or"))
    folder = model_dir / "verbs" / "base"
    report = json.loads((folder / "report.json").read_text())
    xr_linear, overlap, earlier = report["runs"]
    assert earlier["variant"] == "paper"
    name = "paper-n-copies-4-gain-scores-positives-frequent-leaf-size-12-merge-noisy-or"
    assert (overlap["variant"], overlap["overlap"]["leaf_size"]) == (name, 12)
    before = json.loads((finished / "verbs" / "base" / "report.json").read_text())["runs"]
    assert xr_linear["precision"] == before[0]["precision"]
    paper = before[1]
    assert overlap["candidates_per_instance"] < paper["candidates_per_instance"]
    # What the earlier call left is in the figure, too.
    rows = list(csv.DictReader((folder / "frontier.csv").open()))
    assert [row["setting"] for row in rows] == ["XR-Linear", name, "paper"]
    assert float(rows[2]["P@1"]) == paper["precision"][0]
    assert {"frontier.png", "frontier.svg", "frontier.pdf"} <= {path.name for path in folder.iterdir()}
    # A figure is drawn for new numbers or when it is gone; what cannot be read is no setting.
    drawn = (folder / "frontier.png").stat().st_mtime_ns
    again = [*parts, "--merge", "noisy-or"]
    ok(base("--model-dir", model_dir, *again))
    assert (folder / "frontier.png").stat().st_mtime_ns == drawn
    (folder / "frontier.svg").unlink()
    (folder / "paper" / "evaluation" / "stage.json").write_text("{")
    ok(base("--model-dir", model_dir, *again))
    assert (folder / "frontier.svg").exists()
    assert len(list(csv.DictReader((folder / "frontier.csv").open()))) == 2


def test_clusters_that_swell_are_split(base: Command, finished: Path, tmp_path: Path):
    model_dir = tmp_path / "copy"
    shutil.copytree(finished, model_dir)
    parts = ("--leaf-size", "10", "--negatives", "0.5", "--predict-beam", "4", "--positives", "frequent")
    ok(base("--model-dir", model_dir, *parts, "--threads", "3"))
    folder = model_dir / "verbs" / "base"
    overlap = json.loads((folder / "report.json").read_text())["runs"][1]
    paper = json.loads((finished / "verbs" / "base" / "report.json").read_text())["runs"][1]
    assert paper["largest_cluster"] > overlap["largest_cluster"] <= 10
    assert overlap["n_pseudo_labels"] == paper["n_pseudo_labels"]
    assert overlap["candidates_per_instance"] < paper["candidates_per_instance"] / 2
    assert {"expand", "split", "retrain"} <= set(overlap["seconds"])
    # The model stores its own beam: PECOS alone finds as many clusters.
    saved = json.loads((folder / overlap["model"] / "ranker" / "0.model" / "param.json").read_text())
    assert saved["pred_kwargs"]["only_topk"] == 4
    assert overlap["candidates_per_instance"] <= 4 * 10
    # The splits are drawn from the seed, not from the clock or the threads.
    model = folder / overlap["model"]
    before = {path: path.read_bytes() for path in model.rglob("*.npz")}
    shutil.rmtree(model)
    ok(base("--model-dir", model_dir, *parts, "--threads", "1"))
    assert before == {path: path.read_bytes() for path in model.rglob("*.npz")}


def test_all_presets_stand_in_one_table(base: Command, finished: Path, tmp_path: Path):
    model_dir = tmp_path / "copy"
    shutil.copytree(finished, model_dir)
    result = ok(base("--model-dir", model_dir, "--preset", "paper,tuned,lean"))
    assert [result.stdout.count(f"\n{name}  ") for name in PRESETS] == [2, 3, 3]  # differences to paper
    assert "--variant lean --input FILE" in " ".join(result.stdout.split())
    runs = json.loads((model_dir / "verbs" / "base" / "report.json").read_text())["runs"]
    assert [run["overlap"] for run in runs[1:]] == [preset.parts() for preset in PRESETS.values()]
    # XR-Linear and its tree are shared by all; the two others have matchers of their own.
    matchers = ["eps-0.5-terms-150", "splits-8-eps-0.5-terms-150"]
    made = [[f"{stage}-{name}" for stage in ("matcher", "matching")] for name in matchers]
    stages = [[f"{name}/{s}" for s in ("assignment", "overlap", "evaluation")] for name in ("tuned", "lean")]
    assert stages_run(result) == [*made[0], *stages[0], "label-tree-splits-8", *made[1], *stages[1]]
    # What is changed of a preset is in its name.
    ok(base("--model-dir", model_dir, "--preset", "lean", "--leaf-size", "12"))
    overlap, *others = json.loads((model_dir / "verbs" / "base" / "report.json").read_text())["runs"][1:]
    # What was there stays in the report.
    assert [run["variant"] for run in others] == list(PRESETS)
    assert (overlap["variant"], overlap["preset"]) == ("lean-leaf-size-12", "lean")


def test_ensembles_take_the_mean_of_their_trees_scores(
    base: Command, finished: Path, verbs: Path, tmp_path: Path
):
    model_dir = tmp_path / "copy"
    shutil.copytree(finished, model_dir)
    share = ("--merge", "noisy-or")
    result = ok(base("--model-dir", model_dir, "--n-trees", "2", *share))
    folder, variant = model_dir / "verbs" / "base", "paper-merge-noisy-or"
    *runs, earlier = json.loads((folder / "report.json").read_text())["runs"]
    assert earlier["variant"] == "paper"
    kinds = [(run["method"], run["n_trees"]) for run in runs]
    assert kinds == [("xr-linear", 1), ("overlap", 1), ("xr-linear", 2), ("overlap", 2)]
    assert all(f"{name}, 2 trees" in result.stdout for name in ("XR-Linear", variant))
    settings = [row["setting"] for row in csv.DictReader((folder / "frontier.csv").open())]
    assert settings == ["XR-Linear", variant, "XR-Linear, 2 trees", f"{variant}, 2 trees", "paper"]
    # The second tree is the one that its seed gives alone.
    ok(base("--seed", "1"))
    alone = tmp_path / "model" / "verbs" / "base" / "seed-1"
    second = json.loads((alone.parent / "report.json").read_text())["runs"]
    for path in (alone / "paper" / "overlap").rglob("*.npz"):
        assert path.read_bytes() == (folder / "seed-1" / path.relative_to(alone)).read_bytes()
    assert runs[2]["candidates_per_instance"] == pytest.approx(
        runs[0]["candidates_per_instance"] + second[0]["candidates_per_instance"]
    )
    # Slow twin: dense scores, their power mean of exponent 1/4.
    dataset = datasets.load_dataset(verbs, "verbs")
    scores = np.zeros(dataset.Y_tst.shape, np.float32)
    for place in (folder, folder / "seed-1"):
        copies = Overlap.load(Saved(place / "paper" / "overlap"))
        predicted = XLinearModel.load(str(place / "paper" / "overlap")).predict(dataset.X_tst)
        scores += noisy_or(predicted, copies) ** 0.25 / 2
    by_hand = precision(dataset.Y_tst, rank(sp.csr_matrix(scores**4), 10))
    assert by_hand.tolist() == pytest.approx(runs[3]["precision"], abs=1e-3)
    # A further tree is all that a larger ensemble makes.
    result = base("--model-dir", model_dir, "--n-trees", "3", *share)
    trained = [stage for stage in stages_run(result) if "evaluation" not in stage]
    assert [stage for stage in trained if stage.endswith(("xr-linear", "overlap"))] == [
        "seed-2/xr-linear",
        "seed-2/paper/overlap",
    ]
    assert len(trained) == 7
    # What earlier calls left is in the figure, too, and nothing twice.
    settings = [row["setting"] for row in csv.DictReader((folder / "frontier.csv").open())]
    assert settings[2:4] == ["XR-Linear, 3 trees", f"{variant}, 3 trees"]
    assert settings[4:] == ["XR-Linear, 2 trees", f"{variant}, 2 trees", "paper"]
    # Without XR-Linear, a further tree has a matcher alone.
    result = base("--model-dir", model_dir, "--n-trees", "4", "--without-xr-linear")
    assert [stage for stage in stages_run(result) if "evaluation" not in stage] == [
        f"seed-3/{stage}" for stage in STAGES if "xr-linear" not in stage and "evaluation" not in stage
    ]
    runs = json.loads((folder / "report.json").read_text())["runs"]
    assert [(run["variant"], run["n_trees"]) for run in runs[:2]] == [("paper", 1), ("paper", 4)]
    assert runs[1]["precision"] != runs[0]["precision"]


def test_a_model_is_retrained_from_a_matching_that_was_deleted(verbs: Path, tmp_path: Path):
    variant = Variant("matched", "matched", "paper", OverlapParams(copies=Copies(positives="frequent")))
    settings = Settings(threads=1, variants=(variant,), tree=TreeParams(nr_splits=8, max_leaf_size=10))
    plan = Plan(tmp_path, datasets.source(verbs, "verbs"), settings)
    (overlapped,) = plan.overlaps
    overlapped.model.ensure()
    assert not plan.xr_linear.folder.exists()
    firsts = (plan.tree, plan.matcher, plan.matching)
    for folder in (*(stage.folder for stage in firsts), overlapped.model.folder):
        shutil.rmtree(folder)
    overlapped.model.ensure()
    assert (overlapped.model.folder / "overlap.npz").exists()


def test_a_sweep_compares_on_training_data(disentangle: Command, verbs: Path, tmp_path: Path):
    grid = ("--grid", "leaf_size=12,20", "--grid", "merge=mean,noisy-or", "--n-copies", "3")
    result = ok(disentangle("sweep", "verbs", "--data-dir", verbs, *SMALL_TREE, *grid))
    folder = tmp_path / "model" / "verbs" / "sweep"
    report = json.loads((folder / "seed-0" / "report.json").read_text())
    assert report == json.loads((folder / "report.json").read_text())
    settings = [(run["overlap"]["leaf_size"], run["overlap"]["merge"]) for run in report["runs"][1:]]
    assert settings == [(12, "mean"), (12, "noisy-or"), (20, "mean"), (20, "noisy-or")]
    # Each model is trained once, whatever the rules of merging.
    assert sum(stage.endswith("/overlap") for stage in stages_run(result)) == 2
    sizes = json.loads((folder / "seed-0" / "load" / "stage.json").read_text())["results"]
    assert sizes["n_train_instances"] == 3200
    assert sizes["n_test_instances"] <= 800
    assert len(list(csv.DictReader((folder / "seed-0" / "frontier.csv").open()))) == 5


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ("luck=1", "argument --grid: expected PART=VALUE,VALUE, PART one of n_copies, .* got 'luck=1'"),
        ("eps", "got 'eps'"),
        ("eps=much", "error: --grid eps: expected a number, got 'much'"),
        ("leaf_size=1", "error: --leaf-size must be at least 2, got 1"),
        ("gain=luck", "error: --gain must be one of counts, scores, got 'luck'"),
    ],
)
def test_mistakes_in_a_grid(disentangle: Command, verbs: Path, grid: str, message: str):
    refused(disentangle("sweep", "verbs", "--data-dir", verbs, "--grid", grid), message)


@pytest.mark.parametrize("n", [1, 3, 50])
def test_too_few_training_instances_for_a_sweep(disentangle: Command, tmp_path: Path, n: int):
    # One instance alone has labels: one of the two parts is without, whatever is drawn.
    Y = sp.csr_matrix((np.ones(3, np.float32), ([0, 0, 0], [0, 1, 2])), shape=(n, 3))
    X = sp.csr_matrix(np.ones((n, 2), np.float32))
    save_dataset(tmp_path / "data" / "few", X_trn=X, Y_trn=Y, X_tst=X, Y_tst=Y)
    result = disentangle("sweep", "few", "--data-dir", "data", "--max-leaf-size", "2")
    refused(result, "too few training instances to set a fifth of them apart")


def test_changed_data_redo_everything(base: Command, verbs: Path, finished: Path, tmp_path: Path):
    model_dir, data_dir = tmp_path / "copy", tmp_path / "data"
    shutil.copytree(finished, model_dir)
    shutil.copytree(verbs, data_dir)
    Y = sp.load_npz(data_dir / "verbs" / "Y.trn.npz")
    Y.data[0] = 0
    sp.save_npz(data_dir / "verbs" / "Y.trn.npz", Y)
    result = base("--model-dir", model_dir, "--data-dir", data_dir)
    assert stages_run(result) == STAGES


def test_another_run_gives_the_same_bytes_with_any_number_of_threads(
    base: Command, finished: Path, tmp_path: Path
):
    ok(base("--threads", "3"))
    report = json.loads((tmp_path / "model" / "verbs" / "base" / "report.json").read_text())
    assert figures(report) == figures(json.loads((finished / "verbs" / "base" / "report.json").read_text()))
    arrays = sorted((tmp_path / "model").rglob("*.npz"))
    assert len(arrays) == len(list(finished.rglob("*.npz"))) > 15
    for ours in arrays:
        assert ours.read_bytes() == (finished / ours.relative_to(tmp_path / "model")).read_bytes(), ours


# The command line, which a signal stops in the middle of the first retraining: the test gives its number.
STOPPED = """
import os, sys, threading
from disentangle.cli import main as cli
from disentangle.overlap import copies as pseudo
from disentangle.runtime import interrupt

number = int(sys.argv.pop(1))

def endless():
    os.kill(os.getpid(), number)
    threading.Event().wait()

pseudo.expand_labels = lambda *args: interrupt.interruptible(endless)
cli.main()
"""


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_a_stopped_run_continues_at_the_stage_it_was_in(
    base: Command, tmp_path: Path, verbs: Path, number: int, status: int
):
    arguments = ("base", "verbs", "--data-dir", verbs, *SMALL_TREE)
    stopped = run_python(
        ROOT,
        *("-c", STOPPED, str(number), *arguments),
        variables={"XMC_MODEL": str(tmp_path / "model")},
        # A shell's background jobs ignore Ctrl-C, and would hand that down.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    stderr = stopped.stderr
    assert stopped.returncode == status, stderr
    assert stages_run(stopped)[-1] == "paper/overlap"
    if number != signal.SIGKILL:
        assert stderr.splitlines()[-1] == "stopped; what is finished is kept, run the same command again"
        assert not list((tmp_path / "model").rglob(".tmp-*"))
    assert "Traceback" not in stderr
    result = ok(base())
    assert stages_run(result) == OF_PAPER[1:]
    assert not list((tmp_path / "model").rglob(".tmp-*"))


def test_a_full_disk_is_one_sentence_and_the_next_run_continues(base: Command, tmp_path: Path):
    # No file may grow beyond a size that the tree and the label assignment fit in, but no model.
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    refused(base(preexec_fn=limit), "^error: cannot write ")
    assert not list((tmp_path / "model").rglob(".tmp-*"))
    result = ok(base())
    assert stages_run(result) == STAGES[2:]


LONG_PARTS = (
    *(f"--{name}=0.123456789012345" for name in ("eps", "threshold", "negatives")),
    *(f"--{name}=1000000000" for name in ("leaf-size", "overlap-splits", "cost", "terms", "predict-beam")),
    "--positives=frequent",
)
MISTAKES = [
    (("base", "vebrs"), "no dataset 'vebrs' in .*: it holds verbs"),
    (("base", "../verbs"), "must be the name of a folder in"),
    (("base", "verbs", "--data-dir", "nowhere"), "no dataset folder at nowhere"),
    (("base", "verbs", "--n-copies", "0"), "--n-copies must be at least 1, got 0"),
    (
        ("base", "verbs", "--grid", "n_copies=2", "--grid", "n_copies=3"),
        "--grid must name each part once, got n_copies, n_copies",
    ),
    (("base", "verbs", "--leaf-size", "1"), "--leaf-size must be at least 2, got 1"),
    (("base", "verbs", "--negatives", "1.1"), "--negatives must be at most 1, got 1.1"),
    (("base", "verbs", "--cost", "0"), "--cost must be at least 0.001, got 0.0"),
    (("base", "verbs", "--negatives", "nan"), "--negatives must be a number, got nan"),
    (("base", "verbs", "--eps", "0"), "--eps must be above 0, got 0.0"),
    (("base", "verbs", "--hinge", "7"), "--hinge must be at most 6, got 7"),
    (("base", "verbs", "--overlap-splits", "1"), "--overlap-splits must be at least 2, got 1"),
    (("base", "verbs", "--terms", "-1"), "--terms must be at least 1, got -1"),
    (
        ("base", "verbs", *LONG_PARTS),
        "a preset and its parts must have a name of at most 200 bytes, got 208: paper-positives-frequent",
    ),
    (("base", "verbs", "--eps", "inf"), "--eps must be at most 1000000000, got inf"),
    (("base", "verbs", "--threshold", "-1"), "--threshold must be at least 0, got -1.0"),
    (("base", "verbs", "--threshold", "nan"), "--threshold must be a number, got nan"),
    (("base", "verbs", "--predict-beam", "0"), "--predict-beam must be at least 1, got 0"),
    (("base", "verbs", "--n-trees", "0"), "--n-trees must be at least 1, got 0"),
    (
        ("base", "verbs", "--n-trees", "2", "--seed", "4294967295"),
        "--seed with --n-trees 2 must be at most 4294967294, got 4294967295",
    ),
    (("base", "verbs", "--beam-size", "0"), "--beam-size must be at least 1, got 0"),
    (("base", "verbs", "--top-k", "9"), "--top-k must be at least 10, got 9"),
    (("base", "verbs", "--threads", "0"), "--threads must be at least 1, got 0"),
    (("base", "verbs", "--nr-splits", "1"), "--nr-splits must be at least 2, got 1"),
    (("base", "verbs", "--max-leaf-size", "1"), "--max-leaf-size must be at least 2, got 1"),
    (
        ("base", "verbs", "--beam-size", "4294967297"),
        "--beam-size must be at most 1073741824, got 4294967297",
    ),
    (("base", "x" * 300), "no dataset 'xxx"),
    (("base", "verbs", "--seed", "-1"), "--seed must be at least 0, got -1"),
    (("base", "verbs", "--max-leaf-size", "99999"), "too few labels for a tree: expected more than"),
    (("base", "verbs", "--n-copies", "two"), "argument --n-copies: expected an integer, got 'two'"),
    (
        ("base", "verbs", "--preset", "best"),
        "argument --preset: expected some of paper, tuned, lean, got 'best'",
    ),
    (("base", "verbs", "--copies", "2"), "unrecognized arguments: --copies"),
    (("bass",), "invalid choice: 'bass'"),
]


@pytest.mark.parametrize(
    ("args", "message"), MISTAKES, ids=[" ".join(args[1:]) or args[0] for args, _ in MISTAKES]
)
def test_mistakes_are_one_sentence_and_status_2(
    disentangle: Command, verbs: Path, tmp_path: Path, args: tuple[str, ...], message: str
):
    data = () if "--data-dir" in args or args[0] == "bass" else ("--data-dir", verbs)
    result = refused(disentangle(*args, *data), message)
    if "argument" in message:
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1
    assert not list(tmp_path.rglob("*.npz"))


def test_a_damaged_file_is_refused_before_anything_is_written(
    disentangle: Command, verbs: Path, tmp_path: Path
):
    shutil.copytree(verbs, tmp_path / "data")
    file = tmp_path / "data" / "verbs" / "Y.trn.npz"
    file.write_bytes(file.read_bytes()[:-40])
    result = disentangle("base", "verbs", "--data-dir", "data")
    refused(result, r"^error: data/verbs/Y\.trn\.npz is damaged")
    assert [path.name for path in (tmp_path / "model").rglob("*") if path.is_file()] == [".lock"]


def test_a_results_folder_that_cannot_be_written(base: Command, tmp_path: Path):
    (tmp_path / "model").write_text("a file")
    refused(base(), "error: cannot write to model/verbs/base: Not a directory")


def test_more_copies_and_beam_than_clusters_still_run(base: Command, tmp_path: Path):
    ok(base("--n-copies", "500", "--beam-size", "500", "--max-leaf-size", "300"))
    folder = tmp_path / "model" / "verbs" / "base"
    assignment = np.load(next(folder.glob("*/assignment/overlap.npz")))
    copies = np.unique(np.stack([assignment["original"], assignment["clusters"]]), axis=1)
    assert copies.shape[1] == len(assignment["original"])  # none twice in a cluster


def test_help_needs_no_heavy_import(disentangle: Command):
    result = ok(disentangle("base", "--help"))
    assert "--n-copies" in result.stdout
    assert not re.search(r"default:\s+(True|False|None|\[)", result.stdout)
    code = (
        "import sys, disentangle.cli.main; print([m for m in ('numpy', 'rich', 'pecos') if m in sys.modules])"
    )
    assert ok(run_python(ROOT, "-c", code)).stdout.strip() == "[]"


def test_another_system_is_one_sentence():
    code = (
        "import argparse, os, sys; sys.platform = 'darwin'; del os.sched_getaffinity; import disentangle.cli"
    )
    ended = run_python(ROOT, "-c", code)
    assert ended.returncode == 2
    assert ended.stderr == "error: disentangle needs Linux (x86_64 or aarch64), this is darwin\n"


def test_a_run_that_finds_everything_done_waits_for_no_compiler(finished: Path, verbs: Path):
    command = ("-X", "importtime", "-m", "disentangle", "base", "verbs", *SMALL_TREE)
    result = ok(run_python(ROOT, *command, variables={"XMC_DATA": str(verbs), "XMC_MODEL": str(finished)}))
    imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert "disentangle.jobs.base" in imported
    assert not imported & {"numba", "pecos", "sklearn"}


def test_a_missing_package_is_one_sentence(disentangle: Command, tmp_path: Path, verbs: Path):
    (tmp_path / "rich").mkdir()
    (tmp_path / "rich" / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'rich'\")")
    package, variables = f"{tmp_path}:{ROOT / 'src'}", {"XMC_DATA": str(verbs)}
    result = disentangle("base", "verbs", package=package, variables=variables)
    assert result.returncode == 2
    assert result.stderr == "error: No module named 'rich'; requirements.txt lists what must be installed\n"


def test_a_reader_that_stops_early_is_no_error(finished: Path, verbs: Path):
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "XMC_DATA": str(verbs), "XMC_MODEL": str(finished)}
    job = shlex.join([sys.executable, "-m", "disentangle", "base", "verbs", *SMALL_TREE])
    command = f"set -o pipefail; {job} | true"
    ok(subprocess.run(["bash", "-c", command], env=env, capture_output=True, text=True, check=False))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dataset", "tolerance"),
    [("vullib", 0.6), pytest.param("eurlex-57k", 0.3), pytest.param("tibkat-all", 0.3)],
)
def test_figures_match_the_paper_authors_scripts(
    disentangle: Command, tmp_path: Path, dataset: str, tolerance: float
):
    if not SHARED.is_dir():
        pytest.skip("the development data are not beside this checkout")
    reference = json.loads((SHARED / "reference" / "original-scripts.json").read_text())["datasets"][dataset]
    ok(disentangle("base", dataset, "--data-dir", SHARED / "data" / "xmc-base"))
    xr_linear, overlap = json.loads((tmp_path / "model" / dataset / "base" / "report.json").read_text())[
        "runs"
    ]
    for run, name, within in ((xr_linear, "base/xr-linear", 0.05), (overlap, "base/overlap", tolerance)):
        assert run["precision"] == pytest.approx(reference[name]["precision_at_1_to_10"], abs=within)
        assert run["recall"] == pytest.approx(reference[name]["recall_at_1_to_10"], abs=within)
    assert overlap["n_pseudo_labels"] == reference["base/reorganise"]["n_pseudo_labels"]
