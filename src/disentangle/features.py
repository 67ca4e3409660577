"""Which features of an instance are learnt from: of a long text, the largest alone."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from ._kernels import largest_rows
from .matrices import flat


def largest(X: sp.csr_matrix, n: int) -> sp.csr_matrix:
    """The features of largest value of each instance, ties to the lower id.

    Parameters
    ----------
    X : csr_matrix of shape (n_instances, n_features), float32
        Indices sorted.
    n : int
        Most features that an instance keeps, by their absolute values.

    Returns
    -------
    csr_matrix of the same shape, float32
        `X` itself where no instance has more.
    """
    if np.diff(X.indptr).max(initial=0) <= n:
        return X
    indptr, indices, values = flat(X)
    kept = largest_rows(indptr, values, n)
    kept_indptr = np.concatenate([[0], np.cumsum(kept)])[indptr]
    return sp.csr_matrix((values[kept], indices[kept], kept_indptr), shape=X.shape)
