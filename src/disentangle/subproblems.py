"""A level's clusters in groups, each with the instances and features that it has: the same SVMs, sooner.

PECOS clears and reads a weight for every feature of the data for each label that it trains, whatever
features the label's instances have. With hundreds of thousands of features, and labels of a few instances
each, that is most of the work; and weights that lie close together stay in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

# Pairs of an instance and a cluster that a group has, at least: from 600 to 6,000 are within a tenth of the
# least seconds on the embedded set and tibkat-all.
_PAIRS = 4096


@dataclass(frozen=True)
class Subproblem:
    """What the SVMs of some clusters' labels are trained on, in the order of the whole.

    Attributes
    ----------
    X : csr_matrix of shape (n_instances, n_features), float32
    Y : csc_matrix of shape (n_instances, n_labels), float32
    C : csc_matrix of shape (n_labels, n_clusters), float32
    M : csc_matrix of shape (n_instances, n_clusters), float32
    labels, features : ndarray of int
        Which labels and features of the whole these are.
    """

    X: sp.csr_matrix
    Y: sp.csc_matrix
    C: sp.csc_matrix
    M: sp.csc_matrix
    labels: np.ndarray
    features: np.ndarray


def groups(M: sp.csc_matrix, parents: np.ndarray) -> list[np.ndarray]:
    """Clusters in groups of so many instances that each is worth a call; those of a parent side by side.

    Parameters
    ----------
    M : csc_matrix of shape (n_instances, n_clusters)
        The instances of each cluster.
    parents : ndarray of shape (n_clusters,), int
        Siblings share instances, and these share features.

    Returns
    -------
    list of ndarray of int
        Each cluster is in one of them.
    """
    order = np.argsort(parents, kind="stable")
    sizes = np.diff(M.indptr)[order]
    before = (np.cumsum(sizes) - sizes) // _PAIRS
    return np.split(order, np.flatnonzero(np.diff(before)) + 1)


def restrict(
    X: sp.csr_matrix, Y: sp.csc_matrix, C: sp.csc_matrix, M: sp.csc_matrix, clusters: np.ndarray
) -> Subproblem:
    """The part of a level's problem that the labels of some clusters depend on.

    Parameters
    ----------
    X : csr_matrix of shape (n_instances, n_features), float32
    Y : csc_matrix of shape (n_instances, n_labels), float32
        The instances of each label are among those of its cluster.
    C : csc_matrix of shape (n_labels, n_clusters), float32
    M : csc_matrix of shape (n_instances, n_clusters), float32
    clusters : ndarray of int

    Returns
    -------
    Subproblem
        Instances and features in ascending order, so that sums are added up as in the whole.
    """
    M, C = M[:, clusters], C[:, clusters]
    labels = C.indices
    Y = Y[:, labels]
    instances, place = _places(M.indices, M.shape[0])
    X = X[instances]
    features, feature_place = _places(X.indices, X.shape[1])
    shape = len(instances), len(features)
    return Subproblem(
        sp.csr_matrix((X.data, feature_place[X.indices], X.indptr), shape=shape),
        sp.csc_matrix((Y.data, place[Y.indices], Y.indptr), shape=(len(instances), len(labels))),
        sp.csc_matrix((C.data, np.arange(len(labels)), C.indptr), shape=(len(labels), len(clusters))),
        sp.csc_matrix((M.data, place[M.indices], M.indptr), shape=(len(instances), len(clusters))),
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


def assemble(
    parts: Iterable[tuple[Subproblem, sp.csc_matrix]], n_features: int, n_labels: int
) -> sp.csc_matrix:
    """The weights of a level from those of its parts.

    Parameters
    ----------
    parts : iterable of (Subproblem, csc_matrix of shape (n_features of the part + 1, n_labels of the part))
        Each label in one of them; the last row is the bias.
    n_features, n_labels : int
        Of the whole.

    Returns
    -------
    csc_matrix of shape (n_features + 1, n_labels), float32
    """
    found, sizes = [], np.zeros(n_labels, np.int64)
    for part, W in parts:
        rows = np.append(part.features, n_features).astype(np.int32)
        found.append((part.labels, rows[W.indices], W.data))
        sizes[part.labels] = np.diff(W.indptr)
    indptr = np.concatenate([[0], sizes.cumsum()])
    indices, weights = np.empty(indptr[-1], np.int32), np.empty(indptr[-1], np.float32)
    while found:  # one at a time, so that weights are not held three times
        labels, rows, values = found.pop()
        starts = sizes[labels].cumsum() - sizes[labels]
        places = np.arange(len(rows)) + np.repeat(indptr[labels] - starts, sizes[labels])
        indices[places], weights[places] = rows, values
    return sp.csc_matrix((weights, indices, indptr), shape=(n_features + 1, n_labels))
