"""Which clusters a label belongs to: count its instances' matches, assign it to the best clusters."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from ..kernels.choosing import best_clusters, shuffled
from ..model.tree import leaf_clusters, load_chain
from ..params import OverlapParams
from ..storage.matrices import flat, one_per_row
from ..storage.saved import Saved

OVERLAP_FILE = "overlap.npz"

# Clusters that a label may turn to, in order, when those of most gain are full.
_MOST_CHOICES = 32
# By which bids rise under a capacity, in medians of the labels' best gains: enough for 99.99 % of the most
# that can be gained on the embedded set and vullib (benchmarks/capacity_gap.py).
_INCREMENT = 0.01


@dataclass(frozen=True)
class Overlap:
    """Labels and their copies in the leaf clusters.

    Attributes
    ----------
    clusters : ndarray of shape (n_labels + n_pseudo_labels,), int32
        Cluster of each label's first copy, then of each pseudo label.
    original : ndarray of shape (n_labels + n_pseudo_labels,), int32
        Original label of each; `original[l] == l` for l < n_labels.
    n_labels, n_clusters : int
    n_unmatched_labels : int
        Labels that match no cluster, or none with room: they kept their cluster.
    """

    clusters: np.ndarray
    original: np.ndarray
    n_labels: int
    n_clusters: int
    n_unmatched_labels: int

    @property
    def n_pseudo_labels(self) -> int:
        """Second and later copies."""
        return len(self.original) - self.n_labels

    def cluster_sizes(self) -> np.ndarray:
        """Labels, copies counted, in each cluster: int64 of shape (n_clusters,)."""
        return np.bincount(self.clusters, minlength=self.n_clusters)

    def cluster_matrix(self) -> sp.csc_matrix:
        """C of shape (n_labels + n_pseudo_labels, n_clusters), float32, one 1 per row."""
        return one_per_row(self.clusters, self.n_clusters).tocsc()

    def save(self, path: Path) -> None:
        """Write everything to one npz file of plain arrays."""
        np.savez_compressed(path, **vars(self))

    @classmethod
    def load(cls, saved: Saved) -> Overlap:
        """Read what `save` wrote as `OVERLAP_FILE`.

        Raises
        ------
        DisentangleError
            If it is damaged, or no overlap.
        """
        read = saved.arrays(OVERLAP_FILE, *(field.name for field in fields(cls)))
        clusters, original = read["clusters"], read["original"]
        numbers = [read[name] for name in ("n_labels", "n_clusters", "n_unmatched_labels")]
        is_sound = all(array.ndim == 1 and array.dtype == np.int32 for array in (clusters, original))
        is_sound &= all(number.ndim == 0 and number.dtype.kind == "i" for number in numbers)
        if is_sound:
            overlap = cls(clusters, original, *map(int, numbers))
            if overlap._is_consistent():
                return overlap
        raise saved.damaged(OVERLAP_FILE, "expected clusters and original labels of copies, found others")

    def _is_consistent(self) -> bool:
        n, copies = self.n_labels, self.original[self.n_labels :]
        return bool(
            len(self.clusters) == len(self.original) >= n > 0
            and 0 <= self.clusters.min() <= self.clusters.max() < self.n_clusters
            and np.array_equal(self.original[:n], np.arange(n))
            and 0 <= copies.min(initial=0) <= copies.max(initial=0) < n
        )


def without_copies(clusters: np.ndarray, n_clusters: int) -> Overlap:
    """The trivial overlap of a tree as it was trained: each label once, in its cluster."""
    n_labels = len(clusters)
    return Overlap(clusters, np.arange(n_labels, dtype=np.int32), n_labels, n_clusters, 0)


def load_overlap(saved: Saved) -> Overlap:
    """Labels and copies of a saved model or tree; one that was not overlapped has each label once.

    Raises
    ------
    DisentangleError
        If it is damaged.
    """
    if OVERLAP_FILE in saved:
        return Overlap.load(saved)
    chain = load_chain(saved)
    return without_copies(leaf_clusters(chain), chain[-1].shape[1])


def assign(
    Y: sp.csc_matrix, M: sp.csr_matrix, own: np.ndarray, params: OverlapParams, threads: int = 1
) -> Overlap:
    """Put each label into the clusters that gain it most.

    With the paper's parameters the gain is the number of instances that match a cluster, Y^T M, and a label
    takes its `n_copies` clusters of most gain, whatever their size (Liu, Chang, Yu, Hsieh and Dhillon,
    NeurIPS 2021, section 3). Otherwise each label ranks its clusters greedily, which is within 1 - 1/e of the
    best set for facility location (Nemhauser, Wolsey and Fisher, 1978). Under a capacity an auction finds the
    choices that gain most in all (per candidate added, if there is a budget as well), and a label that gets
    none stays where it is, room or not; under a budget each label has its first copy, and further ones are
    taken in descending order of gain per candidate added. Equal gains are taken in an order that a hash of
    label and cluster decides: it favours none, and does not depend on instances, threads or a seed.

    Parameters
    ----------
    Y : csc_matrix of shape (n_instances, n_labels)
        Training labels.
    M : csr_matrix of shape (n_instances, n_clusters)
        Scores of the clusters that survive the beam.
    own : ndarray of shape (n_labels,), int
        Cluster of each label now; a label that matches no cluster with room keeps it.
    params : OverlapParams
    threads : int
        Has no effect on the result.

    Returns
    -------
    Overlap
        Pseudo labels sorted by original label, best cluster first.

    Raises
    ------
    ValueError
        If the shapes of `Y`, `M` and `own` disagree.
    """
    n_labels, n_clusters = Y.shape[1], M.shape[1]
    if Y.shape[0] != M.shape[0] or own.shape != (n_labels,):
        raise ValueError(f"shapes disagree: Y {Y.shape}, M {M.shape}, own {own.shape}")
    n_copies = min(params.n_copies, n_clusters)
    # Candidates per instance are linear in the labels of a cluster: its share of the instances' beams.
    costs = np.bincount(M.indices, minlength=n_clusters) / M.shape[0]
    weights = np.ones(n_clusters) if params.budget is None else 1 / np.maximum(costs, 1 / M.shape[0])
    width = n_copies if params.capacity is None else max(n_copies, min(n_clusters, _MOST_CHOICES))
    m_indptr, m_indices, scores = flat(M)
    if params.gain == "counts":
        scores = np.ones_like(scores)
    clusters, gains = best_clusters(
        *flat(Y)[:2], m_indptr, m_indices, scores, weights, params.coverage, width, threads
    )
    if params.capacity is not None:
        room = max(1, int(min(params.capacity * n_copies * n_labels / n_clusters, n_labels * n_copies)))
        clusters, gains = _keep_with_room(clusters, gains, n_clusters, n_copies, room)
    if params.budget is not None:
        _keep_within(clusters, gains, own, costs, params.budget * costs[own].sum())
    unmatched = clusters[:, 0] < 0
    first = np.where(unmatched, own, clusters[:, 0]).astype(np.int32)
    label, copy = np.nonzero(clusters[:, 1:] >= 0)
    return Overlap(
        clusters=np.concatenate([first, clusters[label, copy + 1]]),
        original=np.concatenate([np.arange(n_labels), label]).astype(np.int32),
        n_labels=n_labels,
        n_clusters=n_clusters,
        n_unmatched_labels=int(unmatched.sum()),
    )


def _keep_with_room(
    clusters: np.ndarray, gains: np.ndarray, n_clusters: int, n_copies: int, room: int
) -> tuple[np.ndarray, np.ndarray]:
    """The choices that gain most in all while clusters have room, of each label best first."""
    from ..kernels.auction import auction  # compiled where it is needed

    best = gains[:, 0]
    increment = _INCREMENT * float(np.median(best[best > 0])) if best.any() else 1.0
    labels, places = np.nonzero(auction(clusters, gains, n_clusters, n_copies, room, increment))
    n_taken = np.bincount(labels, minlength=len(clusters))
    copies = np.arange(len(labels)) - np.repeat(n_taken.cumsum() - n_taken, n_taken)
    kept, gained = np.full((len(clusters), n_copies), -1, np.int32), np.zeros((len(clusters), n_copies))
    kept[labels, copies], gained[labels, copies] = clusters[labels, places], gains[labels, places]
    return kept, gained


def _keep_within(
    clusters: np.ndarray, gains: np.ndarray, own: np.ndarray, costs: np.ndarray, budget: float
) -> None:
    """Erase the copies of least gain, from the first that would exceed the budget; first copies stay."""
    first = np.where(clusters[:, 0] < 0, own, clusters[:, 0])
    labels, copies = np.nonzero(clusters[:, 1:] >= 0)
    chosen, gained = clusters[labels, copies + 1], gains[labels, copies + 1]
    order = np.lexsort((shuffled(labels, chosen), -gained))
    spent = costs[first].sum() + costs[chosen[order]].cumsum()
    exceeding = order[np.searchsorted(spent, budget, side="right") :]
    clusters[labels[exceeding], copies[exceeding] + 1] = -1
