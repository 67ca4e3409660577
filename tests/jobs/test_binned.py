"""The binned job as a user runs it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from conftest import SHARED, SMALL_TREE, Command, ok, refused, run_disentangle, save_dataset

from disentangle.jobs.binned import Binned
from disentangle.jobs.job import Job
from disentangle.jobs.settings import Settings
from disentangle.model.tree import build_chain
from disentangle.params import BinParams, TreeParams
from disentangle.runtime import provenance
from disentangle.storage.compressed import one_per_row


@pytest.fixture(scope="module")
def finished(verbs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished sweep, and a base run that was there before."""
    folder = tmp_path_factory.mktemp("binned")
    common = ("verbs", "--data-dir", verbs, *SMALL_TREE)
    ok(run_disentangle(folder, "base", *common))
    shutil.copytree(folder / "model" / "verbs" / "base", folder / "base-before")
    result = ok(run_disentangle(folder, "binned", *common, "--bin-sizes", "2,3", "--levels", "0,1"))
    (folder / "stdout").write_text(result.stdout)
    return folder


def test_the_report_has_both_methods_for_each_way_to_bin(finished: Path):
    report = json.loads((finished / "model" / "verbs" / "binned" / "report.json").read_text())
    assert report["job"] == "binned"
    ways = [(run["method"], run["level_from_leaf"], run["bin_size"]) for run in report["runs"]]
    assert ways == [
        (method, level, size) for level in (0, 1) for size in (2, 3) for method in ("xr-linear", "overlap")
    ]
    for run in report["runs"]:
        assert 0 < run["precision"][0] <= 100
    assert (finished / "stdout").read_text().count("difference") == 4


def test_figures_and_label_sets_are_there(finished: Path):
    folder = finished / "model" / "verbs" / "binned"
    for name in ("figure-2-level-0-size-2", "figure-2-level-1-size-3", "sweep"):
        for ending in ("png", "svg", "pdf", "csv"):
            assert (folder / f"{name}.{ending}").stat().st_size > 100
    label_set = finished / "dataset-binned" / "verbs" / "level-1-size-3"
    mapping = json.loads((label_set / "bins.json").read_text())
    labels = sp.load_npz(label_set / "components" / "labels.npz")
    Y, Y_components = (
        sp.load_npz(label_set / "Y.trn.npz"),
        sp.load_npz(label_set / "components" / "Y.trn.npz"),
    )
    # Both ways of the mapping agree, and the labels are those of the components.
    for b, members in enumerate(mapping["labels_of_bin"]):
        assert labels[:, b].nonzero()[0].tolist() == members
    assert np.array_equal((Y_components @ labels).toarray() > 0, Y.toarray() == 1)
    names = (label_set / "output-items.txt").read_text().splitlines()
    assert len(names) == Y.shape[1]
    first = mapping["labels_of_bin"][0]
    assert names[0] == " + ".join(f"label {label}" for label in first)


def test_the_base_run_is_left_alone(finished: Path):
    before, after = finished / "base-before", finished / "model" / "verbs" / "base"
    for path in sorted(before.rglob("*")):
        if path.is_file():
            assert path.read_bytes() == (after / path.relative_to(before)).read_bytes()


def test_without_a_base_run_the_bins_are_the_same(
    disentangle: Command, verbs: Path, finished: Path, tmp_path: Path
):
    given = ("--data-dir", verbs, *SMALL_TREE, "--bin-sizes", "3", "--levels", "1", "--threads", "3")
    ok(disentangle("binned", "verbs", *given))
    ours = tmp_path / "dataset-binned" / "verbs" / "level-1-size-3" / "bins.json"
    assert (
        ours.read_text()
        == (finished / "dataset-binned" / "verbs" / "level-1-size-3" / "bins.json").read_text()
    )
    assert not (tmp_path / "model" / "verbs" / "base").exists()
    given = ("--data-dir", verbs, *SMALL_TREE, "--bin-sizes", "3", "--levels", "1")
    again = ok(disentangle("binned", "verbs", *given))
    assert "..." not in again.stderr


def small_set(folder: Path, n_labels: int) -> Path:
    """A dataset of so many labels, each of five instances that share a feature."""
    labels = np.arange(5 * n_labels) % n_labels
    Y = one_per_row(labels, n_labels)
    X = sp.hstack([Y, sp.random(len(labels), 9, 0.3, "csr", np.float32, random_state=0)], format="csr")
    save_dataset(folder / "data" / "few", X_trn=X, Y_trn=Y, X_tst=X, Y_tst=Y)
    return folder / "data"


