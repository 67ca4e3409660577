"""How seconds and memory of each stage grow with the data, with copies and with threads; and large shapes.

    PYTHONPATH=src .venv/bin/python benchmarks/scale.py WORK_FOLDER [--only PART,PART] [--repeats 3]
        [--share 1] [--threads N] [--results FILE]

measures on synthetic data (benchmarks/synthetic.py), each time in a fresh process, with the paper's preset:

    instances     base runs, training instances doubling from 10,000 to 80,000, at 5,000 labels
    labels        labels doubling from 5,000 to 40,000, at 40,000 instances
    copies        n_copies from 1 to 5, at 20,000 instances and 5,000 labels
    threads       1, 2, 4, ... and all cores, at 40,000 instances and 5,000 labels
    assignment    the assignment alone, at the shape of amazon-3m (benchmarks/assignment.py)
    amazon-670k   a base run of that set's shape; half an hour on two cores, so only if it is asked for

writes every repeat to benchmarks/results/scale.json as soon as it is there, and at last prints tables of
exponents and medians as Markdown, and draws scale.png and .svg beside the results. What the results have is
not measured again, even if the code has changed: delete them for that. With --share all sizes are
multiplied. Data lie in WORK_FOLDER and are used again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import assignment
from ablation import RESULTS, disentangle
from growth import STAGES, Run, draw_scale, print_scale
from synthetic import LABELS_PER_TOPIC, Shape, make, write

from disentangle.errors import DisentangleError
from disentangle.params import at_least
from disentangle.presets import DEFAULT_PRESET
from disentangle.runtime.provenance import machine, versions
from disentangle.storage.atomic import write_json
from disentangle.storage.saved import read_record

N_INSTANCES = (10_000, 20_000, 40_000, 80_000)
N_LABELS = (5_000, 10_000, 20_000, 40_000)
N_COPIES = (1, 2, 3, 4, 5)
N_FEATURES, LABELS_PER_INSTANCE, FEATURES_PER_INSTANCE = 20_000, 5, 50
# As the Extreme Classification Repository has it: 490,449 + 153,025 instances, rounded means.
AMAZON_670K = Shape(490_449, 153_025, 135_909, 670_091, 5.45, 76)
DEFAULT_PARTS = ("instances", "labels", "copies", "threads", "assignment")
PARTS = (*DEFAULT_PARTS, "amazon-670k")
SEED = 0
# What a base run imports, sooner or later.
_BARE = """
from disentangle import metrics, negatives, pipeline, pseudo, stages, tree, xlinear
print(provenance.peak_rss_mib())
"""


@dataclass(frozen=True)
class Case:
    """One base run to be made.

    Attributes
    ----------
    part : str
    value : int or str
        Of what grows in this part.
    shape : Shape
    threads : int
    n_copies : int
    """

    part: str
    value: int | str
    shape: Shape
    threads: int
    n_copies: int = 2

    def arguments(self) -> list[str]:
        """The command's, without folders; n_copies goes before what the preset says."""
        more = ["--n-copies", str(self.n_copies), "--threads", str(self.threads)]
        return ["base", self.dataset(), "--preset", DEFAULT_PRESET, *more]

    def dataset(self) -> str:
        """Name of its data, the same for the same shape."""
        return f"synthetic-{self.shape.n_instances}-{self.shape.n_labels}"


