"""One half of a dataset, as it is written to a format."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import scipy.sparse as sp

from ...errors import DisentangleError
from ..lines import read_lines


@dataclass(frozen=True)
class Part:
    """One half of a dataset.

    Attributes
    ----------
    name : {"trn", "tst"}
    X, Y : csr_matrix
    texts : Path
        The file of its texts, one a line, if it has one.
    names : list of str
        Of the labels, as the format writes them.
    """

    name: str
    X: sp.csr_matrix
    Y: sp.csr_matrix
    texts: Path
    names: list[str]

    def read_texts(self) -> Iterator[str]:
        """The text of each instance."""
        if not self.texts.is_file():
            raise DisentangleError(
                f"missing file {self.texts}: expected the text of each instance, one a line"
            )
        n = 0
        for line in read_lines(self.texts):
            n = line.number
            yield line.text
        if n != self.Y.shape[0]:
            raise DisentangleError(
                f"{self.texts} must have {self.Y.shape[0]} lines, one an instance, got {n}"
            )

    def read_labels(self) -> Iterator[list[int]]:
        """The label ids of each instance."""
        for start, end in zip(self.Y.indptr[:-1], self.Y.indptr[1:], strict=True):
            yield self.Y.indices[start:end].tolist()
