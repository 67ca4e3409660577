"""Labels for new instances: matrices or texts in, files of the best labels out."""

from __future__ import annotations

import csv
import itertools
import json
import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from . import atomic, components, npz, progress, stages
from .data import CARRIED
from .errors import DisentangleError
from .matrices import load_sparse, sha256
from .memory import Budget
from .params import DEFAULT_PRESET
from .predictor import PREDICTOR_FILE, Predictor
from .readers import read_texts
from .saved import Saved
from .tfidf import VECTORIZER_FILE, Vectorizer
from .xlinear import FEW

logger = logging.getLogger(__name__)

INPUTS, OUTPUTS = (".npz", ".txt", ".jsonl"), (".npz", ".tsv", ".jsonl")
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
        name = str(path.parent.relative_to(base)).replace("/evaluation", "").replace("-evaluation", "")
        if not name.startswith("."):
            found[name] = path.parent
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
    overlaps = [name for name in known if not name.startswith(XR_LINEAR)]
    if variant is None:
        variant = overlaps[0] if len(overlaps) == 1 else DEFAULT_PRESET
    if variant not in known:
        there = f"it has {', '.join(known)} (--variant names one)" if known else "no base job has ended there"
        raise DisentangleError(f"no model {variant!r} in {base}: {there}")
    return known[variant]


def features(source: Path | list[str], saved: Saved) -> Iterator[sp.csr_matrix]:
    """Features of instances, in blocks.

    Parameters
    ----------
    source : Path or list of str
        A matrix (.npz), texts, one a line (.txt), objects with a "text" (.jsonl); or texts themselves.
    saved : Saved
        The evaluation, whose vectorizer texts need.

    Raises
    ------
    DisentangleError
        If a file is missing, damaged or of another kind, or there is no vectorizer.
    """
    blocks: Iterable[list[str]] = [source] if isinstance(source, list) else []
    if isinstance(source, Path):
        if source.suffix not in INPUTS:
            raise DisentangleError(f"--input must end in {', '.join(INPUTS)}, got {source}")
        if source.suffix == ".npz":
            X = load_sparse(source)
            if X.shape[0] == 0:
                raise DisentangleError(f"{source} is empty: its shape is {X.shape}")
            yield X
            return
        blocks = read_texts(source, is_json=source.suffix == ".jsonl")
    if VECTORIZER_FILE not in saved:
        raise DisentangleError(
            f"texts need a model of a dataset that was imported from texts, found no {VECTORIZER_FILE} "
            f"in {saved.folder}"
        )
    with saved.pinned(VECTORIZER_FILE) as path:
        vectorizer = Vectorizer.load(path)
    is_empty = True
    for block in blocks:
        is_empty = False
        yield vectorizer.transform(block)
    if is_empty:
        raise DisentangleError(f"{source} is empty: expected a text a line")


def predict(
    predictor: Predictor, blocks: Iterable[sp.csr_matrix], k: int, threads: int, budget: Budget, write: Write
) -> int:
    """Write the `k` best labels of each instance; return how many instances there were.

    Raises
    ------
    DisentangleError
        If the features are not as many as the model's.
    """
    n = 0
    for X in blocks:
        if X.shape[1] != predictor.n_features:
            raise DisentangleError(f"expected {predictor.n_features} features, got {X.shape[1]}")
        for labels, scores in predictor.best(X, k, threads, budget):
            write(n, labels, scores)
            n += len(labels)
    return n


@contextmanager
def writer(out: Path | None, n_labels: int, names: list[str]) -> Iterator[Write]:
    """What writes labels to a file, whole or not at all, or to standard output as tab-separated lines.

    Raises
    ------
    DisentangleError
        If the file is of no known kind or cannot be written.
    """
    if out is None:
        yield _tsv(sys.stdout, names)
        return
    if out.suffix not in OUTPUTS:
        raise DisentangleError(f"--out must end in {', '.join(OUTPUTS)}, got {out}")
    with atomic.replacing(out) as temporary:
        if out.suffix == ".npz":
            with npz.Writer(temporary) as file:
                yield lambda _, labels, scores: file.append(_matrix(labels, scores, n_labels))
                file.finish(n_labels)
        else:
            with temporary.open("w", encoding="utf-8", newline="") as text:
                yield (_tsv if out.suffix == ".tsv" else _json_lines)(text, names)


