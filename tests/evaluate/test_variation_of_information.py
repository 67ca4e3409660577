"""Variation of information: its laws, worked examples, and the scoring of labels by eye."""

from __future__ import annotations

from dataclasses import replace
from math import log

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from disentangle.evaluate import variation_of_information as module
from disentangle.evaluate.variation_of_information import separate, summarise, variation_of_information
from disentangle.overlap.copies import Overlap


@st.composite
def splits(draw: st.DrawFn, n_splits: int = 2) -> list[np.ndarray]:
    n = draw(st.integers(1, 40))
    return [np.array(draw(st.lists(st.integers(0, 4), min_size=n, max_size=n))) for _ in range(n_splits)]


@given(splits())
def test_vi_is_symmetric_and_bounded(pair: list[np.ndarray]):
    S, T = pair
    vi = variation_of_information(S, T)
    assert vi == pytest.approx(variation_of_information(T, S), abs=1e-12)
    assert 0 <= vi <= log(len(S)) + 1e-12
    assert vi <= module.entropy(np.bincount(S)) + module.entropy(np.bincount(T)) + 1e-12


@given(splits(1))
def test_vi_of_identical_splits_is_0(pair: list[np.ndarray]):
    assert variation_of_information(pair[0], pair[0]) == pytest.approx(0, abs=1e-12)


@given(splits(), st.permutations(range(5)))
def test_vi_does_not_depend_on_names_of_classes(pair: list[np.ndarray], names: list[int]):
    S, T = pair
    renamed = np.array(names)[T]
    assert variation_of_information(S, renamed) == pytest.approx(variation_of_information(S, T), abs=1e-12)


@given(splits(3))
def test_vi_obeys_the_triangle_inequality(three: list[np.ndarray]):
    R, S, T = three
    direct = variation_of_information(R, T)
    assert direct <= variation_of_information(R, S) + variation_of_information(S, T) + 1e-12


def test_worked_examples():
    S = np.array([0, 0, 1, 1])
    # Independent halves: H(S|T) = H(T|S) = ln 2.
    assert variation_of_information(S, np.array([0, 1, 0, 1])) == pytest.approx(2 * log(2))
    # Everything in one class: H(S|T) = ln 2 and H(T|S) = 0.
    assert variation_of_information(S, np.zeros(4, int)) == pytest.approx(log(2))
    # One item of four on the wrong side. Joint: 2/4, 1/4, 1/4; classes of T: 3/4, 1/4.
    joint = 0.5 * log(2) + 0.5 * log(4)
    of_t = 0.75 * log(4 / 3) + 0.25 * log(4)
    assert variation_of_information(S, np.array([0, 0, 0, 1])) == pytest.approx(2 * joint - log(2) - of_t)
    # All alone against all together: the most there is, ln n.
    assert variation_of_information(np.arange(4), np.zeros(4, int)) == pytest.approx(log(4))


def test_a_random_splits_expectation_on_a_known_table():
    # Two items of different components, even odds: half of the splits separate them (VI 0), half put
    # them together (VI ln 2). Same sizes, one each: always separated.
    rng = np.random.default_rng(0)
    S = np.array([0, 1])
    even = module._mean_vi(S, [rng.integers(0, 2, 2) for _ in range(4000)])
    assert even == pytest.approx(log(2) / 2, abs=0.02)
    assert module._mean_vi(S, [rng.permutation(S) for _ in range(50)]) == 0


def example(n: int = 12) -> tuple[sp.csr_matrix, np.ndarray, Overlap, sp.csr_matrix]:
    """Label 0 has components 0 and 1 of n instances each; label 1 has component 2 alone.

    Label 0's copies are in clusters 0 and 2, and the matcher separates them perfectly.
    """
    Y = np.zeros((2 * n, 3), np.float32)
    Y[:n, 0] = Y[n:, 1] = Y[:, 2] = 1
    M = np.zeros((2 * n, 3), np.float32)
    M[:n, [0, 2]] = 0.9, 0.1
    M[n:, [0, 2]] = 0.1, 0.9
    overlap = Overlap(np.array([0, 1, 2], np.int32), np.array([0, 1, 0], np.int32), 2, 3, 0)
    return sp.csr_matrix(Y), np.array([0, 0, 1]), overlap, sp.csr_matrix(M)


