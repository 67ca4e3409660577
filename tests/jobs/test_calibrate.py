"""Calibration as a user has it: base --calibrate, its report, predict --min-probability, bundles."""

from __future__ import annotations

import csv
import json
import re
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from conftest import SMALL_TREE, Command, base, ok, refused, reseal, run_disentangle

import disentangle
from disentangle.data import datasets
from disentangle.data.validation import validation
from disentangle.evaluate import metrics
from disentangle.evaluate.calibration import CALIBRATION_FILE, Calibration
from disentangle.jobs import calibrate, plan
from disentangle.jobs.settings import Settings
from disentangle.model.predictor import Predictor
from disentangle.storage.saved import RECORD, Saved

LEAN = ("--preset", "lean", "--without-xr-linear")


def records(folder: Path) -> dict[str, bytes]:
    """Of each stage: they have its seconds, so that they tell whether it was made anew."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob(RECORD)}


@pytest.fixture(scope="module")
def place(verbs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sweep, and a base job that was calibrated after it, with two trees."""
    folder = tmp_path_factory.mktemp("calibrate")
    shutil.copytree(verbs / "verbs", folder / "dataset" / "xmc-base" / "verbs")
    run = partial(run_disentangle, folder)
    ok(run("sweep", "verbs", *SMALL_TREE, "--preset", "lean"))
    swept = records(folder / "model" / "verbs" / "sweep")
    ended = ok(run("base", "verbs", *SMALL_TREE, "--preset", "lean", "--n-trees", "2", "--calibrate"))
    assert "calibration error, in percent" in ended.stdout
    now = records(folder / "model" / "verbs" / "sweep")
    assert {name: now[name] for name in swept} == swept  # nothing of the sweep is trained anew
    return folder


@pytest.fixture
def copy(place: Path, tmp_path: Path) -> Path:
    """The same folder, to be changed."""
    return Path(shutil.copytree(place, tmp_path / "copy"))


def reported(place: Path) -> list[dict]:
    return json.loads((base(place) / "report.json").read_text())["runs"]


def test_a_sweep_after_it_trains_nothing_anew(copy: Path):
    before = records(copy / "model" / "verbs" / "sweep")
    shutil.rmtree(copy / "model" / "verbs" / "base")
    ok(run_disentangle(copy, "sweep", "verbs", *SMALL_TREE, "--preset", "lean"))
    assert records(copy / "model" / "verbs" / "sweep") == before


def test_it_is_fitted_on_the_validation_part(place: Path):
    data = place / "dataset" / "xmc-base"
    part = validation(datasets.source(data, "verbs"), 0).load()
    predictor = Predictor.load(place / "model" / "verbs" / "sweep" / "seed-0" / "lean" / "evaluation")
    labels, scores = (np.vstack(own) for own in zip(*predictor.best(part.X_tst, 10, 1), strict=True))
    hits = np.array(
        [[label in row.indices for label in own] for row, own in zip(part.Y_tst, labels, strict=True)]
    )
    expected = Calibration.fit(np.where(labels < 0, np.nan, scores), hits, part.Y_tst.nnz)
    found = Calibration.load(Saved(base(place) / "lean" / "calibration"))
    given = np.linspace(0, 1, 1001, dtype=np.float32)
    assert (found.of(given) == expected.of(given)).all()
    assert (found.threshold, found.f1) == (expected.threshold, expected.f1)


@pytest.mark.parametrize(
    ("name", "which"),
    [("xr-linear-{}", (None, 1)), ("lean/{}-trees-2", ("lean", 2))],
    ids=["one", "two trees"],
)
def test_the_report_has_the_errors_on_the_test_part(place: Path, name: str, which: tuple):
    part = datasets.source(place / "dataset" / "xmc-base", "verbs").load()
    predictor = Predictor.load(base(place) / name.format("evaluation"))
    calibration = Calibration.load(Saved(base(place) / name.format("calibration")))
    labels, scores = (np.vstack(own) for own in zip(*predictor.best(part.X_tst, 10, 1), strict=True))
    (own,) = [one for one in reported(place) if (one["variant"], one["n_trees"]) == which]
    for kind, found in (("scores", scores), ("probabilities", calibration.of(scores))):
        for k in (1, 5):
            pairs = [
                (found[i, j], labels[i, j] in row.indices)
                for i, row in enumerate(part.Y_tst)
                for j in range(k)
                if labels[i, j] >= 0
            ]
            values, hits = np.array(pairs).T
            error = 0.0
            for b in range(15):
                is_in = (values >= b / 15) & ((values < (b + 1) / 15) | (b == 14))
                if is_in.any():
                    error += is_in.sum() * abs(values[is_in].mean() - hits[is_in].mean()) / len(values)
            assert own["calibration"]["ece"][kind][str(k)] == pytest.approx(100 * error, abs=0.001)
    errors = own["calibration"]["ece"]
    assert all(errors["probabilities"][k] < errors["scores"][k] / 2 for k in ("1", "5"))


