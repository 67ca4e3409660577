"""Datasets in PECOS's layout: found, loaded, and checked for what keeps a job from running."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from ..errors import DisentangleError
from ..params import FEATURES
from ..storage.files import sha256
from ..storage.matrices import largest_norm, load_labels, read_shape, unpacked_size
from .components import LABEL_NAMES, URIS
from .features import FEATURES_FILE, VECTORIZER_FILE, FeatureSet

# Ids of which so few are in use, and that are so many, are hashes or keys of another system.
_SPARSE_IDS, _MANY_IDS = 10, 100_000
# What a dataset is recognised by.
SIZES = ("n_train_instances", "n_test_instances", "n_labels")
# Python, PECOS, numba, scipy and scikit-learn once imported, in bytes.
_LIBRARIES = 190 << 20
# Of training labels in bytes, and of each label, what their copies take at most at a time.
_OF_COPIES, _OF_LABEL = 8, 700
PARTS = ("trn", "tst")
# The part that settings are chosen by; few datasets have one.
VALIDATION = "val"


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
    is_dense : ndarray of shape (n_features,), bool, or None
        Which columns are no terms' but an embedding's; None if none is.
    """

    name: str
    X_trn: sp.csr_matrix
    Y_trn: sp.csr_matrix
    X_tst: sp.csr_matrix
    Y_tst: sp.csr_matrix
    notes: tuple[str, ...] = ()
    is_dense: np.ndarray | None = None

    @cached_property
    def labels_trn(self) -> sp.csc_matrix:
        """`Y_trn` by columns, as every step of a training takes it."""
        return self.Y_trn.tocsc()

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
    check_name(data_dir, name)
    if not data_dir.is_dir():
        raise DisentangleError(
            f"no dataset folder at {data_dir}: name another one with --data-dir, or make one "
            "with `data get` or `data import`"
        )
    folder = data_dir / name
    if not os.path.isdir(folder):  # False also for a name too long for a file system
        known = datasets_in(data_dir)
        there = f"it holds {', '.join(known)}" if known else "it holds no dataset"
        raise DisentangleError(
            f"no dataset {name!r} in {data_dir}: {there}; `data list` has those that can be fetched by name"
        )
    return folder


def check_name(data_dir: Path, name: str, what: str = "the dataset") -> None:
    """Raise DisentangleError unless `name` can be that of a folder in `data_dir`."""
    if name.startswith(".") or "/" in name or not name.isprintable() or not name:
        raise DisentangleError(f"{what} must be the name of a folder in {data_dir}, got {name!r}")


def datasets_in(data_dir: Path) -> list[str]:
    """Names of the datasets in a folder; hidden folders are unfinished ones."""
    found = (path.parent.name for path in data_dir.glob("*/Y.trn.npz"))
    return sorted(name for name in found if not name.startswith("."))


@dataclass(frozen=True)
class ValidationPart:
    """The validation part of a dataset, not loaded yet.

    Attributes
    ----------
    inputs : dict of str to str
        What identifies its content: sha256 of `X_val` and `Y_val`.
    paths : dict of str to Path
        Where its matrices lie, and those of the training part.
    load : callable
        Returns both matrices by name.
    """

    inputs: dict[str, str]
    paths: dict[str, Path]
    load: Callable[[], dict[str, sp.csr_matrix]]


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
    files : dict of str to Path
        What a model needs besides, to predict from texts and to name labels, by the name of the file.
    validation : ValidationPart or None
        None for a dataset without one.
    """

    name: str
    inputs: dict[str, str]
    load: Callable[[], Dataset]
    files: dict[str, Path] = field(default_factory=dict)
    validation: ValidationPart | None = None

    @cached_property
    def carried(self) -> dict[str, str]:
        """Sha256 of each of `files`."""
        return {name: sha256(path) for name, path in self.files.items()}

    def carry(self, out: Path) -> None:
        """Copy `files` into a folder, so that what lies there knows what it was made with.

        Raises
        ------
        DisentangleError
            If they have changed since they were looked at first.
        """
        for name, path in self.files.items():
            shutil.copyfile(path, out / name)
            if sha256(out / name) != self.carried[name]:
                raise DisentangleError(f"{path} has changed meanwhile: run the same command again")


def source(data_dir: Path, name: str, features: str = FEATURES) -> Source:
    """A dataset in PECOS's layout, with one of its feature sets, identified by what its files hold.

    Raises
    ------
    DisentangleError
        If there is no such dataset, or a file is missing or cannot be read.
    """
    folder = dataset_folder(data_dir, name)
    found, paths = digest(folder, features), paths_of(folder, features)

    def load() -> Dataset:
        loaded = load_dataset(data_dir, name, features)
        _check_same(found, digest(folder, features), paths)
        return loaded

    return Source(name, found, load, carried(folder, features), _validation_part(folder, features))


def _validation_part(folder: Path, features: str) -> ValidationPart | None:
    if VALIDATION not in (parts := parts_in(folder, features)):
        return None
    found, paths = digest(folder, features, (VALIDATION,)), paths_of(folder, features, parts)

    def load() -> dict[str, sp.csr_matrix]:
        read = {key: load_part(key, folder, features) for key in found}
        _check_same(found, digest(folder, features, (VALIDATION,)), paths)
        return read

    return ValidationPart(found, paths, load)


def _check_same(before: dict[str, str], now: dict[str, str], paths: dict[str, Path]) -> None:
    """Raise DisentangleError if matrices have changed."""
    if changed := [str(paths[key]) for key, sha in now.items() if sha != before[key]]:
        raise DisentangleError(f"{', '.join(changed)} changed meanwhile: run the same command again")


def parts_in(folder: Path, features: str = FEATURES) -> tuple[str, ...]:
    """The parts that a dataset has with one of its feature sets: training, test, and some validation."""
    paths = (folder / f"Y.{VALIDATION}.npz", *feature_set(folder, features).paths(VALIDATION))
    return (*PARTS, VALIDATION) if all(map(os.path.lexists, paths)) else PARTS


def carried(folder: Path, features: str = FEATURES) -> dict[str, Path]:
    """What a model needs besides a dataset's matrices, to predict from texts and to name labels, by name."""
    named = folder / LABEL_NAMES, folder / URIS
    paths = vocabulary(folder, features), folder / features / FEATURES_FILE, *named
    return {path.name: path for path in paths if path.exists()}


