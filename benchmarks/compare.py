"""XR-Linear, the overlaps and other tools on the same matrices and machine: figures, seconds, memory.

    .venv/bin/pip install --no-deps -r benchmarks/requirements-compare.txt
    PYTHONPATH=src .venv/bin/python benchmarks/compare.py DATASET ... [--repeats 5] [--threads N]
        [--only xr-linear,lean,omikuji-parabel] [--data-dir FOLDER] [--out FILE.json]

In each repeat all methods take their turns. Each trains in a fresh process, and predicts in another one
that loads what the first has saved. Everything that was measured goes to
benchmarks/results/compare-DATASET.json after each turn. What is there is not run again if it was made of the
same data by the same code and versions on the same machine with as many threads: a change of this project's
code has other tools' runs stay. What is not, is dropped. At its end it prints the file as Markdown.

training      seconds from data in memory to the model on disk. Ours: the stages' own, as
              `python -m disentangle base` reports them, all trainings that a preset builds on included.
              Reading data is excluded in all; how, where a tool does not tell it apart, says methods.py.
predicting    seconds for the ten best labels of all test instances, from a csr_matrix to their ids;
              the model's loading included, and without it.
latency       of one instance, the model loaded, one thread: median and 99th percentile over 200 instances
memory        most that the process had in memory at a time. Of our trainings the stages' own records.
model         size on disk of all that predicting needs

Seeds are the number of the repeat, from 0, where a tool takes one.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from claims import MODELS, code_digest
from methods import N_TREES, RIVALS, write_text

from disentangle.data import datasets, known_datasets
from disentangle.errors import DisentangleError
from disentangle.evaluate import metrics
from disentangle.jobs.plan import First
from disentangle.jobs.tables import training_seconds
from disentangle.limits import at_least
from disentangle.model.predictor import Predictor
from disentangle.params import Propensity
from disentangle.presets import PRESETS
from disentangle.runtime import provenance
from disentangle.runtime.threads import limit_threads
from disentangle.storage import atomic, saved

RESULTS = Path(__file__).with_name("results")
PROCESS = Path(__file__).with_name("method_process.py")
REQUIREMENTS = "benchmarks/requirements-compare.txt"
# Preset and number of trees. XR-Linear is a part of every preset's run, if it is not left out.
OURS = {
    "xr-linear": ("lean", 1),
    "paper": ("paper", 1),
    "lean": ("lean", 1),
    "tuned": ("tuned", 1),
    "lean-3": ("lean", N_TREES),
    "tuned-3": ("tuned", N_TREES),
}
METHODS = (*OURS, *RIVALS)
# What must be there for a rival, as it is imported.
PACKAGES = {
    "omikuji-parabel": ("omikuji", "cffi"),
    "omikuji-bonsai": ("omikuji", "cffi"),
    "napkinxc-plt": ("napkinxc",),
    "libmultilabel-tree": ("libmultilabel", "liblinear", "sparsekmeans"),
}
# Seconds of a base run that are no part of its training.
BESIDES = ("load", "predict", "evaluate")
REFERENCES = ("omikuji-parabel", "omikuji-bonsai")
# Ten minutes for what others do in one: one repeat is enough.
ONCE = ("libmultilabel-tree",)
PAIRS = (("lean", "omikuji-parabel"), ("tuned", "omikuji-bonsai"), ("tuned-3", "omikuji-bonsai"))
FIGURES = ("P@1", "P@3", "P@5", "R@10", "PSP@5")
# Name, key in a run, digits, whether its spread is shown.
Cost = tuple[str, str, int, bool]
COSTS: tuple[Cost, ...] = (
    ("predict s", "predict_seconds", 2, True),
    ("without loading", "predict_seconds_loaded", 2, True),
    ("instances/s", "instances_per_second", 0, False),
    ("latency ms", "latency_ms_median", 2, False),
    ("p99 ms", "latency_ms_p99", 2, False),
    ("training MiB", "training_peak_mib", 0, False),
    ("predicting MiB", "prediction_peak_mib", 0, False),
    ("model MB", "model_mb", 1, False),
)
Run = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """What all runs on a dataset have in common.

    Attributes
    ----------
    dataset : str
    data_dir : Path
    threads : int
    temporary : Path
        Where models and whatever is of no use afterwards may lie.
    """

    dataset: str
    data_dir: Path
    threads: int
    temporary: Path

    @property
    def folder(self) -> Path:
        return self.data_dir / self.dataset

    @cached_property
    def loaded(self) -> datasets.Dataset:
        return datasets.load_dataset(self.data_dir, self.dataset)

    @cached_property
    def text(self) -> Path:
        """The training part as text, written once, for the tools that read nothing else."""
        return write_text(self.temporary, self.loaded.X_trn, self.loaded.Y_trn)

    @cached_property
    def inverse_propensity(self) -> np.ndarray:
        settings = known_datasets.settings_of(self.dataset)
        constants = Propensity(**{name: settings[name] for name in ("A", "B") if name in settings})
        return metrics.inverse_propensity(self.loaded.Y_trn, constants)

    def figures(self, labels: np.ndarray) -> dict[str, float]:
        """The columns of `FIGURES`, of the labels predicted."""
        Y = self.loaded.Y_tst
        precision = metrics.precision(Y, labels)
        psp = metrics.psp(Y, labels, self.inverse_propensity)
        values = (*precision[[0, 2, 4]], metrics.recall(Y, labels)[9], psp[4])
        return {name: round(float(value), 4) for name, value in zip(FIGURES, values, strict=True)}


def check_installed(methods: list[str]) -> None:
    """Raise DisentangleError if a method's tool is missing."""
    for method in methods:
        for package in PACKAGES.get(method, ()):
            if importlib.util.find_spec(package) is None:
                raise DisentangleError(
                    f"{method} needs {package}, which is not installed: pip install --no-deps -r "
                    f"{REQUIREMENTS}, or leave it out with --only"
                )


