"""What each copy of a label stands for: its terms, companions, neighbours and examples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from ..overlap.copies import Overlap
from .ambiguity import copies_by_label, preferred, unit_rows

N_TERMS, N_LABELS, N_EXAMPLES = 8, 6, 3
# Instances that terms and companions are taken from, points of the picture, instances of each neighbour.
_MOST_INSTANCES, _MOST_POINTS, _MOST_OF_NEIGHBOUR = 1000, 80, 30
# What an instance is whose best copy is none, or several alike.
UNREACHED, TIED = -1, -2


@dataclass(frozen=True)
class Meaning:
    """One copy of a label, as the instances that prefer it show it.

    Attributes
    ----------
    cluster : int
    is_original : bool
        Whether it is the label's first copy.
    n_instances : int
        Training instances that prefer it.
    terms : list of int
        Those that these have more than the label's others, most typical first; the first term is 0.
    companions : list of int
        Labels that these have besides, more than the label's others.
    neighbours : list of int
        Labels of its cluster that are most like it.
    examples : list of int
        Instances in the middle of those that prefer it.
    """

    cluster: int
    is_original: bool
    n_instances: int
    terms: list[int]
    companions: list[int]
    neighbours: list[int]
    examples: list[int]


@dataclass(frozen=True)
class Picture:
    """Some of a label's instances in two dimensions.

    Attributes
    ----------
    points : ndarray of shape (n, 2), float64
        Principal coordinates of the likeness that the ambiguity score has; without a unit.
    copy : ndarray of shape (n,), int
        Which copy of the label each prefers, from 0, `UNREACHED` or `TIED`.
    """

    points: np.ndarray
    copy: np.ndarray


class Meanings:
    """The copies of labels, to be looked at one label at a time.

    Parameters
    ----------
    X : csr_matrix of shape (n_instances, n_features)
    Y : csr_matrix of shape (n_instances, n_labels)
    overlap : Overlap
    M : csr_matrix of shape (n_instances, n_clusters)
        The matcher's scores of the clusters that an instance reaches.
    weights : csc_matrix of shape (n_features or more, n_labels + n_pseudo_labels), optional
        The ranker's.
    seed : int
        Of what is drawn where a label has more instances than are looked at.
    terms : slice
        Which features are words; an embedding's columns say nothing to a reader.
    """

    def __init__(
        self,
        X: sp.csr_matrix,
        Y: sp.csr_matrix,
        overlap: Overlap,
        M: sp.csr_matrix,
        weights: sp.csc_matrix | None,
        seed: int,
        terms: slice = slice(None),
    ) -> None:
        self._X, self._Y, self._M, self._weights, self._words = X, Y, M, weights, terms
        self._overlap = overlap
        self._seed = seed
        self._by_label = Y.tocsc()
        self._by_cluster = np.argsort(overlap.clusters, kind="stable")
        self._ends = np.cumsum(overlap.cluster_sizes())
        self._copies, self._first = copies_by_label(overlap)

    def instances(self, label: int) -> np.ndarray:
        """Training instances of a label: int32, ascending."""
        start, end = self._by_label.indptr[label : label + 2]
        return self._by_label.indices[start:end]

    def prefer(self, label: int) -> np.ndarray:
        """Which copy of a label each of its instances prefers: from 0, `UNREACHED` or `TIED`."""
        M, clusters = self._M[self.instances(label)], self._overlap.clusters[self._copies_of(label)]
        # The label alone, so that what is looked through is not all copies of all labels.
        alone = Overlap(clusters, np.zeros(len(clusters), np.int32), 1, M.shape[1], 0)
        copy, n_reached = preferred(np.arange(M.shape[0]), np.zeros(M.shape[0], int), alone, M)
        return np.where(copy >= 0, copy, np.where(n_reached > 0, TIED, UNREACHED))

    def _copies_of(self, label: int) -> np.ndarray:
        """A label's copies, ascending."""
        return self._copies[self._first[label] : self._first[label + 1]]

    def of(self, label: int) -> tuple[list[Meaning], Picture]:
        """A label's copies, the first one first, and a picture of its instances."""
        copies, copy, instances = self._copies_of(label), self.prefer(label), self.instances(label)
        n = np.bincount(copy[copy >= 0], minlength=len(copies))
        rng = np.random.default_rng([self._seed, label])
        seen = np.sort(rng.permutation(len(instances))[:_MOST_INSTANCES])
        rows, own = instances[seen], copy[seen]
        terms = self._terms(rows, own, copies) if self._weights is not None else [[]] * len(copies)
        companions = _typical(*_contrasts(self._Y[rows], own, len(copies)), N_LABELS, label)
        meanings = []
        for i, one in enumerate(copies.tolist()):
            members = rows[own == i]
            middle = _middle(self._X[members if len(members) else rows])
            meanings.append(
                Meaning(
                    cluster=int(self._overlap.clusters[one]),
                    is_original=one == label,
                    n_instances=int(n[i]),
                    terms=terms[i],
                    companions=companions[i],
                    neighbours=self._neighbours(one, middle),
                    examples=_highest(self._X[members] @ middle, members, N_EXAMPLES),
                )
            )
        drawn = np.sort(rng.permutation(len(rows))[:_MOST_POINTS])
        return meanings, Picture(self._points(label, rows[drawn]), own[drawn])

    def _terms(self, rows: np.ndarray, own: np.ndarray, copies: np.ndarray) -> list[list[int]]:
        """Terms by how much more the instances of a copy have them, up to doubled by the ranker's weight."""
        ids, contrast = _contrasts(self._X[rows][:, self._words], own, len(copies))
        weights = self._weights[:, copies].tocsr()[self._words][ids].toarray().T  # type: ignore[index]
        weights = np.maximum(weights, 0)
        most = weights.max(axis=1, initial=0, keepdims=True)
        return _typical(ids, contrast * (1 + weights / np.where(most > 0, most, 1)), N_TERMS)

    def _neighbours(self, copy: int, middle: np.ndarray) -> list[int]:
        """Other labels of a copy's cluster, those first whose instances are most like it."""
        cluster = self._overlap.clusters[copy]
        start = self._ends[cluster - 1] if cluster else 0
        original = self._overlap.original
        labels = np.unique(original[self._by_cluster[start : self._ends[cluster]]])
        labels = labels[labels != original[copy]]
        rows = [self.instances(label)[:_MOST_OF_NEIGHBOUR] for label in labels]
        sizes = np.array([len(of_label) for of_label in rows], dtype=int)
        if not sizes.sum():
            return []
        likeness = self._X[np.concatenate(rows)] @ middle
        whose = np.repeat(np.arange(len(labels)), sizes)
        means = np.bincount(whose, likeness, len(labels)) / np.maximum(sizes, 1)
        return _highest(means, labels, N_LABELS)

    def _points(self, label: int, rows: np.ndarray) -> np.ndarray:
        """Principal coordinates (Torgerson, Psychometrika 1952) of the mean of two cosines."""
        others = self._Y[rows]
        others.data = np.where(others.indices == label, 0.0, 1.0)
        clusters, others = map(unit_rows, (self._M[rows], others))
        likeness = ((clusters @ clusters.T) + (others @ others.T)).toarray() / 2
        centred = likeness - likeness.mean(axis=0)
        centred -= centred.mean(axis=1, keepdims=True)
        values, vectors = np.linalg.eigh((centred + centred.T) / 2)
        points = np.zeros((len(rows), 2))
        n = min(2, len(rows))
        best = vectors[:, ::-1][:, :n]
        # An axis may be turned round: its farthest point is on the positive side.
        sign = np.sign(best[np.abs(best).argmax(axis=0), np.arange(n)])
        points[:, :n] = best * sign * np.sqrt(np.maximum(values[::-1][:n], 0))
        return points


