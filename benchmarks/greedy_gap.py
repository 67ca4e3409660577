"""How far the greedy assignment under a capacity is from the best: a transportation problem, solved exactly.

    PYTHONPATH=src python benchmarks/greedy_gap.py DATASET DATA_DIR MODEL_DIR [CAPACITY ...]

needs a finished base run, whose matching it takes. For each capacity (1, 1.2 and 1.5) it maximises the sum of
gains over all choices of at most `n_copies` clusters per label and `room` labels per cluster, among the 32
clusters of most gain of each label, with HiGHS, and compares that with the greedy choices. It leaves
benchmarks/results/greedy_gap.json.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from scipy.optimize import linprog

from disentangle import data, stages
from disentangle.comparison import load_matching, load_overlap
from disentangle.overlap import assign
from disentangle.params import OverlapParams

RESULTS = Path(__file__).parent / "results" / "greedy_gap.json"
N_CHOICES = 32
N_COPIES = 2


def best_total(gains: sp.csr_matrix, room: int) -> tuple[float, float]:
    """The most that can be gained, and the seconds that it took; the relaxed problem has whole solutions."""
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
    return -solved.fun, time.perf_counter() - start


def most_gaining(gains: sp.csr_matrix) -> sp.csr_matrix:
    """Each row's `N_CHOICES` highest values."""
    rows = []
    for row in gains:
        kept = np.argsort(-row.data, kind="stable")[:N_CHOICES]
        rows.append(sp.csr_matrix((row.data[kept], row.indices[kept], [0, len(kept)]), shape=row.shape))
    return sp.vstack(rows, format="csr")


def main(name: str, data_dir: Path, model_dir: Path, capacities: list[float]) -> None:
    dataset = data.load_dataset(data_dir, name)
    base = model_dir / name / "base"
    M, own = load_matching(base / "matching"), load_overlap(base / "xr-linear").clusters
    Y = dataset.Y_trn.tocsc()
    gains = most_gaining((Y.T @ M).tocsr())
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    for capacity in capacities:
        params = OverlapParams(n_copies=N_COPIES, gain="scores", capacity=capacity)
        start = time.perf_counter()
        overlap = assign(Y, M, own, params, threads=2)
        greedy_seconds = time.perf_counter() - start
        greedy = float(np.asarray(gains[overlap.original, overlap.clusters]).sum())
        room = int(capacity * N_COPIES * Y.shape[1] / M.shape[1])
        best, seconds = best_total(gains, room)
        row = {
            "dataset": name,
            "capacity": capacity,
            "n_copies": N_COPIES,
            "greedy_share_of_best": round(greedy / best, 5),
            "greedy_seconds": round(greedy_seconds, 2),
            "exact_seconds": round(seconds, 1),
        }
        print(row, flush=True)
        found = [one for one in found if (one["dataset"], one["capacity"]) != (name, capacity)] + [row]
    stages.write_json(RESULTS, found)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    numbers = [float(arg) for arg in sys.argv[4:]] or [1.0, 1.2, 1.5]
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), numbers)
