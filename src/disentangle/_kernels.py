"""Numba kernels: flat arrays in, flat arrays out; their public wrappers own the matrices and the checks.

Each works on rows that do not depend on one another, so results are the same for any number of threads.
Signatures are given, so that importing this module compiles once and no timed call does; compiled code
is cached beside this file (or in the user's cache folder where that is read-only). Index pointers are
int64, indices int32, scores float32.
"""

from __future__ import annotations

import numpy as np
from numba import float32, int32, int64, njit, prange
from numba.types import Tuple

_POINTERS, _INDICES, _SCORES = int64[::1], int32[::1], float32[::1]


@njit(inline="always")
def _shuffled(label, k):
    """A fixed pseudo-random number for a label and a cluster (the finaliser of SplitMix64)."""
    z = np.uint64(label) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(k) * np.uint64(0xD1B54A32D192ED03)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(inline="always")
def _comes_before(a, b, counts, label):
    """Whether cluster `a` is a better choice than `b`: more counts, else the lower pseudo-random number."""
    if counts[a] != counts[b]:
        return counts[a] > counts[b]
    return _shuffled(label, a) < _shuffled(label, b)


@njit(
    int32[:, ::1](_POINTERS, _INDICES, _POINTERS, _INDICES, int64, int64, int64),
    parallel=True,
    cache=True,
)
def top_clusters(y_indptr, y_indices, m_indptr, m_indices, n_clusters, n_copies, n_blocks):
    """Per label the `n_copies` clusters that most of its instances match.

    Parameters
    ----------
    y_indptr, y_indices : int arrays
        Label matrix by columns: instances of each label.
    m_indptr, m_indices : int arrays
        Matching matrix by rows: clusters of each instance.
    n_clusters : int
    n_copies : int
    n_blocks : int
        How many blocks of labels to share out among threads.

    Returns
    -------
    clusters : int32 array of shape (n_labels, n_copies)
        Best first, equal counts in a fixed pseudo-random order; -1 where a label has counts in fewer
        clusters.
    """
    n_labels = len(y_indptr) - 1
    clusters = np.full((n_labels, n_copies), -1, np.int32)
    for block in prange(n_blocks):
        counts = np.zeros(n_clusters, np.int64)
        touched = np.empty(n_clusters, np.int64)
        best = np.empty(n_copies, np.int64)
        for label in range(block * n_labels // n_blocks, (block + 1) * n_labels // n_blocks):
            n_touched = 0
            for p in range(y_indptr[label], y_indptr[label + 1]):
                instance = y_indices[p]
                for q in range(m_indptr[instance], m_indptr[instance + 1]):
                    k = m_indices[q]
                    if counts[k] == 0:
                        touched[n_touched] = k
                        n_touched += 1
                    counts[k] += 1
            n_best = 0
            for t in range(n_touched):
                k = touched[t]
                place = n_best
                while place > 0 and _comes_before(k, best[place - 1], counts, label):
                    if place < n_copies:
                        best[place] = best[place - 1]
                    place -= 1
                if place < n_copies:
                    best[place] = k
                    n_best = min(n_best + 1, n_copies)
            for place in range(n_best):
                clusters[label, place] = best[place]
            for t in range(n_touched):
                counts[touched[t]] = 0
    return clusters


@njit(
    Tuple((_POINTERS, _INDICES, _SCORES))(_POINTERS, _INDICES, _SCORES, _INDICES, int64, int64),
    parallel=True,
    cache=True,
)
def merge_rows_by_mean(indptr, indices, data, original, n_labels, n_blocks):
    """Average the scores of one label's copies, row by row.

    Parameters
    ----------
    indptr, indices, data : arrays of a CSR matrix over labels with copies
    original : int32 array
        Original label of each column.
    n_labels, n_blocks : int
        Original labels; blocks of rows to share out among threads.

    Returns
    -------
    sizes : int64 array of shape (n_rows,)
        Distinct labels per row.
    labels, scores : arrays as long as `indices` and `data`
        Row r's labels, in order of first occurrence, and their scores, in
        `indptr[r] : indptr[r] + sizes[r]`; what lies behind is undefined.
    """
    n_rows = len(indptr) - 1
    sizes = np.zeros(n_rows, np.int64)
    labels = np.empty(len(indices), np.int32)
    scores = np.empty(len(data), np.float32)
    for block in prange(n_blocks):
        n_seen = np.zeros(n_labels, np.int32)
        total = np.empty(n_labels, np.float64)
        for row in range(block * n_rows // n_blocks, (block + 1) * n_rows // n_blocks):
            start = indptr[row]
            stop = start
            for p in range(start, indptr[row + 1]):
                label = original[indices[p]]
                if n_seen[label] == 0:
                    total[label] = 0.0
                    labels[stop] = label
                    stop += 1
                n_seen[label] += 1
                total[label] += data[p]
            for p in range(start, stop):
                label = labels[p]
                scores[p] = total[label] / n_seen[label]
                n_seen[label] = 0
            sizes[row] = stop - start
    return sizes, labels, scores


@njit(int32[:, ::1](_POINTERS, _INDICES, _SCORES, int64), parallel=True, cache=True)
def rank_rows(indptr, indices, data, k):
    """Column ids of the `k` highest values of each row of a CSR matrix, ties to the lower id.

    Returns
    -------
    int32 array of shape (n_rows, k)
        Best first, -1 where a row has fewer entries.
    """
    n_rows = len(indptr) - 1
    ranked = np.full((n_rows, k), -1, np.int32)
    for row in prange(n_rows):
        value = np.empty(k, data.dtype)
        n = 0
        for p in range(indptr[row], indptr[row + 1]):
            v, column = data[p], indices[p]
            place = n
            while place > 0 and (
                v > value[place - 1] or (v == value[place - 1] and column < ranked[row, place - 1])
            ):
                if place < k:
                    value[place] = value[place - 1]
                    ranked[row, place] = ranked[row, place - 1]
                place -= 1
            if place < k:
                value[place] = v
                ranked[row, place] = column
                n = min(n + 1, k)
    return ranked
