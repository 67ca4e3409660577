"""What each stage does: functions from what was saved, and settings, to files in an empty folder.

All take `out`, the folder, first, and return results as JSON. What trains and predicts takes seconds to
import, and a run that finds everything done needs none of it: so each step imports its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from ..data.datasets import Dataset
from ..params import Assignment, OverlapParams, PredictParams, Propensity, SolverParams, TreeParams
from ..rules import MERGES, POSITIVES
from ..runtime.memory import Budget
from ..runtime.progress import track
from ..runtime.workers import Workers, workers_of
from ..storage import npz
from ..storage.saved import Saved
from . import cost_estimate

if TYPE_CHECKING:
    from ..model.mixed import Mixed
    from ..model.pecos import ClusterChain

MATCHING_FILE = "matching.npz"
Results = dict[str, Any]


@dataclass(frozen=True)
class Means:
    """What a step may use; neither has an effect on results.

    Attributes
    ----------
    threads : int or Workers
    budget : Budget
    """

    threads: int | Workers
    budget: Budget


def load(out: Path, dataset: Dataset) -> Results:
    """What the report says of a dataset; it stays in memory."""
    costs = cost_estimate.size_of(dataset.X_trn, dataset.Y_trn)
    return dataset.sizes() | {"costs": asdict(costs), "notes": list(dataset.notes)}


def build_tree(out: Path, dataset: Dataset, params: TreeParams, means: Means) -> Results:
    """The label tree."""
    from ..model import tree

    threads = workers_of(means.threads).threads
    chain = tree.build_chain(dataset.X_trn, dataset.labels_trn, params, threads, means.budget)
    tree.save_chain(chain, out)
    return {}


def regroup_tree(out: Path, saved_tree: Saved, dataset: Dataset, nr_splits: int) -> Results:
    """The same leaf clusters below other levels."""
    from ..model import tree

    tree.save_chain(tree.replace_upper_levels(_chain(saved_tree, dataset), nr_splits), out)
    return {}


def train_matcher(
    out: Path,
    saved_tree: Saved,
    dataset: Dataset,
    predict: PredictParams,
    eps: float,
    n_terms: int | None,
    means: Means,
) -> Results:
    """The levels above the leaves, from so many terms of an instance (None for all)."""
    from ..model import saved_model, train_levels

    X, chain = _learnt(dataset, n_terms), _chain(saved_tree, dataset)
    Y, how = dataset.labels_trn, (predict, means.threads, SolverParams(eps=eps), means.budget)
    saved_model.save(train_levels.train_matcher(X, Y, chain, *how), out)
    return {}


def train_ranker(
    out: Path, saved_tree: Saved, saved_matcher: Saved, dataset: Dataset, predict: PredictParams, means: Means
) -> Results:
    """XR-Linear: the leaf level below its matcher."""
    from ..model import saved_model, train_levels

    chain = _chain(saved_tree, dataset)
    matcher = saved_model.load_trained(saved_matcher, means.budget)
    above = [level.C.shape for level in matcher]
    saved_matcher.check_fit("levels of shapes", above, [C.shape for C in chain[:-1]])
    X, Y = dataset.X_trn, dataset.labels_trn
    train = partial(train_levels.train_ranker, budget=means.budget)
    saved_model.save(train(X, Y, chain, matcher, predict, means.threads), out)
    return {}


def match(
    out: Path, model: Saved, dataset: Dataset, beam_size: int, is_matcher: bool, means: Means
) -> Results:
    """Where a model's matcher, or one that is alone, sends training instances."""
    from ..model import beam_search, saved_model

    model.check_fit("a model of features:", saved_model.n_features_of(model), dataset.X_trn.shape[1])
    matcher = saved_model.load(model, 0 if is_matcher else 1, means.budget)
    M = beam_search.match(matcher, dataset.X_trn, beam_size, means.threads, means.budget)
    npz.save_plain(out / MATCHING_FILE, M)
    return {}


def assign(
    out: Path, saved_tree: Saved, matching: Saved, dataset: Dataset, params: Assignment, means: Means
) -> Results:
    """Choices of clusters among those of a tree."""
    from ..model.saved_model import load_overlap
    from ..overlap.assign import assign
    from ..overlap.copies import OVERLAP_FILE

    Y, tree = dataset.labels_trn, load_overlap(saved_tree)
    saved_tree.check_fit("a tree of labels:", tree.n_labels, Y.shape[1])
    M = load_matching(matching, dataset)
    matching.check_fit("matches of clusters:", M.shape[1], tree.n_clusters)
    overlap = assign(Y, M, tree.clusters[: Y.shape[1]], params, means.threads)
    overlap.save(out / OVERLAP_FILE)
    return {}


def retrain(
    out: Path,
    saved_tree: Saved,
    matching: Saved,
    assignment: Saved,
    dataset: Dataset,
    params: OverlapParams,
    predict: PredictParams,
    seed: int,
    means: Means,
) -> Results:
    """The model whose labels are copies, and which these are."""
    from ..model import saved_model, tree
    from ..overlap.copies import OVERLAP_FILE, Overlap, expand_labels

    clock = [time.perf_counter()]
    chain = tree.load_chain(saved_tree)
    overlap, sizes = Overlap.load(assignment), (dataset.Y_trn.shape[1], chain[-1].shape[1])
    assignment.check_fit("labels and clusters:", (overlap.n_labels, overlap.n_clusters), sizes)
    M, positives = load_matching(matching, dataset), POSITIVES[params.copies.positives]
    Y = expand_labels(dataset.labels_trn, overlap, M, positives, workers_of(means.threads).threads)
    chain = tree.replace_leaf_level(chain, overlap.cluster_matrix())
    clock.append(time.perf_counter())
    if params.leaves.leaf_size is not None:
        chain = tree.split_leaves(chain, dataset.X_trn, Y, params.leaves.leaf_size, seed, means.threads)
        overlap = replace(overlap, clusters=tree.leaf_clusters(chain), n_clusters=chain[-1].shape[1])
    clock.append(time.perf_counter())
    saved_model.save(_retrained(dataset, M, Y, chain, params, predict, seed, means), out)
    # Beside the model, because its scores can be merged to labels only with it.
    overlap.save(out / OVERLAP_FILE)
    clock.append(time.perf_counter())
    return {"seconds": dict(zip(("expand", "split", "retrain"), np.diff(clock).tolist(), strict=True))}


