"""Jobs on another of a dataset's feature sets, as a user runs them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from conftest import SMALL_TREE, Command, ok, refused, run_without_torch

from disentangle.data.features import DENSE, SPARSE, Block, FeatureSet
from disentangle.data.tfidf import Vectorizer
from disentangle.params import TfidfParams


@pytest.fixture(scope="module")
def mixed(verbs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`verbs` with a second feature set: an embedding that tells the labels, and beside it named terms."""
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
    blocks = Block("embedding", DENSE, 16, True, {}), Block("terms", SPARSE, n_terms, True, {})
    FeatureSet(folder / "mixed", blocks, True).save()
    names = Vectorizer(TfidfParams(), 4000, [f"t{i:05}" for i in range(n_terms)], [2] * n_terms)
    (folder / "mixed" / "vectorizer.json").write_text(names.as_json())
    return data_dir


def labels(lines: str) -> list[list[str]]:
    """Instance, label and name of each line."""
    return [line.split("\t")[:3] for line in lines.splitlines()]


def precision(path: Path) -> list[float]:
    return [run["precision"][0] for run in json.loads(path.read_text())["runs"]]


def test_presets_learn_from_an_embedding(disentangle: Command, mixed: Path, tmp_path: Path):
    args = ("base", "verbs", "--data-dir", mixed, "--preset", "paper,tuned,lean", *SMALL_TREE)
    ok(disentangle(*args))
    ok(disentangle(*args, "--features", "mixed"))
    of_terms = precision(tmp_path / "model" / "verbs" / "base" / "report.json")
    of_both = precision(tmp_path / "model" / "verbs" / "base-mixed" / "report.json")
    # Labels are all but written in the embedding: what leaves it out gains nothing.
    assert all(after > before + 10 for before, after in zip(of_terms, of_both, strict=True))
    report = json.loads((tmp_path / "model" / "verbs" / "base-mixed" / "report.json").read_text())
    assert report["features"] == "mixed"
    again = disentangle(*args, "--features", "mixed")
    assert "..." not in again.stderr
    assert "--features mixed" in again.stdout.splitlines()[-1]
    assert "verbs with mixed: measured here" in again.stdout
    told = disentangle("report", "verbs", "--features", "mixed")
    assert told.stdout.strip() in again.stdout
    told = disentangle("report", tmp_path / "model" / "verbs" / "runs.jsonl")
    jobs = [line.split()[1] for line in told.stdout.splitlines() if " tuned " in line]
    assert jobs == ["base", "base-mixed", "base-mixed"]
    page = (tmp_path / "model" / "verbs" / "base-mixed" / "report.html").read_text()
    assert "<h1>base on verbs with mixed</h1>" in page


def test_models_of_a_feature_set_take_its_features(disentangle: Command, mixed: Path, tmp_path: Path):
    where = ("verbs", "--data-dir", mixed, "--features", "mixed")
    ok(disentangle("base", *where, *SMALL_TREE))
    X = FeatureSet.at(mixed / "verbs" / "mixed").load("tst")
    sp.save_npz(tmp_path / "new.npz", X[:5])
    result = ok(disentangle("predict", *where, "--input", "new.npz", "--k", "1"))
    assert len(result.stdout.splitlines()) == 6
    # As its blocks are, before rows are given length 1.
    raw = [3 * np.load(mixed / "verbs" / "mixed" / "embedding.tst.npy")[:5].astype(np.float32)]
    raw.append(sp.load_npz(mixed / "verbs" / "mixed" / "terms.tst.npz")[:5].toarray())
    np.save(tmp_path / "new.npy", np.hstack(raw))
    of_raw = disentangle("predict", *where, "--input", "new.npy", "--k", "1")
    assert labels(of_raw.stdout) == labels(result.stdout)
    np.save(tmp_path / "new.npy", np.full((2, X.shape[1]), np.nan))
    damaged = disentangle("predict", *where, "--input", "new.npy")
    refused(damaged, r"new\.npy must hold finite values, got nan in row 0, column 0")
    of_text = disentangle("predict", *where, "--text", "move")
    refused(of_text, "does not say how the block embedding is made of a text")
    of_terms = disentangle("predict", "verbs", "--data-dir", mixed, "--input", "new.npz")
    refused(of_terms, "no base job has ended there")


