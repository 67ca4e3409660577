"""Jobs on another of a dataset's feature sets, as a user runs them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from conftest import Command

from disentangle.data.features import DENSE, SPARSE, Block, FeatureSet

SMALL_TREE = ("--nr-splits", "8", "--max-leaf-size", "10")


@pytest.fixture(scope="module")
def mixed(verbs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`verbs` with a second feature set: its terms, and an embedding that tells the first labels."""
    data_dir = tmp_path_factory.mktemp("mixed")
    folder = data_dir / "verbs"
    shutil.copytree(verbs / "verbs", folder)
    (folder / "mixed").mkdir()
    directions = np.random.default_rng(0).normal(size=(sp.load_npz(folder / "Y.trn.npz").shape[1], 16))
    for part in ("trn", "tst"):
        terms = folder / "tfidf-attnxml" / f"X.{part}.npz"
        shutil.copy(terms, folder / "mixed" / f"terms.{part}.npz")
        Y = sp.load_npz(folder / f"Y.{part}.npz")
        np.save(folder / "mixed" / f"embedding.{part}.npy", (Y @ directions).astype(np.float16))
    n_terms = sp.load_npz(folder / "tfidf-attnxml" / "X.trn.npz").shape[1]
    blocks = Block("terms", SPARSE, n_terms, True, {}), Block("embedding", DENSE, 16, True, {})
    FeatureSet(folder / "mixed", blocks, True).save()
    return data_dir


def precision(path: Path) -> list[float]:
    return [run["precision"][0] for run in json.loads(path.read_text())["runs"]]


def test_presets_learn_from_an_embedding(disentangle: Command, mixed: Path, tmp_path: Path):
    args = ("base", "verbs", "--data-dir", mixed, "--preset", "paper,tuned,lean", *SMALL_TREE)
    assert disentangle(*args).returncode == 0
    result = disentangle(*args, "--features", "mixed")
    assert result.returncode == 0, result.stderr
    of_terms = precision(tmp_path / "model" / "verbs" / "base" / "report.json")
    of_both = precision(tmp_path / "model" / "verbs" / "base-mixed" / "report.json")
    # Labels are all but written in the embedding: what leaves it out gains nothing.
    assert all(after > before + 10 for before, after in zip(of_terms, of_both, strict=True))
    report = json.loads((tmp_path / "model" / "verbs" / "base-mixed" / "report.json").read_text())
    assert report["features"] == "mixed"
    again = disentangle(*args, "--features", "mixed")
    assert "..." not in again.stderr
    assert "--features mixed" in again.stdout.splitlines()[-1]


def test_models_of_a_feature_set_take_its_features(disentangle: Command, mixed: Path, tmp_path: Path):
    where = ("verbs", "--data-dir", mixed, "--features", "mixed")
    assert disentangle("base", *where, *SMALL_TREE).returncode == 0
    X = FeatureSet.at(mixed / "verbs" / "mixed").load("tst")
    sp.save_npz(tmp_path / "new.npz", X[:5])
    result = disentangle("predict", *where, "--input", "new.npz", "--k", "1")
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == 6
    of_terms = disentangle("predict", "verbs", "--data-dir", mixed, "--input", "new.npz")
    assert of_terms.returncode == 2
    assert "no base job has ended there" in of_terms.stderr


def test_binned_labels_and_meanings_of_a_feature_set_lie_beside(
    disentangle: Command, mixed: Path, tmp_path: Path
):
    where = ("verbs", "--data-dir", mixed, "--features", "mixed", *SMALL_TREE)
    for job, folder in (
        ("binned", "binned-mixed"),
        ("metric", "metric-mixed"),
        ("meanings", "meanings-mixed"),
    ):
        result = disentangle(job, *where)
        assert result.returncode == 0, result.stderr
        assert (tmp_path / "model" / "verbs" / folder / "report.json").exists()
    assert not (tmp_path / "model" / "verbs" / "base").exists()
    assert [path.name for path in (tmp_path / "dataset-binned" / "verbs").iterdir() if path.is_dir()] == [
        "level-2-size-2-mixed"
    ]


@pytest.mark.parametrize("name", ["none", "../verbs", ".hidden"])
def test_another_name_is_one_sentence(disentangle: Command, mixed: Path, name: str):
    result = disentangle("base", "verbs", "--data-dir", mixed, "--features", name, *SMALL_TREE)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "features" in result.stderr
