"""Every default and range, in one place; the command line and the reports read them from here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, fields, replace
from typing import Any

from .errors import DisentangleError
from .limits import MAX_NUMBER, at_least, check_limits, chosen, limited
from .rules import GAINS, MERGES, POSITIVES
from .token_pattern import check_pattern

DEFAULT_DATASET = "wordnet-hypernyms"

# The feature folder that PECOS's scripts use for tf-idf features; only a name here.
FEATURES = "tfidf-attnxml"

# Where PECOS's own examples fetch the benchmark sets from.
ARCHIVE = "https://archive.org/download/pecos-dataset/xmc-base"
# Where the paper's authors put the features that X-Transformer had learnt, said PECOS's pull request 98.
X_TRANSFORMER = "https://archive.org/download/overlap-xmc/XTransformer_data"

# Figures are reported for k = 1..MAX_K, as in the paper.
MAX_K = 10


# With one label per leaf PECOS cannot balance a tree over a label count that is no power of two.
_LEAST_LEAF = 2
# Each costs a folder and a model at least; more are a slip of the finger.
MAX_REPEATS = 1000


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

    nr_splits: int = limited(32, 2, words="children per inner node of the tree")
    max_leaf_size: int = limited(100, _LEAST_LEAF, words="most labels per cluster of the first tree")
    seed: int = limited(0, 0, 2**32 - 1, words="seed of all that is random")

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

    beam_size: int = limited(10, 1, words="clusters kept per level and instance")
    top_k: int = limited(160, MAX_K, words="labels, copies counted, that a model returns")

    def validate(self) -> None:
        check_limits(self)


# PECOS's default tolerance of its solver, and least absolute value of a weight that it keeps.
EPS = 0.1
THRESHOLD = 0.1
# PECOS's default: scores are exp(-max(0, 1 - z)^3).
HINGE = 3
MAX_HINGE = 6


@dataclass(frozen=True)
class SolverParams:
    """What the solver is told, PECOS's or our own.

    Attributes
    ----------
    eps : float
        Tolerance at which it stops.
    threshold : float
        Least absolute value of a weight that is kept.
    cost : float or None
        C of the SVM of a label with n positives is min(1, cost / sqrt(n)). None for 1 whatever n; PECOS's
        solver knows no other.
    """

    eps: float = EPS
    threshold: float = THRESHOLD
    cost: float | None = None


@dataclass(frozen=True)
class Assignment:
    """Which clusters a label takes.

    Attributes
    ----------
    n_copies : int
        The paper's lambda: most clusters a label may be in, the first included; 1 means no overlap.
    gain : str
        What a cluster gains a label per instance that matches it: a key of `rules.GAINS`.
    """

    n_copies: int = limited(2, 1, words="most clusters per label, the first included")
    gain: str = chosen("counts", GAINS, "what an instance that matches a cluster gains it: 1, or its score")


@dataclass(frozen=True)
class Copies:
    """What copies learn.

    Attributes
    ----------
    positives : str
        Instances of its label that a copy is trained on: a key of `rules.POSITIVES`.
    cost : float or None
        C of the SVM of a copy with n instances is min(1, cost * odds / sqrt(n)); `odds` are those of the
        first matcher's matches. What features leave open is not to be learnt by heart. None for 1 whatever n.
    """

    positives: str = chosen("all", POSITIVES, "which instances of its label a copy is trained on")
    cost: float | None = limited(
        None,
        0.001,
        MAX_NUMBER,
        words="C of a copy's SVM, times the first matcher's odds over the root of the copy's instances, "
        "if that is less than 1",
    )


@dataclass(frozen=True)
class Leaves:
    """The tree that is overlapped.

    Attributes
    ----------
    leaf_size : int or None
        A cluster that has got more labels than that, copies counted, is split, and its parts go under it, as
        a level more; None leaves it as it is.
    overlap_splits : int or None
        Children per inner node, in both matchers of this tree; its leaf clusters are XR-Linear's all the
        same. None for `nr_splits`, as XR-Linear has it.
    """

    leaf_size: int | None = limited(
        None, 2, words="most labels per cluster, copies counted: larger ones are split before retraining"
    )
    overlap_splits: int | None = limited(
        None, 2, words="children per inner node of the tree that is overlapped, if not --nr-splits"
    )


@dataclass(frozen=True)
class Negatives:
    """What labels are trained against in retraining, besides all instances in their own labels' clusters.

    Attributes
    ----------
    negatives : float
        This share of the instances, in all other clusters that the retrained matcher sends them to.
    """

    negatives: float = limited(
        0.0, 0.0, 1.0, words="share of the instances that labels are trained against wherever these are sent"
    )


@dataclass(frozen=True)
class Effort:
    """What training may leave out.

    Attributes
    ----------
    terms : int or None
        Most terms of an instance that models learn from: the largest. None for all. Predicting takes all of
        them in any case. Columns of an embedding are no terms: all are learnt from. Where terms may be left
        out, or C differs, the solver is one of our own, which has the labels of a cluster side by side.
    eps : float
        Tolerance at which the solver stops; 0.1 is PECOS's default. With it and all terms the matcher that
        choices are made by is XR-Linear's; otherwise one of its own beside that, on the same tree.
    threshold : float
        Weights of a smaller absolute value are dropped from the retrained ranker; 0.1 is PECOS's default.
    """

    terms: int | None = limited(None, 1, words="terms of an instance, the largest, that are learnt from")
    eps: float = limited(EPS, 0.0, MAX_NUMBER, is_open=True, words="tolerance of the solver")
    threshold: float = limited(
        THRESHOLD, 0.0, MAX_NUMBER, words="weights of a smaller absolute value are dropped from the ranker"
    )


@dataclass(frozen=True)
class Scoring:
    """How labels are scored.

    Attributes
    ----------
    hinge : int
        A label's score in its cluster is exp(-max(0, 1 - z)^hinge), z being what the retrained ranker says; 3
        is PECOS's default. The higher, the less those differ that are near 1, and the more the matcher says.
    predict_beam : int or None
        Clusters that the retrained model keeps per level and instance; None for as many as in matching.
    merge : str
        Score of a label from those of its copies that were retrieved: a key of `rules.MERGES`.
    """

    hinge: int = limited(HINGE, 1, MAX_HINGE, words="power in the ranker's scores, exp(-max(0, 1 - z)^hinge)")
    predict_beam: int | None = limited(
        None, 1, words="clusters that the retrained model keeps, if not --beam-size"
    )
    merge: str = chosen("mean", MERGES, "a label's score from those of its copies")


@dataclass(frozen=True)
class OverlapParams:
    """How labels are duplicated: which clusters they take, what their copies learn, how scores are merged.

    The defaults are the paper's rule. No two parts of different groups have the same name.
    """

    assignment: Assignment = Assignment()
    copies: Copies = Copies()
    leaves: Leaves = Leaves()
    negatives: Negatives = Negatives()
    effort: Effort = Effort()
    scoring: Scoring = Scoring()

    def validate(self) -> None:
        for group in fields(self):
            check_limits(getattr(self, group.name))

    def parts(self) -> dict[str, Any]:
        """All parts by name, whatever their group."""
        return {name: value for group in asdict(self).values() for name, value in group.items()}

    def changed(self, parts: Mapping[str, Any]) -> OverlapParams:
        """The same with those of the parts that are given; other names are passed over."""
        groups = {group.name: getattr(self, group.name) for group in fields(self)}
        return OverlapParams(
            **{
                name: replace(group, **{key: parts[key] for key in asdict(group) if key in parts})
                for name, group in groups.items()
            }
        )


def overlap_fields() -> dict[str, Field[Any]]:
    """The parts of `OverlapParams` as they are declared, by name."""
    default = OverlapParams()
    return {one.name: one for group in fields(default) for one in fields(getattr(default, group.name))}


# The models know nothing of these.
SCORING = ("merge",)


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


@dataclass(frozen=True)
class Propensity:
    """Constants of the label propensities in PSP@k (Jain, Prabhu and Varma, KDD 2016, section 4.3)."""

    # In these ranges the rarest label's weight still fits float32.
    A: float = limited(0.55, 0.0, 10.0, is_open=True, words="a constant of the propensities in PSP@k")
    B: float = limited(1.5, 1e-3, 1e3, words="the other constant of the propensities")

    def validate(self) -> None:
        check_limits(self)


@dataclass(frozen=True)
class EncoderParams:
    """How an encoder reads texts.

    Attributes
    ----------
    max_length : int
        Most tokens of a text; what is longer is cut.
    batch_size : int
        Texts at a time, in fine-tuning for each step.
    """

    max_length: int = limited(256, 8, 8192, words="most tokens of a text, the rest is cut")
    batch_size: int = limited(64, 1, 65536, words="texts at a time, in fine-tuning for each step")

    def validate(self) -> None:
        check_limits(self)


@dataclass(frozen=True)
class TuningParams:
    """How an encoder is fine-tuned.

    Attributes
    ----------
    epochs : int
        At most; it ends sooner where the validation loss rises.
    seed : int
        Of the validation part, the order of the texts, dropout and the head.
    """

    epochs: int = limited(6, 1, 1000, words="most times that all training texts are seen")
    seed: int = limited(0, 0, 2**32 - 1, words="seed of all that is random")

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
    min_df: int = limited(2, 1)
    max_df: float = limited(1.0, 0.0, 1.0, is_open=True)
    max_features: int | None = limited(None, 1)
    sublinear_tf: bool = False
    lowercase: bool = True
    token_pattern: str = r"(?u)\b\w\w+\b"

    def validate(self) -> None:
        fewest, most = self.ngram_range
        if not 1 <= fewest <= most <= 10:
            raise DisentangleError(f"--ngram-range must be two rising numbers in 1..10, got {fewest}, {most}")
        check_limits(self)
        check_pattern(self.token_pattern)
