"""How seconds and memory of each stage grow with instances and copies.

    PYTHONPATH=src .venv/bin/python benchmarks/scale.py [DATASET] [--data-dir FOLDER] [--threads N]
        [--only instances,copies] [--out FILE.json]

runs the base job with the preset `paper`, each time from nothing and in a process of its own, on

    instances   an eighth, a quarter, a half and all of the training instances, each within the next
    copies      n_copies from 1 to 4, on a quarter of the instances

prints tables with exponents of the power laws that fit best, and draws scale.{png,svg} beside the results.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from presets import RESULTS, disentangle

from disentangle.data import datasets
from disentangle.data.datasets import Dataset
from disentangle.errors import DisentangleError
from disentangle.jobs.figures import new_figure, save_figure
from disentangle.limits import at_least
from disentangle.params import DEFAULT_DATASET
from disentangle.presets import DEFAULT_PRESET
from disentangle.runtime import provenance
from disentangle.storage import npz
from disentangle.storage.atomic import write_json

PARTS = {"instances": "training instances", "copies": "n_copies"}
SHARES = (0.125, 0.25, 0.5, 1.0)
N_COPIES = (1, 2, 3, 4)
STAGES = ("train", "match", "assign", "expand", "retrain", "predict", "evaluate")
_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#666666")
_MARKERS = "ov^<sDx"
_NOISE = 0.02  # seconds
Run = dict[str, Any]


def write_share(folder: Path, dataset: Dataset, n: int) -> None:
    """Write a dataset with so many of its training instances, drawn by a fixed seed."""
    order = np.random.default_rng(0).permutation(dataset.X_trn.shape[0])
    rows = np.sort(order[:n])
    made = {
        "X_trn": dataset.X_trn[rows],
        "Y_trn": dataset.Y_trn[rows],
        "X_tst": dataset.X_tst,
        "Y_tst": dataset.Y_tst,
    }
    for name, path in datasets.paths_of(folder).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        npz.save(path, made[name])


def cases(parts: list[str], n: int) -> list[tuple[str, int, int, int]]:
    """What is run: part, what grows there, training instances and n_copies."""
    found = {
        "instances": [(round(share * n), round(share * n), 2) for share in SHARES],
        "copies": [(copies, n // 4, copies) for copies in N_COPIES],
    }
    return [(part, *case) for part in parts for case in found[part]]


def measure(dataset: Dataset, parts: list[str], threads: int) -> Iterator[Run]:
    """Run each case once."""
    with tempfile.TemporaryDirectory(prefix="scale-") as temporary:
        data = Path(temporary) / "data"
        for part, value, n, n_copies in cases(parts, dataset.X_trn.shape[0]):
            name = f"{dataset.name}-{n}"
            if not (data / name).exists():
                write_share(data / name, dataset, n)
            models = Path(temporary) / f"{part}-{value}"
            where = ("--data-dir", str(data), "--model-dir", str(models), "--threads", str(threads))
            disentangle("base", name, "--preset", DEFAULT_PRESET, "--n-copies", str(n_copies), *where)
            report = json.loads((models / name / "base" / "report.json").read_text(encoding="utf-8"))
            first, run = report["runs"]
            seconds = run["seconds"] | {"train": first["seconds"]["train"]}
            yield {"part": part, "value": value, "seconds": seconds, "peak_rss_mib": run["peak_rss_mib"]}


def exponent(sizes: list[float], values: list[float]) -> float | None:
    """That of the power law nearest to some points; None unless there are three of two sizes above noise."""
    kept = [(size, value) for size, value in zip(sizes, values, strict=True) if value > _NOISE]
    if len(kept) < 3 or len({size for size, _ in kept}) < 2:
        return None
    x, y = np.log(np.array(kept)).T
    return float(np.polyfit(x, y, 1)[0])


def print_scale(result: dict[str, Any]) -> None:
    """A table for each part, as Markdown: seconds of each stage, peak memory, and a row of exponents."""
    for part, words in PARTS.items():
        if not (own := [run for run in result["runs"] if run["part"] == part]):
            continue
        print(f"\n| {words} | " + " | ".join(f"{stage} s" for stage in STAGES) + " | peak MiB |")
        print("|---:|" + "---:|" * (len(STAGES) + 1))
        table = [[*(run["seconds"].get(s, 0.0) for s in STAGES), run["peak_rss_mib"]] for run in own]
        for run, row in zip(own, table, strict=True):
            cells = [*(f"{value:,.2f}" for value in row[:-1]), f"{row[-1]:,}"]
            print(f"| {run['value']:,} | " + " | ".join(cells) + " |")
        found = [exponent([run["value"] for run in own], list(column)) for column in zip(*table, strict=True)]
        if any(e is not None for e in found):
            print("| exponent | " + " | ".join("" if e is None else f"{e:.2f}" for e in found) + " |")


def draw_scale(folder: Path, result: dict[str, Any]) -> None:
    """Seconds of each stage against what grows, a panel for each part, as `scale.{png,svg}`."""
    parts = [part for part in PARTS if sum(run["part"] == part for run in result["runs"]) > 1]
    if not parts:
        return
    figure, panels = new_figure(len(parts), 2 + 3.6 * len(parts), 4)
    figure.suptitle(f"seconds of each stage of a base run, {result['dataset']}")
    drawn = {}
    for panel, part in zip(panels, parts, strict=True):
        if panel is not panels[0]:
            panel.sharey(panels[0])  # before anything is drawn, so that all of it counts
        own = [run for run in result["runs"] if run["part"] == part]
        for stage, color, marker in zip(STAGES, _COLORS, _MARKERS, strict=True):
            kept = [(run["value"], s) for run in own if (s := run["seconds"].get(stage, 0.0)) > _NOISE]
            if kept:
                drawn[stage] = panel.plot(*zip(*kept, strict=True), color=color, marker=marker, ms=5, lw=1.2)[
                    0
                ]
        ticks = [run["value"] for run in own]
        panel.set(xscale="log", yscale="log", xlabel=PARTS[part])
        panel.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        panel.minorticks_off()
    panels[0].set_ylabel("seconds")
    shown = [stage for stage in STAGES if stage in drawn]
    figure.legend([drawn[stage] for stage in shown], shown, loc="outside right center")
    save_figure(figure, folder, "scale")


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("dataset", nargs="?", default=DEFAULT_DATASET, metavar="DATASET")
    parser.add_argument("--data-dir", type=Path, default=Path("dataset/xmc-base"))
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(PARTS))
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    try:
        if unknown := [part for part in args.only if part not in PARTS]:
            raise DisentangleError(f"only must name some of {', '.join(PARTS)}, got {unknown[0]!r}")
        at_least("threads", args.threads, 1)
        dataset = datasets.load_dataset(args.data_dir, args.dataset)
        made = {"versions": provenance.versions(), "machine": provenance.machine(), "dataset": args.dataset}
        out = args.out or RESULTS / f"scale-{args.dataset}.json"
        result = made | {"runs": []}
        for run in measure(dataset, args.only, args.threads):
            result["runs"].append(run)
            write_json(out, result)  # what was measured stays if the rest is stopped
    except DisentangleError as error:
        parser.exit(2, f"error: {error}\n")
    print_scale(result)
    draw_scale(out.parent, result)


if __name__ == "__main__":
    main()
