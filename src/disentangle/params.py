"""Every default and range, in one place; the command line and the reports read them from here."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from numbers import Integral, Real
from typing import Any

from .errors import DisentangleError
from .patterns import check_pattern

DEFAULT_DATASET = "wordnet-hypernyms"

# Where PECOS's own examples fetch the benchmark sets from.
ARCHIVE = "https://archive.org/download/pecos-dataset/xmc-base"

# Figures are reported for k = 1..MAX_K, as in the paper.
MAX_K = 10


# PECOS takes C integers, and some are added up: a larger one would come out as another number there.
_MAX_COUNT = 2**30
# Far beyond what makes a difference, and near enough that nothing computed with it is infinite.
_MAX_NUMBER = 1e9
# With one label per leaf PECOS cannot balance a tree over a label count that is no power of two.
_LEAST_LEAF = 2
# Each costs a folder and a model at least; more are a slip of the finger.
MAX_REPEATS = 1000


@dataclass(frozen=True)
class Limits:
    """The range of a number.

    Attributes
    ----------
    low, high : int or float
        Integers ask for an integer.
    is_open : bool
        Whether `low` itself is too low.
    """

    low: float
    high: float = _MAX_COUNT
    is_open: bool = False

    def check(self, name: str, value: Any) -> None:
        """Raise DisentangleError, with this name, unless `value` is in the range."""
        kind, what = (Integral, "an integer") if isinstance(self.low, int) else (Real, "a number")
        is_number = isinstance(value, kind) and value == value  # NaN is not
        if not is_number:
            rule = what
        elif value < self.low or (self.is_open and value == self.low):
            rule = f"{'above' if self.is_open else 'at least'} {self.low:.10g}"
        elif value > self.high:
            rule = f"at most {self.high:.10g}"
        else:
            return
        found = str(value)
        raise DisentangleError(
            f"{name} must be {rule}, got {found if len(found) <= 40 else f'{found[:37]}...'}"
        )


def option(name: str) -> str:
    """A parameter by the name that is typed for it: messages call it so, whoever has set it."""
    return "--" + _OPTIONS.get(name, name).replace("_", "-")


_OPTIONS = {"A": "propensity-a", "B": "propensity-b"}


def at_least(name: str, value: int, minimum: int) -> None:
    """Raise DisentangleError unless an integer is in its range."""
    Limits(minimum).check(name, value)


def _limited(default: Any, low: float, high: float = _MAX_COUNT, is_open: bool = False) -> Any:
    """A field of a dataclass with its default and the range that `check_limits` looks up."""
    return field(default=default, metadata={"limits": Limits(low, high, is_open)})


def check_limits(params: Any) -> None:
    """Raise DisentangleError unless the numbers of a dataclass are in the ranges that its fields declare."""
    for one in fields(params):
        value = getattr(params, one.name)
        if "limits" in one.metadata and not (value is None and one.default is None):
            one.metadata["limits"].check(option(one.name), value)


@dataclass(frozen=True)
class TreeParams:
    """The label tree: PIFA label features, balanced spherical k-means.

    Attributes
    ----------
    nr_splits : int
        Children per inner node; 32 in the paper's scripts.
    max_leaf_size : int
        Most labels per leaf cluster before overlapping; 100 is PECOS's default.
    seed : int
        Seed of k-means, 0 to 2**32 - 1.
    """

    nr_splits: int = _limited(32, 2)
    max_leaf_size: int = _limited(100, _LEAST_LEAF)
    seed: int = _limited(0, 0, 2**32 - 1)

    def validate(self) -> None:
        check_limits(self)

    def n_levels(self, n_labels: int) -> int:
        """Levels of the tree over so many labels, from the leaf clusters up to the root.

        Raises
        ------
        DisentangleError
            If there are so few labels that the tree would be one single cluster.
        """
        if n_labels <= _LEAST_LEAF:
            raise DisentangleError(
                f"too few labels for a tree: expected at least {_LEAST_LEAF + 1}, got {n_labels}; "
                "no option helps, the dataset needs more"
            )
        if n_labels <= self.max_leaf_size:
            raise DisentangleError(
                f"too few labels for a tree: expected more than --max-leaf-size ({self.max_leaf_size}), "
                f"got {n_labels}; a smaller one, down to {_LEAST_LEAF}, gives more clusters"
            )
        # PECOS halves clusters until they are small enough, and puts them under `nr_splits` times fewer
        # nodes until these fit under the root.
        n_nodes = 2 ** math.ceil(math.log2(n_labels / self.max_leaf_size))
        n_levels = 2
        while n_nodes > self.nr_splits:
            n_nodes = -(-n_nodes // self.nr_splits)
            n_levels += 1
        return n_levels


@dataclass(frozen=True)
class PredictParams:
    """Beam search and output size, for all models but those whose preset says otherwise.

    Attributes
    ----------
    beam_size : int
        Clusters kept per level and instance.
    top_k : int
        Labels (copies counted) that a model returns per instance, before copies are merged.
    """

    beam_size: int = _limited(10, 1)
    top_k: int = _limited(160, MAX_K)

    def validate(self) -> None:
        check_limits(self)


# PECOS's default tolerance of its solver, and least absolute value of a weight that it keeps.
EPS = 0.1
THRESHOLD = 0.1
# PECOS's default: scores are exp(-max(0, 1 - z)^3).
HINGE = 3
MAX_HINGE = 6

# Where instances have no more features on average, none are left out for being common: on two sets of 12 and
# 36 that costs, on two of 99 and 233 it does not.
LONG = 50
# Labels of fewer training instances cannot spare any of them to tell their copies apart.
FREQUENT = 30


@dataclass(frozen=True)
class SolverParams:
    """What PECOS's solver is told.

    Attributes
    ----------
    eps : float
        Tolerance at which it stops.
    threshold : float
        Least absolute value of a weight that is kept.
    """

    eps: float = EPS
    threshold: float = THRESHOLD


@dataclass(frozen=True)
class OverlapParams:
    """How labels are duplicated: which clusters they take, what their copies learn, how scores are merged.

    The defaults are the paper's rule.

    Attributes
    ----------
    n_copies : int
        The paper's lambda: most clusters a label may be in, the first included; 1 means no overlap.
    gain : {"counts", "scores"}
        What a cluster gains a label per instance that matches it: 1, or the matcher's score.
    coverage : float
        How much of an instance's best score in the clusters chosen before is taken off its gain in a
        further one: 0 for nothing; 1 for facility location, where a copy counts only for what the
        earlier ones leave uncovered.
    capacity : float or None
        No cluster takes more than `capacity` * `n_copies` * labels / clusters, but for labels that get no
        choice and stay; labels take the choices that gain most in all. None for no limit.
    budget : float or None
        Copies go where they gain most per candidate that they add, until there are `budget` times the
        candidates per training instance that the model has without overlap; None for no limit.
    positives : {"all", "matched", "frequent"}
        Instances of the label that a copy is trained on: all, or those that match its cluster (the first
        copy also has those that match none); "frequent" is "matched" for labels of at least
        `FREQUENT` training instances and "all" for the others.
    leaf_size : int or None
        A cluster that has got more labels than that, copies counted, is split; None leaves it as it is.
    split : {"flat", "nested"}
        Where the parts of a cluster that was split go: to its parent, or under the cluster, as a level more.
    negatives : float
        In retraining, all instances are negatives in their own labels' clusters, and this share of them in
        all others that the retrained matcher sends them to.
    spared : int
        But not in the best so many of those that it sends one to.
    overlap_splits : int or None
        Children per inner node of the tree that is overlapped, in both its matchers; its leaf clusters are
        XR-Linear's all the same. None for `nr_splits`, as XR-Linear has it.
    first_features, features : int or None
        Most features of an instance that the matcher which the choices are made by, and the retrained model,
        learn from: the largest. None for all. Predicting takes all of them in any case.
    max_df : float
        The retrained model learns from no features that a larger share of the training instances has, if
        these have more than `LONG` features on average.
    first_eps : float
        Tolerance at which PECOS's solver stops in training the first of these matchers. With `EPS` and all
        features it is XR-Linear's; otherwise one of its own beside that, on the same tree.
    eps : float
        The solver's tolerance in retraining; 0.1 is PECOS's default.
    matcher_eps : float or None
        The same for the levels above the leaves; None for `eps`.
    threshold : float
        Weights of a smaller absolute value are dropped from the retrained ranker; 0.1 is PECOS's default.
    hinge : int
        A label's score in its cluster is exp(-max(0, 1 - z)^hinge), z being what the retrained ranker says; 3
        is PECOS's default. The higher, the less those differ that are near 1, and the more the matcher says.
    predict_beam : int or None
        Clusters that the retrained model keeps per level and instance; None for as many as in matching.
    merge : {"mean", "max", "noisy-or"}
        Score of a label from those of its copies that were retrieved.
    first_weight : float
        Share of XR-Linear's score in a label's, from 0 to 1; the retrained model's has the rest.
    first_beam : int or None
        Clusters that XR-Linear keeps per level and instance for that; None for as many as in matching.
    rounds : int
        How often match, assign and retrain are run, each round on the last round's model.
    """

    n_copies: int = _limited(2, 1)
    gain: str = "counts"
    coverage: float = _limited(0.0, 0.0, 1.0)
    capacity: float | None = _limited(None, 1.0, _MAX_NUMBER)
    budget: float | None = _limited(None, 1.0, _MAX_NUMBER)
    positives: str = "all"
    leaf_size: int | None = _limited(None, 2)
    split: str = "flat"
    negatives: float = _limited(0.0, 0.0, 1.0)
    spared: int = _limited(0, 0)
    overlap_splits: int | None = _limited(None, 2)
    first_features: int | None = _limited(None, 1)
    features: int | None = _limited(None, 1)
    max_df: float = _limited(1.0, 0.0, 1.0, is_open=True)
    first_eps: float = _limited(EPS, 0.0, _MAX_NUMBER, is_open=True)
    eps: float = _limited(EPS, 0.0, _MAX_NUMBER, is_open=True)
    matcher_eps: float | None = _limited(None, 0.0, _MAX_NUMBER, is_open=True)
    threshold: float = _limited(THRESHOLD, 0.0, _MAX_NUMBER)
    hinge: int = _limited(HINGE, 1, MAX_HINGE)
    predict_beam: int | None = _limited(None, 1)
    merge: str = "mean"
    first_weight: float = _limited(0.0, 0.0, 1.0)
    first_beam: int | None = _limited(None, 1)
    rounds: int = _limited(1, 1, MAX_REPEATS)

    def validate(self) -> None:
        check_limits(self)
        for name, choices in CHOICES.items():
            if (value := getattr(self, name)) not in choices:
                raise DisentangleError(f"{option(name)} must be one of {', '.join(choices)}, got {value!r}")


CHOICES = {
    "gain": ("counts", "scores"),
    "positives": ("all", "matched", "frequent"),
    "split": ("flat", "nested"),
    "merge": ("mean", "max", "noisy-or"),
}

# These say how scores are put together, of which the models know nothing.
SCORING = ("merge", "first_weight", "first_beam")


@dataclass(frozen=True)
class BinParams:
    """How labels are grouped into composite labels.

    Attributes
    ----------
    level_from_leaf : int
        Labels of one cluster of this level are grouped: 0 for leaf clusters, 1 for their parents, ...;
        2 in the paper's scripts.
    bin_size : int
        Labels per bin; 2 in the paper's scripts.
    """

    level_from_leaf: int = 2
    bin_size: int = 2

    def validate(self, plural: str = "") -> None:
        """`plural` ends the names of options that take several."""
        at_least(f"--level{plural}", self.level_from_leaf, 0)
        at_least(f"--bin-size{plural}", self.bin_size, 2)

    def name(self) -> str:
        """Name of the folder of what is made with these."""
        return f"level-{self.level_from_leaf}-size-{self.bin_size}"


# A preset is a named setting of everything that makes one overlap variant.
DEFAULT_PRESET = "paper"
_SPLIT = OverlapParams(
    gain="scores",
    positives="frequent",
    leaf_size=50,
    split="nested",
    first_features=32,
    features=200,
    max_df=0.5,
    first_eps=1.0,
    eps=0.5,
    matcher_eps=1.0,
    threshold=0.05,
    hinge=4,
    predict_beam=20,
    merge="noisy-or",
)
PRESETS = {
    DEFAULT_PRESET: OverlapParams(),
    "tuned": replace(_SPLIT, n_copies=3, negatives=0.6, spared=5),
    "lean": replace(_SPLIT, overlap_splits=8, negatives=0.3),
}


@dataclass(frozen=True)
class Propensity:
    """Constants of the label propensities in PSP@k (Jain, Prabhu and Varma, KDD 2016, section 4.3)."""

    # In these ranges the rarest label's weight still fits float32.
    A: float = _limited(0.55, 0.0, 10.0, is_open=True)
    B: float = _limited(1.5, 1e-3, 1e3)

    def validate(self) -> None:
        check_limits(self)


@dataclass(frozen=True)
class TfidfParams:
    """How text becomes features, in the words of scikit-learn's `TfidfVectorizer`.

    Attributes
    ----------
    ngram_range : tuple of int
        Fewest and most words of a term.
    min_df : int
        Training instances that a term must be in, at least.
    max_df : float
        Share of the training instances that a term may be in, at most.
    max_features : int or None
        Only that many terms, those that occur most often in the training part.
    sublinear_tf : bool
        Count a term that occurs n times as 1 + ln(n).
    lowercase : bool
    token_pattern : str
        Regular expression of a word; scikit-learn's default is two or more letters, digits or underscores.
    """

    ngram_range: tuple[int, int] = (1, 1)
    min_df: int = _limited(2, 1)
    max_df: float = _limited(1.0, 0.0, 1.0, is_open=True)
    max_features: int | None = _limited(None, 1)
    sublinear_tf: bool = False
    lowercase: bool = True
    token_pattern: str = r"(?u)\b\w\w+\b"

    def validate(self) -> None:
        fewest, most = self.ngram_range
        if not 1 <= fewest <= most <= 10:
            raise DisentangleError(f"--ngram-range must be two rising numbers in 1..10, got {fewest}, {most}")
        check_limits(self)
        check_pattern(self.token_pattern)
