"""Sparse matrices to npz files: equal arrays give equal bytes, and rows can be written block by block."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
import scipy.sparse as sp

_CHUNK = 1 << 24  # bytes


def save(target: Path | BinaryIO, matrix: sp.csr_matrix) -> None:
    """Write what `scipy.sparse.load_npz` reads.

    scipy leaves the zip headers to the Python at hand, which dates them, and 3.11 changed them; written
    here, the same arrays give the same bytes.

    Parameters
    ----------
    target : Path or binary file
    matrix : csr_matrix
        Saved with sorted indices, int32, and float32 values.
    """
    matrix = matrix.tocsr(copy=True)
    matrix.sum_duplicates()  # sorts the indices, too
    indices, values = matrix.indices.astype(np.int32), matrix.data.astype(np.float32)
    _write(target, matrix.shape, matrix.indptr, [indices.tobytes()], [values.tobytes()])


def _write(
    target: Path | BinaryIO,
    shape: tuple[int, int],
    indptr: np.ndarray,
    indices: Iterable[bytes],
    values: Iterable[bytes],
) -> None:
    nnz = int(indptr[-1])
    indptr = indptr.astype(np.int64 if nnz > np.iinfo(np.int32).max else np.int32)
    with zipfile.ZipFile(target, "w") as archive:
        _write_array(archive, "indices", (nnz,), np.dtype(np.int32), indices)
        _write_array(archive, "indptr", indptr.shape, indptr.dtype, [indptr.tobytes()])
        _write_array(archive, "format", (), np.dtype("S3"), [b"csr"])
        _write_array(archive, "shape", (2,), np.dtype(np.int64), [np.array(shape, np.int64).tobytes()])
        _write_array(archive, "data", (nnz,), np.dtype(np.float32), values)


def _write_array(
    archive: zipfile.ZipFile, name: str, shape: tuple[int, ...], dtype: np.dtype, chunks: Iterable[bytes]
) -> None:
    header = io.BytesIO()
    described = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, described)
    member = zipfile.ZipInfo(f"{name}.npy")  # dated 1980-01-01, whatever the day
    member.compress_type = zipfile.ZIP_DEFLATED
    size = len(header.getvalue()) + int(np.prod(shape)) * dtype.itemsize
    with archive.open(member, "w", force_zip64=size >= zipfile.ZIP64_LIMIT) as file:
        file.write(header.getvalue())
        for chunk in chunks:
            file.write(chunk)


class Writer:
    """A matrix written row block by row block; only the lengths of its rows stay in memory.

    Indices and values wait in two files beside the target until the number of columns is known. Used as
    a context manager, which removes them whatever happens.

    Attributes
    ----------
    n_rows, nnz : int
    n_columns_seen : int
        Highest column that holds a value, plus 1.
    n_empty_rows : int
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._indices = path.with_name(f"{path.name}.indices").open("w+b")
        self._values = path.with_name(f"{path.name}.values").open("w+b")
        self._lengths: list[np.ndarray] = []
        self.n_rows = 0
        self.nnz = 0
        self.n_columns_seen = 0
        self.n_empty_rows = 0

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in (self._indices, self._values):
            file.close()
            Path(file.name).unlink(missing_ok=True)

    def append(self, block: sp.csr_matrix) -> None:
        """Add rows; values given twice are summed, zeros are left out."""
        block.sum_duplicates()
        block.eliminate_zeros()
        lengths = np.diff(block.indptr)
        self._indices.write(block.indices.astype(np.int32).tobytes())
        self._values.write(block.data.astype(np.float32).tobytes())
        self._lengths.append(lengths)
        self.n_rows += len(lengths)
        self.nnz += block.nnz
        self.n_empty_rows += int((lengths == 0).sum())
        if block.nnz:
            self.n_columns_seen = max(self.n_columns_seen, int(block.indices.max()) + 1)

    def finish(self, n_columns: int) -> None:
        """Write the file."""
        indptr = np.concatenate([np.zeros(1, np.int64), *self._lengths]).cumsum()
        shape = (self.n_rows, n_columns)
        _write(self._path, shape, indptr, _chunks(self._indices), _chunks(self._values))


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    file.seek(0)
    while chunk := file.read(_CHUNK):
        yield chunk
