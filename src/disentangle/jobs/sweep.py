"""The sweep job: many ways to overlap, compared on a part of the training data."""

from __future__ import annotations

from typing import Any

from ..data import datasets
from ..storage import atomic
from ..storage.saved import RECORD
from .base import draw_frontier
from .job import Job
from .plan import Plan, runs


def run_sweep(job: Job) -> dict[str, Any]:
    """XR-Linear beside many ways to overlap, on a part of the training data: to choose among them.

    Returns
    -------
    dict
        As of `run_base`.

    Raises
    ------
    DisentangleError
        As `run_base`.
    """
    seed = job.settings.tree.seed
    folder = job.folder("sweep")
    source = datasets.validation(job.source(), seed)
    plan = Plan(folder, source, job.settings, f"seed-{seed}")
    with atomic.workspace(folder, RECORD):
        made = runs(plan)
        written = job.report(folder, "sweep", made[-1], plan.place, data=source.inputs, runs=made)
        # The last one asked for; that of each seed stays.
        atomic.write_json(folder / "report.json", written)
        draw_frontier(plan.folder, f"{job.dataset}, validation", written)
        files = [plan.folder / name for name in ("report.json", "frontier.png")]
        return written | {"runs": made, "files": files}
