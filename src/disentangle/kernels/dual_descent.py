"""SVMs of labels whose instances have terms, which are few of many, and an embedding, which is dense.

An L2-regularised squared-hinge SVM a label, C = 1, with a bias feature of 1, by dual coordinate descent with
shrinking: algorithm 3 of Hsieh et al., "A Dual Coordinate Descent Method for Large-scale Linear SVM" (ICML
2008), which PECOS's solver is, too. That reads an embedding's columns one by one, as it does terms.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import float32, float64, int64, njit, types, void

from . import INDICES, POINTERS, SCORES, kernel, share

# PECOS's.
_MOST_ROUNDS = 100
# Labels of a cluster lie side by side, in so many places or a multiple: what a processor adds at once.
_LANES = 8
# 1 / (2 C), which a squared hinge adds to the diagonal of the dual.
_DIAGONAL = 0.5
_SEED = 0x9E3779B97F4A7C15


@njit
def _add_scores(x, w, z):
    """Add the product of an instance's embedding and each label's weights, a column each of `w`, to `z`."""
    n_fours = len(x) // 4 * 4
    for j in range(0, n_fours, 4):
        w0, w1, w2, w3 = w[j], w[j + 1], w[j + 2], w[j + 3]
        x0, x1, x2, x3 = x[j], x[j + 1], x[j + 2], x[j + 3]
        for k in range(len(z)):
            z[k] += (x0 * w0[k] + x1 * w1[k]) + (x2 * w2[k] + x3 * w3[k])
    for j in range(n_fours, len(x)):
        _add(x[j], w[j], z)


@njit
def _add(factor, row, z):
    width = len(z)
    for k in range(width):
        z[k] += factor * row[k]


@njit
def _add_steps(x, steps, w):
    """Add each label's step along an instance's embedding to its weights."""
    width = len(steps)
    for j in range(len(x)):
        factor, row = x[j], w[j]
        for k in range(width):
            row[k] += factor * steps[k]


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


@njit
def _solve(terms, rows, dense, squares, signs, eps, v, w, bias, is_done):
    """SVMs of some labels on a cluster's rows: weights of their terms in `v`, of dense columns in `w`."""
    indptr, indices, values = terms
    n, width = signs.shape
    order, state = np.arange(n), np.uint64(_SEED)
    alpha, steps, z = (
        np.zeros((n, width), np.float32),
        np.empty(width, np.float32),
        np.empty(width, np.float32),
    )
    high, low = np.empty(width, np.float32), np.empty(width, np.float32)
    for _ in range(_MOST_ROUNDS):
        state = _shuffle(order, state)
        high[:], low[:] = -np.inf, np.inf
        for i in order:
            x, a, y = dense[rows[i]], alpha[i], signs[i]
            z[:] = bias
            _add_scores(x, w, z)
            for p in range(indptr[i], indptr[i + 1]):
                _add(values[p], v[indices[p]], z)
            inverse = np.float32(1 / (squares[rows[i]] + 1 + _DIAGONAL))
            moved = np.float32(0)
            for k in range(width):
                gradient = y[k] * z[k] - np.float32(1) + np.float32(_DIAGONAL) * a[k]
                projected = gradient if a[k] > 0 else min(gradient, np.float32(0))
                high[k], low[k] = max(high[k], projected), min(low[k], projected)
                better = max(a[k] - gradient * inverse, np.float32(0))
                better = a[k] if is_done[k] else better
                steps[k] = y[k] * (better - a[k])
                a[k] = better
                moved = max(moved, abs(steps[k]))
            if moved > 0:
                _add_steps(x, steps, w)
                for p in range(indptr[i], indptr[i + 1]):
                    _add(values[p], steps, v[indices[p]])
                for k in range(width):
                    bias[k] += steps[k]
        is_done |= high - low <= eps
        if is_done.all():
            break


@njit
def _room(found, n):
    """The same array with places for so many, and for as many again as there are."""
    if n <= len(found):
        return found
    more = np.empty(n + len(found), found.dtype)
    more[: len(found)] = found
    return more


