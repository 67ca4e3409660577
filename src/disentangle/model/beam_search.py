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
from ..storage.matrices import Flat
from . import pecos, saved_model
from .pecos import XLinearModel

# What PECOS holds for each label or cluster that an instance is scored for: measured on the embedded set.
BYTES_PER_CANDIDATE = 20
# Of a batch in matching, whose results are small: PECOS goes through the weights cluster by cluster, all of a
# batch's instances in each. On tibkat-all it takes 0.8 of the seconds that it takes with 2,048; twice as many
# rows take 0.77, for batches of twice the size.
_MATCHED_ROWS = 8192
# Most children of a cluster that a batch is planned for when nothing is known of the tree.
_CHILDREN = 64
# Instances that are predicted before anybody has waited for Ctrl-C: to hand one to another thread takes as
# long as to predict it.
_AT_ONCE = 32


def _predict(model: XLinearModel, X: sp.csr_matrix, beam_size: int, top_k: int, threads: int) -> Flat:
    """What a model's last layer has for instances, which get one feature more, the last, a 1: the bias."""
    n_instances, n_features = X.shape
    if n_features != (expected := saved_model.n_features(model)) or not X.has_sorted_indices:
        raise ValueError(f"X must have {expected} features, indices sorted, got a matrix of shape {X.shape}")
    indptr = X.indptr + np.arange(n_instances + 1, dtype=np.int64)
    is_bias = np.zeros(indptr[-1], bool)
    is_bias[indptr[1:] - 1] = True
    indices, values = np.full(indptr[-1], n_features, np.int32), np.ones(indptr[-1], np.float32)
    indices[~is_bias], values[~is_bias] = X.indices, X.data
    call = partial(pecos.predict, model, (indptr, indices, values), n_features + 1, beam_size, top_k, threads)
    return call() if n_instances <= _AT_ONCE else interruptible(call)


@dataclass(frozen=True)
class _Matching:
    """What all batches have in common."""

    matcher: XLinearModel
    X: sp.csr_matrix
    beam_size: int


def _match(shared: _Matching, rows: slice, threads: int) -> sp.csr_matrix:
    matcher, beam_size = shared.matcher, shared.beam_size
    indptr, indices, values = _predict(matcher, shared.X[rows], beam_size, beam_size, threads)
    n_clusters, _ = saved_model.n_labels_and_clusters(matcher)
    return sp.csr_matrix((values, indices, indptr), shape=(len(indptr) - 1, n_clusters))


def match(
    matcher: saved_model.Predicting,
    X: sp.csr_matrix,
    beam_size: int,
    threads: int | Workers,
    budget: Budget = UNLIMITED,
) -> sp.csr_matrix:
    """Leaf clusters that survive the beam, with the matcher's scores.

    Parameters
    ----------
    matcher : Predicting
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
        matcher.within(budget)  # it takes of what there is
    rows = budget.slices(costs, kept, most_rows(X.shape[0], _MATCHED_ROWS, workers))
    batches = workers.in_turn(_match, _Matching(matcher, X, beam_size), rows)
    return sp.vstack(list(track(batches, X.shape[0], lambda batch: batch.shape[0])), format="csr")


def predict(model: XLinearModel, X: sp.csr_matrix, params: PredictParams, threads: int) -> Flat:
    """Scores of the best `top_k` labels, copies counted, of each instance: what `flat` has of a matrix."""
    return _predict(model, X, params.beam_size, params.top_k, threads)
