"""How much memory a job may take, and how its work is cut to fit in."""

from __future__ import annotations

import ctypes
import math
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .errors import DisentangleError
from .params import Limits

# Of a batch: PECOS is a tenth slower on much larger ones, whose results are fresh memory each time.
_MOST_ROWS = 2048
# Below that a prediction would crawl.
_LEAST_BATCH = 1 << 24
_MOST_GIB = 1e6


def resident() -> int:
    """Bytes of memory that this process holds, those apart that it has freed and not given back."""
    with suppress(OSError, AttributeError):  # another C library than glibc: counted as held
        ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Budget:
    """A limit for matching and predicting; PECOS's training takes what it takes.

    Attributes
    ----------
    limit : int or None
        Bytes that the process may hold; None for no limit.
    """

    limit: int | None = None

    @classmethod
    def of(cls, gibibytes: float | None) -> Budget:
        """A limit in GiB.

        Raises
        ------
        DisentangleError
            If it is no positive number, or larger than any machine.
        """
        if gibibytes is None:
            return cls()
        Limits(0.0, _MOST_GIB, is_open=True).check("--max-memory", gibibytes)
        return cls(int(gibibytes * 2**30))

    def require(self, needed: int, what: str) -> None:
        """Raise DisentangleError if so many bytes for `what` are more than the limit."""
        if self.limit is not None and needed > self.limit:
            raise DisentangleError(
                f"--max-memory must be at least {math.ceil(needed / 2**30 * 100) / 100} GiB for {what}, "
                f"got {self.limit / 2**30:g} GiB"
            )

    def slices(self, costs: np.ndarray, kept: int = 0, most_rows: int = _MOST_ROWS) -> Iterator[slice]:
        """Cut rows into batches that fit into what is left of the limit, if there is one.

        Parameters
        ----------
        costs : ndarray of shape (n_rows,), int64
            Bytes that each row takes while it is worked on.
        kept : int
            Bytes that all results take in the end.
        most_rows : int
            Of a batch.

        Yields
        ------
        slice
            At least one row, which may take more than is left.

        Raises
        ------
        DisentangleError
            If the limit leaves next to nothing.
        """
        left: float = math.inf
        if self.limit is not None:
            held = resident() + kept
            self.require(held + _LEAST_BATCH, "predicting with this model")
            left = self.limit - held
        ends = np.cumsum(costs)
        start = 0
        while start < len(costs):
            before = ends[start - 1] if start else 0
            stop = int(np.searchsorted(ends, before + left, side="right"))
            stop = max(start + 1, min(stop, start + most_rows))
            yield slice(start, stop)
            start = stop


UNLIMITED = Budget()
