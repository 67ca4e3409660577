"""Duplicating labels and merging the scores of copies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from disentangle.overlap import Overlap
from disentangle.pseudo import expand_labels, merge_scores


def overlap(original: Sequence[int], clusters: Sequence[int], n_labels: int) -> Overlap:
    arrays = (np.array(values, dtype=np.int32) for values in (clusters, original))
    return Overlap(*arrays, n_labels=n_labels, n_clusters=4, n_unmatched_labels=0)


def test_a_copy_repeats_all_positives_of_its_label():
    Y = sp.csc_matrix(np.array([[1, 0], [1, 1]], dtype=np.float32))
    expanded = expand_labels(Y, overlap([0, 1, 0], [0, 0, 1], 2))
    assert expanded.toarray().tolist() == [[1, 0, 1], [1, 1, 1]]
    assert sp.isspmatrix_csc(expanded)


def test_merged_score_is_the_mean_of_the_copies_retrieved():
    # Columns 0, 2 and 3 are label 0, column 1 is label 1.
    scores = sp.csr_matrix(np.array([[0.5, 0.25, 1, 0], [0, 0, 0, 0.75], [0, 0, 0, 0]], dtype=np.float32))
    merged = merge_scores(scores, np.array([0, 1, 0, 0], dtype=np.int32), 2)
    # Row 0: copy 3 was not retrieved and does not count.
    assert merged.toarray().tolist() == [[0.75, 0.25], [0.75, 0], [0, 0]]


def test_original_must_name_each_column():
    with pytest.raises(ValueError, match="one entry per column"):
        merge_scores(sp.csr_matrix((1, 3), dtype=np.float32), np.array([0, 1], dtype=np.int32), 2)


@given(st.integers(0, 2**32 - 1))
def test_expanding_and_merging_without_copies_changes_nothing(seed: int):
    rng = np.random.default_rng(seed)
    dense = (rng.random((4, 7)) * (rng.random((4, 7)) < 0.5)).astype(np.float32)
    identity = np.arange(7, dtype=np.int32)
    trivial = overlap(identity, np.zeros(7, np.int32), 7)
    assert (expand_labels(sp.csc_matrix(dense), trivial) != sp.csc_matrix(dense)).nnz == 0
    assert np.array_equal(merge_scores(sp.csr_matrix(dense), identity, 7).toarray(), dense)


def test_a_copy_keeps_the_positives_that_match_its_cluster():
    # Label 0 is in clusters 0 and 1, label 1 in cluster 2.
    Y = sp.csc_matrix(np.array([[1, 0], [1, 0], [1, 0], [1, 1]], dtype=np.float32))
    M = sp.csr_matrix(np.array([[1, 0, 0, 1], [0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 1]], dtype=np.float32))
    expanded = expand_labels(Y, overlap([0, 1, 0], [0, 2, 1], 2), M)
    # Instance 3 matches neither: it stays with the first copies.
    assert expanded.toarray().tolist() == [[1, 0, 0], [0, 0, 1], [1, 0, 1], [1, 1, 0]]


def test_copies_of_a_rare_label_repeat_all_of_them():
    # Label 0 has three instances, label 1 four; each has a copy that matches none of them.
    Y = sp.csc_matrix(np.array([[1, 1], [1, 1], [1, 1], [0, 1]], dtype=np.float32))
    M = sp.csr_matrix(np.array([[1, 0, 1, 0]] * 4, dtype=np.float32))
    copies = overlap([0, 1, 0, 1], [0, 2, 1, 3], 2)
    expanded = expand_labels(Y, copies, M, min_positives=4)
    assert expanded.sum(axis=0).tolist() == [[3, 4, 3, 0]]
    assert expand_labels(Y, copies, M, min_positives=5).sum(axis=0).tolist() == [[3, 4, 3, 4]]
    assert expand_labels(Y, copies, M).sum(axis=0).tolist() == [[3, 4, 0, 0]]


@given(st.integers(0, 2**32 - 1))
def test_splitting_positives_equals_its_slow_twin(seed: int):
    rng = np.random.default_rng(seed)
    Y, M = (rng.random((8, 5)) < 0.5).astype(np.float32), (rng.random((8, 4)) < 0.4).astype(np.float32)
    original = np.concatenate([np.arange(5), np.sort(rng.integers(0, 5, 4))])
    clusters = rng.integers(0, 4, 9)
    expanded = expand_labels(sp.csc_matrix(Y), overlap(original, clusters, 5), sp.csr_matrix(M)).toarray()
    for column, (label, k) in enumerate(zip(original, clusters, strict=True)):
        for i in range(8):
            others = [c for c, o in zip(clusters, original, strict=True) if o == label]
            stays = column < 5 and not M[i, others].any()
            assert expanded[i, column] == (Y[i, label] and (M[i, k] or stays))


def test_the_rules_of_merging():
    scores = sp.csr_matrix(np.array([[0.5, 0.25, 0.75]], dtype=np.float32))
    original = np.array([0, 1, 0], dtype=np.int32)
    for rule, expected in (("mean", 0.625), ("max", 0.75), ("noisy-or", 0.875)):
        assert merge_scores(scores, original, 2, rule).toarray().tolist() == [[expected, 0.25]]


@given(st.integers(0, 2**32 - 1))
def test_merging_equals_its_slow_twin(seed: int):
    rng = np.random.default_rng(seed)
    original = np.concatenate([np.arange(5), rng.integers(0, 5, 4)]).astype(np.int32)
    dense = (rng.random((6, 9)) * (rng.random((6, 9)) < 0.5)).astype(np.float32)
    merged = merge_scores(sp.csr_matrix(dense), original, 5).toarray()
    for row in range(6):
        for label in range(5):
            found = [v for v, o in zip(dense[row], original, strict=True) if o == label and v > 0]
            assert merged[row, label] == pytest.approx(np.mean(found) if found else 0)
