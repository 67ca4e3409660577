"""Names of labels, and what composite labels are made of, in and out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from .errors import DisentangleError
from .matrices import load_labels, one_per_row, sha256

LABEL_NAMES = "output-items.txt"
_COMPONENTS = "components"


def label_names(folder: Path, n_labels: int, file: str = LABEL_NAMES) -> list[str]:
    """Names of labels, one a line of `output-items.txt`; those without one are called by their id.

    Raises
    ------
    DisentangleError
        If the file is there but no UTF-8 text of `n_labels` lines.
    """
    if not has_names(folder, file):
        return [f"label {i}" for i in range(n_labels)]
    path = folder / file
    try:
        # Not splitlines(): it also splits at characters that names may hold.
        lines = path.read_bytes().decode("utf-8").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DisentangleError(f"cannot read {path} as UTF-8 text: {error}") from error
    if len(lines) != n_labels:
        raise DisentangleError(f"{path} must have {n_labels} lines, one a name, got {len(lines)}")
    # What a terminal would obey instead of showing it has no place in a name.
    names = ["".join(c if c.isprintable() else " " for c in line).strip() for line in lines]
    return [name or f"label {i}" for i, name in enumerate(names)]


def has_names(folder: Path, file: str = LABEL_NAMES) -> bool:
    """Whether a dataset says how its labels are called."""
    return (folder / file).exists()


def first_repeated(names: Sequence[str]) -> tuple[int, int] | None:
    """Positions of the first name that an earlier one equals, the earlier one first; None if all differ."""
    seen: dict[str, int] = {}
    for i, name in enumerate(names):
        if (first := seen.setdefault(name, i)) != i:
            return first, i
    return None


def write_lines(path: Path, lines: list[str]) -> None:
    """Write names, one a line."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def digest_names(folder: Path) -> str | None:
    """Sha256 of the label names, None where there are none."""
    path = folder / LABEL_NAMES
    return sha256(path) if path.exists() else None


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
    n_components = sp.load_npz(folder / _COMPONENTS / "labels.npz").shape[0]
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
