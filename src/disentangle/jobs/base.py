"""The base job: XR-Linear beside its overlaps on a dataset, alone and in ensembles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..storage import atomic
from ..storage.saved import RECORD
from . import figures
from .differences import Comparison
from .ensemble import Ensemble
from .job import Job
from .plan import Plan
from .seeds import over_seeds


def run_base(job: Job) -> dict[str, Any]:
    """XR-Linear beside its overlap on a dataset, for each seed.

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
    ensembles = [Ensemble(folder, one.source(), one.settings, one.place) for one in job.by_seed()]
    with atomic.workspace(folder, RECORD):
        made = [trees.runs() for trees in ensembles]
        return report_base(job, [trees.first for trees in ensembles], made)


def report_base(job: Job, bases: list[Plan], made: list[list[dict[str, Any]]]) -> dict[str, Any]:
    """Write and draw what a base job has made, a plan and its runs for each seed; return as `run_base`."""
    first, folder = bases[0], bases[0].root
    sizes, comparison = first.load.ensure()["results"], Comparison(folder)
    runs = [run for own in made for run in comparison.added(own)]
    more = {"sizes": sizes, "runs": runs} | over_seeds(runs, comparison)
    written = job.report(folder, "base", runs[-1], data=first.source.inputs, **more)
    for base in bases:
        draw_frontier(base.folder, job.title, written, base.settings.said())
    files = [folder / "report.json", *(base.folder / "frontier.png" for base in bases)]
    return written | {"runs": runs, "files": files}


def draw_frontier(folder: Path, title: str, report: dict[str, Any], settings: dict[str, Any]) -> None:
    """What the report has with these settings."""
    runs = [run for run in report["runs"] if run["settings"] == settings]
    figures.draw_frontier(folder, title, runs)
