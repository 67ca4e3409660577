"""Synthetic data: the same bytes again, the shape asked for, a power law, and labels of two meanings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import synthetic
from conftest import ROOT, Command
from synthetic import Labels, Shape, Topics

from disentangle.errors import DisentangleError

SHAPE = Shape(
    n_instances=6000,
    n_test=1500,
    n_features=3000,
    n_labels=2000,
    labels_per_instance=5,
    features_per_instance=40,
)


@pytest.fixture(scope="module")
def made() -> synthetic.Synthetic:
    return synthetic.make(SHAPE, seed=3)


@pytest.fixture(scope="module")
def drawn() -> tuple[Labels, sp.csr_matrix, sp.csr_matrix]:
    """Labels, instances by meanings, and their features."""
    rng = np.random.default_rng(0)
    labels = synthetic.plan_labels(20_000, 2000, 5, rng)
    features = synthetic.plan_features(labels, 3000, rng)
    Z = synthetic.draw_meanings(labels, 20_000, rng)
    return labels, Z, synthetic.draw_features(labels, features, Z, 40, rng)


def command(*args: str | Path, threads: int = 1) -> subprocess.CompletedProcess:
    env = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": str(threads)}
    program = [sys.executable, str(ROOT / "benchmarks" / "synthetic.py"), *map(str, args)]
    return subprocess.run(program, env=env, capture_output=True, text=True, check=False)


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_the_same_arguments_give_the_same_bytes_with_any_number_of_threads(tmp_path: Path):
    sizes = ("--instances", "500", "--labels", "200", "--features", "300")
    for name, seed, threads in (("a", "1", 1), ("b", "1", 2), ("c", "2", 1)):
        assert command(tmp_path / name, *sizes, "--seed", seed, threads=threads).returncode == 0
    a, b, c = (contents(tmp_path / name) for name in "abc")
    assert len(a) == 5
    assert a == b
    assert all(a[file] != c[file] for file in a)


def test_shapes_and_means_are_those_asked_for(made: synthetic.Synthetic):
    matrices = made.matrices
    for part, n in (("trn", 6000), ("tst", 1500)):
        X, Y = matrices[f"X_{part}"], matrices[f"Y_{part}"]
        assert (X.shape, Y.shape) == ((n, 3000), (n, 2000))
        assert (X.dtype, Y.dtype) == (np.float32, np.float32)
        assert X.has_canonical_format
        assert Y.has_canonical_format
        assert (Y.data == 1).all()
        # What an instance has twice counts once, so labels may be some percent fewer, never more.
        assert 0.95 * 5 < Y.nnz / n <= 5
        assert X.nnz / n == pytest.approx(40, rel=0.03)
        np.testing.assert_allclose(np.sqrt(X.multiply(X).sum(axis=1)), 1, rtol=1e-5)


def test_every_label_and_every_instance_has_some(made: synthetic.Synthetic):
    assert (made.matrices["Y_trn"].sum(axis=0) >= 1).all()
    for name in ("Y_trn", "Y_tst"):
        assert (np.diff(made.matrices[name].indptr) >= 1).all()


def test_fewer_occurrences_than_labels_are_spread_over_them():
    shape = Shape(400, 0, 500, 1000, labels_per_instance=1, features_per_instance=1)
    made = synthetic.make(shape, seed=0)
    assert made.matrices["Y_trn"].shape == (400, 1000)
    assert made.matrices["Y_trn"].sum(axis=0).max() == 1
    assert (np.diff(made.matrices["Y_trn"].indptr) == 1).all()
    assert set(made.matrices) == {"X_trn", "Y_trn"}


def test_frequencies_follow_the_power_law():
    rng = np.random.default_rng(0)
    labels = synthetic.plan_labels(50_000, 5000, 5, rng)
    Y = synthetic.to_labels(synthetic.draw_meanings(labels, 50_000, rng))
    counts = np.sort(np.bincount(Y.indices, minlength=5000))[::-1]
    ranks = np.arange(1, 1001)
    # Beside the one occurrence that each has.
    slope = np.polyfit(np.log(ranks + synthetic.SHIFT), np.log(counts[:1000] - 1), 1)[0]
    assert slope == pytest.approx(-synthetic.EXPONENT, abs=0.04)


@pytest.mark.parametrize("n", [2, 3, 9, 32, 78, 10471])
def test_topics_are_a_balanced_tree(n: int):
    topics = Topics.of(n)
    assert topics.branching**topics.depth >= n
    starts, widths = topics.branches(np.arange(n), topics.depth)
    assert (starts == 0).all()
    assert (widths == n).all()
    starts, widths = topics.branches(np.arange(n), 0)
    assert starts.tolist() == list(range(n))
    assert (widths == 1).all()


def root_branch(labels: Labels, topics: np.ndarray) -> np.ndarray:
    return topics // labels.topics.branching ** (labels.topics.depth - 1)


def test_a_tenth_of_the_labels_has_a_second_meaning_in_another_branch_of_the_root(drawn):
    labels = drawn[0]
    ambiguous = labels.meanings[:, 1] >= 0
    assert ambiguous.sum() == 200
    assert labels.meanings.max() < labels.topics.n
    first, second = root_branch(labels, labels.meanings[ambiguous]).T
    assert (first != second).all()
    assert np.unique(second).tolist() == np.unique(root_branch(labels, np.arange(labels.topics.n))).tolist()


def test_instances_of_an_ambiguous_label_are_of_both_topics(drawn):
    """The other labels of a label's instances: in which branch of the root are they?"""
    labels, Z, _ = drawn
    Y = synthetic.to_labels(Z.copy())
    branch = root_branch(labels, labels.meanings[:, 0])
    together = (Y.T @ Y).tocsr()
    shares = {True: [], False: []}
    for label, (_, second) in enumerate(labels.meanings):
        others = together.indices[together.indptr[label] : together.indptr[label + 1]]
        of_branch = np.bincount(branch[others[others != label]], minlength=branch.max() + 1)
        shares[second >= 0].append(np.sort(of_branch)[::-1][:2] / of_branch.sum())
        if second >= 0:
            two = {branch[label], root_branch(labels, second)}
            shares.setdefault("in its two", []).append(of_branch[list(two)].sum() / of_branch.sum())
    # An ordinary label's instances are of its branch, and of any other now and then.
    assert np.mean(shares[True], axis=0)[1] > 0.25
    assert np.mean(shares[False], axis=0)[1] < 0.15
    assert np.mean(shares["in its two"]) > 0.7


