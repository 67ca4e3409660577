"""Ranking metrics of extreme multi-label classification, as pure functions.

Every metric takes `(Y_true, Y_pred)`: `Y_true` is a csr_matrix of shape (n_instances, n_labels) that
stores ones only, each row at least one; `Y_pred` is an int array of shape (n_instances, k) with the
labels in descending order of score, -1 where fewer were predicted, as `rank` makes it. All return k
values, for 1..k, in percent.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from ..kernels.merge_and_rank import rank_rows
from ..params import Propensity
from ..storage.compressed import flat


def rank(scores: sp.csr_matrix, k: int) -> np.ndarray:
    """Labels of the `k` highest scores per instance, best first, equal scores by ascending label id.

    Parameters
    ----------
    scores : csr_matrix of shape (n_instances, n_labels)
    k : int

    Returns
    -------
    ndarray of shape (n_instances, k), int32
        -1 where an instance has fewer scores.
    """
    return rank_rows(*flat(scores), k)


def hits(Y_true: sp.csr_matrix, Y_pred: np.ndarray) -> np.ndarray:
    """Which predictions are right: bool of the shape of `Y_pred`."""
    (n_rows, n_labels), Y_pred = Y_true.shape, np.asarray(Y_pred)
    true = np.repeat(np.arange(n_rows), np.diff(Y_true.indptr)) * n_labels + Y_true.indices
    predicted = np.arange(n_rows)[:, None] * n_labels + Y_pred
    return (Y_pred >= 0) & np.isin(predicted, true)


def precision(Y_true: sp.csr_matrix, Y_pred: np.ndarray) -> np.ndarray:
    """P@k: right labels among the first k, over k, averaged over instances."""
    ranks = np.arange(1, Y_pred.shape[1] + 1)
    return 100 * hits(Y_true, Y_pred).cumsum(axis=1).mean(axis=0) / ranks


def recall(Y_true: sp.csr_matrix, Y_pred: np.ndarray) -> np.ndarray:
    """R@k: right labels among the first k, over the instance's labels, averaged over instances."""
    n_true = np.diff(Y_true.indptr)[:, None]
    return 100 * (hits(Y_true, Y_pred).cumsum(axis=1) / n_true).mean(axis=0)


def ndcg(Y_true: sp.csr_matrix, Y_pred: np.ndarray) -> np.ndarray:
    """nDCG@k: gains 1 / log2(rank + 1), over the best attainable, averaged over instances.

    Jaervelin and Kekaelaeinen, ACM TOIS 2002, in the binary form of the Extreme Classification Repository.
    """
    k = Y_pred.shape[1]
    discount = 1 / np.log2(np.arange(2, k + 2))
    gained = (hits(Y_true, Y_pred) * discount).cumsum(axis=1)
    ideal = discount.cumsum()[np.minimum(np.diff(Y_true.indptr)[:, None], np.arange(1, k + 1)) - 1]
    return 100 * (gained / ideal).mean(axis=0)


def inverse_propensity(Y_trn: sp.spmatrix, constants: Propensity) -> np.ndarray:
    """1 / p_l = 1 + C exp(-A log(N_l + B)), C = (log N - 1) (B + 1)^A, for N instances, N_l of label l.

    Jain, Prabhu and Varma, KDD 2016, equation in section 4.3.

    Returns
    -------
    ndarray of shape (n_labels,), float64
    """
    n_instances = Y_trn.shape[0]
    # Counted, not summed: float32 stops at 2^24.
    n_positives = np.bincount(Y_trn.tocsr().indices, minlength=Y_trn.shape[1])
    C = (np.log(n_instances) - 1) * (constants.B + 1) ** constants.A
    return 1 + C * (n_positives + constants.B) ** -constants.A


def psp(Y_true: sp.csr_matrix, Y_pred: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    """PSP@k: precision with right labels weighted by `inverse`, over the best attainable.

    Both are summed over instances before dividing, as the Extreme Classification Repository does.

    Parameters
    ----------
    inverse : ndarray of shape (n_labels,)
        Inverse propensities of the training set.
    """
    k = Y_pred.shape[1]
    gained = (hits(Y_true, Y_pred) * inverse[Y_pred]).cumsum(axis=1).sum(axis=0)
    weighted = sp.csr_matrix((inverse[Y_true.indices], Y_true.indices, Y_true.indptr), shape=Y_true.shape)
    ideal = rank(weighted, k)
    best = np.where(ideal >= 0, inverse[ideal], 0).cumsum(axis=1).sum(axis=0)
    return 100 * gained / best


def figures(Y_true: sp.csr_matrix, Y_pred: np.ndarray, inverse: np.ndarray) -> dict[str, np.ndarray]:
    """All of these metrics, by the names that reports have for them."""
    return {
        "precision": precision(Y_true, Y_pred),
        "recall": recall(Y_true, Y_pred),
        "ndcg": ndcg(Y_true, Y_pred),
        "psp": psp(Y_true, Y_pred, inverse),
    }


def candidates_of(M: sp.csr_matrix, cluster_sizes: np.ndarray) -> np.ndarray:
    """Labels, copies counted, in the clusters that the beam kept.

    Parameters
    ----------
    M : csr_matrix of shape (n_instances, n_clusters)
        Stored entries are the clusters kept.
    cluster_sizes : ndarray of shape (n_clusters,)

    Returns
    -------
    ndarray of shape (n_instances,), int64
        Their mean is the candidates per instance.
    """
    counted = np.concatenate([[0], cluster_sizes[M.indices].cumsum()])
    return np.diff(counted[M.indptr])
