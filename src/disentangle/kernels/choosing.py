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


def shuffled(labels: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """A fixed pseudo-random number for each label and cluster, uint64, by which ties are settled."""
    # numpy's arithmetic of unsigned arrays wraps around as the kernels' does.
    return _shuffled.py_func(labels.astype(np.uint64), clusters.astype(np.uint64))


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
        float64[::1],
        float64,
        int32[:, ::1],
        float64[:, ::1],
    )
)
def _choose(
    first, end, y_indptr, y_indices, m_indptr, m_indices, m_scores, weights, coverage, clusters, gains
):
    """`best_clusters` of the labels from `first` to before `end`; counts are held for one label at a time."""
    n_clusters, width = len(weights), clusters.shape[1]
    most = 0
    for label in range(first, end):
        most = max(most, y_indptr[label + 1] - y_indptr[label])
    # Without coverage one count ranks them all.
    step = width if coverage == 0.0 else 1
    total = np.zeros(n_clusters, np.float64)
    is_touched = np.zeros(n_clusters, np.bool_)
    is_chosen = np.zeros(n_clusters, np.bool_)
    touched = np.empty(n_clusters, np.int64)
    best = np.empty(most, np.float64)
    for label in range(first, end):
        start, n_instances = y_indptr[label], y_indptr[label + 1] - y_indptr[label]
        for i in range(n_instances):
            best[i] = 0.0
        n_touched = 0
        for place in range(0, width, step):
            for i in range(n_instances):
                instance, covered = y_indices[start + i], coverage * best[i]
                for q in range(m_indptr[instance], m_indptr[instance + 1]):
                    k = m_indices[q]
                    if not is_touched[k]:
                        is_touched[k] = True
                        touched[n_touched] = k
                        n_touched += 1
                    total[k] += max(0.0, m_scores[q] - covered)
            n = place
            for t in range(n_touched):
                k = touched[t]
                gain = weights[k] * total[k]
                total[k] = 0.0
                if is_chosen[k] or gain <= 0.0:
                    continue
                at = n
                while at > place and _is_better(
                    label, gain, k, gains[label, at - 1], clusters[label, at - 1]
                ):
                    if at < place + step:
                        gains[label, at] = gains[label, at - 1]
                        clusters[label, at] = clusters[label, at - 1]
                    at -= 1
                if at < place + step:
                    gains[label, at] = gain
                    clusters[label, at] = k
                    n = min(n + 1, place + step)
            chosen = clusters[label, place]
            if chosen < 0 or step == width:
                break
            is_chosen[chosen] = True
            for i in range(n_instances):
                instance = y_indices[start + i]
                for q in range(m_indptr[instance], m_indptr[instance + 1]):
                    if m_indices[q] == chosen:
                        best[i] = max(best[i], m_scores[q])
        for t in range(n_touched):
            is_touched[touched[t]] = False
            is_chosen[touched[t]] = False


def best_clusters(
    y_indptr: np.ndarray,
    y_indices: np.ndarray,
    m_indptr: np.ndarray,
    m_indices: np.ndarray,
    m_scores: np.ndarray,
    weights: np.ndarray,
    coverage: float,
    width: int,
    threads: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Per label the clusters of most gain, one after the other.

    The gain of cluster k for label l is `weights[k] * sum_i max(0, score(i, k) - coverage * best(i))` over
    the label's instances i, best(i) being i's highest score in the clusters chosen before.

    Parameters
    ----------
    y_indptr, y_indices : int64 and int32 arrays
        Label matrix by columns: instances of each label.
    m_indptr, m_indices, m_scores : int64, int32 and float32 arrays
        Matching matrix by rows: clusters of each instance, and their scores.
    weights : float64 array of shape (n_clusters,)
    coverage : float
    width : int
        Clusters to choose.
    threads : int
        Has no effect on the result.

    Returns
    -------
    clusters : int32 array of shape (n_labels, width)
        Equal gains in a fixed pseudo-random order; -1 where a label has gain in fewer clusters.
    gains : float64 array of shape (n_labels, width)
    """
    n_labels = len(y_indptr) - 1
    clusters, gains = np.full((n_labels, width), -1, np.int32), np.zeros((n_labels, width), np.float64)
    instances = y_indptr, y_indices, m_indptr, m_indices, m_scores
    share(
        n_labels,
        lambda first, end: _choose(first, end, *instances, weights, float(coverage), clusters, gains),
        threads,
    )
    return clusters, gains
