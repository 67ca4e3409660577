"""The assignment: by eye, against a slow twin of the paper's rule, and its invariants."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from disentangle.errors import DisentangleError
from disentangle.overlap.copies import Overlap, without_copies
from disentangle.overlap.assign import assign
from disentangle.params import OverlapParams
from disentangle.storage.saved import Saved


def sparse(rows: list[list[int]]) -> sp.csr_matrix:
    return sp.csr_matrix(np.array(rows, dtype=np.float32))


# Label 0 is on instances 0, 1 and 2; label 1 on 3; label 2 on none.
Y = sparse([[1, 0, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0]]).tocsc()
# Clusters matched: label 0 counts 1, 2, 3, 0; label 1 counts 0, 0, 0, 1; label 2 nothing.
M = sparse([[1, 0, 1, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 1]])
OWN = np.array([0, 3, 1], dtype=np.int32)


def test_labels_take_the_clusters_of_highest_count():
    overlap = assign(Y, M, OWN, OverlapParams(n_copies=2))
    # Label 0: clusters 2 (3 counts) and 1 (2). Label 1: its instance matches one cluster only.
    # Label 2: no counts, it keeps its cluster 1.
    assert overlap.clusters.tolist() == [2, 3, 1, 1]
    assert overlap.original.tolist() == [0, 1, 2, 0]
    assert overlap.n_unmatched_labels == 1
    assert overlap.n_pseudo_labels == 1
    assert overlap.cluster_sizes().tolist() == [0, 2, 1, 1]


def test_one_copy_moves_labels_only():
    overlap = assign(Y, M, OWN, OverlapParams(n_copies=1))
    assert overlap.clusters.tolist() == [2, 3, 1]
    assert overlap.original.tolist() == [0, 1, 2]


def test_more_copies_than_matched_clusters_gives_those_matched():
    overlap = assign(Y, M, OWN, OverlapParams(n_copies=9))
    assert np.bincount(overlap.original).tolist() == [3, 1, 1]


def test_cluster_matrix_has_one_cluster_per_copy():
    C = assign(Y, M, OWN, OverlapParams(n_copies=2)).cluster_matrix()
    assert C.toarray().tolist() == [[0, 0, 1, 0], [0, 0, 0, 1], [0, 1, 0, 0], [0, 1, 0, 0]]


def test_shapes_that_disagree_are_refused():
    with pytest.raises(ValueError, match="shapes disagree"):
        assign(Y, M[:3], OWN, OverlapParams(n_copies=2))


def test_without_copies_is_the_tree_as_it_was():
    overlap = without_copies(OWN, 4)
    assert overlap.clusters.tolist() == [0, 3, 1]
    assert overlap.n_pseudo_labels == 0


def test_save_and_load(tmp_path: Path):
    overlap = assign(Y, M, OWN, OverlapParams(n_copies=2))
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
        sp.identity(n, format="csc"), sp.csr_matrix(np.ones((n, 8))), np.zeros(n, int), OverlapParams()
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


@given(problems(), st.integers(1, 3))
def test_the_kernel_equals_its_slow_twin(problem: tuple, threads: int):
    Y, M, own, n_copies = problem
    overlap = assign(sp.csc_matrix(Y), sp.csr_matrix(M), own, OverlapParams(n_copies), threads)
    assert copies(overlap) == slow_twin(Y, M, own, n_copies)


@given(problems())
def test_each_label_is_in_1_to_n_copies_distinct_clusters(problem: tuple):
    Y, M, own, n_copies = problem
    overlap = assign(sp.csc_matrix(Y), sp.csr_matrix(M), own, OverlapParams(n_copies))
    assert overlap.original[: overlap.n_labels].tolist() == list(range(Y.shape[1]))
    for clusters in copies(overlap):
        assert 1 <= len(clusters) == len(set(clusters)) <= n_copies


@given(problems(), st.randoms(use_true_random=False))
def test_permuting_instances_changes_nothing(problem: tuple, random):
    Y, M, own, n_copies = problem
    order = list(range(len(Y)))
    random.shuffle(order)
    before = assign(sp.csc_matrix(Y), sp.csr_matrix(M), own, OverlapParams(n_copies))
    after = assign(sp.csc_matrix(Y[order]), sp.csr_matrix(M[order]), own, OverlapParams(n_copies))
    assert before.clusters.tolist() == after.clusters.tolist()
    assert before.original.tolist() == after.original.tolist()


# Label 0 has four instances: cluster 0 suits the first two best, 1 nearly as well, 2 only the others.
SCORES = sparse([[1, 0.9, 0], [1, 0.9, 0], [0, 0, 0.5], [0, 0, 0.5]])
ONE = sparse([[1], [1], [1], [1]]).tocsc()


@pytest.mark.parametrize(
    ("params", "clusters"),
    [
        (OverlapParams(gain="scores"), [0, 1]),
        (OverlapParams(gain="scores", coverage=1.0), [0, 2]),
        # Half of the best score is taken off: 2 * (0.9 - 0.5) against 2 * 0.5.
        (OverlapParams(gain="scores", coverage=0.5), [0, 2]),
        (OverlapParams(gain="scores", coverage=0.3), [0, 1]),
        (OverlapParams(gain="scores", coverage=1.0, n_copies=3), [0, 2]),
    ],
)
def test_coverage_takes_off_what_earlier_copies_give(params: OverlapParams, clusters: list[int]):
    assert copies(assign(ONE, SCORES, np.zeros(1, np.int32), params)) == [clusters]


def test_capacity_moves_on_to_the_next_best():
    # Three labels on an instance each; all prefer cluster 0, of which one may have it: 1 * 1 * 3 / 3.
    Y, M = sp.identity(3, format="csc"), sparse([[0.9, 0.2, 0], [0.8, 0.3, 0], [0.7, 0.1, 0.6]])
    overlap = assign(Y, M, np.array([2, 2, 2]), OverlapParams(n_copies=1, gain="scores", capacity=1.0))
    assert copies(overlap) == [[0], [1], [2]]
    assert overlap.n_unmatched_labels == 0


def test_a_label_that_finds_no_room_keeps_its_cluster():
    Y, M = sp.identity(2, format="csc"), sparse([[0.9, 0], [0.8, 0]])
    overlap = assign(Y, M, np.array([1, 1]), OverlapParams(n_copies=1, gain="scores", capacity=1.0))
    assert copies(overlap) == [[0], [1]]
    assert overlap.n_unmatched_labels == 1


def test_a_budget_buys_the_copies_of_most_gain_per_candidate():
    # Clusters 0 and 1 cost 3/4 and 1/2 candidates per label and instance, cluster 2 costs 1/4.
    M = sparse([[1, 1, 0], [1, 1, 0], [1, 0, 0], [0, 0, 1]])
    Y = sparse([[1], [1], [0], [1]]).tocsc()
    own = np.array([0], np.int32)

    def bought(budget: float) -> list[list[int]]:
        return copies(assign(Y, M, own, OverlapParams(n_copies=3, budget=budget)))

    # Per candidate: cluster 1 gains 2 / (1/2), cluster 2 gains 1 / (1/4), cluster 0 gains 2 / (3/4).
    first = bought(1.0)
    assert first in ([[1, 2]], [[2, 1]])  # 3/4, what the label costs in its own cluster
    assert bought(1.9) == first
    assert bought(2.0) == [[*first[0], 0]]


@st.composite
def settings(draw: st.DrawFn) -> OverlapParams:
    return OverlapParams(
        n_copies=draw(st.integers(1, 5)),
        gain=draw(st.sampled_from(["counts", "scores"])),
        coverage=draw(st.sampled_from([0.0, 0.25, 1.0])),
        capacity=draw(st.none() | st.floats(1, 3)),
        budget=draw(st.none() | st.floats(1, 3)),
    )


def greedy_twin(Y: np.ndarray, M: np.ndarray, params: OverlapParams) -> list[list[int]]:
    """Clusters of each label by gain, one after the other, without limits."""
    M = M if params.gain == "scores" else (M > 0).astype(float)
    found = []
    for label in range(Y.shape[1]):
        scores = M[Y[:, label] > 0]
        best, chosen = np.zeros(len(scores)), []
        for _ in range(params.n_copies):
            gains = {
                k: np.maximum(0, scores[:, k] - params.coverage * best).sum()
                for k in range(M.shape[1])
                if k not in chosen
            }
            gains = {k: gain for k, gain in gains.items() if gain > 0}
            if not gains:
                break
            chosen.append(max(gains, key=lambda k: (gains[k], -shuffled(label, k))))
            best = np.maximum(best, scores[:, chosen[-1]])
        found.append(chosen)
    return found


@given(problems(), settings(), st.integers(1, 3))
def test_any_gain_equals_its_slow_twin(problem: tuple, params: OverlapParams, threads: int):
    Y, M, own, _ = problem
    # Sixteenths, whose sums are exact in any order.
    M = np.round(M * np.random.default_rng(len(M)).integers(1, 17, M.shape)) / 16
    params = replace(params, capacity=None, budget=None)
    overlap = assign(sp.csc_matrix(Y), sp.csr_matrix(M, dtype=np.float32), own, params, threads)
    twin = greedy_twin(Y, M, params)
    assert copies(overlap) == [chosen or [own[label]] for label, chosen in enumerate(twin)]


def scan_twin(Y: np.ndarray, M: np.ndarray, own: np.ndarray, params: OverlapParams) -> list[list[int]]:
    """Under a budget: each label's best choice, then all others by gain per candidate while it lasts."""
    costs = (M > 0).mean(axis=0)
    gains = Y.T @ M / np.maximum(costs, 1 / len(M))
    order = [(label, k) for label, k in np.ndindex(*gains.shape) if gains[label, k] > 0]
    order.sort(key=lambda pair: (-gains[pair], shuffled(*pair)))
    found: list[list[int]] = [[] for _ in own]
    for label, k in order:
        found[label] = found[label] or [k]
    spent = sum(costs[k] for label in range(len(own)) for k in found[label] or [own[label]])
    for label, k in order:
        if k not in found[label] and len(found[label]) < params.n_copies:
            spent += costs[k]
            if spent > params.budget * costs[own].sum() + 1e-12:
                break
            found[label].append(k)
    return [chosen or [own[label]] for label, chosen in enumerate(found)]


