"""Learning from the largest features of each instance alone."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from disentangle.model.feature_selection import largest


def test_the_largest_of_each_instance_by_eye():
    X = sp.csr_matrix(
        np.array(
            [[0.1, 0.9, 0.0, 0.3], [0, 0, 0, 0], [0.2, 0.0, 0.0, 0.0], [0.5, 0.5, -0.6, 0.5]], np.float32
        )
    )
    kept = largest(X, 2)
    # The second of three equal ones has to go with the third; a sign is no size.
    assert kept.toarray() == pytest.approx(
        np.array([[0, 0.9, 0, 0.3], [0, 0, 0, 0], [0.2, 0, 0, 0], [0.5, 0, -0.6, 0]])
    )
    assert kept.dtype == np.float32
    assert kept.has_sorted_indices


def test_what_has_no_more_is_itself():
    X = sp.csr_matrix(np.array([[1, 1, 0], [0, 0, 1]], np.float32))
    assert largest(X, 2) is X
    empty = sp.csr_matrix((0, 3), dtype=np.float32)
    assert largest(empty, 1) is empty


@given(
    arrays(
        np.float32, st.tuples(st.integers(1, 6), st.integers(1, 8)), elements=st.sampled_from([0, 1, -2, 3])
    ),
    st.integers(1, 9),
)
def test_it_is_what_sorting_each_row_gives(values: np.ndarray, n: int):
    kept = largest(sp.csr_matrix(values), n).toarray()
    for row, found in zip(values, kept, strict=True):
        order = np.argsort(-np.abs(row), kind="stable")[:n]
        expected = np.zeros_like(row)
        expected[order] = row[order]
        assert found.tolist() == expected.tolist()
