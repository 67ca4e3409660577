"""The assignment alone, at the shape of amazon-3m: labels and matching are made up, `assign` is timed.

    PYTHONPATH=src .venv/bin/python benchmarks/assignment.py make FOLDER [--share 1] [--seed 0]
    PYTHONPATH=src .venv/bin/python benchmarks/assignment.py measure FOLDER NAME [--threads 2]

`make` writes Y.npz, M.npz and own.npy, with the share given of the instances, labels and clusters.
`measure` loads them, assigns with the parameters of that name, and prints JSON: seconds, peak memory of the
process, and what it held before, matrices included, in MiB. There are two commands lest the memory of one
count in the other.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from synthetic import clusters_by_topic, draw_meanings, matching, plan_labels, to_labels

from disentangle.errors import DisentangleError
from disentangle.params import OverlapParams, PredictParams, at_least
from disentangle.runtime.provenance import peak_rss_mib, reset_peak_rss
from disentangle.runtime.threads import limit_threads
from disentangle.storage.atomic import claim

N_INSTANCES, N_LABELS, LABELS_PER_INSTANCE, N_CLUSTERS = 1_700_000, 2_800_000, 36, 32_768
PARAMS = {
    "paper": OverlapParams(),
    "capacity 1.2, scores": OverlapParams(gain="scores", capacity=1.2),
}


def make(folder: Path, share: float, seed: int) -> None:
    """Write a folder, whole or not at all.

    Raises
    ------
    DisentangleError
        If the folder exists or cannot be written, or a share leaves fewer clusters than the beam keeps.
    """
    beam_size = PredictParams().beam_size
    # Where there are clusters enough for the beam, there are instances and labels enough, too.
    if not beam_size / N_CLUSTERS <= share <= 1:
        raise DisentangleError(f"share must be in {beam_size / N_CLUSTERS:.4f}..1, got {share:g}")
    n_instances, n_labels, n_clusters = (round(share * n) for n in (N_INSTANCES, N_LABELS, N_CLUSTERS))
    with claim(folder) as temporary:
        if folder.exists():
            raise DisentangleError(f"{folder} exists: name a new folder, or remove it")
        temporary.mkdir(parents=True)
        rng = np.random.default_rng(seed)
        labels = plan_labels(n_instances, n_labels, LABELS_PER_INSTANCE, rng)
        Y = to_labels(draw_meanings(labels, n_instances, rng))
        own = clusters_by_topic(labels, n_clusters)
        sp.save_npz(temporary / "Y.npz", Y, compressed=False)
        M = matching(Y, own, n_clusters, beam_size, rng)
        sp.save_npz(temporary / "M.npz", M, compressed=False)
        np.save(temporary / "own.npy", own)
        temporary.rename(folder)


def measure(folder: Path, name: str, threads: int) -> dict[str, float]:
    """Seconds and memory (MiB) of one assignment in this process, and how many pseudo labels it makes."""
    limit_threads(threads)
    from disentangle.overlap.assign import assign

    Y = sp.load_npz(folder / "Y.npz").tocsc()
    M, own = sp.load_npz(folder / "M.npz"), np.load(folder / "own.npy")
    reset_peak_rss()
    before = peak_rss_mib()  # what is held now, since nothing has come on top of it
    start = time.perf_counter()
    overlap = assign(Y, M, own, PARAMS[name], threads)
    seconds = time.perf_counter() - start
    return {
        "seconds": round(seconds, 3),
        "peak_rss_mib": peak_rss_mib(),
        "rss_before_mib": before,
        "n_pseudo_labels": overlap.n_pseudo_labels,
        "nnz": int(Y.nnz),
    }


def main() -> None:
    """Do what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make")
    making.add_argument("folder", type=Path)
    making.add_argument("--share", type=float, default=1)
    making.add_argument("--seed", type=int, default=0)
    measuring = commands.add_parser("measure")
    measuring.add_argument("folder", type=Path)
    measuring.add_argument("name", choices=PARAMS)
    measuring.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    try:
        if args.command == "make":
            at_least("seed", args.seed, 0)
            make(args.folder, args.share, args.seed)
        else:
            at_least("threads", args.threads, 1)
            if not (args.folder / "own.npy").exists():
                raise DisentangleError(f"{args.folder} must be a folder that `make` wrote, found no own.npy")
            print(json.dumps(measure(args.folder, args.name, args.threads)))
    except DisentangleError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
