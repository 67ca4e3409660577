"""The plan of a comparison on one label set: which stages there are, and on what each depends.

XR-Linear is two stages, because most overlaps need no more of it than its matcher, or nothing:

    load - label-tree - matcher - xr-linear - xr-linear-evaluation

An overlap begins with that matcher, or one of its own on the same leaf clusters:

    matcher - matching - assignment - overlap - evaluation

What a stage does is in `steps`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from ..data import datasets
from ..params import EPS, HINGE, MAX_K, SCORING, THRESHOLD, OverlapParams
from ..rules import GAINS, MERGES, POSITIVES
from . import cost_estimate, steps
from .settings import Settings, Variant, describe
from .stages import Stage

logger = logging.getLogger(__name__)

_LOADING = (
    *("data.datasets", "data.validation", "data.features"),
    *("storage.compressed", "storage.matrices", "storage.npz"),
)
_PECOS = ("model.pecos", "model.compat")
BUILDING = ("model.tree", "kernels.label_features", "kernels.kmeans", *_PECOS)
_TRAINING = (
    *BUILDING,
    "model.mixed",
    "kernels.unions",
    "model.subproblems",
    "kernels.twins",
    "model.train_levels",
    "model.weights",
    "model.saved_model",
)
_SIDE_BY_SIDE = (
    *("model.side_by_side", "kernels.dual_descent"),
    *("kernels.squared_lengths", "kernels.kept_entries"),
)
_OF_TERMS = ("model.feature_selection", "kernels.largest_features", *_SIDE_BY_SIDE)
# Of XR-Linear and first matchers.
_SOLVER = {"threshold": THRESHOLD, "hinge": HINGE}
_PREDICTING = (*_PECOS, "model.saved_model", "model.beam_search", "kernels.beam", "kernels.beam_model")
MERGING = ("overlap.copies", "overlap.merge", "model.predictor", "kernels.merge_and_rank", *_PREDICTING)


@dataclass(frozen=True)
class First:
    """How the matcher that clusters are chosen by is trained; by default it is XR-Linear's.

    Attributes
    ----------
    splits : int or None
        Children per inner node of its tree, if not XR-Linear's.
    eps : float
    terms : int or None
        Tolerance of its solver; terms of an instance that it learns from.
    """

    splits: int | None = None
    eps: float = EPS
    terms: int | None = None

    @classmethod
    def of(cls, params: OverlapParams) -> First:
        return cls(params.leaves.overlap_splits, params.effort.eps, params.effort.terms)

    def folder(self, name: str) -> str:
        """Folder of the matcher ("matcher") or its matching; those of XR-Linear have no suffix."""
        splits = "" if self.splits is None else f"-splits-{self.splits}"
        terms = "" if self.terms is None else f"-terms-{self.terms}"
        return name + splits + ("" if self.eps == EPS else f"-eps-{self.eps}") + terms


@dataclass(frozen=True)
class Overlapped:
    """The stages of one variant.

    Attributes
    ----------
    variant : Variant
    steps : tuple of Stage
        From the first tree to `model`.
    model, evaluation, matching : Stage
        The retrained model, its figures, and where it sends its training instances.
    """

    variant: Variant
    steps: tuple[Stage, ...]
    model: Stage
    evaluation: Stage
    matching: Stage


class Plan:
    """XR-Linear and its overlaps on one dataset: nothing is made before it is asked for.

    Parameters
    ----------
    root : Path
        Where the job has its results.
    source : datasets.Source
    settings : Settings
    place : str
        The folder in there in which each stage leaves its results in a folder of its own; "" for `root`
        itself.
    """

    def __init__(self, root: Path, source: datasets.Source, settings: Settings, place: str = "") -> None:
        self.root = root
        self.place = place
        self.folder = root / place
        self.source = source
        self.settings = settings
        self._means = steps.Means(settings.workers or settings.threads, settings.budget(root))
        self._made: dict[str, Stage] = {}
        self.load = self._stage(
            "load",
            "load",
            steps.load,
            source.inputs,
            _LOADING,
        )
        build = partial(steps.build_tree, params=settings.tree, means=self._means)
        self.tree = self._stage("train", "label-tree", build, asdict(settings.tree), BUILDING)
        self.matcher, self.matching = self._first(First())
        self.xr_linear = self._stage(
            "train",
            "xr-linear",
            partial(steps.train_ranker, predict=settings.predict, means=self._means),
            asdict(settings.predict) | _SOLVER,
            _TRAINING,
            (self.tree, self.matcher),
        )
        self.xr_linear_evaluation = self.evaluation((self.xr_linear,), None, "xr-linear-evaluation")
        self.overlaps = [self._overlapped(variant) for variant in settings.variants]

    def _stage(
        self,
        name: str,
        folder: str,
        step: Callable[..., dict[str, Any]],
        inputs: dict[str, Any],
        modules: tuple[str, ...],
        needs: tuple[Stage, ...] = (),
        code: tuple[Callable, ...] = (),
    ) -> Stage:
        """The stage of a folder; its step takes the dataset besides what it needs."""
        if folder not in self._made:
            # What a step makes of the dataset depends on that, too, whatever else it needs.
            loaded = (self.load,) if folder != "load" else ()
            self._made[folder] = Stage(
                name,
                self.folder / folder,
                inputs,
                modules,
                lambda out, *saved: step(out, *saved, dataset=self.dataset),
                (*loaded, *needs),
                prepare=(lambda: self.dataset) if loaded else (lambda: None),
                code=(step, *code),
                threads=self.settings.slots,
                force=self.settings.force,
                title=str(Path(self.place, folder)),
            )
        return self._made[folder]

    def _overlapped_tree(self, splits: int | None) -> Stage:
        """The tree that is overlapped: the first one, or its clusters below other levels."""
        if splits is None:
            return self.tree
        regroup = partial(steps.regroup_tree, nr_splits=splits)
        given = {"nr_splits": splits}
        return self._stage(
            "train", f"label-tree-splits-{splits}", regroup, given, ("model.tree", *_PECOS), (self.tree,)
        )

    def _first(self, first: First) -> tuple[Stage, Stage]:
        """A first matcher and where it sends training instances."""
        predict = self.settings.predict
        given: dict[str, Any] = {"predict": predict, "eps": first.eps, "n_terms": first.terms}
        train = partial(steps.train_matcher, **given, means=self._means)
        of_terms = () if first.terms is None else _OF_TERMS
        matcher = self._stage(
            "train",
            first.folder("matcher"),
            train,
            {"beam_size": predict.beam_size} | asdict(first) | _SOLVER,
            (*_TRAINING, *of_terms),
            (self._overlapped_tree(first.splits),),
            (steps._learnt,),
        )
        return matcher, self._matching(first.folder("matching"), matcher, predict.beam_size, is_matcher=True)

    def _overlapped(self, variant: Variant) -> Overlapped:
        """All stages of one variant."""
        params = variant.params
        tree = self._overlapped_tree(params.leaves.overlap_splits)
        matcher, matching = self._first(First.of(params))
        assignment = self._stage(
            "assign",
            f"{variant.folder}/assignment",
            partial(steps.assign, params=params.assignment, means=self._means),
            asdict(params.assignment),
            ("overlap.assign", "overlap.copies", "model.tree", "model.saved_model", "kernels.best_clusters"),
            (tree, matching),
            (GAINS[params.assignment.gain], steps.load_matching),
        )
        model = self._retraining(variant, (tree, matching, assignment))
        evaluation = f"{variant.folder}/evaluation{variant.name.removeprefix(variant.folder)}"
        # Not part of the comparison: where the overlap sends its training instances.
        beam_size = self.settings.prediction(variant).beam_size
        own = self._matching(f"{variant.folder}/overlap-matching", model, beam_size)
        return Overlapped(
            variant,
            (tree, matcher, matching, assignment, model),
            model,
            self.evaluation((model,), variant, evaluation),
            own,
        )

    def _retraining(self, variant: Variant, needs: tuple[Stage, ...]) -> Stage:
        params, seed, predict = variant.params, self.settings.tree.seed, self.settings.prediction(variant)
        effort, elsewhere = params.effort, (*asdict(params.assignment), *SCORING)
        parts = {name: value for name, value in params.parts().items() if name not in elsewhere}
        own_solver = (effort.terms, params.copies.cost) != (None, None)
        # A kernel is in the stage only where it runs, so that no other change has the model made again.
        kernels = {
            "kernels.matched_positives": params.copies.positives != "all",
            **dict.fromkeys(_OF_TERMS, effort.terms is not None),
            **dict.fromkeys(_SIDE_BY_SIDE, own_solver),
            **dict.fromkeys(_PREDICTING, params.negatives.negatives > 0),
        }
        # The second also says how sure the first matcher is.
        modules = ("overlap.copies", "model.beam_search", "model.negatives")
        return self._stage(
            "retrain",
            f"{variant.folder}/overlap",
            partial(steps.retrain, params=params, predict=predict, seed=seed, means=self._means),
            asdict(predict) | parts | {"seed": seed},
            (*modules, *_TRAINING, *(kernel for kernel, runs in kernels.items() if runs)),
            needs,
            (POSITIVES[params.copies.positives], steps._retrained, steps._learnt, steps.load_matching),
        )

    def _matching(self, folder: str, model: Stage, beam_size: int, is_matcher: bool = False) -> Stage:
        """Where a model's matcher, or one that is alone, sends training instances."""
        find = partial(steps.match, beam_size=beam_size, is_matcher=is_matcher, means=self._means)
        return self._stage("match", folder, find, {"beam_size": beam_size}, _PREDICTING, (model,))

    def evaluation(self, models: tuple[Stage, ...], variant: Variant | None, folder: str) -> Stage:
        """The stage that evaluates XR-Linear's models together (None), or a variant's."""
        settings, merge = self.settings, "mean" if variant is None else variant.params.scoring.merge
        predict = self.settings.prediction(variant)
        return self._stage(
            "evaluate",
            folder,
            partial(
                steps.evaluate,
                predict=predict,
                merge=merge,
                propensity=settings.propensity,
                carry=self.source.carry,
                max_k=MAX_K,
                means=self._means,
            ),
            asdict(settings.propensity)
            | {"max_k": MAX_K, "merge": merge, "carried": self.source.carried}
            | asdict(predict),
            ("evaluate.metrics", "evaluate.outcomes", *MERGING),
            models,
            (MERGES[merge],),
        )

    @cached_property
    def dataset(self) -> datasets.Dataset:
        """The dataset, loaded when a stage first needs it."""
        dataset = self.source.load()
        logger.info("%s: %s", dataset.name, datasets.in_words(dataset.sizes()))
        for note in dataset.notes:
            logger.warning("note: %s", note)
        cost_estimate.require_room(cost_estimate.size_of(dataset.X_trn, dataset.Y_trn), self.settings)
        return dataset


