"""Copies back to labels: scores of a label's copies merged, models' scores averaged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from ..kernels.merge_and_rank import best_rows
from ..rules import MERGES
from ..storage.matrices import flat


def best_labels(
    found: Sequence[sp.csr_matrix],
    originals: Sequence[np.ndarray],
    merge: str,
    k: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The `k` best labels by the mean of models' scores, each from those of the copies it retrieved.

    A model that did not retrieve a label counts 0 for it.

    Parameters
    ----------
    found : sequence of csr_matrix of shape (n_instances, n_labels + n_pseudo_labels), float32
        Scores of each model.
    originals : sequence of ndarray of shape (n_labels + n_pseudo_labels,), int32
        Original label of each column.
    merge : str
        How scores of one label's copies become one, model by model: a key of `rules.MERGES`.
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
        MERGES[merge],
        k,
    )
