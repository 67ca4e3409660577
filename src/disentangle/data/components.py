"""Names of labels, and what composite labels are made of, in and out."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from ..errors import DisentangleError
from ..storage.compressed import one_per_row
from ..storage.files import sha256
from ..storage.matrices import load_labels, read_shape
from .lines import read_lines, write_lines

LABEL_NAMES, URIS = "output-items.txt", "output-uris.txt"
_COMPONENTS = "components"
# Separators, controls, formats (joiners, soft hyphens); marks and letters that only steer or fill.
_UNSEEN = {"Zs", "Zl", "Zp", "Cc", "Cf"}
_STEERING = re.compile("[\u034f\u115f\u1160\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")


def label_names(folder: Path, n_labels: int, file: str = LABEL_NAMES) -> list[str]:
    """Names of labels as `read_names` reads them, or by their ids where there is no such file.

    Raises
    ------
    DisentangleError
        As `read_names`.
    """
    if not has_names(folder, file):
        return names_by_id(n_labels)
    return read_names(folder / file, n_labels)


def read_names(path: Path, n_labels: int | None = None) -> list[str]:
    """Names, a line each: UTF-8, lines ending in LF or CRLF, a byte order mark dropped.

    A name is its whole line. A label with an empty line is called by its id, and blank lines at the end of
    the file are no names, unless it takes them to make `n_labels`.

    Parameters
    ----------
    path : Path
    n_labels : int, optional
        How many names there must be.

    Raises
    ------
    DisentangleError
        As `lines.read_lines`, and if there are too few or too many names, none where their number is not
        known, or one with a carriage return, which would be two lines elsewhere.
    """
    names = []
    n = 0  # names up to the last line that is not blank
    for line in read_lines(path):
        if "\r" in line.text:
            raise line.wrong("a name without a carriage return")
        if not is_blank(line.text):
            n = line.number
        names.append(line.text or _by_id(line.number - 1))
    if n_labels is None:
        if not n:
            raise DisentangleError(f"{path} is empty: expected names, one a line")
        n_labels = n
    elif n > n_labels or len(names) < n_labels:
        raise DisentangleError(f"{path} must have {n_labels} lines, one a name, got {max(n, len(names))}")
    return names[:n_labels]


def read_uris(path: Path, n_labels: int) -> list[str | None]:
    """URIs of labels, a line each; None for an empty line.

    Raises
    ------
    DisentangleError
        As `lines.read_lines`, and if there is another number of lines than of labels.
    """
    found = [line.text or None for line in read_lines(path)]
    if len(found) != n_labels:
        raise DisentangleError(f"{path} must have {n_labels} lines, one a URI, got {len(found)}")
    return found


def count_names(path: Path) -> tuple[int, int]:
    """How many labels a file of names may be for: without the blank lines at its end, and with them.

    Raises
    ------
    DisentangleError
        As `lines.read_lines`, and if the file is empty.
    """
    fewest = most = 0
    for line in read_lines(path):
        most = line.number
        fewest = fewest if is_blank(line.text) else most
    if not most:
        raise DisentangleError(f"{path} is empty: expected names, one a line")
    return fewest, most


def is_blank(line: str) -> bool:
    """Whether nothing is in a line but blanks and tabs; other white space may be all of a name."""
    return not line.strip(" \t")


def names_by_id(n_labels: int) -> list[str]:
    """What labels without names are called."""
    return [_by_id(label) for label in range(n_labels)]


def _by_id(label: int) -> str:
    return f"label {label}"


def has_names(folder: Path, file: str = LABEL_NAMES) -> bool:
    """Whether a dataset says how its labels are called, be it by a link to nothing."""
    return os.path.lexists(folder / file)


def first_repeated(names: Sequence[str]) -> tuple[int, int] | None:
    """Positions of the first name that an earlier one equals, the earlier one first; None if all differ."""
    seen: dict[str, int] = {}
    for i, name in enumerate(names):
        if (first := seen.setdefault(name, i)) != i:
            return first, i
    return None


def look(name: str) -> str:
    """What is left of a name without blanks, case and characters that show nothing; equal for names alike."""
    composed = _STEERING.sub("", unicodedata.normalize("NFC", name).casefold())
    return "".join(c for c in composed if unicodedata.category(c) not in _UNSEEN)


def digest_names(folder: Path) -> str | None:
    """Sha256 of the label names, None where there are none."""
    return sha256(folder / LABEL_NAMES) if has_names(folder) else None


@dataclass(frozen=True)
class Components:
    """What composite labels are made of.

    Attributes
    ----------
    Y_trn : csr_matrix of shape (n_instances, n_components), float32
        Stores ones only.
    of_label : ndarray of shape (n_components,), int32
        The label that each component belongs to.
    names : list of str
    """

    Y_trn: sp.csr_matrix
    of_label: np.ndarray
    names: list[str]


def require_components(folder: Path) -> None:
    """Raise DisentangleError if a dataset has no components of its own."""
    if not has_components(folder):
        raise DisentangleError(
            f"{folder} has no components of its own: expected a folder {_COMPONENTS} in it"
        )


def has_components(folder: Path) -> bool:
    """Whether a dataset says what its labels are made of."""
    return (folder / _COMPONENTS).is_dir()


def digest_components(folder: Path) -> dict[str, str]:
    """Sha256 of the files that `load_components` reads."""
    return {file: sha256(folder / _COMPONENTS / file) for file in ("Y.trn.npz", "labels.npz")}


def add_names(folder: Path, n_labels: int, rows: list[dict[str, Any]]) -> None:
    """Make a table of labels readable: names for ids, and one cell for each label's counts.

    Parameters
    ----------
    folder : Path
        Of the dataset.
    n_labels : int
    rows : list of dict
        With "label", "components" (ids) and "table" (counts, components x copies); "name" is added,
        "components" and "table" become text.
    """
    labels = label_names(folder, n_labels)
    n_components = read_shape(folder / _COMPONENTS / "labels.npz")[0]
    names = label_names(folder / _COMPONENTS, n_components, "names.txt")
    for row in rows:
        row["name"] = labels[row["label"]]
        row["components"] = " | ".join(names[component] for component in row["components"])
        row["table"] = " | ".join(" ".join(map(str, counts)) for counts in row["table"])


def save_components(folder: Path, components: Components, Y_tst: sp.csr_matrix) -> None:
    """Write components into a dataset's folder, in the layout that `load_components` reads."""
    target = folder / _COMPONENTS
    target.mkdir()
    sp.save_npz(target / "Y.trn.npz", components.Y_trn)
    sp.save_npz(target / "Y.tst.npz", Y_tst)
    n_labels = components.of_label.max() + 1
    sp.save_npz(target / "labels.npz", one_per_row(components.of_label, n_labels))
    write_lines(target / "names.txt", components.names)


def load_components(folder: Path, n_instances: int, n_labels: int) -> Components:
    """Components of a dataset's labels, from its folder `components`.

    Raises
    ------
    DisentangleError
        If a file is missing or damaged, shapes disagree, or a component has not exactly one label.
    """
    source = folder / _COMPONENTS
    labels = load_labels(source / "labels.npz")
    Y_trn = load_labels(source / "Y.trn.npz")
    n = labels.shape[0]
    for file, found, expected in (
        ("labels.npz", labels.shape, (n, n_labels)),
        ("Y.trn.npz", Y_trn.shape, (n_instances, n)),
    ):
        if found != expected:
            raise DisentangleError(f"{source / file} must be of shape {expected}, got {found}")
    if (np.diff(labels.indptr) != 1).any():
        row = int(np.argmax(np.diff(labels.indptr) != 1))
        found = int(np.diff(labels.indptr)[row])
        raise DisentangleError(
            f"{source / 'labels.npz'} must have one label per row, got {found} in row {row}"
        )
    return Components(Y_trn, labels.indices, label_names(source, n, "names.txt"))