def vocabulary(folder: Path, features: str = FEATURES) -> Path:
    """Where the terms of a feature set are, if they have words; those of the usual one lie in the dataset."""
    return (folder if features == FEATURES else folder / features) / VECTORIZER_FILE


def digest(folder: Path, features: str = FEATURES, parts: tuple[str, ...] = PARTS) -> dict[str, str]:
    """Sha256 of each of a dataset's matrices, two a part, by name of the matrix."""
    of_features = feature_set(folder, features)
    found: dict[str, str] = {}
    for part in parts:
        found |= {f"X_{part}": of_features.digest(part), f"Y_{part}": sha256(folder / f"Y.{part}.npz")}
    return found


def feature_sets(folder: Path) -> list[str]:
    """Names of a dataset's feature sets; hidden folders are unfinished ones."""
    kinds = ("X.trn.npz", FEATURES_FILE)
    found = {path.parent.name for kind in kinds for path in folder.glob(f"*/{kind}")}
    return sorted(name for name in found if not name.startswith("."))


def feature_set(folder: Path, features: str) -> FeatureSet:
    """One of a dataset's feature sets; that of the usual name is not looked for.

    Raises
    ------
    DisentangleError
        If there is none of that name, or `features.json` in it is damaged.
    """
    if features != FEATURES:
        check_name(folder, features, "--features")
        if features not in (there := feature_sets(folder)):
            raise DisentangleError(
                f"no features {features!r} in {folder}: it has {', '.join(there) or 'none'}"
            )
    return FeatureSet.at(folder / features)


def in_words(sizes: dict[str, int]) -> str:
    """Sizes for a log line or a message: `n_labels` 1200 is "1,200 labels"."""
    return ", ".join(f"{n:,} {name.removeprefix('n_').replace('_', ' ')}" for name, n in sizes.items())


def load_parts(folder: Path, features: str = FEATURES) -> dict[str, sp.csr_matrix]:
    """The four matrices of a dataset's training and test part, by name.

    Raises
    ------
    DisentangleError
        As `load_dataset`.
    """
    paths = paths_of(folder, features)
    read = {key: load_part(key, folder, features) for key in paths}
    for problem in problems(read, paths):
        raise DisentangleError(problem)
    return read


def sizes_in(folder: Path, features: str = FEATURES) -> dict[str, int]:
    """Numbers of instances and labels of a dataset, without reading it; its matrices must be there.

    Raises
    ------
    DisentangleError
        If a matrix is missing or does not say its shape.
    """
    for path in files_of(folder, features):
        if not path.is_file():
            found = "a folder" if path.is_dir() else "no such file"
            raise DisentangleError(f"{folder} must hold {path.relative_to(folder)}, found {found}")
    for part in PARTS:
        feature_set(folder, features).shape(part)
    trn, tst = (read_shape(folder / f"Y.{part}.npz") for part in PARTS)
    return dict(zip(SIZES, (trn[0], tst[0], trn[1]), strict=True))


def memory_needed(folder: Path, features: str = FEATURES) -> int:
    """Bytes without which no job on a dataset can end: what it holds that is in no file, whatever the limit.

    Python and libraries; the matrices, and a copy of them, as labels are transposed and terms left out; the
    training labels of copies, each with the clusters of its instances; and places for each label.

    Raises
    ------
    DisentangleError
        If a matrix is damaged.
    """
    of_features = feature_set(folder, features)
    labels = {part: unpacked_size(folder / f"Y.{part}.npz") for part in PARTS}
    matrices = sum(labels.values()) + sum(map(of_features.unpacked_size, PARTS))
    n_labels = read_shape(folder / f"Y.{PARTS[0]}.npz")[1]
    return _LIBRARIES + 2 * matrices + _OF_COPIES * labels[PARTS[0]] + _OF_LABEL * n_labels


