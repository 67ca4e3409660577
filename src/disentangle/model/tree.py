"""The label tree: build its chain, read it back from a model, replace its leaf level."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import chain as chained
from itertools import count, pairwise, takewhile
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from sklearn.preprocessing import normalize

from ..errors import DisentangleError
from ..kernels import kmeans
from ..kernels.label_features import summing
from ..params import TreeParams
from ..runtime.interrupt import interruptible
from ..runtime.memory import UNLIMITED, Budget
from ..runtime.progress import track
from ..runtime.threads import in_threads
from ..runtime.workers import Workers, workers_of
from ..storage import npz
from ..storage.compressed import Flat, columns_of, flat, matrix_of, one_per_row
from ..storage.saved import Saved
from .pecos import ClusterChain

# PECOS adds up the root's centres in as many parts as it has threads, and rounding that differs may put a
# label into another cluster. So they are always two.
_PARTS = 2
# Values of label features that a thread makes at a time, at most.
_BLOCK = 1 << 18
# Clusters are so small that the threads of one would only wait for one another, and that one alone is hardly
# worth a call: so many are at most in one, and fewer where they would be more work than one of so many calls.
_CLUSTERS, _CALLS = 16, 128
# Levels of a tree that is saved alone, and of a model, counted from the root.
_LEVEL, _LEVEL_OF_MODEL = "level-{}.npz", "ranker/{}.model/C.npz"


def build_chain(
    X: sp.csr_matrix, Y: sp.csc_matrix, params: TreeParams, threads: int, budget: Budget = UNLIMITED
) -> ClusterChain:
    """Cluster the labels by their PIFA features with balanced spherical k-means.

    Parameters
    ----------
    X : csr_matrix of shape (n_instances, n_features), float32
    Y : csc_matrix of shape (n_instances, n_labels), float32
        Only ones.
    params : TreeParams
    threads : int
        Has no effect on the result.
    budget : Budget
        With a limit label features lie in files that are mapped into memory.

    Returns
    -------
    ClusterChain
        Top to leaf; the last matrix is C, of shape (n_labels, n_clusters), one 1 per row.

    Raises
    ------
    DisentangleError
        If there are so few labels that the tree would be one single cluster.
    """
    params.n_levels(Y.shape[1])
    features = _label_features(X, Y, threads, budget)
    depth = _depth(Y.shape[1], params.max_leaf_size)
    ends, depths = np.array([0, Y.shape[1]]), np.array([depth])
    codes = interruptible(
        lambda: kmeans.halve(features, X.shape[1], ends, depths, params.seed, _PARTS, threads, budget)
    )
    C, splits = one_per_row(codes, 1 << depth).tocsc(), params.nr_splits
    return ClusterChain.from_partial_chain(C, min_codes=splits, nr_splits=splits)


def _depth(n_labels: int, max_leaf_size: int) -> int:
    """How often labels are halved, until clusters are small enough."""
    return max(1, math.ceil(math.log2(n_labels / max_leaf_size)))


def _label_features(X: sp.csr_matrix, Y: sp.csc_matrix, threads: int, budget: Budget) -> Flat:
    """PIFA: each label's is the normalised sum of its instances' features."""
    Yt = _instances_of(Y)
    summed = summing(flat(Yt), flat(X), X.shape[1])
    ends = np.minimum(_values(Yt, X), X.shape[1]).cumsum()
    bounds = np.unique([0, *np.searchsorted(ends, np.arange(_BLOCK, ends[-1], _BLOCK)), len(ends)])
    sizes, indices, values = [np.zeros(1, np.int64)], budget.growing(np.int32), budget.growing(np.float32)

    def features(block: tuple[int, int]) -> sp.csr_matrix:
        return _normalised(summed(np.arange(*block)), X.shape[1])

    for block in in_threads(features, pairwise(bounds.tolist()), threads):
        sizes.append(np.diff(block.indptr))
        indices.append(block.indices)
        values.append(block.data)
    return np.concatenate(sizes).cumsum(), indices.array(), values.array()


def _instances_of(Y: sp.csc_matrix) -> sp.csr_matrix:
    """Labels' instances, each instance's weights of length 1; shape (n_labels, n_instances), float32."""
    n_labels = np.maximum(np.bincount(Y.indices, minlength=Y.shape[0]), 1)
    weights = (1 / np.sqrt(n_labels)).astype(np.float32)[Y.indices]
    return matrix_of(sp.csr_matrix, weights, Y.indices, Y.indptr, (Y.shape[1], Y.shape[0]))


def _values(Yt: sp.csr_matrix, X: sp.csr_matrix) -> np.ndarray:
    """How many values each label's instances have."""
    return Yt.astype(bool) @ np.diff(X.indptr).astype(np.int64)


