"""PECOS on today's numpy and scipy, beside the functions that stand in for scipy's."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as smat
from scipy.sparse import _sputils

from disentangle.model import compat
from disentangle.model.pecos import smat_util

VALUES = "?bBhHiIlLqQfdgFDG"


def test_pecos_uses_the_functions_of_this_module():
    assert smat_util.cs_matrix is compat.cs_matrix
    assert smat_util.smat.sputils.upcast is compat.upcast


def test_everything_else_of_scipy_stays_as_it_is():
    assert smat_util.smat.csr_matrix is smat.csr_matrix
    with pytest.raises(AttributeError):
        _ = smat_util.smat.no_such_thing


@pytest.mark.parametrize("first", [*VALUES, "e"])
def test_upcast_is_scipys(first):
    for second in VALUES:
        dtypes = np.dtype(first), np.dtype(second)
        assert compat.upcast(*dtypes) is _sputils.upcast(*dtypes)


def test_upcast_refuses_what_no_sparse_matrix_holds():
    with pytest.raises(TypeError, match="a sparse matrix cannot hold"):
        compat.upcast(np.dtype("U3"))


@pytest.mark.parametrize("matrix", [smat_util.csr_matrix, smat_util.csc_matrix])
@pytest.mark.parametrize("index", "bBhHiIlLqQ")
@pytest.mark.parametrize("pointer", "iIlL")
def test_indices_and_indptr_keep_types_of_their_own(matrix, index, pointer):
    dense = np.array([[1.5, 0, 2.5], [0, 0, 0], [0, 3.5, 0]])
    kind = smat.csr_matrix if matrix is smat_util.csr_matrix else smat.csc_matrix
    plain = kind(dense, dtype=np.float32)
    indices, indptr = plain.indices.astype(index), plain.indptr.astype(pointer)
    made = matrix((plain.data, indices, indptr), shape=(3, 3))
    assert type(made) is kind
    assert made.indices.dtype == _sputils.get_index_dtype((indices,))
    assert made.indptr.dtype == _sputils.get_index_dtype((indptr,))
    np.testing.assert_array_equal(made.toarray(), dense)


def test_arrays_are_shared_unless_a_copy_is_asked_for_or_needed():
    plain = smat.identity(3, np.float32, format="csr")
    parts = plain.data, plain.indices, plain.indptr
    for copy in (False, True):
        made = smat_util.csr_matrix(parts, shape=(3, 3), copy=copy)
        for part, original in zip((made.data, made.indices, made.indptr), parts, strict=True):
            assert np.shares_memory(part, original) is not copy
    # numpy 2 raises here where PECOS's own function does the work.
    made = smat_util.csr_matrix(parts, shape=(3, 3), dtype=np.float64)
    assert made.data.dtype == np.float64
    assert not np.shares_memory(made.data, plain.data)
    assert smat_util.csr_matrix((*parts[:2], [0, 1, 2, 3]), shape=(3, 3)).indptr.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("stack", "scipys"),
    [
        (smat_util.vstack_csr, smat.vstack),
        (smat_util.hstack_csr, smat.hstack),
        (smat_util.block_diag_csr, smat.block_diag),
    ],
)
def test_matrices_stack_as_in_scipy(stack, scipys):
    parts = [smat.csr_matrix(np.arange(4).reshape(2, 2), dtype=dtype) for dtype in (np.float32, np.int64)]
    stacked, expected = stack(parts), scipys(parts, format="csr")
    assert stacked.dtype == expected.dtype
    np.testing.assert_array_equal(stacked.toarray(), expected.toarray())
