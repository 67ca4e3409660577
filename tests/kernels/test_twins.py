"""The labels that have the same SVM are found, and no others, whatever numbers are made of them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from disentangle.kernels import twins
from disentangle.kernels.twins import first_twins

Labels = list[tuple[int, tuple[int, ...]]]
# Few clusters and few instances, so that there are twins.
LABELS = st.lists(
    st.tuples(st.integers(0, 2), st.sets(st.integers(0, 3)).map(tuple)), min_size=1, max_size=40
)


def arrays(labels: Labels) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    indptr = np.cumsum([0, *(len(instances) for _, instances in labels)])
    instances = np.array([i for _, of in labels for i in sorted(of)], np.int32)
    return indptr, instances, np.array([cluster for cluster, _ in labels], np.int32)


@given(LABELS)
def test_the_first_twin_of_each_label(labels: Labels):
    same = [(cluster, sorted(instances)) for cluster, instances in labels]
    assert first_twins(*arrays(labels)).tolist() == [same.index(one) for one in same]


@given(LABELS)
def test_labels_whose_numbers_are_equal_by_chance_are_compared(labels: Labels):
    found = np.empty(len(labels), np.int64)
    numbers = np.zeros(len(labels), np.uint64)
    twins._find(np.arange(len(labels)), numbers, *arrays(labels), found)
    first = (labels[0][0], sorted(labels[0][1]))
    is_first_s = [(cluster, sorted(instances)) == first for cluster, instances in labels]
    assert found.tolist() == [0 if is_twin else i for i, is_twin in enumerate(is_first_s)]


def test_numbers_of_short_lists_differ():
    """Which they need not for the result, but for its cost: twins that are missed are trained twice."""
    n = 300
    indptr = np.arange(n + 1) * 2
    pairs = np.stack([np.arange(n), np.arange(n) + 1], axis=1).astype(np.int32).reshape(-1)
    numbers = np.empty(n, np.uint64)
    twins._number(0, n, indptr, pairs, np.zeros(n, np.int32), numbers)
    assert len(np.unique(numbers)) == n
