"""What training and prediction cost: measured on some sets, fitted, checked on others, and projected.

    PYTHONPATH=src .venv/bin/python benchmarks/cost_model.py measure NAME ... --data-dir FOLDER
        --out FILE.json [--threads 1,2]
    PYTHONPATH=src .venv/bin/python benchmarks/cost_model.py project FILE.json

`measure` trains and evaluates the preset `lean` from nothing, and adds a row to the file for each set and
number of threads; what is there of the same data is not run again. `project` fits the rows of FITTED, and
prints what that says of the rows of CHECKED, and of sets that were not run.

Seconds of a stage are f + s * serial + p * parallel / threads: `cost_work` says what is counted of each, and
only the three factors are fitted, by non-negative least squares on relative errors (`factors`).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import numpy as np
import scipy.sparse as sp
from cost_work import BEAM, COPIES, INT32, STAGES, Sizes, Work, works
from presets import disentangle
from scipy.optimize import nnls
from synthetic import SHAPES

from disentangle import kernels
from disentangle.data import datasets
from disentangle.errors import DisentangleError
from disentangle.limits import at_least
from disentangle.runtime import provenance
from disentangle.storage.atomic import write_json
from disentangle.storage.npz import MAX_SIZE
from disentangle.storage.saved import RECORD

FITTED = (
    *("amazon-670k-shape-0.03125", "amazon-670k-shape-0.125", "amazon-3m-shape-0.015625"),
    *("wiki-500k-shape-0.015625", "wordnet-hypernyms", "vullib", "eurlex-57k"),
)
CHECKED = ("tibkat-all", "yso-finna-en", "amazon-3m-shape-0.0625", "amazon-670k-shape")
TIMES = 100  # amazon-3m
# What workers of a cluster share; the tree is of one machine's threads.
SHARED = ("matcher", "match", "assign", "split", "retrain", "predict", "evaluate")
# Assumed: bytes a second that a worker and this process take, bytes of disk, seconds that are too many.
RATE, DISK, DAY = 1e9, 1e12, 86_400.0
_NOISE = 0.05  # seconds
_ROUNDS = 50  # of a fit
_LABELS = 10_000  # whose features are counted at a time
_COUNTS = ("train_instances", "test_instances", "features", "labels")
Row = dict[str, Any]


def factors(columns: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Non-negative ones of columns: logarithms of what they say and what is found differ least.

    Relative to what is found, to say half would be a smaller error than to say twice. By least squares again
    and again, with weights for which the logarithms' gradient is that of the differences.
    """
    scale = found
    for _ in range(_ROUNDS):
        scaled = columns / scale[:, None]
        norms = np.maximum(np.linalg.norm(scaled, axis=0), 1e-300)
        solved = nnls(scaled / norms, found / scale)[0] / norms
        said = np.maximum(columns @ solved, 1e-300)
        more = np.where(abs(found / said - 1) < 1e-6, 1 + 1e-6, found / said)
        scale = said * np.sqrt((more - 1) / np.log(more))
    return solved


class Model:
    """Seconds, memory and the size of models, fitted to rows."""

    def __init__(self, rows: list[Row]) -> None:
        sizes = [Sizes(**row["sizes"]) for row in rows]
        self.seconds_of = {}
        for stage in STAGES:
            pairs = zip(sizes, rows, strict=True)
            columns = np.array([_columns(works(of)[stage], row["threads"]) for of, row in pairs])
            found = np.maximum([row["seconds"][stage] for row in rows], _NOISE)
            self.seconds_of[stage] = factors(columns, found)
        saved = np.array([row["model_bytes"] for row in rows], float)
        self._of_model = factors(np.array([_of_model(of) for of in sizes], float), saved)
        peaks = np.array([2.0**20 * max(row["peak_mib"].values()) for row in rows])
        columns = np.array([(1, of.matrices, size) for of, size in zip(sizes, saved, strict=True)], float)
        self._of_memory = factors(columns, peaks)

    def seconds(self, of: Sizes, threads: int, workers: int = 1) -> dict[str, float]:
        """Of each stage, with so many threads of each worker."""
        slots = {stage: threads * (workers if stage in SHARED else 1) for stage in STAGES}
        return {s: float(_columns(w, slots[s]) @ self.seconds_of[s]) for s, w in works(of).items()}

    def model_bytes(self, of: Sizes) -> float:
        return float(np.array(_of_model(of)) @ self._of_model)

    def memory(self, of: Sizes) -> float:
        """The peak without a limit."""
        return float(np.array([1, of.matrices, self.model_bytes(of)]) @ self._of_memory)

    def disk(self, of: Sizes) -> float:
        """Matrices, the model and matches; with a limit label features twice besides, or weights."""
        temporary = 2 * max(8 * of.values(), self.model_bytes(of))
        return of.matrices + self.model_bytes(of) + 8 * BEAM * of.n_train + temporary

    def moved(self, of: Sizes) -> float:
        """Seconds of a cluster for what each worker is sent at a time, and for what comes back here."""
        X, Y, matches = of.bytes_of(of.nnz_X), of.bytes_of(of.nnz_Y), 8.0 * BEAM * of.n_train
        sent = 4 * X + (2 + 2 * COPIES) * Y + matches  # matcher, match, split, retrain; and assign
        back = matches + 2 * self.model_bytes(of)  # the model goes to workers again to predict
        return (sent + back + of.n_test / of.n_train * X) / RATE

    def breaks(self, of: Sizes, memory: float) -> Iterator[str]:
        """What does not fit, in the order in which a job meets it."""
        if max(of.n_train, of.n_features, of.n_labels) > MAX_SIZE:
            yield "ids"
        if of.floor > memory:
            yield "data"
        if max(of.nnz_X, of.nnz_Y) > INT32:
            yield "indices of data"
        if self.memory(of) > memory:
            yield "memory"
        if self.disk(of) > DISK:
            yield "disk"
        if sum(self.seconds(of, 16).values()) > DAY:
            yield "hours"


