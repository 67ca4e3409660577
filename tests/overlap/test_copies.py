"""Duplicating labels and merging the scores of copies."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from disentangle import kernels, rules
from disentangle.model.predictor import ROOTS
from disentangle.overlap.copies import Overlap, expand_labels
from disentangle.overlap.merge import best_labels
from disentangle.storage.compressed import flat

# Where no rule asks what is matched.
NOTHING = sp.csr_matrix((0, 0))


def overlap(original: Sequence[int], clusters: Sequence[int], n_labels: int) -> Overlap:
    arrays = (np.array(values, dtype=np.int32) for values in (clusters, original))
    return Overlap(*arrays, n_labels=n_labels, n_clusters=4, n_unmatched_labels=0)


def test_a_copy_repeats_all_positives_of_its_label():
    Y = sp.csc_matrix(np.array([[1, 0], [1, 1]], dtype=np.float32))
    expanded = expand_labels(Y, overlap([0, 1, 0], [0, 0, 1], 2), NOTHING)
    assert expanded.toarray().tolist() == [[1, 0, 1], [1, 1, 1]]
    assert sp.isspmatrix_csc(expanded)


def merged(scores: list[list[float]], original: list[int], rule: str, k: int) -> list[list[list[float]]]:
    """Labels and scores of one model's `best_labels`."""
    found = flat(sp.csr_matrix(np.array(scores, dtype=np.float32)))
    return [part.tolist() for part in best_labels([found], [np.array(original, np.int32)], rule, 0, k)]


def test_merged_score_is_the_mean_of_the_copies_retrieved():
    # Columns 0, 2 and 3 are label 0, column 1 is label 1.
    scores = [[0.5, 0.25, 1, 0], [0, 0, 0, 0.75], [0, 0, 0, 0]]
    labels, means = merged(scores, [0, 1, 0, 0], "mean", 3)
    # Row 0: copy 3 was not retrieved and does not count.
    assert labels == [[0, 1, -1], [0, -1, -1], [-1, -1, -1]]
    assert means == [[0.75, 0.25, 0], [0.75, 0, 0], [0, 0, 0]]


def test_best_labels_are_in_order_of_score_and_then_of_id():
    labels, scores = merged([[0.25, 0.5, 0.5, 1, 0.5]], [0, 1, 2, 3, 4], "mean", 3)
    assert (labels, scores) == ([[3, 1, 2]], [[1, 0.5, 0.5]])


def test_scores_of_models_are_merged_first_and_then_averaged():
    one = flat(sp.csr_matrix(np.array([[0.5, 0, 0.25]], dtype=np.float32)))
    other = flat(sp.csr_matrix(np.array([[0, 1, 0, 0.5]], dtype=np.float32)))
    originals = [np.array([0, 1, 0], np.int32), np.array([0, 1, 0, 1], np.int32)]
    labels, scores = best_labels([one, other], originals, "mean", 0, 2)
    # Label 0: half of the mean of 0.5 and 0.25; label 1: half of the mean of 1 and 0.5.
    assert labels.tolist() == [[1, 0]]
    assert scores.tolist() == [[0.375, 0.1875]]


def test_what_all_models_find_comes_before_what_one_is_sure_of():
    one = flat(sp.csr_matrix(np.array([[1, 1 / 16]], dtype=np.float32)))
    other = flat(sp.csr_matrix(np.array([[0, 1 / 16]], dtype=np.float32)))
    found = [one, other], [np.arange(2, dtype=np.int32)] * 2, "mean"
    labels, scores = best_labels(*found, 0, 2)
    assert (labels.tolist(), scores.tolist()) == ([[0, 1]], [[0.5, 0.0625]])
    labels, scores = best_labels(*found, 3, 2)
    # By eighth roots: half of 1, to the eighth power, and all of the other.
    assert labels.tolist() == [[1, 0]]
    assert scores.tolist() == pytest.approx(np.array([[1 / 16, 1 / 256]]))


def test_scores_below_0_are_ranked_below_those_above():
    # A rule of one's own may give such.
    models = [flat(sp.csr_matrix(np.array([[-1, 0.5, -0.25]], dtype=np.float32)))] * 2
    labels, scores = best_labels(models, [np.arange(3, dtype=np.int32)] * 2, "mean", 2, 3)
    assert labels.tolist() == [[1, 2, 0]]
    assert scores.tolist() == [pytest.approx([0.5, -0.25, -1])]


@pytest.mark.parametrize("n_models", [3, 10])
def test_the_mean_of_models_that_are_all_certain_is_1(n_models: int):
    one = flat(sp.csr_matrix(np.ones((1, 1), dtype=np.float32)))
    _, scores = best_labels([one] * n_models, [np.zeros(1, np.int32)] * n_models, "mean", ROOTS, 1)
    assert scores.tolist() == [[1]]


