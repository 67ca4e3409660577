"""Beam search: of each level the best nodes, and below them those of the next one.

To the last bit what PECOS predicts, but that of nodes of equal scores the one of lower number is first. A
node's terms are added up in float32 in the order of their features, the bias last; the rule between levels
is computed in float64; the product with the parent's score in float32.

A model is kept parent by parent: of each feature that has weights below it, those of its children. For few
instances these are looked up. For many, those of one parent are laid out in a table, with a row for each
feature, and all instances that have come to the parent add up rows of sixteen children: parent by parent, so
that a level's weights are read once, in their order, however little room there is for scores.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import boolean, int64, njit, types, void
from numba.core import cgutils
from numba.extending import intrinsic

from ..storage.compressed import Flat
from . import INDICES, POINTERS, SCORES, in_blocks, kernel, share
from .beam_model import CSR, LANES, MODEL, Model, ends_of, in_rows

_Found = tuple[np.ndarray, np.ndarray]
# What an entry of a table takes, in lookups of a feature; there are few instances where tables take longer.
_ENTRIES_PER_LOOKUP = 8
_ROW, _INT32, _INT64 = ir.VectorType(ir.FloatType(), LANES), ir.IntType(32), ir.IntType(64)
_UNKNOWN = ir.Constant(_ROW, ir.Undefined)
_FIRST = ir.Constant(ir.VectorType(_INT32, LANES), [0] * LANES)


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
def _is_worse(nodes, best, i, j):
    return best[i] < best[j] or (best[i] == best[j] and nodes[i] > nodes[j])


@njit
def _swap(nodes, best, i, j):
    nodes[i], nodes[j] = nodes[j], nodes[i]
    best[i], best[j] = best[j], best[i]


@njit
def _sink(nodes, best, at, i, n):
    """Let the i-th of `n` nodes, which lie from `at` on, sink in a heap that has the worst at its top."""
    while 2 * i + 1 < n:
        j = 2 * i + 1
        if j + 1 < n and _is_worse(nodes, best, at + j + 1, at + j):
            j += 1
        if _is_worse(nodes, best, at + i, at + j):
            break
        _swap(nodes, best, at + i, at + j)
        i = j


@njit
def _heap(nodes, best, at, n):
    for i in range(n // 2 - 1, -1, -1):
        _sink(nodes, best, at, i, n)


@njit
def _select(parents, above, slots, first, n, scores, model, level, top_k, nodes, best, at, found):
    """The best children of an instance's parents; how many there are, in a heap once they are `top_k`.

    Its `n` parents lie from `first` on, as do their scores and where their children's begin in `scores`, -1
    for those that are not there; what is found goes to `nodes` and `best` from `at` on, where `found` are.
    """
    for i in range(first, first + n):
        # A score is at most the parent's, and parents are in order.
        if parents[i] < 0 or (found == top_k and above[i] < best[at]):
            break
        if slots[i] < 0:
            continue
        parent, too_low = model.levels[level] + parents[i], np.float32(-np.inf)
        start = model.children[parent]
        for j in range(model.children[parent + 1] - start):
            z, node = scores[slots[i] + j], model.nodes[start + j]
            if z <= too_low:
                continue
            loss = max(np.float32(1) - z, np.float32(0))
            score = above[i] * np.float32(math.exp(-math.pow(loss, model.hinges[level])))
            if found < top_k:
                nodes[at + found], best[at + found] = node, score
                found += 1
                if found == top_k:
                    _heap(nodes, best, at, top_k)
            elif score < best[at]:
                too_low = z
            elif score > best[at] or node < nodes[at]:
                nodes[at], best[at] = node, score
                _sink(nodes, best, at, 0, top_k)
    return found


@njit
def _sort(nodes, best, at, n, top_k):
    """What `_select` has found, best first, equal ones by number."""
    if n < top_k:
        _heap(nodes, best, at, n)
    for last in range(at + n - 1, at, -1):
        _swap(nodes, best, at, last)
        _sink(nodes, best, at, 0, last - at)


@kernel(void(int64, int64, CSR, int64, MODEL, int64, int64, int64, INDICES, SCORES))
def _look_up(first, end, X, first_row, model, n_levels, beam_size, top_k, nodes, best):
    """`search` of the rows from `first` to before `end`, instance by instance."""
    most = max(beam_size, top_k)
    parents, above = np.empty(most, np.int32), np.empty(most, np.float32)
    found, their_scores = np.empty(most, np.int32), np.empty(most, np.float32)
    scores, slots = (
        np.empty(model.places_of[min(beam_size, len(model.places_of)) - 1], np.float32),
        np.zeros(most, np.int64),
    )
    hits, values = np.empty(0, np.int64), np.empty(0, np.float32)
    for row in range(first, end):
        start, stop = X[0][first_row + row], X[0][first_row + row + 1]
        if len(hits) < stop - start:
            hits, values = np.empty(stop - start, np.int64), np.empty(stop - start, np.float32)
        parents[0], above[0], n = 0, 1, 1
        for level in range(n_levels):
            for i in range(n):
                parent, at = model.levels[level] + parents[i], slots[i]
                n_children = model.children[parent + 1] - model.children[parent]
                scores[at : at + n_children] = 0
                if i + 1 < n:
                    slots[i + 1] = at + n_children
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
            n = _select(parents, above, slots, 0, n, scores, model, level, k, found, their_scores, 0, 0)
            _sort(found, their_scores, 0, n, k)
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


# Of each parent: where its places in `order` begin, how many scores those before have, how many each has.
_GROUPS = types.Tuple((POINTERS, POINTERS, POINTERS))
_Groups = tuple[np.ndarray, np.ndarray, np.ndarray]


@kernel(
    void(
        int64, int64, int64, int64, CSR, int64, int64, MODEL, int64, _GROUPS, POINTERS, POINTERS, SCORES
    )
)  # fmt: skip
def _score(first, end, start, before, X, first_row, n_slots, model, level, groups, order, slots, scores):
    """Sums of the children of the parents that are at some places in `order`, counted from `start`.

    The scores of those at places below `start` are not there.
    """
    starts, ends, widths = groups
    place, table = np.zeros(model.n_features + 1, np.int32), np.empty(0, np.float32)
    first, end = first + start, end + start
    k = np.searchsorted(starts, first, side="right") - 1
    while first < end:
        parent, last, width = model.levels[level] + k, min(starts[k + 1], end), widths[k]
        at = ends[k] + (first - starts[k]) * width - before
        k += 1
        if last == first:
            continue
        n_children = model.children[parent + 1] - model.children[parent]
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
            row, slots[i] = first_row + i // n_slots, at
            p, q = X[0][row], X[0][row + 1]
            for lane in range(0, width, LANES):
                _add_rows(scores, at + lane, X[1], X[2], p, q, place, table, width, lane)
            for j in range(n_children):
                scores[at + j] += table[width * place[model.n_features] + j]
            at += width
        for r in range(start, stop):
            place[model.features[r]] = 0
        first = last


# Nodes and scores of instances, and where their children's scores are, or how many there are by now.
_NODES = types.Tuple((INDICES, SCORES, POINTERS))


@kernel(void(int64, int64, _NODES, SCORES, MODEL, int64, int64, _NODES, boolean))
def _select_rows(first, end, of_parents, scores, model, level, top_k, of_best, is_last):
    """`_select` for the rows from `first` to before `end`, of each of which so many are found by now."""
    (parents, above, slots), (nodes, best, found) = of_parents, of_best
    n_slots = len(parents) // max(len(found), 1)
    for row in range(first, end):
        start, at, n = row * n_slots, row * top_k, found[row]
        found[row] = _select(
            parents, above, slots, start, n_slots, scores, model, level, top_k, nodes, best, at, n
        )
        if is_last:
            _sort(nodes, best, at, found[row], top_k)


def search(
    model: Model, n_levels: int, X: Flat, rows: slice, beam_size: int, top_k: int, room: int, threads: int
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
    room : int
        Bytes that scores may take which are yet to be chosen from, as far as those of one parent do.
    threads : int
        Has no effect on the result, nor has `room`.

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
            found = _next(model, level, X, rows, found, k, room, threads)
    nodes, best = (of.reshape(-1, top_k) for of in found)
    return nodes, best


def _before(at: int, groups: _Groups) -> int:
    """How many scores those before a place in `order` have."""
    starts, ends, widths = groups
    k = min(int(np.searchsorted(starts, at, side="right")), len(widths)) - 1
    return int(ends[k] + (at - starts[k]) * widths[k])


def _most_with(n_scores: int, groups: _Groups) -> int:
    """How many places in `order`, from the first on, have no more scores together."""
    starts, ends, widths = groups
    k = int(np.searchsorted(ends, n_scores, side="right")) - 1
    return int(starts[k] + (0 if k == len(widths) else (n_scores - ends[k]) // widths[k]))


def _next(
    model: Model, level: int, X: Flat, rows: slice, found: _Found, top_k: int, room: int, threads: int
) -> _Found:
    """The best nodes of a level, by tables."""
    parents, above = found
    n_rows, first_row = rows.stop - rows.start, rows.start
    n_slots = len(parents) // max(n_rows, 1)
    n_parents = model.levels[level + 1] - model.levels[level]
    starts, order = np.zeros(n_parents + 2, np.int64), np.empty(len(parents), np.int64)
    _group(parents, starts, order)
    starts, order = starts[:-1], order[: starts[-2]]
    widths = in_rows(np.diff(model.children[model.levels[level] : model.levels[level + 1] + 1]))
    groups = starts, ends_of(widths * np.diff(starts)), widths
    best = np.full(n_rows * top_k, -1, np.int32), np.zeros(n_rows * top_k, np.float32)
    slots, counts = np.full(len(parents), -1), np.zeros(n_rows, np.int64)
    first = 0
    while first < len(order):
        before = _before(first, groups)
        last = max(first + 1, _most_with(before + room // 4, groups))
        scores = np.empty(_before(last, groups) - before, np.float32)
        of_parents = X, first_row, n_slots, model, level, groups, order, slots, scores
        in_blocks(last - first, threads, _score, first, before, *of_parents)
        of_rows = (parents, above, slots), scores, model, level, top_k, (*best, counts)
        in_blocks(n_rows, threads, _select_rows, *of_rows, last == len(order))
        if last < len(order):
            slots[order[first:last]] = -1
        first = last
    return best
