"""Probabilities for the models of a base job, by validation data, which their twins or they have not seen.

Twins are the models that a sweep of the same settings trains, and lie where it leaves them:

    sweep: the models on four fifths of the training data - calibration, on the last fifth
    base:  that one, and the models on all of them        - calibration, measured on the test part

A dataset that has a validation part needs none: the base job's models have not seen it.

    base:  the models - calibration, on the validation part; it lies where the other does
    base:  both       - calibration, measured on the test part

The last one lies beside the evaluation, and says whose scores it is for.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data import datasets
from ..data.datasets import Dataset
from ..data.validation import validation
from ..errors import DisentangleError
from ..evaluate.calibration import CALIBRATION_FILE, Calibration, expected_calibration_error, reliability
from ..params import MAX_K, PredictParams
from ..rules import MERGES
from ..storage.saved import RECORD, Saved
from .ensemble import Ensemble
from .plan import MERGING, Plan
from .settings import Settings, Variant
from .stages import Stage
from .steps import Means

if TYPE_CHECKING:
    from ..model.predictor import Predictor

logger = logging.getLogger(__name__)

# Of the first so many labels of each instance the report has the error.
KS = (1, 5)
Run = dict[str, Any]


def validation_trees(root: Path, source: datasets.Source, settings: Settings) -> list[Plan]:
    """What a sweep makes of the same settings, where it leaves it: on four fifths of the training data.

    Of a dataset with a validation part they are on all of them.

    Parameters
    ----------
    root : Path
        Of the sweep's results.
    source : datasets.Source
        The whole dataset.
    settings : Settings

    Returns
    -------
    list of Plan
        One for each tree.
    """
    seed = settings.tree.seed

    def place(of_tree: Settings) -> str:
        # All trees are on the first one's draw, and so apart from the sweeps of their own seeds.
        own = of_tree.tree.seed
        return f"seed-{seed}" if own == seed else f"seed-{seed}/seed-{own}"

    return Ensemble(root, validation(source, seed), settings, place).trees


def calibrated(runs: list[Run], trees: list[Plan], sweep: Path, is_made: bool) -> list[Run]:
    """Runs of a base job, and of each that has a calibration what it is worth.

    Parameters
    ----------
    runs : list of dict
    trees : list of Plan
        Of the base job.
    sweep : Path
        Where a sweep of the dataset has its results.
    is_made : bool
        Whether calibrations that are not there are made.
    """
    source = replace(trees[0].source, load=lambda: trees[0].dataset)
    twins, added = validation_trees(sweep, source, trees[0].settings), []
    data = {name: value for name, value in twins[0].source.inputs.items() if not name.endswith("trn")}
    for run in runs:
        stage = _stage_of(run, trees, twins)
        record = stage.ensure() if is_made else stage.valid()
        added.append(run if record is None else run | {"calibration": record["results"] | {"data": data}})
    return added


def calibration_for(
    predictor: Predictor, root: Path, source: datasets.Source, settings: Settings
) -> Calibration:
    """A calibration of the scores of one variant's models, made in a folder as a base job makes it."""
    (variant,), twins = settings.variants, validation_trees(root, source, settings)
    stage = _fitted(twins[0], twins, variant, twins[0].folder / "calibration")
    stage.ensure()
    return replace(Calibration.load(stage.saved()), model=_identity(predictor))


def _stage_of(run: Run, trees: list[Plan], twins: list[Plan]) -> Stage:
    """The calibration of a run's model, measured on the test part."""
    plan, n, folder = trees[0], run["n_trees"], place_of(Path(run["evaluation"]))
    variant = next((one for one in plan.settings.variants if one.name == run["variant"]), None)
    unseen = twins if plan.source.validation is None else trees
    fitted = _fitted(twins[0], unseen[:n], variant, twins[0].folder / folder.relative_to(plan.place))
    return _stage(plan, plan.root / folder, measure, variant, (fitted, *_models(trees[:n], variant)))


def _fitted(plan: Plan, unseen: list[Plan], variant: Variant | None, folder: Path) -> Stage:
    """The calibration of a variant, or of XR-Linear (None), whose trees have not seen a plan's test part."""
    return _stage(plan, folder, fit, variant, _models(unseen, variant))


def _models(trees: list[Plan], variant: Variant | None) -> tuple[Stage, ...]:
    """XR-Linear (None) or a variant on each tree."""
    if variant is None:
        return tuple(one.xr_linear for one in trees)
    i = trees[0].settings.variants.index(variant)
    return tuple(one.overlaps[i].model for one in trees)


