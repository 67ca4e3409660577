"""Sparse matrices from files that nobody vouches for, checked here so that no later stage need doubt them."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, NamedTuple

import numpy as np
import scipy.sparse as sp

from ..errors import DisentangleError, excerpt
from ..runtime import memory
from . import files, npz
from .compressed import check_arrays, matrix_of
from .npz import MAX_SIZE, Header

_SPARSE = "sparse matrix saved by scipy.sparse.save_npz"
# Members of a file that are no array of a matrix.
_SCALARS = ("format", "shape")
# The arrays of each format that scipy saves, values first, and how many dimensions values have.
_ARRAYS = {
    "csr": ("data", "indices", "indptr"),
    "csc": ("data", "indices", "indptr"),
    "bsr": ("data", "indices", "indptr"),
    "coo": ("data", "row", "col"),
    "dia": ("data", "offsets"),
}
_DIMENSIONS = {"csr": 1, "csc": 1, "bsr": 3, "coo": 1, "dia": 2}
# Of scipy's way from diagonals to coordinates: places, masks and values of all that diagonals have room for.
_BYTES_PER_PLACE = 28
# Of scipy's way from a dense block to a sparse one, for each value.
_BYTES_PER_VALUE = 40
_BLOCK = 1 << 20  # values
_INT32 = np.iinfo(np.int32)
# PECOS adds up squares in float32: those of an instance, and those of the sum of a label's instances.
LARGEST_NORM = math.sqrt(float(np.finfo(np.float32).max))


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
        If the file is missing, not regular, no such matrix, damaged, not numeric, does not fit into memory,
        or holds NaN, infinite or too large values.
    """
    with _opened(path, _SPARSE) as file, _sentences(path, _SPARSE):
        matrix = sp.csr_matrix(read_sparse(path, file).matrix)
    return _canonical(path, matrix)


@contextmanager
def _opened(path: Path, what: str) -> Iterator[BinaryIO]:
    expected = f"a {what}"
    if not os.path.exists(path):  # False also for a name too long for a file system
        raise DisentangleError(f"missing file {path}: expected {expected}")
    with files.opened(path, expected) as file:
        if not file.peek(1):  # type: ignore[attr-defined]
            raise DisentangleError(f"{path} is empty: expected {expected}")
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


class Read(NamedTuple):
    """A sparse matrix as it was saved, but for values cast to float32 and indices to int32 where they fit.

    Attributes
    ----------
    matrix : spmatrix
        Of the format it was saved in; of compressed ones indices are in range.
    dtype : dtype
        Of the values in the file.
    is_plain : bool
        Whether the file is as PECOS reads it: not compressed, its format told in bytes.
    """

    matrix: sp.spmatrix
    dtype: np.dtype
    is_plain: bool


def read_sparse(
    path: Path, file: BinaryIO, is_vouched: bool = False, budget: memory.Budget = memory.UNLIMITED
) -> Read:
    """What `scipy.sparse.save_npz` wrote; nothing is ever unpickled.

    Parameters
    ----------
    path : Path
        For messages.
    file : binary file
    is_vouched : bool
        Whether the file's digest has been compared, so that zip's checksums need not be.
    budget : Budget

    Raises
    ------
    DisentangleError
        If it does not fit into memory.
    Exception
        Of any kind if it is no such file, as zipfile, zlib, numpy and scipy each have their own.
    """
    with zipfile.ZipFile(file) as archive:
        headers = npz.headers(archive)
        shape = _shape(archive, headers)
        form = _format(archive, headers)
        is_packed = any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist())
        is_plain = headers["format"].dtype.kind == "S" and not is_packed
        values, *indices = names = _ARRAYS[form]
        for name in names:
            _check_array(name, headers[name], _DIMENSIONS[form] if name == values else 1)
        if not (is_plain and budget.limit is not None):
            memory.require(_conversion(form, shape, headers), f"{path}, once unpacked,")

        def read(name: str) -> np.ndarray:
            if is_vouched and is_plain and len(headers[name].shape) == 1:
                return npz.read_plain_array(file, archive.getinfo(f"{name}.npy"), headers[name], budget)
            return npz.read_array(archive, name)

        # Before any conversion, which would add up values in their own type.
        arrays = [_as_float32(read(values))]
        n = headers[indices[0]].count
        arrays += [_as_int32(name, read(name), n) for name in indices]
    kind, dtype = getattr(sp, f"{form}_matrix"), headers[values].dtype
    # scipy trusts indices, even when it converts: check them before anything follows them.
    if form in ("csr", "csc"):
        own = arrays[0], arrays[1], arrays[2]
        check_arrays(*own, shape if form == "csr" else shape[::-1])
        return Read(matrix_of(kind, *own, shape), dtype, is_plain)
    matrix = kind((arrays[0], tuple(arrays[1:])) if form == "coo" else tuple(arrays), shape=shape)
    if form == "bsr":
        matrix.check_format(full_check=True)
    return Read(matrix, dtype, is_plain)