@pytest.mark.parametrize(("n_labels", "level"), [(24, 2), (8, 1)])
def test_without_a_level_a_low_tree_is_binned_at_its_highest(
    disentangle: Command, tmp_path: Path, n_labels: int, level: int
):
    small = ("few", "--data-dir", small_set(tmp_path, n_labels), "--nr-splits", "4", "--max-leaf-size", "2")
    for job in ("binned", "metric"):
        result = disentangle(job, *small)
        # So few instances cannot be scored, but they were binned.
        assert result.returncode == (0 if job == "binned" else 2), result.stderr
        assert ("can be scored" in result.stderr) == (job == "metric")
        told = f"binned at level {level}, the highest of this tree" in result.stderr
        assert told == (level < 2)
    assert [path.name for path in (tmp_path / "dataset-binned" / "few").glob("level-*")] == [
        f"level-{level}-size-2"
    ]


@pytest.mark.parametrize("job", ["base", "binned", "metric", "sweep"])
@pytest.mark.parametrize("n_labels", [1, 2])
def test_labels_too_few_for_any_tree(disentangle: Command, tmp_path: Path, job: str, n_labels: int):
    result = disentangle(job, "few", "--data-dir", small_set(tmp_path, n_labels), "--max-leaf-size", "2")
    refused(result, f"expected at least 3, got {n_labels}; no option helps")


def test_bins_too_few_for_any_tree(disentangle: Command, tmp_path: Path):
    result = disentangle("binned", "few", "--data-dir", small_set(tmp_path, 4), "--max-leaf-size", "2")
    refused(result, "too few binned labels for a tree: ")
    assert not list((tmp_path / "dataset-binned").rglob("*.npz"))


@pytest.mark.parametrize(("nr_splits", "max_leaf_size"), [(2, 2), (3, 2), (4, 5), (32, 2), (4, 30)])
@pytest.mark.parametrize("n_labels", [3, 31, 40, 65, 129])
def test_levels_are_counted_as_the_tree_has_them(n_labels: int, nr_splits: int, max_leaf_size: int):
    params = TreeParams(nr_splits, max_leaf_size)
    n_labels += max_leaf_size - 2  # fewer make no tree
    Y = one_per_row(np.arange(n_labels), n_labels)
    assert len(build_chain(Y, Y.tocsc(), params, 1)) == params.n_levels(n_labels)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--bin-sizes", "1"), "--bin-sizes must be at least 2, got 1"),
        (("--levels", "-1"), "--levels must be at least 0, got -1"),
        (("--levels", "9"), r"--levels must be at most \d, the highest level of this tree, got 9"),
        (("--levels", "a,b"), "argument --levels: expected numbers separated by commas, got 'a,b'"),
    ],
)
def test_mistakes_are_one_sentence(disentangle: Command, verbs: Path, args: tuple[str, ...], message: str):
    refused(disentangle("binned", "verbs", "--data-dir", verbs, *SMALL_TREE, *args), message)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dataset", "tolerance"), [("vullib", 1.0), ("eurlex-57k", 0.8), ("tibkat-all", 0.5)]
)
def test_figures_match_the_paper_authors_scripts(
    disentangle: Command, tmp_path: Path, dataset: str, tolerance: float
):
    # The bins are random: another seed moves P@1 by 0.5 on vullib and 0.3 on eurlex-57k (one sd).
    if not SHARED.is_dir():
        pytest.skip("the development data are not beside this checkout")
    reference = json.loads((SHARED / "reference" / "original-scripts.json").read_text())["datasets"][dataset]
    ok(disentangle("metric", dataset, "--data-dir", SHARED / "data" / "xmc-base"))
    ok(disentangle("binned", dataset, "--data-dir", SHARED / "data" / "xmc-base"))
    folder = tmp_path / "model" / dataset
    for run in json.loads((folder / "binned" / "report.json").read_text())["runs"]:
        expected = reference[f"binned/{run['method']}"]
        assert run["precision"] == pytest.approx(expected["precision_at_1_to_10"], abs=tolerance)
        assert run["recall"] == pytest.approx(expected["recall_at_1_to_10"], abs=tolerance)
    metric = json.loads((folder / "metric" / "report.json").read_text())
    expected = reference["binned/vi"]["mean_difference"]
    # On vullib it is 0.29 ± 0.04 over seeds 0 to 7, and theirs is of one draw as well: two draws differ by
    # less than three times 0.04 times the root of two.
    assert metric["mean_difference"] == pytest.approx(expected, abs=0.17 if dataset == "vullib" else 0.06)


def test_models_are_made_anew_where_labels_are_binned_otherwise(
    verbs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    job = Job("verbs", verbs, tmp_path, tmp_path, Settings(threads=1))
    before = Binned(job, job.base(), BinParams()).plan.load.key
    assert Binned(job, job.base(), BinParams()).plan.load.key == before
    code_of = provenance.code_of
    changed = "evaluate.binning"
    monkeypatch.setattr(
        provenance, "code_of", lambda modules, own: "other" if changed in modules else code_of(modules, own)
    )
    assert Binned(job, job.base(), BinParams()).plan.load.key != before
