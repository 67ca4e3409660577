"""One half of a dataset, as it is written to a format."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import scipy.sparse as sp

from ..lines import read_texts


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
        return read_texts(self.texts, self.Y.shape[0])

    def read_labels(self) -> Iterator[list[int]]:
        """The label ids of each instance."""
        for start, end in zip(self.Y.indptr[:-1], self.Y.indptr[1:], strict=True):
            yield self.Y.indices[start:end].tolist()
