"""Which positives of its label a copy keeps."""

from __future__ import annotations

import numpy as np
from numba import boolean, int64, void

from . import INDICES, POINTERS, kernel, share


@kernel(void(int64, int64, POINTERS, INDICES, POINTERS, INDICES, INDICES, INDICES, POINTERS, boolean[::1]))
def _keep(first, end, e_indptr, e_indices, m_indptr, m_indices, clusters, original, pseudo_indptr, kept):
    """`matched_positives` of the columns from `first` to before `end`."""
    n_labels = len(pseudo_indptr) - 1
    for column in range(first, end):
        label = original[column]
        for p in range(e_indptr[column], e_indptr[column + 1]):
            instance = e_indices[p]
            is_matched_elsewhere = False
            for q in range(m_indptr[instance], m_indptr[instance + 1]):
                k = m_indices[q]
                if k == clusters[column]:
                    kept[p] = True
                elif column < n_labels:
                    for other in range(pseudo_indptr[label], pseudo_indptr[label + 1]):
                        if k == clusters[n_labels + other]:
                            is_matched_elsewhere = True
            if column < n_labels and not is_matched_elsewhere:
                kept[p] = True


def matched_positives(
    e_indptr: np.ndarray,
    e_indices: np.ndarray,
    m_indptr: np.ndarray,
    m_indices: np.ndarray,
    clusters: np.ndarray,
    original: np.ndarray,
    pseudo_indptr: np.ndarray,
) -> np.ndarray:
    """Which positives a copy keeps: the instances that match its cluster; what none matches, the first copy.

    Parameters
    ----------
    e_indptr, e_indices : int64 and int32 arrays
        Expanded label matrix by columns.
    m_indptr, m_indices : int64 and int32 arrays
        Matching matrix by rows.
    clusters, original : int32 arrays of shape (n_columns,)
        Of each copy; the first `n_labels` are first copies.
    pseudo_indptr : int64 array of shape (n_labels + 1,)
        Label l's further copies are columns `n_labels + pseudo_indptr[l : l + 2]`.

    Returns
    -------
    bool array as long as `e_indices`
    """
    kept = np.zeros(len(e_indices), np.bool_)
    of_copies = e_indptr, e_indices, m_indptr, m_indices, clusters, original, pseudo_indptr
    share(len(original), lambda first, end: _keep(first, end, *of_copies, kept))
    return kept
