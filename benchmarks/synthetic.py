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
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from disentangle.data import datasets
from disentangle.data.datasets import FEATURES
from disentangle.errors import DisentangleError
from disentangle.params import at_least
from disentangle.storage import npz
from disentangle.storage.atomic import claim

# Beside the one occurrence that each has, the n-th most frequent label occurs in proportion to (n + 10)^-0.75
# (Zipf and Mandelbrot's law). The exponent is that of the embedded dataset and of eurlex-57k (0.76 both, over
# ranks 10 to a tenth of the labels; tibkat-all 0.62); without the shift, where there are millions of labels,
# the first would be in a fifth of all instances, and not in some percent, as they are in these sets.
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
# A topic and a label in one of its meanings have so many features, the label's partly its topic's.
_TOPIC_FEATURES, _LABEL_FEATURES, _FROM_TOPIC = 64, 8, 5
# What a feature of an instance is of: one of its labels, that one's topic, the branches above, nothing.
_SOURCE_SHARES = (0.2, 0.25, 0.1, 0.05, 0.4)
_BLOCK = 1 << 22  # occurrences of labels or features at a time: bounds the memory


@dataclass(frozen=True)
class Shape:
    """The size of a dataset.

    Attributes
    ----------
    n_instances : int
        In its training part.
    n_test : int
    n_features, n_labels : int
    labels_per_instance, features_per_instance : float
        Means; some percent less in labels, since what an instance has twice counts once.
    """

    n_instances: int
    n_test: int
    n_features: int
    n_labels: int
    labels_per_instance: float
    features_per_instance: float

    def validate(self) -> None:
        at_least("n_instances", self.n_instances, 1)
        at_least("n_test", self.n_test, 0)
        at_least("n_features", self.n_features, 2)
        at_least("n_labels", self.n_labels, 2 * LABELS_PER_TOPIC)
        for name, most in (
            ("labels_per_instance", self.n_labels),
            ("features_per_instance", self.n_features / 2),
        ):
            if not 1 <= (value := getattr(self, name)) <= most:
                raise DisentangleError(f"{name} must be in 1..{most:g}, got {value:g}")


@dataclass(frozen=True)
class Topics:
    """A tree of topics, all leaves on one level.

    Attributes
    ----------
    n : int
        Topics, the leaves; they are numbered from left to right.
    branching, depth : int
        The branch at level h above topic t is number `t // branching**h` of its level, from the left.
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
    """

    topics: Topics
    meanings: np.ndarray
    rates: np.ndarray


def plan_labels(
    n_instances: int, n_labels: int, labels_per_instance: float, rng: np.random.Generator
) -> Labels:
    """Draw topics and frequencies of labels.

    Where there are enough occurrences, each label gets one in training and the power law shares out the rest.
    """
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
    return Labels(topics, meanings, rates)


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
    # Systematic sampling: the sum is as expected; not from 0, lest what rounding does to it take one away.
    ends = np.concatenate([[0.0], np.cumsum(expected - whole)]) + rng.uniform(0.001, 1)
    counts = whole + np.diff(np.floor(ends)).astype(np.int64)
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


@dataclass(frozen=True)
class Features:
    """Which features labels and topics have.

    Attributes
    ----------
    n : int
        Features in all.
    of_labels : ndarray of shape (2 * n_labels, _LABEL_FEATURES), int32
        Of each meaning, numbered as by `draw_meanings`.
    of_branches : list of ndarray of shape (n_branches, _TOPIC_FEATURES), int32
        Of the topics, and of the branches at levels 1 and 2 above them.
    """

    n: int
    of_labels: np.ndarray
    of_branches: list[np.ndarray]


