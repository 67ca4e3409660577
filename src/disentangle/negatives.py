"""In which further clusters instances are negatives: where the matcher sends a share of them."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from pecos.xmc.xlinear import XLinearModel

from .xlinear import for_prediction, match


def mine(
    matcher: XLinearModel, X: sp.csr_matrix, share: float, beam_size: int, seed: int, threads: int
) -> sp.csr_matrix | None:
    """Clusters in which instances are negatives besides their own labels'; None if no instance is drawn.

    Parameters
    ----------
    matcher : XLinearModel
        As it was trained.
    X : csr_matrix of shape (n_instances, n_features), float32
    share : float
        Of the instances, 0 to 1.
    beam_size : int
        Clusters that the matcher keeps per level.
    seed : int
    threads : int
        Has no effect on the result.

    Returns
    -------
    csr_matrix of shape (n_instances, n_clusters), float32
        Ones.
    """
    drawn = draw_instances(X.shape[0], share, seed)
    if not len(drawn):
        return None
    return spread(match(for_prediction(matcher), X[drawn], beam_size, threads), drawn, X.shape[0])


def draw_instances(n_instances: int, share: float, seed: int) -> np.ndarray:
    """Draw the instances that are to be negatives wherever the matcher sends them.

    A ranker trained on teacher-forcing negatives alone has never seen most of the instances that the beam
    will send it. PECOS's matcher-aware negatives are all of these. Labels are trained one by one, so it is
    the same to each whether instances are drawn once or for every cluster; but then only they are matched.

    Parameters
    ----------
    n_instances : int
    share : float
        0 to 1.
    seed : int

    Returns
    -------
    ndarray of int64
        Rising.
    """
    return np.flatnonzero(np.random.default_rng(seed).random(n_instances) < share)


def spread(M: sp.csr_matrix, drawn: np.ndarray, n_instances: int) -> sp.csr_matrix:
    """The clusters that the drawn instances match, as negatives of all instances.

    Parameters
    ----------
    M : csr_matrix of shape (len(drawn), n_clusters)
    drawn : ndarray of int64
        From `draw_instances`.
    n_instances : int

    Returns
    -------
    csr_matrix of shape (n_instances, n_clusters), float32
        Ones; rows of instances that were not drawn are empty.
    """
    sizes = np.zeros(n_instances + 1, np.int64)
    sizes[drawn + 1] = np.diff(M.indptr)
    ones = np.ones(M.nnz, np.float32)
    return sp.csr_matrix((ones, M.indices, sizes.cumsum()), shape=(n_instances, M.shape[1]))
