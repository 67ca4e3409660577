"""Which clusters gain a label most."""

from __future__ import annotations

import numpy as np
from numba import float64, int32, int64, njit, void

from . import INDICES, POINTERS, SCORES, kernel, share


@njit(inline="always")
def _shuffled(label, k):
    """A fixed pseudo-random number for a label and a cluster (the finaliser of SplitMix64)."""
    z = np.uint64(label) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(k) * np.uint64(0xD1B54A32D192ED03)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit
def _is_better(label, gain, k, other_gain, other):
    """Whether cluster k suits a label better than another one: more gain, ties shuffled."""
    return gain > other_gain or (gain == other_gain and _shuffled(label, k) < _shuffled(label, other))


@kernel(
    void(
        int64,
        int64,
        POINTERS,
        INDICES,
        POINTERS,
        INDICES,
        SCORES,
        int64,
        int32[:, ::1],
        float64[:, ::1],
    )
)
def _choose(first, end, y_indptr, y_indices, m_indptr, m_indices, m_gains, n_clusters, clusters, gains):
    """`best_clusters` of the labels from `first` to before `end`; counts are held for one label at a time."""
    width = clusters.shape[1]
    total = np.zeros(n_clusters, np.float64)
    is_touched = np.zeros(n_clusters, np.bool_)
    touched = np.empty(n_clusters, np.int64)
    for label in range(first, end):
        n_touched = 0
        for p in range(y_indptr[label], y_indptr[label + 1]):
            instance = y_indices[p]
            for q in range(m_indptr[instance], m_indptr[instance + 1]):
                k = m_indices[q]
                if not is_touched[k]:
                    is_touched[k] = True
                    touched[n_touched] = k
                    n_touched += 1
                total[k] += m_gains[q]
        n = 0
        for t in range(n_touched):
            k = touched[t]
            gain = total[k]
            total[k], is_touched[k] = 0.0, False
            if gain <= 0.0:
                continue
            at = n
            while at > 0 and _is_better(label, gain, k, gains[label, at - 1], clusters[label, at - 1]):
                if at < width:
                    gains[label, at] = gains[label, at - 1]
                    clusters[label, at] = clusters[label, at - 1]
                at -= 1
            if at < width:
                gains[label, at] = gain
                clusters[label, at] = k
                n = min(n + 1, width)


def best_clusters(
    y_indptr: np.ndarray,
    y_indices: np.ndarray,
    m_indptr: np.ndarray,
    m_indices: np.ndarray,
    m_gains: np.ndarray,
    n_clusters: int,
    width: int,
    threads: int,
    first: int = 0,
    end: int | None = None,
) -> np.ndarray:
    """Per label the clusters of most gain: the sum of what its instances gain each cluster that they match.

    Parameters
    ----------
    y_indptr, y_indices : int64 and int32 arrays
        Label matrix by columns: instances of each label.
    m_indptr, m_indices, m_gains : int64, int32 and float32 arrays
        Matching matrix by rows: clusters of each instance, and what it gains them; at least 0.
    n_clusters : int
    width : int
        Clusters to choose.
    threads : int
        Has no effect on the result.
    first, end : int
        Labels from which and before which it is asked for; all by default.

    Returns
    -------
    int32 array of shape (end - first, width)
        Best first, equal gains in a fixed pseudo-random order; -1 where a label has gain in fewer clusters.
    """
    n_labels = len(y_indptr) - 1
    clusters, gains = np.full((n_labels, width), -1, np.int32), np.zeros((n_labels, width), np.float64)
    instances = y_indptr, y_indices, m_indptr, m_indices, m_gains
    end = n_labels if end is None else end
    share(
        end - first,
        lambda i, j: _choose(first + i, first + j, *instances, n_clusters, clusters, gains),
        threads,
    )
    return clusters[first:end]
