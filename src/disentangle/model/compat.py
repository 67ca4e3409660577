"""PECOS 1.2.8 on today's numpy and scipy: what it asks of them that has moved or changed.

It asks in one file, `pecos.utils.smat_util`, and is answered the same on all their versions, old ones too.
"""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import scipy.sparse as smat
from numpy.typing import ArrayLike, DTypeLike

# What a sparse matrix holds, in the order in which scipy tries them.
_VALUES = [np.dtype(code).type for code in "?bBhHiIlLqQfdgFDG"]


def upcast(*dtypes: DTypeLike) -> type:
    """`scipy.sparse.sputils.upcast`: the first type of a sparse matrix's values that holds them all."""
    common = np.result_type(*dtypes)
    for value in _VALUES:
        if np.can_cast(common, value):
            return value
    raise TypeError(f"a sparse matrix cannot hold {common}")


def _index_type(array: ArrayLike) -> type:
    """`scipy.sparse.sputils.get_index_dtype` of one array."""
    return np.int32 if np.can_cast(np.asarray(array).dtype, np.int32) else np.int64


def cs_matrix(
    arg1: tuple[ArrayLike, ArrayLike, ArrayLike],
    mat_type: type,
    shape: tuple[int, int],
    dtype: DTypeLike | None = None,
    copy: bool = False,
) -> Any:
    """PECOS's function of this name: a compressed matrix whose `indices` and `indptr` may differ in type.

    numpy 2 takes the `np.array(copy=False)` there for "never copy"; "only if need be" is meant.
    """
    data, indices, indptr = arg1
    to_array = np.array if copy else np.asarray
    made = mat_type(shape, dtype=dtype)
    made.indices = to_array(indices, dtype=_index_type(indices))
    made.indptr = to_array(indptr, dtype=_index_type(indptr))
    made.data = to_array(data, dtype=dtype)
    return made


class _Sparse(ModuleType):
    """`scipy.sparse` with the `sputils` that PECOS knows."""

    sputils = SimpleNamespace(upcast=upcast)

    def __getattr__(self, name: str) -> Any:
        return getattr(smat, name)


def apply(smat_util: ModuleType) -> None:
    """Put PECOS's module right, before anything calls it."""
    vars(smat_util).update(cs_matrix=cs_matrix, smat=_Sparse(smat.__name__))
