"""The best of each row, of one matrix or of several models' scores merged."""

from __future__ import annotations

import numpy as np
from numba import float32, int32, int64, njit, void

from . import INDICES, POINTERS, SCORES, kernel, share

MEAN, MAX, NOISY_OR = 0, 1, 2


@njit
def _insert(row, ranked, values, n, column, value):
    """Put a column in its place among the `n` best of a row, ties to the lower id; how many are there."""
    k = ranked.shape[1]
    place = n
    while place > 0 and (
        value > values[row, place - 1]
        or (value == values[row, place - 1] and column < ranked[row, place - 1])
    ):
        if place < k:
            ranked[row, place], values[row, place] = ranked[row, place - 1], values[row, place - 1]
        place -= 1
    if place < k:
        ranked[row, place], values[row, place] = column, value
        n = min(n + 1, k)
    return n


@kernel(void(int64, int64, POINTERS, INDICES, SCORES, int32[:, ::1], float32[:, ::1]))
def _rank(first, end, indptr, indices, scores, ranked, values):
    for row in range(first, end):
        n = 0
        for p in range(indptr[row], indptr[row + 1]):
            n = _insert(row, ranked, values, n, indices[p], scores[p])


def rank_rows(indptr: np.ndarray, indices: np.ndarray, scores: np.ndarray, k: int) -> np.ndarray:
    """Column ids of the `k` highest values of each row of a CSR matrix, ties to the lower id.

    Parameters
    ----------
    indptr, indices, scores : int64, int32 and float32 arrays
    k : int

    Returns
    -------
    int32 array of shape (n_rows, k)
        Best first, -1 where a row has fewer entries.
    """
    ranked, values = _empty(len(indptr) - 1, k)
    share(len(ranked), lambda first, end: _rank(first, end, indptr, indices, scores, ranked, values))
    return ranked


def _empty(n_rows: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full((n_rows, k), -1, np.int32), np.zeros((n_rows, k), np.float32)


@njit
def _slot(table, mask, names, label):
    """Where a hash table with linear probing has a label's slot, or is to have it: free places hold -1."""
    place = (label * 0x9E3779B1) & mask
    while table[place] >= 0 and names[table[place]] != label:
        place = (place + 1) & mask
    return place


@kernel(void(int64, int64, int64[:, ::1], INDICES, SCORES, INDICES, SCORES, int32[:, ::1], float32[:, ::1]))
def _merge(first, end, starts, labels, scores, rules, weights, ranked, values):
    """`best_rows` of the rows from `first` to before `end`."""
    n_models, most = starts.shape[0], 0
    for row in range(first, end):
        n_found = 0
        for m in range(n_models):
            n_found += starts[m, row + 1] - starts[m, row]
        most = max(most, n_found)
    # Not a place for each label, which for millions of labels would be much memory to clear.
    longest = 2
    while longest < 2 * most:
        longest *= 2
    table = np.empty(longest, np.int32)
    names, totals = np.empty(most, np.int32), np.empty(most, np.float32)
    merged, n_copies = np.zeros(most, np.float64), np.zeros(most, np.int64)
    for row in range(first, end):
        n_found = 0
        for m in range(n_models):
            n_found += starts[m, row + 1] - starts[m, row]
        size = 2
        while size < 2 * n_found:
            size *= 2
        for place in range(size):
            table[place] = -1
        n = 0
        for m in range(n_models):
            for p in range(starts[m, row], starts[m, row + 1]):
                place = _slot(table, size - 1, names, labels[p])
                if table[place] < 0:
                    table[place], names[n], totals[n] = n, labels[p], 0.0
                    n += 1
                slot = table[place]
                n_copies[slot] += 1
                if rules[m] == MEAN:
                    merged[slot] += scores[p]
                elif rules[m] == MAX:
                    merged[slot] = max(merged[slot], scores[p])
                else:
                    merged[slot] += (1.0 - merged[slot]) * scores[p]
            for slot in range(n):
                if n_copies[slot]:
                    score = merged[slot] / n_copies[slot] if rules[m] == MEAN else merged[slot]
                    totals[slot] += weights[m] * np.float32(score)
                    merged[slot], n_copies[slot] = 0.0, 0
        n_ranked = 0
        for slot in range(n):
            n_ranked = _insert(row, ranked, values, n_ranked, names[slot], totals[slot])


def best_rows(
    starts: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray,
    rules: np.ndarray,
    weights: np.ndarray,
    k: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Merge the scores of one label's copies, add the models' up, and rank: row by row, all at once.

    Parameters
    ----------
    starts : int64 array of shape (n_models, n_rows + 1)
        What model m found for row r is in `starts[m, r] : starts[m, r + 1]`.
    labels : int32 array
        Original labels of the copies that were found.
    scores : float32 array
        Theirs.
    rules : int32 array of shape (n_models,)
        MEAN, MAX, or NOISY_OR: 1 - prod(1 - score).
    weights : float32 array of shape (n_models,)
    k : int

    Returns
    -------
    ranked : int32 array of shape (n_rows, k)
        Labels, best first, ties to the lower id; -1 where a row has fewer.
    values : float32 array of shape (n_rows, k)
        Their scores; 0 where a row has fewer.
    """
    ranked, values = _empty(starts.shape[1] - 1, k)
    found = starts, labels, scores, rules, weights
    share(len(ranked), lambda first, end: _merge(first, end, *found, ranked, values))
    return ranked, values
