import numpy as np
import pytest
import scipy.sparse as sp

from disentangle.evaluate.meanings import TIED, UNREACHED, Meanings
from disentangle.overlap.copies import Overlap

# Label 0 has two meanings: with label 1 and term 1 in cluster 0, with label 2 and term 2 in cluster 1. Term 0
# goes with label 0 itself; label 3 lies in cluster 0 and shares nothing with it.
OVERLAP = Overlap(
    clusters=np.array([0, 0, 1, 0, 1], np.int32),
    original=np.array([0, 1, 2, 3, 0], np.int32),
    n_labels=4,
    n_clusters=2,
    n_unmatched_labels=0,
)
N = 6


def planted() -> dict[str, sp.csr_matrix]:
    X, Y, M = np.zeros((4 * N, 4)), np.zeros((4 * N, 4)), np.zeros((4 * N, 2))
    first, second, third, fourth = (np.arange(i * N, (i + 1) * N) for i in range(4))
    for rows, term, label, cluster in ((first, 1, 1, 0), (second, 2, 2, 1)):
        X[rows, 0], X[rows, term] = 0.6, 0.8
        Y[rows, 0], Y[rows, label] = 1, 1
        M[rows, cluster] = 0.9
    X[third, 1], Y[third, 1], M[third, 0] = 1, 1, 1
    X[fourth, 3], Y[fourth, 3], M[fourth, 0] = 1, 1, 1
    return {"X": sp.csr_matrix(X), "Y": sp.csr_matrix(Y), "M": sp.csr_matrix(M.astype(np.float32))}


def meanings(**changed: sp.csr_matrix) -> Meanings:
    read = planted() | changed
    return Meanings(read["X"], read["Y"], OVERLAP, read["M"], sp.csc_matrix(np.ones((5, 5))), seed=0)


def test_each_copy_has_its_own_terms_and_companions():
    (one, other), _ = meanings().of(0)
    assert (one.cluster, one.is_original, other.cluster, other.is_original) == (0, True, 1, False)
    assert (one.terms, other.terms) == ([1], [2])
    assert (one.companions, other.companions) == ([1], [2])
    assert (one.n_instances, other.n_instances) == (N, N)


def test_neighbours_are_the_most_alike_of_the_cluster():
    (one, other), _ = meanings().of(0)
    assert (one.neighbours, other.neighbours) == ([1, 3], [2])


def test_examples_prefer_the_copy():
    (one, other), _ = meanings().of(0)
    assert set(one.examples) <= set(range(N))
    assert set(other.examples) <= set(range(N, 2 * N))


def test_the_ranker_weighs_terms():
    read = planted()
    read["X"][:N, 3] = 0.8  # as typical of the first copy as term 1
    weights = np.ones((5, 5))
    weights[3, 0] = 2
    (one, _), _ = Meanings(read["X"], read["Y"], OVERLAP, read["M"], sp.csc_matrix(weights), 0).of(0)
    assert one.terms == [3, 1]


def test_a_ranker_without_weights_leaves_the_contrast():
    read = planted()
    (one, other), _ = Meanings(read["X"], read["Y"], OVERLAP, read["M"], sp.csc_matrix((5, 5)), 0).of(0)
    assert (one.terms, other.terms) == ([1], [2])


def test_features_without_names_have_no_terms():
    read = planted()
    (one, other), _ = Meanings(read["X"], read["Y"], OVERLAP, read["M"], None, 0).of(0)
    assert one.terms == other.terms == []
    assert one.companions == [1]


def test_instances_that_tell_nothing_are_counted_for_no_copy():
    M = planted()["M"].toarray()
    M[0] = 0  # reaches no copy
    M[1] = 0.5  # reaches both alike
    looked = meanings(M=sp.csr_matrix(M))
    (one, other), picture = looked.of(0)
    assert (one.n_instances, other.n_instances) == (N - 2, N)
    assert looked.prefer(0)[:3].tolist() == [UNREACHED, TIED, 0]
    assert sorted(picture.copy.tolist()) == sorted([UNREACHED, TIED, *[0] * (N - 2), *[1] * N])


def test_the_picture_sets_meanings_apart():
    _, picture = meanings().of(0)
    x = picture.points[:, 0]
    assert np.ptp(x[picture.copy == 0]) == pytest.approx(0, abs=1e-6)
    assert abs(x[picture.copy == 0].mean() - x[picture.copy == 1].mean()) > 1


def test_the_order_of_instances_has_no_effect():
    read = planted()
    order = np.random.default_rng(0).permutation(4 * N)
    (one, other), _ = meanings(**{name: matrix[order] for name, matrix in read.items()}).of(0)
    assert (one.terms, other.terms, one.companions, one.neighbours) == ([1], [2], [1], [1, 3])


def test_a_label_with_one_instance_and_a_copy_without():
    read = planted()
    Y = read["Y"].toarray()
    Y[1 : 2 * N, 0] = 0
    (one, other), picture = meanings(Y=sp.csr_matrix(Y)).of(0)
    assert (one.n_instances, other.n_instances) == (1, 0)
    assert other.terms == other.companions == other.examples == []
    assert picture.points.tolist() == [[0, 0]]