def _matrix(labels: np.ndarray, scores: np.ndarray, n_labels: int) -> sp.csr_matrix:
    is_there = labels >= 0
    indptr = np.concatenate([[0], is_there.sum(axis=1).cumsum()])
    return sp.csr_matrix((scores[is_there], labels[is_there], indptr), shape=(len(labels), n_labels))


def _tsv(file: Any, names: list[str]) -> Write:
    lines = csv.writer(file, delimiter="\t", lineterminator="\n")

    def write(first: int, labels: np.ndarray, scores: np.ndarray) -> None:
        if first == 0:
            lines.writerow(("instance", "label", "name", "score"))
        for i, j in np.argwhere(labels >= 0):
            label = labels[i, j]
            lines.writerow((first + i, label, names[label], f"{scores[i, j]:.6g}"))

    return write


def _json_lines(file: Any, names: list[str]) -> Write:
    def write(first: int, labels: np.ndarray, scores: np.ndarray) -> None:
        for i, (row, found) in enumerate(zip(labels.tolist(), scores.tolist(), strict=True)):
            best = [
                {"label": label, "name": names[label], "score": float(f"{score:.6g}")}
                for label, score in zip(row, found, strict=True)
                if label >= 0
            ]
            file.write(json.dumps({"instance": first + i, "labels": best}, ensure_ascii=False) + "\n")

    return write


def run_predict(
    base: Path,
    variant: str | None,
    source: Path | list[str],
    data_folder: Path,
    out: Path | None,
    k: int,
    threads: int,
    budget: Budget,
) -> int:
    """Predict labels of instances with a base job's model; beside a file goes a record, FILE.json.

    Features and names of labels are those that the model was trained with, whatever the dataset has by now.

    Returns
    -------
    int
        How many instances there were.

    Raises
    ------
    DisentangleError
        As `choose`, `Predictor.load`, `features`, `predict` and `writer`.
    """
    start = time.perf_counter()
    if out is not None and out == source:
        raise DisentangleError(f"--out must be another file than --input, got {out} twice")
    evaluation = choose(base, variant)
    predictor = Predictor.read(evaluation)
    if k > (most := min(voice.predict.top_k for voice in predictor.voices)):
        raise DisentangleError(f"k must be at most the models' top_k ({most}), got {k}")
    _say_what_changed(predictor.saved, data_folder)
    names = components.label_names(predictor.saved.folder, predictor.n_labels)
    with progress.stage("predict"), writer(out, predictor.n_labels, names) as write:
        blocks = features(source, predictor.saved)
        first = list(itertools.islice(blocks, 2))
        predictor.load_models(for_few=len(first) < 2 and first[0].shape[0] <= FEW)
        n = predict(predictor, itertools.chain(first, blocks), k, threads, budget, write)
    if out is not None:
        record = {
            "job": "predict",
            "model": str(evaluation),
            "models": [voice.key for voice in predictor.voices],
            "input": str(source) if isinstance(source, Path) else "--text",
            "k": k,
            "n_instances": n,
            "seconds": round(time.perf_counter() - start, 3),
            "peak_rss_mib": stages.peak_rss_mib(),
            "threads": threads,
            "versions": stages.versions(),
            "machine": stages.machine(),
        }
        atomic.write_json(out.with_name(f"{out.name}.json"), record)
    return n


def _say_what_changed(saved: Saved, data_folder: Path) -> None:
    """Tell of a vocabulary or names that the dataset has by now, and the model has not."""
    for name in CARRIED:
        now = sha256(data_folder / name) if (data_folder / name).is_file() else None
        if now is not None and saved.digests is not None and now != saved.digests.get(name):
            logger.warning(
                "note: %s is not what the model was trained with, which it keeps to: "
                "the base job makes one that follows it",
                data_folder / name,
            )
