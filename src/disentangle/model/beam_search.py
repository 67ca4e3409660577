"""Prediction with a loaded model: the clusters that survive the beam, and the labels in them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import scipy.sparse as sp

from ..params import PredictParams
from ..runtime.interrupt import interruptible
from ..runtime.memory import UNLIMITED, Budget
from ..runtime.progress import track
from ..runtime.workers import Workers, most_rows, workers_of
from .pecos import XLinearModel

# What PECOS holds for each label or cluster that an instance is scored for: measured on the embedded set.
BYTES_PER_CANDIDATE = 20
# Of a batch in matching, whose results are small: PECOS goes through the weights cluster by cluster, all of a
# batch's instances in each. On tibkat-all it takes 0.8 of the seconds that it takes with 2,048; twice as many
# rows take 0.77, for batches of twice the size.
_MATCHED_ROWS = 8192
# Most children of a cluster that a batch is planned for when nothing is known of the tree.
_CHILDREN = 64


def _with_bias(X: sp.csr_matrix) -> sp.csr_matrix:
    """Instances with one feature more, the last, which is 1 in all: what models for prediction take."""
    n_instances, n_features = X.shape
    indices, values = np.insert(X.indices, X.indptr[1:], n_features), np.insert(X.data, X.indptr[1:], 1)
    indptr = X.indptr + np.arange(n_instances + 1, dtype=X.indptr.dtype)
    return sp.csr_matrix((values, indices, indptr), shape=(n_instances, n_features + 1))


@dataclass(frozen=True)
class _Matching:
    """What all batches have in common."""

    matcher: XLinearModel
    X: sp.csr_matrix
    beam_size: int


def _match(shared: _Matching, rows: slice, threads: int) -> sp.csr_matrix:
    beam = {"beam_size": shared.beam_size, "only_topk": shared.beam_size}
    return shared.matcher.predict(_with_bias(shared.X[rows]), threads=threads, **beam)


def match(
    matcher: XLinearModel,
    X: sp.csr_matrix,
    beam_size: int,
    threads: int | Workers,
    budget: Budget = UNLIMITED,
) -> sp.csr_matrix:
    """Leaf clusters that survive the beam, with the matcher's scores.

    Parameters
    ----------
    matcher : XLinearModel
        From `saved_model.load_matcher`, or from `load` or `for_prediction` if it is by itself.
    X : csr_matrix of shape (n_instances, n_features), float32
    beam_size : int
        Clusters kept per level, the leaf level included.
    threads : int or Workers
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
    workers = workers_of(threads)
    if budget.limit is not None:
        _ = matcher.model  # it takes of what there is, and is loaded when it is first asked for
    rows = budget.slices(costs, kept, most_rows(X.shape[0], _MATCHED_ROWS, workers))
    batches = workers.in_turn(_match, _Matching(matcher, X, beam_size), rows)
    return sp.vstack(list(track(batches, X.shape[0], lambda batch: batch.shape[0])), format="csr")


def predict(model: XLinearModel, X: sp.csr_matrix, params: PredictParams, threads: int) -> sp.csr_matrix:
    """Scores of the best `top_k` labels: csr_matrix of shape (n_instances, n_labels with copies), float32."""
    beam = {"beam_size": params.beam_size, "only_topk": params.top_k}
    return interruptible(partial(model.predict, _with_bias(X), threads=threads, **beam))
