"""Which features of an instance are learnt from: of a long text, the largest alone, and no common ones.

Both are about terms. A dense column, such as an embedding's, is in every instance, and its largest values are
no more telling than its small ones: it is always learnt from, and does not count.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from ..kernels.largest_features import largest_rows
from ..params import LONG
from ..storage.matrices import flat


def largest(X: sp.csr_matrix, n: int, is_dense: np.ndarray | None = None) -> sp.csr_matrix:
    """The terms of largest value of each instance, ties to the lower id, and all dense columns.

    Parameters
    ----------
    X : csr_matrix of shape (n_instances, n_features), float32
        Indices sorted.
    n : int
        Most terms that an instance keeps, by their absolute values.
    is_dense : ndarray of shape (n_features,), bool, optional
        Which columns are no terms'.

    Returns
    -------
    csr_matrix of the same shape, float32
        `X` itself where no instance has more.
    """
    if np.diff(X.indptr).max(initial=0) <= n:
        return X
    kept = _entries(X, is_dense)
    is_term = ~kept
    terms = _only(X, is_term)
    if np.diff(terms.indptr).max(initial=0) <= n:
        return X
    indptr, _, values = flat(terms)
    kept[is_term] = largest_rows(indptr, values, n)
    return _only(X, kept)


def without_common(X: sp.csr_matrix, max_df: float, is_dense: np.ndarray | None = None) -> sp.csr_matrix:
    """Long texts without the terms that most of them have.

    Parameters
    ----------
    X : csr_matrix of shape (n_instances, n_features), float32
    max_df : float
        Largest share of the instances that a term may be in.
    is_dense : ndarray of shape (n_features,), bool, optional
        As of `largest`.

    Returns
    -------
    csr_matrix of the same shape, float32
        `X` itself where all terms are rarer, or instances have no more than `LONG` of them on average.
    """
    n_instances, n_features = X.shape
    if X.nnz <= LONG * n_instances:
        return X
    counts = np.bincount(X.indices, minlength=n_features)
    is_dense = np.zeros(n_features, np.bool_) if is_dense is None else is_dense
    if counts[~is_dense].sum() <= LONG * n_instances:
        return X
    is_kept = is_dense | (counts <= max_df * n_instances)
    return X if is_kept.all() else _only(X, is_kept[X.indices])


def _entries(X: sp.csr_matrix, is_dense: np.ndarray | None) -> np.ndarray:
    """Which of a matrix's entries are in dense columns."""
    return np.zeros(X.nnz, np.bool_) if is_dense is None else is_dense[X.indices]


def _only(X: sp.csr_matrix, kept: np.ndarray) -> sp.csr_matrix:
    """Those of a matrix's entries that a boolean for each says."""
    indptr, indices, values = flat(X)
    kept_indptr = np.concatenate([[0], np.cumsum(kept)])[indptr]
    return sp.csr_matrix((values[kept], indices[kept], kept_indptr), shape=X.shape)
