"""What the stages of a job with the preset `lean` do, counted from a set's sizes by what algorithms do."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from synthetic import Shape

from disentangle.data import datasets
from disentangle.params import MAX_K, PredictParams, TreeParams
from disentangle.presets import PRESETS

STAGES = ("load", "tree", "matcher", "match", "assign", "expand", "split", "retrain", "predict", "evaluate")
LEAN, BEAM = PRESETS["lean"], PredictParams().beam_size
COPIES = LEAN.assignment.n_copies
INT32 = 2**31 - 1  # what scipy counts in 4 bytes
_LEAF, _SPLITS = LEAN.leaves.leaf_size or 1, LEAN.leaves.overlap_splits or 2
# Of all features of all instances of a label, those that differ: 0.80 to 0.85 in shares of the shapes of
# amazon-670k and amazon-3m, 0.64 in one of wiki-500k's.
_COVERED = 0.8
# Terms of an instance, at most, that 0.20.0, which was measured, learnt from: its first matcher, its model.
_FIRST_TERMS, _TERMS = 32, 200
_PREDICT_BEAM = LEAN.scoring.predict_beam or BEAM


class Work(NamedTuple):
    """Of a stage: what one thread does, what all share, and of this the largest part that is not cut."""

    serial: float
    parallel: float = 0.0
    longest: float = 0.0


@dataclass(frozen=True)
class Sizes:
    """Of a set; `covered` is how many features the instances of each label have, added up."""

    n_train: int
    n_test: int
    n_features: int
    n_labels: int
    nnz_X: int
    nnz_Y: int
    covered: int

    @classmethod
    def of(cls, shape: Shape, times: int = 1) -> Sizes:
        """A shape's, or so many times its instances and labels, and its features by the root."""
        n, n_test, labels = (times * one for one in (shape.n_train, shape.n_test, shape.n_labels))
        every = shape.terms * shape.labels
        counts = (round(n * one) for one in (shape.terms, shape.labels, _COVERED * every))
        return cls(n, n_test, round(times**0.5 * shape.n_features), labels, *counts)

    @property
    def clusters(self) -> int:
        """Of the first tree, in which labels are halved until few are together."""
        return 2 ** max(1, math.ceil(math.log2(self.n_labels / TreeParams().max_leaf_size)))

    @property
    def upper(self) -> list[int]:
        """Nodes of the levels from the root to the clusters."""
        found = [self.clusters]
        while found[0] > _SPLITS:
            found.insert(0, -(-found[0] // _SPLITS))
        return [1, *found]

    @property
    def halvings(self) -> int:
        """Of a cluster, its copies counted, until it is no larger than a leaf."""
        return max(0, math.ceil(math.log2(COPIES * self.n_labels / self.clusters / _LEAF)))

    def values(self, copies: int = 1) -> int:
        """Stored values of the features of labels, or of so many copies."""
        return copies * min(self.covered, self.n_labels * self.n_features)

    @property
    def some(self) -> float:
        """Features of an instance that are learnt from."""
        terms = self.nnz_X / self.n_train
        return min(terms, _TERMS)

    @property
    def weights(self) -> float:
        """Of a model, at most: of the features that a copy's instances are learnt from."""
        return self.some * self.n_train / self.nnz_X * self.values(COPIES)

    def bytes_of(self, nnz: int, part: float = 1.0) -> float:
        """A matrix of training instances, or with as many more rows, in memory."""
        width = 4 if part * nnz <= INT32 else 8
        return part * ((4 + width) * nnz + width * self.n_train)

    @property
    def matrices(self) -> float:
        """Bytes of X and Y of both parts."""
        return sum(self.bytes_of(nnz, 1 + self.n_test / self.n_train) for nnz in (self.nnz_X, self.nnz_Y))

    @property
    def floor(self) -> float:
        """What `--max-memory` must be at least: `memory_needed` of a set in files."""
        needed = datasets._LIBRARIES + 2 * self.matrices + datasets._OF_LABEL * self.n_labels
        return needed + datasets._OF_COPIES * self.bytes_of(self.nnz_Y)


def pairs(nodes: list[int], most: float) -> float:
    """Nodes of all levels that an instance meets, which is in so many of each at most."""
    return sum(min(most, above) * below / above for above, below in pairwise(nodes))


def works(of: Sizes) -> dict[str, Work]:
    """What is counted of each stage.

    A match for negatives is left out, and that labels of an instance lie in the same clusters.
    """
    n, n_test, terms, labels = of.n_train, of.n_test, of.nnz_X / of.n_train, of.nnz_Y / of.n_train
    few, some = min(terms, _FIRST_TERMS), of.some
    parts = of.clusters << of.halvings
    leaf, whole = COPIES * of.n_labels / parts, [*of.upper, parts, COPIES * of.n_labels]
    in_leaves = min(COPIES * labels + LEAN.negatives.negatives * _PREDICT_BEAM, parts)
    trained = pairs(whole[:-1], COPIES * labels) + in_leaves * leaf
    return {
        # Each stored value is read, checked and brought into order.
        "load": Work((of.nnz_X + of.nnz_Y) * (1 + n_test / n)),
        # Label features are normalised; k-means has some rounds over all of them at each halving.
        "tree": Work(of.values(), of.values() * (1 + math.log2(of.clusters))),
        # Terms are chosen; an SVM goes over the terms of its parent's instances. The root's are one part.
        "matcher": Work(of.nnz_X, n * few * pairs(of.upper, labels), n * few * of.upper[1]),
        # Matches are put together; each term adds to the scores of the children of the beam's nodes.
        "match": Work(n * BEAM, of.nnz_X * pairs(of.upper, BEAM)),
        # Labels are transposed; each of an instance counts its matches.
        "assign": Work(of.nnz_Y, of.nnz_Y * BEAM),
        # Columns are copied.
        "expand": Work(of.nnz_Y * COPIES),
        # A cluster has some Python of its own, features and k-means as the tree has over the last halvings.
        "split": Work(of.clusters, of.values(COPIES) * (1 + of.halvings)),
        # Weights are put together and written; SVMs as in the matcher, of more terms, and those of leaves.
        "retrain": Work(of.weights, n * some * trained, n * some * of.upper[1]),
        # The model is read; matching goes on to the labels.
        "predict": Work(of.weights, n_test * terms * pairs(whole, _PREDICT_BEAM)),
        # Propensities and hits; matching without the labels, for candidates.
        "evaluate": Work(of.nnz_Y + n_test * MAX_K, n_test * terms * pairs(whole[:-1], _PREDICT_BEAM)),
    }
