"""Metrics on matrices small enough to check by eye, and against a slow twin."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from disentangle.evaluate import metrics
from disentangle.params import Propensity

# Instance 0 has labels 0 and 2, instance 1 label 3, instance 2 labels 0, 1 and 3.
Y_TRUE = sp.csr_matrix(np.array([[1, 0, 1, 0], [0, 0, 0, 1], [1, 1, 0, 1]], dtype=np.float32))
# Right predictions: 0 right at rank 1 and 3; 1 right at rank 2; 2 right at rank 1, then nothing predicted.
Y_PRED = np.array([[0, 1, 2], [2, 3, 0], [3, -1, -1]], dtype=np.int32)


def test_precision_is_the_right_share_of_k():
    # Right among the first k: (1, 1, 2), (0, 1, 1), (1, 1, 1).
    assert metrics.precision(Y_TRUE, Y_PRED) == pytest.approx([200 / 3, 100 / 2, 400 / 9])


def test_recall_is_the_share_of_each_instances_labels():
    assert metrics.recall(Y_TRUE, Y_PRED) == pytest.approx(
        [100 * (1 / 2 + 0 + 1 / 3) / 3, 100 * (1 / 2 + 1 + 1 / 3) / 3, 100 * (1 + 1 + 1 / 3) / 3]
    )


def test_ndcg_discounts_by_rank():
    second, third = 1 / np.log2(3), 1 / np.log2(4)
    at_1 = 100 * (1 + 0 + 1) / 3
    at_3 = 100 * ((1 + third) / (1 + second) + second / 1 + 1 / (1 + second + third)) / 3
    assert metrics.ndcg(Y_TRUE, Y_PRED)[[0, 2]] == pytest.approx([at_1, at_3])


def test_psp_weights_right_labels_and_divides_by_the_best_attainable():
    inverse = np.array([1.0, 2.0, 4.0, 8.0])
    # k=1: gained 1 + 0 + 8; attainable 4 + 8 + 8. k=3: gained 5 + 8 + 8; attainable 5 + 8 + 11.
    assert metrics.psp(Y_TRUE, Y_PRED, inverse)[[0, 2]] == pytest.approx([100 * 9 / 20, 100 * 21 / 24])


def test_inverse_propensity_falls_with_frequency_and_follows_the_equation():
    Y = sp.csr_matrix(np.array([[1, 0], [1, 0], [1, 1], [1, 0]], dtype=np.float32))
    A, B = 0.55, 1.5
    C = (np.log(4) - 1) * (B + 1) ** A
    expected = [1 + C * np.exp(-A * np.log(n + B)) for n in (4, 1)]
    assert metrics.inverse_propensity(Y, Propensity(A, B)) == pytest.approx(expected)
    assert expected[0] < expected[1]


def test_instances_of_a_label_are_counted_beyond_what_float32_can_count():
    n, constants = 2**24 + 2, Propensity()
    Y = sp.csr_matrix((np.ones(n, np.float32), np.zeros(n, np.int32), np.arange(n + 1)), shape=(n, 1))
    C = (np.log(n) - 1) * (constants.B + 1) ** constants.A
    expected = 1 + C * (n + constants.B) ** -constants.A
    assert metrics.inverse_propensity(Y, constants)[0] == pytest.approx(expected, rel=1e-13)


def test_rank_breaks_ties_by_label_id_and_pads():
    scores = sp.csr_matrix(
        (np.array([0.5, 0.5, 0.9, 0.1], np.float32), np.array([3, 1, 2, 0]), np.array([0, 3, 4])),
        shape=(2, 4),
    )
    assert metrics.rank(scores, 3).tolist() == [[2, 1, 3], [0, -1, -1]]


def test_candidates_count_the_labels_of_the_clusters_kept():
    M = sp.csr_matrix(np.array([[0.2, 0.0, 0.3], [0.0, 0.0, 0.9]], dtype=np.float32))
    assert metrics.candidates_of(M, np.array([10, 100, 1])).tolist() == [11, 1]


@given(st.integers(0, 2**32 - 1))
def test_rank_equals_sorting(seed: int):
    rng = np.random.default_rng(seed)
    dense = rng.integers(0, 4, (5, 9)).astype(np.float32)  # few values: many ties
    ranked = metrics.rank(sp.csr_matrix(dense), 4)
    for row, expected in zip(ranked, dense, strict=True):
        best = [c for c in sorted(range(9), key=lambda c: (-expected[c], c)) if expected[c] > 0][:4]
        assert row.tolist() == best + [-1] * (4 - len(best))


@given(st.integers(0, 2**32 - 1))
def test_metrics_equal_their_slow_twins(seed: int):
    rng = np.random.default_rng(seed)
    n, L, k = 6, 8, 3
    dense = rng.random((n, L)) < 0.3
    dense[np.arange(n), rng.integers(0, L, n)] = True  # each instance has a label
    Y_true = sp.csr_matrix(dense.astype(np.float32))
    Y_pred = np.array([rng.permutation(L)[:k] for _ in range(n)], dtype=np.int32)
    inverse = 1 + rng.random(L)
    p, r, g, w = [], [], [], []
    for i in range(1, k + 1):
        hits = [[dense[row, label] for label in Y_pred[row, :i]] for row in range(n)]
        p.append(np.mean([sum(h) / i for h in hits]))
        r.append(np.mean([sum(h) / dense[row].sum() for row, h in enumerate(hits)]))
        dcg = [sum(x / np.log2(j + 2) for j, x in enumerate(h)) for h in hits]
        ideal = [sum(1 / np.log2(j + 2) for j in range(min(i, dense[row].sum()))) for row in range(n)]
        g.append(np.mean(np.divide(dcg, ideal)))
        gained = sum(inverse[label] for row in range(n) for label in Y_pred[row, :i] if dense[row, label])
        w.append(gained / sum(sum(sorted(inverse[dense[row]])[-i:]) for row in range(n)))
    assert metrics.precision(Y_true, Y_pred) == pytest.approx(100 * np.array(p))
    assert metrics.recall(Y_true, Y_pred) == pytest.approx(100 * np.array(r))
    assert metrics.ndcg(Y_true, Y_pred) == pytest.approx(100 * np.array(g))
    assert metrics.psp(Y_true, Y_pred, inverse) == pytest.approx(100 * np.array(w))
