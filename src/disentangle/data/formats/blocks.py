"""Instances in blocks, which bound what is held at a time, whatever their format."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import scipy.sparse as sp

from ...storage.npz import MAX_SIZE
from ..lines import Line

# A block ends at either; together they bound what is held at a time.
_BLOCK_LINES = 8192
_BLOCK_CHARACTERS = 1 << 24
MAX_ID = MAX_SIZE - 1
# Ten digits hold every id that is in range.
ID = "[0-9]{1,10}"
IDS = re.compile(f"{ID}(?:,{ID})*")
Item = TypeVar("Item")


@dataclass(frozen=True)
class Block:
    """Some instances in a row.

    Attributes
    ----------
    labels : list of list of str, or csr_matrix
        The names of each instance's labels, or a 0/1 matrix whose columns are label ids.
    content : list of str, or csr_matrix
        The text of each instance, or its features.
    n_features, n_labels : int or None
        How many there are in all, where the files say so.
    """

    labels: list[list[str]] | sp.csr_matrix
    content: list[str] | sp.csr_matrix
    n_features: int | None = None
    n_labels: int | None = None

    @property
    def n_instances(self) -> int:
        return len(self.content) if isinstance(self.content, list) else self.content.shape[0]

    def rows(self, kept: np.ndarray) -> Block:
        """The instances that a bool of shape (n_instances,) says."""
        taken = np.flatnonzero(kept)
        labels = [self.labels[i] for i in taken] if isinstance(self.labels, list) else self.labels[taken]
        content = [self.content[i] for i in taken] if isinstance(self.content, list) else self.content[taken]
        return replace(self, labels=labels, content=content)


def blocks(lines: Iterator[Line]) -> Iterator[list[Line]]:
    """Lines, so many at a time that no block is large."""
    return _blocks(lines, lambda line: len(line.text))


def _blocks(items: Iterator[Item], n_characters: Callable[[Item], int]) -> Iterator[list[Item]]:
    block: list[Item] = []
    n = 0
    for item in items:
        block.append(item)
        n += n_characters(item)
        if len(block) == _BLOCK_LINES or n >= _BLOCK_CHARACTERS:
            yield block
            block, n = [], 0
    if block:
        yield block


def of_documents(documents: Iterator[tuple[list[str], str]]) -> Iterator[Block]:
    """Label names and text of each instance, in blocks."""
    for block in _blocks(documents, lambda document: len(document[1]) + sum(map(len, document[0]))):
        yield Block([labels for labels, _ in block], [text for _, text in block])


def checked_names(line: Line, names: list[str]) -> list[str]:
    """Names of labels, which become lines of a UTF-8 file; a lone half of a surrogate pair cannot.

    Raises
    ------
    DisentangleError
        If one cannot.
    """
    if not all(names) or re.search("[\n\r\ud800-\udfff]", " ".join(names)):
        raise line.wrong("label names that make a line each", str(names))
    return names


def ids_matrix(block: list[Line], ids: list[str], n_labels: int | None) -> sp.csr_matrix:
    """Label ids, `3,1,4` for each line, as a 0/1 matrix; those given twice count once."""
    highest = MAX_ID if n_labels is None else n_labels - 1
    rows = [[int(i) for i in text.split(",")] if text else [] for text in ids]
    for line, row in zip(block, rows, strict=True):
        if row and max(row) > highest:
            raise line.wrong(f"labels from 0 to {highest}", str(max(row)))
    return binary_rows(rows, highest + 1)


def binary_rows(rows: list[list[int]], n_columns: int) -> sp.csr_matrix:
    """A 0/1 matrix, float32, from the columns of each row; those given twice count once."""
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows], dtype=np.int64)])
    indices = np.array([i for row in rows for i in row], dtype=np.int32)
    matrix = sp.csr_matrix((np.ones(len(indices), np.float32), indices, indptr), shape=(len(rows), n_columns))
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix
