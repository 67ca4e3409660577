"""Which further clusters an instance is a negative in: a share of those that it matches."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp


def sample_negatives(M: sp.csr_matrix, share: float, seed: int) -> sp.csr_matrix:
    """Draw a share of the clusters that each instance matches.

    A ranker trained on teacher-forcing negatives alone has never seen most of the instances that the beam
    will send it. PECOS's matcher-aware negatives are all of these; a share of them costs less.

    Parameters
    ----------
    M : csr_matrix of shape (n_instances, n_clusters)
    share : float
        0 to 1.
    seed : int

    Returns
    -------
    csr_matrix of shape (n_instances, n_clusters), float32
        Ones.
    """
    drawn = np.random.default_rng(seed).random(M.nnz) < share
    indptr = np.concatenate([[0], np.cumsum(drawn)])[M.indptr]
    ones = np.ones(indptr[-1], np.float32)
    return sp.csr_matrix((ones, M.indices[drawn], indptr), shape=M.shape)