@given(problems(), settings(), st.integers(1, 3))
def test_a_budget_gives_what_a_scan_of_all_sorted_choices_gives(
    problem: tuple, params: OverlapParams, budget: int
):
    Y, M, own, _ = problem
    # Numbers of instances in powers of two, and so costs, gains in sixteenths: sums are exact in any order.
    n = 2 ** int(np.log2(len(Y)))
    Y, M = Y[:n], np.round(M[:n] * np.random.default_rng(len(M)).integers(1, 17, M[:n].shape)) / 16
    M = (M > 0).astype(float) if params.gain == "counts" else M
    params = replace(params, coverage=0.0, capacity=None, budget=float(budget))
    overlap = assign(sp.csc_matrix(Y), sp.csr_matrix(M, dtype=np.float32), own, params)
    assert copies(overlap) == scan_twin(Y, M, own, params)


@given(problems(), st.floats(1, 2))
def test_a_capacity_gains_nearly_the_most_that_can_be(problem: tuple, capacity: float):
    Y, M, own, n_copies = problem
    params = OverlapParams(n_copies=n_copies, gain="scores", capacity=capacity)
    overlap = assign(sp.csc_matrix(Y), sp.csr_matrix(M), own, params)
    gains = Y.T @ M
    n_labels, n_clusters = gains.shape
    room = max(1, int(capacity * min(n_copies, n_clusters) * n_labels / n_clusters))
    is_choice = gains > 0
    if not is_choice.any():
        return
    # The transportation problem, solved exactly.
    sides = np.vstack(
        [
            np.kron(np.eye(n_labels), np.ones(n_clusters)),
            np.kron(np.ones(n_labels), np.eye(n_clusters)),
        ]
    )
    limits = [n_copies] * n_labels + [room] * n_clusters
    bounds = [(0, int(one)) for one in is_choice.ravel()]
    most = -linprog(-gains.ravel(), A_ub=sides, b_ub=limits, bounds=bounds).fun
    # A label that got nothing keeps its cluster, which is no choice; one that is there by chance gains, too.
    gained = gains[overlap.original, overlap.clusters].sum()
    best = gains.max(axis=1)
    slack = 0.01 * np.median(best[best > 0]) * n_copies * n_labels
    assert gained >= most - slack - 1e-9


