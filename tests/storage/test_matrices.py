"""Matrices from files: what they take is known before it is taken, and nothing hostile is followed."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from disentangle.errors import DisentangleError
from disentangle.runtime import memory
from disentangle.storage import matrices

FORMATS = ["csr", "csc", "coo", "bsr", "dia"]
HUGE = 2**31 - 1


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bytes that were asked for."""
    sizes: list[int] = []
    monkeypatch.setattr(memory, "require", lambda needed, what: sizes.append(needed))
    return sizes


def peak_of(call: Callable[[], Any]) -> int:
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def example(form: str, shape: tuple[int, int], nnz: int) -> sp.spmatrix:
    rng = np.random.default_rng(0)
    if form == "dia":
        return sp.dia_matrix((np.ones((20, shape[1])), np.arange(20)), shape=shape)
    coordinates = rng.integers(0, shape[0], nnz), rng.integers(0, shape[1], nnz)
    matrix = sp.coo_matrix((np.ones(nnz), coordinates), shape=shape)
    return matrix.tobsr((2, 5)) if form == "bsr" else matrix.asformat(form)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(("shape", "nnz"), [((10_000, 2_000), 100_000), ((200_000, 10), 1_000)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_conversion_takes_more_than_was_asked_for_nor_much_less(
    tmp_path: Path, asked: list[int], form: str, shape: tuple[int, int], nnz: int, dtype: type
):
    path = tmp_path / "m.npz"
    sp.save_npz(path, example(form, shape, nnz).astype(dtype))
    peak = peak_of(lambda: matrices.load_sparse(path))
    assert peak < 1.02 * asked[0] + (1 << 19)  # numpy's buffers
    assert asked[0] < (2.7 if form == "dia" else 1.6) * peak  # from 1.18 on scipy takes less for diagonals


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_a_dense_array_is_never_held_whole(tmp_path: Path, asked: list[int], order: str, suffix: str):
    array = np.zeros((3000, 2000), order=order)
    array[::100, ::9] = 7
    path = tmp_path / f"m{suffix}"
    (np.save if suffix == ".npy" else np.savez_compressed)(path, array)
    assert peak_of(lambda: matrices.load_any(path)) < max(asked) < array.nbytes
    assert (matrices.load_any(path) != sp.csr_matrix(array, dtype=np.float32)).nnz == 0


def save(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def raw(form: str, n_rows: int, n_columns: int = 3) -> dict[str, Any]:
    """The arrays of a matrix with three ones, whatever shape it claims."""
    three = np.arange(3, dtype=np.int32)
    more: dict[str, Any] = {"row": three, "col": three, "data": np.ones(3, np.float32)}
    if form == "dia":
        more = {"offsets": three[:1], "data": np.ones((1, 3), np.float32)}
    elif form != "coo":
        more = {"indices": three, "indptr": np.arange(4), "data": np.ones(3, np.float32)}
    if form == "bsr":
        more["data"] = np.ones((3, 1, 1), np.float32)
    return {"format": np.array(form.encode()), "shape": np.array([n_rows, n_columns]), **more}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("shape", [(HUGE, 3), (3, HUGE), (2**30 + 1, 3), (HUGE, HUGE), (2**62, 2**62)])
def test_no_shape_is_larger_than_everything_after_can_bear(tmp_path: Path, form: str, shape: tuple[int, int]):
    path = save(tmp_path / "m.npz", **raw(form, *shape))
    with pytest.raises(DisentangleError, match="more than 1073741824 on a side"):
        matrices.load_sparse(path)


@pytest.mark.parametrize("form", ["coo", "dia"])
def test_rows_are_counted_where_no_array_tells_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
):
    path = save(tmp_path / "m.npz", **raw(form, 2**30))
    monkeypatch.setattr(memory, "_least", lambda: (7 << 30, "on this machine"))
    with pytest.raises(DisentangleError, match=r"m\.npz, once unpacked, needs about 8\.0 GiB .*, 7"):
        matrices.load_sparse(path)


@pytest.mark.parametrize("form", FORMATS)
def test_the_raw_matrices_are_sound_but_for_their_shapes(tmp_path: Path, form: str):
    assert matrices.load_sparse(save(tmp_path / "m.npz", **raw(form, 3))).nnz == 3


SPOILT = [
    ({"data": np.array([1, 2, object()], dtype=object)}, "Python objects"),
    ({"indices": np.array([0.0, 1, 2])}, "indices of type float64"),
    ({"data": np.zeros(3, [("a", "f4"), ("b", "f4")])}, "values of type"),
    ({"data": np.ones((3, 1), np.float32)}, r"data of shape \(3, 1\)"),
    ({"data": np.float32(1)}, r"data of shape \(\)"),
    ({"data": np.array(["1", "2", "3"])}, "values of type <U1"),
    ({"data": np.ones(2, np.float32)}, "damaged"),
    ({"indices": np.array([0, 1, 2**40])}, "indices from 0 to 1099511627776"),
    ({"indices": np.array([0, 1, 2**64 - 1], np.uint64)}, "indices from 0 to 18446744073709551615"),
    ({"indptr": np.array([0, 1, 2, 2**40])}, "indptr from 0 to 1099511627776"),
    ({"indptr": np.array([0, 1, 2, 2**63], np.uint64)}, "damaged"),
    ({"indptr": np.array([0, 3, 1, 3])}, "damaged"),
    ({"indptr": np.zeros(0, np.int64)}, "damaged"),
    ({"shape": np.array([3.0, 3.0])}, "a shape of shape"),
    ({"shape": np.array([3, -3])}, "a shape of 3 x -3"),
    ({"shape": np.array(3)}, "a shape of shape"),
    ({"shape": np.zeros(10**6, np.int64)}, "a shape of shape"),
    ({"format": np.array(b"lil")}, "the format 'lil'"),
    ({"format": np.array(b"\xff\xff\xff")}, "damaged"),
    ({"format": np.array(3)}, "a format of"),
    ({"format": np.array("x" * 10**6)}, "a format of"),
    ({"format": np.array([b"csr", b"csr"])}, "a format of"),
]


@pytest.mark.parametrize(("arrays", "message"), SPOILT)
def test_arrays_that_make_no_matrix_are_a_sentence(tmp_path: Path, arrays: dict[str, Any], message: str):
    path = save(tmp_path / "m.npz", **raw("csr", 3) | arrays)
    for load in (matrices.load_sparse, matrices.load_any):
        with pytest.raises(DisentangleError, match=message) as error:
            load(path)
        assert "\n" not in str(error.value)


def test_other_byte_orders_and_column_order_are_the_same_matrix(tmp_path: Path):
    arrays = raw("csr", 3)
    swapped = {name: arrays[name].astype(arrays[name].dtype.newbyteorder()) for name in ("data", "indices")}
    loaded = matrices.load_sparse(save(tmp_path / "m.npz", **arrays | swapped))
    assert loaded.toarray().tolist() == np.eye(3).tolist()
    fortran = raw("dia", 3) | {"data": np.asfortranarray([[1, 2, 3], [4, 5, 6]]), "offsets": np.array([0, 1])}
    loaded = matrices.load_sparse(save(tmp_path / "m.npz", **fortran))
    assert loaded.toarray().tolist() == [[1, 5, 0], [0, 2, 6], [0, 0, 3]]


def rewritten(path: Path, change: Callable[[str, bytes], bytes], method: int, twice: str = "") -> Path:
    """The same archive with other members."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, change(name, content))
        if twice:
            archive.writestr(twice, members[twice])
    return path


def header(shape: tuple[int, ...], padding: int = 0) -> bytes:
    """The header of a float32 array, in the second version, which may be of gigabytes."""
    content = io.BytesIO()
    described = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_2_0(content, described)
    start, text = content.getvalue()[:8], content.getvalue()[12:].rstrip(b"\n") + b" " * padding + b"\n"
    return start + len(text).to_bytes(4, "little") + text


CHANGES = [
    (lambda name, content: content + b"more", "bytes of values where its header claims"),
    (lambda name, content: content[:-1], "bytes of values where its header claims"),
    (lambda name, content: b"", "damaged"),
    (lambda name, content: b"\x93NUMPY\x03\x00" + content[8:], r"an array in numpy's format \(3, 0\)"),
    (lambda name, content: header((-3,)) + bytes(12), r"an array of shape \(-3,\)"),
    (lambda name, content: header((10**30,)), "bytes of values where its header claims"),
    (lambda name, content: header((3,), 10**6) + bytes(12), "damaged"),
    (lambda name, content: content[:10] + b"(" * 100 + content[110:], "damaged"),
]


@pytest.mark.parametrize(("change", "message"), CHANGES)
def test_members_that_are_no_whole_arrays_are_a_sentence(tmp_path: Path, change: Callable, message: str):
    path = save(tmp_path / "m.npz", **raw("csr", 3))
    only_data = lambda name, content: change(name, content) if name == "data.npy" else content  # noqa: E731
    rewritten(path, only_data, zipfile.ZIP_DEFLATED)
    for load in (matrices.load_sparse, matrices.load_any, matrices.unpacked_size, matrices.read_shape):
        with pytest.raises(DisentangleError, match=message) as error:
            load(path)
        assert "\n" not in str(error.value)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_archive_is_one_that_numpy_could_have_made(tmp_path: Path):
    path = save(tmp_path / "m.npz", **raw("csr", 3))
    rewritten(path, lambda name, content: content, zipfile.ZIP_STORED, twice="data.npy")
    with pytest.raises(DisentangleError, match="two arrays of the name 'data'"):
        matrices.load_sparse(path)
    save(path, **raw("csr", 3))
    rewritten(path, lambda name, content: content, zipfile.ZIP_LZMA)
    with pytest.raises(DisentangleError, match="compressed by method 14"):
        matrices.load_sparse(path)
    save(path, **{f"a{i}": np.zeros(1) for i in range(200)})
    with pytest.raises(DisentangleError, match="200 arrays"):
        matrices.load_any(path)


@pytest.mark.parametrize("value", [1.9e19, -1.9e19, 3e38])
def test_values_whose_squares_overflow_are_refused_where_they_are(tmp_path: Path, value: float):
    path = tmp_path / "m.npz"
    sp.save_npz(path, sp.csr_matrix([[1, 1], [2, value]], dtype=np.float32))
    with pytest.raises(DisentangleError, match=r"squares add up to at most 3\.4e\+38, .* in row 1, column 1"):
        matrices.load_sparse(path)


def test_values_whose_squares_fit_pass(tmp_path: Path):
    path = tmp_path / "m.npz"
    sp.save_npz(path, sp.csr_matrix([[1.2e19, 1.3e19], [0, 1.8e19]], dtype=np.float32))
    assert matrices.load_sparse(path).nnz == 3


NUMBERS = st.sampled_from([np.int32, np.int64, np.uint8, np.uint64, np.float32, np.float64, bool, ">i4"])


@given(
    form=st.sampled_from(FORMATS),
    name=st.sampled_from(["data", "indices", "indptr", "row", "col", "offsets", "shape"]),
    values=st.lists(st.integers(-3, 2**33), max_size=5),
    dtype=NUMBERS,
    flip=st.none() | st.integers(0, 2000),
    end=st.none() | st.integers(1, 2000),
)
@settings(max_examples=300)
def test_whatever_the_arrays_hold_it_is_a_matrix_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory,
    form: str,
    name: str,
    values: list[int],
    dtype: Any,
    flip: int | None,
    end: int | None,
):
    path = tmp_path_factory.mktemp("fuzz") / "m.npz"
    with np.errstate(all="ignore"):
        save(path, **raw(form, 3) | {name: np.array(values, np.int64).astype(dtype)})
    content = bytearray(path.read_bytes()[:end])
    if flip is not None:
        content[flip % len(content)] ^= 1 << flip % 8
    path.write_bytes(content)
    try:
        loaded = matrices.load_any(path)
    except DisentangleError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        loaded.check_format(full_check=True)
        assert loaded.has_canonical_format
