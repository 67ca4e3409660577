"""How XR-Transformer is trained: settings by name, those of PECOS's examples and a small one for a CPU."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import DisentangleError
from ..limits import at_least, check_limits, limited

# For any dataset that has none of its own.
SMALL = "small"


@dataclass(frozen=True)
class Tree:
    """A label tree, in PECOS's words.

    Attributes
    ----------
    nr_splits : int
        Children of an inner node.
    max_leaf_size : int
        Most labels of a leaf cluster.
    min_codes : int or None
        Most nodes of the first level; None for `nr_splits`.
    seed : int
        Added to that of the call.
    """

    nr_splits: int
    max_leaf_size: int
    min_codes: int | None = None
    seed: int = 0

    def sizes(self, n_labels: int) -> list[int]:
        """Nodes of each level below the root, labels last, as PECOS's balanced k-means makes them.

        Raises
        ------
        DisentangleError
            If there are so few labels that the tree would be one single cluster.
        """
        if n_labels <= self.max_leaf_size:
            raise DisentangleError(
                f"XR-Transformer needs more labels than a leaf cluster holds, {self.max_leaf_size}, "
                f"got {n_labels}"
            )
        sizes = [n_labels, 2 ** max(1, math.ceil(math.log2(n_labels / self.max_leaf_size)))]
        while sizes[-1] > (self.min_codes or self.nr_splits):
            sizes.append(-(-sizes[-1] // self.nr_splits))
        # One node is the root.
        return [n for n in sizes[::-1] if n > 1]


@dataclass(frozen=True)
class XrSettings:
    """One way to train XR-Transformer.

    Attributes
    ----------
    source : str
        Where it is published, or what it is for.
    encoder : str
        The one that it was made for.
    first_tree : Tree
        The encoder learns which of its clusters an instance's labels are in, level by level.
    tree : Tree
        Of the ranker, made of the features that the encoder has learnt.
    max_clusters : int
        Levels of the first tree with more are not learnt.
    steps : tuple of int
        Of each level that is learnt; one number is for all of them.
    max_length, batch_size : int
        Tokens of a text, texts of a step.
    learning_rate, dropout : float
    warmup_steps : int
    bootstrap : str
        What the weights of the next level's clusters start from, in PECOS's words.
    top_k : int
        Clusters kept of each level for the next one's negatives.
    threshold : float
        Weights of linear models that are smaller are dropped.
    has_weighted_matchers, has_weighted_ranker : bool
        Whether clusters with several labels of an instance count more.
    costs, label_costs : tuple of float
        Of positives and negatives, in the ranker's upper levels and in that of labels.
    eps : float
        At which the ranker's solver stops.
    beam : tuple of int
        Clusters kept in the upper levels and in the lowest, and labels.
    """

    source: str
    encoder: str
    first_tree: Tree
    tree: Tree
    steps: tuple[int, ...]
    costs: tuple[float, float]
    label_costs: tuple[float, float]
    beam: tuple[int, int, int]
    learning_rate: float
    warmup_steps: int
    top_k: int
    bootstrap: str = "weighted-linear"
    has_weighted_matchers: bool = True
    has_weighted_ranker: bool = True
    dropout: float = 0.1
    threshold: float = 0.001
    eps: float = 0.1
    max_clusters: int = 32768
    max_length: int = limited(128, 8, 8192, words="most tokens of a text, the rest is cut")
    batch_size: int = limited(32, 1, 65536, words="texts of a step")

    def learnt(self, n_labels: int) -> list[int]:
        """Clusters, or labels, of each level that the encoder learns.

        Raises
        ------
        DisentangleError
            If that are not as many levels as there are numbers of steps, or none.
        """
        sizes = [n for n in self.first_tree.sizes(n_labels) if n <= self.max_clusters]
        if not sizes:
            raise DisentangleError(
                f"a level of the first tree must have at most {self.max_clusters:,} clusters, found none"
            )
        if len(self.steps) not in (1, len(sizes)):
            raise DisentangleError(
                f"these settings are for {len(self.steps)} levels, and a tree of {n_labels:,} labels has "
                f"{len(sizes)}: choose others by --settings, or give --steps"
            )
        return sizes

    def changed(self, given: dict[str, Any]) -> XrSettings:
        """The same with what is given in place of its own: "steps", "max_length", "batch_size".

        Raises
        ------
        DisentangleError
            If a value is out of range.
        """
        new = replace(self, **given)
        check_limits(new)
        for n in new.steps:
            at_least("--steps", n, 1)
        return new


@cache
def named() -> dict[str, XrSettings]:
    """The files of the folder `settings`, by name."""
    paths = sorted(Path(__file__).with_name("settings").glob("*.json"))
    return {path.stem: _read(path) for path in paths}


def of(name: str | None, dataset: str) -> tuple[str, XrSettings]:
    """Name and settings: those asked for, or the dataset's own, or the small ones.

    Raises
    ------
    DisentangleError
        If there are none of this name.
    """
    found = name or (dataset if dataset in named() else SMALL)
    if found not in named():
        raise DisentangleError(f"--settings must be one of {', '.join(named())}, got {found!r}")
    return found, named()[found]


def _read(path: Path) -> XrSettings:
    read = json.loads(path.read_text(encoding="utf-8"))
    for one in fields(XrSettings):
        if isinstance(value := read.get(one.name), dict):
            read[one.name] = Tree(**value)
        elif isinstance(value, list):
            read[one.name] = tuple(value)
    return XrSettings(**read)
