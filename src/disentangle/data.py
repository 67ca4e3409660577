"""Matrices and datasets in and out, checked once here so that later stages need not doubt them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from .errors import DisentangleError

# The feature folder that PECOS's scripts use for tf-idf features; only a name here.
FEATURES = "tfidf-attnxml"
# Indices are int32 in PECOS and in the kernels.
_MAX_SIZE = 2**31 - 1
_FILES = {
    "X_trn": f"{FEATURES}/X.trn.npz",
    "Y_trn": "Y.trn.npz",
    "X_tst": f"{FEATURES}/X.tst.npz",
    "Y_tst": "Y.tst.npz",
}


@dataclass(frozen=True)
class Dataset:
    """One dataset in memory.

    Attributes
    ----------
    name : str
    X_trn, X_tst : csr_matrix of shape (n_instances, n_features), float32
        Finite values; rows may be empty.
    Y_trn, Y_tst : csr_matrix of shape (n_instances, n_labels), float32
        Only ones are stored; every row of `Y_tst` has at least one label.
    notes : tuple of str
        What is odd about the data, one sentence each.
    """

    name: str
    X_trn: sp.csr_matrix
    Y_trn: sp.csr_matrix
    X_tst: sp.csr_matrix
    Y_tst: sp.csr_matrix
    notes: tuple[str, ...] = ()

    def sizes(self) -> dict[str, int]:
        """Counts of instances, features and labels."""
        return {
            "n_train_instances": self.X_trn.shape[0],
            "n_test_instances": self.X_tst.shape[0],
            "n_features": self.X_trn.shape[1],
            "n_labels": self.Y_trn.shape[1],
        }


def dataset_folder(data_dir: Path, name: str) -> Path:
    """The folder of a dataset.

    Raises
    ------
    DisentangleError
        If `name` is no plain folder name, or no such dataset lies in `data_dir`.
    """
    if name in ("", ".", "..") or "/" in name:
        raise DisentangleError(f"the dataset must be the name of a folder in {data_dir}, got {name!r}")
    if not data_dir.is_dir():
        raise DisentangleError(f"no dataset folder at {data_dir}: name another one with --data-dir")
    folder = data_dir / name
    if not os.path.isdir(folder):  # False also for a name too long for a file system
        known = sorted(p.parent.name for p in data_dir.glob("*/Y.trn.npz"))
        there = f"it holds {', '.join(known)}" if known else "it holds no dataset"
        raise DisentangleError(f"no dataset {name!r} in {data_dir}: {there}")
    return folder


@dataclass(frozen=True)
class Source:
    """A dataset not loaded yet.

    Attributes
    ----------
    name : str
    inputs : dict of str to str
        What identifies its content.
    load : callable
        Loads and checks it.
    """

    name: str
    inputs: dict[str, str]
    load: Callable[[], Dataset]


def source(data_dir: Path, name: str) -> Source:
    """A dataset in PECOS's layout, identified by what its files hold.

    Raises
    ------
    DisentangleError
        If there is no such dataset, or a file is missing or cannot be read.
    """
    folder = dataset_folder(data_dir, name)
    return Source(name, _digest(folder), lambda: load_dataset(data_dir, name))


def _digest(folder: Path) -> dict[str, str]:
    """Sha256 of each of a dataset's four matrices, by name of the matrix."""
    return {name: sha256(folder / file) for name, file in _FILES.items()}


def sha256(path: Path) -> str:
    """Sha256 of a file's content."""
    sha = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                sha.update(block)
    except OSError as error:
        raise DisentangleError(f"cannot read {path}: {error.strerror}") from error
    return sha.hexdigest()


def load_sparse(path: Path) -> sp.csr_matrix:
    """A sparse matrix from an npz file, in canonical form.

    Parameters
    ----------
    path : Path
        What `scipy.sparse.save_npz` wrote, in any of its formats; nothing is ever unpickled.

    Returns
    -------
    csr_matrix, float32
        Indices sorted and unique, no explicit zeros.

    Raises
    ------
    DisentangleError
        If the file is missing, no such matrix, damaged, not numeric, or holds NaN, infinite or
        too large values.
    """
    if not path.is_file():
        raise DisentangleError(f"missing file {path}: expected a matrix saved by scipy.sparse.save_npz")
    if path.stat().st_size == 0:
        raise DisentangleError(f"{path} is empty: expected a matrix saved by scipy.sparse.save_npz")
    try:
        loaded = sp.load_npz(path)
        if loaded.dtype.kind not in "fiub":
            raise ValueError(f"values of type {loaded.dtype}")
        if max(loaded.shape) > _MAX_SIZE:
            raise ValueError(f"shape {loaded.shape}, more than {_MAX_SIZE} on a side")
        # scipy trusts indices, even when it converts: check them before anything follows them.
        if loaded.format in ("csr", "csc", "bsr"):
            loaded.check_format(full_check=True)
        matrix = sp.csr_matrix(loaded)
    except MemoryError:
        raise
    except Exception as error:  # zipfile, zlib, numpy and scipy each have their own for a damaged file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DisentangleError(
            f"{path} is damaged or no sparse matrix saved by scipy.sparse.save_npz: {reason}"
        ) from error
    with np.errstate(over="ignore"):
        matrix = matrix.astype(np.float32)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    if not np.isfinite(matrix.data).all():
        row, column, value = _first(matrix, ~np.isfinite(matrix.data))
        raise DisentangleError(f"{path} must hold finite values, got {value} in row {row}, column {column}")
    return matrix


