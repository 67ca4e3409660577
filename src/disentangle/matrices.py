"""Sparse matrices from files that nobody vouches for, checked here so that no later stage need doubt them."""

from __future__ import annotations

import hashlib
import io
import math
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import scipy.sparse as sp

from . import files, memory
from .errors import DisentangleError, excerpt

# Indices are int32 in PECOS and the kernels, and scipy's loops never end where the last one is 2^31 - 1.
MAX_SIZE = 2**31 - 2
# Sums over millions of instances of the squares of such values are numbers in float32, as PECOS needs them.
MAX_VALUE = 1e12
_WHAT = "a sparse matrix saved by scipy.sparse.save_npz"
# What it takes to make a float32 CSR matrix of one in another format: bytes per stored value, besides its
# arrays. Values are cast, lists of rows and columns made and sorted; diagonals come with masks as well.
_CONVERSION = {"csr": 8, "csc": 24, "coo": 32, "bsr": 40, "dia": 56}
_DENSE_CONVERSION = 40
_PER_ROW = 24
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
# numpy reads a header in one go, of whatever size it claims; its own have some hundred bytes.
_MAX_HEADER = 1 << 16
# Deflate, which numpy packs by, shrinks to a thousandth at best.
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_MAX_RATIO = 1100


def sha256(path: Path) -> str:
    """Sha256 of a file's content."""
    sha = hashlib.sha256()
    with files.opened(path) as file:
        for block in files.blocks(file):
            sha.update(block)
    return sha.hexdigest()


def load_sparse(path: Path) -> sp.csr_matrix:
    """A sparse matrix from an npz file, in canonical form.

    Parameters
    ----------
    path : Path
        What `scipy.sparse.save_npz` wrote, in any of its formats; nothing is ever unpickled.

    Returns
    -------
    csr_matrix, float32
        Indices sorted and unique, no explicit zeros.

    Raises
    ------
    DisentangleError
        If the file is missing, no such matrix, damaged, not numeric, or holds NaN, infinite or
        too large values.
    """
    with _opened(path, _WHAT) as file:
        _check_size(path, file)
        loaded = sp.load_npz(file)
        if loaded.dtype.kind not in "fiub":
            raise ValueError(f"values of type {loaded.dtype}")
        # scipy trusts indices, even when it converts: check them before anything follows them.
        if loaded.format in ("csr", "csc", "bsr"):
            loaded.check_format(full_check=True)
        matrix = sp.csr_matrix(_as_float32(loaded))
    return _canonical(path, matrix)


@contextmanager
def _opened(path: Path, what: str) -> Iterator[BinaryIO]:
    """A file of a matrix; whatever reading it raises is one sentence."""
    with files.opened(path, what) as file:
        if os.fstat(file.fileno()).st_size == 0:
            raise DisentangleError(f"{path} is empty: expected {what}")
        with _sentences(path, what):
            yield file


@contextmanager
def _sentences(path: Path, what: str) -> Iterator[None]:
    """Make one sentence of whatever reading a damaged file raises."""
    try:
        yield
    except (DisentangleError, MemoryError):
        raise
    except Exception as error:  # zipfile, zlib, numpy and scipy each have their own
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DisentangleError(f"{path} is damaged or no {what}: {excerpt(reason)}") from error


