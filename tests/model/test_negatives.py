"""Drawing instances that are negatives where the matcher sends them."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from disentangle.model.negatives import draw_instances, spread


def test_the_whole_share_is_every_instance():
    assert draw_instances(4, 1.0, seed=0).tolist() == [0, 1, 2, 3]
    assert draw_instances(4, 0.0, seed=0).tolist() == []


@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_a_draw_is_a_share_and_the_same_with_the_same_seed(seed: int, share: float):
    drawn = draw_instances(1000, share, seed)
    assert abs(len(drawn) - 1000 * share) < 6 * np.sqrt(1000) / 2 + 1
    assert (np.diff(drawn) > 0).all()
    assert np.array_equal(drawn, draw_instances(1000, share, seed))


def test_clusters_of_the_drawn_are_ones_in_their_rows():
    M = sp.csr_matrix(np.array([[0.5, 0, 0.25], [0, 0, 0], [0, 0.125, 0]], dtype=np.float32))
    found = spread(M, np.array([1, 2, 4]), 5)
    assert found.toarray().tolist() == [[0, 0, 0], [1, 0, 1], [0, 0, 0], [0, 0, 0], [0, 1, 0]]
    assert found.dtype == np.float32
    assert spread(M[:0], np.array([], np.int64), 2).toarray().tolist() == [[0, 0, 0], [0, 0, 0]]
