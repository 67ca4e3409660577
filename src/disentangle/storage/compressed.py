"""Compressed sparse matrices and their arrays; indices are int32, also of more values than int32 counts.

scipy has indices as wide as index pointers: from 2^31 values on it would copy them all, into memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from ..runtime.threads import in_threads

_BLOCK = 1 << 24  # values
_PICKED = 1 << 20  # values
_MOST = np.iinfo(np.int32).max
# A compressed matrix as the kernels take it: index pointers int64, indices int32, values float32.
Flat = tuple[np.ndarray, np.ndarray, np.ndarray]


def matrix_of(
    kind: type, values: np.ndarray, indices: np.ndarray, indptr: np.ndarray, shape: tuple[int, int]
) -> Any:
    """A matrix of arrays as they are, which must be sound.

    Parameters
    ----------
    kind : type
        `csr_matrix` or `csc_matrix`.
    values, indices : ndarray of shape (nnz,)
        There may be more, as scipy may leave some behind.
    indptr : ndarray of int
        Becomes int32 where that counts the values.
    shape : tuple of int
    """
    matrix = kind(shape, dtype=values.dtype)
    matrix.data, matrix.indices = values[: indptr[-1]], indices[: indptr[-1]]
    matrix.indptr = indptr.astype(np.int32 if indptr[-1] <= _MOST else np.int64, copy=False)
    return matrix


def check_arrays(values: np.ndarray, indices: np.ndarray, indptr: np.ndarray, sizes: tuple[int, int]) -> None:
    """Raise ValueError unless they are of a matrix with so many rows of so many columns, or the reverse."""
    if len(indptr) != sizes[0] + 1 or indptr[0] != 0 or (np.diff(indptr) < 0).any():
        raise ValueError(f"index pointers that do not rise from 0 in {sizes[0]} steps")
    if not len(values) == len(indices) >= indptr[-1]:
        raise ValueError(f"{len(values)} values, {len(indices)} indices, {indptr[-1]} by the index pointers")
    if indices.min(initial=0) < 0 or indices.max(initial=-1) >= sizes[1]:
        raise ValueError(f"indices from {indices.min()} to {indices.max()}, expected 0 to {sizes[1] - 1}")


def is_canonical(matrix: sp.csr_matrix | sp.csc_matrix) -> bool:
    """Whether the indices of each row (column, where these are compressed) are sorted and unique."""
    indptr, indices = matrix.indptr, matrix.indices
    for start in range(0, len(indices) - 1, _BLOCK):
        end = min(start + _BLOCK, len(indices) - 1)
        rises = indices[start + 1 : end + 1] > indices[start:end]
        # The first of a row need not be above the last of the row before.
        firsts = indptr[slice(*np.searchsorted(indptr, (start + 1, end + 1)))]
        rises[firsts - (start + 1)] = True
        if not rises.all():
            return False
    matrix.has_canonical_format = True
    return True


def flat(matrix: sp.csr_matrix | sp.csc_matrix) -> Flat:
    """A compressed matrix as the kernels take it."""
    return (
        matrix.indptr.astype(np.int64),
        matrix.indices.astype(np.int32, copy=False),
        matrix.data.astype(np.float32, copy=False),
    )


def rows_of(matrix: Flat, rows: slice) -> Flat:
    """Some rows that lie side by side; of a CSC matrix, columns. Indices and values are not copied."""
    indptr, indices, values = matrix
    of_rows = indptr[rows.start : rows.stop + 1]
    its = slice(of_rows[0], of_rows[-1])
    return of_rows - of_rows[0], indices[its], values[its]


def pick(
    starts: np.ndarray, indptr: np.ndarray, pairs: list[tuple[np.ndarray, np.ndarray]], threads: int
) -> None:
    """Pieces of arrays, put one behind the other into others, in so many threads.

    Parameters
    ----------
    starts : ndarray of shape (n_pieces,), int
        Where each begins.
    indptr : ndarray of shape (n_pieces + 1,), int64
        Where it is to begin, and where the last one is to end.
    pairs : list of (ndarray, ndarray)
        What the pieces are of, and what they are put into.
    threads : int
    """
    n = int(indptr[-1])
    bounds = np.unique(np.append(np.searchsorted(indptr, np.arange(0, n, _PICKED)), len(starts)))

    def put(pieces: slice) -> None:
        own = indptr[pieces.start : pieces.stop + 1]
        places = np.repeat(starts[pieces] - own[:-1], np.diff(own))
        places += np.arange(own[0], own[-1])
        for of, to in pairs:
            np.take(of, places, out=to[own[0] : own[-1]], mode="clip")

    for _ in in_threads(put, map(slice, bounds[:-1], bounds[1:]), threads):
        pass


def columns_of(matrix: sp.csc_matrix, columns: np.ndarray, threads: int) -> sp.csc_matrix:
    """Some columns, in any order, any of them more than once; also where they have more than 2^31 values."""
    starts, sizes = matrix.indptr[columns].astype(np.int64), np.diff(matrix.indptr)[columns]
    indptr = np.concatenate([[0], sizes.cumsum(dtype=np.int64)])
    values, indices = (np.empty(indptr[-1], array.dtype) for array in (matrix.data, matrix.indices))
    pick(starts, indptr, [(matrix.data, values), (matrix.indices, indices)], threads)
    return matrix_of(sp.csc_matrix, values, indices, indptr, (matrix.shape[0], len(columns)))


def one_per_row(columns: np.ndarray, n_columns: int) -> sp.csr_matrix:
    """Membership: float32 of shape (len(columns), n_columns), with one 1 per row, in the column given."""
    n = len(columns)
    return sp.csr_matrix((np.ones(n, np.float32), columns, np.arange(n + 1)), shape=(n, n_columns))