def plan_features(labels: Labels, n_features: int, rng: np.random.Generator) -> Features:
    """Draw the features of labels and topics."""
    topics = labels.topics
    of_branches = []
    for level in range(3):
        n = (topics.n - 1) // topics.branching**level + 1
        of_branches.append(rng.integers(n_features, size=(n, _TOPIC_FEATURES), dtype=np.int32))
    topic_of = labels.meanings.ravel()
    of_labels = rng.integers(n_features, size=(len(topic_of), _LABEL_FEATURES), dtype=np.int32)
    picked = rng.integers(_TOPIC_FEATURES, size=(len(topic_of), _FROM_TOPIC), dtype=np.int32)
    of_labels[:, :_FROM_TOPIC] = of_branches[0][topic_of[:, None], picked]
    return Features(n_features, of_labels, of_branches)


def draw_features(
    labels: Labels, features: Features, Z: sp.csr_matrix, per_instance: float, rng: np.random.Generator
) -> sp.csr_matrix:
    """How often instances have features, given in which meanings they have labels.

    Returns
    -------
    csr_matrix of shape (n_instances, n_features), float32
        Counts; about `per_instance` features a row, at least one. Sorted indices.
    """
    n = Z.shape[0]
    draws = _draws_needed(labels, features, Z, per_instance, rng)
    rows = max(1, int(_BLOCK / draws))
    blocks = []
    for start in range(0, n, rows):
        blocks.append(_draw_block(labels, features, Z[start : start + rows], draws, rng))
    return sp.vstack(blocks, format="csr")


def _draws_needed(
    labels: Labels, features: Features, Z: sp.csr_matrix, per_instance: float, rng: np.random.Generator
) -> float:
    """How many features to draw for an instance so that `per_instance` of them differ, by trial."""
    draws = per_instance
    for _ in range(4):
        found = _draw_block(labels, features, Z[:2000], draws, rng)
        draws *= per_instance * found.shape[0] / found.nnz
    return draws


