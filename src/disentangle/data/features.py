"""Feature sets: what instances are described by, one matrix or several blocks side by side.

A feature set is a folder in a dataset's. With one matrix it holds `X.trn.npz` and `X.tst.npz`, sparse. With
several blocks `features.json` says which: a sparse one is `NAME.{trn,tst}.npz`, a dense one, such as an
embedding, `NAME.{trn,tst}.npy`, float16 or float32, a row an instance. There may be a part "val", too.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from ..errors import DisentangleError
from ..params import FEATURES
from ..storage import files, matrices, npz
from ..storage.files import sha256

FEATURES_FILE = "features.json"
# What makes terms of texts.
VECTORIZER_FILE = "vectorizer.json"
SPARSE, DENSE = "sparse", "dense"
# The dense block of what `encode` makes, and of a matrix that looks like one.
EMBEDDING = "embedding"
_MOST_BYTES = 1 << 24
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,99}", re.ASCII)
# A column is an embedding's if so large a share of the instances has it, some negative, as no term is.
_SHARE = 0.5
# A matrix is an embedding if so large a share of its columns look like that.
_ALMOST_ALL = 0.9
# Values that are worked on at a time.
_CHUNK = 1 << 20


def beside(name: str, features: str) -> str:
    """The name of what is made with a feature set, beside that of what is made with the usual one."""
    return name if features == FEATURES else f"{name}-{features}"


def titled(dataset: str, features: str) -> str:
    """A dataset with a feature set, as titles of tables, pages and figures have it."""
    return dataset if features == FEATURES else f"{dataset} with {features}"


@dataclass(frozen=True)
class Block:
    """Columns that were made together.

    Attributes
    ----------
    name : str
        Of its files.
    kind : {"sparse", "dense"}
    n_columns : int
    is_normalised : bool
        Whether rows have length 1, or 0.
    made_from : dict
        What tells how to make the columns of new text; JSON.
    """

    name: str
    kind: str
    n_columns: int
    is_normalised: bool
    made_from: dict[str, Any]


@dataclass(frozen=True)
class FeatureSet:
    """A folder of features.

    Attributes
    ----------
    folder : Path
    blocks : tuple of Block
        From left to right; none for a single matrix.
    is_normalised : bool
        Whether rows are given length 1 once blocks lie side by side.
    """

    folder: Path
    blocks: tuple[Block, ...] = ()
    is_normalised: bool = False

    @classmethod
    def at(cls, folder: Path) -> FeatureSet:
        """The feature set of a folder.

        Raises
        ------
        DisentangleError
            If `features.json` is there and is not what one should be.
        """
        path = folder / FEATURES_FILE
        return cls.read(path, folder) if path.exists() else cls(folder)

    @classmethod
    def read(cls, path: Path, folder: Path) -> FeatureSet:
        """The feature set that a `features.json` tells of, be it in the folder or a copy elsewhere.

        Raises
        ------
        DisentangleError
            As `at`.
        """
        try:
            read = json.loads(files.read(path, _MOST_BYTES))
            blocks = tuple(Block(**block) for block in read["blocks"])
            found = cls(folder, blocks, read["is_normalised"])
            if problem := next(_problems(found), None):
                raise ValueError(problem)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise DisentangleError(
                f"{path} must say the blocks of a feature set, found something else: {error}"
            ) from error
        return found

    def save(self) -> None:
        """Write `features.json`."""
        said = {"blocks": [asdict(block) for block in self.blocks], "is_normalised": self.is_normalised}
        (self.folder / FEATURES_FILE).write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")

    def paths(self, part: str) -> list[Path]:
        """The files of a part ("trn", "tst" or "val"), a block each."""
        if not self.blocks:
            return [self.folder / f"X.{part}.npz"]
        endings = {SPARSE: "npz", DENSE: "npy"}
        return [self.folder / f"{block.name}.{part}.{endings[block.kind]}" for block in self.blocks]

    def digest(self, part: str) -> str:
        """Sha256 of what a part holds; of a single matrix that of its file."""
        found = [sha256(path) for path in self.paths(part)]
        if not self.blocks:
            return found[0]
        said = [asdict(block) for block in self.blocks]
        return hashlib.sha256(json.dumps([said, self.is_normalised, found]).encode()).hexdigest()

    def shape(self, part: str) -> tuple[int, int]:
        """Instances and columns of a part, without reading it."""
        shapes = [_shape(path) for path in self.paths(part)]
        return shapes[0][0], sum(n for _, n in shapes)

    def unpacked_size(self, part: str) -> int:
        """Bytes of a part in memory, as `load` returns it."""
        size = 0
        for path in self.paths(part):
            if path.suffix == ".npz":
                size += matrices.unpacked_size(path)
            else:
                n_instances, n_columns = matrices.read_dense_shape(path)
                size += 8 * n_instances * n_columns
        return size

    def load(self, part: str) -> sp.csr_matrix:
        """A part, blocks side by side: csr_matrix, float32, in canonical form.

        Raises
        ------
        DisentangleError
            If a file is missing or damaged, or is not of the shape that the others and `features.json` say.
        """
        if not self.blocks:
            return matrices.load_sparse(*self.paths(part))
        read, n = [], None
        for block, path in zip(self.blocks, self.paths(part), strict=True):
            X = matrices.load_sparse(path) if block.kind == SPARSE else matrices.load_any(path)
            n = X.shape[0] if n is None else n
            if X.shape != (n, block.n_columns):
                raise DisentangleError(f"{path} must be of shape {(n, block.n_columns)}, got {X.shape}")
            read.append(X)
        return self.side_by_side(read)

    def side_by_side(self, parts: list[sp.csr_matrix]) -> sp.csr_matrix:
        """The columns of each block as one matrix, with rows of the lengths that are said.

        Made of some rows at a time, so that it takes no more memory than the blocks and the whole.
        """
        shape = parts[0].shape[0], sum(X.shape[1] for X in parts)
        indptr = np.sum([X.indptr for X in parts], axis=0, dtype=np.int64)
        values, indices = np.empty(indptr[-1], np.float32), np.empty(indptr[-1], np.int32)
        n_rows = max(1, _CHUNK * shape[0] // max(1, len(values)))
        for start in range(0, shape[0], n_rows):
            chunk = self._rows([X[start : start + n_rows] for X in parts])
            here = slice(indptr[start], indptr[start] + chunk.nnz)
            values[here], indices[here] = chunk.data, chunk.indices
        return sp.csr_matrix((values, indices, indptr), shape=shape)

    def _rows(self, parts: list[sp.csr_matrix]) -> sp.csr_matrix:
        normed = [
            _unit_rows(X) if block.is_normalised else X for block, X in zip(self.blocks, parts, strict=True)
        ]
        X = sp.hstack(normed, "csr", np.float32)
        return _unit_rows(X) if self.is_normalised else X

    def fit(self, X: sp.csr_matrix) -> sp.csr_matrix:
        """Columns of all blocks that come as one matrix, with rows of the lengths that are said."""
        if not self.blocks:
            return X
        ends = np.cumsum([block.n_columns for block in self.blocks]).tolist()
        starts = [0, *ends[:-1]]
        return self.side_by_side([X[:, start:end] for start, end in zip(starts, ends, strict=True)])

    @property
    def of_terms(self) -> Block | None:
        """The block whose columns a vocabulary names: the first sparse one."""
        return next((block for block in self.blocks if block.kind == SPARSE), None)

    def terms(self, n_columns: int) -> slice:
        """Which columns a vocabulary names: of a single matrix all."""
        if not self.blocks:
            return slice(0, n_columns)
        if (named := self.of_terms) is None:
            return slice(0, 0)
        start = sum(block.n_columns for block in self.blocks[: self.blocks.index(named)])
        return slice(start, start + named.n_columns)

    def dense_columns(self, X: sp.csr_matrix) -> np.ndarray:
        """Which columns are no terms' but an embedding's: as is said, or as training instances look.

        Parameters
        ----------
        X : csr_matrix of shape (n_instances, n_features), float32

        Returns
        -------
        ndarray of shape (n_features,), bool
        """
        if self.blocks:
            return np.repeat(
                [one.kind == DENSE for one in self.blocks], [one.n_columns for one in self.blocks]
            )
        return looks_dense(X)


def looks_dense(X: sp.csr_matrix) -> np.ndarray:
    """Which columns half of the instances have, some of them negative: bool of shape (n_features,)."""
    n_instances, n_features = X.shape
    is_dense = np.zeros(n_features, np.bool_)
    is_dense[X.indices[X.data < 0]] = True
    if is_dense.any():
        is_dense &= np.bincount(X.indices, minlength=n_features) >= _SHARE * n_instances
    return is_dense


def compact(folder: Path, parts: Iterable[str]) -> None:
    """Have a feature set of one matrix that is an embedding say so, and keep all its parts as a dense block.

    Values stay as they are: they are float16 where that holds all of them, else float32.
    """
    single = FeatureSet(folder)
    X = single.load("trn")
    n_instances, n_columns = X.shape
    if X.nnz < _SHARE * n_instances * n_columns or looks_dense(X).mean() < _ALMOST_ALL:
        return
    read = {part: X if part == "trn" else single.load(part) for part in parts}
    with np.errstate(over="ignore"):
        is_half = all((X.data.astype(np.float16) == X.data).all() for X in read.values())
    dtype = np.dtype(np.float16 if is_half else np.float32)
    block = Block(EMBEDDING, DENSE, n_columns, False, {})
    made = FeatureSet(folder, (block,))
    for part, X in read.items():
        rows = max(1, _CHUNK // n_columns)
        chunks = (X[start : start + rows].toarray() for start in range(0, X.shape[0], rows))
        npz.save_dense(made.paths(part)[0], chunks, X.shape, dtype)
        single.paths(part)[0].unlink()
    made.save()


def _problems(found: FeatureSet) -> Iterator[str]:
    """What is wrong with blocks that were read."""
    if not found.blocks:
        yield "no blocks"
    types: list[Any] = [type(found.is_normalised)]
    if types != [bool]:
        yield f"is_normalised {found.is_normalised!r}"
    for block in found.blocks:
        types = [type(value) for value in vars(block).values()]
        if types != [str, str, int, bool, dict]:
            yield f"a block {block}"
        elif not _NAME.fullmatch(block.name) or block.kind not in (SPARSE, DENSE) or block.n_columns < 1:
            yield f"a block {block.name!r} of kind {block.kind!r} and {block.n_columns} columns"
    if len({block.name for block in found.blocks}) < len(found.blocks):
        yield "two blocks of one name"


def _shape(path: Path) -> tuple[int, int]:
    return matrices.read_shape(path) if path.suffix == ".npz" else matrices.read_dense_shape(path)


def _unit_rows(X: sp.csr_matrix) -> sp.csr_matrix:
    """Rows of length 1, but for empty ones."""
    n = np.diff(X.indptr)
    rows = np.repeat(np.arange(len(n)), n)
    lengths = np.sqrt(np.bincount(rows, X.data.astype(np.float64) ** 2, len(n)))
    lengths[lengths == 0] = 1
    return sp.csr_matrix(((X.data / lengths[rows]).astype(np.float32), X.indices, X.indptr), shape=X.shape)
