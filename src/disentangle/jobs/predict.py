"""Labels for new instances: matrices or texts in, files of the best labels out."""

from __future__ import annotations

import csv
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from ..data import components
from ..data.datasets import carried
from ..data.formats.json_lines import read_texts
from ..errors import DisentangleError
from ..evaluate.calibration import Calibration
from ..model.predictor import PREDICTOR_FILE, Predictor
from ..params import FEATURES
from ..presets import DEFAULT_PRESET
from ..runtime import progress, provenance
from ..runtime.memory import Budget
from ..runtime.terminal import is_terminal, shown, standard_output
from ..runtime.workers import Workers, workers_of
from ..storage import atomic, npz, places
from ..storage.files import sha256
from ..storage.matrices import load_any
from ..storage.saved import Saved
from . import text_features
from .bundles import open_bundle
from .calibrate import calibration_of
from .columns import model_name

logger = logging.getLogger(__name__)

MATRICES = (".npz", ".npy")
INPUTS, OUTPUTS = (*MATRICES, ".txt", ".jsonl"), (".npz", ".tsv", ".jsonl")
XR_LINEAR = "xr-linear"
# Takes the number of the first instance, and labels and scores of some, best first, -1 for none.
Write = Callable[[int, np.ndarray, np.ndarray], None]


def variants(base: Path) -> dict[str, Path]:
    """Models of a base job that can predict, by the names that its frontier gives them.

    Those with other settings than the dataset's own have the folder of these before their names.
    """
    found = {}
    # Not rglob: it passes over folders that are links.
    for path in sorted(
        path for depth in range(1, 4) for path in base.glob(f"{'*/' * depth}{PREDICTOR_FILE}")
    ):
        folder = path.parent.relative_to(base)
        if not any(part.startswith(".") for part in folder.parts):  # unfinished
            found[model_name(str(folder))] = path.parent
    return found


def choose(base: Path, variant: str | None) -> Path:
    """Where the evaluation of a base job's variant lies.

    Parameters
    ----------
    base : Path
    variant : str or None
        None for the default preset where it is there, else the only way to overlap that is.

    Raises
    ------
    DisentangleError
        If there is none of that name, or none that could be meant.
    """
    known = variants(base)
    overlaps = [name for name in known if not name.rpartition("/")[2].startswith(XR_LINEAR)]
    if variant is None:
        variant = overlaps[0] if len(overlaps) == 1 else DEFAULT_PRESET
    if variant not in known:
        there = f"it has {', '.join(known)} (--variant names one)" if known else "no base job has ended there"
        raise DisentangleError(f"no model {variant!r} in {base}: {there}")
    return known[variant]


def features(
    source: Path | list[str], saved: Saved, n_features: int, folder: Path
) -> Iterator[sp.csr_matrix]:
    """Features of instances, in blocks.

    Parameters
    ----------
    source : Path or list of str
        A matrix, sparse (.npz) or dense (.npy), texts, one a line (.txt), objects with a "text" (.jsonl); or
        texts themselves.
    saved : Saved
        The evaluation, whose vectorizer texts need.
    n_features : int
        As many as the model takes.
    folder : Path
        Of the feature set, whose encoder texts need if it has one.

    Raises
    ------
    DisentangleError
        If a file is missing, damaged or of another kind or width, or there is no vectorizer.
    """
    blocks: Iterable[list[str]] = [source] if isinstance(source, list) else []
    if isinstance(source, Path):
        if source.suffix in MATRICES:
            X = load_any(source)
            if X.shape[0] == 0:
                raise DisentangleError(f"{source} is empty: its shape is {X.shape}")
            if X.shape[1] != n_features:
                raise DisentangleError(
                    f"{source}: expected {n_features} features, as the model has, got {X.shape[1]}"
                )
            yield text_features.blocks_of(saved, folder).fit(X)
            return
        blocks = read_texts(source, is_json=source.suffix == ".jsonl")
    make = text_features.maker(saved, folder, n_features)
    is_empty = True
    for block in blocks:
        is_empty = False
        yield make(block)
    if is_empty:
        raise DisentangleError(f"{source} is empty: expected a text a line")


def predict(
    predictor: Predictor,
    blocks: Iterable[sp.csr_matrix],
    k: int,
    threads: int | Workers,
    budget: Budget,
    write: Write,
) -> tuple[int, int]:
    """Write the `k` best labels of each instance; those without features get none.

    Returns
    -------
    tuple of int
        How many instances there were, and how many without features.
    """
    n = n_empty = 0
    for X in blocks:
        is_empty = np.diff(X.indptr) == 0
        start = n
        for labels, scores in predictor.best(X, k, threads, budget):
            rows = is_empty[n - start : n - start + len(labels)]
            write(n, np.where(rows[:, None], -1, labels), scores)
            n += len(labels)
        n_empty += int(is_empty.sum())
    return n, n_empty


def check_out(out: Path, read: Iterable[Path]) -> None:
    """Refuse a file that no labels can be written to, or whose writing, or its record's, would cost others.

    Raises
    ------
    DisentangleError
        If it is of no known kind, or as `places.check_file`.
    """
    if out.suffix not in OUTPUTS:
        raise DisentangleError(f"--out must end in {', '.join(OUTPUTS)}, got {out}")
    for path in (out, _record_of(out)):
        places.check_file("--out" if path == out else "the record of --out", path, read)


def _record_of(out: Path) -> Path:
    return out.with_name(f"{out.name}.json")


@contextmanager
def writer(
    out: Path | None, n_labels: int, names: list[str], calibration: Calibration | None = None
) -> Iterator[Write]:
    """What writes labels to a file, whole or not at all, or to standard output as tab-separated lines.

    Parameters
    ----------
    out : Path or None
        One that `check_out` accepts.
    n_labels : int
    names : list of str
        Of the labels; written as they are, but for control characters on a terminal.
    calibration : Calibration, optional
        What gives lines and objects probabilities besides.

    Raises
    ------
    DisentangleError
        If it cannot be written.
    """
    if out is None:
        with standard_output() as text:
            yield _tsv(text, [shown(name) for name in names] if is_terminal() else names, calibration)
        return
    with atomic.replacing(places.real(out)) as temporary:
        if out.suffix == ".npz":
            with npz.Writer(temporary) as file:
                yield lambda _, labels, scores: file.append(as_matrix(labels, scores, n_labels))
                file.finish(n_labels)
        else:
            with temporary.open("w", encoding="utf-8", newline="") as text:
                yield (_tsv if out.suffix == ".tsv" else _json_lines)(text, names, calibration)
        # The file is whole: a record that is there tells of an earlier one.
        places.real(_record_of(out)).unlink(missing_ok=True)


def as_matrix(labels: np.ndarray, scores: np.ndarray, n_labels: int) -> sp.csr_matrix:
    """Scores of some instances' best labels as a matrix of all labels; -1 is no label."""
    is_there = labels >= 0
    indptr = np.concatenate([[0], is_there.sum(axis=1).cumsum()])
    return sp.csr_matrix((scores[is_there], labels[is_there], indptr), shape=(len(labels), n_labels))


def _tsv(file: Any, names: list[str], calibration: Calibration | None) -> Write:
    lines = csv.writer(file, delimiter="\t", lineterminator="\n")

    def write(first: int, labels: np.ndarray, scores: np.ndarray) -> None:
        values = _values(scores, calibration)
        if first == 0:
            lines.writerow(("instance", "label", "name", *values))
        for i, j in np.argwhere(labels >= 0):
            label = labels[i, j]
            lines.writerow(
                (first + i, label, names[label], *(f"{value[i, j]:.6g}" for value in values.values()))
            )

    return write


def _json_lines(file: Any, names: list[str], calibration: Calibration | None) -> Write:
    def write(first: int, labels: np.ndarray, scores: np.ndarray) -> None:
        values = _values(scores, calibration)
        for i, row in enumerate(labels.tolist()):
            best = [
                {"label": label, "name": names[label]}
                | {name: float(f"{value[i, j]:.6g}") for name, value in values.items()}
                for j, label in enumerate(row)
                if label >= 0
            ]
            file.write(json.dumps({"instance": first + i, "labels": best}, ensure_ascii=False) + "\n")

    return write


def _values(scores: np.ndarray, calibration: Calibration | None) -> dict[str, np.ndarray]:
    """What is written of labels besides their names, by what it is called."""
    return (
        {"score": scores} if calibration is None else {"score": scores, "probability": calibration.of(scores)}
    )


def _probable(write: Write, calibration: Calibration | None, least: float | None) -> Write:
    """What writes labels of at least a probability, where one is asked for."""
    if calibration is None or least is None:
        return write
    return lambda first, labels, scores: write(
        first, np.where(calibration.of(scores) >= least, labels, -1), scores
    )


