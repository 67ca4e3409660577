"""Numba kernels: flat arrays in, flat arrays out; their public wrappers own the matrices and the checks.

Those that are parallel work on rows that do not depend on one another, and `auction` is sequential: so
results are the same for any number of threads.
Signatures are given, so that importing this module compiles once and no timed call does; compiled code
is cached beside this file (or in the user's cache folder where that is read-only). Index pointers are
int64, indices int32, scores float32.
"""

from __future__ import annotations

import numpy as np
from numba import boolean, float32, float64, int32, int64, njit, prange, uint64, vectorize
from numba.types import Tuple

_POINTERS, _INDICES, _SCORES = int64[::1], int32[::1], float32[::1]


@njit(inline="always")
def _shuffled(label, k):
    """A fixed pseudo-random number for a label and a cluster (the finaliser of SplitMix64)."""
    z = np.uint64(label) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(k) * np.uint64(0xD1B54A32D192ED03)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@vectorize([uint64(int64, int64)], cache=True)
def shuffled(label, k):
    """`_shuffled` of arrays, elementwise."""
    return _shuffled(label, k)


@njit(inline="always")
def _is_better(label, gain, k, other_gain, other):
    """Whether cluster k suits a label better than another one: more gain, ties shuffled."""
    return gain > other_gain or (gain == other_gain and _shuffled(label, k) < _shuffled(label, other))


@njit
def _count_label(instances, m_indptr, m_indices, m_scores, coverage, best, total, is_touched, touched, n):
    """Add a label's instances to `total`; returns how many clusters are listed in `touched`, n so far."""
    for i, instance in enumerate(instances):
        covered = coverage * best[i]
        for q in range(m_indptr[instance], m_indptr[instance + 1]):
            k = m_indices[q]
            if not is_touched[k]:
                is_touched[k] = True
                touched[n] = k
                n += 1
            total[k] += max(0.0, m_scores[q] - covered)
    return n


@njit
def _choose_best(label, touched, total, weights, is_chosen, clusters, gains):
    """Fill `clusters` and `gains` with those of most gain that are not chosen yet, best first."""
    n, width = 0, len(clusters)
    for k in touched:
        gain = weights[k] * total[k]
        if is_chosen[k] or gain <= 0.0:
            continue
        place = n
        while place > 0 and _is_better(label, gain, k, gains[place - 1], clusters[place - 1]):
            if place < width:
                gains[place] = gains[place - 1]
                clusters[place] = clusters[place - 1]
            place -= 1
        if place < width:
            gains[place] = gain
            clusters[place] = k
            n = min(n + 1, width)


