"""Bag-of-words files: ids of labels, and of features with their values."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from sklearn.datasets import dump_svmlight_file

from ...errors import DisentangleError
from ...storage.matrices import LARGEST_NORM, locate
from ..lines import Line, read_lines
from .blocks import ID, IDS, MAX_ID, Block, blocks, ids_matrix
from .part import Part

# Each text must match in one way only: several would multiply from feature to feature when a line fails.
_NUMBER = r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_SVMLIGHT = re.compile(rf"(?:({IDS.pattern})(?=[ \t]|$))?[ \t]*((?:{ID}:{_NUMBER}(?:[ \t]+|$))*)")
_HEADER = re.compile(rf"({ID})[ \t]+({ID})[ \t]+({ID})[ \t]*")


def read_svmlight(path: Path) -> Iterator[Block]:
    """Bag-of-words files of the Extreme Classification Repository, and svmlight files with several labels.

    A line is `label,label feature:value feature:value ...`, with ids from 0; labels or features may be
    missing. The first line may be a header: the numbers of instances, features and labels. Only then may
    a line be empty, because only then can it be told from a stray one.

    Raises
    ------
    DisentangleError
        As `read_lines`, and if a line is not of this form, an id is out of range, a feature is given
        twice, a value is too large for float32, or the header has the wrong number of instances.
    """
    lines = read_lines(path)
    first = next(lines, None)
    if first is None:
        return
    header = _HEADER.fullmatch(first.text)
    sizes = [int(n) for n in header.groups()] if header else None
    if sizes is None:
        lines = itertools.chain([first], lines)
    elif max(sizes) > MAX_ID + 1:
        raise first.wrong(f"numbers up to {MAX_ID + 1}")
    n_instances, n_features, n_labels = sizes or (None, None, None)
    n = 0
    for block in blocks(lines):
        n += len(block)
        if n_instances is not None and n > n_instances:
            raise block[n_instances - n].wrong(f"the end after the {n_instances} instances of the header")
        yield _parse_svmlight(block, n_features, n_labels)
    if n_instances is not None and n != n_instances:
        raise DisentangleError(f"{path} must have {n_instances} instances, as its header says, got {n}")


def _parse_svmlight(block: list[Line], n_features: int | None, n_labels: int | None) -> Block:
    matches = []
    for line in block:
        match = _SVMLIGHT.fullmatch(line.text)
        if match is None or (not line.text.strip() and n_features is None):
            raise line.wrong("label,label feature:value feature:value ...", _first_wrong(line.text))
        matches.append(match)
    labels = ids_matrix(block, [match[1] or "" for match in matches], n_labels)
    features = [match[2] for match in matches]
    lengths = [text.count(":") for text in features]
    # The pattern has let nothing but numbers through; numpy would make a number of blanks alone.
    numbers = " ".join(features).replace(":", " ").strip()
    pairs = np.fromstring(numbers, sep=" ").reshape(-1, 2)
    with np.errstate(over="ignore"):
        values = pairs[:, 1].astype(np.float32)
    indptr = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    ids = pairs[:, 0]
    highest = MAX_ID if n_features is None else n_features - 1
    if (wrong := ids > highest).any():
        row, entry = locate(indptr, wrong)
        raise block[row].wrong(f"features from 0 to {highest}", f"{ids[entry]:.0f}")
    if (wrong := ~(np.abs(values) <= LARGEST_NORM)).any():
        row, entry = locate(indptr, wrong)
        said = features[row].split()[entry - indptr[row]].partition(":")[2]
        raise block[row].wrong(f"values of up to {LARGEST_NORM:.3g}", said)
    matrix = sp.csr_matrix((values, ids.astype(np.int32), indptr), shape=(len(block), int(highest) + 1))
    matrix.sort_indices()
    rows = np.repeat(np.arange(len(block)), lengths)
    twice = np.flatnonzero((np.diff(matrix.indices) == 0) & (np.diff(rows) == 0))
    if len(twice):
        raise block[rows[twice[0]]].wrong("each feature once", str(matrix.indices[twice[0]]))
    return Block(labels, matrix, n_features, n_labels)


def _first_wrong(text: str) -> str:
    """The first part of a line that has no place in the format, or the whole line."""
    labels, *features = text.split() or [""]
    if not (IDS.fullmatch(labels) or ":" in labels):
        return labels
    pair = re.compile(f"{ID}:{_NUMBER}")
    return next((part for part in features if not pair.fullmatch(part)), text)


def write_svmlight(folder: Path, part: Part) -> None:
    """`PART.txt` of `read_svmlight`, with its header."""
    with (folder / f"{part.name}.txt").open("wb") as file:
        file.write(f"{part.X.shape[0]} {part.X.shape[1]} {part.Y.shape[1]}\n".encode())
        dump_svmlight_file(part.X, part.Y, file, zero_based=True, multilabel=True)
