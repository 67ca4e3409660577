"""The base job: XR-Linear beside its overlaps on a dataset, alone and in ensembles."""

from __future__ import annotations

from typing import Any

from ..storage import atomic
from ..storage.saved import RECORD
from . import figures
from .calibrate import calibrated
from .differences import Comparison
from .ensemble import Ensemble
from .job import Job, has_reported
from .plan import Plan
from .seeds import over_seeds


def run_base(job: Job, is_calibrated: bool = False) -> dict[str, Any]:
    """XR-Linear beside its overlap on a dataset, for each seed.

    Parameters
    ----------
    job : Job
    is_calibrated : bool
        Whether all models are calibrated, too; calibrations that are there are reported in any case.

    Returns
    -------
    dict
        The report, as `report.json` has it but for the runs of earlier calls; "files" are where to look next.

    Raises
    ------
    DisentangleError
        If settings are out of range, the data are wrong, or results cannot be written.
    """
    folder, sweep = job.folder("base"), job.folder("sweep")
    ensembles = [Ensemble(folder, one.source(), one.settings, one.place) for one in job.by_seed()]
    with atomic.workspaces([folder, *([sweep] if is_calibrated else [])], RECORD):
        made = [trees.runs() for trees in ensembles]
        return _report(job, [trees.trees for trees in ensembles], made, is_calibrated)


def report_base(job: Job, trees: list[list[Plan]], made: list[list[dict[str, Any]]]) -> None:
    """Have the base job's report tell of runs that another job builds on; one that does stays as it is."""
    first = trees[0][0]
    if not has_reported(first.root, [run for own in made for run in own], first.source.inputs):
        _report(job, trees, made)


def _report(
    job: Job, trees: list[list[Plan]], made: list[list[dict[str, Any]]], is_calibrated: bool = False
) -> dict[str, Any]:
    """Write and draw what a base job has made, trees and their runs for each seed; return as `run_base`."""
    sweep, bases = job.folder("sweep"), [own[0] for own in trees]
    made = [calibrated(*own, sweep, is_calibrated) for own in zip(made, trees, strict=True)]
    first, folder = bases[0], bases[0].root
    sizes, comparison = first.load.ensure()["results"], Comparison(folder)
    runs = [run for own in made for run in comparison.added(own)]
    more = {"sizes": sizes, "runs": runs} | over_seeds(runs, comparison)
    written = job.report(folder, "base", runs[-1], data=first.source.inputs, **more)
    files = [folder / "report.json"]
    for base in bases:
        own = runs_of(written, base.settings.said())
        figures.draw_frontier(base.folder, job.title, own)
        shown = [run for run in own if "calibration" in run]
        files += [base.folder / "frontier.png", *figures.draw_reliability(base.folder, job.title, shown)]
    return written | {"runs": runs, "files": files}


def runs_of(report: dict[str, Any], settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Those that a report has with these settings."""
    return [run for run in report["runs"] if run["settings"] == settings]
