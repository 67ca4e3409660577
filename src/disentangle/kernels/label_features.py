"""Sums of labels' instances: PIFA label features before they are normalised.

To the last bit what PECOS's product of two sparse matrices gives, but for sums of 0, which are left out: a
label's instances are added up one after another, in float32.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
from numba import int64, types, uint8

from ..storage.compressed import Flat
from . import INDICES, POINTERS, SCORES, kernel

# Columns that one byte says of whether they may have a sum; as many bytes are looked at at once.
_COLUMNS = 8

_CSR = types.Tuple((POINTERS, INDICES, SCORES))
# A sum for each column, and what says whether there may be one: zeros before and after.
_ROOM = types.Tuple((SCORES, uint8[::1]))


@kernel(_CSR(int64[::1], _CSR, _CSR, _ROOM))
def _sum(rows, labels, instances, room):
    """The sums of some labels' instances."""
    (starts, of_labels, weights), (indptr, columns, values), (sums, is_used) = labels, instances, room
    ends, most, n = np.zeros(len(rows) + 1, np.int64), 0, 0
    for row in rows:
        n_values = 0
        for p in range(starts[row], starts[row + 1]):
            n_values += indptr[of_labels[p] + 1] - indptr[of_labels[p]]
        most += min(n_values, len(sums))
    ids, found = np.empty(most, np.int32), np.empty(most, np.float32)
    for i, row in enumerate(rows):
        for p in range(starts[row], starts[row + 1]):
            weight = weights[p]
            for q in range(indptr[of_labels[p]], indptr[of_labels[p] + 1]):
                # Unsigned, so that numba need not look whether a column counts from the end.
                column = np.uint64(columns[q])
                sums[column] += weight * values[q]
                is_used[column // np.uint64(_COLUMNS)] = 1
        for word, used in enumerate(is_used.view(np.uint64)):
            if used == 0:  # most are
                continue
            for byte in range(_COLUMNS * word, _COLUMNS * (word + 1)):
                if is_used[byte] == 0:
                    continue
                is_used[byte] = 0
                for k in range(_COLUMNS * byte, _COLUMNS * (byte + 1)):
                    if sums[k] != 0:
                        ids[n], found[n], sums[k] = k, sums[k], 0
                        n += 1
        ends[i + 1] = n
    return ends, ids[:n], found[:n]


def summing(labels: Flat, instances: Flat, n_columns: int) -> Callable[[np.ndarray], Flat]:
    """What adds up the instances of labels, in any thread.

    Parameters
    ----------
    labels : int64, int32 and float32 arrays
        Index pointers, indices and values of a CSR matrix: each label's instances, and their weights.
    instances : int64, int32 and float32 arrays
        The same of the instances' features.
    n_columns : int
        How many features there are.

    Returns
    -------
    callable
        Takes labels (int64 array), gives their sums, a CSR matrix as those given, indices sorted, no value 0.
    """
    scratch = threading.local()

    def summed(rows: np.ndarray) -> Flat:
        if not hasattr(scratch, "room"):
            n_words = -(-n_columns // _COLUMNS**2)
            of_columns = np.zeros(_COLUMNS**2 * n_words, np.float32)
            scratch.room = of_columns, np.zeros(_COLUMNS * n_words, np.uint8)
        return _sum(rows, labels, instances, scratch.room)

    return summed