def _contrasts(Z: sp.csr_matrix, own: np.ndarray, n_copies: int) -> tuple[np.ndarray, np.ndarray]:
    """How much more of each column the instances of a copy have than those of the others.

    Returns
    -------
    ids : ndarray of shape (n_used,), int
        Columns that any of the instances has.
    contrast : ndarray of shape (n_copies, n_used), float64
        Mean over a copy's instances minus mean over the others'; 0 for a copy without instances.
    """
    ids, place = np.unique(Z.indices, return_inverse=True)
    told = np.flatnonzero(own >= 0)
    local = sp.csr_matrix((Z.data.astype(np.float64), place, Z.indptr), shape=(Z.shape[0], len(ids)))[told]
    of_copy = sp.csr_matrix((np.ones(len(told)), (own[told], np.arange(len(told)))), (n_copies, len(told)))
    sums, n = (of_copy @ local).toarray(), np.bincount(own[told], minlength=n_copies)[:, None]
    rest = (sums.sum(axis=0) - sums) / np.maximum(n.sum() - n, 1)
    return ids, np.where(n > 0, sums / np.maximum(n, 1) - rest, 0)


def _typical(ids: np.ndarray, contrast: np.ndarray, n: int, without: int = -1) -> list[list[int]]:
    """For each copy the columns of the highest positive contrasts."""
    found = []
    for row in contrast:
        kept = (row > 0) & (ids != without)
        found.append(_highest(row[kept], ids[kept], n))
    return found


def _highest(values: np.ndarray, ids: np.ndarray, n: int) -> list[int]:
    """Ids of the `n` highest values, ties to the first; rounded, as sums may differ in their last digits."""
    found: list[int] = ids[np.argsort(-np.round(values, 6), kind="stable")[:n]].tolist()
    return found


def _middle(Z: sp.csr_matrix) -> np.ndarray:
    """The mean row, float64 of shape (n_columns,)."""
    middle: np.ndarray = np.asarray(Z.sum(axis=0, dtype=np.float64)).ravel() / max(Z.shape[0], 1)
    return middle
