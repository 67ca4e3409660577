"""SVMs of a cluster's labels, sixteen side by side: an instance is read once for all of them.

An L2-regularised squared-hinge SVM a label, with a bias feature of 1, by dual coordinate descent:
algorithm 1 of Hsieh et al., "A Dual Coordinate Descent Method for Large-scale Linear SVM" (ICML 2008), which
PECOS's solver is, too. That has one label at a time, and reads an embedding's columns one by one, as it does
terms. A label's weights do not depend on which labels are beside it.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import float32, float64, int64, njit, types, uint8
from numba.core import cgutils
from numba.extending import intrinsic

from ..storage.compressed import Flat
from . import INDICES, POINTERS, SCORES, kernel

# Labels side by side.
LANES = 16
# Bytes of a processor's cache line, as many as the labels' weights of a feature; its values of 4 bytes.
_LINE, _OF_LINE = 64, 16
# Bytes that are looked at at once, each of as many features.
_WORD = 8

# PECOS's.
_MOST_ROUNDS = 100
# So many instances before it is needed what is known of an instance is fetched, and its terms.
_FAR, _NEAR = 12, 5
# So many weights stay in the cache that a core has to itself.
_NEVER_FAR = 1 << 18
# 1 / (2 C), which a squared hinge adds to the diagonal of the dual, where C is 1.
_DIAGONAL = 0.5
_SEED = 0x9E3779B97F4A7C15
# What is known of each label, in one array, as a compiler vectorises no loop over many: what the SVM says of
# an instance, the step in its dual variable, the highest and lowest gradient of a round, 1 until it is done,
# 1 / (2 C).
_SCORE, _STEP, _HIGH, _LOW, _OPEN, _SOFTNESS = (LANES * i for i in range(6))

# A compiler unrolls a loop over sixteen numbers before it thinks of a vector, and training takes two to
# four times as long. So what adds rows of sixteen is written in its own terms. Each number gets the same
# sum, to the last bit, whatever is beside it and however many a processor takes at a time.

# Sums that do not wait for one another.
_SUMS = 4
_ROW, _INT32, _INT64 = ir.VectorType(ir.FloatType(), LANES), ir.IntType(32), ir.IntType(64)
_UNKNOWN = ir.Constant(_ROW, ir.Undefined)
_FIRST = ir.Constant(ir.VectorType(_INT32, LANES), [0] * LANES)


def _data(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Callable[[int], ir.Value]:
    """What gives an argument by its place: a number, or the address of an array's first."""
    arrays = {i: kind for i, kind in enumerate(signature.args) if isinstance(kind, types.Array)}
    return lambda i: context.make_array(arrays[i])(context, builder, args[i]).data if i in arrays else args[i]


def _row(builder: ir.IRBuilder, data: ir.Value, start: ir.Value) -> ir.Value:
    return builder.bitcast(builder.gep(data, [start]), _ROW.as_pointer())


def _row_of(builder: ir.IRBuilder, data: ir.Value, ids: ir.Value, at: ir.Value) -> ir.Value:
    """The address of the row that the id at a place is of; without ids, of so many rows after a first one."""
    if isinstance(ids.type, ir.PointerType):
        row = builder.sext(builder.load(builder.gep(ids, [at])), _INT64)
    else:
        row = builder.add(ids, at)
    return _row(builder, data, builder.mul(row, ir.Constant(_INT64, LANES)))


def _scaled(builder: ir.IRBuilder, factor: ir.Value, row: ir.Value) -> ir.Value:
    """A factor times a row."""
    factors = builder.insert_element(_UNKNOWN, factor, ir.Constant(_INT32, 0))
    return builder.fmul(builder.shuffle_vector(factors, _UNKNOWN, _FIRST), row)