@njit(
    Tuple((int32[:, ::1], float64[:, ::1]))(
        _POINTERS, _INDICES, _POINTERS, _INDICES, _SCORES, float64[::1], float64, int64, int64
    ),
    parallel=True,
    cache=True,
)
def best_clusters(y_indptr, y_indices, m_indptr, m_indices, m_scores, weights, coverage, width, n_blocks):
    """Per label the clusters of most gain, one after the other.

    The gain of cluster k for label l is `weights[k] * sum_i max(0, score(i, k) - coverage * best(i))` over
    the label's instances i, best(i) being i's highest score in the clusters chosen before. Counts are held
    for one label at a time.

    Parameters
    ----------
    y_indptr, y_indices : int arrays
        Label matrix by columns: instances of each label.
    m_indptr, m_indices, m_scores : arrays
        Matching matrix by rows: clusters of each instance, and their scores.
    weights : float64 array of shape (n_clusters,)
    coverage : float
    width : int
        Clusters to choose.
    n_blocks : int
        How many blocks of labels to share out among threads.

    Returns
    -------
    clusters : int32 array of shape (n_labels, width)
        Equal gains in a fixed pseudo-random order; -1 where a label has gain in fewer clusters.
    gains : float64 array of shape (n_labels, width)
    """
    n_labels, n_clusters = len(y_indptr) - 1, len(weights)
    clusters = np.full((n_labels, width), -1, np.int32)
    gains = np.zeros((n_labels, width), np.float64)
    most = 0
    for label in range(n_labels):
        most = max(most, y_indptr[label + 1] - y_indptr[label])
    # Without coverage one count ranks them all.
    step = width if coverage == 0.0 else 1
    for block in prange(n_blocks):
        total = np.zeros(n_clusters, np.float64)
        is_touched = np.zeros(n_clusters, np.bool_)
        is_chosen = np.zeros(n_clusters, np.bool_)
        touched = np.empty(n_clusters, np.int64)
        best = np.empty(most, np.float64)
        for label in range(block * n_labels // n_blocks, (block + 1) * n_labels // n_blocks):
            instances = y_indices[y_indptr[label] : y_indptr[label + 1]]
            best[: len(instances)] = 0.0
            n = 0
            for place in range(0, width, step):
                n = _count_label(
                    instances, m_indptr, m_indices, m_scores, coverage, best, total, is_touched, touched, n
                )
                slots = slice(place, place + step)
                _choose_best(
                    label, touched[:n], total, weights, is_chosen, clusters[label, slots], gains[label, slots]
                )
                for k in touched[:n]:
                    total[k] = 0.0
                chosen = clusters[label, place]
                if chosen < 0 or step == width:
                    break
                is_chosen[chosen] = True
                for i, instance in enumerate(instances):
                    for q in range(m_indptr[instance], m_indptr[instance + 1]):
                        if m_indices[q] == chosen:
                            best[i] = max(best[i], m_scores[q])
            for k in touched[:n]:
                is_touched[k] = False
                is_chosen[k] = False
    return clusters, gains


_LEAST_RAISE = 1e-3


@njit
def _best_bid(label, clusters, gains, taken, price, increment):
    """Place of the cluster that is worth most to a label beyond its price, and what the label bids for it.

    The bid leaves the label as much as its second best choice would, less the increment; staying out is
    worth 0. The place is -1 where nothing is worth its price.
    """
    best, most, second = -1, 0.0, 0.0
    for place, k in enumerate(clusters[label]):
        # The rest gains less still.
        if k < 0 or gains[label, place] <= second:
            break
        if taken[label, place]:
            continue
        worth = gains[label, place] - price[k]
        if worth > most:
            best, most, second = place, worth, most
        elif worth > second:
            second = worth
    # Relative where gains are large: labels that want the same would outbid each other by crumbs.
    return best, gains[label, best] - second + max(increment, _LEAST_RAISE * gains[label, best])


@njit
def _put(bids, choices, bid, choice, size):
    """Add to a cluster's heap of `size` bids, lowest first; a full one gives its lowest up and returns it."""
    place, lowest = size, -1
    if size == len(bids):
        place, lowest = 0, choices[0]
        while 2 * place + 1 < size:
            child = 2 * place + 1
            if child + 1 < size and bids[child + 1] < bids[child]:
                child += 1
            if bids[child] >= bid:
                break
            bids[place], choices[place] = bids[child], choices[child]
            place = child
    else:
        while place > 0 and bids[(place - 1) // 2] > bid:
            parent = (place - 1) // 2
            bids[place], choices[place] = bids[parent], choices[parent]
            place = parent
    bids[place], choices[place] = bid, choice
    return lowest


@njit(
    boolean[:, ::1](int32[:, ::1], float64[:, ::1], int64, int64, int64, float64),
    cache=True,
)
def auction(clusters, gains, n_clusters, n_copies, room, increment):
    """Choices that gain most in all, while no label has more than `n_copies` and no cluster more than `room`.

    Labels bid for clusters; a full cluster's price is its lowest bid, which a higher one drives out. The
    total gain is within the sum over choices taken of `increment`, or a thousandth of their gains where that
    is more, of the most that there can be (Bertsekas and Castanon, Annals of Operations Research 20, 1989:
    auctions for transportation problems).

    Parameters
    ----------
    clusters : int32 array of shape (n_labels, width)
        Best first, none twice; -1 where a label has fewer choices.
    gains : float64 array of shape (n_labels, width)
        Above 0 and not rising within a row.
    n_clusters, n_copies, room : int
    increment : float
        Above 0.

    Returns
    -------
    taken : bool array of shape (n_labels, width)
    """
    n_labels, width = clusters.shape
    offsets = np.zeros(n_clusters + 1, np.int64)
    for k in clusters.ravel():
        if k >= 0:
            offsets[k + 1] += 1
    # Where fewer labels may come than there is room for, the price stays 0.
    offsets[1:] = np.minimum(offsets[1:], room)
    offsets = np.cumsum(offsets)
    bids, choices = np.empty(offsets[-1], np.float64), np.empty(offsets[-1], np.int64)
    sizes, price = np.zeros(n_clusters, np.int64), np.zeros(n_clusters, np.float64)
    taken, n_held = np.zeros((n_labels, width), np.bool_), np.zeros(n_labels, np.int64)
    waiting, is_waiting = np.arange(n_labels - 1, -1, -1), np.ones(n_labels, np.bool_)
    n_waiting = n_labels
    while n_waiting > 0:
        n_waiting -= 1
        label = waiting[n_waiting]
        is_waiting[label] = False
        while n_held[label] < n_copies:
            place, bid = _best_bid(label, clusters, gains, taken, price, increment)
            if place < 0:
                break
            k = clusters[label, place]
            heap = slice(offsets[k], offsets[k + 1])
            lowest = _put(bids[heap], choices[heap], bid, label * width + place, sizes[k])
            taken[label, place] = True
            n_held[label] += 1
            if lowest < 0:
                sizes[k] += 1
            else:
                loser = lowest // width
                taken[loser, lowest % width] = False
                n_held[loser] -= 1
                if not is_waiting[loser]:
                    waiting[n_waiting] = loser
                    is_waiting[loser] = True
                    n_waiting += 1
            if sizes[k] == room:
                price[k] = bids[offsets[k]]
    return taken


@njit(
    boolean[::1](_POINTERS, _INDICES, _POINTERS, _INDICES, _INDICES, _INDICES, _POINTERS, int64),
    parallel=True,
    cache=True,
)
def matched_positives(e_indptr, e_indices, m_indptr, m_indices, clusters, original, pseudo_indptr, n_blocks):
    """Which positives a copy keeps: the instances that match its cluster; what none matches, the first copy.

    Parameters
    ----------
    e_indptr, e_indices : int arrays
        Expanded label matrix by columns.
    m_indptr, m_indices : int arrays
        Matching matrix by rows.
    clusters, original : int32 arrays of shape (n_columns,)
        Of each copy; the first `n_labels` are first copies.
    pseudo_indptr : int64 array of shape (n_labels + 1,)
        Label l's further copies are columns `n_labels + pseudo_indptr[l : l + 2]`.
    n_blocks : int

    Returns
    -------
    bool array as long as `e_indices`
    """
    n_labels, n_columns = len(pseudo_indptr) - 1, len(original)
    kept = np.zeros(len(e_indices), np.bool_)
    for block in prange(n_blocks):
        for column in range(block * n_columns // n_blocks, (block + 1) * n_columns // n_blocks):
            label = original[column]
            for p in range(e_indptr[column], e_indptr[column + 1]):
                instance = e_indices[p]
                is_matched_elsewhere = False
                for q in range(m_indptr[instance], m_indptr[instance + 1]):
                    k = m_indices[q]
                    if k == clusters[column]:
                        kept[p] = True
                    elif column < n_labels:
                        for other in range(pseudo_indptr[label], pseudo_indptr[label + 1]):
                            if k == clusters[n_labels + other]:
                                is_matched_elsewhere = True
                if column < n_labels and not is_matched_elsewhere:
                    kept[p] = True
    return kept


@njit(inline="always")
def _insert(columns, values, n, column, value):
    """Put a column in its place among the `n` best so far, ties to the lower id; how many there are now."""
    k = len(columns)
    place = n
    while place > 0 and (
        value > values[place - 1] or (value == values[place - 1] and column < columns[place - 1])
    ):
        if place < k:
            columns[place], values[place] = columns[place - 1], values[place - 1]
        place -= 1
    if place < k:
        columns[place], values[place] = column, value
        n = min(n + 1, k)
    return n


@njit(int32[:, ::1](_POINTERS, _INDICES, _SCORES, int64), parallel=True, cache=True)
def rank_rows(indptr, indices, data, k):
    """Column ids of the `k` highest values of each row of a CSR matrix, ties to the lower id.

    Returns
    -------
    int32 array of shape (n_rows, k)
        Best first, -1 where a row has fewer entries.
    """
    n_rows = len(indptr) - 1
    ranked = np.full((n_rows, k), -1, np.int32)
    for row in prange(n_rows):
        values = np.empty(k, np.float32)
        n = 0
        for p in range(indptr[row], indptr[row + 1]):
            n = _insert(ranked[row], values, n, indices[p], data[p])
    return ranked


@njit(boolean[::1](_POINTERS, _SCORES, int64), parallel=True, cache=True)
def largest_rows(indptr, data, n):
    """Which entries are among the `n` of largest absolute value in their row of a CSR matrix.

    Returns
    -------
    bool array as long as `data`
        Of equal ones, those that come first.
    """
    kept = np.ones(len(data), np.bool_)
    for row in prange(len(indptr) - 1):
        start, end = indptr[row], indptr[row + 1]
        if end - start <= n:
            continue
        values = np.abs(data[start:end])
        cut = np.partition(values, end - start - n)[end - start - n]
        n_equal = n - (values > cut).sum()
        for p in range(start, end):
            value = values[p - start]
            kept[p] = value > cut or (value == cut and n_equal > 0)
            if value == cut:
                n_equal -= 1
    return kept


MEAN, MAX, NOISY_OR = 0, 1, 2


@njit(inline="always")
def _slot(table, names, label):
    """Where a hash table with linear probing has a label's slot, or is to have it: free places hold -1."""
    mask = len(table) - 1
    place = (label * 0x9E3779B1) & mask
    while table[place] >= 0 and names[table[place]] != label:
        place = (place + 1) & mask
    return place


@njit(
    Tuple((int32[:, ::1], float32[:, ::1]))(int64[:, ::1], _INDICES, _SCORES, _INDICES, _SCORES, int64),
    parallel=True,
    cache=True,
)
def best_rows(starts, labels, data, rules, weights, k):
    """Merge the scores of one label's copies, add the models' up, and rank: row by row, all at once.

    Parameters
    ----------
    starts : int64 array of shape (n_models, n_rows + 1)
        What model m found for row r is in `starts[m, r] : starts[m, r + 1]`.
    labels : int32 array
        Original labels of the copies that were found.
    data : float32 array
        Their scores.
    rules : int32 array of shape (n_models,)
        MEAN, MAX, or NOISY_OR: 1 - prod(1 - score).
    weights : float32 array of shape (n_models,)
    k : int

    Returns
    -------
    ranked : int32 array of shape (n_rows, k)
        Labels, best first, ties to the lower id; -1 where a row has fewer.
    values : float32 array of shape (n_rows, k)
        Their scores; 0 where a row has fewer.
    """
    n_models, n_rows = starts.shape[0], starts.shape[1] - 1
    ranked, values = np.full((n_rows, k), -1, np.int32), np.zeros((n_rows, k), np.float32)
    for row in prange(n_rows):
        most = (starts[:, row + 1] - starts[:, row]).sum()
        # Not a place for each label, which for millions of labels would be much memory to clear.
        size = 2
        while size < 2 * most:
            size *= 2
        table = np.full(size, -1, np.int32)
        names, totals = np.empty(most, np.int32), np.zeros(most, np.float32)
        merged, n_copies = np.zeros(most, np.float64), np.zeros(most, np.int64)
        n = 0
        for m in range(n_models):
            for p in range(starts[m, row], starts[m, row + 1]):
                place = _slot(table, names, labels[p])
                if table[place] < 0:
                    table[place], names[n] = n, labels[p]
                    n += 1
                slot = table[place]
                n_copies[slot] += 1
                if rules[m] == MEAN:
                    merged[slot] += data[p]
                elif rules[m] == MAX:
                    merged[slot] = max(merged[slot], data[p])
                else:
                    merged[slot] += (1.0 - merged[slot]) * data[p]
            for slot in range(n):
                if n_copies[slot]:
                    score = merged[slot] / n_copies[slot] if rules[m] == MEAN else merged[slot]
                    totals[slot] += weights[m] * np.float32(score)
                    merged[slot], n_copies[slot] = 0.0, 0
        n_ranked = 0
        for slot in range(n):
            n_ranked = _insert(ranked[row], values[row], n_ranked, names[slot], totals[slot])
    return ranked, values


@njit(boolean[:, ::1](_POINTERS, _INDICES, int32[:, ::1]), parallel=True, cache=True)
def hits_rows(indptr, indices, ranked):
    """Which columns of `ranked` the same row of a CSR matrix has; -1 is none.

    Returns
    -------
    bool array of the shape of `ranked`
    """
    n_rows, k = ranked.shape
    hits = np.zeros((n_rows, k), np.bool_)
    for row in prange(n_rows):
        for p in range(indptr[row], indptr[row + 1]):
            for place in range(k):
                if ranked[row, place] == indices[p]:
                    hits[row, place] = True
    return hits