def _as_float32(values: Any) -> Any:
    """An array or sparse matrix cast; before any conversion, which adds up values in their own type."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def _canonical(path: Path, matrix: sp.csr_matrix) -> sp.csr_matrix:
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    if not np.isfinite(matrix.data).all():
        row, column, value = _first(matrix, ~np.isfinite(matrix.data))
        raise DisentangleError(f"{path} must hold finite values, got {value} in row {row}, column {column}")
    if (wrong := np.abs(matrix.data) > MAX_VALUE).any():
        row, column, value = _first(matrix, wrong)
        raise DisentangleError(
            f"{path} must hold values of up to {MAX_VALUE:g}, got {value:g} in row {row}, column {column}: "
            "normalise them"
        )
    return matrix


def repairs(path: Path) -> Iterator[str]:
    """What `load_sparse` puts right in a file that it accepts, one sentence each."""
    with files.opened(path, _WHAT) as file:
        loaded = sp.load_npz(file)
    if loaded.format != "csr":
        yield f"{path.name}: {loaded.format} becomes csr"
    if loaded.dtype != np.float32:
        yield f"{path.name}: values of type {loaded.dtype} become float32"
    if loaded.format == "csr" and not loaded.has_sorted_indices:
        yield f"{path.name}: indices are not sorted, they will be"
    entries = loaded.tocoo()
    zeros = int((entries.data == 0).sum())
    matrix = sp.csr_matrix(_as_float32(entries))
    stored = entries.nnz
    matrix.sum_duplicates()
    if twice := stored - matrix.nnz:
        yield f"{path.name}: values given again for the same row and column: {twice:,}; they are added up"
    if zeros:
        yield f"{path.name}: zeros that are stored: {zeros:,}; they are dropped"


def unpacked_size(path: Path) -> int:
    """Bytes of a sparse matrix in an npz file once it is in memory, as its arrays' headers tell.

    Raises
    ------
    DisentangleError
        If it is damaged.
    """
    with _opened(path, _WHAT) as file:
        return sum(size for _, size in _arrays(file).values())


def _arrays(file: BinaryIO) -> dict[str, tuple[tuple[int, ...], int]]:
    """Shape and size in bytes of each array in an npz file, as its headers tell; nothing else is read."""
    found: dict[str, tuple[tuple[int, ...], int]] = {}
    of_file = os.fstat(file.fileno()).st_size
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            if member.filename in found:
                raise ValueError(f"{member.filename} is there twice")
            with archive.open(member) as array:
                shape, dtype = _header(io.BytesIO(array.read(_MAX_HEADER)))
            size, claimed = member.file_size, math.prod(shape) * dtype.itemsize
            packed = min(member.compress_size, of_file)
            if claimed > size and not dtype.hasobject:
                raise ValueError(f"{member.filename} claims {claimed:,} bytes and has {size:,}")
            if member.compress_type in _PACKED and size > _MAX_RATIO * packed:
                raise ValueError(f"{member.filename} claims {size:,} bytes in {packed:,}")
            found[member.filename] = shape, max(size, claimed)
    file.seek(0)
    return found


def _header(start: io.BytesIO) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of the array whose file starts like this."""
    try:
        shape, _, dtype = _HEADERS[np.lib.format.read_magic(start)](start)
    except (MemoryError, RecursionError, KeyError):  # of Python's parser, or of a version that is not known
        raise ValueError("the header of an array cannot be read") from None
    return shape, dtype


def _check_size(path: Path, file: BinaryIO) -> None:
    """Refuse a sparse matrix that cannot be read and made a CSR one in the memory that there is, or at all.

    numpy sets the memory aside before it reads, so that a few hundred bytes could ask for any amount.
    """
    arrays = _arrays(file)
    memory.require(sum(size for _, size in arrays.values()), f"{path}, once unpacked,")
    n_rows, n_columns = _shape_in(file)
    if max(n_rows, n_columns) > MAX_SIZE:
        raise ValueError(f"a shape of {n_rows} x {n_columns}, more than {MAX_SIZE} on a side")
    with zipfile.ZipFile(file) as archive, archive.open("format.npy") as array:
        kind = str(np.lib.format.read_array(array, allow_pickle=False).item(), "ascii")
    file.seek(0)
    n_values = math.prod(arrays["data.npy"][0])
    if kind == "dia":  # as many as each diagonal may have, whether it is one or not
        n_values = max(n_values, math.prod(arrays["offsets.npy"][0]) * arrays["data.npy"][0][-1])
    needed = (
        sum(size for _, size in arrays.values()) + _CONVERSION.get(kind, 0) * n_values + _PER_ROW * n_rows
    )
    memory.require(needed, f"{path}, once unpacked and made rows of values,")


