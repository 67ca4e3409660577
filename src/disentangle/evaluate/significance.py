"""By how much two runs differ, and how far that may be chance: the paired bootstrap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .outcomes import Outcomes

# Of the tables. PSP@k is a ratio of sums that needs the labels themselves: it has no interval.
COLUMNS = ("P@1", "P@3", "P@5", "R@10")
# Of these columns: what presets are chosen by.
MEAN = "mean"
N_RESAMPLES = 1000
_PERCENTILES = (2.5, 97.5)
_BLOCK = 1 << 22  # counts that are drawn at a time
_MOST_KEYS = 2**62


@dataclass(frozen=True)
class Difference:
    """A difference in percentage points, and what chance may have to do with it.

    Attributes
    ----------
    difference : float
    low, high : float
        95 % percentile interval.
    standard_error : float
        Standard deviation of the resampled differences.
    sd : float or None
        Sample standard deviation over seeds; None for a single one.
    """

    difference: float
    low: float
    high: float
    standard_error: float
    sd: float | None = None


def compare(
    pairs: Sequence[tuple[Outcomes, Outcomes]],
    columns: Sequence[str] = COLUMNS,
    same_instances: bool = True,
) -> dict[str, Difference]:
    """By how much the second run of each pair is better, in the mean over pairs.

    Instances are drawn anew as often as there are, with all their predictions, so that what both runs find
    hard is hard in both. Efron and Tibshirani, "An introduction to the bootstrap", 1993, chapter 13; for
    comparing systems Koehn, EMNLP 2004. Of several pairs, one for each seed, seeds are drawn anew as well,
    and the deviations of both kinds are added.

    Parameters
    ----------
    pairs : sequence of (Outcomes, Outcomes)
        The outcomes of a pair are of the same instances.
    columns : sequence of str
        "P@k" or "R@k"; "mean", that of `COLUMNS`, comes besides.
    same_instances : bool
        Whether all pairs are of the same instances; each has its own draws otherwise.

    Returns
    -------
    dict of str to Difference
        By column.
    """
    rng, n = np.random.default_rng(0), len(pairs)
    groups = [_grouped([pair], columns) for pair in pairs]
    of_pairs = np.array([sizes @ values / sizes.sum() for values, sizes in groups])
    if same_instances and n > 1:
        groups = [_grouped(pairs, columns)]
    drawn = np.mean([_resampled(*group, rng) for group in groups], axis=0)
    chosen = rng.multinomial(n, np.full(n, 1 / n), N_RESAMPLES) / n
    drawn += chosen @ (of_pairs - of_pairs.mean(axis=0))
    low, high = np.percentile(drawn, _PERCENTILES, axis=0)
    numbers = [of_pairs.mean(axis=0), low, high, drawn.std(axis=0)]
    if n > 1:
        numbers.append(of_pairs.std(axis=0, ddof=1))
    rows = zip((*columns, MEAN), np.transpose(numbers).tolist(), strict=True)
    return {name: Difference(*row) for name, row in rows}


def _grouped(
    pairs: Sequence[tuple[Outcomes, Outcomes]], columns: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Equal instances together: for each group the means over pairs of all columns, and its size.

    Drawing how often each group comes is the same as drawing instances, and most of these are equal: both
    runs mostly find the same.
    """
    ranks = sorted({int(name[2:]) for name in (*columns, *COLUMNS)})
    gained = [after.hits.astype(np.int64) - before.hits for before, after in pairs]
    n_true = [before.n_true for before, _ in pairs]
    # All but binned labels of several seeds: there are fewer groups then.
    if all(np.array_equal(own, n_true[0]) for own in n_true[1:]):
        gained, n_true = [sum(gained[1:], gained[0])], n_true[:1]
    found = [np.cumsum(own, axis=1)[:, [k - 1 for k in ranks]] for own in gained]
    # Where there is no difference, labels make none.
    n_true = [np.where(own.any(axis=1), n, 1) for own, n in zip(found, n_true, strict=True)]
    rows, sizes = _unique_rows(np.column_stack([*found, *n_true]))
    of_pairs = rows[:, : -len(found)].reshape(len(rows), len(found), len(ranks))

    def value(name: str) -> np.ndarray:
        k = int(name[2:])
        among = k if name[0] == "P" else rows[:, -len(found) :]
        return 100 * (of_pairs[:, :, ranks.index(k)] / among).sum(axis=1) / len(pairs)

    mean = np.mean([value(name) for name in COLUMNS], axis=0)
    return np.column_stack([*map(value, columns), mean]), sizes


def _unique_rows(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each row of integers once, and how often it is there."""
    low = rows.min(axis=0)
    spans = rows.max(axis=0) - low + 1
    if spans.astype(float).prod() > _MOST_KEYS:
        return np.unique(rows, axis=0, return_counts=True)
    # The same, ten times as fast; numpy's own such numbers are of few columns.
    keys = (rows - low) @ np.append(spans[:0:-1].cumprod()[::-1], 1)
    _, first, sizes = np.unique(keys, return_index=True, return_counts=True)
    return rows[first], sizes


def _resampled(values: np.ndarray, sizes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Means of resampled instances: a row for each resampling."""
    n, means = sizes.sum(), np.empty((N_RESAMPLES, values.shape[1]))
    step = max(1, _BLOCK // len(sizes))
    for start in range(0, N_RESAMPLES, step):
        drawn = rng.multinomial(n, sizes / n, min(step, N_RESAMPLES - start))
        means[start : start + step] = drawn @ values / n
    return means
