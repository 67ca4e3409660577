"""Training, level by level: the levels above the leaves are the matcher, the leaf level is the ranker."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from ..params import HINGE, PredictParams, SolverParams
from ..runtime.interrupt import interruptible
from ..runtime.memory import UNLIMITED, Budget
from ..runtime.progress import track
from ..runtime.workers import Workers, split, workers_of
from ..storage.compressed import flat, matrix_of, one_per_row, pick
from . import side_by_side
from .mixed import Mixed
from .pecos import ClusterChain, MLModel, MLProblem
from .subproblems import Level, Subproblem, groups, restrict
from .trained import Trained
from .weights import Weights

logger = logging.getLogger(__name__)

_DEFAULTS = SolverParams()
# With fewer one that works would wait for another one's last.
_GROUPS_PER_SLOT = 8


def train_matcher(
    X: sp.csr_matrix | Mixed,
    Y: sp.csc_matrix,
    chain: ClusterChain,
    params: PredictParams,
    threads: int | Workers,
    solver: SolverParams = _DEFAULTS,
    budget: Budget = UNLIMITED,
) -> list[Trained]:
    """Train the levels above the leaves on a given tree, with PECOS's defaults for everything else.

    Those are an L2-regularised squared-hinge SVM per node in the dual (C = 1, at most 100 iterations), a
    bias feature of 1, and teacher-forcing negatives (TFN).

    Parameters
    ----------
    X : csr_matrix of shape (n_instances, n_features), float32, or Mixed
        Which solver trains the SVMs: PECOS's, or for mixed instances the one of `side_by_side`.
    Y : csc_matrix of shape (n_instances, n_labels), float32
    chain : ClusterChain
        Its last matrix has `n_labels` rows.
    params : PredictParams
        Stored in the model as what `predict` does unless told otherwise.
    threads : int or Workers
        Have no effect on the result, nor has `budget`.
    solver : SolverParams
    budget : Budget
        With a limit weights lie in files that are mapped into memory.

    Returns
    -------
    list of Trained
        From the root.
    """
    workers = workers_of(threads)
    Ys = [Y]  # of the nodes of each level, from the leaves up
    for C in reversed(chain[1:]):
        Ys.append(_instances(Ys[-1], C, None, workers.threads))
    levels: list[Level] = []
    M = None
    for C, Y_level in zip(chain[:-1], reversed(Ys), strict=False):
        above = levels[-1].C if levels else None
        levels.append(Level.of(Y_level, C, M, above, workers.threads))
        M = Y_level  # an instance is trained on below the nodes that it has (TFN)
    return _trained(X, levels, params.beam_size, HINGE, workers, solver, budget)


def train_ranker(
    X: sp.csr_matrix | Mixed,
    Y: sp.csc_matrix,
    chain: ClusterChain,
    matcher: Sequence[Trained],
    params: PredictParams,
    threads: int | Workers,
    negatives: sp.csr_matrix | None = None,
    solver: SolverParams = _DEFAULTS,
    hinge: int = HINGE,
    budget: Budget = UNLIMITED,
) -> list[Trained]:
    """Train the leaf level and put it under a matcher: XR-Linear. As `train_matcher` but for the following.

    Parameters
    ----------
    matcher : sequence of Trained
        From `train_matcher`, or what `load_trained` reads of it.
    negatives : csr_matrix of shape (n_instances, n_clusters), optional
        Leaf clusters whose labels are trained against an instance even if none of its own are there.
    hinge : int
        A label's score, by which those of the clusters above it are multiplied, is exp(-max(0, 1 - z)^hinge),
        z being what its SVM says; no weight depends on it.
    """
    C, workers = chain[-1], workers_of(threads)
    M = _instances(Y, C, negatives, workers.threads)
    level = Level.of(Y, C, M, chain[-2], workers.threads)
    return [*matcher, *_trained(X, [level], params.top_k, hinge, workers, solver, budget)]


def _instances(
    Y: sp.csc_matrix, C: sp.csc_matrix, further: sp.csr_matrix | None, threads: int
) -> sp.csc_matrix:
    """The instances of each cluster's labels, and further ones: of shape (n_instances, n_clusters)."""
    from ..kernels.unions import unions  # compiled where it is needed

    shape = Y.shape[0], C.shape[1]
    further = sp.csc_matrix(shape, dtype=np.float32) if further is None else further.tocsc()
    of_clusters, of_labels, besides = (flat(of)[:2] for of in (C, Y, further))
    starts, sizes, united = unions(of_clusters, of_labels, besides, Y.shape[0], threads)
    indptr = np.concatenate([[0], sizes.cumsum()])
    instances = np.empty(indptr[-1], np.int32)
    pick(starts, indptr, [(united, instances)], threads)
    return matrix_of(sp.csc_matrix, np.ones(len(instances), np.float32), instances, indptr, shape)