def _shape_in(file: BinaryIO) -> tuple[int, int]:
    with zipfile.ZipFile(file) as archive, archive.open("shape.npy") as array:
        start = io.BytesIO(array.read(_MAX_HEADER))
        shape, dtype = _header(start)
        if shape != (2,) or dtype.kind not in "iu":
            raise ValueError(f"a shape of shape {shape} and type {dtype}")
        n_rows, n_columns = np.frombuffer(start.read(2 * dtype.itemsize), dtype).tolist()
    file.seek(0)
    if min(n_rows, n_columns) < 0:
        raise ValueError(f"a shape of {n_rows} x {n_columns}")
    return n_rows, n_columns


def locate(indptr: np.ndarray, wrong: np.ndarray) -> tuple[int, int]:
    """Row and position of the first of a CSR matrix's entries that the mask `wrong` marks."""
    entry = int(np.argmax(wrong))
    return int(np.searchsorted(indptr, entry, side="right")) - 1, entry


def _first(matrix: sp.csr_matrix, wrong: np.ndarray) -> tuple[int, int, float]:
    """Row, column and value of the first entry that the mask `wrong` marks."""
    row, entry = locate(matrix.indptr, wrong)
    return row, int(matrix.indices[entry]), float(matrix.data[entry])


def flat(matrix: sp.csr_matrix | sp.csc_matrix) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A compressed matrix as the kernels take it: index pointers int64, indices int32, values float32."""
    return (
        matrix.indptr.astype(np.int64),
        matrix.indices.astype(np.int32, copy=False),
        matrix.data.astype(np.float32, copy=False),
    )


def one_per_row(columns: np.ndarray, n_columns: int) -> sp.csr_matrix:
    """Membership: float32 of shape (len(columns), n_columns), with one 1 per row, in the column given."""
    n = len(columns)
    return sp.csr_matrix((np.ones(n, np.float32), columns, np.arange(n + 1)), shape=(n, n_columns))


def read_shape(path: Path) -> tuple[int, int]:
    """Shape of a sparse matrix in an npz file, without reading the rest.

    Raises
    ------
    DisentangleError
        If the file does not say.
    """
    with _opened(path, _WHAT) as file:
        return _shape_in(file)


def load_any(path: Path) -> sp.csr_matrix:
    """A matrix as `load_sparse` returns it, from a file of scipy's or, dense, of numpy's (npy or npz).

    Raises
    ------
    DisentangleError
        As `load_sparse`.
    """
    with _opened(path, "a matrix saved by scipy.sparse.save_npz or numpy.save") as file:
        is_npz = zipfile.is_zipfile(file)
        file.seek(0)
        arrays = _arrays(file) if is_npz else {}
        if len(arrays) <= 1:
            return _canonical(path, _from_dense(path, file, arrays))
    return load_sparse(path)


def _from_dense(path: Path, file: BinaryIO, arrays: dict[str, Any]) -> sp.csr_matrix:
    """The one array of an npz file, or that of a npy file (no arrays), as a sparse matrix."""
    if arrays:
        ((shape, size),) = arrays.values()
    else:
        shape, dtype = _header(io.BytesIO(file.read(_MAX_HEADER)))
        size = math.prod(shape) * dtype.itemsize
        file.seek(0)
    if len(shape) != 2 or max(shape) > MAX_SIZE or min(shape) < 0:
        raise ValueError(f"an array of shape {shape}")
    # scipy lists row and column of each value.
    needed = size + _DENSE_CONVERSION * math.prod(shape) + _PER_ROW * shape[0]
    memory.require(needed, f"{path}, once unpacked and made sparse,")
    loaded = np.load(file, allow_pickle=False)
    array = next(iter(loaded.values())) if arrays else loaded
    if array.ndim != 2 or array.dtype.kind not in "fiub":
        raise ValueError(f"an array of shape {array.shape} and type {array.dtype}")
    return sp.csr_matrix(_as_float32(array))


def load_labels(path: Path, load: Callable[[Path], sp.csr_matrix] = load_sparse) -> sp.csr_matrix:
    """A 0/1 matrix from a file, as `load` returns it.

    Raises
    ------
    DisentangleError
        As `load`, and for any stored value but 1.
    """
    Y = load(path)
    if (wrong := Y.data != 1).any():
        row, column, value = _first(Y, wrong)
        raise DisentangleError(f"{path} must hold only 0 and 1, got {value:g} in row {row}, column {column}")
    return Y