def _columns(work: Work, threads: int) -> np.ndarray:
    return np.array([1, work.serial, max(work.parallel / threads, work.longest)], float)


def _of_model(of: Sizes) -> tuple[float, float]:
    """Weights; each copy has its places."""
    return of.weights, COPIES * of.n_labels


def covered(X: sp.csr_matrix, Y: sp.csr_matrix) -> int:
    """How many features the instances of each label have, added up."""
    Yt, bounds = Y.T.tocsr(), range(0, Y.shape[1], _LABELS)
    return int(sum((Yt[first : first + _LABELS] @ X).nnz for first in bounds))


def measured(name: str, data_dir: Path, threads: int) -> Row:
    """One training and evaluation, in processes of their own."""
    with tempfile.TemporaryDirectory() as models:
        where = ("--data-dir", str(data_dir), "--model-dir", models, "--threads", str(threads))
        disentangle("base", name, "--preset", "lean", "--without-xr-linear", *where)
        base = Path(models, name, "base")
        report = json.loads((base / "report.json").read_text(encoding="utf-8"))
        records = {path.parent: json.loads(path.read_text()) for path in sorted(base.rglob(RECORD))}
        saved = sum(path.stat().st_size for path in (base / "lean" / "overlap").rglob("*.npz"))
    seconds, peaks = dict.fromkeys(STAGES, 0.0), dict.fromkeys(STAGES, 0)
    for folder, record in records.items():
        for stage, value in record["seconds"].items():
            own = ("matcher" if folder.name.startswith("matcher") else "tree") if stage == "train" else stage
            seconds[own] += value
            peaks[own] = max(peaks[own], record["peak_rss_mib"])
    own = report["sizes"]["costs"]
    n_train, n_test, n_features, n_labels = (report["sizes"][f"n_{one}"] for one in _COUNTS)
    X, Y = (datasets.load_part(part, datasets.dataset_folder(data_dir, name)) for part in ("X_trn", "Y_trn"))
    sizes = Sizes(n_train, n_test, n_features, n_labels, own["nnz"], int(Y.nnz), covered(X, Y))
    row = {"dataset": name, "data": report["data"], "threads": threads, "sizes": asdict(sizes)}
    row |= {"seconds": seconds, "peak_mib": peaks, "model_bytes": saved}
    return row | {"versions": report["versions"], "machine": report["machine"]}


def measure(names: list[str], data_dir: Path, threads: list[int], path: Path) -> None:
    """Add to the file whatever rows are not there.

    Raises
    ------
    DisentangleError
        If a set is not there, or the file is another's.
    """
    digests = {name: datasets.digest(datasets.dataset_folder(data_dir, name)) for name in names}
    rows = read(path)["rows"] if path.exists() else []
    for module in iter_modules(kernels.__path__):  # compiled once for an installation, in no stage's seconds
        import_module(f"{kernels.__name__}.{module.name}")
    done = [(row["dataset"], row["threads"], row["data"]) for row in rows]
    for name, data in digests.items():
        for n in threads:
            if (name, n, data) not in done:
                # What is of other data is not that set's any more.
                rows = [r for r in rows if (r["dataset"], r["threads"]) != (name, n)]
                rows.append(measured(name, data_dir, n))
                made = {"versions": provenance.versions(), "machine": provenance.machine()}
                path.parent.mkdir(parents=True, exist_ok=True)
                write_json(path, made | {"rows": rows})


