"""Labels of one cluster that the same instances have, which have the same SVM."""

from __future__ import annotations

import numpy as np
from numba import int64, njit, uint64, void

from . import INDICES, POINTERS, kernel, share

_NUMBERS = uint64[::1]
# The step of FNV-1a, 64 bits (Fowler, Noll, Vo), here for whole instances instead of bytes.
_PRIME = 0x100000001B3


@njit
def _next(number, value):
    number = (number ^ np.uint64(value)) * np.uint64(_PRIME)
    # Without that, high bits would never move lower ones.
    return number ^ (number >> np.uint64(29))


@njit
def _of(label, indptr, instances):
    return instances[indptr[label] : indptr[label + 1]]


@kernel(void(int64, int64, POINTERS, INDICES, INDICES, _NUMBERS))
def _number(first, end, indptr, instances, clusters, numbers):
    """Of each label a number, the same for twins and hardly ever for others."""
    for label in range(first, end):
        number = _next(np.uint64(_PRIME), clusters[label])
        for instance in _of(label, indptr, instances):
            number = _next(number, instance)
        numbers[label] = number


@njit
def _are_twins(one, other, indptr, instances, clusters):
    of_one, of_other = _of(one, indptr, instances), _of(other, indptr, instances)
    is_alike = clusters[one] == clusters[other] and len(of_one) == len(of_other)
    return is_alike and (of_one == of_other).all()


@kernel(void(POINTERS, _NUMBERS, POINTERS, INDICES, INDICES, POINTERS))
def _find(order, numbers, indptr, instances, clusters, twins):
    """`twins`, given the labels in the order of their numbers, of equal ones the lower label first."""
    first = 0
    for label in order:
        if numbers[label] != numbers[first]:
            first = label
        is_twin = label == first or _are_twins(first, label, indptr, instances, clusters)
        twins[label] = first if is_twin else label


def first_twins(indptr: np.ndarray, instances: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """The first of each label's twins, which may be itself.

    Two labels of other instances whose numbers are equal, of 2^64, may hide a third one's twin: it is said
    to have none then.

    Parameters
    ----------
    indptr : int64 array of shape (n_labels + 1,)
    instances : int32 array
        Those of each label, in one order.
    clusters : int32 array of shape (n_labels,)

    Returns
    -------
    int64 array of shape (n_labels,)
    """
    numbers, twins = np.empty(len(clusters), np.uint64), np.empty(len(clusters), np.int64)
    share(len(clusters), lambda first, end: _number(first, end, indptr, instances, clusters, numbers))
    _find(np.argsort(numbers, kind="stable"), numbers, indptr, instances, clusters, twins)
    return twins