def _retrained(
    dataset: Dataset,
    M: sp.csr_matrix,
    Y: sp.csc_matrix,
    chain: ClusterChain,
    params: OverlapParams,
    predict: PredictParams,
    seed: int,
    means: Means,
) -> Any:
    """The matcher and, on the negatives that it sends, the ranker."""
    from ..model.beam_search import odds
    from ..model.negatives import mine
    from ..model.train_levels import train_matcher, train_ranker

    X, effort, negatives = dataset.X_trn, params.effort, params.negatives
    cost = None if params.copies.cost is None else params.copies.cost * odds(M)
    learnt = _learnt(dataset, effort.terms, cost is None)
    of_matcher = SolverParams(effort.eps)
    of_ranker = SolverParams(effort.eps, effort.threshold, cost)
    threads, budget, hinge = means.threads, means.budget, params.scoring.hinge
    matcher = train_matcher(learnt, Y, chain, predict, threads, of_matcher, budget)
    mined = mine(matcher, X, negatives, predict.beam_size, seed, threads, budget)
    return train_ranker(learnt, Y, chain, matcher, predict, threads, mined, of_ranker, hinge, budget)


def evaluate(
    out: Path,
    *models: Saved,
    dataset: Dataset,
    predict: PredictParams,
    merge: str,
    propensity: Propensity,
    carry: Callable[[Path], None],
    max_k: int,
    means: Means,
) -> Results:
    """Figures of models' scores, put together, on test data, instance by instance too, and what predicts."""
    from ..evaluate import metrics
    from ..evaluate.outcomes import Outcomes
    from ..kernels import merge_and_rank
    from ..model import saved_model
    from ..model.predictor import Predictor, Voice

    X, Y_true = dataset.X_tst, dataset.Y_tst
    predictor = Predictor(tuple(Voice(model, predict) for model in models), merge)
    for voice in predictor.voices:
        sizes = voice.overlap.n_labels, saved_model.n_features_of(voice.saved)
        voice.saved.check_fit("labels and features:", sizes, (dataset.Y_trn.shape[1], X.shape[1]))
    predictor.save(out)
    carry(out)
    # Once for an installation, and no part of predicting.
    merge_and_rank.compiled(MERGES[merge])
    start = time.perf_counter()
    batches = predictor.best(X, max_k, means.threads, means.budget)
    tracked = track(batches, X.shape[0], lambda batch: len(batch[0]))
    Y_pred = np.vstack([labels for labels, _ in tracked])
    predicted = time.perf_counter()
    candidates = predictor.candidates(X, means.threads, means.budget)
    Outcomes.of(Y_true, Y_pred).save(out)
    figures = metrics.figures(Y_true, Y_pred, metrics.inverse_propensity(dataset.Y_trn, propensity))
    overlaps = [voice.overlap for voice in predictor.voices]
    return {name: [round(v, 4) for v in values.tolist()] for name, values in figures.items()} | {
        "candidates_per_instance": float(candidates.sum(axis=0).mean()),
        "largest_cluster": int(max(overlap.cluster_sizes().max() for overlap in overlaps)),
        "n_pseudo_labels": sum(overlap.n_pseudo_labels for overlap in overlaps),
        "n_unmatched_labels": sum(overlap.n_unmatched_labels for overlap in overlaps),
        "seconds": {"predict": predicted - start, "evaluate": time.perf_counter() - predicted},
    }


def load_matching(saved: Saved, dataset: Dataset) -> sp.csr_matrix:
    """What a matching stage found: scores of leaf clusters for each training instance.

    Raises
    ------
    DisentangleError
        If it is damaged, or of other instances.
    """
    M = saved.matrix(MATCHING_FILE, is_sorted=False).tocsr()
    saved.check_fit("matches of instances:", M.shape[0], dataset.X_trn.shape[0])
    return M


def _chain(saved_tree: Saved, dataset: Dataset) -> ClusterChain:
    """A tree of the dataset's labels."""
    from ..model import tree

    chain = tree.load_chain(saved_tree)
    saved_tree.check_fit("a tree of labels:", chain[-1].shape[0], dataset.Y_trn.shape[1])
    return chain


def _learnt(dataset: Dataset, n_terms: int | None, by_pecos: bool = True) -> sp.csr_matrix | Mixed:
    """Training instances as they are learnt from: with so many terms each, or all (None).

    Where terms are left out, those of an embedding are no terms, and stay, and the solver is that of
    `side_by_side`, as it is where PECOS's cannot do what is asked of it.
    """
    X = dataset.X_trn
    if by_pecos and n_terms is None:
        return X
    from ..model.feature_selection import largest
    from ..model.mixed import Mixed

    mixed = Mixed.of(X, dataset.is_dense)
    return mixed if n_terms is None else replace(mixed, terms=largest(mixed.terms, n_terms))
