"""A base job's model as a bundle."""

from __future__ import annotations

import json
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..data.components import LABEL_NAMES, URIS
from ..data.features import FEATURES_FILE, titled
from ..data.tfidf import VECTORIZER_FILE
from ..errors import DisentangleError
from ..model.predictor import Predictor
from ..params import PredictParams, TreeParams
from ..runtime import progress
from ..storage import files, places
from ..storage.saved import read_record
from . import bundles, predict, text_features
from .calibrate import calibration_of
from .columns import SHOWN, figure
from .encode_steps import ENCODER

_CARRIED = (VECTORIZER_FILE, FEATURES_FILE, LABEL_NAMES, URIS)
_SETTINGS = tuple(one.name for kind in (TreeParams, PredictParams) for one in fields(kind))
_MOST_BYTES = 1 << 28


def run_bundle(
    base: Path, variant: str | None, data_folder: Path, features_name: str, out: Path, is_replaced: bool
) -> None:
    """Put all that a base job's model needs to predict into one folder.

    Raises
    ------
    DisentangleError
        As `predict.choose`, `Predictor.read`, `bundles.read_uris` and `bundles.making`, or if the job's
        report lacks the model.
    """
    places.check_apart("--out", out, [data_folder, base])
    evaluation = predict.choose(base, variant)
    predictor = Predictor.read(evaluation)
    predict.say_what_changed(predictor.saved, data_folder, features_name)
    _check(predictor, data_folder / features_name)
    said = _said(base, evaluation, titled(data_folder.name, features_name))
    with progress.stage("bundle"), bundles.making(out, is_replaced) as folder:
        saved = predictor.saved
        bundles.copy(saved, tuple(name for name in _CARRIED if name in saved), folder)
        blocks = text_features.blocks_of(saved, data_folder / features_name)
        for source in text_features.encoders(blocks):
            source.copy(folder / ENCODER)
        said["is_of_texts"] = text_features.are_of_texts(saved, blocks)
        said["licence"] = "The data's licence is not known: their folder has none."
        if (data_folder / bundles.LICENCE).is_file():
            shutil.copyfile(data_folder / bundles.LICENCE, folder / bundles.LICENCE)
            said["licence"] = f"That of the data is in `{bundles.LICENCE}`."
        if (calibration := calibration_of(predictor)) is not None:
            calibration.save(folder)
        bundles.complete(folder, predictor, said)


def _check(predictor: Predictor, folder: Path) -> None:
    """Raise DisentangleError where a bundle could not be loaded: names, URIs or terms of another number."""
    saved = predictor.saved
    bundles.read_uris(saved, predictor.n_labels)
    predict.label_names(saved, predictor.n_labels)
    if FEATURES_FILE not in saved and VECTORIZER_FILE in saved:
        text_features.maker(saved, folder, predictor.n_features)


def _said(base: Path, evaluation: Path, title: str) -> dict[str, Any]:
    """What the report of a base job says of a model, for its card."""
    path, record = base / "report.json", read_record(evaluation)
    try:
        report = json.loads(files.read(path, _MOST_BYTES))
        place = str(evaluation.relative_to(base))
        run = next(run for run in report["runs"] if run["evaluation"] == place)
        if record is None or run["key"] != record["key"]:
            raise ValueError("another model's figures")
        figures = {column: figure(run, column) for column in SHOWN}
        errors = run["calibration"]["ece"]["probabilities"] if "calibration" in run else {}
        figures |= {f"ECE@{k}": error for k, error in errors.items()}
        costs = {"candidates": round(run["candidates_per_instance"], 1)}
        parameters = {"preset": run["preset"], "n_trees": run["n_trees"]} | run.get("overlap", {})
        digests = {f"sha256 of {name}": sha for name, sha in report["data"].items()}
        return {
            "title": f"{title}, {run['variant'] or predict.XR_LINEAR}",
            "data": {"dataset": title} | report["sizes"] | digests,
            "figures": figures | costs,
            "parameters": parameters | {name: run["settings"][name] for name in _SETTINGS},
            "versions": report["versions"],
        }
    except (StopIteration, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DisentangleError(
            f"{path} must have the figures of {evaluation}, found none of this model: run the base job again"
        ) from error
