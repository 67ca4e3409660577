"""Drawing clusters in which an instance is a negative."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from disentangle.negatives import sample_negatives

M = sp.csr_matrix(np.array([[0.5, 0, 1], [0, 0.25, 0], [0, 0, 0]], dtype=np.float32))


def test_the_whole_share_is_what_is_matched():
    drawn = sample_negatives(M, 1.0, seed=0)
    assert drawn.toarray().tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]
    assert drawn.dtype == np.float32


@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_a_draw_is_a_share_of_what_is_matched_and_the_same_with_the_same_seed(seed: int, share: float):
    matched = sp.random(200, 12, density=0.4, format="csr", dtype=np.float32, random_state=seed)
    drawn = sample_negatives(matched, share, seed)
    assert (drawn.toarray() <= (matched.toarray() > 0)).all()
    assert abs(drawn.nnz - share * matched.nnz) < 6 * np.sqrt(matched.nnz) / 2 + 1
    assert (drawn != sample_negatives(matched, share, seed)).nnz == 0
