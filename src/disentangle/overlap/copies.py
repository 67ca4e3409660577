"""Duplicates and back: labels expanded to their copies, scores of copies merged to labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from ..kernels.ranking import MAX, MEAN, NOISY_OR, best_rows
from ..storage.matrices import flat
from .assign import Overlap


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
    from ..kernels.positives import matched_positives  # compiled where it is needed

    pseudo = np.bincount(overlap.original[overlap.n_labels :], minlength=overlap.n_labels)
    pseudo_indptr = np.concatenate([[0], np.cumsum(pseudo)]).astype(np.int64)
    indptr, indices, values = flat(expanded)
    kept = matched_positives(indptr, indices, *flat(M)[:2], overlap.clusters, overlap.original, pseudo_indptr)
    is_rare = np.diff(Y.indptr)[overlap.original] < min_positives
    kept |= np.repeat(is_rare, np.diff(indptr))
    kept_indptr = np.concatenate([[0], np.cumsum(kept)])[indptr]
    return sp.csc_matrix((values[kept], indices[kept], kept_indptr), shape=expanded.shape)


_RULES = {"mean": MEAN, "max": MAX, "noisy-or": NOISY_OR}


def best_labels(
    found: Sequence[sp.csr_matrix],
    originals: Sequence[np.ndarray],
    rules: Sequence[str],
    weights: Sequence[float],
    k: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The `k` best labels by the weighted sum of models' scores, each from those of the copies it retrieved.

    A model that did not retrieve a label counts 0 for it.

    Parameters
    ----------
    found : sequence of csr_matrix of shape (n_instances, n_labels + n_pseudo_labels), float32
        Scores of each model.
    originals : sequence of ndarray of shape (n_labels + n_pseudo_labels,), int32
        Original label of each column.
    rules : sequence of {"mean", "max", "noisy-or"}
        "noisy-or" is 1 - prod(1 - score): the label is wrong only if all its copies are. It needs scores
        in 0..1.
    weights : sequence of float
    k : int

    Returns
    -------
    labels : ndarray of shape (n_instances, k), int32
        Best first, equal scores by ascending label id, -1 where fewer were retrieved.
    scores : ndarray of shape (n_instances, k), float32
        Theirs, 0 where there is none.

    Raises
    ------
    ValueError
        If an array of originals does not have one entry per column.
    """
    for scores, original in zip(found, originals, strict=True):
        if original.shape != (scores.shape[1],):
            raise ValueError(f"original must have one entry per column {scores.shape}, got {original.shape}")
    indptr, indices, values = zip(*map(flat, found), strict=True)
    before = np.cumsum([0, *map(len, values[:-1])])
    labels = [original[columns] for original, columns in zip(originals, indices, strict=True)]
    return best_rows(
        np.array(indptr) + before[:, None],
        np.concatenate(labels),
        np.concatenate(values),
        np.array([_RULES[rule] for rule in rules], np.int32),
        np.array(weights, np.float32),
        k,
    )
