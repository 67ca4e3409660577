"""npz files: their arrays read, none before its header is checked; matrices written, block by block.

Equal matrices give equal bytes.
"""

from __future__ import annotations

import io
import math
import struct
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, BinaryIO

import numpy as np
import scipy.sparse as sp

from ..runtime import memory

_CHUNK = 1 << 24  # bytes
# So few that they are still in the processor's cache when they are written after their checksum.
_BLOCK = 1 << 20  # bytes
# Rows or columns of a matrix. scipy and PECOS count them, a bias and an end in int32, up to where they fail.
MAX_SIZE = 2**30
# numpy's own headers are of 128 bytes.
_MAX_HEADER = 10_000
# A sparse matrix has six.
_MAX_ARRAYS = 100
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@dataclass(frozen=True)
class Header:
    """What a file says of its array.

    Attributes
    ----------
    shape : tuple of int
    is_fortran : bool
        Whether columns follow one another, and not rows.
    dtype : dtype
    start : int
        Where the values begin.
    """

    shape: tuple[int, ...]
    is_fortran: bool
    dtype: np.dtype
    start: int

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    @property
    def n_bytes(self) -> int:
        return self.count * self.dtype.itemsize


def read_header(file: IO[bytes], size: int) -> Header:
    """The header of an array in numpy's format; the file then stands at its first value.

    Parameters
    ----------
    file : binary file
    size : int
        Bytes of the whole.

    Raises
    ------
    ValueError
        If there is no header, or values are Python objects, or other than a whole array follows.
    """
    # A header says how long it is; no more is read than one may be.
    head = io.BytesIO(file.read(_MAX_HEADER))
    version = np.lib.format.read_magic(head)
    if version not in _HEADERS:
        raise ValueError(f"an array in numpy's format {version}")
    try:
        shape, is_fortran, dtype = _HEADERS[version](head)
    except (MemoryError, RecursionError):  # of Python's parser
        raise ValueError("a header that nests too deep") from None
    header = Header(shape, is_fortran, dtype, head.tell())
    if dtype.hasobject:
        raise ValueError("Python objects, which would have to be unpickled")
    if min(shape, default=0) < 0:
        raise ValueError(f"an array of shape {shape}")
    if header.start + header.n_bytes != size:
        raise ValueError(f"{size - header.start} bytes of values where its header claims {header.n_bytes}")
    file.seek(header.start)
    return header


def headers(archive: zipfile.ZipFile) -> dict[str, Header]:
    """The headers of the arrays in an npz file, by their names.

    Raises
    ------
    ValueError
        As `read_header`; if a name is there twice, or an array is compressed as numpy never does.
    """
    found: dict[str, Header] = {}
    if (n := len(archive.infolist())) > _MAX_ARRAYS:
        raise ValueError(f"{n} arrays")
    for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        if name in found:
            raise ValueError(f"two arrays of the name {name!r}")
        if member.compress_type not in _METHODS:
            raise ValueError(f"{name!r} is compressed by method {member.compress_type} of zip")
        with archive.open(member) as file:
            found[name] = read_header(file, member.file_size)
    return found


def read_array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """An array of an npz file, in the machine's byte order; for its size see `headers`."""
    with archive.open(f"{name}.npy") as file:
        array = np.lib.format.read_array(file, allow_pickle=False)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def read_plain_array(
    file: BinaryIO, member: zipfile.ZipInfo, header: Header, budget: memory.Budget = memory.UNLIMITED
) -> np.ndarray:
    """The same of an array that is not compressed, without zip's checksum, which takes as long as reading.

    Parameters
    ----------
    file : binary file
        Whose digest has been compared.
    member : ZipInfo
    header : Header
        Of the member, of one dimension.
    budget : Budget
    """
    file.seek(member.header_offset)
    name_and_extra = struct.unpack("<26x2H", file.read(30))
    file.seek(member.header_offset + 30 + sum(name_and_extra) + header.start)
    # Not numpy's own memory: for huge pages, which it asks for, the kernel may have to move others about.
    if budget.limit is None:
        array = np.frombuffer(bytearray(header.n_bytes), header.dtype)
    else:
        # No view of a larger array, or one of more items: scipy would copy that into memory.
        array = budget.empty(header.count, header.dtype)
    if file.readinto(array.view(np.uint8)) != header.n_bytes:  # type: ignore[attr-defined]
        raise ValueError(f"fewer values than the {header.count} that the header claims")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


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


