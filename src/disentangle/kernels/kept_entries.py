"""Some of a matrix's entries: those of chosen columns, or any that are marked."""

from __future__ import annotations

import numpy as np
from numba import boolean, int64, void

from . import INDICES, POINTERS, SCORES, kernel, share

_MARKS = boolean[::1]


@kernel(void(int64, int64, INDICES, _MARKS, _MARKS))
def _mark(first, end, indices, is_chosen, kept):
    for p in range(first, end):
        kept[p] = is_chosen[indices[p]]


@kernel(void(int64, int64, POINTERS, _MARKS, POINTERS))
def _count(first, end, indptr, kept, sizes):
    for row in range(first, end):
        n = 0
        for p in range(indptr[row], indptr[row + 1]):
            n += kept[p]
        sizes[row + 1] = n


@kernel(void(int64, int64, POINTERS, INDICES, SCORES, _MARKS, POINTERS, INDICES, SCORES))
def _copy(first, end, indptr, indices, values, kept, starts, ids, kept_values):
    n = starts[first]
    for p in range(indptr[first], indptr[end]):
        if kept[p]:
            ids[n], kept_values[n] = indices[p], values[p]
            n += 1


def of_columns(indices: np.ndarray, is_chosen: np.ndarray) -> np.ndarray:
    """Which of a CSR matrix's entries are of chosen columns: bool array as long as `indices` (int32)."""
    kept = np.empty(len(indices), np.bool_)
    share(len(indices), lambda first, end: _mark(first, end, indices, is_chosen, kept))
    return kept


def entries(
    indptr: np.ndarray, indices: np.ndarray, values: np.ndarray, kept: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same three arrays of a CSR matrix (int64, int32, float32) that has the marked entries alone."""
    starts = np.zeros(len(indptr), np.int64)
    share(len(indptr) - 1, lambda first, end: _count(first, end, indptr, kept, starts))
    np.cumsum(starts, out=starts)
    ids, kept_values = np.empty(starts[-1], np.int32), np.empty(starts[-1], np.float32)
    share(
        len(indptr) - 1,
        lambda first, end: _copy(first, end, indptr, indices, values, kept, starts, ids, kept_values),
    )
    return starts, ids, kept_values
