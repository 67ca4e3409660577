"""K-means finds PECOS's clusters, however many threads share it."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from disentangle.kernels import kmeans
from disentangle.model.pecos import HierarchicalKMeans, ScipyCsrF32, clib
from disentangle.storage.matrices import flat


def by_pecos(X: sp.csr_matrix, depth: int, seed: int, threads: int) -> list[int]:
    how = HierarchicalKMeans.TrainParams(
        max_leaf_size=1, seed=seed, threads=threads, warmup_ratio=1.0, min_sample_rate=1.0
    )
    how.depth, how.partition_algo = depth, HierarchicalKMeans.SKMEANS
    return clib.run_clustering(ScipyCsrF32.init_from(X), how).tolist()


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
        found = kmeans.halve(flat(X), n_columns, depth, seed, n_parts, threads)
    assert found.tolist() == by_pecos(X, depth, seed, n_parts)


def test_columns_are_squared_in_their_order():
    """With many, where the order of a sum in float32 tells which row is on which side."""
    X = rows(4000, 150_000, 0.002, 1, has_ties=False)
    X.data[:] = np.abs(X.data)
    assert kmeans.halve(flat(X), X.shape[1], 3, 5, 2, 2).tolist() == by_pecos(X, 3, 5, 2)


def test_halves_differ_by_one_row_at_most():
    X = rows(101, 20, 0.3, 0, has_ties=True)
    assert np.bincount(kmeans.halve(flat(X), 20, 2, 0, 1, 1)).tolist() == [25, 25, 25, 26]