def _trained(
    X: sp.csr_matrix | Mixed,
    levels: list[Level],
    top_k: int,
    hinge: int,
    workers: Workers,
    solver: SolverParams,
    budget: Budget,
) -> list[Trained]:
    """Levels of a model."""
    if isinstance(X, Mixed):
        # None waits for the one above: what a node is trained on is known from the labels.
        weights = side_by_side.train(X, levels, workers, solver, budget)
    else:
        weights = [_train_by_pecos(X, level, workers, solver, budget) for level in levels]
    return [Trained(W, level.C, top_k, hinge) for level, W in zip(levels, weights, strict=True)]


@dataclass(frozen=True)
class _Problem:
    """What the SVMs of a level are trained on; its groups are a `Subproblem` each."""

    X: sp.csr_matrix
    Y: sp.csc_matrix
    clusters: np.ndarray
    M: sp.csc_matrix | None
    solver: SolverParams

    def of(self, labels: np.ndarray) -> Subproblem:
        """The part that some labels depend on; that of all labels, or below the root, is not copied."""
        if self.M is not None and len(labels) < self.Y.shape[1]:
            return restrict(self.X, self.Y, self.clusters, self.M, labels)
        n_clusters = 1 if self.M is None else self.M.shape[1]
        C = one_per_row(self.clusters[labels], n_clusters).tocsc()
        return Subproblem(self.X, self.Y[:, labels], C, self.M, labels, np.arange(self.X.shape[1]))


def _train(
    problem: _Problem, labels: np.ndarray, threads: int
) -> tuple[np.ndarray, np.ndarray, sp.csc_matrix]:
    """Labels, features and weights of a part; the last row of these is the bias."""
    part = problem.of(labels)
    solver = problem.solver
    params = MLModel.TrainParams(threads=threads, eps=solver.eps, threshold=solver.threshold)
    given = MLProblem(part.X, part.Y, C=part.C, M=part.M, threads=threads)
    # The part's instances, which all parts together have many times, must not be kept.
    return part.labels, part.features, interruptible(lambda: MLModel.train(given, train_params=params).W)


def _train_by_pecos(
    X: sp.csr_matrix, level: Level, workers: Workers, solver: SolverParams, budget: Budget
) -> sp.csc_matrix:
    """Weights of a level's nodes; shape (n_features + 1, n_nodes), float32."""
    logger.info("training %s nodes below %s", f"{level.C.shape[0]:,}", f"{level.C.shape[1]:,}")
    problem = _Problem(X, level.Y, level.clusters, level.M, solver)
    crowded = np.arange(level.Y.shape[1])
    found: list[np.ndarray] = []
    if level.M is not None and level.parents is not None:
        crowded, found = groups(level.clusters, level.parents, level.M, _GROUPS_PER_SLOT * workers.slots)
    # Those of a cluster side by side, as they share their instances.
    crowded = crowded[np.argsort(level.clusters[crowded], kind="stable")]
    of_crowded = workers.in_turn(_train, problem, split(crowded, workers))
    of_groups = track(workers.map(_train, problem, found), len(found))
    weights, n_features = Weights(level.Y.shape[1], budget), X.shape[1]
    for labels, features, W in itertools.chain(of_crowded, of_groups):
        features = np.append(features, n_features).astype(np.int32)
        weights.add(labels, np.diff(W.indptr), features[W.indices], W.data)
    return weights.of_nodes(level.place, n_features + 1, workers.threads)