def test_the_page_has_the_diagram_and_its_numbers(place: Path):
    rows = list(csv.DictReader((base(place) / "reliability.csv").read_text().splitlines()))
    assert {(row["method"], row["of"], row["k"]) for row in rows} == {
        (method, of, k)
        for method in ("XR-Linear", "lean", "XR-Linear, 2 trees", "lean, 2 trees")
        for of in ("scores", "probabilities")
        for k in "15"
    }
    page = (base(place) / "report.html").read_text(encoding="utf-8")
    assert "The numbers of reliability" in page
    assert "calibration error, in percent" in page


def test_what_is_calibrated_stays_reported(copy: Path):
    before = [one["calibration"] for one in reported(copy)]
    ended = ok(run_disentangle(copy, "base", "verbs", *SMALL_TREE, "--preset", "lean"))
    assert "calibration error, in percent" in ended.stdout
    assert [one["calibration"] for one in reported(copy)] == before


def test_a_calibration_stays_reported_of_models_that_are_forced(copy: Path):
    before = [one["calibration"] for one in reported(copy)]
    ok(run_disentangle(copy, "base", "verbs", *SMALL_TREE, "--preset", "lean", "--force"))
    assert [one["calibration"] for one in reported(copy)] == before


def test_it_follows_all_that_scores_depend_on(verbs: Path, tmp_path: Path):
    tree = plan.Plan(tmp_path, datasets.source(verbs, "verbs"), Settings(threads=1))
    stage = calibrate._fitted(tree, [tree], None, tmp_path / "calibration")
    assert {"evaluate.calibration", "overlap.merge", *plan._PREDICTING} <= set(stage._modules)


def test_less_probable_labels_are_left_out_and_the_others_keep_their_order(
    place: Path, run: Command, tmp_path: Path
):
    X = place / "dataset" / "xmc-base" / "verbs" / "tfidf-attnxml" / "X.tst.npz"
    given, found = ("predict", "verbs", "--variant", "lean", "--input", X), {}
    for name, ending in (("all", "tsv"), ("some", "tsv"), ("some", "jsonl"), ("some", "npz")):
        more = () if name == "all" else ("--min-probability", "0.3")
        found[name, ending] = tmp_path / f"{name}.{ending}"
        ok(run(*given, "--out", found[name, ending], *more))
    rows = {
        name: list(csv.DictReader(found[name, "tsv"].read_text().splitlines(), delimiter="\t"))
        for name in ("all", "some")
    }
    kept = [row for row in rows["all"] if float(row["probability"]) >= 0.3]
    assert rows["some"] == kept
    assert 0 < len(kept) < len(rows["all"])
    objects = [json.loads(line) for line in found["some", "jsonl"].read_text().splitlines()]
    flat = [label for one in objects for label in one["labels"]]
    assert [(label["label"], label["probability"]) for label in flat] == [
        (int(row["label"]), float(row["probability"])) for row in kept
    ]
    assert [one["instance"] for one in objects] == list(range(len(objects)))
    scores = sp.load_npz(found["some", "npz"])
    assert scores.nnz == len(kept)
    probabilities = Calibration.load(Saved(base(place) / "lean" / "calibration")).of(scores.data)
    assert sorted(probabilities) == pytest.approx(sorted(float(row["probability"]) for row in kept), rel=1e-5)
    assert json.loads((tmp_path / "some.npz.json").read_text())["min_probability"] == 0.3


