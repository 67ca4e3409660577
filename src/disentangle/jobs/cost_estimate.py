"""What a base run will cost, from runs that were measured."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import geometric_mean, median
from typing import Any

import numpy as np
import scipy.sparse as sp

from ..errors import NONSENSE
from ..runtime import memory
from .settings import Settings

logger = logging.getLogger(__name__)

# Runs of the paper preset, collected by benchmarks/costs.py.
MEASURED = Path(__file__).with_name("costs.json")


@dataclass(frozen=True)
class Size:
    """What the cost of a base run depends on.

    Attributes
    ----------
    n_instances, n_labels : int
        Of the training part.
    nnz : int
        Stored values of X.
    work : int
        Sum over training instances of their features times their labels.
    n_features : int
    n_unused_labels : int
        Of the labels, those without training instances.
    """

    n_instances: int
    n_labels: int
    nnz: int
    work: int
    n_features: int = 0
    n_unused_labels: int = 0


def size_of(X: sp.csr_matrix, Y: sp.csr_matrix) -> Size:
    """Size of a training part: X of shape (n_instances, n_features), Y of shape (n_instances, n_labels)."""
    work = np.diff(X.indptr).astype(np.int64) @ np.diff(Y.indptr).astype(np.int64)
    n_unused = Y.shape[1] - len(np.unique(Y.indices))
    return Size(X.shape[0], Y.shape[1], int(X.nnz), int(work), X.shape[1], n_unused)


def declared_bytes(size: Size) -> int:
    """Bytes that the rows and columns of the matrices cost by themselves, whatever is in them.

    Measured with sets of 760 labels and 2,152 features in use and up to 10^8 features, 3 * 10^7 labels and
    3 * 10^6 instances that are not, and two threads: k-means, then PECOS's, held centres of all features in
    each, a model and its copies have places for each label, and matching for each instance.
    """
    return 84 * size.n_features + 190 * size.n_labels + 200 * size.n_instances


def _declared_seconds(size: Size) -> float:
    """The same of seconds, on the machine that they were measured on."""
    return 2.4e-6 * size.n_features + 5e-6 * size.n_unused_labels


def require_room(size: Size, settings: Settings) -> None:
    """Refuse a job that is certain not to fit, before PECOS ends the process; warn of one that may not.

    With a limit what is too large lies in files, so that there is nothing to warn of.

    Raises
    ------
    DisentangleError
        If there is less memory than the sizes of the matrices take by themselves.
    """
    needed = declared_bytes(size)
    of_ids = f"{size.n_features:,} features and {size.n_labels:,} labels ({settings.threads} threads)"
    memory.require(needed, f"a job on {of_ids}, {size.n_unused_labels:,} labels of which are not used,")
    likely, free = _mebibytes(size), memory.available() / 2**20
    if likely > free and settings.max_memory is None:
        logger.warning(
            "note: a job may not fit: about %s GiB are needed, %s are available",
            f"{likely / 1024:,.1f}",
            f"{free / 1024:,.1f}",
        )


@dataclass(frozen=True)
class Estimate:
    """What a base run may cost.

    Attributes
    ----------
    seconds, mebibytes : float
    seconds_factor, mebibytes_factor : float
        The largest factor, either way, by which the measured runs differ from their own estimates.
    n_local_runs : int
        Runs on this machine that set the pace; with none it is that of the measured runs.
    machine : str
        That of the measured runs.
    """

    seconds: float
    mebibytes: float
    seconds_factor: float
    mebibytes_factor: float
    n_local_runs: int
    machine: str


# Runs that take less at the measured pace are mostly start-up, which says nothing of longer ones.
_LONG_ENOUGH = 5.0  # seconds


def estimate(size: Size, threads: int, machine: dict[str, Any], model_dir: Path) -> Estimate:
    """Seconds and peak memory of a base run with the paper preset.

    Seconds grow with `work` times the square root of the number of instances, which fits the measured
    runs and has no other reason; threads are taken to share the work evenly. Base runs of `model_dir`
    on this machine set the pace if there are any.

    Parameters
    ----------
    size : Size
    threads : int
    machine : dict
        As `provenance.machine` tells it.
    model_dir : Path
        Results of jobs.
    """
    collected = json.loads(MEASURED.read_text(encoding="utf-8"))
    measured = collected["runs"]
    pace = geometric_mean(_pace(run) for run in measured)
    seconds_factor = max(_factor(_pace(run), pace) for run in measured)
    memory_factor = max(_factor(run["peak_rss_mib"], _mebibytes(Size(**run["size"]))) for run in measured)
    local = [
        _pace(run)
        for run in local_runs(model_dir, machine)
        if pace * _growth(Size(**run["size"])) / run["threads"] >= _LONG_ENOUGH
    ]
    seconds = (median(local) if local else pace) * _growth(size) / threads + _declared_seconds(size)
    theirs = "{cores} cores of an {processor}".format_map(measured[0]["machine"])
    return Estimate(seconds, _mebibytes(size), seconds_factor, memory_factor, len(local), theirs)


def run_of(report: dict[str, Any], size: Size) -> dict[str, Any]:
    """What there is to learn from the report of a base run.

    Its models may be of earlier calls, each of its own machine and threads.
    """
    first = next(run for run in report["runs"] if run["method"] == "xr-linear")
    last = next(run for run in report["runs"] if run.get("variant", run.get("preset")) == "paper")
    if (first["threads"], first["machine"]) != (last["threads"], last["machine"]):
        raise ValueError("XR-Linear and the overlap of different machines or threads")
    # XR-Linear's own training is a part of the run, but not all of it of the overlap's.
    of_first = first["seconds"]
    seconds = sum((last["seconds"] | {"train": of_first["train"]}).values())
    seconds += of_first["predict"] + of_first["evaluate"]
    return {
        "dataset": report["dataset"],
        "size": asdict(size),
        "seconds": round(seconds, 1),
        "peak_rss_mib": max(run["peak_rss_mib"] for run in report["runs"]),
        "threads": last["threads"],
        "machine": last["machine"],
    }


def local_runs(model_dir: Path, machine: dict[str, Any]) -> Iterable[dict[str, Any]]:
    """Base runs with the paper preset on this machine."""
    for path in sorted(model_dir.glob("*/base/report.json")):
        try:
            report = json.loads(path.read_text(encoding="utf-8"))
            run = run_of(report, Size(**report["sizes"]["costs"]))
            if run["machine"] != machine or _pace(run) <= 0:
                continue
        except (*NONSENSE, OSError, StopIteration):
            continue  # another version's, which has nothing to tell here
        yield run


def _growth(size: Size) -> float:
    return size.work * math.sqrt(size.n_instances)


def _pace(run: dict[str, Any]) -> float:
    return run["seconds"] * run["threads"] / _growth(Size(**run["size"]))


def _mebibytes(size: Size) -> float:
    """Python and its libraries, X with PECOS's copies of it, what each label and each instance bring along.

    And scores that predicting has yet to choose from, of which `beam_search` holds 256 MiB at most. Rounded
    from what fits the measured runs well, in the largest of their ratios. What is declared and not used costs
    its places alone.
    """
    n_used = size.n_labels - size.n_unused_labels
    of_used = 3.5 * size.nnz * 8 / 2**20 + 14 * n_used / 2**10 + 0.75 * size.n_instances / 2**10
    declared = replace(size, n_labels=size.n_unused_labels, n_instances=0)
    scores = min(256, 3.5 * size.n_instances / 2**10)
    return 160 + of_used + scores + declared_bytes(declared) / 2**20


def _factor(a: float, b: float) -> float:
    return max(a / b, b / a)
