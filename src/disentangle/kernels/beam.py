"""Beam search: of each level the best nodes, and below them those of the next one.

To the last bit what PECOS predicts, but that of nodes of equal scores the one of lower number is first. A
node's terms are added up in float32 in the order of their features, the bias last; the rule between levels
is computed in float64; the product with the parent's score in float32.

A model is kept parent by parent: of each feature that has weights below it, those of its children. For few
instances these are looked up. For many, those of one parent are laid out in a table, with a row for each
feature, and all instances that have come to the parent add up rows of sixteen children.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import float64, int64, njit, types, uint32, void
from numba.core import cgutils
from numba.extending import intrinsic

from ..runtime.memory import UNLIMITED, Budget
from ..runtime.threads import in_threads
from ..storage.matrices import Flat
from . import INDICES, POINTERS, SCORES, kernel, share

_Found = tuple[np.ndarray, np.ndarray]
# Children side by side.
_LANES = 16
# Each block makes tables of its own.
_BLOCKS_PER_THREAD = 4
# Features side by side of which some may be below a parent.
_BLOCK = 64
# What an entry of a table takes, in lookups of a feature; there are few instances where tables take longer.
_ENTRIES_PER_LOOKUP = 8
_ROW, _INT32, _INT64 = ir.VectorType(ir.FloatType(), _LANES), ir.IntType(32), ir.IntType(64)
_UNKNOWN = ir.Constant(_ROW, ir.Undefined)
_FIRST = ir.Constant(ir.VectorType(_INT32, _LANES), [0] * _LANES)


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
    width : int
        Most children of a parent, rounded up to full rows of a table.
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
    width: int
    largest: int

    def n_nodes(self, level: int) -> int:
        """Nodes of a level, counted from the root, which is -1."""
        return int(np.diff(self.children[self.levels])[level]) if level >= 0 else 1

    def most(self, n: int) -> int:
        """At most `n` nodes, and no more than any level has."""
        return min(n, self.largest)


_CSR = types.Tuple((POINTERS, INDICES, SCORES))
_ARRAYS = POINTERS, float64[::1], *(POINTERS, INDICES) * 2, POINTERS, uint32[::1], INDICES, SCORES
_MODEL = types.NamedTuple((*_ARRAYS, int64, int64, int64), Model)


@kernel(void(int64, int64, POINTERS, INDICES, _CSR, int64, POINTERS))
def _count(first, end, children, nodes, W, n_rows, sizes):
    """How many features the parents from `first` to before `end` have below them."""
    seen = np.full(n_rows, -1, np.int32)
    for parent in range(first, end):
        for child in nodes[children[parent] : children[parent + 1]]:
            for p in range(W[0][child], W[0][child + 1]):
                if seen[W[1][p]] != parent:
                    seen[W[1][p]] = parent
                    sizes[parent] += 1


@kernel(void(int64, int64, int64, _CSR, _MODEL))
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


def _in_blocks(n: int, threads: int, call: Callable[..., object], *given: object) -> None:
    """Call with the bounds of each block of so many things, and what is given."""
    bounds = np.unique(np.linspace(0, n, _BLOCKS_PER_THREAD * threads + 1).astype(int)).tolist()
    for _ in in_threads(lambda block: call(*block, *given), pairwise(bounds), threads):
        pass


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
    starts = _ends([len(C[0]) - 1 for C, *_ in levels])
    n_rows, n_entries = np.zeros(starts[-1], np.int64), np.empty(starts[-1], np.int64)
    for (C, W, _), own in zip(levels, map(slice, starts, starts[1:]), strict=False):
        _in_blocks(len(C[0]) - 1, threads, _count, *C[:2], W, n_features + 1, n_rows[own])
        n_entries[own] = np.diff(_ends(np.diff(W[0])[C[1]])[C[0]])
    rows, firsts = _ends(n_rows), _ends(n_entries)
    n_children = np.concatenate([np.diff(C[0]) for C, *_ in levels])
    model = Model(
        starts,
        np.array([hinge for *_, hinge in levels], np.float64),
        _ends(n_children),
        np.concatenate([C[1] for C, *_ in levels]),
        rows,
        budget.empty(rows[-1], np.int32),
        firsts,
        budget.empty(rows[-1] + len(n_rows), np.uint32),
        budget.empty(firsts[-1], np.int32),
        budget.empty(firsts[-1], np.float32),
        n_features,
        width=_LANES * -(-int(n_children.max()) // _LANES),
        largest=max(len(C[1]) for C, *_ in levels),
    )
    for (_, W, _), first, end in zip(levels, starts, starts[1:], strict=False):
        _in_blocks(int(end - first), threads, _fill, int(first), W, model)
    return model


# As a loop over sixteen numbers it would be unrolled to sixteen sums, each of them several times as slow.
@intrinsic
def _add_rows(
    typingctx: Any, to: Any, at: Any, ids: Any, values: Any, first: Any, end: Any, place: Any, table: Any,
    width: Any, lane: Any,
) -> Any:  # fmt: skip
    """`to[at + j]` = the sum of `values[p] * table[width * place[ids[p]] + lane + j]`, unchecked.

    For each of the lanes j, and p from `first` to before `end`, in this order.
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        def data(i: int) -> ir.Value:
            return context.make_array(signature.args[i])(context, builder, args[i]).data

        def row(array: ir.Value, start: ir.Value) -> ir.Value:
            return builder.bitcast(builder.gep(array, [start]), _ROW.as_pointer())

        def number(array: ir.Value, at: ir.Value) -> ir.Value:
            return builder.sext(builder.load(builder.gep(array, [at])), _INT64)

        total = cgutils.alloca_once(builder, _ROW)
        builder.store(ir.Constant(_ROW, None), total)
        with cgutils.for_range_slice(builder, args[4], args[5], ir.Constant(_INT64, 1), _INT64) as (p, _):
            start = builder.mul(number(data(6), number(data(2), p)), args[8])
            weights = builder.load(row(data(7), builder.add(start, args[9])), align=4)
            value = builder.load(builder.gep(data(3), [p]))
            values = builder.insert_element(_UNKNOWN, value, ir.Constant(_INT32, 0))
            product = builder.fmul(builder.shuffle_vector(values, _UNKNOWN, _FIRST), weights)
            builder.store(builder.fadd(builder.load(total), product), total)
        builder.store(builder.load(total), row(data(0), args[1]), align=4)
        return context.get_dummy_value()

    n = types.int64
    return types.void(to, n, ids, values, n, n, place, table, n, n), generate


