"""The sweep job: many ways to overlap, compared on validation data."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from ..data.validation import validation
from ..evaluate.significance import MEAN
from ..storage import atomic
from ..storage.saved import RECORD
from . import figures
from .base import runs_of
from .columns import chosen_by
from .differences import Comparison, excludes_zero
from .job import Job
from .plan import Plan, runs
from .seeds import over_seeds

Run = dict[str, Any]


def run_sweep(job: Job) -> dict[str, Any]:
    """XR-Linear beside many ways to overlap, on the validation part: to choose among them.

    Where the dataset has none, each seed draws a part of the training data for one.

    Returns
    -------
    dict
        As of `run_base`.

    Raises
    ------
    DisentangleError
        As `run_base`.
    """
    folder, jobs = job.folder("sweep"), job.by_seed()
    is_drawn = job.source().validation is None
    comparison = Comparison(folder, same_instances=not is_drawn)
    with atomic.workspace(folder, RECORD):
        made, files, inputs = [], [], []
        for one in jobs:
            seed = one.settings.tree.seed
            plan = Plan(folder, validation(one.source(), seed), one.settings, f"seed-{seed}")
            inputs.append(plan.source.inputs)
            made.append(comparison.added(runs(plan)))
            written = _report(one, plan.source.inputs, plan.place, made[-1:], comparison)
            own = runs_of(written, plan.settings.said())
            figures.draw_frontier(plan.folder, f"{job.title}, validation", own)
            files += [plan.folder / name for name in ("report.json", "frontier.png")]
        if job.seeds:
            # Of drawn parts it says every seed.
            data = {name: ",".join(dict.fromkeys(own[name] for own in inputs)) for name in inputs[0]}
            written = _report(job, data, "", made, comparison)
            files = [folder / "report.json", *files]
        else:
            # The last one asked for; that of each seed stays.
            atomic.write_json(folder / "report.json", written)
        return written | {"runs": [run for own in made for run in own], "files": files}


def _report(
    job: Job, data: dict[str, str], place: str, made: list[list[Run]], comparison: Comparison
) -> dict[str, Any]:
    """Write the report of runs of one seed, or of several."""
    together = [run for own in made for run in own]
    more = {"runs": together, "winner": winner(made, comparison)} | over_seeds(together, comparison)
    return job.report(job.folder("sweep"), "sweep", together[-1], place, data=data, **more)


def winner(made: list[list[Run]], comparison: Comparison) -> dict[str, Any]:
    """The way to overlap with the highest mean of the columns that presets are chosen by, over all seeds.

    Parameters
    ----------
    made : list of list of dict
        For each seed the runs, in the same order.
    comparison : Comparison

    Returns
    -------
    dict
        "variant", "preset", "overlap" (its parts) and "mean"; with others "runner_up": its "variant",
        "mean", the winner's "difference" to it, and whether it is "within_noise": the interval has 0.
    """
    ways = [own for own in zip(*made, strict=True) if own[0]["variant"] is not None]
    # Of equal ones the first.
    ranked = sorted(ways, key=lambda own: -fmean(map(chosen_by, own)))
    best = ranked[0]
    said = {name: best[0][name] for name in ("variant", "preset", "overlap")} | {"mean": _mean(best)}
    if len(ranked) == 1:
        return said
    difference = comparison.between(ranked[1], best)[MEAN]
    return said | {
        "runner_up": {
            "variant": ranked[1][0]["variant"],
            "mean": _mean(ranked[1]),
            "difference": difference,
            "within_noise": not excludes_zero(difference),
        }
    }


def _mean(own: Sequence[Run]) -> float:
    return round(fmean(map(chosen_by, own)), 4)
