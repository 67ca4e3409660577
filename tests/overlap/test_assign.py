"""The assignment: by eye, against a slow twin of the paper's rule, and its invariants."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from disentangle import kernels
from disentangle.errors import DisentangleError
from disentangle.overlap.assign import assign
from disentangle.overlap.copies import Overlap, without_copies
from disentangle.params import Assignment, OverlapParams
from disentangle.storage.saved import Saved


def sparse(rows: list[list[int]]) -> sp.csr_matrix:
    return sp.csr_matrix(np.array(rows, dtype=np.float32))


# Label 0 is on instances 0, 1 and 2; label 1 on 3; label 2 on none.
Y = sparse([[1, 0, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0]]).tocsc()
# Clusters matched: label 0 counts 1, 2, 3, 0; label 1 counts 0, 0, 0, 1; label 2 nothing.
M = sparse([[1, 0, 1, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 1]])
OWN = np.array([0, 3, 1], dtype=np.int32)


def test_labels_take_the_clusters_of_highest_count():
    overlap = assign(Y, M, OWN, Assignment(n_copies=2))
    # Label 0: clusters 2 (3 counts) and 1 (2). Label 1: its instance matches one cluster only.
    # Label 2: no counts, it keeps its cluster 1.
    assert overlap.clusters.tolist() == [2, 3, 1, 1]
    assert overlap.original.tolist() == [0, 1, 2, 0]
    assert overlap.n_unmatched_labels == 1
    assert overlap.n_pseudo_labels == 1
    assert overlap.cluster_sizes().tolist() == [0, 2, 1, 1]


def test_one_copy_moves_labels_only():
    overlap = assign(Y, M, OWN, Assignment(n_copies=1))
    assert overlap.clusters.tolist() == [2, 3, 1]
    assert overlap.original.tolist() == [0, 1, 2]


def test_more_copies_than_matched_clusters_gives_those_matched():
    overlap = assign(Y, M, OWN, Assignment(n_copies=9))
    assert np.bincount(overlap.original).tolist() == [3, 1, 1]


def test_cluster_matrix_has_one_cluster_per_copy():
    C = assign(Y, M, OWN, Assignment(n_copies=2)).cluster_matrix()
    assert C.toarray().tolist() == [[0, 0, 1, 0], [0, 0, 0, 1], [0, 1, 0, 0], [0, 1, 0, 0]]


def test_shapes_that_disagree_are_refused():
    with pytest.raises(ValueError, match="shapes disagree"):
        assign(Y, M[:3], OWN, Assignment(n_copies=2))


def test_without_copies_is_the_tree_as_it_was():
    overlap = without_copies(OWN, 4)
    assert overlap.clusters.tolist() == [0, 3, 1]
    assert overlap.n_pseudo_labels == 0


def test_save_and_load(tmp_path: Path):
    overlap = assign(Y, M, OWN, Assignment(n_copies=2))
    overlap.save(tmp_path / "overlap.npz")
    loaded = Overlap.load(Saved(tmp_path))
    assert loaded.clusters.tolist() == overlap.clusters.tolist()
    assert loaded.original.tolist() == overlap.original.tolist()
    assert (loaded.n_labels, loaded.n_clusters, loaded.n_unmatched_labels) == (3, 4, 1)


def shuffled(label: int, k: int) -> int:
    """SplitMix64's finaliser, in integers without end."""
    z = (label * 0x9E3779B97F4A7C15 + k * 0xD1B54A32D192ED03) % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


def test_ties_favour_no_cluster():
    # 4000 labels, each on its own instance, which matches all 8 clusters: every cluster gets its share.
    n = 4000
    overlap = assign(
        sp.identity(n, format="csc"), sp.csr_matrix(np.ones((n, 8))), np.zeros(n, int), Assignment()
    )
    assert overlap.cluster_sizes() == pytest.approx(np.full(8, n / 4), rel=0.1)