@pytest.mark.parametrize("small", [1.0, 1e-4, 1e-7, 1e-18])
def test_gains_of_very_different_sizes_end(small: float):
    # Five labels want the same two clusters much more than the others want theirs.
    M = np.zeros((16, 8), np.float32)
    M[:5, :2] = 1
    M[np.arange(5, 16), 2 + np.arange(11) % 6] = small
    params = OverlapParams(n_copies=1, gain="scores", capacity=1.0)
    overlap = assign(sp.identity(16, format="csc"), sp.csr_matrix(M), np.zeros(16, np.int32), params)
    # Room for two in each; who finds none stays in cluster 0.
    assert sorted(overlap.clusters[:5]) == [0, 0, 0, 1, 1]
    assert overlap.n_unmatched_labels == 1


@given(problems(), settings())
def test_limits_are_kept(problem: tuple, params: OverlapParams):
    Y, M, own, _ = problem
    overlap = assign(sp.csc_matrix(Y), sp.csr_matrix(M), own, params)
    for clusters in copies(overlap):
        assert 1 <= len(clusters) == len(set(clusters)) <= params.n_copies
    if params.capacity is not None:
        room = max(1, int(params.capacity * min(params.n_copies, M.shape[1]) * Y.shape[1] / M.shape[1]))
        assert np.bincount(overlap.clusters[overlap.n_labels :], minlength=1).max(initial=0) <= room
    if params.budget is not None:
        costs = (M > 0).mean(axis=0)
        firsts = costs[overlap.clusters[: overlap.n_labels]].sum()
        spent = costs[overlap.clusters].sum()
        assert spent <= max(firsts, params.budget * costs[own].sum()) + 1e-9


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"gain": "luck"}, "--gain must be one of counts, scores, got 'luck'"),
        ({"positives": "none"}, "--positives must be one of all, matched"),
        ({"merge": "sum"}, "--merge must be one of mean, max, noisy-or"),
        ({"coverage": 1.1}, "--coverage must be at most 1, got 1.1"),
        ({"coverage": float("nan")}, "--coverage must be a number, got nan"),
        ({"coverage": None}, "--coverage must be a number, got None"),
        ({"first_weight": -0.1}, "--first-weight must be at least 0, got -0.1"),
        ({"first_beam": 0}, "--first-beam must be at least 1, got 0"),
        ({"first_beam": 2.5}, "--first-beam must be an integer, got 2.5"),
        ({"n_copies": 10**400}, r"--n-copies must be at most 1073741824, got 10{36}\.\.\.$"),
        ({"eps": -0.0}, "--eps must be above 0, got -0.0"),
        ({"capacity": 0.9}, "--capacity must be at least 1, got 0.9"),
        ({"budget": float("inf")}, "--budget must be at most 1000000000, got inf"),
    ],
)
def test_wrong_settings(wrong: dict, message: str):
    with pytest.raises(DisentangleError, match=message):
        OverlapParams(**wrong).validate()