def _normalised(sums: Flat, n_features: int) -> sp.csr_matrix:
    """Features of labels, given the sums of their instances'."""
    indptr, indices, values = sums
    shape = len(indptr) - 1, n_features
    return normalize(matrix_of(sp.csr_matrix, values, indices, indptr, shape), copy=False)


def save_chain(chain: ClusterChain, folder: Path) -> None:
    """Save a tree on which nothing is trained yet."""
    for d, C in enumerate(chain):
        npz.save_plain(folder / _LEVEL.format(d), C)


def load_chain(saved: Saved) -> ClusterChain:
    """The chain of a saved tree, or of a saved model, top to leaf.

    Raises
    ------
    DisentangleError
        If a file is damaged, or it is no tree.
    """
    level = _LEVEL if _LEVEL.format(0) in saved else _LEVEL_OF_MODEL
    # Levels are counted, not listed: as text, 10 sorts before 2.
    names = list(takewhile(saved.__contains__, (level.format(d) for d in count())))
    if not names:
        raise saved.damaged(level.format(0), "expected the first level of a tree, found none")
    chain: list[sp.csc_matrix] = []
    for name in names:
        above = chain[-1].shape[0] if chain else 1
        chain.append(check_level(saved, name, saved.matrix(name), above))
    return ClusterChain(chain)


def check_level(saved: Saved, name: str, C: sp.spmatrix, n_columns: int) -> sp.csc_matrix:
    """A level of a tree, as PECOS takes it: in each row of nodes one 1, in the column of the node above.

    Raises
    ------
    DisentangleError
        If the matrix, read from the file `name`, is none, or has not `n_columns`.
    """
    rows = C.tocsr()
    is_tree = len(rows.data) > 0 and (np.diff(rows.indptr) == 1).all() and (rows.data == 1).all()
    if not is_tree or C.shape[1] != n_columns:
        raise saved.damaged(name, f"expected one 1 per row and {n_columns} columns, found no such tree")
    return C.tocsc()


def replace_upper_levels(chain: ClusterChain, nr_splits: int) -> ClusterChain:
    """The same leaf clusters below other levels: those of the tree that `nr_splits` would have given.

    K-means halves clusters until they are small enough, whatever `nr_splits`, which only says how many
    halvings make a level.

    Parameters
    ----------
    chain : ClusterChain
        As it was built.
    nr_splits : int
        Children per inner node.
    """
    return ClusterChain.from_partial_chain(chain[-1], min_codes=nr_splits, nr_splits=nr_splits)


def replace_leaf_level(chain: ClusterChain, C: sp.csc_matrix) -> ClusterChain:
    """The same tree with other labels in its leaf clusters.

    Parameters
    ----------
    chain : ClusterChain
    C : csc_matrix of shape (n_labels, n_clusters), float32
        One 1 per row; `n_labels` may differ from the chain's, copies counted.
    """
    return ClusterChain([*chain[:-1], C])