def _first(matrix: sp.csr_matrix, wrong: np.ndarray) -> tuple[int, int, float]:
    """Row, column and value of the first entry that the mask `wrong` marks."""
    entry = int(np.argmax(wrong))
    row = int(np.searchsorted(matrix.indptr, entry, side="right")) - 1
    return row, int(matrix.indices[entry]), float(matrix.data[entry])


def flat(matrix: sp.csr_matrix | sp.csc_matrix) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A compressed matrix as the kernels take it: index pointers int64, indices int32, values float32."""
    return (
        matrix.indptr.astype(np.int64),
        matrix.indices.astype(np.int32, copy=False),
        matrix.data.astype(np.float32, copy=False),
    )


def one_per_row(columns: np.ndarray, n_columns: int) -> sp.csr_matrix:
    """Membership: float32 of shape (len(columns), n_columns), with one 1 per row, in the column given."""
    n = len(columns)
    return sp.csr_matrix((np.ones(n, np.float32), columns, np.arange(n + 1)), shape=(n, n_columns))


def load_labels(path: Path) -> sp.csr_matrix:
    """A 0/1 matrix from an npz file, as `load_sparse` returns it.

    Raises
    ------
    DisentangleError
        As `load_sparse`, and for any stored value but 1.
    """
    Y = load_sparse(path)
    if (wrong := Y.data != 1).any():
        row, column, value = _first(Y, wrong)
        raise DisentangleError(f"{path} must hold only 0 and 1, got {value:g} in row {row}, column {column}")
    return Y


def load_dataset(data_dir: Path, name: str) -> Dataset:
    """Load a dataset in PECOS's layout and check it.

    Parameters
    ----------
    data_dir : Path
        The folder that holds the folder `name` with `Y.trn.npz`, `Y.tst.npz` and
        `tfidf-attnxml/X.{trn,tst}.npz`.

    Raises
    ------
    DisentangleError
        If a file is missing or damaged, shapes disagree, a matrix is without entries, or labels are
        not 0/1.
    """
    folder = dataset_folder(data_dir, name)
    paths = {key: folder / file for key, file in _FILES.items()}
    read = {key: (load_labels if key[0] == "Y" else load_sparse)(path) for key, path in paths.items()}
    _check_shapes(read, paths)
    notes = []
    for part in ("trn", "tst"):
        if empty := _count_empty(read[f"X_{part}"]):
            notes.append(f"instances without features in X.{part}: {empty:,}; they are kept")
    if empty := _count_empty(read["Y_trn"]):
        notes.append(f"instances without labels in Y.trn: {empty:,}; they are kept")
    if empty := _count_empty(read["Y_trn"].T.tocsr()):
        notes.append(f"labels without training instances: {empty:,}; they keep their cluster, uncopied")
    if empty := _count_empty(read["Y_tst"]):
        notes.append(f"instances without labels in Y.tst: {empty:,}; they cannot be scored and are left out")
        scored = np.flatnonzero(np.diff(read["Y_tst"].indptr))
        read["X_tst"], read["Y_tst"] = read["X_tst"][scored], read["Y_tst"][scored]
    return Dataset(name, **read, notes=tuple(notes))


def _count_empty(matrix: sp.csr_matrix) -> int:
    return int((np.diff(matrix.indptr) == 0).sum())


def _check_shapes(read: dict[str, sp.csr_matrix], paths: dict[str, Path]) -> None:
    for key, matrix in read.items():
        if matrix.nnz == 0:
            raise DisentangleError(f"{paths[key]} holds no values: its shape is {matrix.shape}")
    for axis, what, one, other in (
        (0, "instances", "X_trn", "Y_trn"),
        (0, "instances", "X_tst", "Y_tst"),
        (1, "features", "X_trn", "X_tst"),
        (1, "labels", "Y_trn", "Y_tst"),
    ):
        expected, found = read[one].shape[axis], read[other].shape[axis]
        if expected != found:
            raise DisentangleError(
                f"{paths[other]} must have as many {what} as {paths[one].name} ({expected}), got {found}"
            )
