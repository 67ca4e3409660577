"""The paired bootstrap: cases by hand, and a twin that resamples instance by instance."""

import numpy as np
import pytest
import scipy.sparse as sp

from disentangle.evaluate import metrics, significance
from disentangle.evaluate.outcomes import Outcomes

ALL = tuple(f"{letter}@{k}" for letter in "PR" for k in range(1, 11))


def outcomes(rng: np.random.Generator, n: int, chance: float) -> Outcomes:
    hits = rng.random((n, 10)) < chance * np.linspace(1, 0.1, 10)
    return Outcomes(hits, np.maximum(hits.sum(axis=1), 1 + np.arange(n) % 7).astype(np.int32))


def pair(seed: int, n: int = 400) -> tuple[Outcomes, Outcomes]:
    """A run and a slightly better one of the same instances."""
    rng = np.random.default_rng(seed)
    before = outcomes(rng, n, 0.5)
    after = before.hits | (rng.random(before.hits.shape) < 0.03)
    n_true = np.maximum(before.n_true, after.sum(axis=1)).astype(np.int32)
    return Outcomes(before.hits, n_true), Outcomes(after, n_true)


def first_right(right: list[int]) -> Outcomes:
    hits = np.zeros((len(right), 10), bool)
    hits[:, 0] = right
    return Outcomes(hits, np.ones(len(right), np.int32))


def test_half_of_ten_instances_gained_is_a_binomial_by_hand():
    found = significance.compare([(first_right([0] * 10), first_right([1, 0] * 5))])["P@1"]
    # Of Binomial(10, 1/2) one or less has 1.1 %, two or less 5.5 %.
    assert (found.difference, found.low, found.high) == (50, 20, 80)
    assert found.standard_error == pytest.approx(100 * np.sqrt(0.25 / 10), rel=0.1)
    assert found.sd is None


def test_a_gain_of_every_instance_has_no_chance_in_it():
    found = significance.compare([(first_right([0] * 9), first_right([1] * 9))])["P@1"]
    assert (found.difference, found.low, found.high, found.standard_error) == (100, 100, 100, 0)


def test_equal_runs_do_not_differ():
    before, _ = pair(0)
    for found in significance.compare([(before, before)], ALL).values():
        assert (found.difference, found.low, found.high) == (0, 0, 0)


def test_differences_are_those_of_the_metrics():
    rng = np.random.default_rng(3)
    Y_true = sp.csr_matrix((rng.random((60, 30)) < 0.2).astype(np.float32))
    Y_true = Y_true[np.diff(Y_true.indptr) > 0]
    runs = [np.array([rng.permutation(30)[:10] for _ in range(Y_true.shape[0])], np.int32) for _ in range(2)]
    found = significance.compare([tuple(Outcomes.of(Y_true, Y_pred) for Y_pred in runs)], ALL)
    values = [
        np.concatenate([metrics.precision(Y_true, Y_pred), metrics.recall(Y_true, Y_pred)]) for Y_pred in runs
    ]
    assert [found[name].difference for name in ALL] == pytest.approx(list(values[1] - values[0]))
    mean = np.mean([found[name].difference for name in significance.COLUMNS])
    assert found["mean"].difference == pytest.approx(mean)


def naive(before: Outcomes, after: Outcomes, n_resamples: int) -> np.ndarray:
    """Resampled differences of P@5, R@10 and the mean, one instance after the other."""
    gained = (after.hits.astype(float) - before.hits).cumsum(axis=1)
    recall = gained[:, 9] / before.n_true
    mean = (gained[:, 0] + gained[:, 2] / 3 + gained[:, 4] / 5 + recall) / 4
    per_instance = 100 * np.stack([gained[:, 4] / 5, recall, mean])
    rng, n = np.random.default_rng(7), len(mean)
    return np.array([per_instance[:, rng.integers(0, n, n)].mean(axis=1) for _ in range(n_resamples)])


def test_groups_are_drawn_as_instances_are():
    before, after = pair(1)
    found = significance.compare([(before, after)])
    drawn = naive(before, after, 4000)
    for i, name in enumerate(("P@5", "R@10", "mean")):
        sd = drawn[:, i].std()
        assert found[name].standard_error == pytest.approx(sd, rel=0.1)
        # Percentiles of a thousand draws are known to a tenth of a standard deviation.
        low, high = np.percentile(drawn[:, i], [2.5, 97.5])
        assert found[name].low == pytest.approx(low, abs=0.3 * sd)
        assert found[name].high == pytest.approx(high, abs=0.3 * sd)


def test_seeds_have_their_own_numbers_of_labels():
    """Binned labels are other ones with each seed."""
    pairs = [pair(seed) for seed in range(3)]
    assert not np.array_equal(pairs[0][0].n_true, pairs[1][0].n_true)
    groups = [significance._grouped(of, ALL) for of in (pairs, *([one] for one in pairs))]
    together, *each = (sizes @ values / sizes.sum() for values, sizes in groups)
    assert together == pytest.approx(np.mean(each, axis=0))


def test_rows_that_are_too_many_for_one_key_are_the_same_groups(monkeypatch: pytest.MonkeyPatch):
    expected = significance.compare([pair(2)], ALL)
    monkeypatch.setattr(significance, "_MOST_KEYS", 0)
    assert significance.compare([pair(2)], ALL) == expected


def test_the_same_runs_give_the_same_interval():
    assert significance.compare([pair(2)]) == significance.compare([pair(2)])


def test_seeds_that_say_the_same_add_nothing_unless_their_instances_are_others():
    alone = significance.compare([pair(4)])["mean"]
    together = significance.compare([pair(4)] * 4)["mean"]
    apart = significance.compare([pair(4)] * 4, same_instances=False)["mean"]
    assert together.difference == apart.difference == pytest.approx(alone.difference)
    assert together.sd == pytest.approx(0, abs=1e-12)
    assert together.standard_error == pytest.approx(alone.standard_error, rel=0.1)
    assert apart.standard_error == pytest.approx(alone.standard_error / 2, rel=0.1)


def test_seeds_that_differ_widen_the_interval():
    same = first_right([1] * 20), first_right([1] * 20)
    better = first_right([0] * 20), first_right([1] * 20)
    found = significance.compare([same, better])["P@1"]
    assert (found.difference, found.low, found.high) == (50, 0, 100)
    assert found.sd == pytest.approx(100 / np.sqrt(2))
