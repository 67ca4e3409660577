"""Jobs on a cluster whose processes are killed at random: what all of them come to.

    PYTHONPATH=src python tests/jobs/cluster_kills.py [--runs 100] [--seed 0]

with requirements-cluster.txt. Each run trains and evaluates a small set on a cluster of three workers.
Whenever they have begun some calls more, one of them gets SIGKILL and another one comes, or the scheduler
gets it, and the job is given a new cluster. In every second run workers do not see the job's folder;
presets take turns. A job ends with status 0 and the bytes of one process, or with status 2 and a sentence,
and the same command goes on; one that begins no call for ten minutes is taken to hang. Exit status 1 unless
all end well.

Processes are forks of this one, which has imported everything: to start another worker takes no second.
"""

from __future__ import annotations

import argparse
import functools
import json
import multiprocessing
import os
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from distributed.cli import dask_scheduler, dask_worker

from disentangle.cli import main
from disentangle.jobs import cluster, worker
from disentangle.kernels import dual_descent, merge_and_rank
from disentangle.model import predictor, tree
from disentangle.storage.saved import RECORD

IMPORTED = dual_descent, merge_and_rank, predictor, tree
fork = multiprocessing.get_context("fork")
N_WORKERS = 3
# Calls between two kills, on average; how many kills are the scheduler's; seconds without a call.
CALLS, OF_SCHEDULER, HANG = 12, 0.08, 600.0
JOB = ("base", "small", "--data-dir", ".", "--nr-splits", "4", "--max-leaf-size", "10", "--threads", "1")
JOB += ("--without-xr-linear",)
PRESETS = "paper", "lean"


def dataset(folder: Path) -> None:
    """Labels whose instances have features in common, in PECOS's layout."""
    rng = np.random.default_rng(0)
    (folder / "tfidf-attnxml").mkdir(parents=True)
    of_labels = sp.random(300, 500, 0.02, "csr", np.float32, random_state=rng)
    for part, n in (("trn", 2000), ("tst", 300)):
        Y = sp.random(n, 300, 0.01, "csr", np.float32, random_state=rng)
        Y.data[:] = 1
        X = (Y @ of_labels + sp.random(n, 500, 0.01, "csr", np.float32, random_state=rng)).tocsr()
        sp.save_npz(folder / f"Y.{part}.npz", Y)
        sp.save_npz(folder / "tfidf-attnxml" / f"X.{part}.npz", X)


def started(log: Path, call: Callable[..., Any], *args: Any) -> BaseProcess:
    """A fork that does a call, whose output goes to the end of a file."""

    def run() -> None:
        with log.open("a") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", 1)
        call(*args)

    process = fork.Process(target=run)
    process.start()
    return process


