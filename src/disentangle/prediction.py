"""Labels for new instances: matrices or texts in, files of the best labels out."""

from __future__ import annotations

import csv
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from . import components, npz, progress, stages
from .errors import DisentangleError
from .matrices import load_sparse
from .memory import Budget
from .predictor import PREDICTOR_FILE, Predictor
from .readers import read_texts
from .tfidf import VECTORIZER_FILE, Vectorizer

INPUTS, OUTPUTS = (".npz", ".txt", ".jsonl"), (".npz", ".tsv", ".jsonl")
# Takes the number of the first instance, and labels and scores of some, best first, -1 for none.
Write = Callable[[int, np.ndarray, np.ndarray], None]


def variants(base: Path) -> dict[str, Path]:
    """Models of a base job that can predict, by the names that its frontier gives them."""
    found = {}
    for path in sorted([*base.glob(f"*/{PREDICTOR_FILE}"), *base.glob(f"*/evaluation*/{PREDICTOR_FILE}")]):
        name = str(path.parent.relative_to(base)).replace("/evaluation", "").replace("-evaluation", "")
        found[name] = path.parent
    return found


def load(base: Path, variant: str, is_mapped: bool) -> Predictor:
    """The predictor of a base job's variant.

    Raises
    ------
    DisentangleError
        If there is none of that name, or it is damaged.
    """
    known = variants(base)
    if variant not in known:
        there = f"it has {', '.join(known)}" if known else "no base job has ended there"
        raise DisentangleError(f"no model {variant!r} in {base}: {there}")
    return Predictor.load(known[variant], is_mapped)


def features(source: Path | list[str], data_folder: Path) -> Iterator[sp.csr_matrix]:
    """Features of instances, in blocks.

    Parameters
    ----------
    source : Path or list of str
        A matrix (.npz), texts, one a line (.txt), objects with a "text" (.jsonl); or texts themselves.
    data_folder : Path
        Of the dataset, whose vectorizer texts need.

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
    path = data_folder / VECTORIZER_FILE
    if not path.is_file():
        raise DisentangleError(f"texts need {path}, which an import of texts leaves; found no such file")
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
    with stages.replacing(out) as temporary:
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
    variant: str,
    source: Path | list[str],
    data_folder: Path,
    out: Path | None,
    k: int,
    threads: int,
    budget: Budget,
) -> int:
    """Predict labels of instances with a base job's model; beside a file goes a record, FILE.json.

    Returns
    -------
    int
        How many instances there were.

    Raises
    ------
    DisentangleError
        As `load`, `features`, `predict` and `writer`.
    """
    start = time.perf_counter()
    # What is mapped is not counted before it is read: under a limit weights are loaded at once.
    predictor = load(base, variant, is_mapped=budget.limit is None)
    if k > (most := min(voice.predict.top_k for voice in predictor.voices)):
        raise DisentangleError(f"k must be at most the models' top_k ({most}), got {k}")
    if out is not None and out == source:
        raise DisentangleError(f"--out must be another file than --input, got {out} twice")
    names = components.label_names(data_folder, predictor.n_labels)
    with progress.stage("predict"), writer(out, predictor.n_labels, names) as write:
        n = predict(predictor, features(source, data_folder), k, threads, budget, write)
    if out is not None:
        record = {
            "job": "predict",
            "model": str(base / variant),
            "input": str(source) if isinstance(source, Path) else "--text",
            "k": k,
            "n_instances": n,
            "seconds": round(time.perf_counter() - start, 3),
            "peak_rss_mib": stages.peak_rss_mib(),
            "threads": threads,
            "versions": stages.versions(),
            "machine": stages.machine(),
        }
        stages.write_json(out.with_name(f"{out.name}.json"), record)
    return n
