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
from ..storage.matrices import flat
from .mixed import Mixed
from .subproblems import Level
from .weights import Weights

logger = logging.getLogger(__name__)

# Pairs of an instance and a label that are worth a call, and the labels of one: at least, and at most.
_PAIRS, _LABELS = 1 << 20, (16, 64)


@dataclass(frozen=True)
class _Problem:
    """What the SVMs of levels are trained on.

    Attributes
    ----------
    X : Mixed
    labels : list of (ndarray, ndarray)
        The instances of each label of a level: index pointers, int64, and indices, int32.
    clusters : list of ndarray
        Of each label.
    instances : list of (ndarray, ndarray)
        Those that the labels of each cluster are trained on, likewise.
    solver : SolverParams
    lengths : ndarray of shape (n_instances,), float32
        Squared, of instances.
    """

    X: Mixed
    labels: list[tuple[np.ndarray, np.ndarray]]
    clusters: list[np.ndarray]
    instances: list[tuple[np.ndarray, np.ndarray]]
    solver: SolverParams
    lengths: np.ndarray

    @cached_property
    def solve(self) -> Callable[..., tuple[np.ndarray, ...]]:
        """What trains some labels, made where it is to do so."""
        from ..kernels import dual_descent

        X, solver = self.X, self.solver
        full_cost = np.inf if solver.full_cost is None else solver.full_cost
        how = X.terms.shape[1], solver.eps, solver.threshold, full_cost
        return dual_descent.solver(flat(X.terms), X.dense, X.columns, *how, self.lengths)


def _train(problem: _Problem, part: tuple[int, np.ndarray], threads: int) -> tuple[np.ndarray, ...]:
    number, labels = part
    starts, of_clusters = problem.instances[number]
    cluster = problem.clusters[number][labels[0]]
    own = of_clusters[starts[cluster] : starts[cluster + 1]]
    return problem.solve(labels, own, problem.labels[number])


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
    from ..kernels.dual_descent import squared_lengths

    workers, clusters = workers_of(threads), [level.clusters for level in levels]
    of_labels = [flat(level.Y)[:2] for level in levels]
    of_clusters = [_instances(level) for level in levels]
    lengths = squared_lengths(flat(X.terms), X.dense, workers.threads)
    problem = _Problem(X, of_labels, clusters, of_clusters, solver, lengths)
    n_svms, n_levels = sum(map(len, clusters)), len(levels)
    logger.info("training %s nodes of %d level%s", f"{n_svms:,}", n_levels, "s" * (n_levels > 1))
    parts = _parts(clusters, [starts for starts, _ in problem.instances])
    weights = [Weights(len(of), budget) for of in clusters]
    found = track(workers.map(_train, problem, parts), len(parts))
    for (number, labels), of_part in zip(parts, found, strict=True):
        weights[number].add(labels, *of_part)
    n_features = X.terms.shape[1] + 1
    # One level at a time is there twice.
    return [weights.pop(0).of_nodes(level.place, n_features, workers.threads) for level in levels]


def _instances(level: Level) -> tuple[np.ndarray, np.ndarray]:
    """Those of each cluster: index pointers, int64, and indices, int32."""
    if level.M is not None:
        return flat(level.M)[:2]
    n_instances = level.Y.shape[0]
    return np.array([0, n_instances]), np.arange(n_instances, dtype=np.int32)


def _parts(clusters: list[np.ndarray], starts: list[np.ndarray]) -> list[tuple[int, np.ndarray]]:
    """A level's number and labels of one of its clusters, each worth a call, the most work first."""
    parts: list[tuple[int, np.ndarray]] = []
    work: list[int] = []
    for number, (of, sizes) in enumerate(zip(clusters, map(np.diff, starts), strict=True)):
        order = np.argsort(of, kind="stable")
        for labels in np.split(order, np.flatnonzero(np.diff(of[order])) + 1):
            size = max(sizes[of[labels[0]]], 1)
            most = np.clip(_PAIRS // size, *_LABELS)
            parts += [(number, some) for some in np.array_split(labels, -(-len(labels) // most))]
            work += [size] * (len(parts) - len(work))
    return [parts[i] for i in np.argsort(work, kind="stable")[::-1]]