def read(path: Path) -> dict[str, Any]:
    """What `measure` wrote; DisentangleError if it is something else."""
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        for row in result["rows"]:
            Sizes(**row["sizes"])
        return dict(result)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DisentangleError(f"{path} must hold rows of cost_model.py measure, found none") from error


def print_tables(result: dict[str, Any] | None) -> None:
    """The check and the projection, as Markdown; a sentence where there is nothing to fit."""
    rows = [] if result is None else result["rows"]
    if missing := [name for name in FITTED if name not in {row["dataset"] for row in rows}]:
        print(f"Not measured yet, so that nothing is fitted: {', '.join(missing)}.")
        return
    versions = ", ".join(sorted({row["versions"]["disentangle"] for row in rows}))
    machines = ", ".join(
        sorted({f"{r['machine']['cores']} cores of {r['machine']['processor']}" for r in rows})
    )
    print(f"Rows by {versions}, on {machines}.")
    model = Model([row for row in rows if row["dataset"] in FITTED])
    print_check(model, [row for row in rows if row["dataset"] in CHECKED])
    print_projection(model, result["machine"]["memory_gib"] * 2.0**30 if result else 0)


def print_check(model: Model, rows: list[Row]) -> None:
    """What was measured of sets to which nothing was fitted, and what the model says of them."""
    print("\nChecked on sets that nothing was fitted to; ratios are of predicted to measured.\n")
    stages = [stage for stage in STAGES if any(row["seconds"][stage] >= 1 for row in rows)]
    heads = ("s", "predicted", "ratio", "MiB", "predicted", "ratio", *stages)
    print("| set | threads | " + " | ".join(heads) + " |\n|---|" + "---:|" * (len(heads) + 1))
    for row in rows:
        of, seconds = Sizes(**row["sizes"]), row["seconds"]
        said = model.seconds(of, row["threads"])
        cells = [f"{row['dataset']} | {row['threads']}"]
        memory = max(row["peak_mib"].values()), model.memory(of) / 2**20
        for own, other in ((sum(seconds.values()), sum(said.values())), memory):
            cells += [f"{own:,.0f}", f"{other:,.0f}", f"{other / own:.2f}"]
        cells += [f"{said[s] / seconds[s]:.2f}" if seconds[s] >= 1 else "" for s in stages]
        print("| " + " | ".join(cells) + " |")


def print_projection(model: Model, memory: float) -> None:
    """What the model says of sets that were not run."""
    sizes = {name: Sizes.of(shape) for name, shape in SHAPES.items()}
    sizes[f"{TIMES} x amazon-3m"] = Sizes.of(SHAPES["amazon-3m"], TIMES)
    print("\nProjection, not measured: hours of each stage, and of what a cluster sends.\n")
    print("| set | on | " + " | ".join((*STAGES, "sent", "all")) + " |\n|---|---|" + "---:|" * 12)
    for name, of in sizes.items():
        for on, *slots in (("2 threads", 2, 1), ("16 threads", 16, 1), ("32 workers of 16", 16, 32)):
            hours = [value / 3600 for value in model.seconds(of, *slots).values()]
            hours.append(model.moved(of) / 3600 if slots[1] > 1 else 0)
            print(f"| {name} | {on} | " + " | ".join(f"{h:,.2f}" for h in (*hours, sum(hours))) + " |")
    print(
        "\nProjection, not measured: GiB, and limits that are exceeded, the first that a job meets first.\n"
    )
    print("| set | memory | least `--max-memory` | model | disk | does not fit |")
    print("|---|---:|---:|---:|---:|---|")
    for name, of in sizes.items():
        found = (model.memory(of), of.floor, model.model_bytes(of), model.disk(of))
        cells = [*(f"{value / 2**30:,.0f}" for value in found), ", ".join(model.breaks(of, memory))]
        print(f"| {name} | " + " | ".join(cells) + " |")


def main() -> None:
    """Measure or project; exit status 2, and one sentence, for what the user can fix."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    measuring = commands.add_parser("measure")
    measuring.add_argument("names", nargs="+", metavar="NAME")
    measuring.add_argument("--data-dir", type=Path, required=True)
    measuring.add_argument("--out", type=Path, required=True)
    measuring.add_argument("--threads", type=lambda text: [int(n) for n in text.split(",")], default=[1, 2])
    commands.add_parser("project").add_argument("file", type=Path)
    args = parser.parse_args()
    try:
        if args.command == "project":
            print_tables(read(args.file))
        else:
            for n in args.threads:
                at_least("threads", n, 1)
            measure(args.names, args.data_dir, args.threads, args.out)
    except DisentangleError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
