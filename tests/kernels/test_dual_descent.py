"""What makes the solver fast, and shows in no result."""

import numpy as np
import pytest
from numba import njit

from disentangle.kernels import dual_descent


def test_no_instance_makes_numba_count_who_uses_an_array():
    """An atomic addition each: they took as long as all else that is done for an instance of few terms."""
    pointers, ids, numbers = np.zeros(2, np.int64), np.zeros(1, np.int32), np.zeros(1, np.float32)
    rows = np.zeros(1, np.int32)
    fetch, step = (njit(function.py_func) for function in (dual_descent._fetch, dual_descent._step))
    duals, labels = np.zeros(dual_descent.LANES, np.float32), np.zeros(6 * dual_descent.LANES, np.float32)
    fetch(np.zeros(1, np.int64), 0, pointers, ids, numbers, rows, numbers, duals, labels)
    step(labels, duals, 0, np.float32(1))
    for function, work in ((fetch, "llvm.prefetch"), (step, "fmul")):
        (code,) = function.inspect_llvm().values()
        assert work in code
        assert "call void @NRT_incref" not in code


@pytest.mark.parametrize("n", [16, 96, 1600, 160_000])
def test_sixteen_numbers_are_in_one_cache_line(n):
    lines = njit(dual_descent._lines.py_func)
    address = njit(lambda n: lines(n).ctypes.data)
    assert address(n) % 64 == 0
    assert len(lines(n)) == n
    assert not lines(n).any()