@given(st.integers(0, 2**32 - 1))
def test_expanding_and_merging_without_copies_changes_nothing(seed: int):
    rng = np.random.default_rng(seed)
    dense = (rng.random((4, 7)) * (rng.random((4, 7)) < 0.5)).astype(np.float32)
    identity = np.arange(7, dtype=np.int32)
    trivial = overlap(identity, np.zeros(7, np.int32), 7)
    assert (expand_labels(sp.csc_matrix(dense), trivial, NOTHING) != sp.csc_matrix(dense)).nnz == 0
    labels, scores = best_labels([flat(sp.csr_matrix(dense))], [identity], "mean", 0, 7)
    back = np.zeros_like(dense)
    rows, places = np.nonzero(labels >= 0)
    back[rows, labels[rows, places]] = scores[rows, places]
    assert np.array_equal(back, dense)


def matched(matched: Callable[[], np.ndarray], n_positives: np.ndarray) -> np.ndarray:
    """The rule of frequent labels, for all."""
    return matched()


def test_a_copy_keeps_the_positives_that_match_its_cluster():
    # Label 0 is in clusters 0 and 1, label 1 in cluster 2.
    Y = sp.csc_matrix(np.array([[1, 0], [1, 0], [1, 0], [1, 1]], dtype=np.float32))
    M = sp.csr_matrix(np.array([[1, 0, 0, 1], [0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 1]], dtype=np.float32))
    expanded = expand_labels(Y, overlap([0, 1, 0], [0, 2, 1], 2), M, matched)
    # Instance 3 matches neither: it stays with the first copies.
    assert expanded.toarray().tolist() == [[1, 0, 0], [0, 0, 1], [1, 0, 1], [1, 1, 0]]


def test_copies_of_a_rare_label_repeat_all_of_them():
    # Label 0 has one instance less than a frequent one, label 1 as many; a copy of each matches none of them.
    n = rules.FREQUENT
    Y = sp.csc_matrix(np.array([[1, 1]] * (n - 1) + [[0, 1]], dtype=np.float32))
    M = sp.csr_matrix(np.array([[1, 0, 1, 0]] * n, dtype=np.float32))
    copies = overlap([0, 1, 0, 1], [0, 2, 1, 3], 2)
    expanded = expand_labels(Y, copies, M, rules.frequent)
    assert expanded.sum(axis=0).tolist() == [[n - 1, n, n - 1, 0]]


@given(st.integers(0, 2**32 - 1))
def test_splitting_positives_equals_its_slow_twin(seed: int):
    rng = np.random.default_rng(seed)
    Y, M = (rng.random((8, 5)) < 0.5).astype(np.float32), (rng.random((8, 4)) < 0.4).astype(np.float32)
    original = np.concatenate([np.arange(5), np.sort(rng.integers(0, 5, 4))])
    clusters = rng.integers(0, 4, 9)
    expanded = expand_labels(
        sp.csc_matrix(Y), overlap(original, clusters, 5), sp.csr_matrix(M), matched
    ).toarray()
    for column, (label, k) in enumerate(zip(original, clusters, strict=True)):
        for i in range(8):
            others = [c for c, o in zip(clusters, original, strict=True) if o == label]
            stays = column < 5 and not M[i, others].any()
            assert expanded[i, column] == (Y[i, label] and (M[i, k] or stays))


def test_the_rules_of_merging():
    for rule, expected in (("mean", 0.625), ("noisy-or", 0.875)):
        assert merged([[0.5, 0.25, 0.75]], [0, 1, 0], rule, 2) == [[[0, 1]], [[expected, 0.25]]]


@pytest.mark.parametrize("rule", rules.MERGES)
@given(seed=st.integers(0, 2**32 - 1), roots=st.integers(0, 3))
def test_best_labels_equal_their_slow_twin(seed: int, roots: int, rule: str):
    rng = np.random.default_rng(seed)
    # Ids that are multiples of all sizes of the table, so that all hashes collide; few scores, so that many
    # are equal.
    n_labels, step = int(rng.integers(1, 40)), 4096
    originals, found, expected = [], [], np.zeros((6, n_labels))
    for _ in range(3):
        copies = rng.integers(0, n_labels, int(rng.integers(0, 20)))
        original = np.concatenate([np.arange(n_labels), copies]).astype(np.int32)
        dense = rng.integers(0, 4, (6, len(original))) / np.float32(4)
        originals.append(original * np.int32(step))
        found.append(flat(sp.csr_matrix(dense)))
        for row, label in np.ndindex(expected.shape):
            scores = dense[row, (original == label) & (dense[row] > 0)]
            if len(scores):
                how = {"mean": scores.mean(), "noisy-or": 1 - np.prod(1 - scores)}
                expected[row, label] += how[rule] ** 2**-roots / 3
    expected **= 2**roots
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "_FEWEST_ROWS", 1)
        labels, scores = best_labels(found, originals, rule, roots, 5, threads=int(rng.integers(1, 4)))
    labels //= step
    for row in range(6):
        n = min(5, np.count_nonzero(expected[row]))
        assert (labels[row] >= 0).tolist() == [True] * n + [False] * (5 - n)
        assert len(set(labels[row, :n])) == n
        assert scores[row, :n] == pytest.approx(expected[row, labels[row, :n]], rel=1e-6)
        assert scores[row, :n] == pytest.approx(np.sort(expected[row])[::-1][:n], rel=1e-6)
        assert not scores[row, n:].any()