def cases(part: str, share: float, threads: int) -> list[Case]:
    """The base runs of a part, any but `assignment`."""

    def shape(n_instances: int, n_labels: int) -> Shape:
        n, n_labels = max(100, round(share * n_instances)), max(2 * LABELS_PER_TOPIC, round(share * n_labels))
        return Shape(n, n // 4, N_FEATURES, n_labels, LABELS_PER_INSTANCE, FEATURES_PER_INSTANCE)

    if part == "instances":
        shapes = [shape(n, 5_000) for n in N_INSTANCES]
        return [Case(part, one.n_instances, one, threads) for one in shapes]
    if part == "labels":
        shapes = [shape(40_000, n) for n in N_LABELS]
        return [Case(part, one.n_labels, one, threads) for one in shapes]
    if part == "copies":
        return [Case(part, n, shape(20_000, 5_000), threads, n) for n in N_COPIES]
    if part == "threads":
        counts = {2**i for i in range(threads.bit_length())} | {threads}
        return [Case(part, n, shape(40_000, 5_000), n) for n in sorted(counts)]
    sizes = ("n_instances", "n_test", "n_features", "n_labels")
    shares = {name: round(share * getattr(AMAZON_670K, name)) for name in sizes}
    return [Case(part, part, replace(AMAZON_670K, **shares), threads)]


def measure_base(case: Case, work: Path) -> Run:
    """Run one case from nothing, or from where a run that was stopped left it, and say what it took."""
    data_dir, models = work / "data", work / "models" / f"{case.part}-{case.value}"
    if not (folder := data_dir / case.dataset()).exists():
        write(folder, make(case.shape, SEED))
    start = time.perf_counter()
    disentangle(*case.arguments(), "--data-dir", str(data_dir), "--model-dir", str(models))
    wall = time.perf_counter() - start
    base = models / case.dataset() / "base"
    first, run = json.loads((base / "report.json").read_text(encoding="utf-8"))["runs"]
    variant = (base / run["model"]).parent
    peaks = {}
    for stage, names in STAGES.items():
        parent = base if stage in ("train", "match") else variant
        records = [record for name in names if (record := read_record(parent / name))]
        if records:
            peaks[stage] = max(record["peak_rss_mib"] for record in records)
    shutil.rmtree(models)  # gigabytes in all, and the next repeat is to start from nothing
    return {
        "command": f"python -m disentangle {' '.join(case.arguments())}",
        "n_instances": case.shape.n_instances,
        "n_labels": case.shape.n_labels,
        "threads": case.threads,
        "wall_seconds": round(wall, 3),
        "seconds": run["seconds"] | {"train": first["seconds"]["train"]},
        "peak_rss_mib": peaks,
        "precision_at_1": run["precision"][0],
    }


def measure_assignment(name: str, work: Path, share: float, threads: int) -> Run:
    """Assign in a process of its own, on what another one made."""
    folder = work / f"assignment-{share:g}"
    command = [sys.executable, assignment.__file__]
    if not folder.exists():
        _run([*command, "make", str(folder), "--share", str(share), "--seed", str(SEED)])
    found = json.loads(_run([*command, "measure", str(folder), name, "--threads", str(threads)]))
    return {
        "command": f"benchmarks/assignment.py measure FOLDER {name!r} --threads {threads}",
        "threads": threads,
        "nnz": found["nnz"],
        "n_pseudo_labels": found["n_pseudo_labels"],
        "seconds": {"assign": found["seconds"]},
        "peak_rss_mib": {"assign": found["peak_rss_mib"]},
        "rss_before_mib": found["rss_before_mib"],
    }


def _run(command: list[str]) -> str:
    """What a command prints; its failure ends this one, which has nothing to add."""
    finished = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if finished.returncode:
        sys.exit(finished.returncode)
    return finished.stdout


def load_results(path: Path, share: float) -> dict[str, Any]:
    """What was measured before, or an empty record.

    Raises
    ------
    DisentangleError
        If it was measured elsewhere, with other versions, or with another share.
    """
    here = {"machine": machine(), "versions": versions(), "share": share}
    if not path.exists():
        # The first time may compile the kernels.
        bare = min(int(_run([sys.executable, "-c", _BARE])) for _ in range(2))
        return here | {"bare_rss_mib": bare, "runs": []}
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DisentangleError(f"{path} must hold results in JSON: {error}") from error
    for name, value in here.items():
        if (found := results.get(name)) != value:
            raise DisentangleError(
                f"{path} must be of the same {name} ({value}), got {found}: name another file with --results"
            )
    return results


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Make all measurements that the arguments ask for and the results lack; return all of them."""
    results = load_results(args.results, args.share)
    write_json(args.results, results)  # where it cannot be written, nothing need be measured
    for repeat in range(args.repeats):  # outermost: what slows the machine for a while hits all sizes
        for part in args.only:
            for value, call in measurements(part, args):
                which = {"part": part, "value": value, "repeat": repeat}
                if not any(which.items() <= run.items() for run in results["runs"]):
                    results["runs"].append(which | call())
                    write_json(args.results, results)
    return results


def measurements(part: str, args: argparse.Namespace) -> list[tuple[int | str, Callable[[], Run]]]:
    """What grows in a part, and for each of its values a call that measures."""
    if part == "assignment":
        sizes = (args.work, args.share, args.threads)
        return [(name, partial(measure_assignment, name, *sizes)) for name in assignment.PARAMS]
    part_cases = cases(part, args.share, args.threads)
    return [(case.value, partial(measure_base, case, args.work)) for case in part_cases]


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("work", type=Path, metavar="WORK_FOLDER")
    parser.add_argument("--only", type=lambda text: text.split(","), default=DEFAULT_PARTS)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--results", type=Path, default=RESULTS / "scale.json")
    return parser.parse_args()


def _check(args: argparse.Namespace) -> None:
    if unknown := [part for part in args.only if part not in PARTS]:
        raise DisentangleError(f"only must name some of {', '.join(PARTS)}, got {unknown[0]!r}")
    for name in ("repeats", "threads"):
        at_least(name, getattr(args, name), 1)
    if not 0 < args.share <= 1:
        raise DisentangleError(f"share must be above 0 and at most 1, got {args.share:g}")


def main() -> None:
    """Measure, print and draw."""
    args = _parse()
    try:
        _check(args)
        results = measure(args)
        print_scale(results)
        draw_scale(args.results.parent, results)
    except DisentangleError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
