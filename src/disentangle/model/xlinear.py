"""The only door to PECOS's XR-Linear models: train, save, match, predict."""

from __future__ import annotations

import itertools
import json
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from ..params import HINGE, MAX_HINGE, PredictParams, SolverParams
from ..runtime.interrupt import interruptible
from ..runtime.memory import UNLIMITED, Budget
from ..runtime.progress import track
from ..runtime.threads import in_threads
from ..storage.atomic import scratch
from ..storage.matrices import one_per_row
from ..storage.saved import Saved
from .pecos import ClusterChain, HierarchicalMLModel, MLModel, MLProblem, XLinearModel
from .subproblems import assemble, distinct, groups, restrict
from .tree import check_level

logger = logging.getLogger(__name__)

# What PECOS holds for each label or cluster that an instance is scored for: measured on the embedded set.
BYTES_PER_CANDIDATE = 20
# Of a batch in matching, whose results are small: PECOS goes through the weights cluster by cluster, all of a
# batch's instances in each. On tibkat-all it takes 0.8 of the seconds that it takes with 2,048; twice as many
# rows take 0.77, for batches of twice the size.
_MATCHED_ROWS = 8192
# Most children of a cluster that a batch is planned for when nothing is known of the tree.
_CHILDREN = 64
# Where a model has its levels, counted from the root, and what is said of each.
_LEVEL, _PARAM = "ranker/{}.model", "param.json"
_POST_PROCESSORS = {f"l{hinge}-hinge" for hinge in range(1, MAX_HINGE + 1)}
# What PECOS calls a bias that a model has not, or that is a feature.
_NO_BIAS = -1.0
# Weights in chunks (MSCM): bit-identical to layer-by-layer prediction and many times faster; and by columns.
_CHUNKS, _AS_SAVED = "HASH_CHUNKED", "CSC"
FEW = 256
_DEFAULTS = SolverParams()
# With fewer a thread would wait for another one's last.
_GROUPS_PER_THREAD = 8