@njit
def _part(terms, rows, place):
    """The terms of some rows, features renumbered from 0: index pointers, indices, values; which they are."""
    indptr, indices, values = terms
    starts = np.zeros(len(rows) + 1, np.int64)
    for i, row in enumerate(rows):
        starts[i + 1] = starts[i] + indptr[row + 1] - indptr[row]
    found, kept = np.empty(starts[-1], np.int32), np.empty(starts[-1], np.float32)
    features, n = np.empty(min(starts[-1], len(place)), np.int32), 0
    for i, row in enumerate(rows):
        for p in range(indptr[row], indptr[row + 1]):
            feature = indices[p]
            if place[feature] < 0:
                place[feature], features[n] = n, feature
                n += 1
            q = starts[i] + p - indptr[row]
            found[q], kept[q] = place[feature], values[p]
    place[features[:n]] = -1
    return (starts, found, kept), features[:n]


@njit
def _keep(weights, features, threshold, ids, kept, n):
    """Append a label's weights that are kept, and their features; how many there are then."""
    for j in range(len(weights)):
        if weights[j] != 0 and abs(weights[j]) >= threshold:
            ids[n], kept[n] = features[j], weights[j]
            n += 1
    return n


_CSR = types.Tuple((POINTERS, INDICES, SCORES))
_CSC = types.Tuple((POINTERS, INDICES))
_DENSE = float32[:, ::1]


@kernel(void(int64, int64, _CSR, _DENSE, float64[::1]))
def _square(first, end, terms, dense, squares):
    """Squared lengths of the rows from `first` to before `end`."""
    indptr, _, values = terms
    for row in range(first, end):
        total = 0.0
        for j in range(dense.shape[1]):
            total += dense[row, j] * dense[row, j]
        for p in range(indptr[row], indptr[row + 1]):
            total += values[p] * values[p]
        squares[row] = total


@kernel(
    types.Tuple((POINTERS, INDICES, SCORES))(
        int64[::1], int64, _CSC, _CSC, _CSR, _DENSE, float64[::1], INDICES, int64, float64, float64
    )
)
def _train(labels, cluster, Y, M, terms, dense, squares, columns, n_features, eps, threshold):
    """The SVMs of some labels of a cluster: how many weights each has; their features; they."""
    rows = M[1][M[0][cluster] : M[0][cluster + 1]]
    part, features = _part(terms, rows, np.full(n_features, -1, np.int32))
    width = -(-len(labels) // _LANES) * _LANES
    signs, position = np.full((len(rows), width), np.float32(-1)), np.empty(len(dense), np.int32)
    position[rows] = np.arange(len(rows), dtype=np.int32)
    for k, label in enumerate(labels):
        for p in range(Y[0][label], Y[0][label + 1]):
            signs[position[Y[1][p]], k] = 1
    v, w = np.zeros((len(features), width), np.float32), np.zeros((len(columns), width), np.float32)
    bias, is_done = np.zeros(width, np.float32), np.arange(width) >= len(labels)
    _solve(part, rows, dense, squares, signs, eps, v, w, bias, is_done)
    by_feature = np.argsort(features)
    features = features[by_feature]
    sizes, n = np.zeros(len(labels), np.int64), 0
    ids, kept = np.empty(0, np.int32), np.empty(0, np.float32)
    for k in range(len(labels)):
        start, n_most = n, n + len(features) + len(columns) + 1
        ids, kept = _room(ids, n_most), _room(kept, n_most)
        n = _keep(v[:, k][by_feature], features, threshold, ids, kept, n)
        n = _keep(w[:, k], columns, threshold, ids, kept, n)
        n = _keep(bias[k : k + 1], np.array([n_features], np.int32), threshold, ids, kept, n)
        sizes[k] = n - start
    return sizes, ids[:n].copy(), kept[:n].copy()


def trainer(
    terms: tuple[np.ndarray, np.ndarray, np.ndarray],
    dense: np.ndarray,
    columns: np.ndarray,
    n_features: int,
    Y: tuple[np.ndarray, np.ndarray],
    M: tuple[np.ndarray, np.ndarray],
    eps: float,
    threshold: float,
) -> Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray, np.ndarray]]:
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
    Y, M : int64 and int32 arrays
        Index pointers and indices, by column: instances that have a label, and that a cluster is trained on.
    eps : float
        Training ends where no two projected gradients are further apart.
    threshold : float
        Weights of a smaller absolute value are left out.

    Returns
    -------
    callable
        Takes labels (int64 array) of a cluster (int); gives how many weights each label has (int64),
        the feature of each, ascending (int32), and the weights (float32).
    """
    squares = np.empty(len(dense))
    share(len(dense), lambda first, end: _square(first, end, terms, dense, squares))
    return lambda labels, cluster: _train(
        labels, cluster, Y, M, terms, dense, squares, columns, n_features, eps, threshold
    )
