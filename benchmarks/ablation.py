"""Each part of the presets switched on alone, and the presets, over several seeds.

    PYTHONPATH=src .venv/bin/python benchmarks/ablation.py RESULTS_DIR DATASET ... [--seeds 0,1,2]
        [--only paper,tuned,lean] [--data-dir FOLDER]

runs the base job for every setting, dataset and seed, the metric job as well where a dataset has
components of its own, writes what their reports say to benchmarks/results/ablation-DATASET.json, and prints
means and standard deviations over seeds, as Markdown. Models lie in RESULTS_DIR/seed-S; what is finished
there is not run again, so a run that was stopped goes on where it was.
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
from disentangle.storage.atomic import write_json

RESULTS = Path(__file__).with_name("results")
# Each changes the paper's rule in one way; capacity and budget are alternatives to splitting.
SETTINGS = {
    "paper": (),
    "overlap splits 8": ("--overlap-splits", "8"),
    "first features 32": ("--first-features", "32"),
    "features 200": ("--features", "200"),
    "max df 0.5": ("--max-df", "0.5"),
    "first eps 1": ("--first-eps", "1"),
    "gain scores": ("--gain", "scores"),
    "coverage 0.3": ("--gain", "scores", "--coverage", "0.3"),
    "capacity 1.2": ("--capacity", "1.2"),
    "budget 2": ("--budget", "2", "--n-copies", "8"),
    "n_copies 3": ("--n-copies", "3"),
    "positives matched": ("--positives", "matched"),
    "positives frequent": ("--positives", "frequent"),
    "leaf size 50 nested": ("--leaf-size", "50", "--split", "nested", "--predict-beam", "20"),
    "leaf size 100 flat": ("--leaf-size", "100"),
    "negatives 0.3": ("--negatives", "0.3"),
    "negatives 0.6": ("--negatives", "0.6"),
    "negatives 0.6 spared 5": ("--negatives", "0.6", "--spared", "5"),
    "eps 0.3": ("--eps", "0.3"),
    "matcher eps 1": ("--matcher-eps", "1"),
    "threshold 0.05": ("--threshold", "0.05"),
    "hinge 4": ("--hinge", "4"),
    "merge max": ("--merge", "max"),
    "merge noisy-or": ("--merge", "noisy-or"),
    "first weight 0.2": ("--first-weight", "0.2", "--first-beam", "3"),
    "rounds 2": ("--rounds", "2"),
    "tuned": ("--preset", "tuned"),
    "lean": ("--preset", "lean"),
    "tuned n_copies 2": ("--preset", "tuned", "--n-copies", "2"),
}
# Stand in every table, for comparison.
REFERENCES = ("XR-Linear", "paper")
COLUMNS = ("P@1", "P@3", "P@5", "R@10", "PSP@5", "candidates", "second training, s", "VI difference")


def disentangle(*args: str) -> None:
    """Run one command of the package; what it prints goes to standard error."""
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


def measure(
    dataset: str, seed: int, setting: str, models: Path, data_dir: Path
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Run one setting; the base report, and rows of XR-Linear and of the setting."""
    model_dir = models / f"seed-{seed}"
    where = ("--data-dir", str(data_dir), "--model-dir", str(model_dir), "--seed", str(seed))
    disentangle("base", dataset, *where, *SETTINGS[setting])
    report = json.loads((model_dir / dataset / "base" / "report.json").read_text(encoding="utf-8"))
    difference = None
    if components.has_components(data_dir / dataset):
        disentangle("metric", dataset, *where, *SETTINGS[setting])
        metric = json.loads((model_dir / dataset / "metric" / "report.json").read_text(encoding="utf-8"))
        difference = metric["mean_difference"]
    xr_linear, overlap = report["runs"]
    version = report["versions"]["disentangle"]
    return report, [
        {"setting": name, "seed": seed, "version": version, **columns(run), COLUMNS[-1]: its_difference}
        for name, run, its_difference in (("XR-Linear", xr_linear, None), (setting, overlap, difference))
    ]


def print_tables(dataset: str, rows: list[dict[str, Any]]) -> None:
    """A row per setting: mean and standard deviation over seeds; a table for all that have the same seeds."""
    names = ("XR-Linear", *SETTINGS)
    seeds_of = {name: frozenset(row["seed"] for row in rows if row["setting"] == name) for name in names}
    for seeds in sorted(set(seeds_of.values()) - {frozenset()}, key=len, reverse=True):
        settings = [
            name
            for name in names
            if seeds_of[name] == seeds or (name in REFERENCES and seeds_of[name] > seeds)
        ]
        _print_table(dataset, sorted(seeds), settings, [row for row in rows if row["seed"] in seeds])


def _print_table(dataset: str, seeds: list[int], settings: list[str], rows: list[dict[str, Any]]) -> None:
    of_setting = {name: [row for row in rows if row["setting"] == name] for name in settings}
    chosen = [row for of in of_setting.values() for row in of]
    known = [column for column in COLUMNS if any(row[column] is not None for row in chosen)]
    which = f"{len(seeds)} seeds" if len(seeds) > 1 else f"seed {seeds[0]}"
    print(f"\n{dataset}, {which}\n\n| setting | " + " | ".join(known) + " |")
    print("|---|" + "---:|" * len(known))
    for name, of in of_setting.items():
        print(f"| {name} | " + " | ".join(_cell(of, column) for column in known) + " |")


def _cell(rows: list[dict[str, Any]], column: str) -> str:
    values = [row[column] for row in rows]
    if None in values:
        return ""
    digits = {"candidates": 0, "second training, s": 1, "VI difference": 3}.get(column, 2)
    spread = f" ± {np.std(values, ddof=1):,.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):,.{digits}f}{spread}"


def main() -> None:
    """Measure what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("models", type=Path, metavar="RESULTS_DIR")
    parser.add_argument("datasets", nargs="+", metavar="DATASET")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--only", default=",".join(SETTINGS))
    parser.add_argument("--data-dir", type=Path, default=Path("dataset/xmc-base"))
    args = parser.parse_args()
    for dataset in args.datasets:
        path = RESULTS / f"ablation-{dataset}.json"
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
        for seed in map(int, args.seeds.split(",")):
            for setting in args.only.split(","):
                made, measured = measure(dataset, seed, setting, args.models, args.data_dir)
                for new in measured:
                    same = (new["setting"], new["seed"])
                    rows = [row for row in rows if (row["setting"], row["seed"]) != same] + [new]
                write_json(path, {name: made[name] for name in ("versions", "machine")} | {"rows": rows})
        print_tables(dataset, rows)


if __name__ == "__main__":
    main()