def _shape(archive: zipfile.ZipFile, headers: dict[str, Header]) -> tuple[int, int]:
    header = _named(headers, "shape")
    if header.shape != (2,) or header.dtype.kind not in "iu":
        raise ValueError(f"a shape of shape {header.shape} and type {header.dtype}")
    n_rows, n_columns = npz.read_array(archive, "shape").tolist()
    if min(n_rows, n_columns) < 0:
        raise ValueError(f"a shape of {n_rows} x {n_columns}")
    return n_rows, n_columns


def _format(archive: zipfile.ZipFile, headers: dict[str, Header]) -> str:
    header = _named(headers, "format")
    # Python 2 saved it as bytes, as does today's scipy.
    if header.count != 1 or header.dtype.kind not in "SU" or header.dtype.itemsize > 64:
        raise ValueError(f"a format of shape {header.shape} and type {header.dtype}")
    form = npz.read_array(archive, "format").item()
    form = form.decode("ascii") if isinstance(form, bytes) else form
    if form not in _ARRAYS:
        raise ValueError(f"the format {form!r}")
    for name in _ARRAYS[form]:
        _named(headers, name)
    return form


def _named(headers: dict[str, Header], name: str) -> Header:
    if name not in headers:
        raise ValueError(f"it holds no array {name!r}")
    return headers[name]


def _check_array(name: str, header: Header, n_dimensions: int) -> None:
    kinds = "fiub" if name == "data" else "iu"
    if header.dtype.kind not in kinds:
        raise ValueError(f"{'values' if name == 'data' else name} of type {header.dtype}")
    if len(header.shape) != n_dimensions:
        raise ValueError(f"{name} of shape {header.shape}")


def _conversion(form: str, shape: tuple[int, int], headers: dict[str, Header]) -> int:
    """Bytes that it takes to make a CSR matrix of what a file holds, all in all.

    Raises
    ------
    ValueError
        If a side is too long.
    """
    if max(shape) > MAX_SIZE:
        raise ValueError(f"shape {shape}, more than {MAX_SIZE} on a side")
    values, *indices = (headers[name] for name in _ARRAYS[form])
    n = values.count
    width = 4 if n <= _INT32.max else 8
    kept = 4 * n + width * sum(header.count for header in indices)
    # One array at a time is there in its own type, too.
    cast = max(0 if header.dtype == np.float32 else header.n_bytes for header in (values, *indices))
    lengths = width * shape[0]  # of rows
    if form == "csr":
        return kept + max(cast, n, lengths)
    made = lengths + (_BYTES_PER_PLACE if form == "dia" else 8 + width) * n
    return kept + max(cast, made + lengths)