def run_predict(
    base: Path,
    variant: str | None,
    source: Path | list[str],
    data_folder: Path | None,
    out: Path | None,
    k: int,
    threads: int | Workers,
    budget: Budget,
    features_name: str = FEATURES,
    min_probability: float | None = None,
) -> None:
    """Predict labels of instances with a base job's model, or a bundle; beside a file goes a record.

    Features and names of labels are those that the model was trained with, whatever the dataset has by now.

    Parameters
    ----------
    base : Path
        Of the job's results; a bundle if there is no `data_folder`.
    min_probability : float, optional
        Of labels that are written; it takes a calibrated model.

    Raises
    ------
    DisentangleError
        As `check_out`, `choose`, `open_bundle`, `Predictor.read`, `calibration_of`, `features` and `writer`.
    """
    start = time.perf_counter()
    if isinstance(source, Path) and source.suffix not in INPUTS:
        raise DisentangleError(f"--input must end in {', '.join(INPUTS)}, got {source}")
    if out is not None:
        check_out(out, [path for path in (data_folder, base, source) if isinstance(path, Path)])
    evaluation = open_bundle(base)[0].folder if data_folder is None else choose(base, variant)
    of_features = base if data_folder is None else data_folder / features_name
    predictor = Predictor.read(evaluation)
    if k > (most := min(voice.predict.top_k for voice in predictor.voices)):
        raise DisentangleError(f"--k must be at most the models' --top-k ({most}), got {k}")
    if data_folder is not None:
        say_what_changed(predictor.saved, data_folder, features_name)
    calibration = calibration_of(predictor, data_folder is None, min_probability is not None)
    names = label_names(predictor.saved, predictor.n_labels)
    is_live = out is not None or not is_terminal()
    with progress.stage("predict", is_live), writer(out, predictor.n_labels, names, calibration) as write:
        write = _probable(write, calibration, min_probability)
        blocks = features(source, predictor.saved, predictor.n_features, of_features)
        n, n_empty = predict(predictor, blocks, min(k, predictor.n_labels), threads, budget, write)
    _say_empty(n_empty, n, is_text=isinstance(source, list) or source.suffix not in MATRICES)
    if out is not None:
        said: dict[str, Any] = {"k": k, "n_instances": n, "n_without_features": n_empty}
        said["min_probability"] = min_probability
        _write_record(out, evaluation, predictor, source, said, start, threads)


def _say_empty(n_empty: int, n: int, is_text: bool) -> None:
    """Tell of instances without features."""
    if not n_empty:
        return
    what = ("texts", "known word") if is_text else ("instances", "features")
    logger.warning("note: %s of %s %s have no %s: no labels for them", f"{n_empty:,}", f"{n:,}", *what)


def _write_record(
    out: Path,
    evaluation: Path,
    predictor: Predictor,
    source: Path | list[str],
    said: dict[str, Any],
    start: float,
    threads: int | Workers,
) -> None:
    """Write what a run predicted, and how, beside its file."""
    atomic.write_json(
        places.real(_record_of(out)),
        {
            "job": "predict",
            "model": str(evaluation),
            "models": [voice.saved.content for voice in predictor.voices],
            "input": str(source) if isinstance(source, Path) else "--text",
            **said,
            "seconds": round(time.perf_counter() - start, 3),
            "peak_rss_mib": provenance.peak_rss_mib(),
            "threads": workers_of(threads).slots,
            "versions": provenance.versions(),
            "machine": provenance.machine(),
        },
    )


def label_names(saved: Saved, n_labels: int) -> list[str]:
    """Names of labels as they were when the model was evaluated."""
    if components.LABEL_NAMES not in saved:
        return components.names_by_id(n_labels)
    with saved.pinned(components.LABEL_NAMES) as path:
        return components.read_names(path, n_labels)


def say_what_changed(saved: Saved, data_folder: Path, features_name: str) -> None:
    """Tell of a vocabulary, names or URIs that the dataset has by now, and the model has not."""
    for name, path in carried(data_folder, features_name).items():
        now = sha256(path) if path.is_file() else None
        if now is not None and saved.digests is not None and now != saved.digests.get(name):
            logger.warning(
                "note: %s is not what the model was trained with, which it keeps to: "
                "the base job makes one that follows it",
                path,
            )
