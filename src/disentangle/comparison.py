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
from .errors import DisentangleError
from .params import MAX_K, PRESETS, OverlapParams, PredictParams, Propensity, TreeParams
from .progress import track
from .stages import Stage

if TYPE_CHECKING:
    from .overlap import Overlap

# What trains and predicts takes seconds to import, and a run that finds everything done needs none of
# it: so each stage imports its own.

logger = logging.getLogger(__name__)

OVERLAP_FILE = "overlap.npz"
MATCHING_FILE = "matching.npz"


@dataclass(frozen=True)
class Settings:
    """What a job is run with.

    Attributes
    ----------
    preset : str
        Name of the setting that `overlap` started from.
    threads : int
        Has no effect on results, nor has `force`.
    force : bool
        Redo stages that are done.
    """

    threads: int
    preset: str = "paper"
    tree: TreeParams = field(default_factory=TreeParams)
    predict: PredictParams = field(default_factory=PredictParams)
    overlap: OverlapParams = field(default_factory=lambda: PRESETS["paper"])
    propensity: Propensity = field(default_factory=Propensity)
    force: bool = False

    def validate(self) -> None:
        for params in (self.tree, self.predict, self.overlap, self.propensity):
            params.validate()
        if self.threads < 1:
            raise DisentangleError(f"threads must be at least 1, got {self.threads}")


def load_overlap(model_folder: Path) -> Overlap:
    """Labels and copies of a saved model; one that was not overlapped has each label once."""
    from .overlap import Overlap, without_copies
    from .tree import leaf_clusters, load_chain

    if (file := model_folder / OVERLAP_FILE).exists():
        return Overlap.load(file)
    chain = load_chain(model_folder)
    return without_copies(leaf_clusters(chain), chain[-1].shape[1])


class Comparison:
    """XR-Linear and its overlap on one dataset: trained, evaluated, and what lies in between.

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
        self.xr_linear_evaluation = self._evaluation(self.xr_linear)
        self.rounds: list[Stage] = []
        model = self.xr_linear
        for r in range(1, settings.overlap.rounds + 1):
            model = self._round("" if r == 1 else f"-round-{r}", model)
        self.overlap = model
        self.overlap_evaluation = self._evaluation(model)
        # Not part of the comparison: where the overlap sends its training instances.
        self.overlap_matching = self._matching_stage("overlap-matching", model)

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
            helpers=(load_overlap, Comparison._matching),
            threads=self.settings.threads,
            force=self.settings.force,
        )

    def _round(self, suffix: str, model: Stage) -> Stage:
        """One round of match, assign and retrain on a trained model; returns the new model."""
        match = self._matching_stage(f"matching{suffix}", model)
        assign = self._stage(
            "assign",
            f"assignment{suffix}",
            partial(self._assign, model=model, match=match),
            {"n_copies": self.settings.overlap.n_copies},
            ("overlap", "_kernels"),
            (match,),
        )
        retrain = self._stage(
            "retrain",
            f"overlap{suffix}",
            partial(self._retrain, model=model, assign=assign),
            asdict(self.settings.predict),
            ("pseudo", "tree", "xlinear"),
            (assign,),
        )
        self.rounds += [match, assign, retrain]
        return retrain

    def _matching_stage(self, folder: str, model: Stage) -> Stage:
        return self._stage(
            "match",
            folder,
            partial(self._match, model=model),
            {"beam_size": self.settings.predict.beam_size},
            ("xlinear",),
            (model,),
        )

    def _evaluation(self, model: Stage) -> Stage:
        return self._stage(
            "evaluate",
            f"{model.folder.name}-evaluation",
            partial(self._evaluate, model=model),
            asdict(self.settings.propensity) | {"max_k": MAX_K},
            ("metrics", "pseudo", "xlinear", "_kernels"),
            (model,),
        )

    def matching(self) -> sp.csr_matrix:
        """The overlap's scores of leaf clusters for each training instance; its stage must be done."""
        return sp.load_npz(self.overlap_matching.folder / MATCHING_FILE)

    @cached_property
    def dataset(self) -> data.Dataset:
        """The dataset, loaded when a stage first needs it."""
        dataset = self.source.load()
        sizes = ", ".join(f"{n:,} {what[2:].replace('_', ' ')}" for what, n in dataset.sizes().items())
        logger.info("%s: %s", dataset.name, sizes)
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

    def _assign(self, out: Path, model: Stage, match: Stage) -> dict[str, Any]:
        from .overlap import assign

        M = sp.load_npz(match.folder / MATCHING_FILE)
        own = load_overlap(model.folder).clusters[: self.dataset.Y_trn.shape[1]]
        overlap = assign(
            self.dataset.Y_trn.tocsc(), M, own, self.settings.overlap.n_copies, self.settings.threads
        )
        overlap.save(out / OVERLAP_FILE)
        return {}

    def _retrain(self, out: Path, model: Stage, assign: Stage) -> dict[str, Any]:
        from . import tree, xlinear
        from .pseudo import expand_labels

        start = time.perf_counter()
        overlap = load_overlap(assign.folder)
        Y = expand_labels(self.dataset.Y_trn.tocsc(), overlap.original)
        chain = tree.replace_leaf_level(tree.load_chain(model.folder), overlap.cluster_matrix())
        expanded = time.perf_counter()
        retrained = xlinear.train(self.dataset.X_trn, Y, chain, self.settings.predict, self.settings.threads)
        xlinear.save(retrained, out)
        # Beside the model, because its scores can be merged to labels only with it.
        overlap.save(out / OVERLAP_FILE)
        return {"seconds": {"expand": expanded - start, "retrain": time.perf_counter() - expanded}}

    def _evaluate(self, out: Path, model: Stage) -> dict[str, Any]:
        from . import metrics, xlinear
        from .pseudo import merge_scores

        X, Y_true = self.dataset.X_tst, self.dataset.Y_tst
        overlap = load_overlap(model.folder)
        start = time.perf_counter()
        batches = xlinear.predict(model.folder, X, self.settings.predict, self.settings.threads)
        Y_pred = np.vstack(
            [
                metrics.rank(merge_scores(batch, overlap.original, overlap.n_labels), MAX_K)
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
        """Make all that is not done; return what the report says of the two methods."""
        before = (self.load, self.xr_linear)
        overlap = {
            "method": "overlap",
            "preset": self.settings.preset,
            "n_copies": self.settings.overlap.n_copies,
        }
        return [
            {"method": "xr-linear", "preset": None, "n_copies": 1}
            | self._summary((*before, self.xr_linear_evaluation), self.xr_linear),
            overlap | self._summary((*before, *self.rounds, self.overlap_evaluation), self.overlap),
        ]

    def _summary(self, steps: tuple[Stage, ...], model: Stage) -> dict[str, Any]:
        records = [step.ensure() for step in steps]
        seconds: dict[str, float] = {}
        for record in records:
            for name, value in record["seconds"].items():
                seconds[name] = round(seconds.get(name, 0.0) + value, 3)
        return records[-1]["results"] | {
            "seconds": seconds,
            "peak_rss_mib": max(record["peak_rss_mib"] for record in records),
            "model": model.folder.name,
            "threads": model.ensure()["threads"],
            "machine": model.ensure()["machine"],
        }