@pytest.fixture(scope="module")
def given(verbs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dataset that has a validation part, and a calibrated base job with two trees on it."""
    folder = tmp_path_factory.mktemp("given")
    shutil.copytree(verbs / "verbs", dataset := folder / "dataset" / "xmc-base" / "verbs")
    for place, letter in ((dataset / "tfidf-attnxml", "X"), (dataset, "Y")):
        whole = sp.load_npz(place / f"{letter}.trn.npz").tocsr()
        sp.save_npz(place / f"{letter}.trn.npz", whole[:3000])
        sp.save_npz(place / f"{letter}.val.npz", whole[3000:])
    ok(run_disentangle(folder, "base", "verbs", *SMALL_TREE, *LEAN, "--n-trees", "2", "--calibrate"))
    return folder


def test_of_a_validation_part_nothing_is_trained_a_second_time(given: Path):
    assert not list((given / "model" / "verbs" / "sweep").rglob("overlap"))
    part = validation(datasets.source(given / "dataset" / "xmc-base", "verbs"), 0).load()
    assert part.X_trn.shape[0] == 3000
    for name, n in (("lean/{}", 1), ("lean/{}-trees-2", 2)):
        predictor = Predictor.load(base(given) / name.format("evaluation"))
        assert len(predictor.voices) == n
        labels, scores = (np.vstack(own) for own in zip(*predictor.best(part.X_tst, 10, 1), strict=True))
        hits = metrics.hits(part.Y_tst, labels)
        expected = Calibration.fit(np.where(labels < 0, np.nan, scores), hits, part.Y_tst.nnz)
        found = Calibration.load(Saved(base(given) / name.format("calibration")))
        scores = np.linspace(0, 1, 1001, dtype=np.float32)
        assert (found.of(scores) == expected.of(scores)).all()
    ended = run_disentangle(given, "predict", "verbs", "--variant", "lean", "--input", part_of(given))
    assert ended.stdout.startswith("instance\tlabel\tname\tscore\tprobability\n")


def part_of(place: Path, file: str = "X.tst.npz") -> Path:
    return place / "dataset" / "xmc-base" / "verbs" / "tfidf-attnxml" / file


def test_report_and_record_say_which_validation_part_it_was(given: Path, place: Path, tmp_path: Path):
    copy = Path(shutil.copytree(given, tmp_path / "copy"))
    expected = datasets.digest(copy / "dataset" / "xmc-base" / "verbs", parts=("val",))
    assert all(one["calibration"]["data"] == expected for one in reported(copy))
    assert all(one["calibration"]["data"] == {"validation": "0"} for one in reported(place))
    record = json.loads((copy / "model/verbs/sweep/seed-0/lean/calibration" / RECORD).read_text())
    assert record["inputs"]["data"].items() >= expected.items()
    # Another validation part: the models stay, the calibration does not.
    sp.save_npz(part_of(copy, "X.val.npz"), sp.load_npz(part_of(copy, "X.val.npz")).tocsr() * 0.5)
    before = records(base(copy))
    again = ("base", "verbs", *SMALL_TREE, *LEAN, "--n-trees", "2")
    ok(run_disentangle(copy, *again))
    assert not any("calibration" in one for one in reported(copy))
    ok(run_disentangle(copy, *again, "--calibrate"))
    changed = {name for name, content in records(base(copy)).items() if content != before.get(name)}
    assert changed == {f"lean/calibration{trees}/{RECORD}" for trees in ("", "-trees-2")}
    after = datasets.digest(copy / "dataset" / "xmc-base" / "verbs", parts=("val",))
    assert all(one["calibration"]["data"] == after != expected for one in reported(copy))


def test_a_sweep_goes_by_the_validation_part(given: Path, tmp_path: Path):
    copy = Path(shutil.copytree(given, tmp_path / "copy"))
    ended = ok(run_disentangle(copy, "sweep", "verbs", *SMALL_TREE, "--preset", "lean", "--seeds", "0,1"))
    assert "verbs, validation part" in ended.stdout
    sweep = copy / "model" / "verbs" / "sweep"
    report = json.loads((sweep / "report.json").read_text())
    assert report["data"] == validation(datasets.source(copy / "dataset" / "xmc-base", "verbs"), 0).inputs
    part = validation(datasets.source(copy / "dataset" / "xmc-base", "verbs"), 0).load()
    for seed in (0, 1):
        loaded = json.loads((sweep / f"seed-{seed}" / "load" / RECORD).read_text())
        assert loaded["results"]["n_train_instances"] == 3000
        assert loaded["inputs"].items() >= report["data"].items()
        predictor = Predictor.load(sweep / f"seed-{seed}" / "lean" / "evaluation")
        (labels, _), *_ = predictor.best(part.X_tst, 1, 1)
        precision = 100 * metrics.hits(part.Y_tst[: len(labels)], labels).mean()
        (run,) = [
            one for one in report["runs"] if (one["variant"], one["settings"]["seed"]) == ("lean", seed)
        ]
        assert len(labels) == part.X_tst.shape[0]
        assert run["precision"][0] == pytest.approx(precision, abs=1e-3)


def test_the_calibration_of_another_model_is_passed_over(copy: Path):
    X = copy / "dataset" / "xmc-base" / "verbs" / "tfidf-attnxml" / "X.tst.npz"
    ended = ok(run_disentangle(copy, "base", "verbs", *SMALL_TREE, *LEAN, "--beam-size", "3"))
    assert "calibration error, in percent" not in ended.stdout
    given = ("predict", "verbs", "--variant", "lean", "--input", X)
    ended = ok(run_disentangle(copy, *given))
    assert ended.stdout.startswith("instance\tlabel\tname\tscore\n")
    assert "is of another model" in ended.stderr
    out = copy / "labels.tsv"
    ended = run_disentangle(copy, *given, "--min-probability", "0.5", "--out", out)
    assert refused(ended, "--min-probability", "found none of", "lean/evaluation").stdout == ""
    assert not out.exists()


def test_a_damaged_calibration_is_refused(copy: Path):
    file = base(copy) / "lean" / "calibration" / CALIBRATION_FILE
    file.write_text(file.read_text().replace("0.", "0.0", 1))
    given = ("predict", "verbs", "--variant", "lean", "--input", "x.npy")
    np.save(copy / "x.npy", np.zeros((1, 3)))
    ended = run_disentangle(copy, *given)
    assert refused(ended, re.escape(str(CALIBRATION_FILE)), "is damaged").stdout == ""
    (file.parent / RECORD).write_text("{")
    ended = run_disentangle(copy, *given)
    assert refused(ended, re.escape(RECORD), "a damaged one", "run the job again").stdout == ""


@pytest.mark.parametrize("least", ["-0.1", "1.5", "nan", "much"])
def test_what_is_no_probability_is_refused(run: Command, least: str):
    ended = run("predict", "verbs", "--input", "x.npy", "--min-probability", least)
    assert refused(ended, "--min-probability").stdout == ""


def test_a_bundle_has_the_calibration(place: Path, run: Command, tmp_path: Path):
    X = place / "dataset" / "xmc-base" / "verbs" / "tfidf-attnxml" / "X.tst.npz"
    ok(run("bundle", "verbs", "--preset", "lean-trees-2", "--out", tmp_path / "made"))
    more = ("--input", X, "--min-probability", "0.2")
    of_bundle = ok(run_disentangle(tmp_path, "predict", "--bundle", "made", *more))
    of_base = run("predict", "verbs", "--variant", "lean-trees-2", *more)
    assert of_bundle.stdout == of_base.stdout
    model = disentangle.load(tmp_path / "made")
    (own,) = [one for one in reported(place) if (one["variant"], one["n_trees"]) == ("lean", 2)]
    assert model.calibration.threshold == own["calibration"]["threshold"]
    features, threshold = sp.load_npz(X).tocsr(), model.calibration.threshold
    found, kept = model.predict(features), model.predict(features, threshold=threshold)
    assert 0 < kept.nnz == (found.data >= threshold).sum() < found.nnz
    order = np.argsort(-found.toarray(), axis=1, kind="stable")[:, :10]
    best = metrics.rank(model.scores(features), 10)
    assert (order == best)[best >= 0].all()
    card = (tmp_path / "made" / "README.md").read_text()
    told = float(re.search(r"at least\n([\d.]+)", card)[1])
    assert 0 <= threshold - told < 1e-4  # never above it
    assert model.predict(features, threshold=told).nnz >= kept.nnz
    assert "model.predict(X)  # probabilities" in card
    assert "no\nprobabilities" not in card


def test_a_bundle_with_another_models_calibration_gives_no_probabilities(
    place: Path, run: Command, tmp_path: Path
):
    for name in ("lean", "xr-linear"):
        ok(run("bundle", "verbs", "--preset", name, "--out", tmp_path / name))
    shutil.copyfile(tmp_path / "xr-linear" / CALIBRATION_FILE, tmp_path / "lean" / CALIBRATION_FILE)
    reseal(tmp_path / "lean")
    assert disentangle.load(tmp_path / "lean").calibration is None
    np.save(tmp_path / "x.npy", np.zeros((1, disentangle.load(tmp_path / "lean").n_features)))
    given = ("--bundle", "lean", "--input", "x.npy", "--min-probability", "0.5")
    ended = run_disentangle(tmp_path, "predict", *given)
    assert refused(ended, "--min-probability", "found none of").stdout == ""