def _as_float32(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # what becomes infinite is refused
        return values.astype(np.float32, copy=False)


def _as_int32(name: str, indices: np.ndarray, n: int) -> np.ndarray:
    """Indices, or pointers to `n` of them, as PECOS has them; where int32 cannot count them, int64."""
    if not len(indices):
        return indices.astype(np.int32)
    low, high = int(indices.min()), int(indices.max())
    lowest, highest = (0, n) if name == "indptr" else (_INT32.min, _INT32.max)
    if low < lowest or high > highest:
        raise ValueError(f"{name} from {low} to {high}")
    return indices.astype(np.int32 if high <= _INT32.max else np.int64, copy=False)


def _canonical(path: Path, matrix: sp.csr_matrix) -> sp.csr_matrix:
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    if not np.isfinite(matrix.data).all():
        row, column, value = _first(matrix, ~np.isfinite(matrix.data))
        raise DisentangleError(f"{path} must hold finite values, got {value} in row {row}, column {column}")
    if (found := largest_norm(matrix)).norm > LARGEST_NORM:
        raise DisentangleError(
            f"{path} must hold rows whose squares add up to at most {LARGEST_NORM**2:.2g}, float32's limit, "
            f"got {found.place()}"
        )
    return matrix


class LargestNorm(NamedTuple):
    """The row of largest norm, the root of its sum of squares, and the largest of its values.

    `entry` is that value's position in the matrix's data.
    """

    norm: float
    row: int
    entry: int
    column: int
    value: float

    def place(self) -> str:
        return f"{self.value:g} in row {self.row}, column {self.column}"

    def problem(self, path: Path, n_rows: int) -> str | None:
        """What to say if the sum of a label's rows could be too large for PECOS to normalise."""
        most = LARGEST_NORM / max(1, n_rows)
        if self.norm <= most:
            return None
        return (
            f"{path} must hold rows whose sum can be squared in float32, each of a length of at most "
            f"{most:.2g} for {n_rows:,} rows, got {self.place()}"
        )


NO_NORM = LargestNorm(0.0, 0, 0, 0, 0.0)


def largest_norm(matrix: sp.csr_matrix) -> LargestNorm:
    """What could overflow in PECOS; `NO_NORM` if it is plain that no sum of `MAX_SIZE` rows will.

    Parameters
    ----------
    matrix : csr_matrix, float32
        Finite values.
    """
    if matrix.nnz == 0:
        return NO_NORM
    largest = max(float(matrix.data.max()), -float(matrix.data.min()))
    lengths = np.diff(matrix.indptr)
    if largest * math.sqrt(lengths.max()) < LARGEST_NORM / MAX_SIZE:
        return NO_NORM
    rows = np.repeat(np.arange(len(lengths)), lengths)
    squares = np.bincount(rows, matrix.data.astype(np.float64) ** 2)
    row = int(np.argmax(squares))
    start, end = matrix.indptr[row], matrix.indptr[row + 1]
    entry = int(start) + int(np.argmax(np.abs(matrix.data[start:end])))
    place = int(matrix.indices[entry]), float(matrix.data[entry])
    return LargestNorm(math.sqrt(squares[row]), row, entry, *place)


def repairs(path: Path) -> Iterator[str]:
    """What `load_sparse` puts right in a file that it accepts, one sentence each."""
    with _opened(path, _SPARSE) as file, _sentences(path, _SPARSE):
        loaded, dtype, _ = read_sparse(path, file)
    if loaded.format != "csr":
        yield f"{path.name}: {loaded.format} becomes csr"
    if dtype != np.float32:
        yield f"{path.name}: values of type {dtype} become float32"
    if loaded.format == "csr" and not loaded.has_sorted_indices:
        yield f"{path.name}: indices are not sorted, they will be"
    stored, zeros = loaded.nnz, int((loaded.data == 0).sum())
    if loaded.format == "dia":  # what fills its diagonals up is not stored
        stored, zeros = loaded.tocsr().nnz, 0
    matrix = sp.csr_matrix(loaded)
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
        If it is missing or damaged.
    """
    with _opened(path, _SPARSE) as file, _sentences(path, _SPARSE), zipfile.ZipFile(file) as archive:
        # Values become float32, indices int32.
        return sum(4 * one.count for name, one in npz.headers(archive).items() if name not in _SCALARS)


def locate(indptr: np.ndarray, wrong: np.ndarray) -> tuple[int, int]:
    """Row and position of the first of a CSR matrix's entries that the mask `wrong` marks."""
    entry = int(np.argmax(wrong))
    return int(np.searchsorted(indptr, entry, side="right")) - 1, entry


def _first(matrix: sp.csr_matrix, wrong: np.ndarray) -> tuple[int, int, float]:
    """Row, column and value of the first entry that the mask `wrong` marks."""
    row, entry = locate(matrix.indptr, wrong)
    return row, int(matrix.indices[entry]), float(matrix.data[entry])


def read_shape(path: Path) -> tuple[int, int]:
    """Shape of a sparse matrix in an npz file, without reading the rest.

    Raises
    ------
    DisentangleError
        If the file does not say.
    """
    with _opened(path, _SPARSE) as file, _sentences(path, _SPARSE), zipfile.ZipFile(file) as archive:
        return _shape(archive, npz.headers(archive))


def read_dense_shape(path: Path) -> tuple[int, int]:
    """Shape of a dense matrix in an npy file, without reading the rest.

    Raises
    ------
    DisentangleError
        If the file does not say, or holds no matrix.
    """
    what = "matrix saved by numpy.save"
    with _opened(path, what) as file, _sentences(path, what):
        shape = npz.read_header(file, os.fstat(file.fileno()).st_size).shape
        if len(shape) != 2:
            raise ValueError(f"an array of shape {shape}")
        return shape


def load_any(path: Path) -> sp.csr_matrix:
    """A matrix as `load_sparse` returns it, from a file of scipy's or, dense, of numpy's (npy or npz).

    Raises
    ------
    DisentangleError
        As `load_sparse`.
    """
    what = "matrix saved by scipy.sparse.save_npz or numpy.save"
    with _opened(path, what) as file, _sentences(path, what):
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                members, n_arrays = archive.infolist(), len(npz.headers(archive))
                if n_arrays == 1:
                    with archive.open(members[0]) as array:
                        return _canonical(path, _sparse(path, array, members[0].file_size))
            matrix = sp.csr_matrix(read_sparse(path, file).matrix)
        else:
            file.seek(0)
            matrix = _sparse(path, file, os.fstat(file.fileno()).st_size)
    return _canonical(path, matrix)


def _sparse(path: Path, file: IO[bytes], size: int) -> sp.csr_matrix:
    """A dense array in numpy's format as CSR matrix; read in blocks of rows, so that zeros take no memory."""
    header = npz.read_header(file, size)
    if len(header.shape) != 2 or header.dtype.kind not in "fiub":
        raise ValueError(f"an array of shape {header.shape} and type {header.dtype}")
    if max(header.shape) > MAX_SIZE:
        raise ValueError(f"shape {header.shape}, more than {MAX_SIZE} on a side")
    # Where columns follow one another, they are the rows of the transposed matrix.
    n_rows, n_columns = header.shape[::-1] if header.is_fortran else header.shape
    n = max(1, _BLOCK // max(1, n_columns))
    needed = _BYTES_PER_VALUE * min(n, n_rows) * n_columns + 12 * sum(header.shape)
    memory.require(needed, f"{path}, once unpacked,")
    if 0 in header.shape:
        return sp.csr_matrix(header.shape, dtype=np.float32)
    blocks, held = [], 0
    for start in range(0, n_rows, n):
        shape = min(n, n_rows - start), n_columns
        values = np.frombuffer(file.read(math.prod(shape) * header.dtype.itemsize), header.dtype)
        blocks.append(sp.csr_matrix(_as_float32(values).reshape(shape)))
        # Each block is there once more in the whole.
        held += 8 * blocks[-1].nnz
        memory.require(needed + held, f"{path}, once unpacked,")
    whole = sp.vstack(blocks, format="csr")
    return whole.T.tocsr() if header.is_fortran else whole


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
