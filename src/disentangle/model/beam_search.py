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

# A batch's instances, and what their scores of nodes may take: for a larger one fewer tables are made.
_BATCH_ROWS, _BATCH_BYTES = 1 << 16, 1 << 28


@dataclass(frozen=True)
class _Search:
    """What all batches of instances have in common."""

    model: Model
    n_levels: int
    X: Flat
    beam_size: int
    top_k: int


def _search(of: _Search, rows: slice, threads: int) -> tuple[np.ndarray, np.ndarray]:
    return beam.search(of.model, of.n_levels, of.X, rows, of.beam_size, of.top_k, threads)


def _checked(model: Model, X: sp.csr_matrix) -> Flat:
    if X.shape[1] != model.n_features or not X.has_sorted_indices:
        expected = f"{model.n_features} features, indices sorted"
        raise ValueError(f"X must have {expected}, got a matrix of shape {X.shape}")
    return flat(X)


def bytes_per_instance(model: Model, beam_size: int) -> int:
    """What an instance takes while it is worked on: scores of all nodes below its clusters."""
    return 4 * model.most_scores(beam_size)


def rows_of_a_batch(model: Model, beam_size: int) -> int:
    """How many instances are worked on at a time where there is no limit."""
    return max(1, min(_BATCH_ROWS, _BATCH_BYTES // bytes_per_instance(model, beam_size)))


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
    most = most_rows(X.shape[0], rows_of_a_batch(model, beam_size), workers)
    # Index and score of each node found, in the batches and in the matrix made of them.
    kept = 2 * 8 * model.most(beam_size) * X.shape[0]
    rows = budget.slices(np.full(X.shape[0], bytes_per_instance(model, beam_size)), kept, most_rows=most)
    shared = _Search(model, n_levels, _checked(model, X), beam_size, beam_size)
    batches = track(workers.in_turn(_search, shared, rows), X.shape[0], lambda batch: len(batch[0]))
    indptr, indices, scores = _found(list(batches))
    return sp.csr_matrix((scores, indices, indptr), shape=(X.shape[0], model.n_nodes(n_levels - 1)))


def predict(model: Model, X: sp.csr_matrix, params: PredictParams, threads: int) -> Flat:
    """Scores of the best `top_k` labels, copies counted, of each instance: what `flat` has of a matrix."""
    shared = _Search(model, len(model.hinges), _checked(model, X), params.beam_size, params.top_k)
    return _found([_search(shared, slice(0, X.shape[0]), threads)])


def _found(batches: list[tuple[np.ndarray, np.ndarray]]) -> Flat:
    """The nodes of all instances without the places that are empty."""
    none = np.empty((0, 1), np.int32), np.empty((0, 1), np.float32)
    nodes, scores = (np.concatenate(arrays) for arrays in zip(*(batches or [none]), strict=True))
    is_full = nodes[:, -1].min(initial=0) >= 0
    n = np.full(len(nodes), nodes.shape[1]) if is_full else (nodes >= 0).sum(axis=1)
    is_there = slice(None) if is_full else nodes.reshape(-1) >= 0
    indptr = np.concatenate([[0], n.cumsum()])
    return indptr, nodes.reshape(-1)[is_there], scores.reshape(-1)[is_there]
