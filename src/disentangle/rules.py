"""The rules of the method that one may want others of: each is a function here and a line in a table.

A stage depends on the rule that it applies and on no other: a new one has nothing made again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the command line names the rules, and must not wait for numpy
    import numpy as np

# Labels of fewer training instances cannot spare any of them to tell their copies apart.
FREQUENT = 30


def counts(scores: np.ndarray) -> np.ndarray:
    """Gain: 1 per instance of a label that matches a cluster, the paper's.

    Parameters
    ----------
    scores : ndarray, float32
        The matcher's scores, in (0, 1], of pairs of an instance and a cluster.
    """
    return scores * 0 + 1


def scores(scores: np.ndarray) -> np.ndarray:
    """Gain: the matcher's score of the cluster for the instance; as `counts`."""
    return scores


def all_positives(matched: Callable[[], np.ndarray], n_positives: np.ndarray) -> np.ndarray | None:
    """Positives: each copy repeats all of its label's, as the paper has it.

    Parameters
    ----------
    matched : callable
        Which of the positives of all copies, in a row, match the cluster of their copy (a first copy's match
        it also if they match none of its label's): bool of shape (n,).
    n_positives : ndarray of shape (n,), int
        How many the label of each has.

    Returns
    -------
    ndarray of shape (n,), bool, or None
        Which stay; None for all.
    """
    return None


def frequent(matched: Callable[[], np.ndarray], n_positives: np.ndarray) -> np.ndarray | None:
    """Positives: a copy of a frequent label keeps those that match its cluster; as `all_positives`."""
    kept: np.ndarray = matched() | (n_positives < FREQUENT)
    return kept


def mean(scores: np.ndarray) -> float:
    """Merge: the mean, the paper's. Compiled by numba.

    Parameters
    ----------
    scores : ndarray, float64
        Of those copies of a label that were retrieved, at least one; in [0, 1].
    """
    total = 0.0
    for score in scores:
        total += score
    return total / len(scores)


def noisy_or(scores: np.ndarray) -> float:
    """Merge: 1 - product of (1 - score), so a label is wrong only if all its copies are; as `mean`."""
    merged = 0.0
    for score in scores:
        merged += (1.0 - merged) * score
    return merged


GAINS = {"counts": counts, "scores": scores}
POSITIVES = {"all": all_positives, "frequent": frequent}
MERGES = {"mean": mean, "noisy-or": noisy_or}
