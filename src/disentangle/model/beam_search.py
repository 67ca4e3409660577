"""Prediction with a loaded model: the clusters that survive the beam, and the labels in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from ..kernels import beam
from ..kernels.beam_model import Model
from ..params import PredictParams
from ..runtime.memory import UNLIMITED, Budget
from ..runtime.progress import track
from ..runtime.workers import Workers, most_rows, workers_of
from ..storage.compressed import Flat, flat

# A batch's instances where there is no limit, and what scores may take which are yet to be chosen from.
_BATCH_ROWS, _ROOM = 1 << 16, 1 << 28
# What a node that is kept of a level takes while those of the next one are found.
BYTES_PER_NODE = 64


@dataclass(frozen=True)
class _Search:
    """What all batches of instances have in common."""

    model: Model
    n_levels: int
    X: Flat
    beam_size: int
    room: int


def _search(of: _Search, rows: slice, threads: int) -> tuple[np.ndarray, np.ndarray]:
    return beam.search(of.model, of.n_levels, of.X, rows, of.beam_size, of.beam_size, of.room, threads)


def checked(model: Model, X: sp.csr_matrix) -> Flat:
    """What a model predicts from, as `predict` takes it."""
    if X.shape[1] != model.n_features or not X.has_sorted_indices:
        expected = f"{model.n_features} features, indices sorted"
        raise ValueError(f"X must have {expected}, got a matrix of shape {X.shape}")
    return flat(X)


def batches(
    n_rows: int, n_nodes: int, workers: Workers, budget: Budget, kept: int = 0
) -> tuple[list[slice], int]:
    """Instances that are worked on at a time, each with `n_nodes`, and room for scores, as `predict` has it.

    With a limit they are as many as half of what is left allows, as each batch reads the model's files; a
    quarter is for scores, and one for all that is not counted.
    """
    left = budget.left(kept, "predicting with this model")
    room = _ROOM if left is None else min(_ROOM, left // 4)
    most = _BATCH_ROWS if left is None else left // 2 // (BYTES_PER_NODE * n_nodes)
    most = most_rows(n_rows, most, workers)
    return [slice(start, min(start + most, n_rows)) for start in range(0, n_rows, most)], room


def match(
    model: Model,
    X: sp.csr_matrix,
    beam_size: int,
    threads: int | Workers,
    budget: Budget = UNLIMITED,
    without: int = 0,
) -> sp.csr_matrix:
    """Nodes of a level that survive the beam, with their scores.

    Parameters
    ----------
    model : Model
        From `saved_model.load` or `for_prediction`.
    X : csr_matrix of shape (n_instances, n_features), float32
        Indices sorted.
    beam_size : int
        Nodes kept per level, that one included.
    threads : int or Workers
    budget : Budget
        Has no effect on the result, nor have threads.
    without : int
        Levels below it.

    Returns
    -------
    csr_matrix of shape (n_instances, n_nodes), float32
        At most `beam_size` scores in (0, 1] per row, highest first.
    """
    workers, n_levels = workers_of(threads), len(model.hinges) - without
    # Index and score of each node found, in the batches and in the matrix made of them.
    kept = 2 * 8 * model.most(beam_size) * X.shape[0]
    rows, room = batches(X.shape[0], model.most(beam_size), workers, budget, kept)
    shared = _Search(model, n_levels, checked(model, X), beam_size, room)
    found = track(workers.in_turn(_search, shared, rows), X.shape[0], lambda batch: len(batch[0]))
    indptr, indices, scores = _found(list(found))
    return sp.csr_matrix((scores, indices, indptr), shape=(X.shape[0], model.n_nodes(n_levels - 1)))


def odds(M: sp.csr_matrix) -> float:
    """How sure a matcher is: the odds, b / (1 - b), of the mean score b of instances' best nodes.

    Parameters
    ----------
    M : csr_matrix of shape (n_instances, n_nodes), float32
        From `match`.

    Returns
    -------
    float
        From 0.001, for what is made of them is divided by, to infinity.
    """
    # Of rows that have none it is 0.
    starts = M.indptr[:-1][np.diff(M.indptr) > 0]
    best = 0.0
    if len(starts):
        best = float(np.maximum.reduceat(M.data, starts).sum(dtype=np.float64)) / M.shape[0]
    return max(best / (1 - best), 0.001) if best < 1 else np.inf


def predict(model: Model, X: Flat, params: PredictParams, room: int, threads: int) -> Flat:
    """Scores of the best `top_k` labels, copies counted, of each instance: what `flat` has of a matrix."""
    given = model, len(model.hinges), X, slice(0, len(X[0]) - 1), params.beam_size, params.top_k, room
    return _found([beam.search(*given, threads)])


def _found(batches: list[tuple[np.ndarray, np.ndarray]]) -> Flat:
    """The nodes of all instances without the places that are empty."""
    none = np.empty((0, 1), np.int32), np.empty((0, 1), np.float32)
    nodes, scores = (np.concatenate(arrays) for arrays in zip(*(batches or [none]), strict=True))
    is_full = nodes[:, -1].min(initial=0) >= 0
    n = np.full(len(nodes), nodes.shape[1]) if is_full else (nodes >= 0).sum(axis=1)
    is_there = slice(None) if is_full else nodes.reshape(-1) >= 0
    indptr = np.concatenate([[0], n.cumsum()])
    return indptr, nodes.reshape(-1)[is_there], scores.reshape(-1)[is_there]