def test_a_perfect_split_scores_0_and_only_labels_with_components_and_copies_count():
    (one,) = separate(*example(), seed=0)
    assert (one.label, one.n_components, one.n_copies, one.n_instances) == (0, 2, 2, 24)
    assert (one.components, one.table) == ([0, 1], [[12, 0], [0, 12]])
    assert one.vi == pytest.approx(0, abs=1e-12)
    assert one.adjusted_rand == 1
    assert one.vi_bound == pytest.approx(2 * log(2))
    assert one.random_even_odds > 1


def test_components_of_10_instances_are_too_small():
    assert separate(*example(n=10), seed=0) == []


def test_instances_with_several_components_and_those_that_reach_no_copy_are_left_out_and_counted():
    Y, of_label, overlap, M = example(n=14)
    Y, M = Y.tolil(), M.tolil()
    Y[0, 1] = 1  # has both components
    M[1] = 0  # reaches no copy: its clusters were not kept
    M[1, 1] = 0.7
    (one,) = separate(Y.tocsr(), of_label, overlap, M.tocsr(), seed=0)
    assert (one.n_instances, one.n_several_components, one.n_unreached) == (26, 1, 1)
    assert one.vi == pytest.approx(0, abs=1e-12)


def test_a_small_component_beside_large_ones_is_left_out_and_counted():
    Y, of_label, overlap, M = example()
    Y = sp.hstack([Y, sp.csr_matrix((24, 1))]).tolil()
    Y[0, 0], Y[0, 3] = 0, 1
    (one,) = separate(Y.tocsr().astype(np.float32), np.append(of_label, 0), overlap, M, seed=0)
    assert (one.n_components, one.n_small_component, one.n_instances) == (2, 1, 23)
    assert (one.components, one.table) == ([0, 1], [[11, 0], [0, 12]])


def test_a_label_that_keeps_one_component_is_not_scored():
    Y, of_label, overlap, M = example(n=24)
    Y = Y.tolil()
    Y[24:, 0] = 1  # whoever has component 1 has component 0 as well
    assert separate(Y.tocsr(), of_label, overlap, M, seed=0) == []


def test_instances_that_several_copies_score_alike_are_left_out_and_counted():
    Y, of_label, overlap, M = example(n=14)
    M = M.tolil()
    M[0, [0, 2]] = 1.0, 1.0  # the matcher is sure of both
    (one,) = separate(Y, of_label, overlap, M.tocsr(), seed=0)
    assert (one.n_instances, one.n_tied, one.table) == (27, 1, [[13, 0], [0, 14]])
    M[:, [0, 2]] = 0.5
    assert separate(Y, of_label, overlap, M.tocsr(), seed=0) == []


def test_the_seed_decides_the_random_splits():
    Y, of_label, overlap, M = example()
    assert separate(Y, of_label, overlap, M, seed=0) == separate(Y, of_label, overlap, M, seed=0)
    assert separate(Y, of_label, overlap, M, seed=0) != separate(Y, of_label, overlap, M, seed=1)


def test_three_components_and_three_copies():
    n = 12
    Y = sp.csr_matrix(np.repeat(np.eye(3, dtype=np.float32), n, axis=0))
    overlap = Overlap(np.array([0, 1, 2], np.int32), np.zeros(3, np.int32), 1, 3, 0)
    (one,) = separate(Y, np.zeros(3, int), overlap, Y, seed=0)
    assert (one.n_components, one.n_copies) == (3, 3)
    assert one.vi == pytest.approx(0, abs=1e-12)
    assert one.vi_bound == pytest.approx(2 * log(3))


def test_a_last_digit_is_no_difference():
    (one,) = separate(*example(), seed=0)
    off = [replace(one, random_even_odds=one.vi + step, random_same_sizes=one.vi) for step in (2e-16, 0, 0.1)]
    summary = summarise(off, seed=0)
    assert summary["fraction_better_than_random"] == pytest.approx(1 / 3)
    assert summary["same_sizes"]["fraction_better_than_random"] == 0


def test_the_summary_says_how_much_better_than_random():
    (one,) = separate(*example(), seed=0)
    summary = summarise([one, one], seed=0)
    assert summary["n_labels_scored"] == 2
    assert summary["mean_vi"] == pytest.approx(0, abs=1e-12)
    assert summary["fraction_better_than_random"] == 1
    assert summary["mean_difference"] == pytest.approx(summary["mean_random_baseline"])
    low, high = summary["difference_95_percent_interval"]
    assert low == high == pytest.approx(summary["mean_difference"])
    assert summary["coverage"]["fraction_scored"] == 1
