"""The base job: XR-Linear beside its overlaps on a dataset, alone and in ensembles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..storage import atomic
from ..storage.saved import RECORD
from . import figures
from .ensemble import Ensemble
from .job import Job
from .plan import Plan


def run_base(job: Job) -> dict[str, Any]:
    """XR-Linear beside its overlap on a dataset.

    Returns
    -------
    dict
        The report, as `report.json` has it but for the runs of earlier calls; "files" are where to look next.

    Raises
    ------
    DisentangleError
        If settings are out of range, the data are wrong, or results cannot be written.
    """
    folder = job.folder("base")
    trees = Ensemble(folder, job.source(), job.settings, job.place)
    with atomic.workspace(folder, RECORD):
        return report_base(job, trees.first, trees.runs())


def report_base(job: Job, base: Plan, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Write and draw what a base job has made; return it as `run_base` does."""
    sizes = base.load.ensure()["results"]
    written = job.report(base.root, "base", runs[-1], data=base.source.inputs, sizes=sizes, runs=runs)
    draw_frontier(base.folder, job.dataset, written)
    files = [base.root / "report.json", base.folder / "frontier.png"]
    return written | {"runs": runs, "files": files}


def draw_frontier(folder: Path, title: str, report: dict[str, Any]) -> None:
    """What the report has with the settings of its first run."""
    runs = [run for run in report["runs"] if run["settings"] == report["runs"][0]["settings"]]
    figures.draw_frontier(folder, title, runs)