def stages_of(plan: Plan, one: Overlapped | None) -> tuple[Stage, ...]:
    """All that a variant's scores, or XR-Linear's (None), are made by."""
    if one is None:
        return (plan.load, plan.tree, plan.matcher, plan.xr_linear)
    return tuple(dict.fromkeys((plan.load, plan.tree, *one.steps)))


def runs(plan: Plan) -> list[dict[str, Any]]:
    """Make all that is not done; return what the report says of XR-Linear and each variant."""
    made = []
    if plan.settings.xr_linear:
        stages = (*stages_of(plan, None), plan.xr_linear_evaluation)
        made.append(describe(None) | summary(plan, stages, plan.xr_linear))
    for one in plan.overlaps:
        stages = (*stages_of(plan, one), one.evaluation)
        made.append(describe(one.variant) | summary(plan, stages, one.model))
    return made


def summary(plan: Plan, stages: tuple[Stage, ...], model: Stage) -> dict[str, Any]:
    """What the report says of a model: figures of the last stage, seconds and memory of all."""
    records, made = [stage.ensure() for stage in stages], model.ensure()
    seconds: dict[str, float] = {}
    for record in records:
        for name, value in record["seconds"].items():
            seconds[name] = round(seconds.get(name, 0.0) + value, 3)
    return records[-1]["results"] | {
        "settings": plan.settings.said(),
        "evaluation": str(stages[-1].folder.relative_to(plan.root)),
        "key": records[-1]["key"],
        "seconds": seconds,
        "peak_rss_mib": max(record["peak_rss_mib"] for record in records),
        "model": str(model.folder.relative_to(plan.root)),
        "threads": made["threads"],
        "machine": made["machine"],
    }
