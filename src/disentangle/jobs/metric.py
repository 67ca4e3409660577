"""The metric job: how well copies separate the components of a label, by variation of information."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..data import components
from ..data.datasets import Dataset
from ..errors import DisentangleError
from ..params import BinParams
from ..presets import DEFAULT_PRESET
from ..storage import atomic
from ..storage.saved import RECORD, Saved
from . import figures, steps, tables
from .base import report_base
from .binned import Binned, ways_to_bin
from .job import Job
from .plan import Plan, runs
from .seeds import spread
from .stages import Stage

logger = logging.getLogger(__name__)

# Of a summary, what is averaged over seeds: with the baseline of even odds, and that of the same sizes.
_FIGURES = ("n_labels_scored", "mean_vi", "mean_normalised_vi", "mean_adjusted_rand")
_AGAINST = ("mean_random_baseline", "mean_difference", "fraction_better_than_random")
# What a seed has alone, besides.
_OWN = ("labels", "files", "coverage", "same_sizes", "difference_95_percent_interval")


def run_metric(
    job: Job, kind: str | None, level: int | None = None, bin_size: int = BinParams.bin_size
) -> dict[str, Any]:
    """How well the overlap's copies of a label separate its components.

    Parameters
    ----------
    job : Job
    kind : {"natural", "binned"} or None
        The dataset's own components and the base job's overlap, or binned labels and theirs; None takes
        the dataset's own where it has them.
    level : int or None
        As in `run_binned`; ignored for natural components, like `bin_size`.
    bin_size : int

    Returns
    -------
    dict
        The report, as `report.json` has it; under "labels" it has more than the file, a row per label.

    Raises
    ------
    DisentangleError
        As `run_binned`, and if the dataset has no components or none of its labels can be scored.
    """
    variant = job.one_variant("metric")
    if variant.params.assignment.n_copies < 2:
        raise DisentangleError("--n-copies must be at least 2 to have copies to score, got 1")
    jobs, folder = job.by_seed(), job.folder("metric")
    if kind is None:
        kind = "natural" if components.has_components(job.data_dir / job.dataset) else "binned"
    if kind == "natural":
        bases, where = [one.base() for one in jobs], job.data_dir / job.dataset
        components.require_components(where)
        with atomic.workspaces([folder, bases[0].root], RECORD):
            _check_components(bases[0], where)
            # The whole base job, so that its report tells of the models that are scored.
            report_base(job, [[base] for base in bases], [runs(base) for base in bases])
            scored = [_score(*one, where, "natural", {}) for one in zip(jobs, bases, strict=True)]
            return _together(job, scored, "natural")
    (params,) = ways_to_bin(job, None if level is None else [level], [bin_size], "")
    ways = [Binned(one, one.base(), params) for one in jobs]
    with atomic.workspaces([folder, job.folder("binned"), ways[0].bins.folder.parent], RECORD):
        scored = []
        for one, way in zip(jobs, ways, strict=True):
            way.bins.ensure()
            scored.append(_score(one, way.plan, way.bins.folder, params.name(), asdict(params)))
        return _together(job, scored, params.name())


def _together(job: Job, scored: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """The report of one seed as it is; that of several has the summary of each, their mean and sd."""
    if len(scored) == 1:
        return scored[0]
    path, first = job.folder("metric") / "report.json", scored[0]
    summaries = [_figures_of(one) for one in scored]
    shared = {name: value for name, value in first.items() if name not in (*_OWN, *summaries[0])}
    seeds = [{"seed": seed} | one for seed, one in zip(job.seeds, summaries, strict=True)]
    written = shared | {"components": name, "seeds": list(job.seeds), "runs": seeds}
    written |= {"summary": spread(summaries)}
    atomic.write_json(path, written)
    return written | {"files": [path, *(file for one in scored for file in one["files"])]}


def _figures_of(report: dict[str, Any]) -> dict[str, Any]:
    same = {f"same_sizes_{name}": report["same_sizes"][name] for name in _AGAINST}
    return {name: report[name] for name in (*_FIGURES, *_AGAINST)} | same


def _check_components(plan: Plan, where: Path) -> None:
    """Refuse wrong components and names before anything is trained."""
    sizes = plan.load.ensure()["results"]
    parts = components.load_components(where, sizes["n_train_instances"], sizes["n_labels"])
    components.label_names(where, sizes["n_labels"])
    logger.info("%d components of %d labels", len(parts.names), sizes["n_labels"])


def _score(job: Job, plan: Plan, where: Path, name: str, params: dict[str, Any]) -> dict[str, Any]:
    """Score a plan's overlap against the components in the dataset folder `where`, and report it."""
    folder, seed = job.folder("metric"), job.settings.tree.seed
    (overlapped,) = plan.overlaps
    variant = overlapped.variant
    if variant.name != DEFAULT_PRESET:
        name = f"{name}-{variant.name}"
    name = job.place_beside(name)
    sizes = plan.load.ensure()["results"]
    separation = Stage(
        "separate",
        folder / f"separation-{name}",
        components.digest_components(where) | {"seed": seed},
        (
            "evaluate.variation_of_information",
            "overlap.copies",
            "model.saved_model",
            "data.components",
            "storage.compressed",
            "storage.matrices",
        ),
        lambda out, model, matching: _separate(model, matching, plan.dataset, where, seed),
        (overlapped.model, overlapped.matching),
        prepare=lambda: plan.dataset,
        code=(_separate, steps.load_matching),
        threads=job.settings.threads,
        force=job.settings.force,
    )
    record = separation.ensure()
    summary, rows = record["results"]["summary"], record["results"]["labels"]
    components.add_names(where, sizes["n_labels"], rows)
    tables.write_csv(folder / f"labels-{name}.csv", rows)
    figures.draw_differences(folder, job.title, name, rows, summary)
    of_variant = {"variant": variant.name, "preset": variant.preset, "overlap": variant.params.parts()}
    more = {"components": name} | of_variant | summary
    written = job.report(folder, "metric", record, params=params, **more)
    # report.json is the last one asked for; this one stays when others are.
    atomic.write_json(folder / f"report-{name}.json", written)
    files = [folder / f"{what}-{name}" for what in ("report", "labels", "differences")]
    files = [
        path.with_name(path.name + ending)
        for path, ending in zip(files, (".json", ".csv", ".png"), strict=True)
    ]
    return written | {"labels": rows, "files": files}


def _separate(model: Saved, matching: Saved, dataset: Dataset, where: Path, seed: int) -> dict[str, Any]:
    from ..evaluate import variation_of_information
    from ..model.saved_model import load_overlap

    parts = components.load_components(where, dataset.X_trn.shape[0], dataset.Y_trn.shape[1])
    overlap, M = load_overlap(model), steps.load_matching(matching, dataset)
    scored = variation_of_information.separate(parts.Y_trn, parts.of_label, overlap, M, seed)
    if not scored:
        raise DisentangleError(
            f"no label of {where} can be scored: expected two components of more than "
            f"{variation_of_information.MIN_INSTANCES} training instances and two copies, found no such label"
        )
    return {
        "summary": variation_of_information.summarise(scored, seed),
        "labels": [asdict(one) for one in scored],
    }
