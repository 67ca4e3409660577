"""Duplicates and back: labels expanded to their copies, scores of copies merged to labels."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from ._kernels import merge_rows_by_mean
from .matrices import flat

# Each block holds a score per label: a few per core even out the rows, more would only cost memory.
_BLOCKS = 64


def expand_labels(Y: sp.csc_matrix, original: np.ndarray) -> sp.csc_matrix:
    """The label matrix with a column for each copy, which repeats all positives of its label.

    Parameters
    ----------
    Y : csc_matrix of shape (n_instances, n_labels)
    original : ndarray of shape (n_labels + n_pseudo_labels,), int
        Original label of each column to make.

    Returns
    -------
    csc_matrix of shape (n_instances, n_labels + n_pseudo_labels)
    """
    return Y[:, original]


def merge_scores(Y_pred: sp.csr_matrix, original: np.ndarray, n_labels: int) -> sp.csr_matrix:
    """Scores of labels from scores of their copies: the mean over the copies that were retrieved.

    Parameters
    ----------
    Y_pred : csr_matrix of shape (n_instances, n_labels + n_pseudo_labels), float32
    original : ndarray of shape (n_labels + n_pseudo_labels,), int
        Original label of each column, below `n_labels`.
    n_labels : int

    Returns
    -------
    csr_matrix of shape (n_instances, n_labels), float32
        Sorted indices.

    Raises
    ------
    ValueError
        If `original` does not have one entry per column.
    """
    if original.shape != (Y_pred.shape[1],):
        raise ValueError(f"original must have one entry per column {Y_pred.shape}, got {original.shape}")
    original = np.ascontiguousarray(original, dtype=np.int32)
    n_blocks = max(1, min(_BLOCKS, Y_pred.shape[0]))
    sizes, labels, scores = merge_rows_by_mean(*flat(Y_pred), original, n_labels, n_blocks)
    indptr = np.concatenate([[0], np.cumsum(sizes)])
    # Rows shrank in place: close the gaps that they left.
    within = np.arange(indptr[-1]) - np.repeat(indptr[:-1], sizes)
    kept = np.repeat(Y_pred.indptr[:-1], sizes) + within
    merged = sp.csr_matrix((scores[kept], labels[kept], indptr), shape=(Y_pred.shape[0], n_labels))
    merged.sort_indices()
    return merged