@njit
def _weights(model, parent, row):
    """The places of those of a feature below a parent."""
    first, entries = model.firsts[parent], model.entries[row + parent : row + parent + 2]
    return range(first + entries[0], first + entries[1])


@njit
def _first_from(features, start, stop, feature):
    """Where in the ascending features between two places is the first that is not below one, or `stop`."""
    n = stop - start
    while n > 0:
        half = n >> 1
        # Both are chosen without a branch, which a processor would guess wrong half of the time.
        is_below = features[start + half] < feature
        start = start + half + 1 if is_below else start
        n = n - half - 1 if is_below else half
    return start


@njit
def _select(parents, above, first, n, scores, model, level, top_k, nodes, best, at):
    """The best children of an instance's parents, best first, equal ones by number; how many there are.

    Its `n` parents, and their scores, lie from `first` on, as the children's do in `scores`, a parent's
    `width` after another's; what is found goes to `nodes` and `best` from `at` on.
    """
    found = 0
    for i in range(first, first + n):
        # A score is at most the parent's, and parents are in order.
        if parents[i] < 0 or (found == top_k and above[i] < best[at + found - 1]):
            break
        parent, too_low = model.levels[level] + parents[i], np.float32(-np.inf)
        start = model.children[parent]
        for j in range(model.children[parent + 1] - start):
            z, node = scores[model.width * i + j], model.nodes[start + j]
            if z <= too_low:
                continue
            loss = max(np.float32(1) - z, np.float32(0))
            score = above[i] * np.float32(math.exp(-math.pow(loss, model.hinges[level])))
            if found == top_k:
                worst = best[at + found - 1]
                if score < worst:
                    too_low = z
                if score < worst or (score == worst and node > nodes[at + found - 1]):
                    continue
                found -= 1
            q = at + found
            while q > at and (score > best[q - 1] or (score == best[q - 1] and node < nodes[q - 1])):
                nodes[q], best[q] = nodes[q - 1], best[q - 1]
                q -= 1
            nodes[q], best[q] = node, score
            found += 1
    return found


