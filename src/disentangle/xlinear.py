"""The only door to PECOS's XR-Linear models: train, save, match, predict."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import scipy.sparse as sp
from pecos.utils.cluster_util import ClusterChain
from pecos.xmc import HierarchicalMLModel, MLModel
from pecos.xmc.xlinear import XLinearModel

from .interrupt import interruptible
from .params import PredictParams
from .progress import track

POST_PROCESSOR = "l3-hinge"
# Bounds the memory of a prediction and paces its progress bar; no effect on results.
BATCH_SIZE = 16384


def train(
    X: sp.csr_matrix,
    Y: sp.csc_matrix,
    chain: ClusterChain,
    params: PredictParams,
    threads: int,
    choose_negatives: Callable[[sp.csr_matrix], sp.csr_matrix] | None = None,
    eps: float = 0.1,
) -> XLinearModel:
    """Train XR-Linear on a given tree, with PECOS's defaults for everything else.

    Those are an L2-regularised squared-hinge SVM per node in the dual (C = 1, at most 100 iterations), a
    bias feature of 1, weights below 0.1 dropped, and teacher-forcing negatives (TFN).

    Parameters
    ----------
    X : csr_matrix of shape (n_instances, n_features), float32
    Y : csc_matrix of shape (n_instances, n_labels), float32
    chain : ClusterChain
        Its last matrix has `n_labels` rows.
    params : PredictParams
        Stored in the model as what `predict` does unless told otherwise.
    threads : int
    choose_negatives : callable, optional
        Called with the leaf clusters that the new model's own matcher finds, csr_matrix of shape
        (n_instances, n_clusters); returns, in the same shape, those whose labels are trained against an
        instance even if none of its own are there.
    eps : float
        The solver's tolerance.
    """

    def layers(mode: str, top_k: int, negatives: sp.csr_matrix | None = None) -> XLinearModel:
        # "usn" is PECOS's word for negatives that the caller supplies; it counts layers from the leaves.
        hlm_args = HierarchicalMLModel.TrainParams(
            neg_mining_chain="tfn" if negatives is None else "tfn+usn",
            model_chain=MLModel.TrainParams(threads=threads, eps=eps),
        )
        supplied = None if negatives is None else {1: negatives.tocsc()}
        train_params = XLinearModel.TrainParams(mode=mode, hlm_args=hlm_args)
        pred_kwargs = {
            "beam_size": params.beam_size,
            "only_topk": top_k,
            "post_processor": POST_PROCESSOR,
        }
        return interruptible(
            lambda: XLinearModel.train(
                X,
                Y,
                C=chain,
                user_supplied_negatives=supplied,
                train_params=train_params,
                pred_kwargs=pred_kwargs,
            )
        )

    if choose_negatives is None:
        return layers("full-model", params.top_k)
    matcher = layers("matcher", params.beam_size)
    with tempfile.TemporaryDirectory(prefix="matcher-") as temporary:
        save(matcher, Path(temporary))
        negatives = choose_negatives(_clusters(Path(temporary), X, params.beam_size, threads))
    ranker = layers("ranker", params.top_k, negatives)
    return XLinearModel(HierarchicalMLModel([*matcher.model.model_chain, *ranker.model.model_chain]))


def save(model: XLinearModel, folder: Path) -> None:
    """Save a model in PECOS's own format, for `XLinearModel.load`."""
    model.save(str(folder))


@contextmanager
def _matcher(folder: Path) -> Iterator[Path]:
    """A temporary model folder that is the saved model without its last layer.

    The layers are links, so nothing is copied; it makes the matcher loadable in PECOS's fast
    predict-only form, which knows no other way to stop above the leaves.
    """
    ranker = folder / "ranker"
    param = json.loads((ranker / "param.json").read_text())
    depth = param["depth"] - 1
    last = json.loads((ranker / f"{depth - 1}.model" / "param.json").read_text())
    param.update({"depth": depth, "nr_codes": last["nr_codes"], "nr_labels": last["nr_labels"]})
    with tempfile.TemporaryDirectory(prefix="matcher-") as temporary:
        view = Path(temporary)
        (view / "ranker").mkdir()
        (view / "param.json").write_bytes((folder / "param.json").read_bytes())
        (view / "ranker" / "param.json").write_text(json.dumps(param))
        for d in range(depth):
            os.symlink((ranker / f"{d}.model").resolve(), view / "ranker" / f"{d}.model")
        yield view


def _load_predict_only(folder: Path) -> XLinearModel:
    # Weights in chunks (MSCM): bit-identical to layer-by-layer prediction and about 8 times faster.
    return interruptible(
        lambda: XLinearModel.load(
            str(folder), is_predict_only=True, weight_matrix_type="BINARY_SEARCH_CHUNKED"
        )
    )


def _predict_batches(model: XLinearModel, X: sp.csr_matrix, **kwargs: Any) -> Iterator[sp.csr_matrix]:
    for start in range(0, X.shape[0], BATCH_SIZE):
        batch = X[start : start + BATCH_SIZE]
        yield interruptible(partial(model.predict, batch, post_processor=POST_PROCESSOR, **kwargs))


def match(folder: Path, X: sp.csr_matrix, beam_size: int, threads: int) -> sp.csr_matrix:
    """Leaf clusters that survive the beam, with the matcher's scores.

    Parameters
    ----------
    folder : Path
        A saved model.
    X : csr_matrix of shape (n_instances, n_features), float32
    beam_size : int
        Clusters kept per level, the leaf level included.
    threads : int

    Returns
    -------
    csr_matrix of shape (n_instances, n_clusters), float32
        At most `beam_size` scores in (0, 1] per row.
    """
    with _matcher(folder) as view:
        return _clusters(view, X, beam_size, threads)


def _clusters(matcher: Path, X: sp.csr_matrix, beam_size: int, threads: int) -> sp.csr_matrix:
    model = _load_predict_only(matcher)
    batches = _predict_batches(model, X, beam_size=beam_size, only_topk=beam_size, threads=threads)
    return sp.vstack(list(track(batches, X.shape[0], BATCH_SIZE)), format="csr")


def predict(folder: Path, X: sp.csr_matrix, params: PredictParams, threads: int) -> Iterator[sp.csr_matrix]:
    """Scores of the best `top_k` labels, copies counted, in batches of instances.

    Yields
    ------
    csr_matrix of shape (at most BATCH_SIZE, n_labels with copies), float32
    """
    model = _load_predict_only(folder)
    yield from _predict_batches(model, X, beam_size=params.beam_size, only_topk=params.top_k, threads=threads)
