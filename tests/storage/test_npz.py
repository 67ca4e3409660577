"""Matrices written row block by row block, and the same bytes each time."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from disentangle.storage import npz


@pytest.mark.parametrize("form", ["csr", "csc"])
@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (5, 4), (700, 900)])
def test_a_plain_matrix_is_scipys_to_the_byte(tmp_path: Path, form: str, shape: tuple[int, int]):
    rng = np.random.default_rng(0)
    matrix = sp.random(*shape, 0.6, form, np.float32, rng)  # the largest has more than a block's bytes
    sp.save_npz(tmp_path / "scipy.npz", matrix, compressed=False)
    npz.save_plain(tmp_path / "ours.npz", matrix)
    assert (tmp_path / "ours.npz").read_bytes() == (tmp_path / "scipy.npz").read_bytes()


@given(
    rows=st.lists(st.lists(st.integers(0, 9), max_size=4), max_size=12),
    size=st.integers(1, 5),
)
def test_blocks_make_the_matrix_that_they_are_blocks_of(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[int]], size: int
):
    path = tmp_path_factory.mktemp("npz") / "m.npz"
    dense = np.zeros((len(rows), 10), np.float32)
    for row, columns in enumerate(rows):
        dense[row, columns] = 1.5
    matrix = sp.csr_matrix(dense)
    with npz.Writer(path) as writer:
        for start in range(0, len(rows), size):
            writer.append(matrix[start : start + size])
        writer.finish(10)
    assert (writer.n_rows, writer.nnz) == (len(rows), matrix.nnz)
    assert writer.n_columns_seen == max((max(row) + 1 for row in rows if row), default=0)
    loaded = sp.load_npz(path)
    assert loaded.dtype == np.float32
    assert loaded.toarray().tolist() == dense.tolist()
    once = path.read_bytes()
    npz.save(path, matrix)
    assert path.read_bytes() == once


def test_zeros_and_repetitions_are_put_right(tmp_path: Path):
    block = sp.csr_matrix(([1.0, 2.0, 0.0, 4.0], [2, 2, 1, 0], [0, 4]), shape=(1, 3))
    with npz.Writer(tmp_path / "m.npz") as writer:
        writer.append(block)
        writer.finish(3)
    loaded = sp.load_npz(tmp_path / "m.npz")
    assert loaded.indices.tolist() == [0, 2]
    assert loaded.data.tolist() == [4, 3]


def test_nothing_is_left_of_one_that_was_given_up(tmp_path: Path):
    with npz.Writer(tmp_path / "m.npz") as writer:
        writer.append(sp.identity(3, format="csr"))
        # Nor while it is made, so that a kill leaves nothing either.
        assert list(tmp_path.iterdir()) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<i8", "u2"])
def test_a_plain_array_is_read_as_zip_reads_it(tmp_path: Path, dtype: str):
    path = tmp_path / "m.npz"
    np.savez(path, first=np.zeros(3), values=np.arange(20_000).astype(dtype))
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        header = npz.headers(archive)["values"]
        member = archive.getinfo("values.npy")
        plain = npz.read_plain_array(file, member, header)
        assert plain.dtype == npz.read_array(archive, "values").dtype
        assert plain.tolist() == list(range(20_000))
        path.write_bytes(path.read_bytes()[: member.header_offset + 500])
        with pytest.raises(ValueError, match="fewer values than the 20000"):
            npz.read_plain_array(file, member, header)
