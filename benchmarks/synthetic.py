"""Sparse XMC data of any shape, with topics, a power law of label frequencies, and labels of two meanings.

    PYTHONPATH=src .venv/bin/python benchmarks/synthetic.py OUT_FOLDER [--instances 25000] [--labels 5000]
        [--features 20000] [--labels-per-instance 5] [--features-per-instance 50] [--seed 0]

writes a dataset in PECOS's layout, four fifths of the instances its training part, with `meanings.npy`
beside it: int32 of shape (labels, 2), the topic of each label's meanings, -1 for no second one. The same
arguments give the same bytes.

Topics are the leaves of a tree, so that a label tree has something to find, and lie side by side on a line.
Each occurrence of a label falls somewhere into its topic, more seldom into the topics around, and the rarer
the farther; instances are neighbouring occurrences. So an instance has a few topics, mostly near ones. A
label that is too frequent for its topic is spread over a branch of the tree instead, as broad labels are.
Features of an instance come from the feature distributions of its labels, their topics and the branches above
them, and from all features. A label with a second meaning occurs as often in a far topic, in another
branch of the root, and has other features there.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from disentangle import data, npz
from disentangle.data import FEATURES
from disentangle.errors import DisentangleError
from disentangle.params import at_least
from disentangle.stages import claim

# The n-th most frequent label occurs in proportion to (n + 10)^-0.75 (Zipf and Mandelbrot's law). The exponent
# is that of the embedded dataset and of eurlex-57k (0.76 both, ranks 10 to a tenth of the labels; tibkat-all
# 0.62); the shift keeps the first labels at the 5 to 8 % of the instances that they have there.
EXPONENT, SHIFT = 0.75, 10
LABELS_PER_TOPIC = 64
_BRANCHING = 8  # about: what makes the tree of topics balanced
# Where an occurrence falls: its topic, the branches one and two levels above, anywhere.
_LEVEL_SHARES = (0.7, 0.2, 0.07, 0.03)
# A label may fill at most this share of its branch's instances, or it would meet itself in them.
_MOST_OF_A_BRANCH = 0.25
AMBIGUOUS_SHARE = 0.1
# They are drawn from these ranks: neither the broadest, nor too rare to show two meanings.
_AMBIGUOUS_RANKS = (0.01, 0.5)
_BLOCK = 1 << 22  # occurrences of labels or features at a time: bounds the memory


@dataclass(frozen=True)
class Topics:
    """A tree of topics, all leaves on one level.

    Attributes
    ----------
    n : int
        Topics, the leaves; they are numbered from left to right.
    branching, depth : int
        The branch at level h above topic t has the topics `t // branching**h * branching**h` and on.
    """

    n: int
    branching: int
    depth: int

    @classmethod
    def of(cls, n: int) -> Topics:
        """A balanced tree."""
        depth = max(1, round(math.log(n, _BRANCHING)))
        branching = next(b for b in range(2, n + 1) if b**depth >= n)
        return cls(n, branching, depth)

    def branches(self, topics: np.ndarray, levels: np.ndarray | int) -> tuple[np.ndarray, np.ndarray]:
        """First topic and number of topics of the branches at some levels above topics; int64."""
        widths = np.asarray(self.branching) ** np.minimum(levels, self.depth)
        starts = topics // widths * widths
        return starts, np.minimum(widths, self.n - starts)


@dataclass(frozen=True)
class Labels:
    """What labels mean and how often they occur.

    Attributes
    ----------
    topics : Topics
    meanings : ndarray of shape (n_labels, 2), int32
        Topic of each label's first and second meaning, -1 for no second one.
    rates : ndarray of shape (n_labels,), float64
        Occurrences per training instance.
    n_instances : int
        The training instances that they are meant for.
    """

    topics: Topics
    meanings: np.ndarray
    rates: np.ndarray
    n_instances: int


def plan_labels(
    n_instances: int, n_labels: int, labels_per_instance: float, rng: np.random.Generator
) -> Labels:
    """Draw topics and frequencies of labels.

    Where there are enough occurrences, each label gets one in training and the power law shares out the rest.

    Raises
    ------
    DisentangleError
        If there are too few labels for two topics, or fewer labels than labels per instance.
    """
    at_least("n_instances", n_instances, 1)
    at_least("n_labels", n_labels, 2 * LABELS_PER_TOPIC)
    if not 1 <= labels_per_instance <= n_labels:
        raise DisentangleError(f"labels_per_instance must be in 1..{n_labels}, got {labels_per_instance}")
    topics = Topics.of(-(-n_labels // LABELS_PER_TOPIC))
    occurrences = n_instances * labels_per_instance
    ranks = rng.permutation(n_labels)
    law = (ranks + 1.0 + SHIFT) ** -EXPONENT
    least = min(1.0, occurrences / n_labels)
    rates = (least + (occurrences - least * n_labels) * law / law.sum()) / n_instances
    meanings = np.full((n_labels, 2), -1, np.int32)
    meanings[:, 0] = rng.permutation(n_labels) // LABELS_PER_TOPIC
    low, high = (int(share * n_labels) for share in _AMBIGUOUS_RANKS)
    chosen = rng.permutation(np.flatnonzero((ranks >= low) & (ranks < high)))
    chosen = chosen[: round(AMBIGUOUS_SHARE * n_labels)]
    meanings[chosen, 1] = _far_topics(topics, meanings[chosen, 0], rng)
    return Labels(topics, meanings, rates, n_instances)


def _far_topics(topics: Topics, near: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Any topics in other branches of the root than the given ones."""
    starts, widths = topics.branches(near, topics.depth - 1)
    return (starts + widths + rng.integers(topics.n - widths)) % topics.n