@intrinsic
def add_rows(
    typingctx: Any, to: Any, at: Any, factors: Any, start: Any, ids: Any, first: Any, n: Any, rows: Any
) -> Any:
    """`to[at : at + LANES] += factor * row` for `n` factors from `start` on, of float32 arrays, unchecked.

    The rows are those of as many ids from `first` on, or, where `ids` is a number, follow that one.
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        data = _data(context, builder, signature, args)
        target, values, places, weights = _row(builder, data(0), args[1]), data(2), data(4), data(7)
        sums = [cgutils.alloca_once(builder, _ROW) for _ in range(_SUMS)]
        for one in sums:
            builder.store(ir.Constant(_ROW, None), one)

        def add(i: ir.Value, one: ir.Value) -> None:
            factor = builder.load(builder.gep(values, [builder.add(args[3], i)]))
            row = builder.load(_row_of(builder, weights, places, builder.add(args[5], i)), align=4)
            builder.store(builder.fadd(builder.load(one), _scaled(builder, factor, row)), one)

        step, end = ir.Constant(_INT64, _SUMS), args[6]
        in_fours = builder.sub(end, builder.srem(end, step))
        with cgutils.for_range_slice(builder, ir.Constant(_INT64, 0), in_fours, step, _INT64) as (i, _):
            for j, one in enumerate(sums):
                add(builder.add(i, ir.Constant(_INT64, j)), one)
        with cgutils.for_range_slice(builder, in_fours, end, ir.Constant(_INT64, 1), _INT64) as (i, _):
            add(i, sums[0])
        total = builder.load(target, align=4)
        for one in sums:
            total = builder.fadd(total, builder.load(one))
        builder.store(total, target, align=4)
        return context.get_dummy_value()

    numbers = types.int64
    return types.void(to, numbers, factors, numbers, ids, numbers, numbers, rows), generate


@intrinsic
def add_to_rows(
    typingctx: Any, rows: Any, ids: Any, first: Any, n: Any, factors: Any, start: Any, to_add: Any, at: Any
) -> Any:
    """The reverse: to the rows of `n` ids from `first` on, one row, times as many factors from `start` on."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        data = _data(context, builder, signature, args)
        weights, places, values = data(0), data(1), data(4)
        row = builder.load(_row(builder, data(6), args[7]), align=4)
        with cgutils.for_range(builder, args[3], intp=_INT64) as loop:
            factor = builder.load(builder.gep(values, [builder.add(args[5], loop.index)]))
            target = _row_of(builder, weights, places, builder.add(args[2], loop.index))
            total = builder.fadd(builder.load(target, align=4), _scaled(builder, factor, row))
            builder.store(total, target, align=4)
        return context.get_dummy_value()

    numbers = types.int64
    return types.void(rows, ids, numbers, numbers, factors, numbers, to_add, numbers), generate


