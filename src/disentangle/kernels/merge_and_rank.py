"""The best of each row, of one matrix or of several models' scores merged."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import float32, float64, int32, int64, njit, types, void
from numba.core.types.function_type import CompileResultWAP

from . import INDICES, POINTERS, SCORES, kernel, share


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


_RULE = float64(float64[::1])


@cache
def compiled(rule: Callable[[np.ndarray], float]) -> Any:
    """A rule of merging (`rules.MERGES`), compiled: its address, which numba would look up in every call."""
    return CompileResultWAP(kernel(_RULE)(rule).get_compile_result(_RULE))


@kernel(
    void(
        int64,
        int64,
        int64[:, ::1],
        INDICES,
        SCORES,
        types.FunctionType(_RULE),
        int64,
        int32[:, ::1],
        float32[:, ::1],
    )
)
def _merge(first, end, starts, labels, scores, rule, roots, ranked, values):
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
    names, totals = np.empty(most, np.int32), np.empty(most, np.float64)
    # Slot by slot, what a model's copies of a label scored; `slots` says whose each is, `ends` where.
    slots, ends, copies = np.empty(most, np.int64), np.zeros(most + 1, np.int64), np.empty(most, np.float64)
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
            start, stop = starts[m, row], starts[m, row + 1]
            for p in range(start, stop):
                place = _slot(table, size - 1, names, labels[p])
                if table[place] < 0:
                    table[place], names[n], totals[n], ends[n] = n, labels[p], 0.0, 0
                    n += 1
                slots[p - start] = table[place]
                ends[table[place]] += 1
            for slot in range(1, n):
                ends[slot] += ends[slot - 1]
            # Backwards, so that each slot's end becomes its start, and scores keep their order.
            for p in range(stop - 1, start - 1, -1):
                slot = slots[p - start]
                ends[slot] -= 1
                copies[ends[slot]] = scores[p]
            ends[n] = stop - start
            for slot in range(n):
                if ends[slot] < ends[slot + 1]:
                    score = rule(copies[ends[slot] : ends[slot + 1]])
                    for _ in range(roots):
                        score = math.copysign(math.sqrt(abs(score)), score)
                    totals[slot] += score
            for slot in range(n + 1):
                ends[slot] = 0
        n_ranked = 0
        for slot in range(n):
            mean = totals[slot] / n_models
            for _ in range(roots):
                mean *= abs(mean)
            n_ranked = _insert(row, ranked, values, n_ranked, names[slot], np.float32(mean))


def best_rows(
    starts: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray,
    rule: Callable[[np.ndarray], float],
    roots: int,
    k: int,
    threads: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Merge the scores of one label's copies, then the models', and rank: row by row, all at once.

    Parameters
    ----------
    starts : int64 array of shape (n_models, n_rows + 1)
        What model m found for row r is in `starts[m, r] : starts[m, r + 1]`.
    labels : int32 array
        Original labels of the copies that were found.
    scores : float32 array
        Theirs.
    rule : callable
        Of `rules.MERGES`.
    roots : int
        The models' mean is the power mean of exponent 2 ** -roots, of the size of a number below 0.
    k : int
    threads : int, optional
        As many as there may be by default.

    Returns
    -------
    ranked : int32 array of shape (n_rows, k)
        Labels, best first, ties to the lower id; -1 where a row has fewer.
    values : float32 array of shape (n_rows, k)
        Their scores; 0 where a row has fewer.
    """
    ranked, values = _empty(starts.shape[1] - 1, k)
    found = starts, labels, scores, compiled(rule), roots
    share(len(ranked), lambda first, end: _merge(first, end, *found, ranked, values), threads)
    return ranked, values
