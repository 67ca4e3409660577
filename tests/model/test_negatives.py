"""Drawing instances that are negatives where the matcher sends them."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from disentangle.model import negatives
from disentangle.model.negatives import draw_instances, mine, spread
from disentangle.params import Negatives


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
    clusters = np.array([[2, 0], [-1, -1], [1, -1]], dtype=np.int32)
    found = spread(clusters, np.array([1, 2, 4]), (5, 3))
    assert found.toarray().tolist() == [[0, 0, 0], [1, 0, 1], [0, 0, 0], [0, 0, 0], [0, 1, 0]]
    assert found.dtype == np.float32
    assert spread(clusters[:0], np.array([], np.int64), (2, 3)).toarray().tolist() == [[0, 0, 0], [0, 0, 0]]


def test_the_best_clusters_of_an_instance_are_spared(monkeypatch: pytest.MonkeyPatch):
    # Equal scores: the lower cluster goes first. The last instance has no more than it is spared.
    M = sp.csr_matrix(np.array([[0.5, 0.1, 1, 0], [0.5, 0.5, 0, 0.5], [0, 0.25, 0, 0]], dtype=np.float32))
    monkeypatch.setattr(negatives, "for_prediction", lambda matcher, _: matcher)
    monkeypatch.setattr(negatives, "match", lambda *_: M)
    X = sp.csr_matrix((3, 2), dtype=np.float32)

    def mined(spared: int) -> list[list[float]]:
        return mine(None, X, Negatives(1.0, spared), 3, 0, 1).toarray().tolist()

    assert mined(0) == (M != 0).toarray().tolist()
    assert mined(1) == [[1, 1, 0, 0], [0, 1, 0, 1], [0, 0, 0, 0]]
    assert mined(2) == [[0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]]
    # Whether the beam or the number of clusters leaves none.
    assert mine(None, X, Negatives(1.0, 3), 3, 0, 1) is None
    assert mine(None, X, Negatives(1.0, 5), 20, 0, 1) is None
