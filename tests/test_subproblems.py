"""A level's problem in parts: what each holds, and that the parts' weights are the whole's."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from disentangle import subproblems
from disentangle.subproblems import assemble, groups, restrict


def csc(rows: list[list[float]]) -> sp.csc_matrix:
    return sp.csc_matrix(np.array(rows, np.float32))


X = sp.csr_matrix(np.array([[1, 0, 2, 0, 0], [0, 3, 0, 0, 0], [4, 0, 0, 0, 5], [0, 0, 0, 6, 0]], np.float32))
# Labels 0 and 2 are in cluster 1, labels 1 and 3 in cluster 0.
C = csc([[0, 1], [1, 0], [0, 1], [1, 0]])
Y = csc([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
M = csc([[0, 1], [1, 0], [0, 1], [1, 0]])


def test_a_part_holds_what_its_labels_are_trained_on_and_no_more():
    part = restrict(X, Y, C, M, np.array([1]))
    assert part.labels.tolist() == [0, 2]
    assert part.features.tolist() == [0, 2, 4]
    assert part.X.toarray().tolist() == [[1, 2, 0], [4, 0, 5]]
    assert part.Y.toarray().tolist() == [[1, 0], [0, 1]]
    assert part.C.toarray().tolist() == [[1], [1]]
    assert part.M.toarray().tolist() == [[1], [1]]
    both = restrict(X, Y, C, M, np.array([1, 0]))
    assert both.labels.tolist() == [0, 2, 1, 3]
    assert both.C.toarray().tolist() == [[1, 0], [1, 0], [0, 1], [0, 1]]
    assert both.M.toarray().tolist() == [[1, 0], [0, 1], [1, 0], [0, 1]]
    assert both.X.toarray().tolist() == X.toarray().tolist()


def test_a_cluster_without_instances_is_a_part_without_any():
    part = restrict(X, Y, C, csc([[0, 1], [0, 1], [0, 1], [0, 1]]), np.array([0]))
    assert part.X.shape == (0, 0)
    assert part.labels.tolist() == [1, 3]


def test_weights_come_back_to_their_features_and_labels():
    first, second = restrict(X, Y, C, M, np.array([1])), restrict(X, Y, C, M, np.array([0]))
    # The last row of each is the bias.
    of_first, of_second = csc([[1, 0], [0, 2], [0, 0], [3, 4]]), csc([[0, 5], [6, 0], [7, 0]])
    W = assemble([(first, of_first), (second, of_second)], 5, 4)
    assert second.features.tolist() == [1, 3]
    assert W.toarray().tolist() == [
        [1, 0, 0, 0],
        [0, 0, 0, 5],
        [0, 0, 2, 0],
        [0, 6, 0, 0],
        [0, 0, 0, 0],
        [3, 7, 4, 0],
    ]
    assert W.dtype == np.float32


@given(st.lists(st.integers(0, 30), min_size=1, max_size=12), st.integers(1, 40), st.data())
def test_each_cluster_is_in_one_group_beside_its_siblings(sizes: list[int], pairs: int, data: st.DataObject):
    parents = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(sizes), max_size=len(sizes))))
    matching = sp.csc_matrix(np.arange(30)[:, None] < np.array(sizes))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subproblems, "_PAIRS", pairs)
        found = groups(matching, parents)
    order = np.concatenate(found)
    assert sorted(order.tolist()) == list(range(len(sizes)))
    assert (np.diff(parents[order]) >= 0).all()
    # No group but the last is short of instances by more than what the one before it has too many.
    before = np.cumsum([0, *(sum(sizes[k] for k in group) for group in found)])[1:-1]
    assert all(n >= pairs * (i + 1) for i, n in enumerate(before))
