"""Labels of instances in the forms that people have them, as a matrix of 0 and 1 and back."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Set
from numbers import Integral
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets

from ..data.formats.blocks import binary_rows
from ..errors import DisentangleError, excerpt
from .inputs import canonical, sound

# Of Y: a matrix of 0 and 1, a list of labels for each instance, one label for each.
MATRIX, LISTS, SINGLE = "matrix", "lists", "single"


def given(Y: Any) -> tuple[str, Any]:
    """Labels and the form in which they are given.

    Raises
    ------
    DisentangleError
        If it is none of those that there are.
    """
    if sp.issparse(Y):
        return MATRIX, Y
    if hasattr(Y, "__array__"):
        Y = np.asarray(Y)
        if Y.ndim == 2 and Y.shape[1] == 1 and any(map(_is_several, Y[:, 0])):
            Y = Y[:, 0]  # a table's column of lists
        if Y.ndim > 1:
            return (MATRIX, Y) if Y.shape[1] != 1 else (SINGLE, Y)
    no_list = isinstance(Y, (str, bytes, Mapping, Set)) or not isinstance(Y, Collection)
    if no_list or getattr(Y, "ndim", 1) == 0:
        none = "; a classifier requires y to be passed, but the target y is None" if Y is None else ""
        raise DisentangleError(
            f"y must be a matrix of 0 and 1, or a list of each instance's labels, got {_shown(Y)}{none}"
        )
    return (LISTS if any(map(_is_several, Y)) else SINGLE), Y


def encode(Y: Any, form: str, known: Iterable[Any] = ()) -> tuple[sp.csr_matrix, np.ndarray]:
    """Labels as a matrix.

    Parameters
    ----------
    Y
    form : str
        As `given` returns both.
    known : iterable
        Labels whose columns come first, in this order.

    Returns
    -------
    matrix : csr_matrix of shape (n_instances, n_labels), float32
        Only ones are stored.
    classes : ndarray of shape (n_labels,)
        The label of each column, rising but for those that are known.

    Raises
    ------
    ValueError
        If an entry is no label.
    """
    known = list(known)
    if form == MATRIX:
        matrix = _from_matrix(Y)
        if known and matrix.shape[1] != len(known):
            raise DisentangleError(f"y must have {len(known)} columns, got {matrix.shape[1]}")
        return matrix, np.arange(matrix.shape[1])
    rows = _lists(Y) if form == LISTS else _singles(Y)
    columns = {label: i for i, label in enumerate(known)}
    found = {label for row in rows for label in row}
    if "" in found:
        instance = next(i for i, row in enumerate(rows) if "" in row)
        raise DisentangleError(f"labels must not be empty, got '' for instance {instance}")
    kinds = ["text" if isinstance(next(iter(of)), str) else "numbers" for of in (known, found) if of]
    if len(set(kinds)) > 1:
        raise DisentangleError(f"labels must be {kinds[0]}, as in training, got {kinds[1]}")
    rising = sorted(found - columns.keys())
    columns |= {label: len(columns) + i for i, label in enumerate(rising)}
    return binary_rows([[columns[label] for label in row] for row in rows], len(columns)), _array(columns)


def _array(labels: Collection[Any]) -> np.ndarray:
    """Labels as an array that gives them back as they are: one of strings would cut zeros off their ends."""
    labels = list(labels)
    if any(isinstance(label, str) for label in labels):
        return np.array(labels, dtype=object)
    found = np.array(labels)
    if labels and found.dtype.kind == "f" and all(isinstance(label, Integral) for label in labels):
        # Whole numbers beyond int64, which numpy would round.
        return np.array(labels, dtype=np.uint64 if min(labels) >= 0 else object)
    return found


def _from_matrix(Y: Any) -> sp.csr_matrix:
    given = sound(Y) if sp.issparse(Y) else np.asarray(Y)
    if given.ndim != 2 or given.dtype.kind not in "biuf":
        raise DisentangleError(f"y must be a matrix of 0 and 1, got one of {given.ndim}-D {given.dtype}")
    matrix = canonical(sp.csr_matrix(given, dtype=np.float32))
    if (wrong := matrix.data != 1).any():
        entry = int(np.argmax(wrong))
        row = int(np.searchsorted(matrix.indptr, entry, side="right")) - 1
        place = f"row {row}, column {matrix.indices[entry]}"
        raise DisentangleError(f"y must be a matrix of 0 and 1, got {matrix.data[entry]:g} in {place}")
    return matrix


def _lists(Y: Iterable[Any]) -> list[list[Any]]:
    rows, kinds = [], set()
    for i, row in enumerate(Y):
        if not _is_several(row):
            raise DisentangleError(f"y must be lists of labels, got {_shown(row)} for instance {i}")
        rows.append([label.item() if isinstance(label, np.generic) else label for label in row])
        for label in rows[-1]:
            kinds.add(isinstance(label, str))
            if not isinstance(label, (str, Integral)) or len(kinds) > 1:
                rule = "labels must all be text, or all whole numbers"
                raise DisentangleError(f"{rule}, got {_shown(label)} for instance {i}")
    return rows


def _singles(Y: Any) -> list[list[Any]]:
    # numpy would make text of all where one is, and floats of whole numbers beyond int64.
    given = np.asarray(Y) if hasattr(Y, "__array__") else np.fromiter(Y, object, len(Y))
    found = column_or_1d(given, warn=True)
    flat = [label.item() if isinstance(label, np.generic) else label for label in found]
    if any(isinstance(label, str) for label in flat):
        for i, label in enumerate(flat):
            if not isinstance(label, str):
                rule = "labels must all be text, or all numbers"
                raise DisentangleError(f"{rule}, got {_shown(label)} for instance {i}")
    elif not all(isinstance(label, Integral) for label in flat):
        check_classification_targets(np.asarray(flat))
    return [[label] for label in flat]


def indicator(probabilities: sp.csr_matrix, least: float) -> sp.csr_matrix:
    """A matrix of 1 for labels of at least a probability."""
    found = sp.csr_matrix(probabilities, dtype=np.int64, copy=True)
    found.data = (probabilities.data >= least).astype(np.int64)
    found.eliminate_zeros()
    return found


def lists(probabilities: sp.csr_matrix, least: float, classes: np.ndarray) -> list[list[Any]]:
    """Those labels of each instance, best first."""
    found = []
    for start, end in zip(probabilities.indptr, probabilities.indptr[1:], strict=False):
        data, columns = probabilities.data[start:end], probabilities.indices[start:end]
        order = np.argsort(-data, kind="stable")
        found.append(classes[columns[order[data[order] >= least]]].tolist())
    return found


def lines(names: Iterable[Any], classes: np.ndarray | None = None) -> list[str]:
    """Names or URIs of labels as a file holds them, a line each; nothing for None.

    Raises
    ------
    DisentangleError
        If there are not as many as classes, or one is not a line of a file in UTF-8.
    """
    if isinstance(names, (str, bytes)):
        raise DisentangleError(f"names or URIs must be a list, one a label, got {_shown(names)}")
    names = list(names)
    for name in names if classes is not None else ():
        if name is not None and not isinstance(name, str):
            raise DisentangleError(f"names or URIs must be text, or None, got {_shown(name)}")
    found = ["" if name is None else str(name) for name in names]
    if classes is not None and len(found) != len(classes):
        raise DisentangleError(f"there must be {len(classes)} names or URIs, one a label, got {len(found)}")
    for name in found:
        if re.search("[\n\r\ud800-\udfff]", name):
            raise DisentangleError(f"a label must make a line of text, got {_shown(name)}")
    return found


def _is_several(row: Any) -> bool:
    return isinstance(row, Collection) and not isinstance(row, (str, bytes, Mapping))


def _shown(value: Any) -> str:
    return excerpt(repr(value))