def save_plain(path: Path, matrix: sp.csr_matrix | sp.csc_matrix) -> None:
    """Write what scipy's `save_npz` does without compression, to the byte, in a third to half of the time.

    Parameters
    ----------
    path : Path
    matrix : csr_matrix or csc_matrix
        Saved as it is; its arrays are not copied.
    """
    arrays = {
        **{"indices": matrix.indices, "indptr": matrix.indptr},
        **{"format": np.array(matrix.format.encode()), "shape": np.array(matrix.shape), "data": matrix.data},
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                header = np.lib.format.header_data_from_array_1_0(array)
                np.lib.format.write_array_header_1_0(file, header)
                values = array.reshape(-1).view(np.uint8)
                for start in range(0, len(values), _BLOCK):
                    file.write(values[start : start + _BLOCK])


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


def save_dense(path: Path, chunks: Iterable[np.ndarray], shape: tuple[int, int], dtype: np.dtype) -> None:
    """Write a dense matrix that comes as chunks of rows, as `numpy.save` does."""
    with path.open("wb") as file:
        header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for chunk in chunks:
            file.write(np.ascontiguousarray(chunk, dtype).tobytes())


class Writer:
    """A matrix written row block by row block; only the lengths of its rows stay in memory.

    Indices and values wait in two files on the target's disk until the number of columns is known. Used as
    a context manager, which closes them.

    Attributes
    ----------
    n_rows, nnz : int
    n_columns_seen, n_columns_used : int
        Highest column that holds a value, plus 1; how many columns hold one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # Without names, so that nothing is left of them however the process ends.
        self._indices = tempfile.TemporaryFile(dir=path.parent)  # noqa: SIM115
        self._values = tempfile.TemporaryFile(dir=path.parent)  # noqa: SIM115
        self._lengths: list[np.ndarray] = []
        self.n_rows = 0
        self.nnz = 0
        self.n_columns_seen = 0
        self._is_used = np.zeros(0, bool)

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._indices.close()
        self._values.close()

    def append(self, block: sp.csr_matrix) -> None:
        """Add rows; values given twice are summed, zeros are left out."""
        block.sum_duplicates()
        block.eliminate_zeros()
        lengths = np.diff(block.indptr)
        # Later there is an index pointer for each row, twice.
        n_rows = self.n_rows + len(lengths)
        memory.require(16 * n_rows, f"{self._path.name} of {n_rows:,} rows")
        self._indices.write(block.indices.astype(np.int32).tobytes())
        self._values.write(block.data.astype(np.float32).tobytes())
        self._lengths.append(lengths)
        self.n_rows += len(lengths)
        self.nnz += block.nnz
        if block.nnz:
            self.n_columns_seen = max(self.n_columns_seen, int(block.indices.max()) + 1)
            self._use(block.indices)

    @property
    def n_columns_used(self) -> int:
        return int(self._is_used.sum())

    def _use(self, columns: np.ndarray) -> None:
        if self.n_columns_seen > len(self._is_used):
            # Memory that nothing is written to is not taken: columns may be few and far between.
            more = np.zeros(max(self.n_columns_seen, 2 * len(self._is_used)), bool)
            more[np.flatnonzero(self._is_used)] = True
            self._is_used = more
        self._is_used[columns] = True

    def finish(self, n_columns: int) -> None:
        """Write the file."""
        indptr = np.concatenate([np.zeros(1, np.int64), *self._lengths])
        np.cumsum(indptr, out=indptr)
        shape = (self.n_rows, n_columns)
        _write(self._path, shape, indptr, _chunks(self._indices), _chunks(self._values))


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    file.seek(0)
    while chunk := file.read(_CHUNK):
        yield chunk