def load_dataset(data_dir: Path, name: str, features: str = FEATURES) -> Dataset:
    """Load a dataset in PECOS's layout, with one of its feature sets, and check it.

    Parameters
    ----------
    data_dir : Path
        The folder that holds the folder `name` with `Y.trn.npz`, `Y.tst.npz` and the feature set's folder.

    Raises
    ------
    DisentangleError
        If a file is missing or damaged, shapes disagree, a matrix is without entries, or labels are
        not 0/1.
    """
    folder = dataset_folder(data_dir, name)
    read = load_parts(folder, features)
    notes = tuple(oddities(read))
    is_dense = feature_set(folder, features).dense_columns(read["X_trn"])
    read["X_tst"], read["Y_tst"] = scored(read["X_tst"], read["Y_tst"])
    return Dataset(name, **read, notes=notes, is_dense=is_dense if is_dense.any() else None)


def scored(X: sp.csr_matrix, Y: sp.csr_matrix) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Features and labels of the instances that have labels: others cannot be scored."""
    is_scored = np.diff(Y.indptr) > 0
    return (X, Y) if is_scored.all() else (X[is_scored], Y[is_scored])


def paths_of(folder: Path, features: str = FEATURES, parts: tuple[str, ...] = PARTS) -> dict[str, Path]:
    """Where the matrices of a dataset lie, by name of the matrix; of several blocks the first."""
    of_features = feature_set(folder, features)
    found: dict[str, Path] = {}
    for part in parts:
        found |= {f"X_{part}": of_features.paths(part)[0], f"Y_{part}": folder / f"Y.{part}.npz"}
    return found


def files_of(folder: Path, features: str = FEATURES, parts: tuple[str, ...] = PARTS) -> list[Path]:
    """All files of a dataset's matrices."""
    of_features = feature_set(folder, features)
    return [path for part in parts for path in (*of_features.paths(part), folder / f"Y.{part}.npz")]


def load_part(key: str, folder: Path, features: str = FEATURES) -> sp.csr_matrix:
    """One matrix of a dataset, by its name: as `load_labels` returns it, or as `FeatureSet.load`."""
    if key[0] == "Y":
        return load_labels(folder / f"Y.{key[2:]}.npz")
    return feature_set(folder, features).load(key[2:])


def problems(read: dict[str, sp.csr_matrix], paths: dict[str, Path]) -> Iterator[str]:
    """What makes a dataset unusable, one sentence each; matrices that could not be read may be left out."""
    for key, matrix in read.items():
        if matrix.nnz == 0:
            yield f"{paths[key]} holds no values: its shape is {matrix.shape}"
    for axis, what, one, other in (
        (0, "instances", "X_trn", "Y_trn"),
        (0, "instances", "X_tst", "Y_tst"),
        (0, "instances", "X_val", "Y_val"),
        (1, "features", "X_trn", "X_tst"),
        (1, "features", "X_trn", "X_val"),
        (1, "labels", "Y_trn", "Y_tst"),
        (1, "labels", "Y_trn", "Y_val"),
    ):
        if one in read and other in read:
            expected, found = read[one].shape[axis], read[other].shape[axis]
            if expected != found:
                as_many = f"as many {what} as {paths[one].name} ({expected})"
                yield f"{paths[other]} must have {as_many}, got {found}"
    if "X_trn" in read:
        X = read["X_trn"]
        if problem := largest_norm(X).problem(paths["X_trn"], X.shape[0]):
            yield problem


def oddities(read: dict[str, sp.csr_matrix]) -> Iterator[str]:
    """What a user should know about parts that can be used, one sentence each, with what is done."""
    kept, left_out = "they are kept", "they cannot be scored and are left out"
    for key, what in (
        *(("X_trn", kept), ("X_tst", kept), ("X_val", kept)),
        *(("Y_trn", kept), ("Y_tst", left_out), ("Y_val", left_out)),
    ):
        if key in read and (empty := int((np.diff(read[key].indptr) == 0).sum())):
            of = "features" if key[0] == "X" else "labels"
            yield f"instances without {of} in {key.replace('_', '.')}: {empty:,}; {what}"
    for key, what, outcome in (
        ("X_trn", "features", "they change nothing"),
        ("Y_trn", "labels", "they keep their cluster, uncopied"),
    ):
        if key not in read:
            continue
        # Counted without an array of all columns: a shape may claim billions.
        n, n_used = read[key].shape[1], len(np.unique(read[key].indices))
        if n > n_used:
            yield f"{what} without training instances: {n - n_used:,}; {outcome}"
        yield from sparse_ids(what, n, n_used)


def sparse_ids(what: str, n: int, n_used: int) -> Iterator[str]:
    """A sentence if so few ids of features or labels are in use that all the others are a burden."""
    if n > max(_SPARSE_IDS * n_used, _MANY_IDS):
        yield (
            f"{what} are numbered up to {n - 1:,}, and only {n_used:,} have training instances: each "
            "number costs memory and time; renumber them from 0 without gaps"
        )
