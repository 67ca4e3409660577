"""Balanced spherical k-means: rows in halves, and halves of halves, of one tree or of several.

To the last bit what PECOS finds, which gets slower or another tree with more than a few threads: a node's
seed says which two rows it begins with; centres are added up in float32 row by row, the squares of their
columns likewise; of equal scores the row of lower number is on the left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numba import boolean, int64, njit, types, uint32, void

from ..runtime.memory import UNLIMITED, Budget
from ..runtime.threads import in_threads
from ..storage.compressed import Flat
from . import INDICES, POINTERS, SCORES, in_blocks, kernel

_MOST_ROUNDS = 20
_BITS = 6  # of 64 columns side by side some may have a sum
_ROWS_OF_A_BLOCK = 1 << 8
# Values of rows that are worth a call.
_BLOCK = 1 << 18
# Values of which a node has so few that its rows are not shared out.
_WORTH_SHARING = 1 << 20
# Values of so many are a node that a thread can work on in memory, wherever the rows of all are.
_SMALL = 1 << 24
_RANGE = (1 << 32) - 1  # the generator's largest number

# Without a sign, numba need not look whether a column counts from the end.
_CSR = types.Tuple((POINTERS, uint32[::1], SCORES))
_MASK = boolean[::1]
# Sums by column, and which blocks of columns have some.
_CENTER = types.Tuple((SCORES, _MASK))


@njit
def _center(n_columns):
    n_blocks = (n_columns >> _BITS) + 1
    return np.zeros(n_blocks << _BITS, np.float32), np.zeros(n_blocks, np.bool_)


@njit
def _clear(center):
    sums, is_used = center
    for block in range(len(is_used)):
        if is_used[block]:
            sums[block << _BITS : (block + 1) << _BITS], is_used[block] = 0, False


@njit
def _row(X, row):
    start, end = X[0][row], X[0][row + 1]
    return X[1][start:end], X[2][start:end]


@njit
def _add_row(X, row, center):
    sums, is_used = center
    columns, values = _row(X, row)
    for p in range(len(columns)):
        sums[columns[p]] += values[p]
        is_used[columns[p] >> np.uint32(_BITS)] = True


@njit
def _add_rows(X, rows, is_left, side, first, end, center):
    """Add up those rows of a side that are from the `first` to before the `end` of it."""
    k = 0
    for i in range(len(rows)):
        if is_left[i] == side:
            if first <= k < end:
                _add_row(X, rows[i], center)
            k += 1


@njit
def _add_center(center, factor, to):
    sums, is_used = center
    for block in range(len(is_used)):
        if is_used[block]:
            to[1][block] = True
            for column in range(block << _BITS, (block + 1) << _BITS):
                to[0][column] += factor * sums[column]


@njit
def _normalise(center):
    sums, is_used = center
    square = np.float32(0)
    for block in range(len(is_used)):
        if is_used[block]:
            for column in range(block << _BITS, (block + 1) << _BITS):
                square += sums[column] * sums[column]
    if square > 0:
        scale = 1.0 / np.sqrt(np.float64(square))
        for block in range(len(is_used)):
            if is_used[block]:
                for column in range(block << _BITS, (block + 1) << _BITS):
                    sums[column] = np.float32(sums[column] * scale)


@njit
def _score(X, rows, first, end, center, scores):
    sums = center[0]
    for i in range(first, end):
        columns, values = _row(X, rows[i])
        score = np.float32(0)
        for p in range(len(columns)):
            score += sums[columns[p]] * values[p]
        scores[i] = score


@njit
def _assign(scores, is_left):
    """Put the half of lower scores on the left; whether that changes anything."""
    half = len(scores) >> 1
    bound = np.partition(scores, half - 1)[half - 1]
    n_below, is_changed = 0, False
    for score in scores:
        n_below += score < bound
    n_equal = half - n_below
    for i in range(len(scores)):
        is_now = scores[i] < bound
        if scores[i] == bound and n_equal > 0:
            is_now, n_equal = True, n_equal - 1
        is_changed |= is_now != is_left[i]
        is_left[i] = is_now
    return is_changed


@njit
def _part(is_left, rows):
    """The rows of the left first; on both sides they stay in order."""
    old, n, m = rows.copy(), 0, len(rows) >> 1
    for i in range(len(old)):
        if is_left[i]:
            rows[n] = old[i]
            n += 1
        else:
            rows[m] = old[i]
            m += 1


@kernel(void(int64, int64, _CSR, int64, INDICES, POINTERS, POINTERS))
def _halve_nodes(first, end, X, n_columns, rows, bounds, begins):
    """Halve the nodes from `first` to before `end`, each of the rows between two bounds."""
    left, right = _center(n_columns), _center(n_columns)
    for node in range(first, end):
        own = rows[bounds[node] : bounds[node + 1]]
        scores, is_left = np.empty(len(own), np.float32), np.arange(len(own)) < len(own) >> 1
        for k in range(_MOST_ROUNDS):
            if k == 0:
                _add_row(X, own[begins[2 * node]], right)
                _add_row(X, own[begins[2 * node + 1]], left)
            else:
                for i in range(len(own)):
                    _add_row(X, own[i], left if is_left[i] else right)
                _normalise(right)
                _normalise(left)
            _add_center(left, np.float32(-1), right)
            # From the last: of a file that memory cannot hold, what was read last is still there.
            for end_row in range(len(own), 0, -_ROWS_OF_A_BLOCK):
                _score(X, own, max(end_row - _ROWS_OF_A_BLOCK, 0), end_row, right, scores)
            _clear(left)
            _clear(right)
            if not _assign(scores, is_left):
                break
        _part(is_left, own)


@kernel(void(_CSR, INDICES, int64, int64, _CENTER, _CENTER))
def _begin(X, rows, on_right, on_left, right, left):
    _clear(right)
    _clear(left)
    _add_row(X, rows[on_right], right)
    _add_row(X, rows[on_left], left)
    _add_center(left, np.float32(-1), right)


@kernel(void(_CSR, INDICES, _MASK, boolean, int64, int64, _CENTER))
def _add_part(X, rows, is_left, side, first, end, center):
    _clear(center)
    _add_rows(X, rows, is_left, side, first, end, center)


@kernel(void(_CENTER, _CENTER))
def _add_next(center, to):
    _add_center(center, np.float32(1), to)


@kernel(void(_CENTER, _CENTER))
def _subtract(left, right):
    _normalise(right)
    _normalise(left)
    _add_center(left, np.float32(-1), right)


@kernel(void(_CSR, INDICES, int64, int64, _CENTER, SCORES))
def _score_block(X, rows, first, end, center, scores):
    _score(X, rows, first, end, center, scores)


@kernel(boolean(SCORES, _MASK))
def _assign_node(scores, is_left):
    return _assign(scores, is_left)


@kernel(void(_MASK, INDICES))
def _part_node(is_left, rows):
    _part(is_left, rows)


@kernel(void(int64, int64, _CSR, INDICES, _CSR))
def _copy_rows(first, end, X, rows, to):
    for i in range(first, end):
        columns, values = _row(X, rows[i])
        of = slice(to[0][i], to[0][i + 1])
        to[1][of], to[2][of] = columns, values


def _in_order(X: Flat, rows: np.ndarray, threads: int, budget: Budget) -> Flat:
    """A matrix's rows in another order."""
    starts = np.concatenate([[0], np.diff(X[0])[rows].cumsum()])
    to = starts, budget.empty(len(X[1]), np.uint32), budget.empty(len(X[2]), np.float32)
    in_blocks(len(rows), threads, _copy_rows, X, rows, to)
    return to


