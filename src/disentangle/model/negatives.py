"""In which further clusters instances are negatives: where the matcher sends a share of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from ..params import Negatives
from ..runtime.memory import UNLIMITED, Budget
from ..runtime.workers import Workers
from .beam_search import match
from .saved_model import for_prediction
from .trained import Trained


def mine(
    matcher: Sequence[Trained],
    X: sp.csr_matrix,
    params: Negatives,
    beam_size: int,
    seed: int,
    threads: int | Workers,
    budget: Budget = UNLIMITED,
) -> sp.csr_matrix | None:
    """Clusters in which instances are negatives besides their own labels'; None if there are none.

    Parameters
    ----------
    matcher : sequence of Trained
        As it was trained.
    X : csr_matrix of shape (n_instances, n_features), float32
    params : Negatives
    beam_size : int
        Clusters that the matcher keeps per level.
    seed : int
    threads : int or Workers
        Has no effect on the result, nor has `budget`.
    budget : Budget

    Returns
    -------
    csr_matrix of shape (n_instances, n_clusters), float32
        Ones.
    """
    drawn = draw_instances(X.shape[0], params.negatives, seed)
    if not len(drawn):
        return None
    M = match(for_prediction(matcher, budget), X[drawn], beam_size, threads, budget)
    return spread(M, drawn, X.shape[0]) if M.nnz else None


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
    """Clusters of the instances that were drawn, as negatives of all instances.

    Parameters
    ----------
    M : csr_matrix of shape (len(drawn), n_clusters)
        Its entries are the clusters.
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
