"""Training, level by level: the levels above the leaves are the matcher, the leaf level is the ranker."""

from __future__ import annotations

import itertools
import logging
from dataclasses import asdict

import numpy as np
import scipy.sparse as sp

from ..params import HINGE, PredictParams, SolverParams
from ..runtime.interrupt import interruptible
from ..runtime.progress import track
from ..runtime.threads import in_threads
from ..storage.matrices import flat, one_per_row
from .mixed import Mixed
from .pecos import ClusterChain, HierarchicalMLModel, MLModel, MLProblem, XLinearModel
from .subproblems import assemble, batches, distinct, groups, restrict

logger = logging.getLogger(__name__)

_DEFAULTS = SolverParams()
# With fewer a thread would wait for another one's last.
_GROUPS_PER_THREAD = 8


def train_matcher(
    X: sp.csr_matrix | Mixed,
    Y: sp.csc_matrix,
    chain: ClusterChain,
    params: PredictParams,
    threads: int,
    solver: SolverParams = _DEFAULTS,
) -> XLinearModel:
    """Train the levels above the leaves on a given tree, with PECOS's defaults for everything else.

    Those are an L2-regularised squared-hinge SVM per node in the dual (C = 1, at most 100 iterations), a
    bias feature of 1, and teacher-forcing negatives (TFN).

    Parameters
    ----------
    X : csr_matrix of shape (n_instances, n_features), float32, or Mixed
        Mixed instances are what the same SVMs are trained on by a solver that knows dense columns.
    Y : csc_matrix of shape (n_instances, n_labels), float32
    chain : ClusterChain
        Its last matrix has `n_labels` rows.
    params : PredictParams
        Stored in the model as what `predict` does unless told otherwise.
    threads : int
    solver : SolverParams
    """
    Ys = [Y]  # of the nodes of each level, from the leaves up
    for C in reversed(chain[1:]):
        Ys.append(_binary(Ys[-1] @ C))
    levels, M, parents = [], None, None
    for C, Y_level in zip(chain[:-1], reversed(Ys), strict=False):
        how = params.beam_size, HINGE
        levels.append(_train_level(X, Y_level, C, M, parents, threads, solver, *how))
        # An instance is trained on below the nodes that it has (TFN).
        M, parents = Y_level, C.tocsr().indices
    return XLinearModel(HierarchicalMLModel(levels))


def train_ranker(
    X: sp.csr_matrix | Mixed,
    Y: sp.csc_matrix,
    chain: ClusterChain,
    matcher: XLinearModel,
    params: PredictParams,
    threads: int,
    negatives: sp.csr_matrix | None = None,
    solver: SolverParams = _DEFAULTS,
    hinge: int = HINGE,
) -> XLinearModel:
    """Train the leaf level and put it under a matcher: XR-Linear. As `train_matcher` but for the following.

    Parameters
    ----------
    matcher : XLinearModel
        From `train_matcher`, or what `load_trained` reads of it.
    negatives : csr_matrix of shape (n_instances, n_clusters), optional
        Leaf clusters whose labels are trained against an instance even if none of its own are there.
    hinge : int
        A label's score, by which those of the clusters above it are multiplied, is exp(-max(0, 1 - z)^hinge),
        z being what its SVM says; no weight depends on it.
    """
    C, parents = chain[-1], chain[-2].tocsr().indices
    M = Y @ C if negatives is None else Y @ C + negatives
    ranker = _train_level(X, Y, C, _binary(M), parents, threads, solver, params.top_k, hinge)
    return XLinearModel(HierarchicalMLModel([*matcher.model.model_chain, ranker]))


def _binary(M: sp.spmatrix) -> sp.csc_matrix:
    M = M.tocsc()
    M.sort_indices()
    M.data[:] = 1
    return M