class _Node:
    """A node whose rows are shared out.

    Parameters
    ----------
    rows : int32 array
        Ascending; the left side's are the first ones when it is halved.
    n_columns, n_parts : int
        Each side's rows are added up in so many parts; the first one's centre has the sum of all then.
    """

    def __init__(self, rows: np.ndarray, n_columns: int, n_parts: int) -> None:
        self.rows, self.half = rows, len(rows) >> 1
        self.is_left = np.arange(len(rows)) < self.half
        self.scores = np.empty(len(rows), np.float32)
        self.sides = [[_center.py_func(n_columns) for _ in range(n_parts)] for _ in range(2)]
        self.right, self.left = (parts[0] for parts in self.sides)

    def parts(self) -> Iterator[tuple[Any, ...]]:
        """Of both sides: which it is, where the part begins and ends, and its centre."""
        for is_left, size in enumerate((len(self.rows) - self.half, self.half)):
            n_parts = len(self.sides[is_left])
            n, n_larger = divmod(size, n_parts)
            ends = [n * part + min(part, n_larger) for part in range(n_parts + 1)]
            for ends_of_part, center in zip(pairwise(ends), self.sides[is_left], strict=True):
                yield bool(is_left), *ends_of_part, center

    def blocks(self, n_rows: int) -> Iterator[tuple[int, int]]:
        """Where blocks of so many rows begin and end, from the last: see `_halve_nodes`."""
        for end in range(len(self.rows), 0, -n_rows):
            yield max(end - n_rows, 0), end


