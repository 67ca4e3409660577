"""Which further clusters an instance is a negative in: some that it matches without belonging there."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp


def sample_negatives(M: sp.csr_matrix, part_of: np.ndarray, share: float, seed: int) -> sp.csr_matrix:
    """Draw a share of the clusters that each instance matches.

    A ranker trained on teacher-forcing negatives alone has never seen most of the instances that the beam
    will send it. PECOS's matcher-aware negatives are all of these; a share of them costs less.

    Parameters
    ----------
    M : csr_matrix of shape (n_instances, n_matched_clusters)
    part_of : ndarray of shape (n_clusters,), int
        Which of the matched clusters each cluster is a part of. Where there are several, chance takes one.
    share : float
        0 to 1.
    seed : int

    Returns
    -------
    csr_matrix of shape (n_instances, n_clusters), float32
        Ones.
    """
    rng = np.random.default_rng(seed)
    rows = np.repeat(np.arange(M.shape[0], dtype=np.int32), np.diff(M.indptr))
    drawn = rng.random(M.nnz) < share
    rows, matched = rows[drawn], M.indices[drawn]
    n_parts = np.bincount(part_of, minlength=M.shape[1])
    first = np.concatenate([[0], np.cumsum(n_parts)])
    parts = np.argsort(part_of, kind="stable")
    columns = parts[first[matched] + (rng.random(len(matched)) * n_parts[matched]).astype(np.int64)]
    ones = np.ones(len(rows), np.float32)
    return sp.csr_matrix((ones, (rows, columns)), shape=(M.shape[0], len(part_of)))