def run_process(task: Task, what: str, *command: str | Path | int) -> None:
    """Run Python in a process of its own, with threads bounded; what it prints is kept for an error."""
    limit_threads(task.threads)
    path = task.temporary / "process.log"
    with path.open("wb") as log:
        done = subprocess.run(
            [sys.executable, *map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            check=False,
        )
    if done.returncode:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        last = next((line.strip() for line in reversed(lines) if line.strip()), "none")
        raise DisentangleError(f"{what} ended with status {done.returncode}; its last words: {last}")


def train_ours(task: Task, method: str, seed: int) -> tuple[Run, Path]:
    """Train by the command line; what was measured, and the folder to predict with."""
    preset, n_trees = OURS[method]
    where = ("--data-dir", task.data_dir, "--model-dir", task.temporary / "model")
    settings = ("--preset", preset, "--n-trees", n_trees, "--threads", task.threads, "--seed", seed)
    alone = () if method == "xr-linear" else ("--without-xr-linear",)
    command = ("-m", "disentangle", "base", task.dataset, *where, *settings, *alone)
    run_process(task, f"training {method}", *command)
    base = task.temporary / "model" / task.dataset / "base"
    runs = json.loads((base / "report.json").read_text(encoding="utf-8"))["runs"]
    run = runs[0] if method == "xr-linear" else runs[-1]
    suffix = f"-trees-{n_trees}" if n_trees > 1 else ""
    # Where the job has the results of the first tree, and of each further one, whose seeds rise by one.
    trees = [base / f"seed-{s}" if s else base for s in range(seed, seed + n_trees)]
    own = "xr-linear-evaluation" if method == "xr-linear" else f"{preset}/evaluation{suffix}"
    evaluation = trees[0] / own
    steps = ["load", "label-tree", "matcher"]
    if method != "xr-linear":
        first = (First.of(PRESETS[preset]).folder(name) for name in ("matcher", "matching"))
        steps = ["load", "label-tree", *first, f"{preset}/assignment"]
    models = [voice.saved.folder for voice in Predictor.load(evaluation).voices]
    before = (tree / step for tree in trees for step in steps)
    return {
        "training_seconds": round(training_seconds(run), 3),
        "training_parts": {name: s for name, s in run["seconds"].items() if name not in BESIDES},
        "training_peak_mib": max(_peak(stage) for stage in (*before, *models)),
        "model_mb": round(sum(map(size_mb, models)), 3),
    }, evaluation


def _peak(stage: Path) -> int:
    record = saved.read_record(stage)
    if record is None:
        raise DisentangleError(f"{stage} must hold a stage's record, found none")
    return record["peak_rss_mib"]


def train_rival(task: Task, method: str, seed: int) -> tuple[Run, Path]:
    """Train another tool; what was measured, and the folder to predict with."""
    model, out = task.temporary / "model", task.temporary / "training.json"
    model.mkdir()
    text = ("--text", task.text) if method.startswith("omikuji") else ()
    settings = ("--data", task.folder, "--threads", task.threads, "--seed", seed, "--out", out)
    run_process(task, f"training {method}", PROCESS, "train", method, model, *text, *settings)
    measured = json.loads(out.read_text(encoding="utf-8"))
    seconds = round(sum(measured["training_parts"].values()), 3)
    return {"training_seconds": seconds, **measured, "model_mb": size_mb(model)}, model


def size_mb(folder: Path) -> float:
    """Size of all files in a folder, in millions of bytes."""
    return round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6, 3)