@intrinsic
def prefetch(typingctx: Any, array: Any, at: Any) -> Any:
    """Have the processor fetch `array[at]`, unchecked, while it goes on."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        byte = ir.IntType(8).as_pointer()
        data = _data(context, builder, signature, args)
        place = builder.bitcast(builder.gep(data(0), [args[1]]), byte)
        kind = ir.FunctionType(ir.VoidType(), [byte, _INT32, _INT32, _INT32])
        fetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        builder.call(fetch, [place, *(ir.Constant(_INT32, n) for n in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(array, types.int64), generate


@njit
def _shuffle(order, state):
    """Another order; the next state of the generator (xorshift, Marsaglia 2003)."""
    for i in range(len(order) - 1):
        state ^= state << np.uint64(13)
        state ^= state >> np.uint64(7)
        state ^= state << np.uint64(17)
        j = i + np.int64((state >> np.uint64(33)) % np.uint64(len(order) - i))
        order[i], order[j] = order[j], order[i]
    return state


# Dividing by zero is no error here, or each division would be a branch, and none a vector's.
@njit(error_model="numpy")
def _step(labels, duals, i, length):
    """An instance's dual variables, made the best for its labels' scores; whether one of them moved.

    A dual variable is at least 0; here it has the sign of the instance's label, be it 0.0 or -0.0, so that
    no sign is read from elsewhere. The scores are 0 then, for the next instance.
    """
    zero, one = np.float32(0), np.float32(1)
    # Unsigned, as a negative index would be another place, and to look for it is no vector's work.
    first = np.uint64(LANES * i)
    for j in range(LANES):
        k = np.uint64(j)
        dual, diagonal = duals[first + k], labels[np.uint64(_SOFTNESS) + k]
        a, y = abs(dual), math.copysign(one, dual)
        gradient = y * labels[np.uint64(_SCORE) + k] - one + diagonal * a
        projected = gradient if a > zero or gradient < zero else zero
        high, low = labels[np.uint64(_HIGH) + k], labels[np.uint64(_LOW) + k]
        labels[np.uint64(_HIGH) + k] = projected if projected > high else high
        labels[np.uint64(_LOW) + k] = projected if projected < low else low
        better = a - gradient / (length + diagonal)
        better = better if better > zero else zero
        step = (better - a) * labels[np.uint64(_OPEN) + k]
        duals[first + k] = math.copysign(a + step, dual)
        labels[np.uint64(_STEP) + k] = y * step
        labels[np.uint64(_SCORE) + k] = zero
    moved = False
    for j in range(LANES):
        moved |= labels[np.uint64(_STEP) + np.uint64(j)] != zero
    return moved


@njit
def _close(labels, eps):
    """Whether the labels are done, all those whose gradients are no further apart."""
    is_open = False
    for k in range(LANES):
        if labels[_HIGH + k] - labels[_LOW + k] <= eps:
            labels[_OPEN + k] = 0
        is_open |= labels[_OPEN + k] > 0
    return not is_open


@njit
def _fetch(order, t, indptr, indices, values, rows, lengths, duals, weights):
    """What the next instances need, which lie anywhere: waiting for it would be half of the time.

    Arrays one by one: numba counts who uses an array that is taken out of a tuple here, an atomic addition
    each for every instance, which would take as long again.
    """
    if t + _FAR < len(order):
        far = order[t + _FAR]
        prefetch(indptr, far)
        prefetch(duals, LANES * far)
        prefetch(lengths, np.int64(rows[far]))
    if t + _NEAR < len(order):
        near = order[t + _NEAR]
        for p in range(indptr[near], indptr[near + 1], _OF_LINE):
            prefetch(indices, p)
            prefetch(values, p)
    if len(weights) > _NEVER_FAR and t + 1 < len(order):
        following = order[t + 1]
        for p in range(indptr[following], indptr[following + 1]):
            # Unsigned, as in `_step`.
            prefetch(weights, LANES * np.int64(indices[np.uint64(p)]))


@njit
def _fetch_columns(order, t, rows, flat, start, size, n_columns):
    """The same of columns of an embedding. Apart, as a loop that has nothing to do takes long there."""
    if t + _NEAR < len(order):
        own = rows[order[t + _NEAR]] * n_columns + start
        for p in range(own, own + size, _OF_LINE):
            prefetch(flat, p)


@njit
def _solve(terms, rows, dense, dense_ids, runs, lengths, duals, eps, weights, labels):
    """The weights of some labels on a cluster's instances, LANES for each feature; the bias is the last."""
    indptr, indices, values = terms
    n_columns, bias = dense.shape[1], len(weights) // LANES - 1
    flat, order, state = dense.reshape(-1), np.arange(len(rows)), np.uint64(_SEED)
    firsts, sizes, one = dense_ids[runs[:-1]].astype(np.int64), np.diff(runs), np.ones(1, np.float32)
    for _ in range(_MOST_ROUNDS):
        state = _shuffle(order, state)
        labels[_HIGH : _HIGH + LANES], labels[_LOW : _LOW + LANES] = -np.inf, np.inf
        for t, i in enumerate(order):
            _fetch(order, t, indptr, indices, values, rows, lengths, duals, weights)
            p, n, own = indptr[i], indptr[i + 1] - indptr[i], rows[i] * n_columns
            add_rows(labels, _SCORE, one, 0, bias, 0, 1, weights)
            add_rows(labels, _SCORE, values, p, indices, p, n, weights)
            for k in range(len(sizes)):
                _fetch_columns(order, t, rows, flat, runs[k], sizes[k], n_columns)
                add_rows(labels, _SCORE, flat, own + runs[k], firsts[k], 0, sizes[k], weights)
            if not _step(labels, duals, i, lengths[rows[i]]):
                continue
            add_to_rows(weights, indices, p, n, values, p, labels, _STEP)
            for k in range(len(sizes)):
                add_to_rows(weights, firsts[k], 0, sizes[k], flat, own + runs[k], labels, _STEP)
            add_to_rows(weights, bias, 0, 1, one, 0, labels, _STEP)
        if _close(labels, eps):
            break