@kernel(void(int64, int64, _CSR, int64, _MODEL, int64, int64, int64, INDICES, SCORES))
def _look_up(first, end, X, first_row, model, n_levels, beam_size, top_k, nodes, best):
    """`search` of the rows from `first` to before `end`, instance by instance."""
    most = max(beam_size, top_k)
    parents, above = np.empty(most, np.int32), np.empty(most, np.float32)
    found, their_scores = np.empty(most, np.int32), np.empty(most, np.float32)
    scores = np.empty(beam_size * model.width, np.float32)
    hits, values = np.empty(0, np.int64), np.empty(0, np.float32)
    for row in range(first, end):
        start, stop = X[0][first_row + row], X[0][first_row + row + 1]
        if len(hits) < stop - start:
            hits, values = np.empty(stop - start, np.int64), np.empty(stop - start, np.float32)
        parents[0], above[0], n = 0, 1, 1
        for level in range(n_levels):
            for i in range(n):
                parent, at = model.levels[level] + parents[i], model.width * i
                for j in range(model.children[parent + 1] - model.children[parent]):
                    scores[at + j] = 0
                r, last, n_hits = model.rows[parent], model.rows[parent + 1], 0
                for p in range(start, stop):
                    r = _first_from(model.features, r, last, X[1][p])
                    if r == last:
                        break
                    hits[n_hits], values[n_hits] = r, X[2][p]
                    n_hits += model.features[r] == X[1][p]
                for h in range(n_hits):
                    for e in _weights(model, parent, hits[h]):
                        scores[at + model.places[e]] += values[h] * model.weights[e]
                if last > model.rows[parent] and model.features[last - 1] == model.n_features:
                    for e in _weights(model, parent, last - 1):
                        scores[at + model.places[e]] += model.weights[e]
            k = beam_size if level < n_levels - 1 else top_k
            n = _select(parents, above, 0, n, scores, model, level, k, found, their_scores, 0)
            for i in range(n):
                parents[i], above[i] = found[i], their_scores[i]
        for i in range(n):
            nodes[row * top_k + i], best[row * top_k + i] = parents[i], above[i]


@kernel(void(INDICES, POINTERS, POINTERS))
def _group(parents, starts, order):
    """The places in `parents` of each one, and where those begin; `starts` is of zeros, with two more."""
    for k in parents:
        if k >= 0:
            starts[k + 2] += 1
    for k in range(2, len(starts)):
        starts[k] += starts[k - 1]
    for i in range(len(parents)):
        if parents[i] >= 0:
            order[starts[parents[i] + 1]] = i
            starts[parents[i] + 1] += 1