def train_matcher(
    X: sp.csr_matrix,
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
    X : csr_matrix of shape (n_instances, n_features), float32
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
    X: sp.csr_matrix,
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
    X: sp.csr_matrix,
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
    W = _train_labels(X, Y[:, labels], clusters[labels], M, parents, threads, solver)
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


def save(model: XLinearModel, folder: Path) -> None:
    """Save a model in PECOS's own format, for its `XLinearModel.load`, too, into a folder that is there.

    PECOS would make the folder anew if it had been removed meanwhile, as a stopped command's is.
    """
    ranker, levels = model.model, model.model.model_chain
    (folder / "ranker").mkdir()
    sizes = {"nr_features": ranker.nr_features, "nr_codes": ranker.nr_codes, "nr_labels": ranker.nr_labels}
    _write_param(folder / _PARAM, model, {})
    _write_param(
        folder / "ranker" / _PARAM, ranker, {"model": "HierarchicalMLModel", "depth": len(levels)} | sizes
    )
    for d, level in enumerate(levels):
        place = folder / _LEVEL.format(d)
        place.mkdir()
        how = {"bias": level.bias, "pred_kwargs": level.pred_params.to_dict()}
        _write_param(place / _PARAM, level, {"model": "MLModel"} | _sizes(level.W, level.C) | how)
        for name in ("W", "C"):
            sp.save_npz(place / f"{name}.npz", getattr(level, name), compressed=False)


def _write_param(path: Path, owner: Any, said: dict[str, Any]) -> None:
    path.write_text(json.dumps(owner.append_meta(said), indent=1), encoding="utf-8")


def _sizes(W: sp.csc_matrix, C: sp.csc_matrix) -> dict[str, int]:
    return {"nr_labels": C.shape[0], "nr_features": W.shape[0], "nr_codes": C.shape[1]}


class _Level(NamedTuple):
    """A level of a saved model, which is sound."""

    W: sp.csc_matrix
    C: sp.csc_matrix
    top_k: int
    post_processor: str

    @property
    def pred_kwargs(self) -> dict[str, Any]:
        return {"only_topk": self.top_k, "post_processor": self.post_processor}


def _levels(saved: Saved, without: int = 0) -> Iterator[_Level]:
    """The levels from the root, but for the last ones, one at a time.

    PECOS follows indices, and adds up sizes, that it never checks: what is not sound would end the process.
    """
    names = (f"{_LEVEL.format(d)}/W.npz" for d in itertools.count())
    depth = len(list(itertools.takewhile(saved.__contains__, names))) - without
    if depth < 1:
        raise saved.damaged(_LEVEL.format(0), "expected the levels of a model, found none")
    n_features, n_above = None, 1
    for d in range(depth):
        name = f"{_LEVEL.format(d)}/W.npz"
        W, C = (saved.matrix(f"{_LEVEL.format(d)}/{one}.npz", is_plain=True) for one in ("W", "C"))
        C = check_level(saved, f"{_LEVEL.format(d)}/C.npz", C, n_above)
        n_features, n_above = n_features or W.shape[0], C.shape[0]
        if W.shape != (n_features, n_above) or n_features < 2:
            raise saved.damaged(name, f"expected weights of shape {(n_features, n_above)}, found {W.shape}")
        match saved.read_json(f"{_LEVEL.format(d)}/{_PARAM}"):
            case {"bias": 1, "pred_kwargs": {"only_topk": int(top_k), "post_processor": str(rule)}} if (
                rule in _POST_PROCESSORS and 0 < top_k < 2**31
            ):
                yield _Level(W, C, top_k, rule)
            case _:
                raise saved.damaged(f"{_LEVEL.format(d)}/{_PARAM}", "expected how the level predicts")


@contextmanager
def _view(saved: Saved, without: int = 0) -> Iterator[str]:
    """The path of a folder: the saved model without its last layers, its bias a feature like any.

    Weights are links to the files that were checked, so nothing is copied, nor is another file read that has
    taken the place of one meanwhile. PECOS's fast predict-only form knows no other way to stop above the
    leaves; and its kind of that form that is fastest for sparse instances, hash tables, adds a bias before
    the features and not after them, as all others do, so that sums would differ in their last digits.

    The path has no character of a user's in it: PECOS hands some to a shell.
    """
    with ExitStack() as stack:
        view = stack.enter_context(scratch())
        (view / "ranker").mkdir()
        sizes: list[dict[str, int]] = []
        for d, level in enumerate(_levels(saved, without)):
            place = view / _LEVEL.format(d)
            place.mkdir()
            for name in ("W.npz", "C.npz"):
                file = stack.enter_context(saved.pinned(f"{_LEVEL.format(d)}/{name}"))
                (place / name).symlink_to(file)
            sizes.append(_sizes(level.W, level.C))
            said = {"model": "MLModel", "bias": _NO_BIAS, "pred_kwargs": level.pred_kwargs} | sizes[-1]
            (place / _PARAM).write_text(json.dumps(said))
        whole = {"model": "HierarchicalMLModel", "depth": len(sizes)} | sizes[-1]
        (view / "ranker" / _PARAM).write_text(json.dumps(whole))
        number = os.open(view, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, number)
        yield f"/proc/self/fd/{number}"


def _with_bias(X: sp.csr_matrix) -> sp.csr_matrix:
    """Instances with one feature more, the last, which is 1 in all: what the models of `_view` take."""
    n_instances, n_features = X.shape
    indices, values = np.insert(X.indices, X.indptr[1:], n_features), np.insert(X.data, X.indptr[1:], 1)
    indptr = X.indptr + np.arange(n_instances + 1, dtype=X.indptr.dtype)
    return sp.csr_matrix((values, indices, indptr), shape=(n_instances, n_features + 1))


def load_trained(saved: Saved) -> XLinearModel:
    """A saved model as it was trained, to train more of it.

    Raises
    ------
    DisentangleError
        If it is damaged, or no model.
    """
    bias = MLModel.TrainParams().bias
    levels = [
        MLModel(W=level.W, C=level.C, bias=bias, pred_params=level.pred_kwargs) for level in _levels(saved)
    ]
    return XLinearModel(HierarchicalMLModel(levels))


def load(saved: Saved, for_few: bool = False) -> XLinearModel:
    """A saved model, for prediction by `match` and `predict` alone.

    Parameters
    ----------
    saved : Saved
    for_few : bool
        Whether it is for at most `FEW` instances; has no effect on the result. On tibkat-all (tuned, 377 MiB)
        weights in chunks take 7 to 10 s to make, as they are 1 s, and an instance 1 ms instead of 10.

    Raises
    ------
    DisentangleError
        If it is damaged, or no model.
    """
    return _load(saved, kind=_AS_SAVED if for_few else _CHUNKS)


def load_matcher(saved: Saved) -> XLinearModel:
    """A saved model's matcher, the levels above the labels, likewise."""
    return _load(saved, without=1)


def _load(saved: Saved, without: int = 0, kind: str = _CHUNKS) -> XLinearModel:
    how = {"is_predict_only": True, "weight_matrix_type": kind}
    with _view(saved, without) as view:
        return interruptible(lambda: XLinearModel.load(view, **how))


def for_prediction(model: XLinearModel) -> XLinearModel:
    """What `load` would give of a model, were it saved."""
    with scratch() as temporary:
        save(model, temporary)
        return load(Saved(temporary))


def n_features(model: XLinearModel) -> int:
    """Columns of the features that a model for prediction predicts from."""
    return int(model.model.nr_features) - 1  # the bias


def n_features_of(saved: Saved) -> int:
    """The same of a saved model, without loading it.

    Raises
    ------
    DisentangleError
        If it is damaged.
    """
    name = f"{_LEVEL.format(0)}/W.npz"
    shape = saved.arrays(name, "shape")["shape"]
    if shape.shape != (2,) or shape.dtype.kind != "i":
        raise saved.damaged(name, "expected the shape of a matrix")
    return int(shape[0]) - 1


def n_labels_and_clusters(model: XLinearModel) -> tuple[int, int]:
    """Labels, copies counted, and leaf clusters of a model for prediction."""
    return int(model.model.nr_labels), int(model.model.nr_codes)


def match(
    matcher: XLinearModel, X: sp.csr_matrix, beam_size: int, threads: int, budget: Budget = UNLIMITED
) -> sp.csr_matrix:
    """Leaf clusters that survive the beam, with the matcher's scores.

    Parameters
    ----------
    matcher : XLinearModel
        From `load_matcher`, or from `load` or `for_prediction` if it is by itself.
    X : csr_matrix of shape (n_instances, n_features), float32
    beam_size : int
        Clusters kept per level, the leaf level included.
    threads : int
    budget : Budget
        Has no effect on the result, nor have threads.

    Returns
    -------
    csr_matrix of shape (n_instances, n_clusters), float32
        At most `beam_size` scores in (0, 1] per row.
    """
    costs = np.full(X.shape[0], beam_size * _CHILDREN * BYTES_PER_CANDIDATE)
    # Index and score of each cluster found, in the batches and in the matrix made of them.
    kept = 2 * 8 * beam_size * X.shape[0]
    beam = {"beam_size": beam_size, "only_topk": beam_size}
    batches = (
        interruptible(partial(matcher.predict, _with_bias(X[rows]), threads=threads, **beam))
        for rows in budget.slices(costs, kept, _MATCHED_ROWS)
    )
    return sp.vstack(list(track(batches, X.shape[0], lambda batch: batch.shape[0])), format="csr")


def predict(model: XLinearModel, X: sp.csr_matrix, params: PredictParams, threads: int) -> sp.csr_matrix:
    """Scores of the best `top_k` labels: csr_matrix of shape (n_instances, n_labels with copies), float32."""
    beam = {"beam_size": params.beam_size, "only_topk": params.top_k}
    return interruptible(partial(model.predict, _with_bias(X), threads=threads, **beam))
