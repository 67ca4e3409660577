"""Which clusters a label belongs to: count its instances' matches, assign it to the best clusters."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from ._kernels import top_clusters
from .matrices import flat, one_per_row

# Blocks of labels per thread: enough to even out labels with many and with few instances.
_BLOCKS_PER_THREAD = 16


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
        Labels without counts: they kept their cluster.
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
    def load(cls, path: Path) -> Overlap:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            numbers = [int(file[name]) for name in ("n_labels", "n_clusters", "n_unmatched_labels")]
            return cls(file["clusters"], file["original"], *numbers)


def without_copies(clusters: np.ndarray, n_clusters: int) -> Overlap:
    """The trivial overlap of a tree as it was trained: each label once, in its cluster."""
    n_labels = len(clusters)
    return Overlap(clusters, np.arange(n_labels, dtype=np.int32), n_labels, n_clusters, 0)


def assign(Y: sp.csc_matrix, M: sp.csr_matrix, own: np.ndarray, n_copies: int, threads: int = 1) -> Overlap:
    """Put each label into the clusters that its instances match most often.

    With counts = Y^T M (M read as 0/1), a label takes its `n_copies` clusters of highest count
    (Liu, Chang, Yu, Hsieh and Dhillon, NeurIPS 2021, section 3); there is no limit to a cluster's
    size. Clusters with equal counts are taken in an order that a hash of label and cluster decides: it
    favours none, and does not depend on instances, threads or a seed.

    Parameters
    ----------
    Y : csc_matrix of shape (n_instances, n_labels)
        Training labels.
    M : csr_matrix of shape (n_instances, n_clusters)
        Stored entries are the clusters that survive the beam.
    own : ndarray of shape (n_labels,), int
        Cluster of each label now; a label without counts keeps it.
    n_copies : int
        Most clusters per label, at least 1.
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
    n_blocks = max(1, min(n_labels, _BLOCKS_PER_THREAD * threads))
    n_copies = min(n_copies, n_clusters)
    clusters = top_clusters(*flat(Y)[:2], *flat(M)[:2], n_clusters, n_copies, n_blocks)
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