def split_leaves(
    chain: ClusterChain,
    X: sp.csr_matrix,
    Y: sp.csc_matrix,
    leaf_size: int,
    seed: int,
    threads: int | Workers,
) -> ClusterChain:
    """The same tree, each leaf cluster of too many labels split into parts of about equal size.

    The cluster stays as the parent of its parts, so the tree gets a level deeper.

    They are found by balanced spherical k-means on PIFA features, for which only the labels in too large
    clusters are counted.

    Parameters
    ----------
    chain : ClusterChain
        Its last matrix has `n_labels` rows.
    X : csr_matrix of shape (n_instances, n_features), float32
    Y : csc_matrix of shape (n_instances, n_labels), float32
        Only ones; copies count as labels.
    leaf_size : int
        Most labels per leaf cluster.
    seed : int
        Of k-means.
    threads : int or Workers

    Returns
    -------
    ClusterChain
        The given one if no cluster is too large. Of a cluster's parts the first keeps its number.
    """
    clusters = leaf_clusters(chain)
    n_clusters = chain[-1].shape[1]
    sizes = np.bincount(clusters, minlength=n_clusters)
    too_large = np.flatnonzero(sizes > leaf_size)
    if not len(too_large):
        return chain
    # Cluster by cluster: the labels of each lie between its offset and the next.
    labels = np.flatnonzero(sizes[clusters] > leaf_size)
    labels = labels[np.argsort(clusters[labels], kind="stable")]
    offsets = np.concatenate([[0], np.cumsum(sizes[too_large])])
    workers = workers_of(threads)
    shared = _Leaves(X, _instances_of(columns_of(Y, labels, workers.threads)), leaf_size, seed)
    members = [slice(*pair) for pair in pairwise(offsets)]
    part_of = [np.arange(n_clusters)]
    values = np.add.reduceat(_values(shared.Yt, X), offsets[:-1])
    share = max(values.sum() / _CALLS, 1)
    filled = np.maximum(values / share, 1 / _CLUSTERS).cumsum() // 1
    ends = np.append(np.flatnonzero(np.diff(filled, prepend=-1)), len(members))
    calls = [offsets[first : end + 1] for first, end in pairwise(ends)]
    parts = chained.from_iterable(workers.map(_halve, shared, calls))
    for k, rows, part in track(zip(too_large, members, parts, strict=True), len(too_large)):
        clusters[labels[rows]] = np.where(part == 0, k, n_clusters + part - 1)
        n_clusters += int(part.max())
        part_of.append(np.full(part.max(), k))
    parents = np.concatenate(part_of)
    below = one_per_row(parents, len(sizes)).tocsc(), one_per_row(clusters, n_clusters).tocsc()
    return ClusterChain([*chain[:-1], *below])


@dataclass(frozen=True)
class _Leaves:
    """What all clusters that are split have in common: instances, their labels' instances, settings."""

    X: sp.csr_matrix
    Yt: sp.csr_matrix
    leaf_size: int
    seed: int

    @cached_property
    def summed(self) -> Callable[[np.ndarray], Flat]:
        """What adds up labels' instances, made where it is to do so."""
        return summing(flat(self.Yt), flat(self.X), self.X.shape[1])


def _halve(of: _Leaves, ends: np.ndarray, threads: int) -> list[np.ndarray]:
    """Part of each label of some clusters: halves of halves, down to the leaf size; int64, one a label."""
    depths = np.array([_depth(n, of.leaf_size) for n in np.diff(ends).tolist()])
    order = np.argsort(-depths, kind="stable")
    labels = [np.arange(ends[i], ends[i + 1]) for i in order]
    own = _normalised(of.summed(np.concatenate(labels)), of.X.shape[1])
    starts = np.cumsum([0, *map(len, labels)])
    codes = kmeans.halve(flat(own), own.shape[1], starts, depths[order], of.seed, 1, threads)
    parts = np.split(codes, starts[1:-1])
    return [parts[i] for i in np.argsort(order)]


def leaf_clusters(chain: ClusterChain) -> np.ndarray:
    """Cluster of each label: int32 of shape (n_labels,)."""
    return chain[-1].tocsr().indices.astype(np.int32)


def clusters_at_level(chain: ClusterChain, level_from_leaf: int) -> np.ndarray:
    """Cluster of each label at a level of the tree.

    Parameters
    ----------
    chain : ClusterChain
    level_from_leaf : int
        0 for the leaf clusters, 1 for their parents, and so on up to the root.

    Returns
    -------
    ndarray of shape (n_labels,), int32

    Raises
    ------
    DisentangleError
        If the tree has no such level.
    """
    if not 0 <= level_from_leaf < len(chain):
        raise DisentangleError(
            f"the level must be in 0..{len(chain) - 1} for this tree, got {level_from_leaf}"
        )
    clusters = leaf_clusters(chain)
    for level in range(1, level_from_leaf + 1):
        clusters = chain[-1 - level].tocsr().indices[clusters].astype(np.int32)
    return clusters