def _draw_block(
    labels: Labels, features: Features, Z: sp.csr_matrix, draws: float, rng: np.random.Generator
) -> sp.csr_matrix:
    sizes = 1 + rng.poisson(max(0, draws - 1), Z.shape[0])
    row = np.repeat(np.arange(Z.shape[0]), sizes)
    source = np.searchsorted(np.cumsum(_SOURCE_SHARES)[:-1], rng.random(len(row)), "right")
    # Words have a power law, too: n * u^3 has density proportional to feature^(-2/3).
    drawn = (features.n * rng.random(len(row)) ** 3).astype(np.int64)
    label = Z.indptr[row] + (rng.random(len(row)) * np.diff(Z.indptr)[row]).astype(np.int64)
    meaning = Z.indices[label]
    at = source == 0
    drawn[at] = features.of_labels[meaning[at], rng.integers(_LABEL_FEATURES, size=at.sum())]
    topic = labels.meanings.ravel()[meaning]
    for level, of_branches in enumerate(features.of_branches):
        at = source == level + 1
        # Some of a topic's features are more typical of it than others.
        place = (_TOPIC_FEATURES * rng.random(at.sum()) ** 2).astype(np.int64)
        drawn[at] = of_branches[topic[at] // labels.topics.branching**level, place]
    indptr = np.concatenate([[0], np.cumsum(sizes)])
    block = sp.csr_matrix((np.ones(len(drawn), np.float32), drawn, indptr), shape=(Z.shape[0], features.n))
    block.sum_duplicates()
    return block


def weigh(X: sp.csr_matrix, n_holders: np.ndarray, n_instances: int) -> None:
    """Turn counts into tf-idf, rows of length 1, in place.

    Parameters
    ----------
    X : csr_matrix of shape (any, n_features), float32
    n_holders : ndarray of shape (n_features,), int
        How many of the `n_instances` training instances have each feature.
    n_instances : int
    """
    inverse = np.log((1 + n_instances) / (1 + n_holders)) + 1
    for start in range(0, X.nnz, _BLOCK):
        block = slice(start, start + _BLOCK)
        X.data[block] = (1 + np.log(X.data[block])) * inverse[X.indices[block]]
    lengths = np.sqrt(np.add.reduceat(X.data**2, X.indptr[:-1]))
    X.data /= np.repeat(lengths, np.diff(X.indptr))


@dataclass(frozen=True)
class Synthetic:
    """A dataset that was made up.

    Attributes
    ----------
    matrices : dict of str to csr_matrix
        X_trn and X_tst, float32 with rows of length 1; Y_trn and Y_tst, float32 0/1. Without test
        instances those of the training part alone.
    meanings : ndarray of shape (n_labels, 2), int32
        As `Labels` has them.
    """

    matrices: dict[str, sp.csr_matrix]
    meanings: np.ndarray


def make(shape: Shape, seed: int) -> Synthetic:
    """Make a dataset; the same arguments give the same one.

    Raises
    ------
    DisentangleError
        If the shape is out of range.
    """
    shape.validate()
    at_least("seed", seed, 0)
    rng = np.random.default_rng(seed)
    labels = plan_labels(shape.n_instances, shape.n_labels, shape.labels_per_instance, rng)
    features = plan_features(labels, shape.n_features, rng)
    matrices: dict[str, sp.csr_matrix] = {}
    for part, n in (("trn", shape.n_instances), ("tst", shape.n_test)):
        if n:
            Z = draw_meanings(labels, n, rng)
            X = draw_features(labels, features, Z, shape.features_per_instance, rng)
            if part == "trn":
                n_holders = np.bincount(X.indices, minlength=shape.n_features)
            weigh(X, n_holders, shape.n_instances)
            matrices |= {f"X_{part}": X, f"Y_{part}": to_labels(Z)}
    return Synthetic(matrices, labels.meanings)


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
    all_rows = np.arange(n)
    rows = np.concatenate([np.repeat(all_rows, np.diff(Y.indptr)), np.repeat(all_rows, more.shape[1])])
    pairs = rows * n_clusters + np.concatenate([clusters[Y.indices], more.ravel()])
    # Each label counts 1 for its cluster, the others count less than one label.
    weights = np.concatenate([np.ones(Y.nnz), rng.random(more.size)])
    order = np.argsort(pairs)
    pairs, weights = pairs[order], weights[order]
    first = np.flatnonzero(np.diff(pairs, prepend=-1))
    rows, found = np.divmod(pairs[first], n_clusters)
    best = np.lexsort((-np.add.reduceat(weights, first), rows))
    starts = np.searchsorted(rows, all_rows)  # rows are sorted before and after
    return found[best][starts[:, None] + np.arange(beam_size)]


def write(folder: Path, made: Synthetic) -> None:
    """Write a dataset with both parts in PECOS's layout, whole or not at all.

    Raises
    ------
    DisentangleError
        If the folder exists, or cannot be written.
    """
    with claim(folder) as temporary:
        if folder.exists():
            raise DisentangleError(f"{folder} exists: name a new folder, or remove it")
        (temporary / FEATURES).mkdir(parents=True)
        for key, path in datasets.paths_of(temporary).items():
            npz.save(path, made.matrices[key])
        np.save(temporary / "meanings.npy", made.meanings)
        temporary.rename(folder)


def split(n_instances: int) -> tuple[int, int]:
    """Training and test instances of so many: four fifths, the rest.

    Raises
    ------
    DisentangleError
        If there would be none in one part.
    """
    at_least("instances", n_instances, 2)
    n_test = max(1, n_instances // 5)
    return n_instances - n_test, n_test


def main() -> None:
    """Write what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    add("folder", type=Path, metavar="OUT_FOLDER")
    add("--instances", type=int, default=25_000, help="training and test")
    add("--labels", type=int, default=5_000)
    add("--features", type=int, default=20_000)
    add("--labels-per-instance", type=float, default=5)
    add("--features-per-instance", type=float, default=50)
    add("--seed", type=int, default=0)
    args = parser.parse_args()
    sizes = (args.features, args.labels, args.labels_per_instance, args.features_per_instance)
    try:
        write(args.folder, make(Shape(*split(args.instances), *sizes), args.seed))
    except DisentangleError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
