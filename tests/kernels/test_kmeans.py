"""K-means finds PECOS's clusters, however many threads share it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from pecos.core import ScipyCsrF32, clib

from disentangle.kernels import kmeans
from disentangle.model.pecos import HierarchicalKMeans
from disentangle.runtime.memory import UNLIMITED, Budget
from disentangle.storage.compressed import flat


def by_pecos(X: sp.csr_matrix, depth: int, seed: int, threads: int) -> list[int]:
    how = HierarchicalKMeans.TrainParams(
        max_leaf_size=1, seed=seed, threads=threads, warmup_ratio=1.0, min_sample_rate=1.0
    )
    how.depth, how.partition_algo = depth, HierarchicalKMeans.SKMEANS
    return clib.run_clustering(ScipyCsrF32.init_from(X), how).tolist()


def halved(
    X: sp.csr_matrix, depth: int, seed: int, n_parts: int, threads: int, budget: Budget = UNLIMITED
) -> list[int]:
    whole = np.array([0, X.shape[0]]), np.array([depth])
    return kmeans.halve(flat(X), X.shape[1], *whole, seed, n_parts, threads, budget).tolist()


def rows(n: int, n_columns: int, density: float, seed: int, has_ties: bool) -> sp.csr_matrix:
    rng = np.random.default_rng(seed)
    X = sp.random(n, n_columns, density, "csr", np.float32, rng, rng.standard_normal)
    if has_ties:  # equal rows, and empty ones, have equal scores
        X.data[:] = np.sign(X.data)
        X = sp.vstack([X[: n - n // 2], X[: n // 2]], format="csr")
    X.sort_indices()
    return X


@settings(deadline=None, max_examples=60)
@given(
    n=st.integers(2, 200),
    n_columns=st.integers(1, 300),
    density=st.floats(0, 0.3),
    seed=st.integers(0, 1 << 31),
    has_ties=st.booleans(),
    n_parts=st.sampled_from([1, 2, 3]),
    threads=st.sampled_from([1, 2, 5]),
    are_shared=st.booleans(),
)
def test_the_clusters_are_pecos_own(
    n: int,
    n_columns: int,
    density: float,
    seed: int,
    has_ties: bool,
    n_parts: int,
    threads: int,
    are_shared: bool,
):
    X = rows(n, n_columns, density, seed, has_ties)
    depth = min(int(np.log2(n)), 5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kmeans, "_WORTH_SHARING", 0 if are_shared else 1 << 20)
        patch.setattr(kmeans, "_ROWS_OF_A_BLOCK", 7)
        patch.setattr(kmeans, "_BLOCK", 1)
        found = halved(X, depth, seed, n_parts, threads)
    assert found == by_pecos(X, depth, seed, n_parts)


@pytest.mark.parametrize("threads", [1, 3])
def test_rows_in_files_are_put_in_order_and_the_clusters_stay(
    threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    X, ordered = rows(90, 50, 0.2, 4, has_ties=True), []
    in_order = kmeans._in_order
    monkeypatch.setattr(kmeans, "_in_order", lambda *given: ordered.append(given) or in_order(*given))
    monkeypatch.setattr(kmeans, "_SMALL", X.nnz // 4)
    found = halved(X, 5, 6, 2, threads, Budget(1 << 30, tmp_path))
    assert found == by_pecos(X, 5, 6, 2)
    # Until a node of a fourth of the values is halved.
    assert len(ordered) == 3
    assert halved(X, 5, 6, 2, threads) == found
    assert len(ordered) == 3


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("depths", [[3], [4, 4, 2, 1], [3, 2, 2, 2, 1, 1]])
def test_trees_side_by_side_are_those_of_each(depths: list[int], threads: int):
    each = [rows(40 + 7 * i, 60, 0.2, i, has_ties=i % 2 == 0) for i in range(len(depths))]
    ends = np.cumsum([0, *(X.shape[0] for X in each)])
    together = sp.vstack(each, format="csr")
    found = kmeans.halve(flat(together), 60, ends, np.array(depths), 3, 1, threads)
    expected = [by_pecos(X, depth, 3, 1) for X, depth in zip(each, depths, strict=True)]
    assert [part.tolist() for part in np.split(found, ends[1:-1])] == expected


def test_columns_are_squared_in_their_order():
    """With many, where the order of a sum in float32 tells which row is on which side."""
    X = rows(4000, 150_000, 0.002, 1, has_ties=False)
    X.data[:] = np.abs(X.data)
    assert halved(X, 3, 5, 2, 2) == by_pecos(X, 3, 5, 2)


def test_halves_differ_by_one_row_at_most():
    X = rows(101, 20, 0.3, 0, has_ties=True)
    assert np.bincount(halved(X, 2, 0, 1, 1)).tolist() == [25, 25, 25, 26]
