"""How well the copies of a label separate its components, by the variation of information."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.special import xlogy
from sklearn.metrics import adjusted_rand_score

from ..overlap.copies import Overlap

# A component of so few training instances says nothing about how it is separated: the paper's threshold.
MIN_INSTANCES = 10
# Random splits whose mean is a label's baseline: one alone would add noise of its own.
N_RANDOM = 20
N_BOOTSTRAP = 10_000


def contingency(S: np.ndarray, T: np.ndarray) -> np.ndarray:
    """How many items are in class s of one split and class t of the other.

    Parameters
    ----------
    S, T : ndarray of shape (n,), int
        Two splits of the same items, classes numbered from 0.

    Returns
    -------
    ndarray of shape (classes of S, classes of T), int64
    """
    n_s, n_t = S.max() + 1, T.max() + 1
    return np.bincount(S * np.int64(n_t) + T, minlength=n_s * n_t).reshape(n_s, n_t)


def entropy(counts: np.ndarray) -> float:
    """Entropy of the distribution that counts stand for, in nats."""
    n = counts.sum()
    return max(0.0, float(np.log(n) - xlogy(counts, counts).sum() / n))


def variation_of_information(S: np.ndarray, T: np.ndarray) -> float:
    """Distance between two splits of the same items, in nats: H(S|T) + H(T|S).

    Meila, "Comparing clusterings", Journal of Multivariate Analysis 98, 2007. It is a metric: 0 for the
    same split, at most ln n for n items, and H(S) + H(T) for independent splits, which is its most
    for given class sizes.

    Parameters
    ----------
    S, T : ndarray of shape (n,), int
        At least one item; classes numbered from 0.
    """
    table = contingency(S, T)
    vi = 2 * entropy(table) - entropy(table.sum(axis=0)) - entropy(table.sum(axis=1))
    return max(0.0, vi)  # rounding can leave -1e-16


@dataclass(frozen=True)
class LabelSeparation:
    """How well the copies of one label separate its components; a line of the table.

    Attributes
    ----------
    label, n_components, n_copies : int
        Components of more than `MIN_INSTANCES` training instances; copies, the first included.
    components : list of int
        Ids of those components.
    table : list of list of int
        For each of those components, how many of its scored instances go to each copy.
    n_instances : int
        Instances scored: they have exactly one component, one of those counted, and one copy's cluster
        scores highest.
    n_several_components, n_small_component, n_unreached, n_tied : int
        Instances left out: with several components of the label; whose one component is too
        small; that reach no copy; for which several copies score the same.
    vi, vi_bound, normalised_vi : float
        Between components and copies; its bound H + H, in nats; over the joint entropy.
    adjusted_rand : float
        1 for the same split, around 0 for a random one.
    random_even_odds, random_same_sizes : float
        Mean VI of random splits: each copy as likely as the other; the matcher's split shuffled.
    """

    label: int
    n_components: int
    n_copies: int
    components: list[int]
    table: list[list[int]]
    n_instances: int
    n_several_components: int
    n_small_component: int
    n_unreached: int
    n_tied: int
    vi: float
    vi_bound: float
    normalised_vi: float
    adjusted_rand: float
    random_even_odds: float
    random_same_sizes: float


def eligible_labels(Y_components: sp.csr_matrix, of_label: np.ndarray, overlap: Overlap) -> np.ndarray:
    """Labels that have several components to separate and several copies to separate them.

    Parameters
    ----------
    Y_components : csr_matrix of shape (n_instances, n_components)
    of_label : ndarray of shape (n_components,), int
        Label of each component.
    overlap : Overlap

    Returns
    -------
    ndarray of int
        With at least two components of more than `MIN_INSTANCES` instances each, and two copies.
    """
    large = np.bincount(Y_components.indices, minlength=len(of_label)) > MIN_INSTANCES
    n_large = np.bincount(of_label[large], minlength=overlap.n_labels)
    n_copies = np.bincount(overlap.original, minlength=overlap.n_labels)
    return np.flatnonzero((n_large >= 2) & (n_copies >= 2))


def separate(
    Y_components: sp.csr_matrix, of_label: np.ndarray, overlap: Overlap, M: sp.csr_matrix, seed: int
) -> list[LabelSeparation]:
    """Score each eligible label: which component an instance has against which copy it is matched to.

    Parameters
    ----------
    Y_components : csr_matrix of shape (n_instances, n_components)
    of_label : ndarray of shape (n_components,), int
        Label of each component.
    overlap : Overlap
    M : csr_matrix of shape (n_instances, n_clusters)
        The matcher's scores: an instance goes to the copy whose cluster scores highest. Where the
        highest score is that of several copies the matcher does not tell; such ties are many, because
        the score of every cluster that the matcher is sure of is 1.
    seed : int
        Of random splits; each label has a stream of its own.

    Returns
    -------
    list of LabelSeparation
        Labels that keep two components of more than `MIN_INSTANCES` instances each when instances
        with several components are left out, and two components when those that reach no copy or
        several alike are: with one component left any split would count as separating it.
    """
    labels = eligible_labels(Y_components, of_label, overlap)
    columns = Y_components.tocsc()
    by_copy = np.argsort(overlap.original, kind="stable")
    first = np.searchsorted(overlap.original[by_copy], np.arange(overlap.n_labels + 1))
    by_label = np.argsort(of_label, kind="stable")
    start = np.searchsorted(of_label[by_label], np.arange(overlap.n_labels + 1))
    scored = []
    for label in labels:
        components = by_label[start[label] : start[label + 1]]
        clusters = overlap.clusters[by_copy[first[label] : first[label + 1]]]
        rng = np.random.default_rng([seed, label])
        members = columns[:, components].tocsr()
        if one := _separate_label(int(label), members, components, clusters, M, rng):
            scored.append(one)
    return scored


def _separate_label(
    label: int,
    members: sp.csr_matrix,
    components: np.ndarray,
    clusters: np.ndarray,
    M: sp.csr_matrix,
    rng: np.random.Generator,
) -> LabelSeparation | None:
    """Score one label; `members` says which instance has which of its components."""
    n_components = np.diff(members.indptr)
    instances = np.flatnonzero(n_components)
    single = np.flatnonzero(n_components == 1)
    component = members.indices[members.indptr[single]]
    large = np.bincount(component, minlength=len(components)) > MIN_INSTANCES
    counted = large[component]
    scores = M[single[counted]][:, clusters].toarray()
    best = scores.max(axis=1, initial=0)
    n_best = (scores == best[:, None]).sum(axis=1)
    reached = best > 0
    told = reached & (n_best == 1)
    S, T = component[counted][told], scores[told].argmax(axis=1)
    if large.sum() < 2 or len(np.unique(S)) < 2:
        return None
    n_copies = len(clusters)
    vi, joint = variation_of_information(S, T), entropy(contingency(S, T))
    return LabelSeparation(
        label=label,
        n_components=int(large.sum()),
        n_copies=n_copies,
        components=components[large].tolist(),
        table=np.bincount(S * n_copies + T, minlength=len(large) * n_copies)
        .reshape(-1, n_copies)[large]
        .tolist(),
        n_instances=len(S),
        n_several_components=len(instances) - len(single),
        n_small_component=int((~counted).sum()),
        n_unreached=int((~reached).sum()),
        n_tied=int((reached & ~told).sum()),
        vi=vi,
        vi_bound=entropy(np.bincount(S)) + entropy(np.bincount(T)),
        normalised_vi=vi / joint if joint > 0 else 0.0,
        adjusted_rand=float(adjusted_rand_score(S, T)),
        random_even_odds=_mean_vi(S, [rng.integers(0, n_copies, len(S)) for _ in range(N_RANDOM)]),
        random_same_sizes=_mean_vi(S, [rng.permutation(T) for _ in range(N_RANDOM)]),
    )


def _mean_vi(S: np.ndarray, splits: list[np.ndarray]) -> float:
    return float(np.mean([variation_of_information(S, T) for T in splits]))


def summarise(scored: list[LabelSeparation], seed: int) -> dict[str, Any]:
    """What the report says of all labels together.

    Parameters
    ----------
    scored : list of LabelSeparation
        At least one.
    seed : int
        Of the bootstrap over labels.

    Returns
    -------
    dict
        `mean_random_baseline`, `mean_difference` (baseline minus VI, so that more is better) and
        `fraction_better_than_random` are against even odds, as in the paper; `same_sizes` has the same
        against the matcher's split shuffled, the stricter baseline.
    """
    numbers = [f.name for f in fields(LabelSeparation) if f.name not in ("components", "table")]
    table = {name: np.array([getattr(one, name) for one in scored]) for name in numbers}
    left_out = ("n_several_components", "n_small_component", "n_unreached", "n_tied")
    n_all = sum(int(table[name].sum()) for name in ("n_instances", *left_out))
    return {
        "n_labels_scored": len(scored),
        "mean_vi": float(table["vi"].mean()),
        **_against(table["vi"], table["random_even_odds"], seed),
        "same_sizes": _against(table["vi"], table["random_same_sizes"], seed),
        "mean_normalised_vi": float(table["normalised_vi"].mean()),
        "mean_adjusted_rand": float(table["adjusted_rand"].mean()),
        "coverage": {
            "n_instances": int(table["n_instances"].sum()),
            **{name: int(table[name].sum()) for name in left_out},
            "fraction_scored": float(table["n_instances"].sum() / n_all),
        },
    }


def _against(vi: np.ndarray, baseline: np.ndarray, seed: int) -> dict[str, Any]:
    # A mean of equal numbers may be off by its last digit, which is no difference.
    difference = np.where(np.isclose(baseline, vi, rtol=0, atol=1e-9), 0, baseline - vi)
    rng = np.random.default_rng(seed)
    n = len(difference)
    means = [difference[rng.integers(0, n, n)].mean() for _ in range(N_BOOTSTRAP)]
    low, high = np.percentile(means, [2.5, 97.5])
    return {
        "mean_random_baseline": float(baseline.mean()),
        "mean_difference": float(difference.mean()),
        "difference_95_percent_interval": [float(low), float(high)],
        "fraction_better_than_random": float((difference > 0).mean()),
    }
