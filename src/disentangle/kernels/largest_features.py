"""The largest entries of each row."""

from __future__ import annotations

import numpy as np
from numba import boolean, int64, void

from . import INDICES, POINTERS, kernel, share

# The bits of a float32 but its sign, from the highest: as an integer, a larger value is larger, too.
_HIGHEST_BIT = 30
_WITHOUT_SIGN = np.int32(2**31 - 1)


@kernel(void(int64, int64, POINTERS, INDICES, int64, boolean[::1]))
def _drop(first, end, indptr, bits, n, kept):
    """`largest_rows` of the rows from `first` to before `end`, of whose values the bits are given."""
    for row in range(first, end):
        start, stop = indptr[row], indptr[row + 1]
        if stop - start <= n:
            continue
        sizes = bits[start:stop] & _WITHOUT_SIGN
        # The nth largest, bit by bit.
        cut = 0
        for bit in range(_HIGHEST_BIT, -1, -1):
            higher, n_higher = cut | (1 << bit), 0
            for size in sizes:
                n_higher += size >= higher
            if n_higher >= n:
                cut = higher
        n_equal = n
        for size in sizes:
            n_equal -= size > cut
        for p, size in enumerate(sizes):
            kept[start + p] = size > cut or (size == cut and n_equal > 0)
            n_equal -= size == cut


def largest_rows(indptr: np.ndarray, values: np.ndarray, n: int) -> np.ndarray:
    """Which entries are among the `n` of largest absolute value in their row of a CSR matrix.

    Parameters
    ----------
    indptr, values : int64 and float32 arrays
    n : int

    Returns
    -------
    bool array as long as `values`
        Of equal ones, those that come first.
    """
    kept = np.ones(len(values), np.bool_)
    bits = values.view(np.int32)
    share(len(indptr) - 1, lambda first, end: _drop(first, end, indptr, bits, n, kept))
    return kept