def test_binned_labels_and_meanings_of_a_feature_set_lie_beside(
    disentangle: Command, mixed: Path, tmp_path: Path
):
    where = ("verbs", "--data-dir", mixed, "--features", "mixed", *SMALL_TREE)
    for job, folder in (
        ("binned", "binned-mixed"),
        ("metric", "metric-mixed"),
        ("meanings", "meanings-mixed"),
    ):
        result = ok(disentangle(job, *where))
        assert (tmp_path / "model" / "verbs" / folder / "report.json").exists()
    assert "verbs with mixed, paper: " in result.stdout
    report = json.loads((tmp_path / "model" / "verbs" / "meanings-mixed" / "report.json").read_text())
    X, Y = (sp.load_npz(mixed / "verbs" / f) for f in ("mixed/terms.trn.npz", "Y.trn.npz"))
    shown = {
        row["label"]: {int(t[1:]) for copy in row["copies"] for t in copy["terms"]}
        for row in report["labels"]
    }
    assert any(shown.values())
    assert all(terms <= set(X[Y.tocsc()[:, label].indices].indices) for label, terms in shown.items())
    assert not (tmp_path / "model" / "verbs" / "base").exists()
    assert [path.name for path in (tmp_path / "dataset-binned" / "verbs").iterdir() if path.is_dir()] == [
        "level-2-size-2-mixed"
    ]


def test_a_dataset_may_have_no_other_features(disentangle: Command, mixed: Path, tmp_path: Path):
    shutil.copytree(mixed / "verbs", tmp_path / "data" / "verbs")
    shutil.rmtree(tmp_path / "data" / "verbs" / "tfidf-attnxml")
    listed = disentangle("data", "list", "--data-dir", "data").stdout
    assert "here, mixed" in listed
    where = ("verbs", "--data-dir", "data", "--features", "mixed", "--max-memory", "1", *SMALL_TREE)
    ok(disentangle("binned", *where))
    result = disentangle("base", "verbs", "--data-dir", "data")
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    # 5,000 embeddings of 4 + 4 bytes a value, twice, labels of copies and all else.
    for part, n in (("trn", 4000), ("tst", 1000)):
        np.save(
            tmp_path / "data" / "verbs" / "mixed" / f"embedding.{part}.npy", np.ones((n, 16_000), np.float16)
        )
    result = disentangle("binned", *where)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1), result.stderr
    assert "--max-memory must be at least 1.39 GiB for jobs on verbs" in result.stderr


def test_a_text_without_the_packages_is_one_sentence(mixed: Path, tmp_path: Path, disentangle: Command):
    shutil.copytree(mixed / "verbs", tmp_path / "data" / "verbs")
    made = FeatureSet.at(tmp_path / "data" / "verbs" / "mixed")
    embedding = replace(made.blocks[0], made_from={"encoder": "mini", "files": {}, "max_length": 8})
    replace(made, blocks=(embedding, made.blocks[1])).save()
    where = ("verbs", "--data-dir", "data", "--features", "mixed")
    ok(disentangle("base", *where, *SMALL_TREE))
    ended = run_without_torch(tmp_path, "predict", *where, "--text", "move")
    refused(ended, "^error: an encoder needs the packages torch")


@pytest.mark.parametrize("name", ["none", "../verbs", ".hidden"])
def test_another_name_is_one_sentence(disentangle: Command, mixed: Path, name: str):
    result = disentangle("base", "verbs", "--data-dir", mixed, "--features", name, *SMALL_TREE)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "features" in result.stderr
