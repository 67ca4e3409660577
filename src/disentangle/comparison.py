"""XR-Linear beside its overlap on one label set, as resumable stages: what every job is made of."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from . import data, estimate
from .params import (
    DEFAULT_PRESET,
    MAX_K,
    PRESETS,
    OverlapParams,
    PredictParams,
    Propensity,
    TreeParams,
    at_least,
)
from .progress import track
from .stages import RECORD, Stage, read_record

if TYPE_CHECKING:
    from .overlap import Overlap

# What trains and predicts takes seconds to import, and a run that finds everything done needs none of
# it: so each stage imports its own.

logger = logging.getLogger(__name__)

OVERLAP_FILE = "overlap.npz"
MATCHING_FILE = "matching.npz"


@dataclass(frozen=True)
class Variant:
    """One way to overlap.

    Attributes
    ----------
    name : str
        The preset's, with what was changed of it.
    folder : str
        Of its models: the same without the rule of merging, of which they know nothing.
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
    threads : int
        Has no effect on results, nor has `force`.
    force : bool
        Redo stages that are done.
    """

    threads: int
    variants: tuple[Variant, ...] = (
        Variant(DEFAULT_PRESET, DEFAULT_PRESET, DEFAULT_PRESET, PRESETS[DEFAULT_PRESET]),
    )
    tree: TreeParams = field(default_factory=TreeParams)
    predict: PredictParams = field(default_factory=PredictParams)
    propensity: Propensity = field(default_factory=Propensity)
    force: bool = False

    def validate(self) -> None:
        for params in (self.tree, self.predict, self.propensity):
            params.validate()
        for variant in self.variants:
            variant.params.validate()
        at_least("threads", self.threads, 1)


def load_overlap(model_folder: Path) -> Overlap:
    """Labels and copies of a saved model; one that was not overlapped has each label once."""
    from .overlap import Overlap, without_copies
    from .tree import leaf_clusters, load_chain

    if (file := model_folder / OVERLAP_FILE).exists():
        return Overlap.load(file)
    chain = load_chain(model_folder)
    return without_copies(leaf_clusters(chain), chain[-1].shape[1])


def load_matching(folder: Path) -> sp.csr_matrix:
    """What a matching stage found: scores of leaf clusters for each training instance."""
    return sp.load_npz(folder / MATCHING_FILE)


@dataclass(frozen=True)
class Overlapped:
    """The stages of one variant.

    Attributes
    ----------
    variant : Variant
    steps : tuple of Stage
        From the first model's matching to `model`.
    model, evaluation, matching : Stage
        The last retrained model, its figures, and where it sends its training instances.
    """

    variant: Variant
    steps: tuple[Stage, ...]
    model: Stage
    evaluation: Stage
    matching: Stage


class Comparison:
    """XR-Linear and its overlaps on one dataset: trained, evaluated, and what lies in between.

    Parameters
    ----------
    folder : Path
        Each stage leaves its results in a folder in here.
    source : data.Source
    settings : Settings
    """

    def __init__(self, folder: Path, source: data.Source, settings: Settings) -> None:
        self.folder = folder
        self.source = source
        self.settings = settings
        self.load = self._stage("load", "load", self._load, source.inputs, ("data", "matrices"))
        self.xr_linear = self._stage(
            "train",
            "xr-linear",
            self._train,
            asdict(settings.tree) | asdict(settings.predict),
            ("tree", "xlinear"),
            (self.load,),
        )
        self.xr_linear_evaluation = self._evaluation(self.xr_linear, "xr-linear-evaluation", "mean")
        self.matching = self._matching_stage("matching", self.xr_linear)
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
            helpers=(load_overlap, load_matching, Comparison._matching),
            threads=self.settings.threads,
            force=self.settings.force,
            title=folder,
        )

    def _overlapped(self, variant: Variant) -> Overlapped:
        """All rounds of one variant."""
        model, match, steps = self.xr_linear, self.matching, []
        for r in range(1, variant.params.rounds + 1):
            suffix = "" if r == 1 else f"-round-{r}"
            if r > 1:
                match = self._matching_stage(f"{variant.folder}/matching{suffix}", model)
            assign = self._assignment(variant, suffix, model, match)
            model = self._retraining(variant, suffix, model, match, assign)
            steps += [match, assign, model]
        merged = variant.name.removeprefix(variant.folder)
        folder = f"{variant.folder}/evaluation{suffix}{merged}"
        evaluation = self._evaluation(model, folder, variant.params.merge)
        # Not part of the comparison: where the overlap sends its training instances.
        own = self._matching_stage(f"{variant.folder}/overlap-matching{suffix}", model)
        return Overlapped(variant, tuple(steps), model, evaluation, own)

    def _assignment(self, variant: Variant, suffix: str, model: Stage, match: Stage) -> Stage:
        params = asdict(variant.params)
        names = ("n_copies", "gain", "coverage", "capacity", "budget")
        return self._stage(
            "assign",
            f"{variant.folder}/assignment{suffix}",
            partial(self._assign, model=model, match=match, params=variant.params),
            {name: params[name] for name in names},
            ("overlap", "_kernels"),
            (model, match),
        )

    def _retraining(self, variant: Variant, suffix: str, model: Stage, match: Stage, assign: Stage) -> Stage:
        positives = variant.params.positives
        return self._stage(
            "retrain",
            f"{variant.folder}/overlap{suffix}",
            partial(self._retrain, model=model, assign=assign, match=match, positives=positives),
            asdict(self.settings.predict) | {"positives": positives},
            ("pseudo", "tree", "xlinear"),
            (model, match, assign),
        )

    def _matching_stage(self, folder: str, model: Stage) -> Stage:
        return self._stage(
            "match",
            folder,
            partial(self._match, model=model),
            {"beam_size": self.settings.predict.beam_size},
            ("xlinear",),
            (model,),
        )

    def _evaluation(self, model: Stage, folder: str, merge: str) -> Stage:
        return self._stage(
            "evaluate",
            folder,
            partial(self._evaluate, model=model, merge=merge),
            asdict(self.settings.propensity) | {"max_k": MAX_K, "merge": merge, "data": self.load.key},
            ("metrics", "pseudo", "xlinear", "_kernels"),
            (model,),
        )

    @cached_property
    def dataset(self) -> data.Dataset:
        """The dataset, loaded when a stage first needs it."""
        dataset = self.source.load()
        logger.info("%s: %s", dataset.name, data.in_words(dataset.sizes()))
        for note in dataset.notes:
            logger.warning("note: %s", note)
        return dataset

    def _load(self, out: Path) -> dict[str, Any]:
        costs = estimate.size_of(self.dataset.X_trn, self.dataset.Y_trn)
        return self.dataset.sizes() | {"costs": asdict(costs), "notes": list(self.dataset.notes)}

    def _train(self, out: Path) -> dict[str, Any]:
        from . import tree, xlinear

        X, Y = self.dataset.X_trn, self.dataset.Y_trn.tocsc()
        chain = tree.build_chain(X, Y, self.settings.tree, self.settings.threads)
        model = xlinear.train(X, Y, chain, self.settings.predict, self.settings.threads)
        xlinear.save(model, out)
        return {}

    def _match(self, out: Path, model: Stage) -> dict[str, Any]:
        sp.save_npz(out / MATCHING_FILE, self._matching(model, self.dataset.X_trn), compressed=False)
        return {}

    def _matching(self, model: Stage, X: sp.csr_matrix) -> sp.csr_matrix:
        from . import xlinear

        batches = xlinear.match(model.folder, X, self.settings.predict.beam_size, self.settings.threads)
        return sp.vstack(list(track(batches, X.shape[0], xlinear.BATCH_SIZE)), format="csr")

    def _assign(self, out: Path, model: Stage, match: Stage, params: OverlapParams) -> dict[str, Any]:
        from .overlap import assign

        own = load_overlap(model.folder).clusters[: self.dataset.Y_trn.shape[1]]
        Y = self.dataset.Y_trn.tocsc()
        overlap = assign(Y, load_matching(match.folder), own, params, self.settings.threads)
        overlap.save(out / OVERLAP_FILE)
        return {}

    def _retrain(
        self, out: Path, model: Stage, assign: Stage, match: Stage, positives: str
    ) -> dict[str, Any]:
        from . import tree, xlinear
        from .pseudo import expand_labels

        start = time.perf_counter()
        overlap = load_overlap(assign.folder)
        M = load_matching(match.folder) if positives == "matched" else None
        Y = expand_labels(self.dataset.Y_trn.tocsc(), overlap, M)
        chain = tree.replace_leaf_level(tree.load_chain(model.folder), overlap.cluster_matrix())
        expanded = time.perf_counter()
        retrained = xlinear.train(self.dataset.X_trn, Y, chain, self.settings.predict, self.settings.threads)
        xlinear.save(retrained, out)
        # Beside the model, because its scores can be merged to labels only with it.
        overlap.save(out / OVERLAP_FILE)
        return {"seconds": {"expand": expanded - start, "retrain": time.perf_counter() - expanded}}

    def _evaluate(self, out: Path, model: Stage, merge: str) -> dict[str, Any]:
        from . import metrics, xlinear
        from .pseudo import merge_scores

        X, Y_true = self.dataset.X_tst, self.dataset.Y_tst
        overlap = load_overlap(model.folder)
        start = time.perf_counter()
        batches = xlinear.predict(model.folder, X, self.settings.predict, self.settings.threads)
        Y_pred = np.vstack(
            [
                metrics.rank(merge_scores(batch, overlap.original, overlap.n_labels, merge), MAX_K)
                for batch in track(batches, X.shape[0], xlinear.BATCH_SIZE)
            ]
        )
        predicted = time.perf_counter()
        inverse = metrics.inverse_propensity(self.dataset.Y_trn, self.settings.propensity)
        sizes = overlap.cluster_sizes()
        figures = {
            "precision": metrics.precision(Y_true, Y_pred),
            "recall": metrics.recall(Y_true, Y_pred),
            "ndcg": metrics.ndcg(Y_true, Y_pred),
            "psp": metrics.psp(Y_true, Y_pred, inverse),
        }
        return {name: [round(v, 4) for v in values.tolist()] for name, values in figures.items()} | {
            "candidates_per_instance": metrics.candidates_per_instance(self._matching(model, X), sizes),
            "largest_cluster": int(sizes.max()),
            "n_pseudo_labels": overlap.n_pseudo_labels,
            "n_unmatched_labels": overlap.n_unmatched_labels,
            "seconds": {"predict": predicted - start, "evaluate": time.perf_counter() - predicted},
        }

    def runs(self) -> list[dict[str, Any]]:
        """Make all that is not done; return what the report says of XR-Linear and each variant."""
        before = (self.load, self.xr_linear)
        runs = [
            {"method": "xr-linear", "variant": None, "preset": None, "n_copies": 1}
            | self._summary((*before, self.xr_linear_evaluation), self.xr_linear)
        ]
        for one in self.overlaps:
            params = one.variant.params
            runs.append(
                {
                    "method": "overlap",
                    "variant": one.variant.name,
                    "preset": one.variant.preset,
                    "n_copies": params.n_copies,
                    "overlap": asdict(params),
                }
                | self._summary((*before, *one.steps, one.evaluation), one.model)
            )
        return runs

    def earlier_runs(self) -> list[dict[str, Any]]:
        """Figures of variants that earlier calls have left beside those of this one, on the same data."""
        these = {one.evaluation.folder for one in self.overlaps}
        found = []
        for path in sorted(self.folder.glob(f"*/evaluation*/{RECORD}")):
            record = read_record(path.parent)
            if record and path.parent not in these and record["inputs"].get("data") == self.load.key:
                name = path.parts[-3] + path.parts[-2].removeprefix("evaluation")
                found.append({"method": "overlap", "variant": name} | record["results"])
        return found

    def _summary(self, steps: tuple[Stage, ...], model: Stage) -> dict[str, Any]:
        records = [step.ensure() for step in steps]
        seconds: dict[str, float] = {}
        for record in records:
            for name, value in record["seconds"].items():
                seconds[name] = round(seconds.get(name, 0.0) + value, 3)
        return records[-1]["results"] | {
            "seconds": seconds,
            "peak_rss_mib": max(record["peak_rss_mib"] for record in records),
            "model": str(model.folder.relative_to(self.folder)),
            "threads": model.ensure()["threads"],
            "machine": model.ensure()["machine"],
        }
