"""What a base run costs besides its two trainings, and what the fast matching saves.

    PYTHONPATH=src .venv/bin/python benchmarks/base_costs.py [DATASET]

runs the base job of a dataset from nothing in a process of its own, then times both ways of matching
with the model it left, alternately; it prints both figures and writes all of it to
benchmarks/results/base_costs-DATASET.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import scipy.sparse as sp
from pecos.xmc.xlinear import XLinearModel

from disentangle import data, stages, xlinear
from disentangle.params import DEFAULT_DATASET, PredictParams

RESULTS = Path(__file__).with_name("results")
TRAININGS = ("train", "retrain")


def time_base_run(dataset: str, data_dir: Path, model_dir: Path, threads: int) -> dict[str, Any]:
    """Wall-clock seconds of one whole base run, and the share of all that is neither training."""
    command = [sys.executable, "-m", "disentangle", "base", dataset, "--data-dir", str(data_dir)]
    command += ["--model-dir", str(model_dir), "--threads", str(threads)]
    start = time.perf_counter()
    subprocess.run(command, check=True)
    wall = time.perf_counter() - start
    report = json.loads((model_dir / dataset / "base" / "report.json").read_text(encoding="utf-8"))
    seconds = report["runs"][1]["seconds"]
    trainings = sum(seconds[name] for name in TRAININGS)
    return {
        "wall_seconds": wall,
        "training_seconds": {name: seconds[name] for name in TRAININGS},
        "share_besides_trainings": 1 - trainings / wall,
        "runs": report["runs"],
    }


def time_matching(model: Path, X: sp.csr_matrix, threads: int, repeats: int) -> dict[str, Any]:
    """Seconds of both ways of matching all training instances, model loading included in both."""
    beam_size = PredictParams().beam_size

    def fast() -> sp.csr_matrix:
        return xlinear.match(model, X, beam_size, threads)

    def layer_by_layer() -> sp.csr_matrix:
        whole = XLinearModel.load(str(model)).model
        matcher = type(whole)(whole.model_chain[:-1], whole.pred_params[:-1])
        return matcher.predict(X, beam_size=beam_size, only_topk=beam_size, threads=threads)

    ways: dict[str, Callable[[], sp.csr_matrix]] = {"fast": fast, "layer_by_layer": layer_by_layer}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        matched = {}
        for name, way in ways.items():
            start = time.perf_counter()
            matched[name] = way()
            seconds[name].append(time.perf_counter() - start)
        if (matched["fast"] != matched["layer_by_layer"]).nnz:
            raise SystemExit("the two ways of matching differ")
    ratios = [b / a for a, b in zip(seconds["fast"], seconds["layer_by_layer"], strict=True)]
    return {
        "seconds": seconds,
        "speedup_median": statistics.median(ratios),
        "speedup_range": [min(ratios), max(ratios)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("dataset", nargs="?", default=DEFAULT_DATASET)
    parser.add_argument("--data-dir", type=Path, default=Path(os.environ.get("XMC_DATA", "dataset/xmc-base")))
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    X = data.load_dataset(args.data_dir, args.dataset).X_trn
    with tempfile.TemporaryDirectory() as temporary:
        run = time_base_run(args.dataset, args.data_dir, Path(temporary), args.threads)
        model = Path(temporary) / args.dataset / "base" / "xr-linear"
        matching = time_matching(model, X, args.threads, args.repeats)
    result = {
        "dataset": args.dataset,
        "threads": args.threads,
        "machine": stages.machine(),
        "versions": stages.versions(),
        "base_run": run,
        "matching": matching,
    }
    RESULTS.mkdir(exist_ok=True)
    stages.write_json(RESULTS / f"base_costs-{args.dataset}.json", result)
    low, high = matching["speedup_range"]
    print(f"whole run: {run['wall_seconds']:.1f} s, besides trainings {run['share_besides_trainings']:.1%}")
    speedup = f"{matching['speedup_median']:.1f} times ({low:.1f} to {high:.1f})"
    print(f"matching: {speedup} faster than layer by layer")


if __name__ == "__main__":
    main()
