"""Copies back to labels: scores of a label's copies merged, then those of several models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..kernels.merge_and_rank import best_rows
from ..rules import MERGES
from ..storage.compressed import Flat


def best_labels(
    found: Sequence[Flat],
    originals: Sequence[np.ndarray],
    merge: str,
    roots: int,
    k: int,
    threads: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The `k` best labels by a power mean of models' scores, each from those of the copies it retrieved.

    A model that did not retrieve a label counts 0 for it.

    Parameters
    ----------
    found : sequence of tuple of ndarray
        Scores of each model: what `flat` has of a csr_matrix of shape (n_instances, n_labels +
        n_pseudo_labels).
    originals : sequence of ndarray of shape (n_labels + n_pseudo_labels,), int32
        Original label of each column.
    merge : str
        How scores of one label's copies become one, model by model: a key of `rules.MERGES`.
    roots : int
        The mean's exponent is 2 ** -roots: of 0 it is the ordinary one.
    k : int
    threads : int, optional
        As many as there may be by default.

    Returns
    -------
    labels : ndarray of shape (n_instances, k), int32
        Best first, equal scores by ascending label id, -1 where fewer were retrieved.
    scores : ndarray of shape (n_instances, k), float32
        Theirs, 0 where there is none.
    """
    starts, before = [], 0
    for indptr, _, values in found:
        starts.append(indptr + before)
        before += len(values)
    labels = [original[columns] for original, (_, columns, _) in zip(originals, found, strict=True)]
    scores = [values for *_, values in found]
    found_of_all = np.array(starts), np.concatenate(labels), np.concatenate(scores)
    return best_rows(*found_of_all, MERGES[merge], roots, k, threads)
