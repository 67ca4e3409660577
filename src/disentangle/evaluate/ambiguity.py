"""How ambiguous each label is, and whether its copies split its instances more than those of its peers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.stats import false_discovery_control, norm

from ..overlap.copies import Overlap
from ..storage.compressed import one_per_row

# Labels of fewer instances that prefer a copy are not tested: their few pairs say little.
MIN_INSTANCES = 10
# Labels of about the same frequency that a label is tested against, and how few are too few.
N_PEERS = 400
MIN_PEERS = 40
# Expected share of false ones among the significant labels.
RATE = 0.05
# Pairs of instances that are taken to be as alike as those of all labels, besides a label's own.
N_PAIRS = 5
_BLOCK = 1 << 24  # values of sums of vectors at a time


@dataclass(frozen=True)
class Ambiguity:
    """How ambiguous labels are; arrays of shape (n_labels,), but for `n_preferring`.

    Attributes
    ----------
    score : ndarray, float64
        Higher for the more ambiguous: from 0, all instances alike, to 1, none like another; that of few
        instances is drawn to the mean. NaN for labels with fewer than two.
    n_instances : ndarray, int64
        Training instances.
    n_preferring : ndarray of shape (n_labels + n_pseudo_labels,), int64
        Instances that prefer each copy: its cluster scores highest of all of the label's.
    n_several, n_unreached, n_tied : ndarray, int64
        Instances that reach several of the label's clusters; none of them; several that score highest alike.
    separation : ndarray, float64
        As `score`, over pairs of instances that prefer different copies only; NaN where there are none.
    p_value : ndarray, float64
        Of a separation so high if the label were like most of its frequency; NaN for labels not tested.
    q_value : ndarray, float64
        P-values corrected for their number by Benjamini and Hochberg.
    is_significant : ndarray, bool
        Whether the q-value is at most `RATE`.
    """

    score: np.ndarray
    n_instances: np.ndarray
    n_preferring: np.ndarray
    n_several: np.ndarray
    n_unreached: np.ndarray
    n_tied: np.ndarray
    separation: np.ndarray
    p_value: np.ndarray
    q_value: np.ndarray
    is_significant: np.ndarray


def ambiguity(Y: sp.csc_matrix, overlap: Overlap, M: sp.csr_matrix) -> Ambiguity:
    """Score labels by how unlike their instances are, and test how their copies split these.

    Take two of a label's instances. How alike they are is the mean of two cosines: of the clusters that
    the matcher sends them to, and of their other labels. The score is 1 minus its mean over all pairs, and
    `N_PAIRS` more that are as alike as pairs of all labels: on its own a label of two instances, of which
    nothing is known but one pair, would often come first by chance.

    A mean cosine over the pairs of n vectors of length 1 is (|sum|² - n) / n(n - 1). It does not fall with n
    as |sum|² / n² does. An instance without other labels has no part in the second; if no pair of a label
    has, the first is all.

    Parameters
    ----------
    Y : csc_matrix of shape (n_instances, n_labels)
    overlap : Overlap
    M : csr_matrix of shape (n_instances, n_clusters)
        The matcher's scores of the clusters that an instance reaches.

    Returns
    -------
    Ambiguity
    """
    n_labels, n_copies = overlap.n_labels, len(overlap.original)
    instances, labels = Y.indices, np.repeat(np.arange(n_labels), np.diff(Y.indptr))
    copy, n_reached = preferred(instances, labels, overlap, M)
    # What prefers no copy is a group of its own, behind those of all copies.
    group = np.where(copy >= 0, copy, n_copies + labels)
    of_label = np.concatenate([overlap.original, np.arange(n_labels)])
    ones = np.ones(len(group))
    groups = sp.csr_matrix((ones, (group, instances)), shape=(len(of_label), Y.shape[0]))
    cosines = [
        _cosines(groups, of_label, n_copies, unit_rows(M), is_of_labels=False),
        _cosines(groups, of_label, n_copies, _others(Y), is_of_labels=True),
    ]
    score, separation = _unlikeness(*cosines)
    score = _drawn_to_the_mean(score, np.diff(Y.indptr))
    n_preferring = np.bincount(copy[copy >= 0], minlength=n_copies)
    n_told = np.bincount(overlap.original, n_preferring, n_labels)
    p_value, q_value = _tested(separation, n_told)

    def count(which: np.ndarray) -> np.ndarray:
        return np.bincount(labels[which], minlength=n_labels)

    return Ambiguity(
        score=score,
        n_instances=np.diff(Y.indptr).astype(np.int64),
        n_preferring=n_preferring,
        n_several=count(n_reached > 1),
        n_unreached=count(n_reached == 0),
        n_tied=count((n_reached > 0) & (copy < 0)),
        separation=separation,
        p_value=p_value,
        q_value=q_value,
        is_significant=q_value <= RATE,
    )


def _tested(separation: np.ndarray, n_told: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """P-values and q-values of separations; NaN for labels not tested."""
    p_value, q_value = np.full((2, len(separation)), np.nan)
    tested = np.flatnonzero((n_told >= MIN_INSTANCES) & np.isfinite(separation))
    if len(tested) >= MIN_PEERS:
        p_value[tested] = p_values(separation[tested], n_told[tested])
        q_value[tested] = false_discovery_control(p_value[tested])
    return p_value, q_value


def p_values(values: np.ndarray, n: np.ndarray) -> np.ndarray:
    """How rarely a label like most of its frequency has so high a value.

    An empirical null: Efron, "Large-scale simultaneous hypothesis testing: the choice of a null hypothesis",
    Journal of the American Statistical Association 99, 2004. Most labels of a frequency are taken to have
    one meaning. Their values are normal around the middle of the shortest half of all values, and vary as
    much as those below it do: what several meanings add is above.

    Parameters
    ----------
    values : ndarray of shape (n_labels,), float64
    n : ndarray of shape (n_labels,), int
        Instances of each label; its peers are the `N_PEERS` labels nearest to it by this number.

    Returns
    -------
    ndarray of shape (n_labels,), float64
        One-sided: small for high values.
    """
    order = np.argsort(n, kind="stable")
    z = np.empty(len(values))
    step = N_PEERS // 8  # neighbours share their peers
    for first in range(0, len(order), step):
        start = max(0, min(first + step // 2 - N_PEERS // 2, len(order) - N_PEERS))
        peers = np.sort(values[order[start : start + N_PEERS]])
        half = len(peers) // 2
        shortest = np.argmin(peers[half:] - peers[: len(peers) - half])
        middle = np.median(peers[shortest : shortest + half + 1])
        below = peers[peers <= middle]
        spread = np.sqrt(np.mean((middle - below) ** 2))
        own = order[first : first + step]
        z[own] = (values[own] - middle) / max(spread, np.finfo(float).tiny)
    return norm.sf(z)


def copies_by_label(overlap: Overlap) -> tuple[np.ndarray, np.ndarray]:
    """All copies, those of a label side by side with its first one first, and where each label's begin.

    Returns
    -------
    copies : ndarray of shape (n_labels + n_pseudo_labels,), int
    first : ndarray of shape (n_labels + 1,), int
        Those of label l are `copies[first[l] : first[l + 1]]`.
    """
    copies = np.argsort(overlap.original, kind="stable")
    return copies, np.searchsorted(overlap.original[copies], np.arange(overlap.n_labels + 1))


def preferred(
    instances: np.ndarray, labels: np.ndarray, overlap: Overlap, M: sp.csr_matrix
) -> tuple[np.ndarray, np.ndarray]:
    """For each positive the copy whose cluster alone scores highest, or -1, and how many it reaches."""
    M = M.sorted_indices()
    by_label, first = copies_by_label(overlap)
    n_copies = np.diff(first)
    best, copy = np.zeros(len(labels), np.float32), np.full(len(labels), -1)
    n_reached = np.zeros(len(labels), np.int64)
    for nth in range(n_copies.max(initial=0)):
        has = np.flatnonzero(n_copies[labels] > nth)
        own = by_label[first[labels[has]] + nth]
        scores = np.asarray(M[instances[has], overlap.clusters[own]]).ravel()
        n_reached[has] += scores > 0
        is_tied = (scores == best[has]) & (scores > 0)
        copy[has] = np.where(scores > best[has], own, np.where(is_tied, -1, copy[has]))
        best[has] = np.maximum(scores, best[has])
    return copy, n_reached


def unit_rows(M: sp.csr_matrix) -> sp.csr_matrix:
    """Rows of length 1, float64; those without values other than 0 stay as they are."""
    n = np.diff(M.indptr)
    rows = np.repeat(np.arange(len(n)), n)
    lengths = np.sqrt(np.bincount(rows, M.data.astype(np.float64) ** 2, len(n)))
    lengths[lengths == 0] = 1
    return sp.csr_matrix((M.data / lengths[rows], M.indices, M.indptr), shape=M.shape)


def _others(Y: sp.csc_matrix) -> sp.csr_matrix:
    """Labels of instances that have several; rows of length 1 once one of the labels is left out."""
    rows = Y.tocsr()
    n = np.diff(rows.indptr)
    lengths = np.sqrt(np.maximum(n - 1, 1))
    several = sp.diags((n > 1) / lengths).tocsr()
    several.eliminate_zeros()
    return (several @ (rows != 0)).tocsr()


def _cosines(
    groups: sp.csr_matrix, of_label: np.ndarray, n_copies: int, Z: sp.csr_matrix, is_of_labels: bool
) -> np.ndarray:
    """Mean cosines of pairs of a label's instances: all, and those of different copies.

    Parameters
    ----------
    groups : csr_matrix of shape (n_groups, n_instances)
        Instances of each copy, then of each label those of no copy.
    of_label : ndarray of shape (n_groups,), int
    n_copies : int
    Z : csr_matrix of shape (n_instances, n_columns)
        Rows of length 1; or of labels, each of length 1 without the column of the label that is scored.
    is_of_labels : bool

    Returns
    -------
    ndarray of shape (2, n_labels), float64
        NaN where there are no pairs.
    """
    n_labels = len(of_label) - n_copies
    n = groups @ (np.diff(Z.indptr) > 0).astype(np.float64)  # instances that have a part
    is_copy = np.arange(len(of_label)) < n_copies
    # Squares of sums, and numbers: of a label's instances, of those of copies, of each copy's.
    squares, numbers = np.zeros((3, n_labels)), np.zeros((3, n_labels))
    for block in _blocks(groups, of_label, Z):
        labels, row = np.unique(of_label[block], return_inverse=True)
        S = groups[block] @ Z
        told = is_copy[block]
        own = labels if is_of_labels else None
        to_label = one_per_row(row, len(labels)).T.tocsr()
        squares[0, labels] = _squares(to_label @ S, own)
        squares[1, labels] = _squares(to_label[:, told] @ S[told], own)
        parts = _squares(S[told], None if own is None else own[row[told]])
        squares[2, labels] = np.bincount(row[told], parts, len(labels))
    numbers[0] = np.bincount(of_label, n, n_labels)
    numbers[1] = np.bincount(of_label[:n_copies], n[:n_copies], n_labels)
    several = np.bincount(of_label[:n_copies], n[:n_copies] ** 2, n_labels)
    sums = np.stack([squares[0] - numbers[0], squares[1] - squares[2]])
    pairs = np.stack([numbers[0] * (numbers[0] - 1), numbers[1] ** 2 - several])
    return np.divide(sums, pairs, out=np.full(sums.shape, np.nan), where=pairs > 0)


def _blocks(groups: sp.csr_matrix, of_label: np.ndarray, Z: sp.csr_matrix) -> Iterator[np.ndarray]:
    """Groups of some labels at a time, so that their sums have at most about `_BLOCK` values."""
    by_label = np.argsort(of_label, kind="stable")
    n_values = np.bincount(of_label, groups @ np.diff(Z.indptr))
    ends = np.cumsum(np.bincount(of_label))
    block = (np.cumsum(n_values) // _BLOCK).astype(np.int64)
    last = np.flatnonzero(np.diff(block, append=-1))
    yield from np.split(by_label, ends[last][:-1])


def _squares(S: sp.csr_matrix, left_out: np.ndarray | None) -> np.ndarray:
    """Squared length of each row, without a column for each."""
    n = np.repeat(np.arange(S.shape[0]), np.diff(S.indptr))
    squares = np.bincount(n, S.data**2, S.shape[0])
    if left_out is None:
        return squares
    return squares - np.asarray(S[np.arange(S.shape[0]), left_out]).ravel() ** 2


def _unlikeness(*cosines: np.ndarray) -> np.ndarray:
    """1 minus the mean of those cosines that there are, within 0 and 1."""
    found = np.stack(cosines)
    n = np.isfinite(found).sum(axis=0)
    mean = np.divide(np.nansum(found, axis=0), n, out=np.full(n.shape, np.nan), where=n > 0)
    return np.clip(1 - mean, 0, 1)


def _drawn_to_the_mean(score: np.ndarray, n_instances: np.ndarray) -> np.ndarray:
    """Scores with `N_PAIRS` pairs more, of the mean of all pairs."""
    pairs, is_known = n_instances * (n_instances - 1.0) / 2, np.isfinite(score)
    if not is_known.any():
        return score
    mean = np.average(score[is_known], weights=pairs[is_known])
    drawn: np.ndarray = (pairs * score + N_PAIRS * mean) / (pairs + N_PAIRS)
    return drawn
