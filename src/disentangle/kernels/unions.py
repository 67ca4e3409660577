"""The instances of clusters: those that have one of a cluster's labels."""

from __future__ import annotations

import numpy as np
from numba import int64, njit, types, void

from . import INDICES, POINTERS, in_blocks, kernel

# Index pointers and indices of a matrix by columns.
Lists = tuple[np.ndarray, np.ndarray]
_LISTS = types.Tuple((POINTERS, INDICES))
# Of so many instances a cluster has one: to look at all of them then takes no longer than to sort its own.
_SPARSE = 16


@njit
def _add(instances, of, column, is_there, n, found):
    """Add those of a column that are not there yet to the `n` that are, from `found` on; how many are now."""
    indptr, indices = instances
    for p in range(indptr[column], indptr[column + 1]):
        if not is_there[indices[p]]:
            is_there[indices[p]] = True
            of[found + n] = indices[p]
            n += 1
    return n


@kernel(void(int64, int64, _LISTS, _LISTS, _LISTS, int64, POINTERS, INDICES, POINTERS))
def _unite(first, end, labels, of_labels, further, n_instances, starts, found, sizes):
    """`unions` for the clusters from `first` to before `end`."""
    is_there = np.zeros(n_instances, np.bool_)
    for cluster in range(first, end):
        start, n = starts[cluster], 0
        for p in range(labels[0][cluster], labels[0][cluster + 1]):
            n = _add(of_labels, found, labels[1][p], is_there, n, start)
        n = _add(further, found, cluster, is_there, n, start)
        sizes[cluster] = n
        if n < n_instances // _SPARSE:
            found[start : start + n].sort()
            for p in range(start, start + n):
                is_there[found[p]] = False
            continue
        for instance in range(n_instances):
            if is_there[instance]:
                found[start], is_there[instance] = instance, False
                start += 1


def unions(
    labels: Lists, of_labels: Lists, further: Lists, n_instances: int, threads: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The instances of each cluster, ascending.

    Parameters
    ----------
    labels : int64 and int32 arrays
        Of each cluster: index pointers and indices, as all that follow.
    of_labels : int64 and int32 arrays
        The instances of each label.
    further : int64 and int32 arrays
        Instances that a cluster has besides.
    n_instances : int
    threads : int
        Has no effect on the result.

    Returns
    -------
    starts, sizes : int64 arrays of shape (n_clusters,)
        Where those of each cluster begin, with room before the next one's, and how many they are.
    instances : int32 array
    """
    most = np.diff(of_labels[0])[labels[1]]
    starts = np.concatenate([[0], most.cumsum()])[labels[0]] + further[0]
    found, sizes = np.empty(starts[-1], np.int32), np.empty(len(starts) - 1, np.int64)
    given = labels, of_labels, further, n_instances, starts, found, sizes
    in_blocks(len(sizes), threads, _unite, *given)
    return starts[:-1], sizes, found
