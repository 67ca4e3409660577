"""Labels and their copies in the leaf clusters, and the label matrix with a column for each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from ..rules import all_positives
from ..storage.compressed import columns_of, flat, one_per_row
from ..storage.saved import Saved

OVERLAP_FILE = "overlap.npz"


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
        Labels that match no cluster: they kept theirs.
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
        np.savez(path, **vars(self))

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


Positives = Callable[[Callable[[], np.ndarray], np.ndarray], np.ndarray | None]


def expand_labels(
    Y: sp.csc_matrix,
    overlap: Overlap,
    M: sp.csr_matrix,
    positives: Positives = all_positives,
    threads: int = 1,
) -> sp.csc_matrix:
    """The label matrix with a column for each copy.

    Parameters
    ----------
    Y : csc_matrix of shape (n_instances, n_labels)
    overlap : Overlap
        Of `n_labels` labels.
    M : csr_matrix of shape (n_instances, n_clusters)
        Clusters that each instance matches.
    positives : callable
        Which positives of its label a copy keeps: of `rules.POSITIVES`.
    threads : int
        Has no effect on the result.

    Returns
    -------
    csc_matrix of shape (n_instances, n_labels + n_pseudo_labels)
    """
    expanded = columns_of(Y, overlap.original, threads)
    indptr, indices, values = flat(expanded)
    n_positives = np.repeat(np.diff(Y.indptr)[overlap.original], np.diff(indptr))
    kept = positives(lambda: _matched(indptr, indices, overlap, M), n_positives)
    if kept is None:
        return expanded
    kept_indptr = np.concatenate([[0], np.cumsum(kept)])[indptr]
    return sp.csc_matrix((values[kept], indices[kept], kept_indptr), shape=expanded.shape)


def _matched(indptr: np.ndarray, indices: np.ndarray, overlap: Overlap, M: sp.csr_matrix) -> np.ndarray:
    """Which positives match the cluster of their copy; what matches none of a label's, matches its first."""
    from ..kernels.matched_positives import matched_positives  # compiled where it is needed

    pseudo = np.bincount(overlap.original[overlap.n_labels :], minlength=overlap.n_labels)
    pseudo_indptr = np.concatenate([[0], np.cumsum(pseudo)]).astype(np.int64)
    return matched_positives(indptr, indices, *flat(M)[:2], overlap.clusters, overlap.original, pseudo_indptr)