class Cluster:
    """A scheduler and workers of one thread, with their files in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.file = folder, folder / "scheduler.json"
        where = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(self.file)]
        self.scheduler = started(folder / "scheduler.log", dask_scheduler.main, where)
        self.workers = [self._worker() for _ in range(N_WORKERS)]
        while not self.file.exists():
            self.scheduler.join(0.01)

    def _worker(self) -> BaseProcess:
        how = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(self.folder)]
        how += ["--scheduler-file", str(self.file)]
        return started(self.folder / "workers.log", self._work, how)

    def _work(self, how: list[str]) -> None:
        run, begun = worker.run, self.folder / "begun"

        @functools.wraps(run)  # it is known by its name
        def telling(*args: Any) -> list[Any]:
            with begun.open("a") as file:
                file.write(".")
            return run(*args)

        worker.run = telling
        dask_worker.main(how)

    def replace(self, i: int) -> None:
        self.workers[i].kill()
        self.workers[i].join()
        self.workers[i] = self._worker()

    def end(self) -> None:
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.join()


def job(folder: Path, model: Path, preset: str, where: Path | None = None, is_seen: bool = True) -> None:
    """The command, in a process of its own."""
    os.chdir(folder)
    if not is_seen:
        opened = cluster._checked

        def unseen(client: Any, threads: int, place: Path) -> cluster.Cluster:
            found = opened(client, threads, place)
            found._folder = None
            return found

        cluster._checked = unseen
    sys.argv = ["disentangle", *JOB, "--model-dir", str(model), "--preset", preset]
    sys.argv += [] if where is None else ["--cluster", str(where)]
    main.main()


def contents(model: Path) -> dict[str, dict[str, str]]:
    """Digests of the files of each stage."""
    paths = sorted(model.rglob(RECORD))
    return {str(path.parent.relative_to(model)): json.loads(path.read_text())["files"] for path in paths}


def preset_of(seed: int) -> str:
    return PRESETS[seed // 2 % 2]


def awaited(process: BaseProcess, begun: Path, n_calls: int) -> bool:
    """Whether workers begin so many calls more before the job ends, or seems to hang."""
    size, last, since = begun.stat().st_size, -1, time.monotonic()
    while process.is_alive() and time.monotonic() - since < HANG:
        if (now := begun.stat().st_size) >= size + n_calls:
            return True
        if now != last:
            last, since = now, time.monotonic()
        process.join(0.005)
    return False


def attempt(folder: Path, run: Path, seed: int, rng: np.random.Generator, counts: Counter[str]) -> str:
    """The job once, on a new cluster: "done", a sentence, or what went wrong."""
    with tempfile.TemporaryDirectory(dir=run) as place:
        log, begun, found = Path(place, "job.log"), Path(place, "begun"), Cluster(Path(place))
        process = started(log, job, folder, run / "model", preset_of(seed), found.file, seed % 2 == 0)
        begun.touch()
        try:
            while awaited(process, begun, int(rng.geometric(1 / CALLS))):
                process.join(float(rng.uniform(0, 0.05)))  # a call may have ended, another one be underway
                if rng.random() < OF_SCHEDULER:
                    found.scheduler.kill()
                    counts["schedulers killed"] += 1
                else:
                    found.replace(int(rng.integers(N_WORKERS)))
                    counts["workers killed"] += 1
            said = log.read_text()
            if process.is_alive():
                process.kill()
                return f"hangs: {said}"
        finally:
            found.end()
        if process.exitcode == 0:
            return "done"
        last = said.strip().splitlines()[-1] if said.strip() else ""
        is_sentence = process.exitcode == 2 and last.startswith("error: ") and "Traceback" not in said
        return last if is_sentence else f"status {process.exitcode}: {said}"


def run_one(folder: Path, seed: int, expected: dict[str, Any], counts: Counter[str]) -> bool:
    """A run, repeated until it is done; whether it ends well."""
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as name:
        ended, attempts = "", 0
        while ended != "done":
            ended, attempts = attempt(folder, Path(name), seed, rng, counts), attempts + 1
            if ended.startswith("error: "):
                counts[re.sub(r"tcp://\S+|\(.*\)", "...", ended)] += 1
            elif ended != "done":
                print(f"run {seed} FAILED: {ended}", flush=True)
                return False
        if contents(Path(name, "model")) != expected[preset_of(seed)]:
            print(f"run {seed} FAILED: other bytes", flush=True)
            return False
    counts["runs that end with the same bytes"] += 1
    print(f"run {seed}: the same bytes, at attempt {attempts}", flush=True)
    return True


def run_all() -> None:
    """Do what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dataset(folder / "small")
        expected = {}
        for preset in PRESETS:
            alone = started(folder / "alone.log", job, folder, folder / preset, preset)
            alone.join()
            expected[preset] = contents(folder / preset)
            if alone.exitcode or not expected[preset]:
                sys.exit((folder / "alone.log").read_text())
        ended = [run_one(folder, args.seed + i, expected, counts) for i in range(args.runs)]
    for what, n in sorted(counts.items()):
        print(f"{n:6d}  {what}")
    print(f"{ended.count(False):6d}  runs that hang, end otherwise, or with other bytes")
    sys.exit(not all(ended))


if __name__ == "__main__":
    run_all()