def _train_level(
    X: sp.csr_matrix | Mixed,
    Y: sp.csc_matrix,
    C: sp.csc_matrix,
    M: sp.csc_matrix | None,
    parents: np.ndarray | None,
    threads: int,
    solver: SolverParams,
    top_k: int,
    hinge: int,
) -> MLModel:
    """Train one level: the children in C's rows of the nodes in its columns, on the instances in M's.

    The level below the root has neither `M` nor `parents`, the nodes above those in C's columns.
    """
    logger.info("training %s nodes below %s", f"{C.shape[0]:,}", f"{C.shape[1]:,}")
    clusters = C.tocsr().indices
    labels, place = distinct(Y, clusters)
    # A chain's integers may be of 4 or 8 bytes; the model's bytes must not depend on that.
    C = one_per_row(clusters, C.shape[1]).tocsc()
    Y, kept = Y[:, labels], clusters[labels]
    if isinstance(X, Mixed):
        W = _train_on_mixed(X, Y, kept, M, threads, solver)
    else:
        W = _train_labels(X, Y, kept, M, parents, threads, solver)
    if len(labels) < len(place):
        W = W[:, place]
    how = MLModel.PredParams(only_topk=top_k, post_processor=f"l{hinge}-hinge")
    return MLModel(W=W, C=C, bias=MLModel.TrainParams().bias, pred_params=how)


def _train_labels(
    X: sp.csr_matrix,
    Y: sp.csc_matrix,
    clusters: np.ndarray,
    M: sp.csc_matrix | None,
    parents: np.ndarray | None,
    threads: int,
    solver: SolverParams,
) -> sp.csc_matrix:
    """Weights of a level's nodes, given the node above each; shape (n_features + 1, n_nodes), float32."""

    def train(
        X: sp.csr_matrix, Y: sp.csc_matrix, C: sp.csc_matrix, M: sp.csc_matrix | None, threads: int
    ) -> sp.csc_matrix:
        problem = MLProblem(X, Y, C=C, M=M, threads=threads)
        return MLModel.train(problem, train_params=MLModel.TrainParams(threads=threads, **asdict(solver))).W

    def train_part(labels: np.ndarray, threads: int = 1) -> tuple[np.ndarray, np.ndarray, sp.csc_matrix]:
        part = restrict(X, Y, clusters, M, labels)
        # The part's instances, which all parts together have many times, must not be kept.
        return part.labels, part.features, train(part.X, part.Y, part.C, part.M, threads)

    found: list[np.ndarray] = []
    if M is not None and parents is not None:
        crowded, found = groups(clusters, parents, M, _GROUPS_PER_THREAD * threads)
    if not found:
        n_clusters = 1 if M is None else M.shape[1]
        C = one_per_row(clusters, n_clusters).tocsc()
        return interruptible(lambda: train(X, Y, C, M, threads))
    of_crowded = [interruptible(lambda: train_part(crowded, threads))] if len(crowded) else []
    of_groups = track(in_threads(train_part, found, threads), len(found))
    return assemble(itertools.chain(of_crowded, of_groups), X.shape[1], Y.shape[1])


def _train_on_mixed(
    X: Mixed,
    Y: sp.csc_matrix,
    clusters: np.ndarray,
    M: sp.csc_matrix | None,
    threads: int,
    solver: SolverParams,
) -> sp.csc_matrix:
    """As `_train_labels`, but for PECOS, whose solver takes three times as long for it."""
    from ..kernels import dual_descent

    n_instances, n_features = X.terms.shape
    M = sp.csc_matrix(np.ones((n_instances, 1), np.float32)) if M is None else M
    of_labels = dual_descent.trainer(
        flat(X.terms), X.dense, X.columns, n_features, flat(Y)[:2], flat(M)[:2], solver.eps, solver.threshold
    )

    def train_part(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, sp.csc_matrix]:
        sizes, ids, weights = of_labels(labels, int(clusters[labels[0]]))
        indptr = np.concatenate([[0], sizes.cumsum()])
        W = sp.csc_matrix((weights, ids, indptr), shape=(n_features + 1, len(labels)))
        W.sort_indices()  # an embedding may lie between terms
        return labels, np.arange(n_features), W

    found = batches(clusters, np.diff(M.indptr))
    return assemble(track(in_threads(train_part, found, threads), len(found)), n_features, Y.shape[1])
