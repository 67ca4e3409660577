"""Duplicates and back: labels expanded to their copies, scores of copies merged to labels."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from ._kernels import MAX, MEAN, NOISY_OR, matched_positives, merge_rows
from .matrices import flat
from .overlap import Overlap

# A few blocks per core even out labels and rows.
_BLOCKS = 64
# Each block of rows holds a score per label, which fewer rows would not be worth.
_LEAST_ROWS = 128


def expand_labels(
    Y: sp.csc_matrix, overlap: Overlap, M: sp.csr_matrix | None = None, min_positives: int = 0
) -> sp.csc_matrix:
    """The label matrix with a column for each copy.

    Parameters
    ----------
    Y : csc_matrix of shape (n_instances, n_labels)
    overlap : Overlap
        Of `n_labels` labels.
    M : csr_matrix of shape (n_instances, n_clusters), optional
        If it is given, a copy keeps only those positives of its label that match its cluster, and the first
        copy also those that match none of the label's. Without it each copy repeats all of them.
    min_positives : int
        Copies of labels that have fewer repeat all of them in any case.

    Returns
    -------
    csc_matrix of shape (n_instances, n_labels + n_pseudo_labels)
    """
    expanded = Y[:, overlap.original]
    if M is None:
        return expanded
    pseudo = np.bincount(overlap.original[overlap.n_labels :], minlength=overlap.n_labels)
    pseudo_indptr = np.concatenate([[0], np.cumsum(pseudo)]).astype(np.int64)
    indptr, indices, values = flat(expanded)
    kept = matched_positives(
        indptr, indices, *flat(M)[:2], overlap.clusters, overlap.original, pseudo_indptr, _BLOCKS
    )
    is_rare = np.diff(Y.indptr)[overlap.original] < min_positives
    kept |= np.repeat(is_rare, np.diff(indptr))
    kept_indptr = np.concatenate([[0], np.cumsum(kept)])[indptr]
    return sp.csc_matrix((values[kept], indices[kept], kept_indptr), shape=expanded.shape)


_RULES = {"mean": MEAN, "max": MAX, "noisy-or": NOISY_OR}


def merge_scores(
    Y_pred: sp.csr_matrix, original: np.ndarray, n_labels: int, rule: str = "mean"
) -> sp.csr_matrix:
    """Scores of labels from the scores of those of their copies that were retrieved.

    Parameters
    ----------
    Y_pred : csr_matrix of shape (n_instances, n_labels + n_pseudo_labels), float32
    original : ndarray of shape (n_labels + n_pseudo_labels,), int
        Original label of each column, below `n_labels`.
    n_labels : int
    rule : {"mean", "max", "noisy-or"}
        "noisy-or" is 1 - prod(1 - score): the label is wrong only if all its copies are. It needs scores
        in 0..1.

    Returns
    -------
    csr_matrix of shape (n_instances, n_labels), float32
        Of each instance in the order in which labels first occur.

    Raises
    ------
    ValueError
        If `original` does not have one entry per column.
    """
    if original.shape != (Y_pred.shape[1],):
        raise ValueError(f"original must have one entry per column {Y_pred.shape}, got {original.shape}")
    original = np.ascontiguousarray(original, dtype=np.int32)
    n_blocks = max(1, min(_BLOCKS, Y_pred.shape[0] // _LEAST_ROWS))
    sizes, labels, scores = merge_rows(*flat(Y_pred), original, n_labels, _RULES[rule], n_blocks)
    indptr = np.concatenate([[0], np.cumsum(sizes)])
    # Rows shrank in place: close the gaps that they left.
    within = np.arange(indptr[-1]) - np.repeat(indptr[:-1], sizes)
    kept = np.repeat(Y_pred.indptr[:-1], sizes) + within
    return sp.csr_matrix((scores[kept], labels[kept], indptr), shape=(Y_pred.shape[0], n_labels))
