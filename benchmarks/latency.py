"""What one instance takes: this project's models and Omikuji's, one after the other in one process.

    .venv/bin/pip install --no-deps -r benchmarks/requirements-compare.txt
    PYTHONPATH=src .venv/bin/python benchmarks/latency.py DATASET [--data-dir FOLDER] [--models FOLDER]
        [--only lean,omikuji-bonsai] [--rounds 5] [--out FILE.json]

trains what is not in --models yet, loads all, and then predicts the ten best labels of 200 test instances,
one by one in one thread: in each round all methods take their turns. From a matrix of one row to ids of
labels, and, where the dataset has a vocabulary, from a text to what a bundle suggests for it. Median and 99th
percentile over the instances of all rounds; the ratio to Omikuji's Bonsai is the median of the rounds' own.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from compare import OURS
from method_process import N_SINGLE, load_test_instances
from methods import RIVALS, Method, Ours, Training, write_text
from presets import RESULTS, disentangle

from disentangle.api.bundle import load
from disentangle.data import datasets
from disentangle.data.tfidf import VECTORIZER_FILE
from disentangle.runtime import provenance
from disentangle.storage.atomic import write_json

REFERENCE = "omikuji-bonsai"
METHODS = ("lean", "tuned", "lean-3", "tuned-3", "omikuji-parabel", REFERENCE)
# Takes the number of an instance.
One = Callable[[int], object]


def train(args: argparse.Namespace, method: str) -> Path:
    """The folder that a method loads its model from."""
    if method not in OURS:
        folder = args.models / args.dataset / method
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".latency-", dir=folder.parent) as temporary:
                made, data = Path(temporary) / "model", args.data_dir / args.dataset
                made.mkdir()
                X, Y = (datasets.load_part(name, data) for name in ("X_trn", "Y_trn"))
                text = write_text(Path(temporary), X, Y)
                RIVALS[method]().train(Training(data, text, made, len(os.sched_getaffinity(0)), 0))
                made.rename(folder)
        return Path(folder)
    preset, n_trees = OURS[method]
    where = ("--data-dir", str(args.data_dir), "--model-dir", str(args.models))
    settings = ("--preset", preset, "--n-trees", str(n_trees), "--without-xr-linear")
    disentangle("base", args.dataset, *where, *settings)
    suffix = f"-trees-{n_trees}" if n_trees > 1 else ""
    return Path(args.models / args.dataset / "base" / preset / f"evaluation{suffix}")


def from_matrix(args: argparse.Namespace, method: str) -> One:
    """What predicts labels of a test instance."""
    loaded: Method = RIVALS[method]() if method in RIVALS else Ours()
    loaded.load(train(args, method), 1)
    X, one = load_test_instances(args.data_dir / args.dataset), loaded.single()
    rows = [X[i] for i in chosen(X.shape[0])]
    return lambda i: one(rows[i])


def from_text(args: argparse.Namespace, method: str, folder: Path) -> One:
    """What suggests labels for a test instance's text."""
    where = ("--data-dir", str(args.data_dir), "--model-dir", str(args.models))
    disentangle("bundle", args.dataset, *where, "--preset", OURS[method][0], "--out", str(folder / method))
    suggest = load(folder / method).suggest
    lines = (args.data_dir / args.dataset / "X.tst.txt").read_text(encoding="utf-8").splitlines()
    texts = [lines[i] for i in chosen(len(lines))]
    return lambda i: suggest([texts[i]])


def chosen(n: int) -> list[int]:
    """Some of n instances, spread over all of them."""
    return [int(i) for i in np.linspace(0, n - 1, min(N_SINGLE, n))]


def measure(methods: dict[str, One], n: int, rounds: int) -> list[dict[str, Any]]:
    """A row for each method; the first call of each, and the first round, are no part of it."""
    seconds: dict[str, list[list[float]]] = {name: [] for name in methods}
    for _ in range(rounds + 1):
        for name, one in methods.items():
            own = []
            for i in range(n):
                start = time.perf_counter()
                one(i)
                own.append(time.perf_counter() - start)
            seconds[name].append(own)
    of = {name: 1000 * np.array(own[1:]) for name, own in seconds.items()}
    reference = np.median(of[REFERENCE], axis=1)
    return [
        {
            "method": name,
            "median_ms": round(float(np.median(own)), 4),
            "p99_ms": round(float(np.percentile(own, 99)), 4),
            "ratio": round(float(np.median(np.median(own, axis=1) / reference)), 3),
        }
        for name, own in of.items()
    ]


def print_table(dataset: str, rows: list[dict[str, Any]]) -> None:
    """A row per method, as Markdown."""
    print(
        f"\n{dataset}\n\n| method | median, ms | 99th percentile, ms | to {REFERENCE} |\n|---|---:|---:|---:|"
    )
    for row in rows:
        print(f"| {row['method']} | {row['median_ms']:.3f} | {row['p99_ms']:.3f} | {row['ratio']:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--data-dir", type=Path, default=Path(os.environ.get("XMC_DATA", "dataset/xmc-base")))
    parser.add_argument("--models", type=Path, default=Path("build/benchmarks"))
    parser.add_argument("--only", default=",".join(METHODS), metavar="METHOD,METHOD")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/latency-DATASET.json")
    args = parser.parse_args()
    names = [name for name in METHODS if name in {*args.only.split(","), REFERENCE}]
    folder = args.data_dir / args.dataset
    methods = {name: from_matrix(args, name) for name in names}
    with tempfile.TemporaryDirectory(prefix="latency-") as temporary:
        if (folder / VECTORIZER_FILE).exists():
            trees = [name for name in names if OURS.get(name, ("", 0))[1] == 1]
            methods |= {f"{name}, of a text": from_text(args, name, Path(temporary)) for name in trees}
        load_average = round(os.getloadavg()[0], 2)
        n = len(chosen(load_test_instances(folder).shape[0]))
        rows = measure(methods, n, args.rounds)
    said = {"dataset": args.dataset, "rounds": args.rounds, "load_average_before": load_average}
    said |= {"versions": provenance.versions(), "machine": provenance.machine(), "rows": rows}
    write_json(args.out or RESULTS / f"latency-{args.dataset}.json", said)
    print_table(args.dataset, rows)


if __name__ == "__main__":
    main()