@kernel(void(int64, int64, _CSR, int64, int64, _MODEL, int64, POINTERS, POINTERS, SCORES))
def _score(first, end, X, first_row, n_slots, model, level, starts, order, scores):
    """Sums of the children of the parents that are at the places from `first` to before `end` in `order`."""
    place, table = np.zeros(model.n_features + 1, np.int32), np.empty(0, np.float32)
    k = np.searchsorted(starts, first, side="right") - 1
    while first < end:
        parent, last = model.levels[level] + k, min(starts[k + 1], end)
        k += 1
        if last == first:
            continue
        n_children = model.children[parent + 1] - model.children[parent]
        width = _LANES * -(-n_children // _LANES)
        start, stop = model.rows[parent], model.rows[parent + 1]
        if len(table) < width * (stop - start + 1):
            table = np.empty(2 * width * (stop - start + 1), np.float32)
        # The first row is for features without weights: it adds zeros.
        table[: width * (stop - start + 1)] = 0
        for r in range(start, stop):
            place[model.features[r]] = r - start + 1
            for e in _weights(model, parent, r):
                table[width * (r - start + 1) + model.places[e]] = model.weights[e]
        for i in order[first:last]:
            row = first_row + i // n_slots
            p, q = X[0][row], X[0][row + 1]
            for lane in range(0, width, _LANES):
                _add_rows(scores, model.width * i + lane, X[1], X[2], p, q, place, table, width, lane)
            for j in range(n_children):
                scores[model.width * i + j] += table[width * place[model.n_features] + j]
        for r in range(start, stop):
            place[model.features[r]] = 0
        first = last


@kernel(void(int64, int64, INDICES, SCORES, int64, SCORES, _MODEL, int64, int64, INDICES, SCORES))
def _select_rows(first, end, parents, above, n_slots, scores, model, level, top_k, nodes, best):
    """`_select` for the rows from `first` to before `end`."""
    for row in range(first, end):
        start, at = row * n_slots, row * top_k
        _select(parents, above, start, n_slots, scores, model, level, top_k, nodes, best, at)


def search(
    model: Model, n_levels: int, X: Flat, rows: slice, beam_size: int, top_k: int, threads: int
) -> _Found:
    """The best nodes of a level for some instances.

    Parameters
    ----------
    model : Model
    n_levels : int
        How many of its levels are searched, from the root.
    X : int64, int32 and float32 arrays
        Index pointers, indices and values of the instances' features, a CSR matrix, indices sorted.
    rows : slice
        Which of them.
    beam_size, top_k : int
        Nodes kept of each level, and of the last one; no more than the largest level has.
    threads : int
        Has no effect on the result.

    Returns
    -------
    nodes, scores : int32 and float32 arrays of shape (n_rows, at most top_k)
        Best first, equal scores by number; -1 and 0 where an instance has fewer.
    """
    n_rows, beam_size, top_k = rows.stop - rows.start, model.most(beam_size), model.most(top_k)
    lookups = beam_size * n_levels * int(X[0][rows.stop] - X[0][rows.start])
    if _ENTRIES_PER_LOOKUP * lookups < len(model.weights):
        found = np.full(n_rows * top_k, -1, np.int32), np.zeros(n_rows * top_k, np.float32)
        given = X, rows.start, model, n_levels, beam_size, top_k, *found
        share(n_rows, lambda first, end: _look_up(first, end, *given), threads)
    else:
        found = np.zeros(n_rows, np.int32), np.ones(n_rows, np.float32)
        for level in range(n_levels):
            k = beam_size if level < n_levels - 1 else top_k
            found = _next(model, level, X, rows, found, k, threads)
    nodes, best = (of.reshape(-1, top_k) for of in found)
    return nodes, best


def _next(model: Model, level: int, X: Flat, rows: slice, found: _Found, top_k: int, threads: int) -> _Found:
    """The best nodes of a level, by tables."""
    parents, above = found
    n_rows, first_row = rows.stop - rows.start, rows.start
    n_slots = len(parents) // max(n_rows, 1)
    n_parents = model.levels[level + 1] - model.levels[level]
    starts, order = np.zeros(n_parents + 2, np.int64), np.empty(len(parents), np.int64)
    _group(parents, starts, order)
    scores = np.empty(len(parents) * model.width, np.float32)
    of_parents = X, first_row, n_slots, model, level, starts[:-1], order, scores
    _in_blocks(int(starts[-2]), threads, _score, *of_parents)
    best = np.full(n_rows * top_k, -1, np.int32), np.zeros(n_rows * top_k, np.float32)
    _in_blocks(n_rows, threads, _select_rows, parents, above, n_slots, scores, model, level, top_k, *best)
    return best


def _ends(sizes: Any) -> np.ndarray:
    """Where each of some things begins if they lie one behind the other, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
