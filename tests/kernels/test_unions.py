"""The instances of clusters, against sets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from disentangle.kernels import unions
from disentangle.kernels.unions import Lists

# Below 25 a cluster's own are sorted, from there on all instances are looked at.
N_INSTANCES = 400
INSTANCES = st.sets(st.integers(0, N_INSTANCES - 1), max_size=9) | st.just(set(range(0, N_INSTANCES, 7)))
# Of each cluster: its labels' instances, and further ones.
CLUSTERS = st.lists(st.tuples(st.lists(INSTANCES, max_size=4), INSTANCES), min_size=1, max_size=9)


def lists(sets: list[set[int]]) -> Lists:
    indptr = np.cumsum([0, *map(len, sets)])
    return indptr, np.array([i for one in sets for i in sorted(one)], np.int32)


@pytest.mark.parametrize("threads", [1, 3])
@given(clusters=CLUSTERS)
def test_the_instances_of_each_cluster(clusters: list[tuple[list[set[int]], set[int]]], threads: int):
    of_labels = [instances for labels, _ in clusters for instances in labels]
    ends = np.cumsum([0, *(len(labels) for labels, _ in clusters)])
    # Not in the order of their clusters, and the last one has instances of no cluster.
    names = np.random.default_rng(0).permutation(len(of_labels)).astype(np.int32)
    shuffled: list[set[int]] = [set(range(N_INSTANCES))] * (len(of_labels) + 1)
    for name, instances in zip(names, of_labels, strict=True):
        shuffled[name] = instances
    given_lists = (ends, names), lists(shuffled), lists([more for _, more in clusters])
    starts, sizes, found = unions.unions(*given_lists, N_INSTANCES, threads)
    united = [found[start : start + n].tolist() for start, n in zip(starts, sizes, strict=True)]
    assert united == [sorted(more.union(*labels)) for labels, more in clusters]
