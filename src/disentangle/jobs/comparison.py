"""XR-Linear beside its overlap on one label set, as resumable stages: what every job is made of."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from ..data import datasets
from ..params import (
    DEFAULT_PRESET,
    EPS,
    FREQUENT,
    LONG,
    MAX_K,
    MAX_REPEATS,
    PRESETS,
    Limits,
    OverlapParams,
    PredictParams,
    Propensity,
    SolverParams,
    TreeParams,
    check_limits,
)
from ..runtime.memory import Budget
from ..runtime.progress import track
from ..runtime.threads import check_threads
from ..storage.saved import Saved
from . import estimate
from .stages import Stage

if TYPE_CHECKING:
    from ..model.pecos import ClusterChain

# What trains and predicts takes seconds to import, and a run that finds everything done needs none of
# it: so each stage imports its own.

logger = logging.getLogger(__name__)

MATCHING_FILE = "matching.npz"


@dataclass(frozen=True)
class Variant:
    """One way to overlap.

    Attributes
    ----------
    name : str
        The preset's, with what was changed of it. Its evaluation's folder ends in what is not in `folder`.
    folder : str
        Of its models: the same without their rounds, and without the parts of which they know nothing.
    preset : str
        Name of the setting that `params` started from.
    params : OverlapParams
    """

    name: str
    folder: str
    preset: str
    params: OverlapParams


@dataclass(frozen=True)
class Settings:
    """What a job is run with.

    Attributes
    ----------
    variants : tuple of Variant
        Ways to overlap, each compared with XR-Linear.
    n_trees : int
        How many trees there are in the ensembles that are compared as well; 1 for none.
    threads : int
        Has no effect on results, nor has `force`.
    max_memory : float or None
        GiB that the process may hold while batches are matched and predicted; no effect on results either.
    force : bool
        Redo stages that are done.
    xr_linear : bool
        Whether XR-Linear itself is reported, and so trained whole in any case.
    """

    threads: int
    variants: tuple[Variant, ...] = (
        Variant(DEFAULT_PRESET, DEFAULT_PRESET, DEFAULT_PRESET, PRESETS[DEFAULT_PRESET]),
    )
    tree: TreeParams = field(default_factory=TreeParams)
    n_trees: int = field(default=1, metadata={"limits": Limits(1, MAX_REPEATS)})
    predict: PredictParams = field(default_factory=PredictParams)
    propensity: Propensity = field(default_factory=Propensity)
    max_memory: float | None = None
    force: bool = False
    xr_linear: bool = True

    @property
    def budget(self) -> Budget:
        return Budget.of(self.max_memory)

    def said(self) -> dict[str, Any]:
        """What figures depend on besides data and variant, for the report."""
        return asdict(self.tree) | asdict(self.predict) | {"propensity": asdict(self.propensity)}

    def validate(self) -> None:
        for params in (self.tree, self.predict, self.propensity):
            params.validate()
        for variant in self.variants:
            variant.params.validate()
        check_limits(self)
        Limits(0, 2**32 - self.n_trees).check(f"--seed with --n-trees {self.n_trees}", self.tree.seed)
        check_threads(self.threads)
        Budget.of(self.max_memory)


def load_matching(saved: Saved) -> sp.csr_matrix:
    """What a matching stage found: scores of leaf clusters for each training instance.

    Raises
    ------
    DisentangleError
        If it is damaged.
    """
    return saved.matrix(MATCHING_FILE, is_sorted=False).tocsr()


@dataclass(frozen=True)
class First:
    """How the matcher that clusters are chosen by is trained; by default it is XR-Linear's.

    Attributes
    ----------
    splits : int or None
    eps : float
    features : int or None
        `overlap_splits`, `first_eps` and `first_features` of `OverlapParams`.
    """

    splits: int | None = None
    eps: float = EPS
    features: int | None = None

    @classmethod
    def of(cls, params: OverlapParams) -> First:
        return cls(params.overlap_splits, params.first_eps, params.first_features)

    def folder(self, name: str) -> str:
        """Folder of the matcher ("matcher") or its matching; those of XR-Linear have no suffix."""
        splits = "" if self.splits is None else f"-splits-{self.splits}"
        features = "" if self.features is None else f"-features-{self.features}"
        return name + splits + ("" if self.eps == EPS else f"-eps-{self.eps}") + features


def describe(variant: Variant | None, n_trees: int = 1) -> dict[str, Any]:
    """How the report names XR-Linear (None) or a way to overlap."""
    if variant is None:
        return {"method": "xr-linear", "variant": None, "preset": None, "n_copies": 1, "n_trees": n_trees}
    return {
        "method": "overlap",
        "variant": variant.name,
        "preset": variant.preset,
        "n_copies": variant.params.n_copies,
        "n_trees": n_trees,
        "overlap": asdict(variant.params),
    }


@dataclass(frozen=True)
class Overlapped:
    """The stages of one variant.

    Attributes
    ----------
    variant : Variant
    steps : tuple of Stage
        From the first matcher to `model`.
    model, evaluation, matching : Stage
        The last retrained model, its figures, and where it sends its training instances.
    """

    variant: Variant
    steps: tuple[Stage, ...]
    model: Stage
    evaluation: Stage
    matching: Stage


class Scored(NamedTuple):
    """A stage's model whose scores are averaged with others': `predictor.Voice` before it is made."""

    model: Stage
    predict: PredictParams
    merge: str
    weight: float


class Comparison:
    """XR-Linear and its overlaps on one dataset: trained, evaluated, and what lies in between.

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
        self.load = self._stage(
            "load", "load", self._load, source.inputs, ("data.datasets", "storage.matrices", "storage.npz")
        )
        self.tree = self._stage(
            "train", "label-tree", self._build_tree, asdict(settings.tree), ("model.tree",), (self.load,)
        )
        self._trees: dict[int, Stage] = {}
        self._firsts: dict[First, tuple[Stage, Stage]] = {}
        # XR-Linear is two stages, because most overlaps need no more of it than its matcher, or nothing.
        self.matcher, self.matching = self._first(First())
        self.xr_linear = self._stage(
            "train",
            "xr-linear",
            self._train_ranker,
            asdict(settings.predict),
            ("model.tree", "model.subproblems", "model.xlinear"),
            (self.tree, self.matcher),
        )
        self.xr_linear_evaluation = self.evaluation(self.models(self.xr_linear, None), "xr-linear-evaluation")
        self.overlaps = [self._overlapped(variant) for variant in settings.variants]

    def _stage(
        self,
        name: str,
        folder: str,
        build: Callable[[Path], dict[str, Any]],
        inputs: dict[str, Any],
        modules: tuple[str, ...],
        needs: tuple[Stage, ...] = (),
    ) -> Stage:
        return Stage(
            name,
            self.folder / folder,
            inputs,
            modules,
            build,
            needs,
            prepare=(lambda: self.dataset) if needs else (lambda: None),
            helpers=(load_matching,),
            threads=self.settings.threads,
            force=self.settings.force,
            title=str(Path(self.place, folder)),
        )

    def _overlapped_tree(self, splits: int | None) -> Stage:
        """The tree that is overlapped: the first one, or its clusters below other levels."""
        if splits is None:
            return self.tree
        if splits not in self._trees:
            self._trees[splits] = self._stage(
                "train",
                f"label-tree-splits-{splits}",
                partial(self._regroup_tree, nr_splits=splits),
                {"nr_splits": splits},
                ("model.tree",),
                (self.tree,),
            )
        return self._trees[splits]

    def _first(self, first: First) -> tuple[Stage, Stage]:
        """A first matcher and where it sends training instances."""
        if first not in self._firsts:
            of_features = () if first.features is None else ("model.feature_selection", "kernels.largest")
            matcher = self._stage(
                "train",
                first.folder("matcher"),
                partial(self._train_matcher, first=first),
                {"beam_size": self.settings.predict.beam_size} | asdict(first),
                ("model.tree", "model.subproblems", "model.xlinear", *of_features),
                (self._overlapped_tree(first.splits),),
            )
            matching = self._matching_stage(first.folder("matching"), matcher, is_alone=True)
            self._firsts[first] = matcher, matching
        return self._firsts[first]

    def _overlapped(self, variant: Variant) -> Overlapped:
        """All rounds of one variant."""
        model, match = self._first(First.of(variant.params))
        before = self._overlapped_tree(variant.params.overlap_splits)
        steps = [before, model]
        for r in range(1, variant.params.rounds + 1):
            suffix = "" if r == 1 else f"-round-{r}"
            if r > 1:
                match = self._matching_stage(f"{variant.folder}/matching{suffix}", model)
            assign = self._assignment(variant, suffix, before, match)
            model = before = self._retraining(variant, suffix, before, match, assign)
            steps += [match, assign, model]
        folder = f"{variant.folder}/evaluation{variant.name.removeprefix(variant.folder)}"
        evaluation = self.evaluation(self.models(model, variant), folder)
        # Not part of the comparison: where the overlap sends its training instances.
        beam_size = self._prediction(variant).beam_size
        own = self._matching_stage(f"{variant.folder}/overlap-matching{suffix}", model, beam_size)
        return Overlapped(variant, tuple(steps), model, evaluation, own)

    def _assignment(self, variant: Variant, suffix: str, before: Stage, match: Stage) -> Stage:
        """Choices of clusters among those of the tree, or model, that there was `before`."""
        params = asdict(variant.params)
        names = ("n_copies", "gain", "coverage", "capacity", "budget")
        of_capacity = () if variant.params.capacity is None else ("kernels.auction",)
        return self._stage(
            "assign",
            f"{variant.folder}/assignment{suffix}",
            partial(self._assign, before=before, match=match, params=variant.params),
            {name: params[name] for name in names},
            ("overlap.assign", "model.tree", "kernels.choosing", *of_capacity),
            (before, match),
        )

    def _retraining(self, variant: Variant, suffix: str, before: Stage, match: Stage, assign: Stage) -> Stage:
        params = asdict(variant.params)
        of_data = ("positives", "leaf_size", "split", "negatives", "spared", "features", "max_df")
        parts = {name: params[name] for name in (*of_data, "eps", "matcher_eps", "threshold", "hinge")}
        parts |= {"frequent": FREQUENT, "long": LONG, "seed": self.settings.tree.seed}
        # A kernel is in the stage only where it runs, so that no other change has the model made again.
        kernels = {
            "kernels.positives": parts["positives"] != "all",
            "kernels.largest": parts["features"] is not None,
            "kernels.ranking": parts["negatives"] > 0,
        }
        modules = (
            "overlap.assign",
            "overlap.copies",
            "model.tree",
            "model.feature_selection",
            "model.negatives",
            "model.subproblems",
            "model.xlinear",
        )
        return self._stage(
            "retrain",
            f"{variant.folder}/overlap{suffix}",
            partial(self._retrain, before=before, assign=assign, match=match, variant=variant),
            asdict(self._prediction(variant)) | parts,
            (*modules, *(kernel for kernel, runs in kernels.items() if runs)),
            (before, match, assign),
        )

    def _matching_stage(
        self, folder: str, model: Stage, beam_size: int | None = None, is_alone: bool = False
    ) -> Stage:
        """Where a model's matcher, or one that is alone, sends training instances."""
        beam_size = beam_size or self.settings.predict.beam_size
        return self._stage(
            "match",
            folder,
            partial(self._match, model=model, beam_size=beam_size, is_alone=is_alone),
            {"beam_size": beam_size},
            ("model.xlinear",),
            (model,),
        )

    def models(self, model: Stage, variant: Variant | None) -> tuple[Scored, ...]:
        """What scores labels: XR-Linear (None), or a variant's last model with XR-Linear's share."""
        if variant is None:
            return (Scored(model, self.settings.predict, "mean", 1.0),)
        params = variant.params
        retrained = Scored(model, self._prediction(variant), params.merge, 1 - params.first_weight)
        if params.first_weight == 0:
            return (retrained,)
        beam_size = params.first_beam or self.settings.predict.beam_size
        predict = replace(self.settings.predict, beam_size=beam_size)
        return (retrained, Scored(self.xr_linear, predict, "mean", params.first_weight))

    def evaluation(self, models: tuple[Scored, ...], folder: str) -> Stage:
        """The stage that evaluates weighted means of models' scores."""
        said = [[one.predict.beam_size, one.merge, one.weight] for one in models]
        return self._stage(
            "evaluate",
            folder,
            partial(self._evaluate, models=models),
            asdict(self.settings.propensity)
            | {"max_k": MAX_K, "voices": said, "carried": self.source.carried},
            (
                "evaluate.metrics",
                "overlap.assign",
                "overlap.copies",
                "model.predictor",
                "model.xlinear",
                "kernels.ranking",
            ),
            tuple(one.model for one in models),
        )

    def _prediction(self, variant: Variant) -> PredictParams:
        """How a variant's retrained model predicts."""
        if variant.params.predict_beam is None:
            return self.settings.predict
        return replace(self.settings.predict, beam_size=variant.params.predict_beam)

    @cached_property
    def dataset(self) -> datasets.Dataset:
        """The dataset, loaded when a stage first needs it."""
        dataset = self.source.load()
        logger.info("%s: %s", dataset.name, datasets.in_words(dataset.sizes()))
        for note in dataset.notes:
            logger.warning("note: %s", note)
        estimate.require_room(estimate.size_of(dataset.X_trn, dataset.Y_trn), self.settings.threads)
        return dataset

    def _load(self, out: Path) -> dict[str, Any]:
        costs = estimate.size_of(self.dataset.X_trn, self.dataset.Y_trn)
        return self.dataset.sizes() | {"costs": asdict(costs), "notes": list(self.dataset.notes)}

    def _build_tree(self, out: Path) -> dict[str, Any]:
        from ..model import tree

        X, Y = self.dataset.X_trn, self.dataset.Y_trn.tocsc()
        tree.save_chain(tree.build_chain(X, Y, self.settings.tree, self.settings.threads), out)
        return {}

    def _regroup_tree(self, out: Path, nr_splits: int) -> dict[str, Any]:
        from ..model import tree

        tree.save_chain(tree.replace_upper_levels(tree.load_chain(self.tree.saved()), nr_splits), out)
        return {}

    def _learnt(self, n_features: int | None, max_df: float = 1.0) -> sp.csr_matrix:
        """Training instances as they are learnt from: with so many features each, or all (None)."""
        if n_features is None and max_df == 1:
            return self.dataset.X_trn
        from ..model.feature_selection import largest, without_common

        X = without_common(self.dataset.X_trn, max_df)
        return X if n_features is None else largest(X, n_features)

    def _chain(self, stage: Stage) -> ClusterChain:
        """A tree of the dataset's labels."""
        from ..model import tree

        saved = stage.saved()
        chain = tree.load_chain(saved)
        saved.check_fit("a tree of labels:", chain[-1].shape[0], self.dataset.Y_trn.shape[1])
        return chain

    def _train_matcher(self, out: Path, first: First) -> dict[str, Any]:
        from ..model import xlinear

        X, Y = self._learnt(first.features), self.dataset.Y_trn.tocsc()
        chain, settings = self._chain(self._overlapped_tree(first.splits)), self.settings
        solver = SolverParams(eps=first.eps)
        matcher = xlinear.train_matcher(X, Y, chain, settings.predict, settings.threads, solver)
        xlinear.save(matcher, out)
        return {}

    def _train_ranker(self, out: Path) -> dict[str, Any]:
        from ..model import xlinear

        X, Y = self.dataset.X_trn, self.dataset.Y_trn.tocsc()
        chain, saved = self._chain(self.tree), self.matcher.saved()
        matcher = xlinear.load_trained(saved)
        above = [level.C.shape for level in matcher.model.model_chain]
        saved.check_fit("levels of shapes", above, [C.shape for C in chain[:-1]])
        model = xlinear.train_ranker(X, Y, chain, matcher, self.settings.predict, self.settings.threads)
        xlinear.save(model, out)
        return {}

    def _match(self, out: Path, model: Stage, beam_size: int, is_alone: bool) -> dict[str, Any]:
        from ..model import xlinear

        settings = self.settings
        saved, n_features = model.saved(), self.dataset.X_trn.shape[1]
        matcher = (xlinear.load if is_alone else xlinear.load_matcher)(saved)
        saved.check_fit("a model of features:", xlinear.n_features(matcher), n_features)
        M = xlinear.match(matcher, self.dataset.X_trn, beam_size, settings.threads, settings.budget)
        sp.save_npz(out / MATCHING_FILE, M, compressed=False)
        return {}

    def _matches(self, stage: Stage) -> sp.csr_matrix:
        """A matching matrix of the training instances."""
        saved = stage.saved()
        M = load_matching(saved)
        saved.check_fit("matches of instances:", M.shape[0], self.dataset.X_trn.shape[0])
        return M

    def _assign(self, out: Path, before: Stage, match: Stage, params: OverlapParams) -> dict[str, Any]:
        from ..overlap.assign import OVERLAP_FILE, assign, load_overlap

        Y, saved = self.dataset.Y_trn.tocsc(), before.saved()
        tree = load_overlap(saved)
        saved.check_fit("a tree of labels:", tree.n_labels, Y.shape[1])
        M = self._matches(match)
        match.saved().check_fit("matches of clusters:", M.shape[1], tree.n_clusters)
        overlap = assign(Y, M, tree.clusters[: Y.shape[1]], params, self.settings.threads)
        overlap.save(out / OVERLAP_FILE)
        return {}

    def _retrain(
        self, out: Path, before: Stage, assign: Stage, match: Stage, variant: Variant
    ) -> dict[str, Any]:
        from ..model import tree, xlinear
        from ..model.negatives import mine
        from ..overlap.assign import OVERLAP_FILE, load_overlap
        from ..overlap.copies import expand_labels

        settings, params, X = self.settings, variant.params, self.dataset.X_trn
        clock = [time.perf_counter()]
        saved, before_chain = assign.saved(), tree.load_chain(before.saved())
        overlap, sizes = load_overlap(saved), (self.dataset.Y_trn.shape[1], before_chain[-1].shape[1])
        saved.check_fit("labels and clusters:", (overlap.n_labels, overlap.n_clusters), sizes)
        Y = expand_labels(
            self.dataset.Y_trn.tocsc(),
            overlap,
            None if params.positives == "all" else self._matches(match),
            FREQUENT if params.positives == "frequent" else 0,
        )
        chain = tree.replace_leaf_level(before_chain, overlap.cluster_matrix())
        clock.append(time.perf_counter())
        if params.leaf_size is not None:
            nested = params.split == "nested"
            chain = tree.split_leaves(
                chain, X, Y, params.leaf_size, nested, settings.tree.seed, settings.threads
            )
            overlap = replace(overlap, clusters=tree.leaf_clusters(chain), n_clusters=chain[-1].shape[1])
        clock.append(time.perf_counter())
        predict, threads = self._prediction(variant), settings.threads
        learnt = self._learnt(params.features, params.max_df)
        of_matcher = SolverParams(params.eps if params.matcher_eps is None else params.matcher_eps)
        of_ranker = SolverParams(params.eps, params.threshold)
        matcher = xlinear.train_matcher(learnt, Y, chain, predict, threads, of_matcher)
        negatives = mine(
            matcher, X, params.negatives, params.spared, predict.beam_size, settings.tree.seed, threads
        )
        retrained = xlinear.train_ranker(
            learnt, Y, chain, matcher, predict, threads, negatives, of_ranker, params.hinge
        )
        xlinear.save(retrained, out)
        # Beside the model, because its scores can be merged to labels only with it.
        overlap.save(out / OVERLAP_FILE)
        clock.append(time.perf_counter())
        return {"seconds": dict(zip(("expand", "split", "retrain"), np.diff(clock).tolist(), strict=True))}

    def _evaluate(self, out: Path, models: tuple[Scored, ...]) -> dict[str, Any]:
        from ..evaluate import metrics
        from ..model import xlinear
        from ..model.predictor import Predictor, Voice

        X, Y_true = self.dataset.X_tst, self.dataset.Y_tst
        threads, budget = self.settings.threads, self.settings.budget
        voices = tuple(
            Voice(one.model.saved(), one.predict, one.merge, one.weight, one.model.key) for one in models
        )
        predictor = Predictor(voices)
        for voice in voices:
            sizes = voice.overlap.n_labels, xlinear.n_features_of(voice.saved)
            voice.saved.check_fit("labels and features:", sizes, (self.dataset.Y_trn.shape[1], X.shape[1]))
        predictor.save(out)
        self.source.carry(out)
        # Without a limit they are not needed before, and are no part of predicting.
        candidates = None if budget.limit is None else predictor.candidates(X, threads, budget)
        start = time.perf_counter()
        batches = predictor.best(X, MAX_K, threads, budget, candidates)
        tracked = track(batches, X.shape[0], lambda batch: len(batch[0]))
        Y_pred = np.vstack([labels for labels, _ in tracked])
        predicted = time.perf_counter()
        if candidates is None:
            candidates = predictor.candidates(X, threads)
        inverse = metrics.inverse_propensity(self.dataset.Y_trn, self.settings.propensity)
        overlaps = [voice.overlap for voice in voices]
        # XR-Linear, if it has a share in the scores, has no say in these.
        overlapped = [overlap for overlap in overlaps if overlap.n_pseudo_labels] or overlaps
        figures = {
            "precision": metrics.precision(Y_true, Y_pred),
            "recall": metrics.recall(Y_true, Y_pred),
            "ndcg": metrics.ndcg(Y_true, Y_pred),
            "psp": metrics.psp(Y_true, Y_pred, inverse),
        }
        return {name: [round(v, 4) for v in values.tolist()] for name, values in figures.items()} | {
            "candidates_per_instance": float(candidates.sum(axis=0).mean()),
            "largest_cluster": int(max(overlap.cluster_sizes().max() for overlap in overlapped)),
            "n_pseudo_labels": sum(overlap.n_pseudo_labels for overlap in overlaps),
            "n_unmatched_labels": sum(overlap.n_unmatched_labels for overlap in overlaps),
            "seconds": {"predict": predicted - start, "evaluate": time.perf_counter() - predicted},
        }

    def runs(self) -> list[dict[str, Any]]:
        """Make all that is not done; return what the report says of XR-Linear and each variant."""
        runs = []
        if self.settings.xr_linear:
            steps = (*self.steps(None), self.xr_linear_evaluation)
            runs.append(describe(None) | self.summary(steps, self.xr_linear))
        for one in self.overlaps:
            steps = (*self.steps(one), one.evaluation)
            runs.append(describe(one.variant) | self.summary(steps, one.model))
        return runs

    def steps(self, one: Overlapped | None) -> tuple[Stage, ...]:
        """All that a variant's scores, or XR-Linear's (None), are made by."""
        xr_linear = (self.load, self.tree, self.matcher, self.xr_linear)
        if one is None:
            return xr_linear
        # XR-Linear as a whole only where it has a share in the scores.
        first = xr_linear if self.xr_linear in one.evaluation.needs else (self.load, self.tree)
        return tuple(dict.fromkeys((*first, *one.steps)))

    def summary(self, steps: tuple[Stage, ...], model: Stage) -> dict[str, Any]:
        """What the report says of a model: figures of the last step, seconds and memory of all."""
        records, made = [step.ensure() for step in steps], model.ensure()
        seconds: dict[str, float] = {}
        for record in records:
            for name, value in record["seconds"].items():
                seconds[name] = round(seconds.get(name, 0.0) + value, 3)
        return records[-1]["results"] | {
            "settings": self.settings.said(),
            "evaluation": str(steps[-1].folder.relative_to(self.root)),
            "key": records[-1]["key"],
            "seconds": seconds,
            "peak_rss_mib": max(record["peak_rss_mib"] for record in records),
            "model": str(model.folder.relative_to(self.root)),
            "threads": made["threads"],
            "machine": made["machine"],
        }