def _stage(
    plan: Plan, folder: Path, step: Callable[..., Any], variant: Variant | None, needs: tuple[Stage, ...]
) -> Stage:
    predict = plan.settings.prediction(variant)
    merge = "mean" if variant is None else variant.params.scoring.merge
    means = Means(plan.settings.workers or plan.settings.threads, plan.settings.budget(plan.root))
    step = partial(step, predict=predict, merge=merge, means=means)
    return Stage(
        "calibrate",
        folder,
        {"merge": merge, "max_k": MAX_K, "ks": KS, "data": plan.source.inputs} | asdict(predict),
        ("evaluate.calibration", "evaluate.metrics", *MERGING),
        lambda out, *saved: step(out, *saved, dataset=plan.dataset),
        (plan.load, *needs),
        prepare=lambda: plan.dataset,
        code=(step, _predictor, _best, _identity, MERGES[merge]),
        threads=plan.settings.slots,
        force=plan.settings.force,
        title=str(folder.relative_to(plan.root)),
    )


def fit(
    out: Path, *models: Saved, dataset: Dataset, predict: PredictParams, merge: str, means: Means
) -> dict[str, Any]:
    """A calibration of models' scores, on the test part of a dataset that is a validation part."""
    predictor = _predictor(models, predict, merge)
    scores, hits = _best(predictor, dataset, means)
    found = Calibration.fit(scores, hits, dataset.Y_tst.nnz)
    replace(found, model=_identity(predictor)).save(out)
    return {"n_instances": len(scores)}


def measure(
    out: Path,
    fitted: Saved,
    *models: Saved,
    dataset: Dataset,
    predict: PredictParams,
    merge: str,
    means: Means,
) -> dict[str, Any]:
    """The same calibration for models on all of the training data, and what it is worth on the test part."""
    predictor = _predictor(models, predict, merge)
    found = replace(Calibration.load(fitted), model=_identity(predictor))
    found.save(out)
    scores, hits = _best(predictor, dataset, means)
    bins: dict[str, Any] = {}
    for name, values in (("scores", scores), ("probabilities", found.of(scores))):
        first = {k: ~np.isnan(values) & (np.arange(values.shape[1]) < k) for k in KS}
        bins[name] = {str(k): reliability(values[is_in], hits[is_in]) for k, is_in in first.items()}
    errors = {
        name: {k: round(expected_calibration_error(own), 4) for k, own in of_k.items()}
        for name, of_k in bins.items()
    }
    is_given = found.of(scores) >= found.threshold
    f1 = 200 * hits[is_given].sum() / (is_given.sum() + dataset.Y_tst.nnz)
    return {
        "ece": errors,
        "threshold": found.threshold,
        "f1_validation": round(found.f1, 4),
        "f1": round(float(f1), 4),
        "reliability": bins,
    }


def _predictor(models: tuple[Saved, ...], predict: PredictParams, merge: str) -> Predictor:
    # With PECOS and a compiler, which a run that finds everything done must not wait for.
    from ..model.predictor import Predictor, Voice

    return Predictor(tuple(Voice(model, predict) for model in models), merge)


def _best(predictor: Predictor, dataset: Dataset, means: Means) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the best labels of test instances, NaN where there is none, and which are right."""
    from ..evaluate.metrics import hits

    found = list(predictor.best(dataset.X_tst, MAX_K, means.threads, means.budget))
    labels, scores = (np.vstack(parts) for parts in zip(*found, strict=True))
    return np.where(labels < 0, np.nan, scores), hits(dataset.Y_tst, labels)


def place_of(evaluation: Path) -> Path:
    """Where the calibration of the model lies that was evaluated there."""
    return evaluation.with_name(evaluation.name.replace("evaluation", "calibration"))


def _identity(predictor: Predictor) -> str:
    """What a model's scores depend on, wherever it lies."""
    voices = [[voice.saved.content, asdict(voice.predict)] for voice in predictor.voices]
    said = [predictor.merge, voices] + [predictor.roots] * bool(predictor.roots)
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def calibration_of(
    predictor: Predictor, is_bundle: bool = False, is_needed: bool = False
) -> Calibration | None:
    """The calibration of a model's scores, from its bundle or beside its evaluation; None if it has none.

    One that is of another model is passed over, with a note.

    Parameters
    ----------
    predictor : Predictor
        As it was read.
    is_bundle : bool
    is_needed : bool
        Whether it is refused to do without.

    Raises
    ------
    DisentangleError
        If it is damaged, or needed and not there.
    """
    saved = predictor.saved
    folder, found = saved.folder, None
    if not is_bundle and os.path.lexists(place_of(folder) / RECORD):
        saved, _ = Saved.at(place_of(folder))
    if CALIBRATION_FILE in saved:
        found = Calibration.load(saved)
        if found.model != _identity(predictor):
            found = None
            path = saved.folder / CALIBRATION_FILE
            logger.warning("note: %s is of another model: base --calibrate makes one of this", path)
    if found is None and is_needed:
        raise DisentangleError(
            f"--min-probability needs a calibrated model, found none of {folder}: base --calibrate makes it"
        )
    return found