def draw_meanings(labels: Labels, n_instances: int, rng: np.random.Generator) -> sp.csr_matrix:
    """Draw instances: in which meanings they have which labels.

    Returns
    -------
    csr_matrix of shape (n_instances, 2 * n_labels), float32
        Ones; column 2 l + m is meaning m of label l. Sorted indices; at least one label per row.
    """
    expected = labels.rates * n_instances
    whole = np.floor(expected).astype(np.int64)
    ends = np.concatenate([[0.0], np.cumsum(expected - whole)]) + rng.random()
    counts = whole + np.diff(np.floor(ends)).astype(np.int64)  # systematic sampling: the sum is as expected
    occurrences = _occurrences(labels, counts, rng)
    occurrences.sort()
    columns = occurrences.astype(np.uint32).view(np.int32)
    del occurrences
    # One label each, the others shared out evenly at random.
    others = max(0, len(columns) - n_instances)
    sizes = 1 + rng.multinomial(others, np.full(n_instances, 1 / n_instances))
    indptr = np.minimum(np.concatenate([[0], np.cumsum(sizes)]), len(columns))
    shape = (n_instances, 2 * len(labels.rates))
    in_line = sp.csr_matrix((np.ones(len(columns), np.float32), columns, indptr), shape=shape)
    Z = in_line[rng.permutation(n_instances)]
    del in_line, columns
    return _without_repeats(Z)


