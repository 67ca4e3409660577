"""How the seconds of training fall with threads, and what holds them up.

    PYTHONPATH=src .venv/bin/python benchmarks/scaling.py DATASET [--presets tuned,lean] [--rounds 3]
        [--data-dir FOLDER] [--out FILE.json]

trains with 1, 2, 4, ... threads, as many as there are cores, by turns, and takes the least of each stage's
seconds, because other work on the machine only ever adds to them. Those of a stage are fitted by s + p / n
for n threads: Amdahl's law (Amdahl, AFIPS 1967). What threads lose by sharing the machine's memory counts as
s there. So it is also measured, with the most threads: the seconds in which one works alone, and those of
each call that shares work out, all its parts together and the longest. With n threads a call takes an n-th
of its parts' seconds, but no less than the longest; that is what is projected.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from presets import RESULTS
from scipy.optimize import nnls

from disentangle.runtime import provenance
from disentangle.runtime.threads import allowed
from disentangle.storage.atomic import write_json

# What the report has seconds of, and the steps that take them.
STAGES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "train": (("train",), ("build_tree", "regroup_tree", "train_matcher")),
    "match": (("match",), ("match",)),
    "assign": (("assign",), ("assign",)),
    "retrain": (("expand", "split", "retrain"), ("retrain",)),
}
# Threads for which seconds are projected.
PROJECTED = (16, 64)
_PROCESS = Path(__file__).with_name("scaling_process.py")
Notes = list[dict[str, Any]]


def measured(dataset: str, data_dir: Path, preset: str, threads: int) -> dict[str, dict[str, Any]]:
    """Of each stage of a preset's training, the first time: its seconds, and the notes of its steps."""
    with tempfile.TemporaryDirectory() as models:
        out = Path(models, "notes.json")
        where = ("--data-dir", str(data_dir), "--model-dir", models, "--threads", str(threads))
        command = [sys.executable, str(_PROCESS), str(out), "base", dataset, "--without-xr-linear"]
        ended = subprocess.run([*command, "--preset", preset, *where], stdout=sys.stderr, check=False)
        if ended.returncode:
            sys.exit(ended.returncode)
        report = json.loads(Path(models, dataset, "base", "report.json").read_text(encoding="utf-8"))
        notes = json.loads(out.read_text(encoding="utf-8"))
    seconds = report["runs"][0]["seconds"]
    return {
        stage: {
            "seconds": sum(seconds[name] for name in names),
            "notes": [note for note in notes if note["step"] in steps],
        }
        for stage, (names, steps) in STAGES.items()
    }


def fit(threads: list[int], least: list[float]) -> tuple[float, float]:
    """Seconds that do not fall with threads, and those that do, none of them below 0."""
    fitted, _ = nnls(np.array([[1, 1 / n] for n in threads]), np.array(least))
    return float(fitted[0]), float(fitted[1])


def projected(notes: Notes, threads: int) -> float:
    """Seconds that steps would take with so many threads."""
    return sum(
        note["alone"] + sum(max(longest, all_parts / threads) for all_parts, longest in note["calls"])
        for note in notes
    )


def rows(preset: str, rounds: list[dict[int, dict[str, dict[str, Any]]]]) -> list[dict[str, Any]]:
    """A row for each stage and one for all of them, given each round's measurements by threads and stage."""
    threads = sorted(rounds[0])
    found: list[dict[str, Any]] = []
    for stage in STAGES:
        best = [min((one[n][stage] for one in rounds), key=lambda own: own["seconds"]) for n in threads]
        least, notes = [own["seconds"] for own in best], best[-1]["notes"]
        serial, parallel = fit(threads, least)
        alone = sum(note["alone"] for note in notes)
        own = {"serial": serial, "parallel": parallel, "alone": alone}
        of_more = [projected(notes, n) for n in PROJECTED]
        found.append({"stage": stage, "seconds": least, **own, "projected": of_more})
    columns = {name: np.sum([row[name] for row in found], axis=0).tolist() for name in list(found[0])[1:]}
    return [{"preset": preset, "threads": threads} | row for row in (*found, {"stage": "all"} | columns)]


def print_scaling(result: dict[str, Any]) -> None:
    """A row for each preset and stage, as Markdown."""
    threads = result["rows"][0]["threads"]
    heads = [*(f"{n} thread{'s' * (n > 1)}, s" for n in threads), "fit: serial, %", "alone, s", "alone, %"]
    heads += [f"projected to {n}" for n in PROJECTED]
    print("| preset | stage | " + " | ".join(heads) + " |\n|---|---|" + "---:|" * len(heads))
    for row in result["rows"]:
        fitted = max(row["serial"] + row["parallel"], 1e-9)
        cells = [*(f"{s:.2f}" for s in row["seconds"]), f"{100 * row['serial'] / fitted:.0f}"]
        cells += [f"{row['alone']:.2f}", f"{100 * row['alone'] / max(row['seconds'][0], 1e-9):.1f}"]
        cells += [f"{row['seconds'][0] / max(seconds, 1e-9):.1f} x" for seconds in row["projected"]]
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
            {n: measured(args.dataset, args.data_dir, preset, n) for n in threads} for _ in range(args.rounds)
        ]
        result["rows"] += rows(preset, rounds)
    write_json(args.out or RESULTS / f"scaling-{args.dataset}.json", result)
    print_scaling(result)


if __name__ == "__main__":
    main()
