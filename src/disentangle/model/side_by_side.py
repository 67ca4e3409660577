"""Training by a solver of our own, which has the labels of a cluster side by side.

PECOS's has one at a time. The SVMs are the same, to the solver's tolerance.
"""

from __future__ import annotations

import logging

import numpy as np
import scipy.sparse as sp

from ..params import SolverParams
from ..runtime.progress import track
from ..runtime.threads import in_threads
from ..storage.matrices import flat
from .mixed import Mixed
from .subproblems import Level

logger = logging.getLogger(__name__)

# Pairs of an instance and a label that are worth a call, and the labels of one: at least, and at most.
_PAIRS, _LABELS = 1 << 20, (16, 64)


def train(X: Mixed, levels: list[Level], threads: int, solver: SolverParams) -> list[sp.csc_matrix]:
    """Weights of the labels of levels that do not wait for one another.

    Parameters
    ----------
    X : Mixed
    levels : list of Level
    threads : int
    solver : SolverParams

    Returns
    -------
    list of csc_matrix of shape (n_features + 1, n_labels), float32
        One for each level, indices sorted; the last row is the bias.
    """
    from ..kernels import dual_descent

    n_features = X.terms.shape[1]
    solve = dual_descent.solver(
        flat(X.terms), X.dense, X.columns, n_features, solver.eps, solver.threshold, threads
    )
    instances = [(flat(level.Y)[:2], _instances(level)) for level in levels]

    def train_part(part: tuple[int, np.ndarray]) -> tuple[np.ndarray, ...]:
        number, labels = part
        of_labels, (starts, of_clusters) = instances[number]
        cluster = levels[number].clusters[labels[0]]
        return solve(labels, of_clusters[starts[cluster] : starts[cluster + 1]], of_labels)

    n_svms, n_levels = sum(len(level.clusters) for level in levels), len(levels)
    logger.info("training %s nodes of %d level%s", f"{n_svms:,}", n_levels, "s" * (n_levels > 1))
    parts = _parts([level.clusters for level in levels], [starts for _, (starts, _) in instances])
    found = list(track(in_threads(train_part, parts, threads), len(parts)))
    return [
        _assemble(
            [labels for of, labels in parts if of == number],
            [one for (of, _), one in zip(parts, found, strict=True) if of == number],
            (n_features + 1, level.Y.shape[1]),
            threads,
        )
        for number, level in enumerate(levels)
    ]


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


def _assemble(
    parts: list[np.ndarray],
    found: list[tuple[np.ndarray, ...]],
    shape: tuple[int, int],
    threads: int,
) -> sp.csc_matrix:
    """The weights of a level from those of its parts' labels."""
    from ..kernels import dual_descent

    sizes = np.zeros(shape[1], np.int64)
    for labels, (n_weights, _, _) in zip(parts, found, strict=True):
        sizes[labels] = n_weights
    indptr = np.concatenate([[0], sizes.cumsum()])
    indices, weights = np.empty(indptr[-1], np.int32), np.empty(indptr[-1], np.float32)

    def put(part: tuple[np.ndarray, tuple[np.ndarray, ...]]) -> None:
        labels, of_labels = part
        dual_descent.put(indptr[labels], *of_labels, indices, weights)

    for _ in in_threads(put, zip(parts, found, strict=True), threads):
        pass
    return sp.csc_matrix((weights, indices, indptr), shape=shape)
