"""What a cluster costs: workers of one thread, in processes of their own, against threads of one process.

    PYTHONPATH=src .venv/bin/python benchmarks/cluster.py DATASET [--presets lean] [--workers 2] [--rounds 3]
        [--data-dir FOLDER] [--out FILE.json]

with `requirements-cluster.txt`, trains in one process with so many threads and on so many workers, by turns.
It takes the least seconds of training, and of the processors for the whole job, those of the scheduler and of
the workers included, which other work on the machine changes little. It ends with status 1 if a file differs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from presets import RESULTS
from scaling import STAGES

from disentangle.runtime import provenance
from disentangle.storage.atomic import write_json
from disentangle.storage.saved import RECORD

Digests = dict[str, dict[str, str]]


@contextmanager
def cluster(n_workers: int) -> Iterator[tuple[Path, list[int]]]:
    """The scheduler's file, and the processes, of a scheduler and workers of one thread."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "scheduler.json")
        dask = [sys.executable, "-m", "dask"]
        where = ["--scheduler-file", str(file), "--no-dashboard"]
        commands = [[*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", *where]]
        commands += [
            [*dask, "worker", "--nthreads", "1", "--no-nanny", "--local-directory", folder, *where]
        ] * n_workers
        processes = [subprocess.Popen(one, stderr=subprocess.DEVNULL) for one in commands]
        try:
            wait = "import sys; from distributed import Client; Client(scheduler_file=sys.argv[1])"
            wait += ".wait_for_workers(int(sys.argv[2]))"
            subprocess.run([sys.executable, "-c", wait, file, str(n_workers)], check=True)
            yield file, [process.pid for process in processes]
        finally:
            for process in reversed(processes):
                process.terminate()
                process.wait()


def of_processors(pids: list[int]) -> float:
    """Seconds that processes have had until now."""
    ticks = 0
    for pid in pids:
        ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def trained(args: argparse.Namespace, preset: str, *more: str) -> tuple[float, float, Digests]:
    """Seconds of a preset's training, of the processors for the job's process, and digests of all files."""
    with tempfile.TemporaryDirectory() as models:
        command = [sys.executable, "-m", "disentangle", "base", args.dataset, "--without-xr-linear"]
        command += ["--preset", preset, "--data-dir", str(args.data_dir), "--model-dir", models, *more]
        process = subprocess.Popen(command, stdout=sys.stderr)
        _, status, usage = os.wait4(process.pid, 0)
        if code := os.waitstatus_to_exitcode(status):
            sys.exit(code)
        report = json.loads(Path(models, args.dataset, "base", "report.json").read_text(encoding="utf-8"))
        records = {path: json.loads(path.read_text()) for path in sorted(Path(models).rglob(RECORD))}
        files = {str(path.parent.relative_to(models)): record["files"] for path, record in records.items()}
    seconds = sum(report["runs"][0]["seconds"][stage] for stage in STAGES)
    return seconds, usage.ru_utime + usage.ru_stime, files


def measure(args: argparse.Namespace, preset: str, n_workers: int) -> dict[str, Any]:
    """A row: the least of rounds by turns."""
    alone: list[tuple[float, float]] = []
    shared: list[tuple[float, float]] = []
    with cluster(n_workers) as (file, pids):
        for _ in range(args.rounds):
            threads = ("--threads", str(n_workers))
            *own, expected = trained(args, preset, *threads)
            before = of_processors(pids)
            seconds, of_job, found = trained(args, preset, *threads, "--cluster", str(file))
            alone.append((own[0], own[1]))
            shared.append((seconds, of_job + of_processors(pids) - before))
            if found != expected:
                sys.exit(f"{args.dataset}, {preset}, {n_workers} workers: files of stages differ")
    columns = {
        name: [min(one) for one in zip(*of, strict=True)]
        for name, of in (("process", alone), ("cluster", shared))
    }
    return {
        "preset": preset,
        "workers": n_workers,
        "stages": len(expected),
        "rounds": [alone, shared],
    } | columns


def print_clusters(result: dict[str, Any]) -> None:
    """A row for each preset and number of workers, as Markdown."""
    print("| preset | workers | process, s | cluster, s | ratio | process, CPU s | cluster, CPU s | ratio |")
    print("|---|" + "---:|" * 7)
    for row in result["rows"]:
        pairs = zip(row["process"], row["cluster"], strict=True)
        cells = [
            cell for one, other in pairs for cell in (f"{one:.1f}", f"{other:.1f}", f"{other / one:.2f}")
        ]
        print(f"| {row['preset']} | {row['workers']} | " + " | ".join(cells) + " |")


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("dataset", metavar="DATASET")
    parser.add_argument("--presets", type=lambda text: text.split(","), default=["lean"])
    parser.add_argument("--workers", type=lambda text: [int(n) for n in text.split(",")], default=[2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data-dir", type=Path, default=Path("dataset/xmc-base"))
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    args.data_dir = args.data_dir.resolve()
    rows = [measure(args, preset, n) for n in args.workers for preset in args.presets]
    result = {"versions": provenance.versions(), "machine": provenance.machine(), "rows": rows}
    write_json(args.out or RESULTS / f"cluster-{args.dataset}.json", result)
    print_clusters(result)


if __name__ == "__main__":
    main()
