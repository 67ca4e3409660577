"""Which terms of an instance are learnt from: of a long text, the largest alone, and no common ones."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from ..kernels.kept_entries import column_sizes, of_columns
from ..kernels.largest_features import largest_rows
from ..params import LONG
from ..storage.compressed import flat
from .mixed import only


def largest(X: sp.csr_matrix, n: int) -> sp.csr_matrix:
    """The terms of largest value of each instance, ties to the lower id.

    Parameters
    ----------
    X : csr_matrix of shape (n_instances, n_features), float32
        Indices sorted.
    n : int
        Most terms that an instance keeps, by their absolute values.

    Returns
    -------
    csr_matrix of the same shape, float32
        `X` itself where no instance has more.
    """
    if np.diff(X.indptr).max(initial=0) <= n:
        return X
    indptr, _, values = flat(X)
    return only(X, largest_rows(indptr, values, n))


def are_long(X: sp.csr_matrix) -> bool:
    """Whether instances have more than `LONG` features on average."""
    return bool(X.nnz > LONG * X.shape[0])


def without_common(X: sp.csr_matrix, max_df: float) -> sp.csr_matrix:
    """Long texts without the terms that most of them have.

    Parameters
    ----------
    X : csr_matrix of shape (n_instances, n_features), float32
    max_df : float
        Largest share of the instances that a term may be in.

    Returns
    -------
    csr_matrix of the same shape, float32
        `X` itself where all terms are rarer, or instances have no more than `LONG` terms on average.
    """
    n_instances, n_features = X.shape
    if max_df == 1 or not are_long(X):
        return X
    indices = flat(X)[1]
    is_rare = column_sizes(indices, n_features) <= max_df * n_instances
    return X if is_rare.all() else only(X, of_columns(indices, is_rare))
