"""Which labels get the places of clusters that have not room for all."""

from __future__ import annotations

import numpy as np
from numba import boolean, float64, int32, int64, njit, void

from . import POINTERS, kernel

# Relative where gains are large: labels that want the same would outbid each other by crumbs.
_LEAST_RAISE = 1e-3


@njit
def _best_bid(label, clusters, gains, taken, price, increment):
    """Place of the cluster that is worth most to a label beyond its price, and what the label bids for it.

    The bid leaves the label as much as its second best choice would, less the increment; staying out is
    worth 0. The place is -1 where nothing is worth its price.
    """
    best, most, second = -1, 0.0, 0.0
    for place in range(clusters.shape[1]):
        k = clusters[label, place]
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
    if best < 0:
        return best, 0.0
    return best, gains[label, best] - second + max(increment, _LEAST_RAISE * gains[label, best])


@njit
def _put(bids, choices, start, end, bid, choice, size):
    """Add to a cluster's heap of `size` bids, lowest first; a full one gives its lowest up and returns it.

    The heap is what `bids` and `choices` have from `start` to before `end`.
    """
    place, lowest = size, -1
    if size == end - start:
        place, lowest = 0, choices[start]
        while 2 * place + 1 < size:
            child = 2 * place + 1
            if child + 1 < size and bids[start + child + 1] < bids[start + child]:
                child += 1
            if bids[start + child] >= bid:
                break
            bids[start + place], choices[start + place] = bids[start + child], choices[start + child]
            place = child
    else:
        while place > 0 and bids[start + (place - 1) // 2] > bid:
            parent = (place - 1) // 2
            bids[start + place], choices[start + place] = bids[start + parent], choices[start + parent]
            place = parent
    bids[start + place], choices[start + place] = bid, choice
    return lowest


@kernel(
    void(
        int32[:, ::1],
        float64[:, ::1],
        POINTERS,
        int64,
        int64,
        float64,
        float64[::1],
        POINTERS,
        boolean[:, ::1],
    )
)
def _auction(clusters, gains, offsets, n_copies, room, increment, bids, choices, taken):
    n_labels, width = clusters.shape
    n_clusters = len(offsets) - 1
    sizes, price = np.zeros(n_clusters, np.int64), np.zeros(n_clusters, np.float64)
    n_held, waiting = np.zeros(n_labels, np.int64), np.empty(n_labels, np.int64)
    is_waiting = np.ones(n_labels, np.bool_)
    for i in range(n_labels):
        waiting[i] = n_labels - 1 - i
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
            choice = label * width + place
            lowest = _put(bids, choices, offsets[k], offsets[k + 1], bid, choice, sizes[k])
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


def auction(
    clusters: np.ndarray, gains: np.ndarray, n_clusters: int, n_copies: int, room: int, increment: float
) -> np.ndarray:
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
    # Where fewer labels may come than there is room for, the price stays 0.
    places = np.minimum(np.bincount(clusters[clusters >= 0], minlength=n_clusters), room)
    offsets = np.concatenate([[0], places.cumsum()]).astype(np.int64)
    bids, choices = np.empty(offsets[-1], np.float64), np.empty(offsets[-1], np.int64)
    taken = np.zeros(clusters.shape, np.bool_)
    _auction(clusters, gains, offsets, n_copies, room, increment, bids, choices, taken)
    return taken
