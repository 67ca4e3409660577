"""The metric job as a user runs it, on binned labels and on components of a dataset's own."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from conftest import EMBEDDED, SMALL_TREE, Command, ok, refused


@pytest.fixture(scope="module")
def with_components(verbs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset `verbs` with the true senses of its labels, as a dataset of its own."""
    data_dir = tmp_path_factory.mktemp("with-components")
    shutil.copytree(verbs / "verbs", data_dir / "senses")
    Y_all = sp.load_npz(EMBEDDED / "Y.trn.npz")[-4000:]
    labels = np.flatnonzero(np.asarray(Y_all.sum(axis=0)).ravel() >= 5)
    of_label = sp.load_npz(EMBEDDED / "components" / "labels.npz")[:, labels]
    kept = np.flatnonzero(of_label.getnnz(axis=1))
    folder = data_dir / "senses" / "components"
    folder.mkdir()
    sp.save_npz(folder / "labels.npz", of_label[kept])
    sp.save_npz(folder / "Y.trn.npz", sp.load_npz(EMBEDDED / "components" / "Y.trn.npz")[-4000:][:, kept])
    names = (EMBEDDED / "output-items.txt").read_text().splitlines()
    (data_dir / "senses" / "output-items.txt").write_text("".join(f"{names[i]}\n" for i in labels))
    return data_dir


def check(folder: Path, components: str) -> dict:
    """What holds for every report; returns it."""
    report = json.loads((folder / "report.json").read_text())
    with (folder / f"labels-{components}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert report["components"] == components
    assert len(rows) == report["n_labels_scored"] > 10
    vi = np.array([float(row["vi"]) for row in rows])
    assert vi.mean() == pytest.approx(report["mean_vi"])
    assert all(0 <= float(row["vi"]) <= float(row["vi_bound"]) + 1e-9 for row in rows)
    difference = np.array([float(row["random_even_odds"]) for row in rows]) - vi
    assert difference.mean() == pytest.approx(report["mean_difference"])
    assert (difference > 0).mean() == pytest.approx(report["fraction_better_than_random"])
    low, high = report["difference_95_percent_interval"]
    assert low < report["mean_difference"] < high
    for ending in ("png", "svg", "pdf"):
        assert (folder / f"differences-{components}.{ending}").stat().st_size > 5000
    return report


def test_natural_components_are_the_default_of_a_dataset_that_has_them(
    disentangle: Command, with_components: Path, tmp_path: Path
):
    args = ("metric", "senses", "--data-dir", with_components, *SMALL_TREE)
    result = ok(disentangle(*args))
    check(tmp_path / "model" / "senses" / "metric", "natural")
    assert "best separated labels" in result.stdout
    assert "worst separated labels" in result.stdout
    with (tmp_path / "model" / "senses" / "metric" / "labels-natural.csv").open(newline="") as file:
        best = min(csv.DictReader(file), key=lambda row: float(row["vi"]) - float(row["random_same_sizes"]))
    assert f"\n{best['name']} " in result.stdout
    assert best["components"].count(" | ") == best["table"].count(" | ") == int(best["n_components"]) - 1
    again = disentangle(*args)
    assert "..." not in again.stderr
    assert again.stdout == result.stdout


def test_binned_labels_are_the_default_of_others(disentangle: Command, verbs: Path, tmp_path: Path):
    ok(disentangle("metric", "verbs", "--data-dir", verbs, *SMALL_TREE))
    check(tmp_path / "model" / "verbs" / "metric", "level-2-size-2")
    assert not (tmp_path / "model" / "verbs" / "base").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--components", "natural"), "has no components of its own: expected a folder components in it"),
        (("--components", "senses"), "argument --components: invalid choice: 'senses'"),
        (("--bin-size", "0"), "--bin-size must be at least 2, got 0"),
        (("--n-copies", "1"), "--n-copies must be at least 2 to have copies to score, got 1"),
    ],
)
def test_mistakes_are_one_sentence(disentangle: Command, verbs: Path, args: tuple[str, ...], message: str):
    refused(disentangle("metric", "verbs", "--data-dir", verbs, *SMALL_TREE, *args), message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"act\n", "output-items.txt must have .* lines, one a name, got 1"),
        (b"\xff\n", "output-items.txt, line 1: expected UTF-8 text"),
    ],
)
def test_wrong_names_are_refused(
    disentangle: Command, with_components: Path, tmp_path: Path, content: bytes, message: str
):
    shutil.copytree(with_components, tmp_path / "data")
    (tmp_path / "data" / "senses" / "output-items.txt").write_bytes(content)
    refused(disentangle("metric", "senses", "--data-dir", "data", *SMALL_TREE), message)
    assert [path.parent.name for path in (tmp_path / "model").rglob("stage.json")] == ["load"]


@pytest.mark.parametrize(
    ("file", "spoil", "message"),
    [
        ("labels.npz", lambda m: m[:-1], r"Y.trn.npz must be of shape \(4000, \d+\), got"),
        ("labels.npz", lambda m: m[:, :-1], r"labels.npz must be of shape"),
        ("labels.npz", lambda m: m * 0, "labels.npz must have one label per row, got 0 in row 0"),
        ("Y.trn.npz", lambda m: m[1:], r"Y.trn.npz must be of shape \(4000"),
        ("Y.trn.npz", lambda m: m * 2, "must hold only 0 and 1, got 2"),
    ],
)
def test_wrong_components_are_refused(
    disentangle: Command, with_components: Path, tmp_path: Path, file: str, spoil, message: str
):
    shutil.copytree(with_components, tmp_path / "data")
    path = tmp_path / "data" / "senses" / "components" / file
    sp.save_npz(path, spoil(sp.load_npz(path)).tocsr())
    refused(disentangle("metric", "senses", "--data-dir", "data", *SMALL_TREE), message)
    # Before anything is trained.
    assert [path.parent.name for path in (tmp_path / "model").rglob("stage.json")] == ["load"]
