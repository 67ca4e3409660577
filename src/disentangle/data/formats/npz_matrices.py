"""Features and labels as matrices of scipy or numpy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ...errors import DisentangleError
from ...storage.matrices import load_any, load_labels
from .blocks import Block


def read_matrices(features: Path, labels: Path) -> Iterator[Block]:
    """Features and labels as matrices: `scipy.sparse.save_npz`'s or `numpy.save`'s, cast to float32.

    Raises
    ------
    DisentangleError
        As `matrices.load_sparse` and `matrices.load_labels`, and if their rows disagree.
    """
    X, Y = load_any(features), load_labels(labels, load_any)
    if X.shape[0] != Y.shape[0]:
        raise DisentangleError(
            f"{labels} must have as many instances as {features.name} ({X.shape[0]}), got {Y.shape[0]}"
        )
    yield Block(Y, X, X.shape[1], Y.shape[1])
