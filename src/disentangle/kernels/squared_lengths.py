"""The squared lengths of instances that have terms and an embedding."""

from __future__ import annotations

import numpy as np
from numba import float32, int64, types, void

from ..storage.compressed import Flat
from . import INDICES, POINTERS, SCORES, kernel, share


@kernel(void(int64, int64, types.Tuple((POINTERS, INDICES, SCORES)), float32[:, ::1], SCORES))
def _measure(first, end, terms, dense, lengths):
    """Those of the rows from `first` to before `end`."""
    indptr, _, values = terms
    for row in range(first, end):
        total = 1.0  # of the bias
        for j in range(dense.shape[1]):
            total += dense[row, j] * dense[row, j]
        for p in range(indptr[row], indptr[row + 1]):
            total += values[p] * values[p]
        lengths[row] = total


def squared_lengths(terms: Flat, dense: np.ndarray, threads: int) -> np.ndarray:
    """The squared length of each instance, a bias feature of 1 included.

    Parameters
    ----------
    terms : int64, int32 and float32 arrays
        Index pointers, indices and values of the instances' terms, a CSR matrix.
    dense : float32 array of shape (n_instances, n_columns)
    threads : int

    Returns
    -------
    ndarray of shape (n_instances,), float32
    """
    lengths = np.empty(len(dense), np.float32)
    share(len(dense), lambda first, end: _measure(first, end, terms, dense, lengths), threads)
    return lengths
