"""Indices stay int32 however many values there are, and are checked as scipy checks them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from disentangle.storage import compressed, matrices
from disentangle.storage.compressed import check_arrays, columns_of, is_canonical, matrix_of

ARRAYS = np.ones(3, np.float32), np.array([0, 2, 1], np.int32), np.array([0, 2, 2, 3])


@pytest.mark.parametrize(("most", "expected"), [(3, np.int32), (2, np.int64)])
def test_pointers_beyond_int32_leave_indices_as_they_are(
    most: int, expected: type, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(compressed, "_MOST", most)
    found = matrix_of(sp.csr_matrix, *ARRAYS, (3, 4))
    assert np.shares_memory(found.indices, ARRAYS[1])
    assert (found.indices.dtype, found.indptr.dtype) == (np.int32, expected)
    assert found.toarray().tolist() == [[1, 0, 1, 0], [0, 0, 0, 0], [0, 1, 0, 0]]


def test_what_scipy_left_behind_is_left_out():
    values, indices, indptr = ARRAYS
    found = matrix_of(sp.csr_matrix, values, indices, indptr[:2], (1, 4))
    check_arrays(values, indices, indptr[:2], (1, 4))
    assert (found.nnz, len(found.data), len(found.indices)) == (2, 2, 2)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"indptr": [0, 2, 3]}, "index pointers that do not rise from 0 in 3 steps"),
        ({"indptr": [1, 2, 2, 3]}, "index pointers that do not rise"),
        ({"indptr": [0, 2, 1, 3]}, "index pointers that do not rise"),
        ({"indptr": [0, 2, 2, 4]}, "3 values, 3 indices, 4 by the index pointers"),
        ({"values": [1.0, 1.0]}, "2 values, 3 indices"),
        ({"indices": [0, 2, 4]}, "indices from 0 to 4, expected 0 to 3"),
        ({"indices": [-1, 2, 1]}, "indices from -1 to 2"),
    ],
)
def test_what_would_lead_out_of_the_matrix_is_refused(changed: dict[str, list[float]], message: str):
    given = dict(zip(("values", "indices", "indptr"), ARRAYS, strict=True))
    given |= {name: np.array(array) for name, array in changed.items()}
    with pytest.raises(ValueError, match=message):
        check_arrays(**given, sizes=(3, 4))


ROWS = st.lists(st.lists(st.integers(0, 5), max_size=5), max_size=6)


@given(ROWS, st.sampled_from([1, 2, 3, 100]), st.booleans())
def test_canonical_is_what_scipy_calls_so(rows: list[list[int]], block: int, are_sorted: bool):
    rows = [sorted(set(row)) for row in rows] if are_sorted else rows
    indices = np.array([i for row in rows for i in row], np.int32)
    arrays = np.ones(len(indices), np.float32), indices, np.cumsum([0, *map(len, rows)])
    ours, scipys = (matrix_of(sp.csr_matrix, *arrays, (len(rows), 6)) for _ in range(2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compressed, "_BLOCK", block)
        assert is_canonical(ours) == bool(scipys.has_canonical_format)


def test_a_file_of_more_values_than_int32_counts_is_read_with_indices_of_int32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(compressed, "_MOST", 2)
    sp.save_npz(tmp_path / "W.npz", matrix_of(sp.csc_matrix, *ARRAYS, (4, 3)), compressed=False)
    with (tmp_path / "W.npz").open("rb") as file:
        found = matrices.read_sparse(tmp_path / "W.npz", file).matrix
    assert (found.indices.dtype, found.indptr.dtype) == (np.int32, np.int64)
    assert np.load(tmp_path / "W.npz")["indices"].dtype == np.int32


@pytest.mark.parametrize("columns", [[], [2, 0, 2, 4], [1, 1]])
@pytest.mark.parametrize("threads", [1, 3])
def test_columns_in_any_order(columns: list[int], threads: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(compressed, "_PICKED", 2)
    Y = sp.random(9, 5, 0.5, "csc", np.float32, random_state=0)
    ids = np.array(columns, np.int64)
    assert np.array_equal(columns_of(Y, ids, threads).toarray(), Y.toarray()[:, ids])
