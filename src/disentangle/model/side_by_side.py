"""Training by a solver of our own, which has the labels of a cluster side by side.

PECOS's has one at a time. The SVMs are the same, to the solver's tolerance, where C is 1.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from ..params import SolverParams
from ..runtime.memory import UNLIMITED, Budget
from ..runtime.progress import track
from ..runtime.workers import Workers, workers_of
from ..storage.compressed import Flat, flat
from .mixed import Mixed
from .subproblems import Level
from .weights import Weights

logger = logging.getLogger(__name__)

# An instance is visited for so many labels of its cluster at a time.
_LABELS = 16
# Visits that a call has at least, or it would take longer than they, and at most.
_VISITS = 1 << 11, 1 << 16
# How often those labels, at most, where its cluster is small: they share the cost of picking its instances.
_TIMES = 4


@dataclass(frozen=True)
class _Problem:
    """What the SVMs of levels are trained on.

    Attributes
    ----------
    terms : int64, int32 and float32 arrays
        Of the instances: index pointers, indices and values of a CSR matrix.
    n_features : int
    dense : ndarray of shape (n_instances, n_columns), float32
    columns : ndarray of shape (n_columns,), int32
    labels : list of (ndarray, ndarray)
        The instances of each label of a level: index pointers, int64, and indices, int32.
    clusters : list of ndarray, int64
        Of each label.
    instances : list of (ndarray, ndarray)
        Those that the labels of each cluster are trained on, likewise.
    solver : SolverParams
    lengths : ndarray of shape (n_instances,), float32
        Squared, of instances.
    """

    terms: Flat
    n_features: int
    dense: np.ndarray
    columns: np.ndarray
    labels: list[tuple[np.ndarray, np.ndarray]]
    clusters: list[np.ndarray]
    instances: list[tuple[np.ndarray, np.ndarray]]
    solver: SolverParams
    lengths: np.ndarray

    @cached_property
    def solve(self) -> Callable[..., tuple[np.ndarray, ...]]:
        """What trains some labels, made where it is to do so."""
        from ..kernels import dual_descent

        solver = self.solver
        cost = np.inf if solver.cost is None else solver.cost
        how = self.n_features, solver.eps, solver.threshold, cost
        return dual_descent.solver(self.terms, self.dense, self.columns, *how, self.lengths)


def _train(problem: _Problem, part: tuple[int, np.ndarray], threads: int) -> tuple[np.ndarray, ...]:
    number, labels = part
    clusters = problem.clusters[number][labels]
    return problem.solve(labels, clusters, problem.instances[number], problem.labels[number])


def train(
    X: Mixed, levels: list[Level], threads: int | Workers, solver: SolverParams, budget: Budget = UNLIMITED
) -> list[sp.csc_matrix]:
    """Weights of the nodes of levels that do not wait for one another.

    Parameters
    ----------
    X : Mixed
    levels : list of Level
    threads : int or Workers
    solver : SolverParams
    budget : Budget

    Returns
    -------
    list of csc_matrix of shape (n_features + 1, n_nodes), float32
        One for each level, indices sorted; the last row is the bias.
    """
    # Compiled the first time: where PECOS's solver trains all, that need not be.
    from ..kernels.squared_lengths import squared_lengths

    workers, clusters = workers_of(threads), [level.clusters.astype(np.int64) for level in levels]
    of_labels = [flat(level.Y)[:2] for level in levels]
    of_clusters = [_instances(level) for level in levels]
    terms, n_features = flat(X.terms), X.terms.shape[1]
    lengths = squared_lengths(terms, X.dense, workers.threads)
    features = terms, n_features, X.dense, X.columns
    problem = _Problem(*features, of_labels, clusters, of_clusters, solver, lengths)
    n_svms, n_levels = sum(map(len, clusters)), len(levels)
    logger.info("training %s nodes of %d level%s", f"{n_svms:,}", n_levels, "s" * (n_levels > 1))
    parts = _parts(clusters, [np.diff(starts) for starts, _ in of_clusters])
    weights = [Weights(len(of), budget) for of in clusters]
    found = track(workers.map(_train, problem, parts), len(parts))
    for (number, labels), of_part in zip(parts, found, strict=True):
        weights[number].add(labels, *of_part)
    # One level at a time is there twice.
    return [weights.pop(0).of_nodes(level.place, n_features + 1, workers.threads) for level in levels]


def _instances(level: Level) -> tuple[np.ndarray, np.ndarray]:
    """Those of each cluster: index pointers, int64, and indices, int32."""
    if level.M is not None:
        return flat(level.M)[:2]
    n_instances = level.Y.shape[0]
    return np.array([0, n_instances]), np.arange(n_instances, dtype=np.int32)


def _parts(clusters: list[np.ndarray], sizes: list[np.ndarray]) -> list[tuple[int, np.ndarray]]:
    """A level's number and labels of it, cluster by cluster, each worth a call, the most work first."""
    parts: list[tuple[int, np.ndarray]] = []
    work: list[np.ndarray] = []
    for number, (of, n_instances) in enumerate(zip(clusters, sizes, strict=True)):
        order = np.argsort(of, kind="stable")
        size = np.maximum(n_instances[of[order]], 1)
        place = np.arange(len(order)) - np.searchsorted(of[order], of[order])
        pieces = np.flatnonzero(place % (_LABELS * np.clip(_VISITS[1] // size, 1, _TIMES)) == 0)
        visits = size[pieces] * -(-np.diff(pieces, append=len(order)) // _LABELS)
        filled = np.minimum(visits, _VISITS[0]).cumsum() - 1
        first = np.flatnonzero(np.diff(filled // _VISITS[0], prepend=-1))
        parts += [(number, labels) for labels in np.split(order, pieces[first[1:]])]
        work.append(np.add.reduceat(visits, first))
    return [parts[i] for i in np.argsort(np.concatenate(work), kind="stable")[::-1]]
