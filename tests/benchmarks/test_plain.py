"""The plain recipe comes to the package's results, part by part."""

from __future__ import annotations

import numpy as np
import plain
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from disentangle.evaluate import metrics
from disentangle.overlap import assign, copies, merge
from disentangle.params import Assignment

SEEDS = st.integers(0, 2**32 - 1)


def sparse(rng: np.random.Generator, n_rows: int, n_columns: int, density: float) -> sp.csr_matrix:
    """Ones at random places."""
    return sp.csr_matrix((rng.random((n_rows, n_columns)) < density).astype(np.float32))


@given(SEEDS, st.integers(1, 4), st.floats(0, 1))
def test_assigning_and_expanding_equal_the_packages(seed: int, n_copies: int, density: float):
    rng = np.random.default_rng(seed)
    # Few instances, so that counts are often equal; labels without any keep their cluster.
    Y, M = sparse(rng, 6, 9, density), sparse(rng, 6, 8, 0.4)
    own = rng.integers(0, 8, 9).astype(np.int32)
    expected = assign.assign(Y.tocsc(), M, own, Assignment(n_copies))
    assigned = plain.assign(Y, M, own, n_copies)
    for name, value in vars(expected).items():
        assert np.array_equal(getattr(assigned, name), value), name
    expanded = plain.expand(Y, assigned)
    assert expanded.toarray().tolist() == copies.expand_labels(Y.tocsc(), expected, M).toarray().tolist()


@given(SEEDS)
def test_merging_and_scoring_equal_the_packages(seed: int):
    rng = np.random.default_rng(seed)
    # Twelve labels, up to three copies each; many scores are equal, and some rows have fewer than ten.
    original = np.concatenate([np.arange(12), np.repeat(np.arange(8), rng.integers(0, 3, 8))]).astype(
        np.int32
    )
    dense = rng.integers(1, 9, (7, len(original))) / np.float32(8) * (rng.random((7, len(original))) < 0.6)
    scores = sp.csr_matrix(dense.astype(np.float32))
    merged = plain.merge(scores, original, 12)
    expected, their_scores = merge.best_labels([scores], [original], "mean", 10)
    ranked = plain.rank(merged, 10)
    assert ranked.tolist() == expected.tolist()
    is_there = ranked >= 0
    rows = np.nonzero(is_there)[0]
    assert merged.dtype == their_scores.dtype
    assert merged[rows, ranked[is_there]].tolist()[0] == their_scores[is_there].tolist()
    true = (rng.random((7, 12)) < 0.3).astype(np.float32)
    true[:, 0] = 1  # every instance has a label
    Y = sp.csr_matrix(true)
    precision, recall = plain.precision_and_recall(Y, ranked)
    assert precision == pytest.approx(metrics.precision(Y, ranked), rel=1e-12)
    assert recall == pytest.approx(metrics.recall(Y, ranked), rel=1e-12)
