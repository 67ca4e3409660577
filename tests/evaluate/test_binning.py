"""Binned labels: each label in one bin, no bin empty, nothing but 0 and 1."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from disentangle.evaluate.binning import bin_labels, composite_names, make_bins, members

# Seven labels in cluster 0, four in cluster 2, none in cluster 1.
CLUSTERS = np.array([0, 2, 0, 0, 2, 0, 0, 2, 0, 2, 0])


@pytest.mark.parametrize(
    ("bin_size", "sizes"), [(2, [2, 2, 2, 1, 2, 2]), (3, [3, 3, 1, 3, 1]), (5, [5, 2, 4])]
)
def test_bins_are_filled_cluster_by_cluster(bin_size: int, sizes: list[int]):
    bins = make_bins(CLUSTERS, bin_size, seed=0)
    assert np.bincount(bins).tolist() == sizes
    for labels in members(bins):
        assert len(set(CLUSTERS[labels])) == 1


def test_the_seed_decides():
    assert make_bins(CLUSTERS, 2, 0).tolist() == make_bins(CLUSTERS, 2, 0).tolist()
    assert any(make_bins(CLUSTERS, 2, 0).tolist() != make_bins(CLUSTERS, 2, s).tolist() for s in (1, 2))


def test_an_instance_with_both_components_has_the_composite_once():
    Y = sp.csr_matrix(np.array([[1, 1, 0, 0], [0, 1, 0, 1], [0, 0, 0, 0]], dtype=np.float32))
    before = Y.copy()
    binned = bin_labels(Y, np.array([0, 0, 1, 1]))
    assert binned.toarray().tolist() == [[1, 0], [1, 1], [0, 0]]
    assert binned.data.tolist() == [1, 1, 1]
    # The labels that were binned stay as they were.
    assert np.array_equal(Y.indptr, before.indptr)
    assert np.array_equal(Y.indices, before.indices)
    assert np.array_equal(Y.data, before.data)


def test_names_are_those_of_the_components():
    assert composite_names(["apple", "bank", "crane"], np.array([1, 0, 1])) == ["bank", "apple + crane"]


@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 3, 5, 7]))
def test_every_label_is_in_one_bin_and_no_bin_is_empty_or_mixed(seed: int, bin_size: int):
    rng = np.random.default_rng(seed)
    clusters = rng.integers(0, rng.integers(1, 9), rng.integers(1, 60))
    bins = make_bins(clusters, bin_size, seed)
    sizes = np.bincount(bins)
    assert sizes.min() >= 1
    assert sizes.max() <= bin_size
    assert sorted(np.concatenate(members(bins)).tolist()) == list(range(len(clusters)))
    for labels in members(bins):
        assert len(set(clusters[labels])) == 1
    assert len(sizes) == sum(-(-n // bin_size) for n in np.bincount(clusters))
    Y = sp.csr_matrix((rng.random((10, len(clusters))) < 0.3).astype(np.float32))
    binned = bin_labels(Y, bins)
    assert set(binned.data.tolist()) <= {1.0}
    for b, labels in enumerate(members(bins)):
        assert np.array_equal(binned[:, [b]].toarray().ravel() > 0, Y[:, labels].sum(axis=1).A1 > 0)
