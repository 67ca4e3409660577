"""Weights of a level's SVMs: kept as they are found, part by part, then put into the order of its nodes."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from ..runtime.memory import Budget
from ..storage.compressed import matrix_of, pick


class Weights:
    """What has been found of a level's weights.

    Parameters
    ----------
    n_svms : int
    budget : Budget
    """

    def __init__(self, n_svms: int, budget: Budget) -> None:
        self._budget, self._n = budget, 0
        self._starts, self._sizes = np.zeros(n_svms, np.int64), np.zeros(n_svms, np.int64)
        self._features, self._values = budget.growing(np.int32), budget.growing(np.float32)

    def add(self, svms: np.ndarray, sizes: np.ndarray, features: np.ndarray, values: np.ndarray) -> None:
        """How many weights each of some SVMs has, the features of these one SVM after another, and they."""
        self._starts[svms], self._sizes[svms] = self._n + sizes.cumsum() - sizes, sizes
        self._n += len(values)
        self._features.append(features)
        self._values.append(values)

    def of_nodes(self, place: np.ndarray, n_features: int, threads: int) -> sp.csc_matrix:
        """The weights of nodes; there can be no more of SVMs then.

        Parameters
        ----------
        place : ndarray of shape (n_nodes,), int
            The SVM of each node.
        n_features : int
            With which the bias is counted.
        threads : int

        Returns
        -------
        csc_matrix of shape (n_features, n_nodes), float32
        """
        indptr = np.concatenate([[0], self._sizes[place].cumsum()])
        made = self._budget.empty(indptr[-1], np.int32), self._budget.empty(indptr[-1], np.float32)
        # An SVM's weights are a piece of what was found.
        found = self._features.array(), self._values.array()
        pick(self._starts[place], indptr, list(zip(found, made, strict=True)), threads)
        features, values = made
        return matrix_of(sp.csc_matrix, values, features, indptr, (n_features, len(place)))
