"""What became of each test instance: from this any difference of precision or recall can be judged."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from ..storage.saved import Saved

OUTCOMES_FILE = "outcomes.npz"
# Bits of a number hold the ranks.
_MOST_RANKS = 16


@dataclass(frozen=True)
class Outcomes:
    """Which predictions were right, instance by instance.

    Attributes
    ----------
    hits : ndarray of shape (n_instances, k), bool
        Whether the label predicted at each rank, best first, is one of the instance's.
    n_true : ndarray of shape (n_instances,), int32
        Labels that it has.
    """

    hits: np.ndarray
    n_true: np.ndarray

    @classmethod
    def of(cls, Y_true: sp.csr_matrix, Y_pred: np.ndarray) -> Outcomes:
        """From labels as `metrics` takes them."""
        from .metrics import hits  # with a compiler, which comparing runs that are done must not wait for

        return cls(hits(Y_true, Y_pred), np.diff(Y_true.indptr).astype(np.int32))

    def save(self, folder: Path) -> None:
        """Write `OUTCOMES_FILE`: two bytes for an instance's hits, the first rank in the lowest bit."""
        k = self.hits.shape[1]
        if k > _MOST_RANKS:
            raise ValueError(f"outcomes must have at most {_MOST_RANKS} ranks, got {k}")
        packed = (self.hits << np.arange(k)).sum(axis=1).astype(np.uint16)
        np.savez_compressed(folder / OUTCOMES_FILE, hits=packed, k=k, n_true=self.n_true)

    @classmethod
    def load(cls, saved: Saved) -> Outcomes:
        """Read what `save` wrote.

        Raises
        ------
        DisentangleError
            If it is missing or damaged.
        """
        read = saved.arrays(OUTCOMES_FILE, "hits", "k", "n_true")
        packed, k, n_true = read["hits"], read["k"], read["n_true"]
        is_sound = (
            packed.dtype == np.uint16
            and n_true.dtype == np.int32
            and packed.ndim == n_true.ndim == 1
            and len(packed) == len(n_true) > 0
            and k.ndim == 0
            and k.dtype.kind == "i"
            and 0 < k <= _MOST_RANKS
            and n_true.min() > 0
        )
        if not is_sound:
            raise saved.damaged(OUTCOMES_FILE, "expected hits and numbers of labels, found others")
        return cls((packed[:, None] >> np.arange(int(k)) & 1).astype(bool), n_true)
