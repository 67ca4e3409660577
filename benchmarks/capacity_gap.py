"""How far assignments under a capacity are from the best, a transportation problem solved exactly.

    PYTHONPATH=src python benchmarks/capacity_gap.py DATASET DATA_DIR MODEL_DIR [CAPACITY ...]

needs a finished base run with the preset `paper`, whose matching it takes. For each capacity (1, 1.2 and 1.5)
it maximises the sum of gains over all choices of at most `n_copies` clusters per label and `room` labels per
cluster, among the 32 clusters of most gain of each label, with HiGHS. With that it compares the package's
auction and greedy choices, all in descending order of gain while there is room, and retrains on each of the
three. It leaves benchmarks/results/capacity_gap.json.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from scipy.optimize import linprog

from disentangle.data import datasets
from disentangle.evaluate import metrics
from disentangle.jobs.comparison import load_matching
from disentangle.model import tree, xlinear
from disentangle.overlap import copies
from disentangle.overlap.assign import Overlap, assign, load_overlap
from disentangle.params import MAX_K, OverlapParams, PredictParams
from disentangle.storage import atomic
from disentangle.storage.saved import Saved

RESULTS = Path(__file__).parent / "results" / "capacity_gap.json"
N_CHOICES = 32
N_COPIES = 2
THREADS = 2


def best_choices(gains: sp.csr_matrix, room: int) -> tuple[sp.csr_matrix, float]:
    """The choices that gain most, with their gains, and the seconds that it took.

    The relaxed problem has whole solutions.
    """
    gains = gains.tocoo()
    n = gains.nnz
    ones = np.ones(n)
    limits = sp.vstack(
        [
            sp.csr_matrix((ones, (gains.row, np.arange(n))), shape=(gains.shape[0], n)),
            sp.csr_matrix((ones, (gains.col, np.arange(n))), shape=(gains.shape[1], n)),
        ]
    )
    bounds = np.concatenate([np.full(gains.shape[0], N_COPIES), np.full(gains.shape[1], room)])
    start = time.perf_counter()
    solved = linprog(-gains.data, A_ub=limits, b_ub=bounds, bounds=(0, 1), method="highs")
    if solved.status != 0:
        sys.exit(f"HiGHS found no solution: {solved.message}")
    seconds = time.perf_counter() - start
    taken = solved.x > 0.5
    return sp.csr_matrix((gains.data[taken], (gains.row[taken], gains.col[taken])), gains.shape), seconds


def greedy_choices(gains: sp.csr_matrix, room: int) -> sp.csr_matrix:
    """The choices met first in descending order of gain, while label and cluster have room."""
    gains = gains.tocoo()
    copies, sizes = np.zeros(gains.shape[0], int), np.zeros(gains.shape[1], int)
    taken = []
    for i in np.argsort(-gains.data, kind="stable"):
        label, k = gains.row[i], gains.col[i]
        if copies[label] < N_COPIES and sizes[k] < room:
            copies[label] += 1
            sizes[k] += 1
            taken.append(i)
    return sp.csr_matrix((gains.data[taken], (gains.row[taken], gains.col[taken])), gains.shape)


def to_overlap(choices: sp.csr_matrix, own: np.ndarray) -> Overlap:
    """The overlap of given choices, of each label the best one first."""
    rows, columns = choices.nonzero()
    order = np.lexsort((-choices.data, rows))
    rows, columns = rows[order], columns[order].astype(np.int32)
    is_first = np.concatenate([[True], rows[1:] != rows[:-1]])
    first = own.astype(np.int32)
    first[rows[is_first]] = columns[is_first]
    return Overlap(
        clusters=np.concatenate([first, columns[~is_first]]),
        original=np.concatenate([np.arange(len(own)), rows[~is_first]]).astype(np.int32),
        n_labels=len(own),
        n_clusters=choices.shape[1],
        n_unmatched_labels=len(own) - int(is_first.sum()),
    )


def figures(dataset: datasets.Dataset, first: Path, overlap: Overlap) -> dict[str, float]:
    """P@k and R@10 on test data of a model retrained on an overlap; scores of copies are averaged."""
    predict = PredictParams()
    chain = tree.replace_leaf_level(tree.load_chain(Saved(first)), overlap.cluster_matrix())
    Y = copies.expand_labels(dataset.Y_trn.tocsc(), overlap)
    matcher = xlinear.train_matcher(dataset.X_trn, Y, chain, predict, THREADS)
    model = xlinear.train_ranker(dataset.X_trn, Y, chain, matcher, predict, THREADS)
    predicted = xlinear.predict(xlinear.for_prediction(model), dataset.X_tst, predict, THREADS)
    Y_pred, _ = copies.best_labels([predicted], [overlap.original], ["mean"], [1], MAX_K)
    precision, recall = metrics.precision(dataset.Y_tst, Y_pred), metrics.recall(dataset.Y_tst, Y_pred)
    by_name = {"P@1": precision[0], "P@3": precision[2], "P@5": precision[4], "R@10": recall[9]}
    return {name: round(float(value), 2) for name, value in by_name.items()}


def most_gaining(gains: sp.csr_matrix) -> sp.csr_matrix:
    """Each row's `N_CHOICES` highest values."""
    rows = []
    for row in gains:
        kept = np.argsort(-row.data, kind="stable")[:N_CHOICES]
        rows.append(sp.csr_matrix((row.data[kept], row.indices[kept], [0, len(kept)]), shape=row.shape))
    return sp.vstack(rows, format="csr")


def main(name: str, data_dir: Path, model_dir: Path, capacities: list[float]) -> None:
    dataset = datasets.load_dataset(data_dir, name)
    base = model_dir / name / "base"
    first = base / "label-tree"
    M, own = load_matching(Saved(base / "matching")), load_overlap(Saved(first)).clusters
    Y = dataset.Y_trn.tocsc()
    gains = most_gaining((Y.T @ M).tocsr())
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    for capacity in capacities:
        params = OverlapParams(n_copies=N_COPIES, gain="scores", capacity=capacity)
        start = time.perf_counter()
        overlap = assign(Y, M, own, params, threads=THREADS)
        seconds = time.perf_counter() - start
        room = int(capacity * N_COPIES * Y.shape[1] / M.shape[1])
        best, exact_seconds = best_choices(gains, room)
        greedy = greedy_choices(gains, room)
        auctioned = float(np.asarray(gains[overlap.original, overlap.clusters]).sum())
        row = {
            "dataset": name,
            "capacity": capacity,
            "n_copies": N_COPIES,
            "greedy_share_of_best": round(float(greedy.sum() / best.sum()), 5),
            "auction_share_of_best": round(auctioned / float(best.sum()), 5),
            "assign_seconds": round(seconds, 2),
            "exact_seconds": round(exact_seconds, 1),
            "greedy": figures(dataset, first, to_overlap(greedy, own)),
            "auction": figures(dataset, first, overlap),
            "exact": figures(dataset, first, to_overlap(best, own)),
        }
        print(row, flush=True)
        found = [one for one in found if (one["dataset"], one["capacity"]) != (name, capacity)] + [row]
        atomic.write_json(RESULTS, found)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    numbers = [float(arg) for arg in sys.argv[4:]] or [1.0, 1.2, 1.5]
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), numbers)