def test_meanings_of_a_label_differ_in_features(drawn):
    labels, Z, X = drawn
    columns = Z.tocsc()
    likeness = {"same": [], "other": []}
    for label in np.flatnonzero(labels.meanings[:, 1] >= 0):
        of_meaning = [columns[:, 2 * label + m].indices for m in (0, 1)]
        if min(map(len, of_meaning)) >= 20:
            first, again, other = (
                np.asarray(X[rows].mean(axis=0)).ravel()
                for rows in (of_meaning[0][::2], of_meaning[0][1::2], of_meaning[1])
            )
            likeness["same"].append(cosine(first, again))
            likeness["other"].append(cosine(first, other))
    assert len(likeness["same"]) > 10
    assert np.mean(likeness["same"]) > np.mean(likeness["other"]) + 0.2


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def test_weights_are_tfidf_of_length_1():
    X = sp.csr_matrix(np.array([[1, 2, 0], [0, 0, 3]], np.float32))
    synthetic.weigh(X, np.array([1, 3, 1]), 3)
    # Inverse frequencies: 1 + ln(4/2), 1 + ln(4/4).
    row = np.array([1 + np.log(2), 1 + np.log(2)])
    np.testing.assert_allclose(X.toarray()[0], [*(row / np.linalg.norm(row)), 0], rtol=1e-6)
    assert X.toarray()[1].tolist() == [0, 0, 1]


