"""Loops that Python is too slow for, compiled by numba: flat arrays in, flat arrays out.

Public wrappers own the matrices and the checks. A module has what one kind of job needs, so that no job
compiles another one's; they are compiled as the module is imported, so that no timed call is, and kept
beside the source (or in the user's cache folder where that is read-only). Kernels are sequential: what
numba makes parallel by itself takes five times as long to compile. `share` runs them on blocks of rows that
do not depend on one another, so results are the same for any number of threads. Index pointers are int64,
indices int32, scores float32.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numba import float32, int32, int64, njit

from ..errors import excerpt
from ..runtime.threads import allowed, in_threads

logger = logging.getLogger(__name__)

POINTERS, INDICES, SCORES = int64[::1], int32[::1], float32[::1]

# Blocks per thread: some even out parts, more even out rows; fewer rows than that are not worth sharing out.
_BLOCKS, _BLOCKS_OF_ROWS = 4, 16
_FEWEST_ROWS = 1024


def kernel(signature: Any) -> Callable[[Callable], Any]:
    """Compile a function for one signature, unless that was done before; threads may run it side by side.

    Where nothing can be kept, or what was kept is damaged, it is compiled for this process alone.
    """

    def compiled(function: Callable) -> Any:
        try:
            dispatcher = njit(nogil=True, cache=True)(function)
            module = function.__module__.rpartition(".")[2]
            if not any(Path(dispatcher.stats.cache_path).glob(f"{module}.{function.__name__}-*.nbi")):
                logger.info("compiling %s, once for an installation", function.__name__)
            dispatcher.compile(signature)
        except Exception as error:  # numba's own, and whatever a damaged file makes of itself
            why = excerpt(f"{type(error).__name__}: {error}")
            logger.info("compiling %s, for this process alone: %s", function.__name__, why)
            dispatcher = njit(nogil=True)(function)
            dispatcher.compile(signature)
        dispatcher.disable_compile()
        return dispatcher

    return compiled


def share(n_rows: int, call: Callable[[int, int], object], threads: int | None = None) -> None:
    """Call with the bounds of each block of rows, in so many threads, or as many as there may be."""
    threads = threads or allowed()
    in_blocks(n_rows, threads if n_rows >= _FEWEST_ROWS else 1, call, n_blocks=_BLOCKS_OF_ROWS)


def in_blocks(
    n: int, threads: int, call: Callable[..., object], *given: object, n_blocks: int = _BLOCKS
) -> None:
    """Call with the bounds of each block of so many parts, and what is given; `n_blocks` per thread."""
    if threads == 1:
        call(0, n, *given)  # of one instance, to hand it to a thread would take longer than the call
        return
    bounds = np.unique(np.linspace(0, n, n_blocks * threads + 1).astype(int)).tolist()
    for _ in in_threads(lambda block: call(*block, *given), pairwise(bounds), threads):
        pass
