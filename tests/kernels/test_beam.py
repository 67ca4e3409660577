"""Beam search against a slow twin, on trees of any shape: by tables, by lookups, in threads."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from disentangle import kernels
from disentangle.kernels import beam, beam_model
from disentangle.storage.compressed import flat, one_per_row

Level = tuple[sp.csc_matrix, sp.csc_matrix, int]


def drawn_levels(rng: np.random.Generator, n_features: int, sizes: list[int]) -> list[Level]:
    """Nodes below any parent of the level above; whole weights, of which many are 0, make scores equal."""
    levels, n_above = [], 1
    for n in sizes:
        above = rng.integers(0, n_above, n)
        W = (rng.random((n_features + 1, n)) < rng.choice([0, 0.2, 1])) * rng.normal(size=(n_features + 1, n))
        W = np.round(W, int(rng.integers(0, 3))).astype(np.float32)
        hinge = int(rng.integers(1, 7))
        levels.append((one_per_row(above, n_above).tocsc(), sp.csc_matrix(W), hinge))
        n_above = n
    return levels


def slow_search(levels: list[Level], x: np.ndarray, beam_size: int, top_k: int) -> list[tuple[int, float]]:
    kept = [(0, np.float32(1))]
    for d, (C, W, hinge) in enumerate(levels):
        found, weights = [], W.toarray()
        for parent, above in kept:
            for node in C.indices[C.indptr[parent] : C.indptr[parent + 1]]:
                z = np.float32(0)
                for value, weight in zip([*x, np.float32(1)], weights[:, node], strict=True):
                    z += value * weight
                loss = float(max(np.float32(1) - z, np.float32(0)))
                found.append((int(node), above * np.float32(math.exp(-(loss**hinge)))))
        found.sort(key=lambda one: (-one[1], one[0]))
        kept = found[: top_k if d == len(levels) - 1 else beam_size]
    return [(node, float(score)) for node, score in kept]


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.lists(st.sampled_from([1, 2, 3, 17, 40]), min_size=1, max_size=5),
    n_rows=st.sampled_from([0, 1, 5]),
    n_features=st.sampled_from([1, 7]),
    beam_size=st.sampled_from([1, 3, 2**30]),
    top_k=st.sampled_from([1, 10, 2**30]),
)
def test_beam_search_is_what_a_slow_one_finds(
    seed: int, sizes: list[int], n_rows: int, n_features: int, beam_size: int, top_k: int
):
    rng = np.random.default_rng(seed)
    levels = drawn_levels(rng, n_features, sizes)
    X = np.round(rng.normal(size=(n_rows, n_features)) * (rng.random((n_rows, n_features)) < 0.5), 1)
    X = X.astype(np.float32)
    model = beam_model.build([(flat(C), flat(W), hinge) for C, W, hinge in levels], n_features, threads=2)
    slow = [slow_search(levels, x, beam_size, top_k) for x in X]
    given = model, len(levels), flat(sp.csr_matrix(X)), slice(0, n_rows), beam_size, top_k
    # By tables also with room for no more than a parent's scores, and for those of a few.
    for entries_per_lookup, room, threads in [
        (0, 0, 1),
        (0, 0, 5),
        (1 << 62, 1 << 20, 1),
        (1 << 62, 0, 5),
        (1 << 62, 500, 1),
        (1 << 62, 500, 5),
        (1 << 62, 1 << 20, 5),
    ]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(beam, "_ENTRIES_PER_LOOKUP", entries_per_lookup)
            patch.setattr(kernels, "_FEWEST_ROWS", 1)
            nodes, scores = beam.search(*given, room, threads)
        found = [
            [(node, score) for node, score in zip(*row, strict=True) if node >= 0]
            for row in zip(nodes.tolist(), scores.tolist(), strict=True)
        ]
        assert found == slow


def test_above_the_first_level_is_the_root():
    levels = drawn_levels(np.random.default_rng(0), 3, [8])
    model = beam_model.build([(flat(C), flat(W), hinge) for C, W, hinge in levels], 3, threads=1)
    X = flat(sp.csr_matrix(np.ones((2, 3), np.float32)))
    nodes, scores = beam.search(model, 0, X, slice(0, 2), 5, 5, room=0, threads=1)
    assert (model.n_nodes(-1), model.n_nodes(0)) == (1, 8)
    assert nodes[:, 0].tolist() == [0, 0]
    assert (nodes[:, 1:] == -1).all()
    assert scores[:, 0].tolist() == [1, 1]