def _occurrences(labels: Labels, counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """All occurrences of labels: place on the line of topics in the upper 32 bits, meaning below; uint64."""
    topics = labels.topics
    share = labels.rates * topics.n / _MOST_OF_A_BRANCH  # of what a topic can take
    broad = np.ceil(np.log(np.maximum(share, 1)) / np.log(topics.branching)).astype(np.int64)
    ends = np.concatenate([[0], np.cumsum(counts)])
    found = np.empty(ends[-1], np.uint64)
    start = 0
    while start < len(counts):
        stop = max(start + 1, int(np.searchsorted(ends, ends[start] + _BLOCK, "right")) - 1)
        label = np.repeat(np.arange(start, stop), counts[start:stop])
        second = (labels.meanings[label, 1] >= 0) & (rng.random(len(label)) < 0.5)
        level = np.searchsorted(np.cumsum(_LEVEL_SHARES), rng.random(len(label)))
        level[level == len(_LEVEL_SHARES) - 1] = topics.depth
        topic = labels.meanings[label, second.astype(np.int64)].astype(np.int64)
        first, width = topics.branches(topic, np.maximum(level, broad[label]))
        place = (first + rng.random(len(label)) * width) * (2.0**32 / topics.n)
        place = np.minimum(place, 2.0**32 - 1).astype(np.uint64)
        found[ends[start] : ends[stop]] = place << np.uint64(32) | (2 * label + second).astype(np.uint64)
        start = stop
    return found


def _without_repeats(matrix: sp.csr_matrix) -> sp.csr_matrix:
    """The matrix itself, its indices sorted, with ones only."""
    matrix.has_sorted_indices = matrix.has_canonical_format = False
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def to_labels(Z: sp.csr_matrix) -> sp.csr_matrix:
    """Y of shape (n_instances, n_labels), float32 0/1, of a matrix of meanings, which is used up."""
    indices = Z.indices
    indices >>= 1
    shape = (Z.shape[0], Z.shape[1] // 2)
    return _without_repeats(sp.csr_matrix((Z.data, indices, Z.indptr), shape=shape))


def clusters_by_topic(labels: Labels, n_clusters: int) -> np.ndarray:
    """Even clusters of labels of the same or neighbouring topics, by first meaning: int32 (n_labels,)."""
    order = np.argsort(labels.meanings[:, 0], kind="stable")
    clusters = np.empty(len(order), np.int32)
    clusters[order] = np.arange(len(order)) * n_clusters // len(order)
    return clusters


def matching(
    Y: sp.csr_matrix, clusters: np.ndarray, n_clusters: int, beam_size: int, rng: np.random.Generator
) -> sp.csr_matrix:
    """A matching matrix as a model could find it: clusters of an instance's labels, near ones and any.

    Parameters
    ----------
    Y : csr_matrix of shape (n_instances, n_labels)
    clusters : ndarray of shape (n_labels,), int
        Those with near numbers are taken to be alike.
    n_clusters, beam_size : int
    rng : Generator

    Returns
    -------
    csr_matrix of shape (n_instances, n_clusters), float32
        `beam_size` scores in (0, 1] per row, descending as they are stored; as PECOS's are.

    Raises
    ------
    DisentangleError
        If the beam is wider than there are clusters.
    """
    if not 1 <= beam_size <= n_clusters:
        raise DisentangleError(f"beam_size must be in 1..{n_clusters}, got {beam_size}")
    n = Y.shape[0]
    indices = np.empty((n, beam_size), np.int32)
    scores = np.empty((n, beam_size), np.float32)
    rows = max(1, _BLOCK // (Y.nnz // n + 2 * beam_size))
    for start in range(0, n, rows):
        block = slice(start, min(n, start + rows))
        indices[block] = _match(Y[block], clusters, n_clusters, beam_size, rng)
        # Falling by an average fifth: what is left of ten is a tenth of the first.
        scores[block] = np.cumprod(rng.uniform(0.6, 1, scores[block].shape), axis=1)
    indptr = np.arange(n + 1) * beam_size
    return sp.csr_matrix((scores.ravel(), indices.ravel(), indptr), shape=(n, n_clusters))


def _match(
    Y: sp.csr_matrix, clusters: np.ndarray, n_clusters: int, beam_size: int, rng: np.random.Generator
) -> np.ndarray:
    """Clusters of some instances, best first: int64 of shape (n_instances, beam_size)."""
    n = Y.shape[0]
    # A row without labels looks like the one after it.
    main = clusters[Y.indices[np.minimum(Y.indptr[:-1], Y.nnz - 1)]].astype(np.int64)
    near = main[:, None] + np.arange(beam_size) - beam_size // 2  # distinct: no row has too few
    anywhere = rng.integers(n_clusters, size=(n, 2))
    more = np.concatenate([near % n_clusters, anywhere], axis=1)
    rows = np.concatenate([np.repeat(np.arange(n), np.diff(Y.indptr)), np.repeat(np.arange(n), more.shape[1])])
    pairs = rows * n_clusters + np.concatenate([clusters[Y.indices], more.ravel()])
    # Each label counts 1 for its cluster, the others count less than one label.
    weights = np.concatenate([np.ones(Y.nnz), rng.random(more.size)])
    order = np.argsort(pairs)
    pairs, weights = pairs[order], weights[order]
    first = np.flatnonzero(np.diff(pairs, prepend=-1))
    rows, found = np.divmod(pairs[first], n_clusters)
    best = np.lexsort((-np.add.reduceat(weights, first), rows))
    starts = np.searchsorted(rows, np.arange(n))  # rows are sorted before and after
    return found[best][starts[:, None] + np.arange(beam_size)]
