"""A dataset to choose settings by, and to calibrate on: a validation part takes the test part's place."""

from __future__ import annotations

import numpy as np

from ..errors import DisentangleError
from .datasets import Dataset, Source, ValidationPart, oddities, problems, scored


def validation(of: Source, seed: int) -> Source:
    """A dataset whose validation part takes the test part's place.

    What is chosen by its figures has not seen test data. Where there is no validation part, a fifth of the
    training part is drawn at random for one, and the rest of it remains to train on.

    Parameters
    ----------
    of : Source
    seed : int
        Of the draw.

    Raises
    ------
    DisentangleError
        In loading, if either of the two parts has no labels or no features, or the validation part does not
        fit the training part.
    """
    trained_on = {key: value for key, value in of.inputs.items() if key.endswith("trn")}
    if of.validation is None:
        return Source(of.name, trained_on | {"validation": str(seed)}, lambda: _drawn(of.load(), seed))
    given = of.validation
    return Source(of.name, trained_on | given.inputs, lambda: _given(of.load(), given))


def _given(whole: Dataset, part: ValidationPart) -> Dataset:
    """The training part, and the validation part for the test part."""
    read = part.load()
    trn = {"X_trn": whole.X_trn, "Y_trn": whole.Y_trn}
    for problem in problems(trn | read, part.paths):
        raise DisentangleError(problem)
    X, Y = scored(read["X_val"], read["Y_val"])
    return Dataset(whole.name, **trn, X_tst=X, Y_tst=Y, notes=tuple(oddities(read)), is_dense=whole.is_dense)


def _drawn(whole: Dataset, seed: int) -> Dataset:
    """Four fifths of the training part, and the last fifth for the test part."""
    n = whole.X_trn.shape[0]
    order = np.random.default_rng(seed).permutation(n)
    trn, tst = np.sort(order[n // 5 :]), np.sort(order[: n // 5])
    tst = tst[np.diff(whole.Y_trn.indptr)[tst] > 0]
    X, Y = whole.X_trn, whole.Y_trn
    for rows, part in ((trn, "the rest"), (tst, "a fifth")):
        if not (X[rows].nnz and Y[rows].nnz):
            raise DisentangleError(
                f"too few training instances to set a fifth of them apart with --seed {seed}: {part} of "
                f"{n} must have features and labels, found none"
            )
    return Dataset(whole.name, X[trn], Y[trn], X[tst], Y[tst], is_dense=whole.is_dense)
