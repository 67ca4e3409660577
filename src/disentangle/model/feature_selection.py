"""Which terms of an instance are learnt from: of a long text, the largest alone."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from ..kernels.largest_features import largest_rows
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
