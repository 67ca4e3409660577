"""Instances by their terms and, beside these, by an embedding: a sparse matrix and a dense one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from ..kernels.kept_entries import entries, of_columns
from ..storage.compressed import flat

# Whose embeddings are taken out at a time.
_ROWS = 1 << 14


@dataclass(frozen=True)
class Mixed:
    """Features of instances, apart.

    Attributes
    ----------
    terms : csr_matrix of shape (n_instances, n_features), float32
        Nothing is stored in the embedding's columns.
    dense : ndarray of shape (n_instances, n_columns), float32
        The embedding.
    columns : ndarray of shape (n_columns,), int32
        Which features the embedding's are, ascending.
    """

    terms: sp.csr_matrix
    dense: np.ndarray
    columns: np.ndarray

    @classmethod
    def of(cls, X: sp.csr_matrix, is_dense: np.ndarray | None) -> Mixed:
        """A matrix taken apart, given whether each of its columns is dense; None where none is."""
        if is_dense is None:
            return cls(X, np.empty((X.shape[0], 0), np.float32), np.empty(0, np.int32))
        columns = np.flatnonzero(is_dense).astype(np.int32)
        dense = np.empty((X.shape[0], len(columns)), np.float32)
        # Row by row block, as an embedding is most of a matrix that has one.
        for start in range(0, X.shape[0], _ROWS):
            dense[start : start + _ROWS] = X[start : start + _ROWS][:, columns].toarray()
        return cls(only(X, ~of_columns(flat(X)[1], is_dense)), dense, columns)


def only(X: sp.csr_matrix, kept: np.ndarray) -> sp.csr_matrix:
    """Those of a matrix's entries that a boolean for each says."""
    indptr, indices, values = entries(*flat(X), kept)
    return sp.csr_matrix((values, indices, indptr), shape=X.shape)
