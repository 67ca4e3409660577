"""Drawing clusters in which an instance is a negative."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from disentangle.negatives import sample_negatives

M = sp.csr_matrix(np.array([[0.5, 0, 1], [0, 0.25, 0], [0, 0, 0]], dtype=np.float32))


def test_the_whole_share_of_clusters_that_were_not_split_is_what_is_matched():
    drawn = sample_negatives(M, np.arange(3), 1.0, seed=0)
    assert drawn.toarray().tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]
    assert drawn.dtype == np.float32


def test_of_a_cluster_that_was_split_one_part_is_drawn():
    # Cluster 2 became clusters 2, 3 and 4.
    many = sp.vstack([M[0]] * 300, format="csr")
    drawn = sample_negatives(many, np.array([0, 1, 2, 2, 2]), 1.0, seed=0).toarray()
    assert drawn[:, :2].tolist() == [[1, 0]] * 300
    assert drawn[:, 2:].sum(axis=1).tolist() == [1] * 300
    assert (drawn[:, 2:].sum(axis=0) > 70).all()


@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_a_draw_is_a_share_of_what_is_matched_and_the_same_with_the_same_seed(seed: int, share: float):
    matched = sp.random(200, 12, density=0.4, format="csr", dtype=np.float32, random_state=seed)
    part_of = np.concatenate([np.arange(12), [3, 3, 7]])
    drawn = sample_negatives(matched, part_of, share, seed)
    of_parts = sp.csr_matrix((drawn.data, part_of[drawn.indices], drawn.indptr), shape=matched.shape)
    assert (of_parts.toarray() <= (matched.toarray() > 0)).all()
    assert abs(drawn.nnz - share * matched.nnz) < 6 * np.sqrt(matched.nnz) / 2 + 1
    assert (drawn != sample_negatives(matched, part_of, share, seed)).nnz == 0
