"""The plain recipe: what this project does in, between and after trainings, as one would write it on PECOS.

It follows the paper's preset step by step, with PECOS's trainable models, which predict layer by layer,
scipy's products, one sort of all counts, a compiled dictionary and loops over rows. Only the hash that orders
equal counts and the file of the copies are the package's, so that results are equal: `stage_costs.py` checks
that, and compares the seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numba
import numpy as np
import scipy.sparse as sp

from disentangle.kernels.best_clusters import _shuffled
from disentangle.model.pecos import ClusterChain, XLinearModel  # put right for scipy and numpy of today
from disentangle.overlap.copies import Overlap
from disentangle.storage.saved import Saved


@dataclass(frozen=True)
class Evaluation:
    """What is said of a model on test instances.

    Attributes
    ----------
    ranked : ndarray of shape (n_instances, k), int
        Labels of the highest scores, best first, -1 where there are fewer.
    precision, recall : ndarray of shape (k,)
        P@1..k and R@1..k in percent.
    candidates : float
        Labels, copies counted, in the clusters that the beam keeps, mean over instances.
    """

    ranked: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    candidates: float


def train(chain: ClusterChain, X: sp.csr_matrix, Y: sp.csr_matrix, threads: int) -> XLinearModel:
    """XR-Linear on a tree, all levels at once."""
    return XLinearModel.train(X, Y.tocsc(), C=chain, threads=threads)


def match(model: XLinearModel, X: sp.csr_matrix, beam_size: int, threads: int) -> sp.csr_matrix:
    """Which leaf clusters survive the beam, 0/1: layer by layer through all but the last."""
    M: Any = None
    for layer in model.model.model_chain[:-1]:
        M = layer.predict(X, csr_codes=M, only_topk=beam_size, post_processor="l3-hinge", threads=threads)
    # Stored entries are what survives, whatever their scores.
    M.data[:] = 1
    return M


@numba.njit
def copy_numbers(labels: np.ndarray, n_copies: int) -> np.ndarray:
    """Number, from 0, of the copy that each entry of the sorted counts makes of its label; -1 for none."""
    n_taken = numba.typed.Dict.empty(numba.int64, numba.int64)
    numbers = np.full(len(labels), -1)
    for i in range(len(labels)):
        n = n_taken.get(labels[i], 0)
        if n < n_copies:
            numbers[i] = n
            n_taken[labels[i]] = n + 1
    return numbers


def assign(Y: sp.csr_matrix, M: sp.csr_matrix, own: np.ndarray, n_copies: int) -> Overlap:
    """Sort all counts at once, and take the highest while its label has fewer than `n_copies` clusters."""
    counts = (Y.T @ M).tocoo()
    order = np.lexsort((_shuffled.py_func(counts.row, counts.col), -counts.data))
    labels, clusters = counts.row[order], counts.col[order]
    numbers = copy_numbers(labels.astype(np.int64), n_copies)
    is_first, is_copy = numbers == 0, numbers > 0
    first = own.copy()
    first[labels[is_first]] = clusters[is_first]
    # The scan meets a label's better copies earlier: stable, so that they stay in that order.
    by_label = np.argsort(labels[is_copy], kind="stable")
    return Overlap(
        clusters=np.concatenate([first, clusters[is_copy][by_label]]),
        original=np.concatenate([np.arange(len(own)), labels[is_copy][by_label]]),
        n_labels=len(own),
        n_clusters=M.shape[1],
        n_unmatched_labels=len(own) - int(is_first.sum()),
    )


def expand(Y: sp.csr_matrix, overlap: Overlap) -> sp.csc_matrix:
    """The label matrix with a further column for each copy: the instances of its label once more."""
    Y = Y.tocsc()
    columns = [
        Y.indices[Y.indptr[label] : Y.indptr[label + 1]] for label in overlap.original[overlap.n_labels :]
    ]
    if not columns:
        return Y
    rows = np.concatenate(columns)
    indptr = np.cumsum([0, *map(len, columns)])
    copies = sp.csc_matrix((np.ones(len(rows), Y.dtype), rows, indptr), shape=(Y.shape[0], len(columns)))
    return sp.hstack([Y, copies], format="csc")


def overlap_step(
    folder: Path, X: sp.csr_matrix, Y: sp.csr_matrix, n_copies: int, beam_size: int, threads: int
) -> tuple[Overlap, sp.csc_matrix]:
    """From a trained model to what the second training is given: match, count, assign, expand.

    Parameters
    ----------
    folder : Path
        A saved model without copies.
    X, Y : csr_matrix of shape (n_instances, n_features) and (n_instances, n_labels), float32
        Training instances.
    n_copies, beam_size, threads : int

    Returns
    -------
    Overlap
        Equal to `disentangle.overlap.assign`'s.
    csc_matrix of shape (n_instances, n_labels + n_pseudo_labels)
        Equal to `disentangle.pseudo.expand_labels`'s.
    """
    model = XLinearModel.load(str(folder))
    own = model.model.model_chain[-1].pC.buf.tocsr().indices
    overlap = assign(Y, match(model, X, beam_size, threads), own, n_copies)
    return overlap, expand(Y, overlap)


def merge(scores: sp.csr_matrix, original: np.ndarray, n_labels: int) -> sp.csr_matrix:
    """Mean score of those copies of a label that were retrieved, as float32."""
    n_columns = len(original)
    is_copy_of = sp.csr_matrix(
        (np.ones(n_columns), original, np.arange(n_columns + 1)), shape=(n_columns, n_labels)
    )
    retrieved = sp.csr_matrix((np.ones(scores.nnz), scores.indices, scores.indptr), shape=scores.shape)
    # Added in double precision and rounded once, as the package does it.
    total = scores.astype(np.float64) @ is_copy_of
    merged = total.multiply((retrieved @ is_copy_of).power(-1)).tocsr().astype(np.float32)
    merged.sort_indices()
    return merged


def rank(scores: sp.csr_matrix, k: int) -> np.ndarray:
    """Labels of the `k` highest scores, row by row; equal scores by ascending label id, -1 for none."""
    ranked = np.full((scores.shape[0], k), -1)
    for i, (start, stop) in enumerate(zip(scores.indptr[:-1], scores.indptr[1:], strict=True)):
        best = np.argsort(-scores.data[start:stop], kind="stable")[:k]
        ranked[i, : len(best)] = scores.indices[start:stop][best]
    return ranked


def precision_and_recall(Y_true: sp.csr_matrix, ranked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """P@1..k and R@1..k in percent, row by row."""
    n, k = ranked.shape
    precision, recall = np.zeros(k), np.zeros(k)
    for i in range(n):
        true = Y_true.indices[Y_true.indptr[i] : Y_true.indptr[i + 1]]
        n_right = np.isin(ranked[i], true).cumsum()
        precision += n_right / np.arange(1, k + 1)
        recall += n_right / len(true)
    return 100 * precision / n, 100 * recall / n


def evaluate(
    folder: Path, X: sp.csr_matrix, Y: sp.csr_matrix, k: int, beam_size: int, threads: int
) -> Evaluation:
    """Predict test instances, merge, rank and score; for the candidates, go through the matcher once more.

    Parameters
    ----------
    folder : Path
        A saved model with its copies in `overlap.npz`.
    X, Y : csr_matrix of shape (n_instances, n_features) and (n_instances, n_labels), float32
        Test instances; each has a label.
    k, beam_size, threads : int
    """
    model = XLinearModel.load(str(folder))
    overlap = Overlap.load(Saved(folder))
    # Beam size and top_k are stored in the model.
    scores = merge(model.predict(X, threads=threads), overlap.original, overlap.n_labels)
    ranked = rank(scores, k)
    sizes = np.bincount(overlap.clusters, minlength=overlap.n_clusters)
    candidates = float((match(model, X, beam_size, threads) @ sizes).mean())
    return Evaluation(ranked, *precision_and_recall(Y, ranked), candidates)
