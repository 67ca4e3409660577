"""What is given from Python, checked: features, texts, numbers of threads; messages in Python's words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np
import scipy.sparse as sp
from joblib import effective_n_jobs
from sklearn.utils import check_array

from ..errors import DisentangleError, excerpt
from ..limits import Limits
from ..params import TfidfParams
from ..runtime.threads import check_threads

# Options of the command line that parameters here do not have the names of.
_NAMES = {"threads": "n_jobs", "seed": "random_state", "out": "folder", "force": "replace=True"}


@contextmanager
def python_names() -> Iterator[None]:
    """Call options in errors what they are called in Python."""
    try:
        yield
    except DisentangleError as error:
        said = re.sub(
            r"(?<![^\s(])--([a-z][a-z-]*)",
            lambda one: _NAMES.get(one[1], one[1].replace("-", "_")),
            str(error),
        )
        raise DisentangleError(said) from error


def n_threads(n_jobs: int | None) -> int:
    """How many threads `n_jobs` stands for, as joblib has it: None for 1, -1 for as many as there are cores.

    Raises
    ------
    DisentangleError
        If it is no such number.
    """
    if n_jobs is not None:
        Limits(-(2**30)).check("n_jobs", n_jobs)
        if n_jobs == 0:
            raise DisentangleError("n_jobs must be None, -1 or at least 1, got 0")
    threads = int(effective_n_jobs(n_jobs))
    check_threads(threads)
    return threads


def is_text(X: Any) -> bool:
    """Whether instances are given as texts, and not as features.

    Raises
    ------
    DisentangleError
        If they are a mapping or a set, which are no sequence.
    """
    if isinstance(X, (Mapping, Set)) and not sp.issparse(X):
        raise DisentangleError(f"instances must be a list or a matrix, got {type(X).__name__}")
    if sp.issparse(X) or getattr(X, "ndim", 1) != 1 or isinstance(X, (str, bytes)):
        return False
    return hasattr(X, "__len__") and len(X) > 0 and isinstance(next(iter(X)), str)


def check_texts(texts: Any) -> list[str]:
    """Texts as a list.

    Raises
    ------
    DisentangleError
        If they are none.
    """
    is_list = isinstance(texts, Sequence) or getattr(texts, "ndim", 0) == 1
    is_list &= not isinstance(texts, (str, bytes)) and not sp.issparse(texts)
    if isinstance(texts, (Mapping, Set)) or not (is_list or is_text(texts)):
        raise DisentangleError(f"texts must be a list of texts, got {type(texts).__name__}")
    found = list(texts)
    for i, text in enumerate(found):
        if not isinstance(text, str):
            raise DisentangleError(f"texts must be text, got {type(text).__name__} for number {i}")
    return found


def check_tfidf(given: Any) -> TfidfParams:
    """How texts become features; None for the usual way.

    Raises
    ------
    DisentangleError
        If it is something else, or out of its range.
    """
    params = TfidfParams() if given is None else given
    if not isinstance(params, TfidfParams):
        raise DisentangleError(f"tfidf must be a TfidfParams, or None, got {type(params).__name__}")
    # Numbers of numpy's are none in JSON.
    params = replace(params, **{name: plain(value) for name, value in vars(params).items()})
    pair = params.ngram_range
    is_pair = (
        isinstance(pair, (tuple, list)) and len(pair) == 2 and all(isinstance(n, Integral) for n in pair)
    )
    if not is_pair or not isinstance(params.token_pattern, str):
        found = f"{excerpt(repr(pair))} and {excerpt(repr(params.token_pattern))}"
        raise DisentangleError(f"ngram_range must be two whole numbers, and token_pattern text, got {found}")
    params = replace(params, ngram_range=(int(pair[0]), int(pair[1])))
    with python_names():
        params.validate()
    return params


def plain(value: Any) -> Any:
    """A number of numpy's as Python's: grids are often made by numpy, records are JSON."""
    return value.item() if isinstance(value, np.generic) else value


def as_matrix(X: Any) -> sp.csr_matrix:
    """Features as PECOS takes them: csr_matrix, float32, in canonical form; what is given stays as it is.

    Raises
    ------
    ValueError
        If it is no matrix of finite numbers in float32's range.
    """
    return canonical(check_array(sound(X), accept_sparse="csr", dtype=np.float32, input_name="X"))


def sound(matrix: Any) -> Any:
    """What was given, if indices of a sparse matrix are in range: scipy follows them blindly.

    Raises
    ------
    ValueError
        If an index of a sparse matrix is out of its range.
    """
    if sp.issparse(matrix) and matrix.format in ("csr", "csc", "bsr"):
        # Of another one, as checking drops what is behind the last value.
        arrays = matrix.data, matrix.indices, matrix.indptr
        type(matrix)(arrays, shape=matrix.shape).check_format(full_check=True)
    if sp.issparse(matrix) and matrix.format == "coo" and matrix.ndim == 2:
        type(matrix)((matrix.data, (matrix.row, matrix.col)), shape=matrix.shape)
    return matrix


def canonical(X: Any) -> sp.csr_matrix:
    """A copy of a matrix that is `sound`, and that scikit-learn has checked, in canonical form."""
    if sp.issparse(X):
        X.check_format(full_check=True)  # it may be of lists
        X = sp.csr_matrix((X.data, X.indices, X.indptr), shape=X.shape, copy=True)
    else:
        X = sp.csr_matrix(X)
    X.sum_duplicates()
    X.eliminate_zeros()
    return X
