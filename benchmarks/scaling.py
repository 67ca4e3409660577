"""How the seconds of training fall with threads, what share of them does not, and the bound that this sets.

    PYTHONPATH=src .venv/bin/python benchmarks/scaling.py DATASET [--presets tuned,lean] [--rounds 3]
        [--data-dir FOLDER] [--out FILE.json]

trains with 1, 2, 4, ... threads, as many as there are cores, by turns, and takes the least of each stage's
seconds, because other work on the machine only ever adds to them. Those of a stage are fitted by s + p / n
for n threads: Amdahl's law (Amdahl, AFIPS 1967), after which no number of threads makes it more than
(s + p) / s times as fast.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from presets import RESULTS, disentangle
from scipy.optimize import nnls

from disentangle.runtime import provenance
from disentangle.runtime.threads import allowed
from disentangle.storage.atomic import write_json

STAGES = ("train", "match", "assign", "expand", "split", "retrain")
# Threads for which a bound is given.
BOUNDS = (16, 64)


def seconds(dataset: str, data_dir: Path, preset: str, threads: int) -> dict[str, float]:
    """Of each stage of a preset's training, the first time."""
    with tempfile.TemporaryDirectory() as models:
        where = ("--data-dir", str(data_dir), "--model-dir", models, "--threads", str(threads))
        disentangle("base", dataset, "--without-xr-linear", "--preset", preset, *where)
        report = json.loads(Path(models, dataset, "base", "report.json").read_text(encoding="utf-8"))
    return {stage: report["runs"][0]["seconds"][stage] for stage in STAGES}


def fit(threads: list[int], least: list[float]) -> tuple[float, float]:
    """Seconds that do not fall with threads, and those that do, none of them below 0."""
    fitted, _ = nnls(np.array([[1, 1 / n] for n in threads]), np.array(least))
    return float(fitted[0]), float(fitted[1])


def rows(preset: str, rounds: list[dict[int, dict[str, float]]]) -> list[dict[str, Any]]:
    """A row for each stage and one for all of them, given each round's seconds by threads and stage."""
    threads = sorted(rounds[0])
    found: list[dict[str, Any]] = []
    for stage in STAGES:
        least = [min(of_round[n][stage] for of_round in rounds) for n in threads]
        serial, parallel = fit(threads, least)
        found.append({"stage": stage, "seconds": least, "serial": serial, "parallel": parallel})
    columns = {name: np.sum([row[name] for row in found], axis=0).tolist() for name in list(found[0])[1:]}
    return [{"preset": preset, "threads": threads} | row for row in (*found, {"stage": "all"} | columns)]


def print_scaling(result: dict[str, Any]) -> None:
    """A row for each preset and stage, as Markdown."""
    threads = result["rows"][0]["threads"]
    heads = [*(f"{n} thread{'s' * (n > 1)}, s" for n in threads), "serial, s", "serial, %"]
    heads += [f"bound at {n}" for n in BOUNDS]
    print("| preset | stage | " + " | ".join(heads) + " |\n|---|---|" + "---:|" * len(heads))
    for row in result["rows"]:
        serial, parallel = row["serial"], row["parallel"]
        whole = max(serial + parallel, 1e-9)
        cells = [*(f"{s:.2f}" for s in row["seconds"]), f"{serial:.2f}", f"{100 * serial / whole:.0f}"]
        cells += [f"{whole / max(serial + parallel / n, 1e-9):.1f} x" for n in BOUNDS]
        print(f"| {row['preset']} | {row['stage']} | " + " | ".join(cells) + " |")


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("dataset", metavar="DATASET")
    parser.add_argument("--presets", type=lambda text: text.split(","), default=["tuned", "lean"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data-dir", type=Path, default=Path("dataset/xmc-base"))
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    threads = [2**i for i in range(allowed().bit_length())]
    result: dict[str, Any] = {"versions": provenance.versions(), "machine": provenance.machine(), "rows": []}
    for preset in args.presets:
        rounds = [
            {n: seconds(args.dataset, args.data_dir, preset, n) for n in threads} for _ in range(args.rounds)
        ]
        result["rows"] += rows(preset, rounds)
    write_json(args.out or RESULTS / f"scaling-{args.dataset}.json", result)
    print_scaling(result)


if __name__ == "__main__":
    main()
