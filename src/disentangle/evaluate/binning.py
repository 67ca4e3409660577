"""Binned labels: labels of one cluster grouped at random into composite labels whose meanings are known."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp


def make_bins(clusters: np.ndarray, bin_size: int, seed: int) -> np.ndarray:
    """Shuffle the labels inside each cluster and group them, `bin_size` at a time.

    Section 4.1 of the paper makes its synthetic composite labels so. What is left over in a cluster
    makes one smaller bin, so no bin is empty and each label is in exactly one.

    Parameters
    ----------
    clusters : ndarray of shape (n_labels,), int
        Cluster of each label, at the level of the tree to bin at.
    bin_size : int
        Labels per bin, at least 1.
    seed : int

    Returns
    -------
    ndarray of shape (n_labels,), int32
        Bin of each label; bins are numbered 0, 1, ... cluster by cluster.
    """
    order = np.random.default_rng(seed).permutation(len(clusters))
    order = order[np.argsort(clusters[order], kind="stable")]
    sizes = np.bincount(clusters)
    place = np.arange(len(clusters)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    n_bins = -(-sizes // bin_size)
    bins = np.empty(len(clusters), np.int32)
    bins[order] = np.repeat(np.cumsum(n_bins) - n_bins, sizes) + place // bin_size
    return bins


def members(bins: np.ndarray) -> list[np.ndarray]:
    """The labels of each bin, in ascending order of their ids."""
    return np.split(np.argsort(bins, kind="stable"), np.cumsum(np.bincount(bins))[:-1])


def bin_labels(Y: sp.csr_matrix, bins: np.ndarray) -> sp.csr_matrix:
    """An instance has a composite label if it has any of its components.

    Parameters
    ----------
    Y : csr_matrix of shape (n_instances, n_labels)
        Stores ones only.
    bins : ndarray of shape (n_labels,), int

    Returns
    -------
    csr_matrix of shape (n_instances, n_bins), float32
        Stores ones only, also where an instance has several components.
    """
    shape = (Y.shape[0], bins.max() + 1)
    # Copied, because merging duplicates works in place.
    Y_binned = sp.csr_matrix((Y.data, bins[Y.indices], Y.indptr), shape=shape, copy=True)
    Y_binned.sum_duplicates()
    Y_binned.data[:] = 1
    return Y_binned


def composite_names(names: list[str], bins: np.ndarray) -> list[str]:
    """Name of each bin: those of its labels, in ascending order of their ids."""
    return [" + ".join(names[label] for label in labels) for labels in members(bins)]
