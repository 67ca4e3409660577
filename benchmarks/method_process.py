"""One training or one prediction of compare.py, in the process of its own that measures it.

    python benchmarks/method_process.py train METHOD MODEL_DIR --data DATASET_DIR --out FILE.json ...

trains and saves; `predict` loads what was saved, predicts all test instances and then some one by one, and
writes their labels to FILE.npy. What was measured is in FILE.json.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from methods import RIVALS, Method, Ours, Training

from disentangle.data import datasets
from disentangle.runtime.provenance import peak_rss_mib
from disentangle.storage.atomic import write_json

# Instances predicted one by one.
N_SINGLE = 200


def load_test_instances(folder: Path) -> sp.csr_matrix:
    """X of the test part, without the instances that have no labels, as `datasets.load_dataset` has it."""
    scored = np.diff(datasets.load_part("Y_tst", folder).indptr) > 0
    return datasets.load_part("X_tst", folder)[scored]


def train(args: argparse.Namespace) -> dict[str, Any]:
    """Seconds and memory of a training."""
    rival = RIVALS[args.method]()
    training = Training(args.data, args.text, args.model, args.threads, args.seed)
    parts = {name: round(seconds, 4) for name, seconds in rival.train(training).items()}
    return {"training_parts": parts, "training_peak_mib": peak_rss_mib()}


def predict(args: argparse.Namespace) -> dict[str, Any]:
    """Seconds and memory of predicting all test instances, and of single ones."""
    X = load_test_instances(args.data)
    method: Method = RIVALS[args.method]() if args.method in RIVALS else Ours()
    start = time.perf_counter()
    method.load(args.model, args.threads)
    loaded = time.perf_counter()
    labels = method.predict(X)
    end = time.perf_counter()
    batch_peak = peak_rss_mib()
    np.save(args.out.with_suffix(".npy"), labels)
    latencies = time_single(method, X)
    return {
        "predict_seconds": round(end - start, 4),
        "predict_seconds_loaded": None if method.loads_each_time else round(end - loaded, 4),
        "instances_per_second": round(X.shape[0] / (end - loaded), 1),
        "latency_ms_median": round(1000 * float(np.median(latencies)), 4),
        "latency_ms_p99": round(1000 * float(np.percentile(latencies, 99)), 4),
        "prediction_peak_mib": batch_peak,
    }


def time_single(method: Method, X: sp.csr_matrix) -> list[float]:
    """Seconds of each of some test instances, spread over all of them, by the loaded model in one thread."""
    rows = [X[i] for i in np.linspace(0, X.shape[0] - 1, min(N_SINGLE, X.shape[0]), dtype=int)]
    one = method.single()
    one(rows[0])
    seconds = []
    for row in rows:
        start = time.perf_counter()
        one(row)
        seconds.append(time.perf_counter() - start)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("step", choices=("train", "predict"))
    parser.add_argument("method")
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--text", type=Path)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    write_json(args.out, (train if args.step == "train" else predict)(args))


if __name__ == "__main__":
    main()
