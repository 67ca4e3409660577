"""A level's labels without twins, in groups with the instances and features they have: the same SVMs, sooner.

Labels of one cluster that the same instances have are one problem; where labels are many and instances are
few, a third of them are such. And PECOS clears and reads a weight for every feature of the data for each
label that it trains, whatever features the label's instances have. With hundreds of thousands of features,
and labels of a few instances each, that is much of the work; and weights that lie close together stay in the
processor's cache.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from ..kernels.twins import first_twins
from ..storage.compressed import columns_of, flat, one_per_row

# A group has instances enough to be worth a call: pairs of an instance and a cluster, fewer for many threads;
# from 600 to 6,000 are within a tenth of the least seconds on the embedded set and tibkat-all.
_PAIRS = (600, 4096)
# Labels of one cluster that share the cost of picking its instances; more only make groups unequal.
_LABELS = 64
# Where a cluster has more of the instances, threads had better read them together than a copy each.
_CROWDED = 0.25


@dataclass(frozen=True)
class Subproblem:
    """What the SVMs of some labels are trained on, in the order of the whole.

    Attributes
    ----------
    X : csr_matrix of shape (n_instances, n_features), float32
    Y : csc_matrix of shape (n_instances, n_labels), float32
    C : csc_matrix of shape (n_labels, n_clusters), float32
    M : csc_matrix of shape (n_instances, n_clusters), float32, or None
        None for all instances.
    labels, features : ndarray of int
        Which labels and features of the whole these are.
    """

    X: sp.csr_matrix
    Y: sp.csc_matrix
    C: sp.csc_matrix
    M: sp.csc_matrix | None
    labels: np.ndarray
    features: np.ndarray


@dataclass(frozen=True)
class Level:
    """A level of a tree, and the SVMs that are to be trained for its nodes.

    Attributes
    ----------
    C : csc_matrix of shape (n_nodes, n_clusters), float32
        The nodes above.
    Y : csc_matrix of shape (n_instances, n_svms), float32
    clusters : ndarray of shape (n_svms,), int
        Of each SVM's nodes.
    M : csc_matrix of shape (n_instances, n_clusters), float32, or None
        What the SVMs of each cluster are trained on; None below the root: all instances.
    parents : ndarray of shape (n_clusters,), int, or None
        The nodes above the clusters.
    place : ndarray of shape (n_nodes,), int
        The SVM of each node.
    """

    C: sp.csc_matrix
    Y: sp.csc_matrix
    clusters: np.ndarray
    M: sp.csc_matrix | None
    parents: np.ndarray | None
    place: np.ndarray

    @classmethod
    def of(
        cls,
        Y: sp.csc_matrix,
        C: sp.csc_matrix,
        M: sp.csc_matrix | None,
        above: sp.csc_matrix | None,
        threads: int = 1,
    ) -> Level:
        """The nodes in C's rows, below those in its columns, which are below those `above`."""
        clusters = C.tocsr().indices
        svms, place = distinct(Y, clusters)
        # A chain's integers may be of 4 or 8 bytes; the model's bytes must not depend on that.
        C = one_per_row(clusters, C.shape[1]).tocsc()
        parents = None if above is None else above.tocsr().indices
        own = Y if len(svms) == len(place) else columns_of(Y, svms, threads)
        return cls(C, own, clusters[svms], M, parents, place)


def distinct(Y: sp.csc_matrix, clusters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels whose SVMs differ.

    Parameters
    ----------
    Y : csc_matrix of shape (n_instances, n_labels), float32
        Only ones; indices sorted.
    clusters : ndarray of shape (n_labels,), int

    Returns
    -------
    labels : ndarray of int
        Ascending; of labels of one cluster that the same instances have the first alone.
    place : ndarray of shape (n_labels,), int
        Which of `labels` has the SVM of each.
    """
    twins = first_twins(*flat(Y)[:2], clusters.astype(np.int32, copy=False))
    is_first = twins == np.arange(len(twins))
    return np.flatnonzero(is_first), (is_first.cumsum() - 1)[twins]


def groups(
    clusters: np.ndarray, parents: np.ndarray, M: sp.csc_matrix, fewest: int
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Labels in groups that are worth a call each, those of a cluster and clusters of a parent side by side.

    Parameters
    ----------
    clusters : ndarray of shape (n_labels,), int
    parents : ndarray of shape (n_clusters,), int
        Siblings share instances, and these share features.
    M : csc_matrix of shape (n_instances, n_clusters)
        The instances of each cluster.
    fewest : int
        Groups that are worth sharing out among threads.

    Returns
    -------
    crowded : ndarray of int
        Labels that are not worth a group, as their clusters have so many instances, or groups are so few.
    groups : list of ndarray of int
        Each other label is in one of them.
    """
    sizes = np.diff(M.indptr)
    is_crowded = sizes[clusters] > _CROWDED * M.shape[0]
    crowded, order = np.flatnonzero(is_crowded), np.flatnonzero(~is_crowded)
    order = order[np.lexsort((clusters[order], parents[clusters[order]]))]
    # A cluster of many instances and labels makes several groups, small ones make one together.
    n_labels = np.bincount(clusters, minlength=len(parents))
    share = np.minimum(sizes, _PAIRS[1]) / np.clip(n_labels, 1, _LABELS)
    ends = share[clusters[order]].cumsum()
    pairs = np.clip(ends[-1] / fewest if len(ends) else 0, *_PAIRS)
    # What is rounded off must not take the last label of a cluster to the next group.
    number = (ends - 1e-3) // pairs
    found = np.split(order, np.flatnonzero(np.diff(number)) + 1)
    return (crowded, found) if len(found) >= fewest else (np.arange(len(clusters)), [])


def restrict(
    X: sp.csr_matrix, Y: sp.csc_matrix, clusters: np.ndarray, M: sp.csc_matrix, labels: np.ndarray
) -> Subproblem:
    """The part of a level's problem that some labels depend on.

    Parameters
    ----------
    X : csr_matrix of shape (n_instances, n_features), float32
    Y : csc_matrix of shape (n_instances, n_labels), float32
        The instances of each label are among those of its cluster.
    clusters : ndarray of shape (n_labels,), int
    M : csc_matrix of shape (n_instances, n_clusters), float32
    labels : ndarray of int

    Returns
    -------
    Subproblem
        Instances and features in ascending order, so that sums are added up as in the whole.
    """
    Y, clusters = Y[:, labels], clusters[labels]
    chosen, cluster_place = _places(clusters, M.shape[1])
    M = M[:, chosen]
    instances, place = _places(M.indices, M.shape[0])
    X = X[instances]
    features, feature_place = _places(X.indices, X.shape[1])
    n = len(instances)
    return Subproblem(
        sp.csr_matrix((X.data, feature_place[X.indices], X.indptr), shape=(n, len(features))),
        sp.csc_matrix((Y.data, place[Y.indices], Y.indptr), shape=(n, len(labels))),
        one_per_row(cluster_place[clusters], len(chosen)).tocsc(),
        sp.csc_matrix((M.data, place[M.indices], M.indptr), shape=(n, len(chosen))),
        labels,
        features,
    )


def _places(ids: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The ids below `n` that occur, ascending, and the place of each among them."""
    occurs = np.zeros(n, np.bool_)
    occurs[ids] = True
    found = np.flatnonzero(occurs)
    place = np.empty(n, np.int32)
    place[found] = np.arange(len(found), dtype=np.int32)
    return found, place
