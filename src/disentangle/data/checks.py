"""What is wrong with a dataset and what is odd about it, all of it, for `data check`."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import scipy.sparse as sp

from ..errors import DisentangleError
from ..params import FEATURES
from ..storage import files, matrices
from . import components, datasets, known_datasets


@dataclass(frozen=True)
class Finding:
    """One sentence about a dataset.

    Attributes
    ----------
    level : {"error", "warning", "note"}
        An error keeps every job from running; a warning is something to know; a note tells what loading
        puts right.
    text : str
    """

    level: Literal["error", "warning", "note"]
    text: str


def check(data_dir: Path, name: str, features: str = FEATURES) -> list[Finding]:
    """Everything there is to say against a dataset with one of its feature sets, errors first.

    A matrix that cannot be read does not keep the others from being checked.

    Raises
    ------
    DisentangleError
        If there is no such dataset, or it has no such features.
    """
    folder = datasets.dataset_folder(data_dir, name)
    errors: list[str] = []
    read: dict[str, sp.csr_matrix] = {}
    parts = datasets.parts_in(folder, features)
    paths = datasets.paths_of(folder, features, parts)
    for key in paths:
        try:
            read[key] = datasets.load_part(key, folder, features)
        except DisentangleError as error:
            errors.append(str(error))
    errors += datasets.problems(read, paths)
    if errors:
        return [Finding("error", text) for text in errors]
    warnings = [Finding("warning", text) for text in _warnings(folder, read, features)]
    return warnings + [
        Finding("note", text)
        for path in datasets.files_of(folder, features, parts)
        if path.suffix == ".npz"
        for text in matrices.repairs(path)
    ]


def _warnings(folder: Path, read: dict[str, sp.csr_matrix], features: str) -> Iterator[str]:
    yield from datasets.oddities(read)
    yield from _leakage(read)
    if "Y_val" not in read and (folder / f"Y.{datasets.VALIDATION}.npz").exists():
        yield (
            f"{folder / features} has no validation part, which the dataset has: with these features a fifth "
            "of the training part takes its place"
        )
    yield from _names(folder, read["Y_trn"])
    yield from _origin(folder, features)


def _leakage(read: dict[str, sp.csr_matrix]) -> Iterator[str]:
    X_trn, Y_trn = read["X_trn"], read["Y_trn"]
    seen: dict[bytes, set[bytes]] = {}
    for features, labels in zip(_row_digests(X_trn), _row_digests(Y_trn), strict=True):
        seen.setdefault(features, set()).add(labels)
    # An instance without features is like any other such, which says nothing.
    seen.pop(_row_digest(X_trn, slice(0, 0)), None)
    for part, words in (("tst", "test"), (datasets.VALIDATION, "validation")):
        if f"X_{part}" not in read:
            continue
        X, Y = read[f"X_{part}"], read[f"Y_{part}"]
        found = [
            labels in seen[features]
            for features, labels in zip(_row_digests(X), _row_digests(Y), strict=True)
            if features in seen
        ]
        if found:
            yield (
                f"{words} instances that have the features of a training instance: {len(found):,} "
                f"({len(found) / X.shape[0]:.1%}), {sum(found):,} of them its labels, too; "
                f"they are kept, and figures on {words} data may flatter"
            )


def _row_digests(matrix: sp.csr_matrix) -> Iterator[bytes]:
    for start, end in zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True):
        yield _row_digest(matrix, slice(start, end))


def _row_digest(matrix: sp.csr_matrix, entries: slice) -> bytes:
    content = matrix.indices[entries].tobytes() + matrix.data[entries].tobytes()
    return hashlib.blake2b(content, digest_size=16).digest()


def _names(folder: Path, Y_trn: sp.csr_matrix) -> Iterator[str]:
    """Names, components and URIs that cannot be used; training does not need them."""
    n_instances, n_labels = Y_trn.shape
    try:
        if components.has_names(folder):
            yield from _alike(components.label_names(folder, n_labels))
    except DisentangleError as error:
        yield f"{error}; predicting and whatever shows labels need it, training does not"
    try:
        if components.has_components(folder):
            components.load_components(folder, n_instances, n_labels)
    except DisentangleError as error:
        yield f"{error}; the metric needs it, training does not"
    try:
        if os.path.lexists(folder / components.URIS):
            components.read_uris(folder / components.URIS, n_labels)
    except DisentangleError as error:
        yield f"{error}; a bundle needs it, training does not"


def _alike(names: list[str]) -> Iterator[str]:
    """Names that differ, but in nothing that a reader is sure to see."""
    first: dict[str, int] = {}
    pairs = [
        (other, i)
        for i, name in enumerate(names)
        if names[other := first.setdefault(components.look(name), i)] != name
    ]
    if pairs:
        one, other = pairs[0]
        yield (
            f"label names that differ from another one in blanks, case or invisible characters alone: "
            f"{len(pairs):,}, such as {names[one]!a} and {names[other]!a} of labels {one} and {other}; "
            "they are kept apart"
        )


def _origin(folder: Path, features: str) -> Iterator[str]:
    """Differences from what was published and from what was downloaded."""
    known = known_datasets.entries().get(folder.name)
    if known and (difference := known_datasets.differs(datasets.sizes_in(folder, features), known)):
        yield f"other sizes than published: {difference}"
    path = folder / known_datasets.SOURCE_FILE
    if not path.exists() or features != FEATURES:  # others are made here
        return
    try:
        downloaded = json.loads(files.read(path, known_datasets.MOST_BYTES))["files"]
        changed = sorted(key for key, digest in datasets.digest(folder).items() if downloaded[key] != digest)
    except (ValueError, KeyError, TypeError, RecursionError):
        yield f"{path} is damaged: the files cannot be compared with what was downloaded"
        return
    if changed:
        yield f"changed since it was downloaded: {', '.join(changed)}"