def slow_twin(Y: np.ndarray, M: np.ndarray, own: np.ndarray, n_copies: int) -> list[list[int]]:
    """The paper's rule in its own order: all counts sorted once, then scanned from the highest."""
    counts = Y.T @ M
    order = sorted(
        ((label, k) for label, k in np.ndindex(*counts.shape) if counts[label, k] > 0),
        key=lambda pair: (-counts[pair], shuffled(*pair)),
    )
    clusters: list[list[int]] = [[] for _ in own]
    for label, k in order:
        if len(clusters[label]) < n_copies:
            clusters[label].append(k)
    return [chosen or [own[label]] for label, chosen in enumerate(clusters)]


@st.composite
def problems(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, L, K = draw(st.integers(1, 20)), draw(st.integers(1, 12)), draw(st.sampled_from([2, 4, 8, 16]))
    Y = (rng.random((n, L)) < draw(st.floats(0, 1))).astype(np.float32)
    M = (rng.random((n, K)) < draw(st.floats(0, 1))).astype(np.float32)
    return Y, M, rng.integers(0, K, L).astype(np.int32), draw(st.integers(1, 5))


def copies(overlap: Overlap) -> list[list[int]]:
    """Clusters of each label, in the order of their ids."""
    return [overlap.clusters[overlap.original == label].tolist() for label in range(overlap.n_labels)]


def in_threads(Y: np.ndarray, M: np.ndarray, own: np.ndarray, params: Assignment, threads: int) -> Overlap:
    """The assignment, shared out however few labels there are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "_FEWEST_ROWS", 1)
        return assign(sp.csc_matrix(Y), sp.csr_matrix(M, dtype=np.float32), own, params, threads)


@given(problems(), st.integers(1, 3))
def test_the_kernel_equals_its_slow_twin(problem: tuple, threads: int):
    Y, M, own, n_copies = problem
    overlap = in_threads(Y, M, own, Assignment(n_copies), threads)
    assert copies(overlap) == slow_twin(Y, M, own, n_copies)


@given(problems())
def test_each_label_is_in_1_to_n_copies_distinct_clusters(problem: tuple):
    Y, M, own, n_copies = problem
    overlap = assign(sp.csc_matrix(Y), sp.csr_matrix(M), own, Assignment(n_copies))
    assert overlap.original[: overlap.n_labels].tolist() == list(range(Y.shape[1]))
    for clusters in copies(overlap):
        assert 1 <= len(clusters) == len(set(clusters)) <= n_copies


@given(problems(), st.randoms(use_true_random=False))
def test_permuting_instances_changes_nothing(problem: tuple, random):
    Y, M, own, n_copies = problem
    order = list(range(len(Y)))
    random.shuffle(order)
    before = assign(sp.csc_matrix(Y), sp.csr_matrix(M), own, Assignment(n_copies))
    after = assign(sp.csc_matrix(Y[order]), sp.csr_matrix(M[order]), own, Assignment(n_copies))
    assert before.clusters.tolist() == after.clusters.tolist()
    assert before.original.tolist() == after.original.tolist()


@given(problems(), st.integers(1, 3))
def test_scores_gain_a_cluster_what_they_are(problem: tuple, threads: int):
    Y, M, own, n_copies = problem
    # Sixteenths, whose sums are exact in any order.
    M = np.round(M * np.random.default_rng(len(M)).integers(1, 17, M.shape)) / 16
    overlap = in_threads(Y, M, own, Assignment(n_copies, gain="scores"), threads)
    assert copies(overlap) == slow_twin(Y, M, own, n_copies)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"gain": "luck"}, "--gain must be one of counts, scores, got 'luck'"),
        ({"positives": "none"}, "--positives must be one of all, frequent"),
        ({"merge": "sum"}, "--merge must be one of mean, noisy-or"),
        ({"negatives": float("nan")}, "--negatives must be a number, got nan"),
        ({"negatives": None}, "--negatives must be a number, got None"),
        ({"predict_beam": 2.5}, "--predict-beam must be an integer, got 2.5"),
        ({"n_copies": 10**400}, r"--n-copies must be at most 1073741824, got 10{36}\.\.\.$"),
        ({"eps": -0.0}, "--eps must be above 0, got -0.0"),
        ({"threshold": float("inf")}, "--threshold must be at most 1000000000, got inf"),
    ],
)
def test_wrong_settings(wrong: dict, message: str):
    with pytest.raises(DisentangleError, match=message):
        OverlapParams().changed(wrong).validate()
