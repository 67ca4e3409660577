"""A level's problem in parts: what each holds, and that the parts' weights are the whole's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from disentangle.model import subproblems, weights
from disentangle.model.subproblems import distinct, groups, restrict
from disentangle.runtime.memory import UNLIMITED, Budget
from disentangle.storage import compressed


def csc(rows: list[list[float]]) -> sp.csc_matrix:
    return sp.csc_matrix(np.array(rows, np.float32))


X = sp.csr_matrix(np.array([[1, 0, 2, 0, 0], [0, 3, 0, 0, 0], [4, 0, 0, 0, 5], [0, 0, 0, 6, 0]], np.float32))
CLUSTERS = np.array([1, 0, 1, 0])
Y = csc([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
M = csc([[0, 1], [1, 0], [0, 1], [1, 0]])


def test_a_part_holds_what_its_labels_are_trained_on_and_no_more():
    part = restrict(X, Y, CLUSTERS, M, np.array([0, 2]))
    assert part.labels.tolist() == [0, 2]
    assert part.features.tolist() == [0, 2, 4]
    assert part.X.toarray().tolist() == [[1, 2, 0], [4, 0, 5]]
    assert part.Y.toarray().tolist() == [[1, 0], [0, 1]]
    assert part.C.toarray().tolist() == [[1], [1]]
    assert part.M.toarray().tolist() == [[1], [1]]
    three = restrict(X, Y, CLUSTERS, M, np.array([2, 3, 0]))
    assert three.labels.tolist() == [2, 3, 0]
    assert three.Y.toarray().tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 0], [0, 1, 0]]
    assert three.C.toarray().tolist() == [[0, 1], [1, 0], [0, 1]]
    assert three.M.toarray().tolist() == M.toarray().tolist()
    assert three.X.toarray().tolist() == X.toarray().tolist()


def test_labels_without_instances_are_a_part_without_any():
    part = restrict(X, Y, CLUSTERS, csc([[0, 1], [0, 1], [0, 1], [0, 1]]), np.array([1]))
    assert (part.X.shape, part.Y.shape, part.C.shape, part.M.shape) == ((0, 0), (0, 1), (1, 1), (0, 1))


@pytest.mark.parametrize("limit", [None, 1])
def test_weights_come_back_to_their_features_and_labels(
    limit: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(compressed, "_PICKED", 2)
    first, second = (restrict(X, Y, CLUSTERS, M, np.array(labels)) for labels in ([0, 2], [1, 3]))
    # The last row of each is the bias.
    of_first, of_second = csc([[1, 0], [0, 2], [0, 0], [3, 4]]), csc([[0, 5], [6, 0], [7, 0]])
    found = weights.Weights(4, Budget(limit, tmp_path))
    for part, W in ((first, of_first), (second, of_second)):
        rows = np.append(part.features, 5).astype(np.int32)
        found.add(part.labels, np.diff(W.indptr), rows[W.indices], W.data)
    # The last node has the SVM of the first.
    W = found.of_nodes(np.array([0, 1, 2, 3, 0]), 6, threads=2)
    assert second.features.tolist() == [1, 3]
    assert W.toarray().tolist() == [
        [1, 0, 0, 0, 1],
        [0, 0, 0, 5, 0],
        [0, 0, 2, 0, 0],
        [0, 6, 0, 0, 0],
        [0, 0, 0, 0, 0],
        [3, 7, 4, 0, 3],
    ]
    assert (W.dtype, W.indices.dtype) == (np.float32, np.int32)
    assert list(tmp_path.iterdir()) == []


def test_svms_without_weights_are_nodes_without_weights():
    found = weights.Weights(2, UNLIMITED)
    nothing = np.empty(0, np.int32), np.empty(0, np.float32)
    found.add(np.array([1, 0]), np.zeros(2, np.int64), *nothing)
    W = found.of_nodes(np.array([1, 1, 0]), 3, threads=1)
    assert (W.shape, W.nnz) == ((3, 3), 0)


def test_labels_of_one_cluster_with_the_same_instances_are_one_problem():
    same = csc([[1, 1, 1, 0, 0, 1], [0, 0, 0, 0, 0, 1], [1, 1, 1, 0, 0, 0]])
    # The second is in another cluster; the last has as many instances as the first, but not the same.
    labels, place = distinct(same, np.array([1, 0, 1, 1, 1, 1]))
    assert labels.tolist() == [0, 1, 3, 5]
    assert place.tolist() == [0, 1, 0, 2, 2, 3]


def test_instances_of_neighbours_are_not_taken_together():
    labels, place = distinct(csc([[1, 0, 1], [0, 1, 0]]), np.zeros(3, int))
    assert (labels.tolist(), place.tolist()) == ([0, 1], [0, 1, 0])


def test_groups_by_eye(monkeypatch: pytest.MonkeyPatch):
    # Of ten instances the clusters have 1, 2, 1, 4 and 0; 0 and 3 are siblings, and so are the others.
    sizes, parents = np.array([1, 2, 1, 4, 0]), np.array([0, 1, 1, 0, 1])
    matching = sp.csc_matrix(np.arange(10)[:, None] < sizes)
    clusters = np.array([4, 3, 2, 1, 0, 1, 2])

    def found(pairs: int, share: float, fewest: int = 1) -> list[list[int]]:
        monkeypatch.setattr(subproblems, "_PAIRS", (pairs, pairs))
        monkeypatch.setattr(subproblems, "_CROWDED", share)
        crowded, rest = groups(clusters, parents, matching, fewest)
        return [crowded.tolist(), *(group.tolist() for group in rest)]

    # Labels share their cluster's instances: in this order they end after 1, 3, 4, 5, 5.5, 6 and 6 pairs.
    assert found(2, 1.0) == [[], [4], [1, 3], [5, 2, 6, 0]]
    assert found(1, 1.0) == [[], [4], [1], [3, 5], [2, 6, 0]]
    # Four of ten instances are more than a third.
    assert found(2, 0.3) == [[1], [4, 3], [5, 2, 6, 0]]
    assert found(1000, 1.0) == [[], [4, 1, 3, 5, 2, 6, 0]]
    # With more threads groups are smaller, down to a least size.
    monkeypatch.setattr(subproblems, "_CROWDED", 1.0)
    monkeypatch.setattr(subproblems, "_PAIRS", (1, 100))
    assert len(groups(clusters, parents, matching, 1)[1]) == 1
    assert len(groups(clusters, parents, matching, 3)[1]) == 3
    everything = [0, 1, 2, 3, 4, 5, 6]
    assert found(2, 1.0, fewest=4) == [everything]
    assert found(2, 0.0)[0] == [1, 2, 3, 4, 5, 6]


@given(st.lists(st.integers(0, 30), min_size=1, max_size=12), st.integers(1, 40), st.data())
def test_each_label_is_in_one_group_beside_its_siblings(sizes: list[int], pairs: int, data: st.DataObject):
    parents = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(sizes), max_size=len(sizes))))
    clusters = np.array(data.draw(st.lists(st.integers(0, len(sizes) - 1), min_size=1, max_size=30)))
    matching = sp.csc_matrix(np.arange(40)[:, None] < np.array(sizes))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subproblems, "_PAIRS", (pairs, pairs))
        crowded, found = groups(clusters, parents, matching, 1)
    order = np.concatenate(found)
    assert sorted([*crowded, *order]) == list(range(len(clusters)))
    assert all(sizes[k] > 10 for k in clusters[crowded])
    assert all(sizes[k] <= 10 for k in clusters[order])
    assert (np.diff(parents[clusters[order]]) >= 0).all()
    # Labels of a cluster stay together: it is entered as often as there are clusters.
    entered = 1 + np.count_nonzero(np.diff(clusters[order])) if len(order) else 0
    assert entered == len(set(clusters[order].tolist()))
