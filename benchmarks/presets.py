"""XR-Linear and the presets on test data over several seeds.

    PYTHONPATH=src .venv/bin/python benchmarks/presets.py DATASET [--seeds 0,1,2] [--data-dir FOLDER]
        [--models FOLDER] [--out FILE.json]

runs the base job for every seed, and the metric job as well where a dataset has components of its own, and
writes a row for each setting and seed. What is finished in the folder of models is not run again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from disentangle.data import components
from disentangle.presets import PRESETS
from disentangle.runtime import provenance
from disentangle.storage.atomic import write_json

RESULTS = Path(__file__).with_name("results")
FIGURES = ("P@1", "P@3", "P@5", "R@10")
SECONDS = "second training, s"
COLUMNS = (*FIGURES, "PSP@5", "candidates", SECONDS, "VI difference")
Row = dict[str, Any]


def disentangle(*args: str) -> None:
    """Run one command of the package; what it prints goes to standard error, and its failure ends this."""
    command = [sys.executable, "-m", "disentangle", *args]
    if status := subprocess.run(command, stdout=sys.stderr, check=False).returncode:
        sys.exit(status)


def columns(run: dict[str, Any]) -> dict[str, float]:
    """The columns of a run of a base report: all but the last."""
    precision = [run["precision"][k - 1] for k in (1, 3, 5)]
    seconds = sum(run["seconds"].get(name, 0.0) for name in ("expand", "split", "retrain"))
    if run["method"] == "xr-linear":
        seconds = run["seconds"]["train"]
    values = [*precision, run["recall"][9], run["psp"][4], run["candidates_per_instance"], seconds]
    return dict(zip(COLUMNS, values, strict=False))


def runs_in(folder: Path, seed: int) -> list[dict[str, Any]]:
    """XR-Linear and each preset as a base report has them, where other commands may have left more."""
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    own = [run for run in report["runs"] if (run["n_trees"], run["settings"]["seed"]) == (1, seed)]
    return [run for run in own if run["variant"] in (None, *PRESETS)]


def measure(dataset: str, seed: int, models: Path, data_dir: Path) -> list[Row]:
    """Run one seed: a row for XR-Linear and for each preset."""
    folder = models / f"seed-{seed}"
    where = ("--data-dir", str(data_dir), "--model-dir", str(folder), "--seed", str(seed))
    disentangle("base", dataset, *where, "--preset", ",".join(PRESETS))
    rows = []
    for run in runs_in(folder / dataset / "base", seed):
        difference = None
        if run["variant"] and components.has_components(data_dir / dataset):
            disentangle("metric", dataset, *where, "--preset", run["variant"])
            metric = json.loads((folder / dataset / "metric" / "report.json").read_text(encoding="utf-8"))
            difference = metric["mean_difference"]
        name = run["variant"] or "XR-Linear"
        rows.append({"setting": name, "seed": seed, **columns(run), COLUMNS[-1]: difference})
    return rows


def print_table(dataset: str, rows: list[Row]) -> None:
    """A row per setting, as Markdown: means over its seeds, and the standard deviation of several."""
    known = [column for column in COLUMNS if any(row[column] is not None for row in rows)]
    print(f"\n{dataset}\n\n| setting | seeds | " + " | ".join(known) + " |")
    print("|---|---:|" + "---:|" * len(known))
    for name in dict.fromkeys(row["setting"] for row in rows):
        own = [row for row in rows if row["setting"] == name]
        print(f"| {name} | {len(own)} | " + " | ".join(_cell(own, column) for column in known) + " |")


def _cell(rows: list[Row], column: str) -> str:
    values = [row[column] for row in rows]
    if None in values:
        return ""
    digits = {"candidates": 0, SECONDS: 1, "VI difference": 3}.get(column, 2)
    spread = f" ± {np.std(values, ddof=1):,.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):,.{digits}f}{spread}"


def arguments(doc: str | None) -> argparse.ArgumentParser:
    """What commands that train on one dataset over several seeds have in common."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("dataset", metavar="DATASET")
    parser.add_argument(
        "--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=[0, 1, 2]
    )
    parser.add_argument("--data-dir", type=Path, default=Path("dataset/xmc-base"))
    parser.add_argument("--models", type=Path, default=Path("build/benchmarks"))
    parser.add_argument("--out", type=Path)
    return parser


def main() -> None:
    """Measure what the arguments ask for."""
    args = arguments(__doc__).parse_args()
    rows = [row for seed in args.seeds for row in measure(args.dataset, seed, args.models, args.data_dir)]
    made = {"versions": provenance.versions(), "machine": provenance.machine()}
    write_json(args.out or RESULTS / f"presets-{args.dataset}.json", made | {"rows": rows})
    print_table(args.dataset, rows)


if __name__ == "__main__":
    main()