def measure(task: Task, method: str, repeat: int) -> Run:
    """One training and one prediction of a method."""
    load_average = round(os.getloadavg()[0], 2)
    trained, model = (train_ours if method in OURS else train_rival)(task, method, repeat)
    out = task.temporary / "prediction.json"
    settings = ("--data", task.folder, "--threads", task.threads, "--out", out)
    run_process(task, f"predicting with {method}", PROCESS, "predict", method, model, *settings)
    predicted = json.loads(out.read_text(encoding="utf-8"))
    figures = task.figures(np.load(out.with_suffix(".npy")))
    shutil.rmtree(task.temporary / "model")
    load = {"load_average_before": load_average}
    who = {"method": method, "repeat": repeat, "code": code_of(method)}
    return who | figures | trained | predicted | load


def read_result(path: Path, dataset: str) -> dict[str, Any]:
    """What earlier calls left, or an empty result."""
    if not path.exists():
        return {"dataset": dataset, "runs": []}
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        if result["dataset"] == dataset and isinstance(result["runs"], list):
            return result
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise DisentangleError(f"{path} must hold a comparison on {dataset}, found something else")


def code_of(method: str) -> str:
    """Sha256 of what a method's figures depend on here: how it is called and, if it is ours, its code."""
    return code_digest(MODELS if method in OURS else (), ("methods.py", "method_process.py"))


def begun(result: dict[str, Any], task: Task) -> dict[str, Any]:
    """The result with those of its runs that may be compared with this machine's, versions' and data's."""
    versions: dict[str, str | None] = dict(provenance.versions())
    for package in ("omikuji", "napkinxc", "libmultilabel"):
        is_there = importlib.util.find_spec(package) is not None
        versions[package] = metadata.version(package) if is_there else None
    same = {"machine": provenance.machine(), "threads": task.threads, "data": datasets.digest(task.folder)}
    others = {name: version for name, version in versions.items() if name != "disentangle"}
    before = {name: version for name, version in result.get("versions", {}).items() if name in others}
    if before != others or any(result[name] != value for name, value in same.items()):
        result = {"dataset": task.dataset, "sizes": task.loaded.sizes(), "runs": []}
    kept = [run for run in result["runs"] if run["code"] == code_of(run["method"])]
    return result | same | {"skipped": result.get("skipped", {}), "versions": versions, "runs": kept}


def compare(task: Task, methods: list[str], repeats: int, path: Path) -> dict[str, Any]:
    """Run whatever is not in the file yet, one turn after the other; return what the file says then."""
    result = begun(read_result(path, task.dataset), task)
    done = {(run["method"], run["repeat"]) for run in result["runs"]}
    for repeat in range(repeats):
        for method in methods:
            if (method, repeat) not in done and not (repeat and method in ONCE):
                result["runs"] += _turn(task, method, repeat, result["skipped"])
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic.write_json(path, result)
    return result


def _turn(task: Task, method: str, repeat: int, skipped: dict[str, str]) -> list[Run]:
    """A run in a list; none where another tool failed, which is a result, too, and ends no comparison."""
    try:
        run = measure(task, method, repeat)
    except DisentangleError as error:
        if method not in RIVALS:
            raise
        skipped[method] = str(error)
        print(error, file=sys.stderr, flush=True)
        shutil.rmtree(task.temporary / "model", ignore_errors=True)
        return []
    print(_said(task, run), file=sys.stderr, flush=True)
    return [run]


def _said(task: Task, run: Run) -> str:
    seconds = f"training {run['training_seconds']:,.1f} s, predicting {run['predict_seconds']:,.2f} s"
    return f"{task.dataset}, repeat {run['repeat']}, {run['method']}: {seconds}"


def print_differences(results: Iterable[dict[str, Any]]) -> None:
    """Print what `PAIRS` differ by in medians of figures, and the ratio of their training seconds."""
    print("| dataset | method | than | " + " | ".join(FIGURES) + " | training s |")
    print("|---|---|---|" + "---:|" * (len(FIGURES) + 1))
    for result in results:
        by_method = _by_method(result["runs"])
        for ours, theirs in PAIRS:
            if not {ours, theirs} <= set(by_method):
                continue
            own, others = by_method[ours], by_method[theirs]
            middle = [[statistics.median(run[f] for run in runs) for f in FIGURES] for runs in (own, others)]
            cells = [f"{one - other:+.2f}" for one, other in zip(*middle, strict=True)]
            row = (result["dataset"], ours, theirs, *cells, f"x {_ratio(own, others)}")
            print("| " + " | ".join(row) + " |")


