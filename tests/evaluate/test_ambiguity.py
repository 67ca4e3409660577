"""How ambiguous a label is: planted meanings, laws, and a slow twin that looks at each pair of instances."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
import scipy.sparse as sp

from disentangle.evaluate import ambiguity as module
from disentangle.evaluate.ambiguity import Ambiguity, ambiguity, p_values
from disentangle.overlap.copies import Overlap, without_copies

N_TOPICS = 6


def overlap_of(n_labels: int, n_clusters: int, copies: list[tuple[int, int]]) -> Overlap:
    """Each label in a cluster of its number, and further copies: pairs of label and cluster."""
    labels, clusters = np.array(copies, np.int32).reshape(-1, 2).T
    first = np.arange(n_labels, dtype=np.int32)
    return Overlap(
        np.concatenate([first % n_clusters, clusters]).astype(np.int32),
        np.concatenate([first, labels]).astype(np.int32),
        n_labels,
        n_clusters,
        0,
    )


def random_case(
    seed: int, n: int = 40, n_labels: int = 7, n_clusters: int = 5
) -> tuple[sp.csc_matrix, Overlap, sp.csr_matrix]:
    """Labels, copies and matches without any sense; label 5 has one instance, label 6 none."""
    rng = np.random.default_rng(seed)
    Y = (rng.random((n, n_labels)) < 0.3).astype(np.float32)
    Y[:, 5:] = 0
    Y[3, 5] = 1
    M = rng.integers(0, 4, (n, n_clusters)) / 4  # ties, and instances that reach nothing of a label
    overlap = overlap_of(n_labels, n_clusters, [(0, 3), (0, 4), (1, 0), (3, 1), (5, 2)])
    return sp.csc_matrix(Y), overlap, sp.csr_matrix(M.astype(np.float32))


def planted(seed: int, n_labels: int = 120, n: int = 30) -> tuple[sp.csc_matrix, Overlap, sp.csr_matrix]:
    """Labels of one topic, and every sixth of two, each label with two copies; topics have own labels."""
    rng = np.random.default_rng(seed)
    rows, columns, topics = [], [], []
    for label in range(n_labels):
        own = rng.permutation(N_TOPICS)[: 2 if label % 6 == 0 else 1]
        for _ in range(n):
            topic = rng.choice(own)
            others = n_labels + topic * 8 + rng.permutation(8)[:3]
            columns += [label, *others]
            rows += [len(topics)] * 4
            topics.append(topic)
    at = np.array(topics) * 2 + rng.integers(0, 2, len(topics))
    elsewhere = rng.integers(0, 2 * N_TOPICS, len(topics))
    M = sp.csr_matrix((len(topics), 2 * N_TOPICS), dtype=np.float32).tolil()
    M[np.arange(len(topics)), elsewhere] = rng.random(len(topics)) * 0.5
    M[np.arange(len(topics)), at] = 1
    Y = sp.csc_matrix((np.ones(len(rows), np.float32), (rows, columns)))
    M = M.tocsr()
    counts = (Y.T @ M).toarray().argsort(axis=1)[:, ::-1].astype(np.int32)
    labels = np.arange(Y.shape[1], dtype=np.int32)
    overlap = Overlap(
        np.concatenate([counts[:, 0], counts[:, 1]]),
        np.concatenate([labels, labels]),
        Y.shape[1],
        M.shape[1],
        0,
    )
    return Y, overlap, M


def slow(Y: sp.csc_matrix, overlap: Overlap, M: sp.csr_matrix) -> list[dict[str, float]]:
    """Score, separation and counts of each label, pair by pair."""
    labels, scores = Y.toarray() != 0, M.toarray().astype(float)

    def cosine(a: np.ndarray, b: np.ndarray) -> float | None:
        lengths = np.linalg.norm(a) * np.linalg.norm(b)
        return float(a @ b / lengths) if lengths else None

    def unlike(pairs: list[tuple[int, int]], label: int) -> float:
        other = np.delete(labels, label, axis=1).astype(float)
        means = []
        for view in (scores, other):
            found = [c for i, j in pairs if (c := cosine(view[i], view[j])) is not None]
            means += [np.mean(found)] if found else []
        return float(1 - np.mean(means)) if means else float("nan")

    rows = []
    for label in range(labels.shape[1]):
        copies = np.flatnonzero(overlap.original == label)
        instances = np.flatnonzero(labels[:, label])
        own = scores[np.ix_(instances, overlap.clusters[copies])]
        told = {
            i: copies[s.argmax()] for i, s in zip(instances, own, strict=True) if (s == s.max()).sum() == 1
        }
        told = {i: c for i, c in told.items() if scores[i, overlap.clusters[c]] > 0}
        pairs = list(combinations(instances.tolist(), 2))
        across = [(i, j) for i, j in pairs if i in told and j in told and told[i] != told[j]]
        unreached = int((own.max(axis=1, initial=0) == 0).sum())
        rows.append(
            {
                "score": unlike(pairs, label),
                "separation": unlike(across, label),
                "n_instances": len(instances),
                "n_several": int(((own > 0).sum(axis=1) > 1).sum()),
                "n_unreached": unreached,
                "n_tied": len(instances) - len(told) - unreached,
            }
        )
    pairs = [math.comb(row["n_instances"], 2) for row in rows]
    known = [(row["score"], n) for row, n in zip(rows, pairs, strict=True) if not math.isnan(row["score"])]
    mean = sum(score * n for score, n in known) / sum(n for _, n in known)
    for row, n in zip(rows, pairs, strict=True):
        row["score"] = (n * row["score"] + 5 * mean) / (n + 5)
    return rows


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("block", [1, 1 << 24])
def test_equals_the_slow_twin(seed: int, block: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_BLOCK", block)
    case = random_case(seed)
    found, expected = ambiguity(*case), slow(*case)
    for name in expected[0]:
        np.testing.assert_allclose(getattr(found, name), [row[name] for row in expected], atol=1e-6)
    told = np.bincount(case[1].original, found.n_preferring, case[1].n_labels)
    assert np.array_equal(told + found.n_unreached + found.n_tied, found.n_instances)


def test_labels_of_two_topics_come_first_and_are_significant():
    found = ambiguity(*planted(0))
    is_two = np.arange(120) % 6 == 0
    assert found.score[:120][is_two].min() > found.score[:120][~is_two].max()
    # Both copies of some labels of two topics lie in one topic: these have nothing to show.
    assert np.median(found.separation[:120][is_two]) > found.separation[:120][~is_two].max()
    assert found.is_significant[:120][is_two].mean() > 0.6
    assert not found.is_significant[:120][~is_two].any()
    # Every label has two copies that instances prefer: that alone says nothing.
    assert (found.n_preferring > 0).all()


def same(a: Ambiguity, b: Ambiguity) -> None:
    for name, values in vars(a).items():
        if name != "n_preferring":
            np.testing.assert_allclose(values.astype(float), getattr(b, name).astype(float), atol=1e-9)


def test_the_order_of_instances_and_of_copies_does_not_matter():
    Y, overlap, M = planted(1)
    rows = np.random.default_rng(0).permutation(Y.shape[0])
    same(ambiguity(Y, overlap, M), ambiguity(Y[rows].tocsc(), overlap, M[rows].tocsr()))
    n = overlap.n_labels
    turned = Overlap(np.roll(overlap.clusters, n), overlap.original, n, overlap.n_clusters, 0)
    same(ambiguity(Y, overlap, M), ambiguity(Y, turned, M))


def test_two_calls_agree_to_the_last_bit_and_leave_their_input():
    case = planted(2)
    before = [matrix.copy() for matrix in (case[0], case[2])]
    first, second = ambiguity(*case), ambiguity(*case)
    for name, values in vars(first).items():
        np.testing.assert_array_equal(values, getattr(second, name))
    assert all((old != new).nnz == 0 for old, new in zip(before, (case[0], case[2]), strict=True))


def test_a_score_does_not_grow_with_frequency_alone():
    # Each instance is of a random one of three clusters: a cosine is 1 with probability 1/3.
    rng = np.random.default_rng(0)
    sizes = np.tile([5, 200], 200)
    labels = np.repeat(np.arange(400), sizes)
    Y = sp.csc_matrix((np.ones(len(labels), np.float32), (np.arange(len(labels)), labels)))
    M = sp.csr_matrix(np.eye(3, dtype=np.float32)[rng.integers(0, 3, len(labels))])
    score = ambiguity(Y, without_copies(np.zeros(400, np.int32), 3), M).score
    assert score[sizes == 5].mean() == pytest.approx(2 / 3, abs=0.03)
    assert score[sizes == 200].mean() == pytest.approx(2 / 3, abs=0.01)


def test_few_instances_do_not_come_first_by_chance():
    # Instance by instance a cluster: two that differ, twenty of which each is like one other, all alike.
    at = [[0, 1], np.arange(20) // 2, *[[0] * 20] * 5]
    labels = np.repeat(np.arange(len(at)), [len(clusters) for clusters in at])
    Y = sp.csc_matrix((np.ones(len(labels), np.float32), (np.arange(len(labels)), labels)))
    M = sp.csr_matrix(np.eye(10, dtype=np.float32)[np.concatenate(at).astype(int)])
    score = ambiguity(Y, without_copies(np.zeros(len(at), np.int32), 10), M).score
    assert score[1] > 0.9 > 0.5 > score[0] > score[2]


def test_labels_without_copies_or_pairs_have_no_figures():
    Y, overlap, M = random_case(0)
    found = ambiguity(Y, overlap, M)
    assert np.isnan(found.score[[5, 6]]).all()
    assert found.n_instances[[5, 6]].tolist() == [1, 0]
    alone = ambiguity(Y, without_copies(overlap.clusters[: overlap.n_labels], overlap.n_clusters), M)
    np.testing.assert_allclose(alone.score, found.score, atol=1e-12)
    assert np.isnan(alone.separation).all()
    assert np.isnan(alone.p_value).all()
    assert not alone.is_significant.any()


def test_of_labels_that_are_all_alike_a_twentieth_has_a_low_p_value():
    rng = np.random.default_rng(0)
    n = rng.integers(10, 500, 4_000)
    values = rng.normal(np.log(n), 1 / np.sqrt(n))  # both depend on the frequency
    assert (p_values(values, n) <= 0.05).mean() == pytest.approx(0.05, abs=0.03)


def test_what_a_quarter_of_the_labels_has_more_is_found_though_they_are_among_the_peers():
    rng = np.random.default_rng(0)
    n = rng.integers(10, 500, 4_000)
    is_more = rng.random(4_000) < 0.25
    p = p_values(rng.normal(size=4_000) + 4 * is_more, n)
    assert (p[is_more] <= 0.05).mean() > 0.85
    assert (p[~is_more] <= 0.05).mean() < 0.06
