"""The same comparison on several label trees, whose scores are put together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..data import datasets
from .plan import Plan, runs, stages_of, summary
from .settings import Settings, Variant, describe


class Ensemble:
    """XR-Linear and its overlaps on each of several trees, and on all of them together.

    Trees differ by the seed of k-means alone, which rises by one from tree to tree, and so does all that
    is made on them. A label's score is a mean over trees, as in Parabel (Prabhu, Kag, Harsola, Agrawal and
    Varma, WWW 2018) and Bonsai (Khandagale, Xiao and Babbar, 2020), but the power mean of exponent 1/4.

    Parameters
    ----------
    root : Path
        Where the job has its results.
    source : datasets.Source
    settings : Settings
        With the first tree's seed.
    place : callable
        The folder in `root` that settings have their results in: a tree is the same in every ensemble, and
        alone.
    """

    def __init__(
        self, root: Path, source: datasets.Source, settings: Settings, place: Callable[[Settings], str]
    ) -> None:
        self.first = Plan(root, source, settings, place(settings))
        # What is loaded is the same for all.
        shared = replace(source, load=lambda: self.first.dataset)
        self.trees = [self.first]
        for t in range(1, settings.n_trees):
            of_tree = replace(settings, tree=replace(settings.tree, seed=settings.tree.seed + t))
            self.trees.append(Plan(root, shared, of_tree, place(of_tree)))

    def runs(self) -> list[dict[str, Any]]:
        """The first tree's runs, then those of all trees together if there are several."""
        made = runs(self.first)
        if len(self.trees) > 1:
            first = -1 if self.first.settings.xr_linear else 0
            made += [self._run(i) for i in range(first, len(self.first.overlaps))]
        return made

    def _run(self, i: int) -> dict[str, Any]:
        """The i-th way to overlap on all trees; -1 for XR-Linear."""
        variant: Variant | None = None
        stages = [stage for one in self.trees for stage in stages_of(one, None if i < 0 else one.overlaps[i])]
        folder = f"xr-linear-evaluation-trees-{len(self.trees)}"
        models = tuple(one.xr_linear for one in self.trees)
        if i >= 0:
            overlaps = [one.overlaps[i] for one in self.trees]
            variant, models = overlaps[0].variant, tuple(one.model for one in overlaps)
            folder = f"{overlaps[0].evaluation.folder.relative_to(self.first.folder)}-trees-{len(self.trees)}"
        evaluation = self.first.evaluation(models, variant, folder)
        return describe(variant, len(self.trees)) | summary(self.first, (*stages, evaluation), models[-1])
