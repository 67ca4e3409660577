"""A model of a tree for `beam.search`, made of weight matrices: kept parent by parent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import float64, int64, types, uint32, void

from ..runtime.memory import UNLIMITED, Budget
from ..storage.compressed import Flat
from . import INDICES, POINTERS, SCORES, in_blocks, kernel

# Children side by side, in a row of a table.
LANES = 16
# Features side by side of which some may be below a parent.
_BLOCK = 64


class Model(NamedTuple):
    """The levels of a tree in flat arrays, one behind the other.

    Attributes
    ----------
    levels : int64 array of shape (n_levels + 1,)
        Where each level's parents begin.
    hinges : float64 array of shape (n_levels,)
        A sum z scores exp(-max(0, 1 - z)^hinge).
    children : int64 array of shape (n_parents + 1,)
        Where those of each parent begin in `nodes`.
    nodes : int32 array
        Their numbers in their own level.
    rows : int64 array of shape (n_parents + 1,)
        Where each parent's features begin in `features`.
    features : int32 array
        Those that have weights below a parent, ascending; the bias is the last.
    firsts : int64 array of shape (n_parents + 1,)
        Where each parent's weights begin in the last two.
    entries : uint32 array
        Counted from there, where the weights of each of a parent's features begin, and where the last end:
        one more for a parent than it has features.
    places : int32 array
        Which child of the parent a weight is of.
    weights : float32 array
    n_features : int
        Without the bias.
    places_of : int64 array
        Scores that the children of 1, 2, ... parents of a level take at most, in full rows of a table.
    largest : int
        Most nodes of a level.
    """

    levels: np.ndarray
    hinges: np.ndarray
    children: np.ndarray
    nodes: np.ndarray
    rows: np.ndarray
    features: np.ndarray
    firsts: np.ndarray
    entries: np.ndarray
    places: np.ndarray
    weights: np.ndarray
    n_features: int
    places_of: np.ndarray
    largest: int

    def n_nodes(self, level: int) -> int:
        """Nodes of a level, counted from the root, which is -1."""
        return int(np.diff(self.children[self.levels])[level]) if level >= 0 else 1

    def most(self, n: int) -> int:
        """At most `n` nodes, and no more than any level has."""
        return min(n, self.largest)


CSR = types.Tuple((POINTERS, INDICES, SCORES))
_ARRAYS = POINTERS, float64[::1], *(POINTERS, INDICES) * 2, POINTERS, uint32[::1], INDICES, SCORES
MODEL = types.NamedTuple((*_ARRAYS, int64, POINTERS, int64), Model)


@kernel(void(int64, int64, POINTERS, INDICES, CSR, int64, POINTERS))
def _count(first, end, children, nodes, W, n_rows, sizes):
    """How many features the parents from `first` to before `end` have below them."""
    seen = np.full(n_rows, -1, np.int32)
    for parent in range(first, end):
        for child in nodes[children[parent] : children[parent + 1]]:
            for p in range(W[0][child], W[0][child + 1]):
                if seen[W[1][p]] != parent:
                    seen[W[1][p]] = parent
                    sizes[parent] += 1


@kernel(void(int64, int64, int64, CSR, MODEL))
def _fill(first, end, first_parent, W, model):
    """The features, and their weights, of a level's parents from `first` to before `end`."""
    place = np.full(model.n_features + 1, -1, np.int32)
    is_used = np.zeros(len(place) // _BLOCK + 1, np.bool_)
    for parent in range(first_parent + first, first_parent + end):
        start, n = model.rows[parent], 0
        nodes = model.nodes[model.children[parent] : model.children[parent + 1]]
        for child in nodes:
            for p in range(W[0][child], W[0][child + 1]):
                place[W[1][p]] = 0
                is_used[W[1][p] // _BLOCK] = True
        # In order: to sort them takes longer than to look at all that may be.
        for block in range(len(is_used)):
            if is_used[block]:
                for feature in range(_BLOCK * block, min(_BLOCK * (block + 1), len(place))):
                    if place[feature] == 0:
                        model.features[start + n], place[feature] = feature, n
                        n += 1
                is_used[block] = False
        ends = np.zeros(n + 1, np.int64)
        for child in nodes:
            for p in range(W[0][child], W[0][child + 1]):
                ends[place[W[1][p]] + 1] += 1
        model.entries[start + parent] = 0
        for i in range(n):
            ends[i + 1] += ends[i]
            model.entries[start + parent + i + 1] = ends[i + 1]
        for j in range(len(nodes)):
            for p in range(W[0][nodes[j]], W[0][nodes[j] + 1]):
                i = place[W[1][p]]
                e = model.firsts[parent] + ends[i]
                model.places[e], model.weights[e] = j, W[2][p]
                ends[i] += 1
        for i in range(n):
            place[model.features[start + i]] = -1


def build(
    levels: Sequence[tuple[Flat, Flat, int]], n_features: int, threads: int, budget: Budget = UNLIMITED
) -> Model:
    """A model for `search`.

    Parameters
    ----------
    levels : sequence of (Flat, Flat, int)
        From the root: the nodes below each parent and each node's weights, CSC matrices' index pointers
        (int64), indices (int32, sorted) and values (float32); and the hinge. Weights are of `n_features` and
        the bias.
    n_features, threads : int
    budget : Budget
        With a limit weights lie in files; no effect on the result, nor have threads.
    """
    starts = ends_of([len(C[0]) - 1 for C, *_ in levels])
    n_rows, n_entries = np.zeros(starts[-1], np.int64), np.empty(starts[-1], np.int64)
    for (C, W, _), own in zip(levels, map(slice, starts, starts[1:]), strict=False):
        in_blocks(len(C[0]) - 1, threads, _count, *C[:2], W, n_features + 1, n_rows[own])
        n_entries[own] = np.diff(ends_of(np.diff(W[0])[C[1]])[C[0]])
    rows, firsts = ends_of(n_rows), ends_of(n_entries)
    n_children = np.concatenate([np.diff(C[0]) for C, *_ in levels])
    model = Model(
        starts,
        np.array([hinge for *_, hinge in levels], np.float64),
        ends_of(n_children),
        np.concatenate([C[1] for C, *_ in levels]),
        rows,
        budget.empty(rows[-1], np.int32),
        firsts,
        budget.empty(rows[-1] + len(n_rows), np.uint32),
        budget.empty(firsts[-1], np.int32),
        budget.empty(firsts[-1], np.float32),
        n_features,
        places_of=_places_of([in_rows(np.diff(C[0])) for C, *_ in levels]),
        largest=max(len(C[1]) for C, *_ in levels),
    )
    for (_, W, _), first, end in zip(levels, starts, starts[1:], strict=False):
        in_blocks(int(end - first), threads, _fill, int(first), W, model)
    return model


def in_rows(n_children: np.ndarray) -> np.ndarray:
    return LANES * -(-n_children // LANES)


def _places_of(levels: list[np.ndarray]) -> np.ndarray:
    most = np.zeros(max(map(len, levels)), np.int64)
    for sizes in levels:
        sums = np.sort(sizes)[::-1].cumsum()
        most = np.maximum(most, np.pad(sums, (0, len(most) - len(sums)), mode="edge"))
    return most


def ends_of(sizes: Any) -> np.ndarray:
    """Where each of some things begins if they lie one behind the other, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