def _halve_together(X: Flat, nodes: list[_Node], begins: np.ndarray, threads: int) -> None:
    """Halve nodes that are fewer than there are threads, which share the rows of each."""

    def each(call: Callable[..., Any], items: Iterable[tuple[Any, ...]]) -> list[Any]:
        items = list(items)
        # To hand one over takes longer than many a call.
        calls = map if min(threads, len(items)) == 1 else partial(in_threads, threads=threads)
        return list(calls(lambda item: call(*item), items))

    moving, n_rows = nodes, max(_ROWS_OF_A_BLOCK, _BLOCK * (len(X[0]) - 1) // max(len(X[1]), 1))
    pairs = begins.reshape(-1, 2).tolist()
    each(_begin, [(X, of.rows, *pair, of.right, of.left) for of, pair in zip(nodes, pairs, strict=True)])
    for n in range(_MOST_ROUNDS):
        if n > 0:
            each(_add_part, [(X, of.rows, of.is_left, *part) for of in moving for part in of.parts()])
            for part in range(1, len(nodes[0].sides[0])):
                each(_add_next, [(parts[part], parts[0]) for of in moving for parts in of.sides])
            each(_subtract, [(of.left, of.right) for of in moving])
        ends = ((of, *block) for of in moving[::-1] for block in of.blocks(n_rows))
        blocks = [(X, of.rows, *block, of.right, of.scores) for of, *block in ends]
        each(_score_block, blocks)
        is_changed = each(_assign_node, [(of.scores, of.is_left) for of in moving])
        moving = [of for of, changed in zip(moving, is_changed, strict=True) if changed]
    each(_part_node, [(of.is_left, of.rows) for of in nodes])


def _halve_level(
    X: Flat,
    n_columns: int,
    rows: np.ndarray,
    bounds: np.ndarray,
    begins: np.ndarray,
    n_parts: int,
    threads: int,
) -> None:
    """Halve nodes, each of the rows between two bounds."""
    n, is_worth_sharing = len(bounds) - 1, len(X[1]) >= _WORTH_SHARING
    if n < n_parts or (n < threads and is_worth_sharing):
        parts = n_parts if n < n_parts else 1
        nodes = [_Node(rows[first:end], n_columns, parts) for first, end in pairwise(bounds.tolist())]
        _halve_together(X, nodes, begins, threads if is_worth_sharing else 1)
    else:
        in_blocks(n, threads, _halve_nodes, X, n_columns, rows, bounds, begins)


def _begins(state: np.random.RandomState, seed: int, n_rows: int) -> tuple[int, int]:
    """The two rows of a node that its right and its left side begin with."""
    # A generator made anew would take ten times as long, as it gathers chance first.
    state.seed(seed)

    def below(n: int) -> int:
        """A number drawn as the C++ library of GCC 10 draws it."""
        scale = _RANGE // n
        while (drawn := int(state.randint(0, _RANGE + 1, dtype=np.uint32))) >= scale * n:
            pass
        return drawn // scale

    right = below(n_rows)
    return right, (right + 1 + below(n_rows - 1)) % n_rows


def halve(
    X: Flat,
    n_columns: int,
    ends: np.ndarray,
    depths: np.ndarray,
    seed: int,
    n_parts: int,
    threads: int,
    budget: Budget = UNLIMITED,
) -> np.ndarray:
    """Halves of halves of rows, each row's to be told by their numbers.

    Parameters
    ----------
    X : int64, int32 and float32 arrays
        Index pointers, indices and values of a CSR matrix: the rows of one tree after those of another.
    n_columns : int
    ends : int64 array of shape (n_trees + 1,)
        Where the rows of each tree begin.
    depths : int array of shape (n_trees,)
        How often they are halved; of d there are at least 2^d. None is larger than the one before.
    seed : int
        Of each tree.
    n_parts : int
        In how many parts PECOS adds up the centres of nodes that are fewer: its threads.
    threads : int
        Has no effect on the result, nor has `budget`.
    budget : Budget
        With a limit X lies in files. All rows of a node are read again and again, which takes ten times as
        long from all over a file: rows are put in order, into other files, until nodes are small.

    Returns
    -------
    int64 array of shape (n_rows,)
        In each tree from 0 to before 2^depth.
    """
    n_rows, X = len(X[0]) - 1, (X[0], X[1].view(np.uint32), X[2])
    state = np.random.RandomState(seed)
    seeds = state.randint(0, _RANGE + 1, 2 << depths[0], dtype=np.uint32)
    rows, bounds = np.arange(n_rows, dtype=np.int32), ends.astype(np.int64)
    ids = rows.copy()
    for level in range(depths[0]):
        n_trees = int((depths > level).sum())
        n = n_trees << level
        of_nodes = np.tile(seeds[1 << level : 2 << level], n_trees)
        pairs = zip(of_nodes.tolist(), np.diff(bounds[: n + 1]).tolist(), strict=True)
        begins = np.array([_begins(state, *pair) for pair in pairs]).reshape(-1)
        _halve_level(X, n_columns, rows, bounds[: n + 1], begins, n_parts, threads)
        bounds = np.sort(np.concatenate([bounds, (bounds[:n] + bounds[1 : n + 1]) >> 1]))
        if budget.limit is not None and len(X[1]) > n * _SMALL:
            X, ids, rows = _in_order(X, rows, threads, budget), ids[rows], np.arange(n_rows, dtype=np.int32)
    codes, n_leaves = np.empty(n_rows, np.int64), 1 << np.asarray(depths)
    of_leaves = np.arange(n_leaves.sum()) - np.repeat(n_leaves.cumsum() - n_leaves, n_leaves)
    codes[ids[rows]] = np.repeat(of_leaves, np.diff(bounds))
    return codes
