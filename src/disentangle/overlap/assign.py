"""Which clusters a label belongs to: those that its training instances match most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from ..kernels.best_clusters import best_clusters
from ..params import Assignment
from ..rules import GAINS
from ..runtime.workers import Workers, split, workers_of
from ..storage.compressed import flat
from .copies import Overlap


@dataclass(frozen=True)
class _Counts:
    """What is counted, as `best_clusters` takes it."""

    labels: tuple[np.ndarray, np.ndarray]
    matches: tuple[np.ndarray, np.ndarray, np.ndarray]
    sizes: tuple[int, int]


def _choose(counts: _Counts, labels: np.ndarray, threads: int) -> np.ndarray:
    first, end = int(labels[0]), int(labels[-1]) + 1
    return best_clusters(*counts.labels, *counts.matches, *counts.sizes, threads, first, end)


def assign(
    Y: sp.csc_matrix, M: sp.csr_matrix, own: np.ndarray, params: Assignment, threads: int | Workers = 1
) -> Overlap:
    """Put each label into the clusters that gain it most.

    With the paper's parameters the gain is the number of instances that match a cluster, Y^T M, and a label
    takes its `n_copies` clusters of most gain, whatever their size (Liu, Chang, Yu, Hsieh and Dhillon,
    NeurIPS 2021, section 3). Equal gains are taken in an order that a hash of label and cluster decides: it
    favours none, and does not depend on instances, threads or a seed.

    Parameters
    ----------
    Y : csc_matrix of shape (n_instances, n_labels)
        Training labels.
    M : csr_matrix of shape (n_instances, n_clusters)
        Scores of the clusters that survive the beam.
    own : ndarray of shape (n_labels,), int
        Cluster of each label now; a label that matches no cluster keeps it.
    params : Assignment
    threads : int or Workers
        Has no effect on the result.

    Returns
    -------
    Overlap
        Pseudo labels sorted by original label, best cluster first.

    Raises
    ------
    ValueError
        If the shapes of `Y`, `M` and `own` disagree.
    """
    n_labels, n_clusters = Y.shape[1], M.shape[1]
    if Y.shape[0] != M.shape[0] or own.shape != (n_labels,):
        raise ValueError(f"shapes disagree: Y {Y.shape}, M {M.shape}, own {own.shape}")
    n_copies = min(params.n_copies, n_clusters)
    m_indptr, m_indices, scores = flat(M)
    gains = GAINS[params.gain](scores)
    counts = _Counts(flat(Y)[:2], (m_indptr, m_indices, gains), (n_clusters, n_copies))
    workers = workers_of(threads)
    clusters = np.vstack(list(workers.in_turn(_choose, counts, split(np.arange(n_labels), workers))))
    unmatched = clusters[:, 0] < 0
    first = np.where(unmatched, own, clusters[:, 0]).astype(np.int32)
    label, copy = np.nonzero(clusters[:, 1:] >= 0)
    return Overlap(
        clusters=np.concatenate([first, clusters[label, copy + 1]]),
        original=np.concatenate([np.arange(n_labels), label]).astype(np.int32),
        n_labels=n_labels,
        n_clusters=n_clusters,
        n_unmatched_labels=int(unmatched.sum()),
    )
