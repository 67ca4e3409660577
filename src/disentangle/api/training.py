"""Training from matrices in memory: the base job's own plan, in a folder that is gone when it ends."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import scipy.sparse as sp

from ..data.components import LABEL_NAMES
from ..data.datasets import Dataset, Source, oddities, problems
from ..data.features import looks_dense
from ..data.lines import write_lines
from ..data.tfidf import VECTORIZER_FILE, Vectorizer
from ..errors import DisentangleError
from ..jobs import bundles, calibrate, cluster
from ..jobs.ensemble import Ensemble
from ..jobs.settings import Settings
from ..model.predictor import Predictor, Voice
from ..runtime import provenance
from ..runtime.threads import limited_to
from ..storage.atomic import scratch
from .bundle import Packed


def train(
    X: sp.csr_matrix,
    Y: sp.csr_matrix,
    settings: Settings,
    names: list[str] | None = None,
    vectorizer: Vectorizer | None = None,
    is_calibrated: bool = False,
    where: Any = None,
) -> Packed:
    """The model that the base job trains of the same training data and settings, byte for byte.

    Parameters
    ----------
    X : csr_matrix of shape (n_instances, n_features), float32
        In canonical form.
    Y : csr_matrix of shape (n_instances, n_labels), float32
        In canonical form; stores ones only.
    settings : Settings
        Of one variant.
    names : list of str, optional
        Of labels.
    vectorizer : Vectorizer, optional
        What has made `X` of texts.
    is_calibrated : bool
        Whether it is calibrated, as the base job does it.
    where : str, optional
        The scheduler of a cluster that shares in it.

    Raises
    ------
    DisentangleError
        If the data cannot be learnt from, `where` is no text, memory is too small, or nothing can be written
        to the system's temporary folder.
    """
    dataset = _dataset(X, Y)
    source = Source(dataset.name, {}, lambda: dataset)
    with ExitStack() as stack:
        stack.enter_context(limited_to(settings.threads))
        folder = stack.enter_context(scratch())
        if where is not None:
            workers = stack.enter_context(cluster.opened(where, settings.threads))
            settings = replace(settings, workers=workers)
        trees = Ensemble(folder, source, settings, lambda of_tree: f"seed-{of_tree.tree.seed}").trees
        models = [tree.overlaps[0].model for tree in trees]
        for model in models:
            model.ensure()
        (variant,) = settings.variants
        predict = settings.prediction(variant)
        voices = tuple(Voice(model.saved(), predict) for model in models)
        made = folder / "bundle"
        made.mkdir()
        if names is not None:
            write_lines(made / LABEL_NAMES, names)
        if vectorizer is not None:
            (made / VECTORIZER_FILE).write_text(vectorizer.as_json(), encoding="utf-8")
        predictor = Predictor(voices, variant.params.scoring.merge)
        if is_calibrated:
            calibrate.calibration_for(predictor, folder / "sweep", source, settings).save(made)
        bundles.complete(made, predictor, _said(dataset, settings, vectorizer is not None))
        return Packed.of(made)


def _dataset(X: sp.csr_matrix, Y: sp.csr_matrix) -> Dataset:
    """Training data alone: no instance is left to test."""
    parts = {"X_trn": X, "Y_trn": Y, "X_tst": X[:0], "Y_tst": Y[:0]}
    given = {key: parts[key] for key in ("X_trn", "Y_trn")}
    for problem in problems(given, {"X_trn": Path("X"), "Y_trn": Path("y")}):
        raise DisentangleError(problem)
    is_dense = looks_dense(X)
    notes = tuple(oddities(parts))
    return Dataset("given data", **parts, notes=notes, is_dense=is_dense if is_dense.any() else None)


def _said(dataset: Dataset, settings: Settings, is_of_texts: bool) -> dict[str, Any]:
    """What the card says."""
    sizes = {name: n for name, n in dataset.sizes().items() if name != "n_test_instances"}
    (variant,) = settings.variants
    given = {"preset": variant.preset, "n_trees": settings.n_trees} | variant.params.parts()
    return {
        "title": f"Labels by {variant.name}",
        "is_of_texts": is_of_texts,
        "data": {"dataset": "given from Python"} | sizes,
        "figures": {},
        "parameters": given | asdict(settings.tree) | asdict(settings.predict),
        "versions": provenance.versions(),
        "licence": "The data's licence is not known.",
    }
