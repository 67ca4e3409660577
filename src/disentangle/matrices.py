"""Sparse matrices from files that nobody vouches for, checked here so that no later stage need doubt them."""

from __future__ import annotations

import hashlib
import io
import math
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from .errors import DisentangleError, excerpt

# Indices are int32 in PECOS and in the kernels.
_MAX_SIZE = 2**31 - 1
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
# numpy reads a header in one go, of whatever size it claims; its own have some hundred bytes.
_MAX_HEADER = 1 << 16
# Deflate, which numpy packs by, shrinks to a thousandth at best.
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_MAX_RATIO = 1100


def sha256(path: Path) -> str:
    """Sha256 of a file's content."""
    sha = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                sha.update(block)
    except OSError as error:
        raise DisentangleError(f"cannot read {path}: {error.strerror}") from error
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
    if not path.is_file():
        raise DisentangleError(f"missing file {path}: expected a matrix saved by scipy.sparse.save_npz")
    if path.stat().st_size == 0:
        raise DisentangleError(f"{path} is empty: expected a matrix saved by scipy.sparse.save_npz")
    with _sentences(path, "sparse matrix saved by scipy.sparse.save_npz"):
        _check_size(path)
        loaded = sp.load_npz(path)
        if loaded.dtype.kind not in "fiub":
            raise ValueError(f"values of type {loaded.dtype}")
        if max(loaded.shape) > _MAX_SIZE:
            raise ValueError(f"shape {loaded.shape}, more than {_MAX_SIZE} on a side")
        # scipy trusts indices, even when it converts: check them before anything follows them.
        if loaded.format in ("csr", "csc", "bsr"):
            loaded.check_format(full_check=True)
        _check_memory(path, 8 * loaded.shape[0])  # its row pointers, of which CSC and COO have none
        matrix = sp.csr_matrix(_as_float32(loaded))
    return _canonical(path, matrix)


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
    return matrix


def repairs(path: Path) -> Iterator[str]:
    """What `load_sparse` puts right in a file that it accepts, one sentence each."""
    loaded = sp.load_npz(path)
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
    with _sentences(path, "sparse matrix saved by scipy.sparse.save_npz"):
        return _size_of_arrays(path)


def _size_of_arrays(path: Path) -> int:
    size = 0
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            with archive.open(member) as file:
                shape, dtype = _header(io.BytesIO(file.read(_MAX_HEADER)))
            claimed = math.prod(shape) * dtype.itemsize
            packed = min(member.compress_size, path.stat().st_size)
            if claimed > member.file_size and not dtype.hasobject:
                raise ValueError(f"{member.filename} claims {claimed:,} bytes and has {member.file_size:,}")
            if member.compress_type in _PACKED and member.file_size > _MAX_RATIO * packed:
                raise ValueError(f"{member.filename} claims {member.file_size:,} bytes in {packed:,}")
            size += max(member.file_size, claimed)
    return size


def _header(file: io.BytesIO) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of the array whose file starts like this."""
    shape, _, dtype = _HEADERS[np.lib.format.read_magic(file)](file)
    return shape, dtype


def _check_size(path: Path) -> None:
    """Refuse an npz file whose arrays do not fit into memory.

    numpy sets the memory aside before it reads, so that a few hundred bytes could ask for any amount.
    """
    _check_memory(path, _size_of_arrays(path))


def _check_memory(path: Path, size: int) -> None:
    # Swap is not counted: training in it would never end.
    found = re.search(r"MemAvailable: *(\d+)", Path("/proc/meminfo").read_text())
    free = int(found[1]) * 1024 if found else size
    if size > free:
        raise DisentangleError(
            f"{path} needs {size / 2**30:,.1f} GiB of memory once unpacked, {free / 2**30:,.1f} GiB are free"
        ) from MemoryError()


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
    with _sentences(path, "sparse matrix saved by scipy.sparse.save_npz"):
        with zipfile.ZipFile(path) as archive, archive.open("shape.npy") as file:
            start = io.BytesIO(file.read(_MAX_HEADER))
            shape, dtype = _header(start)
            if shape != (2,) or dtype.kind not in "iu":
                raise ValueError(f"a shape of shape {shape} and type {dtype}")
            n_rows, n_columns = np.frombuffer(start.read(2 * dtype.itemsize), dtype).tolist()
        if min(n_rows, n_columns) < 0:
            raise ValueError(f"a shape of {n_rows} x {n_columns}")
        return n_rows, n_columns


def load_any(path: Path) -> sp.csr_matrix:
    """A matrix as `load_sparse` returns it, from a file of scipy's or, dense, of numpy's (npy or npz).

    Raises
    ------
    DisentangleError
        As `load_sparse`.
    """
    if not path.is_file():
        return load_sparse(path)
    with _sentences(path, "matrix saved by scipy.sparse.save_npz or numpy.save"):
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                is_sparse = len(archive.namelist()) > 1
            if is_sparse:
                return load_sparse(path)
            _check_size(path)
        loaded = np.load(path, allow_pickle=False, mmap_mode="r")
        array = next(iter(loaded.values())) if isinstance(loaded, np.lib.npyio.NpzFile) else loaded
        if array.ndim != 2 or array.dtype.kind not in "fiub":
            raise ValueError(f"an array of shape {array.shape} and type {array.dtype}")
        if max(array.shape) > _MAX_SIZE:
            raise ValueError(f"shape {array.shape}, more than {_MAX_SIZE} on a side")
        _check_memory(path, 40 * array.size + 8 * array.shape[0])  # scipy lists row and column of each value
        matrix = sp.csr_matrix(_as_float32(array))
    return _canonical(path, matrix)


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