def print_summary(results: Iterable[dict[str, Any]]) -> None:
    """Print one table of all comparisons: how well each method predicts, and in how many seconds."""
    header = ("dataset", "method", *FIGURES, "train s", *(f"/ {name}" for name in REFERENCES), "predict s")
    print("| " + " | ".join(header) + " |\n|---|---|" + "---:|" * (len(header) - 2))
    for result in results:
        for cells in _rows(result["runs"], REFERENCES, COSTS[:1]):
            print(f"| {result['dataset']} | " + " | ".join(cells) + " |")


def print_comparison(result: dict[str, Any]) -> None:
    """Print a table: medians over repeats, with ranges for seconds."""
    machine, runs = result["machine"], result["runs"]
    by_method = _by_method(runs)
    counts = sorted({len(of_method) for of_method in by_method.values()})
    repeats = " to ".join(dict.fromkeys((str(counts[0]), str(counts[-1]))))
    on = f"{machine['processor']}, {machine['cores']} cores"
    version = result["versions"]["disentangle"]
    how = f"repeats: {repeats}, threads: {result['threads']}, on {on}"
    print(f"\n{result['dataset']}, version {version}, {how}\n")
    references = [name for name in REFERENCES if name in by_method]
    header = [*FIGURES, "train s", *(f"/ {name}" for name in references), *(cost[0] for cost in COSTS)]
    print("| method | " + " | ".join(header) + " |")
    print("|---|" + "---:|" * len(header))
    for cells in _rows(runs, references, COSTS):
        print("| " + " | ".join(cells) + " |")
    for name, reason in result["skipped"].items():
        print(f"\n{name} has no row: {reason}.")


def _by_method(runs: list[Run]) -> dict[str, list[Run]]:
    """Runs of each method that has some, in the order of `METHODS`."""
    by_method = {name: [run for run in runs if run["method"] == name] for name in METHODS}
    return {name: of_method for name, of_method in by_method.items() if of_method}


def _rows(runs: list[Run], references: Iterable[str], costs: Iterable[Cost]) -> Iterator[list[str]]:
    """Cells of a row for each method: its name, medians of figures and seconds, ratios, medians of costs."""
    by_method = _by_method(runs)
    for name, of_method in by_method.items():
        yield [
            name,
            *(_median(of_method, figure, 2) for figure in FIGURES),
            _median(of_method, "training_seconds", 1, spread=True),
            *(_ratio(of_method, by_method.get(reference, [])) for reference in references),
            *(_median(of_method, key, digits, spread) for _, key, digits, spread in costs),
        ]


def _median(runs: list[Run], key: str, digits: int, spread: bool = False) -> str:
    values = [run[key] for run in runs]
    if None in values:
        return ""
    median = f"{statistics.median(values):,.{digits}f}"
    if not spread or len(values) == 1:
        return median
    return f"{median} ({min(values):,.{digits}f}-{max(values):,.{digits}f})"


def _ratio(runs: list[Run], others: list[Run]) -> str:
    """Median of the ratios of training seconds in the same repeat."""
    of_repeat = {run["repeat"]: run["training_seconds"] for run in others}
    ratios = [
        run["training_seconds"] / of_repeat[run["repeat"]] for run in runs if of_repeat.get(run["repeat"])
    ]
    return f"{statistics.median(ratios):.2f}" if ratios else ""


def _methods(text: str) -> list[str]:
    """Names of methods in the order of `METHODS`."""
    names = text.split(",")
    if unknown := [name for name in names if name not in METHODS]:
        raise argparse.ArgumentTypeError(f"expected some of {', '.join(METHODS)}, got {unknown[0]!r}")
    return [name for name in METHODS if name in names]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("datasets", nargs="+", metavar="DATASET")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--only", type=_methods, default=list(METHODS), metavar="METHOD,METHOD")
    parser.add_argument("--data-dir", type=Path, default=Path(os.environ.get("XMC_DATA", "dataset/xmc-base")))
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/compare-DATASET.json")
    return parser.parse_args()


def run_all(args: argparse.Namespace) -> None:
    """What `main` does, errors of the user raised."""
    at_least("repeats", args.repeats, 1)
    at_least("threads", args.threads, 1)
    names = [name.rstrip("/") for name in args.datasets]
    if args.out and len(names) > 1:
        raise DisentangleError(f"--out is the file of one dataset, got {len(names)} datasets")
    check_installed(args.only)
    for dataset in names:
        datasets.dataset_folder(args.data_dir, dataset)
    for dataset in names:
        with tempfile.TemporaryDirectory(prefix="compare-") as temporary:
            task = Task(dataset, args.data_dir, args.threads, Path(temporary))
            path = args.out or RESULTS / f"compare-{dataset}.json"
            print_comparison(compare(task, args.only, args.repeats, path))


def main() -> None:
    """Exit status 2, and one sentence, for what the user can fix."""
    args = parse_args()
    try:
        run_all(args)
    except DisentangleError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped; what is finished is kept, run the same command again", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