def test_clusters_by_topic_are_even_and_of_neighbouring_topics(drawn):
    labels = drawn[0]
    clusters = synthetic.clusters_by_topic(labels, 30)
    assert set(np.bincount(clusters)) <= {66, 67}
    order = np.argsort(clusters, kind="stable")
    assert (np.diff(labels.meanings[order, 0]) >= -2).all()


def test_matching_has_beam_size_clusters_per_instance_best_first(drawn):
    labels, Z, _ = drawn
    Y = synthetic.to_labels(Z.copy())[:5000]
    clusters = synthetic.clusters_by_topic(labels, 40)
    M = synthetic.matching(Y, clusters, 40, 6, np.random.default_rng(0))
    assert (M.shape, M.dtype) == ((5000, 40), np.float32)
    found, scores = M.indices.reshape(5000, 6), M.data.reshape(5000, 6)
    assert (np.diff(np.sort(found, axis=1), axis=1) > 0).all()  # distinct
    assert (np.diff(scores, axis=1) < 0).all()
    assert scores.min() > 0
    assert scores.max() <= 1
    for row in range(200):
        own = clusters[Y.indices[Y.indptr[row] : Y.indptr[row + 1]]]
        distinct = np.unique(own)
        assert len(distinct) > 6 or set(distinct) <= set(found[row])
    again = synthetic.matching(Y, clusters, 40, 6, np.random.default_rng(0))
    assert (again != M).nnz == 0


def test_matching_puts_the_cluster_of_most_labels_first():
    Y = sp.csr_matrix(np.array([[1, 1, 1, 1, 1, 0], [0, 0, 0, 1, 1, 0]], np.float32))
    clusters = np.array([7, 7, 7, 2, 2, 0], np.int32)
    M = synthetic.matching(Y, clusters, 9, 4, np.random.default_rng(0))
    assert M.indices.reshape(2, 4)[:, 0].tolist() == [7, 2]
    assert M.indices.reshape(2, 4)[0, 1] == 2
    with pytest.raises(DisentangleError, match=r"beam_size must be in 1\.\.9, got 10"):
        synthetic.matching(Y, clusters, 9, 10, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--instances", "1", "instances must be at least 2, got 1"),
        ("--labels", "100", "n_labels must be at least 128, got 100"),
        ("--features", "1", "n_features must be at least 2, got 1"),
        ("--labels-per-instance", "0.5", "labels_per_instance must be in 1..5000, got 0.5"),
        ("--features-per-instance", "nan", "features_per_instance must be in 1..10000, got nan"),
        ("--seed", "-1", "seed must be at least 0, got -1"),
    ],
)
def test_a_bad_argument_gives_one_sentence(tmp_path: Path, option: str, value: str, sentence: str):
    result = command(tmp_path / "out", option, value)
    assert (result.returncode, result.stderr) == (2, f"error: {sentence}\n")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_exists_is_left_alone(tmp_path: Path):
    (tmp_path / "out").mkdir()
    result = command(tmp_path / "out", "--instances", "200", "--labels", "128")
    assert result.returncode == 2
    assert result.stderr == f"error: {tmp_path / 'out'} exists: name a new folder, or remove it\n"
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.slow
def test_a_base_run_finds_the_labels_and_gains_from_the_overlap(tmp_path: Path, disentangle: Command):
    assert command(tmp_path / "data" / "made", "--instances", "12500", "--labels", "3000").returncode == 0
    assert disentangle("base", "made", "--data-dir", "data").returncode == 0
    report = json.loads((tmp_path / "model" / "made" / "base" / "report.json").read_text())
    xr_linear, overlap = (run["precision"] for run in report["runs"])
    assert 50 < xr_linear[0] < 90
    assert all(overlap[k - 1] > xr_linear[k - 1] for k in (1, 3, 5))