@njit
def _part(terms, rows, columns, is_used, place):
    """The terms of some rows, features renumbered from 0: index pointers, indices, values.

    And which features they are, ascending, the columns among them, and the numbers of these. Before and
    after, `is_used` has 0 for each eight features, and whole words; `place` has -1 for each feature.
    """
    indptr, indices, values = terms
    starts = np.append(0, (indptr[rows + 1] - indptr[rows]).cumsum())
    found, kept = np.empty(starts[-1], np.int32), np.empty(starts[-1], np.float32)
    for i, row in enumerate(rows):
        q = starts[i]
        for p in range(indptr[row], indptr[row + 1]):
            feature = indices[p]
            found[q], kept[q], place[feature], is_used[feature // _WORD] = feature, values[p], 0, 1
            q += 1
    place[columns], is_used[columns // _WORD] = 0, 1
    features, n = np.empty(min(starts[-1] + len(columns), len(place)), np.int32), 0
    for word, used in enumerate(is_used.view(np.uint64)):
        if used == 0:  # most are, of a few rows
            continue
        for byte in range(_WORD * word, _WORD * (word + 1)):
            first = _WORD * byte
            for feature in range(first, min(first + _WORD * is_used[byte], len(place))):
                if place[feature] == 0:
                    place[feature], features[n] = n, feature
                    n += 1
            is_used[byte] = 0
    for q, feature in enumerate(found):
        found[q] = place[feature]
    of_columns = place[columns]
    place[features[:n]] = -1
    return (starts, found, kept), features[:n], of_columns


@njit
def _lines(n):
    """`n` float32 zeros from the start of a cache line on, so that sixteen are not in two of them."""
    longer = np.zeros(n + LANES, np.float32)
    start = (-longer.ctypes.data % _LINE) // longer.itemsize
    return longer[start : start + n]


@njit
def _posed(labels, Y, position, n_rows, cost):
    """Dual variables of each instance for some labels, 0 with the label's sign; what is known of these."""
    duals, known = _lines(LANES * n_rows), _lines(6 * LANES)
    duals[:] = -0.0
    known[_OPEN : _OPEN + len(labels)], known[_SOFTNESS:] = 1, _DIAGONAL
    for k, label in enumerate(labels):
        start, stop = Y[0][label], Y[0][label + 1]
        known[_SOFTNESS + k] *= max(np.sqrt(stop - start) / cost, 1.0)
        for p in range(start, stop):
            duals[LANES * position[Y[1][p]] + k] = 0.0
    return duals, known


@njit
def _longer(array, n):
    """The array, with room for at least `n`; what is there is copied so seldom that it costs little."""
    if n <= len(array):
        return array
    longer = np.empty(max(n, 2 * len(array)), array.dtype)
    longer[: len(array)] = array
    return longer


@njit
def _keep(weights, features, least, sizes, n, ids, kept):
    """Put weights of each label that are kept after the first `n`, and their features, ascending.

    Where they are, as there may have been no room, and how many each label has, into `sizes`.
    """
    n_kept = np.zeros(LANES, np.int32)
    for row in range(len(features)):
        for k in range(LANES):
            n_kept[np.uint64(k)] += abs(weights[np.uint64(LANES * row + k)]) >= least
    sizes[:] = n_kept[: len(sizes)]
    places, end = n + sizes.cumsum() - sizes, n + sizes.sum()
    ids, kept = _longer(ids, end), _longer(kept, end)
    for row, feature in enumerate(features):
        for k in range(len(sizes)):
            weight = weights[LANES * row + k]
            if abs(weight) >= least:
                ids[places[k]], kept[places[k]] = feature, weight
                places[k] += 1
    return ids, kept


_Lists = tuple[np.ndarray, np.ndarray]
_CSR = types.Tuple((POINTERS, INDICES, SCORES))
_CSC = types.Tuple((POINTERS, INDICES))
# Of an embedding, and where those begin that follow one another, and the last one ends.
_COLUMNS = types.Tuple((INDICES, POINTERS))
# Tolerance, least weight, C of a label of one instance.
_HOW = types.Tuple((float64, float32, float64))
# Of each eight features, whether the cluster's rows have some; the number of each feature, and of each row.
_ROOM = types.Tuple((uint8[::1], INDICES, INDICES))


@kernel(_CSR(int64[::1], int64[::1], _CSC, _CSC, _CSR, float32[:, ::1], SCORES, _COLUMNS, int64, _HOW, _ROOM))
def _train(labels, clusters, M, Y, terms, dense, lengths, columns, n_features, how, room):
    """The SVMs of some labels, cluster by cluster: how many weights each has; their features; they."""
    (eps, least, cost), (is_used, place, position), (columns, runs) = how, room, columns
    sizes, n, end = np.zeros(len(labels), np.int64), 0, 0
    ids, kept = np.empty(0, np.int32), np.empty(0, np.float32)
    while end < len(labels):
        first, cluster = end, clusters[end]
        while end < len(labels) and clusters[end] == cluster:
            end += 1
        rows = M[1][M[0][cluster] : M[0][cluster + 1]]
        position[rows] = np.arange(len(rows))
        part, features, dense_ids = _part(terms, rows, columns, is_used, place)
        features = np.append(features, np.int32(n_features))
        for low in range(first, end, LANES):
            high = min(low + LANES, end)
            duals, known = _posed(labels[low:high], Y, position, len(rows), cost)
            weights = _lines(LANES * len(features))
            _solve(part, rows, dense, dense_ids, runs, lengths, duals, eps, weights, known)
            ids, kept = _keep(weights, features, least, sizes[low:high], n, ids, kept)
            n += int(sizes[low:high].sum())
    return sizes, ids[:n], kept[:n]


def solver(
    terms: Flat,
    dense: np.ndarray,
    columns: np.ndarray,
    n_features: int,
    eps: float,
    threshold: float,
    cost: float,
    lengths: np.ndarray,
) -> Callable[[np.ndarray, np.ndarray, _Lists, _Lists], tuple[np.ndarray, ...]]:
    """What trains some labels' SVMs, in any thread.

    Parameters
    ----------
    terms : int64, int32 and float32 arrays
        Index pointers, indices and values of the instances' terms, a CSR matrix.
    dense : float32 array of shape (n_instances, n_columns)
    columns : int32 array of shape (n_columns,)
        Which features these are; the others are terms.
    n_features : int
        With which the bias is counted.
    eps : float
        Training ends where no two projected gradients are further apart.
    threshold : float
        Weights of a smaller absolute value are left out.
    cost : float
        C of a label with n instances is cost / sqrt(n), or 1 if that is less.
    lengths : float32 array of shape (n_instances,)
        Squared, of instances, bias included.

    Returns
    -------
    callable
        Takes labels (int64 array), those of a cluster side by side, the cluster of each (int64 array), the
        instances that those of each cluster are trained on, and the instances of each label (index pointers
        and indices each: int64 and int32 arrays); gives how many weights each of the labels has (int64), the
        feature of each, ascending (int32), and the weights (float32).
    """
    scratch = threading.local()
    least = np.float32(threshold)
    if float(least) < threshold or least == 0:  # no weight of 0 is kept
        least = np.nextafter(least, np.float32(np.inf))
    runs = np.flatnonzero(np.diff(columns, prepend=-2, append=-2) != 1)
    how = float(eps), least, float(cost)

    def solve(labels: np.ndarray, clusters: np.ndarray, M: _Lists, Y: _Lists) -> tuple[np.ndarray, ...]:
        if not hasattr(scratch, "room"):
            is_used = np.zeros(-(-n_features // _WORD**2) * _WORD, np.uint8)
            scratch.room = is_used, np.full(n_features, -1, np.int32), np.empty(len(dense), np.int32)
        return _train(
            labels, clusters, M, Y, terms, dense, lengths, (columns, runs), n_features, how, scratch.room
        )

    return solve
