"""What runs of several seeds say together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .columns import CHOSEN_BY, COSTS, METRICS, chosen_by, costs, setting_of
from .differences import Comparison

Run = dict[str, Any]
# Of a run, besides what its seed has to do with.
_TOLD = ("method", "variant", "preset", "n_copies", "n_trees", "overlap", "level_from_leaf", "bin_size")


def over_seeds(runs: Sequence[Run], comparison: Comparison) -> dict[str, Any]:
    """What a report of several seeds has besides its runs; nothing for a single one.

    Returns
    -------
    dict
        "seeds", and "summary": for each way to overlap "mean" and "sd" (of a sample) over seeds of its
        figures and costs, and "differences" as runs have them, paired by seed, with their "sd".
    """
    groups: dict[Any, list[Run]] = {}
    for run in runs:
        groups.setdefault(setting_of(run), []).append(run)
    seeds = list(dict.fromkeys(run["settings"]["seed"] for run in runs))
    if len(seeds) < 2:
        return {}
    differences = comparison.to_references(list(groups.values()))
    summary = []
    for own, found in zip(groups.values(), differences, strict=True):
        told = {name: own[0][name] for name in _TOLD if name in own[0]}
        summary.append(told | spread([_numbers(run) for run in own]) | {"differences": found})
    return {"seeds": seeds, "summary": summary}


def _numbers(run: Run) -> dict[str, Any]:
    named = dict(zip(COSTS, costs(run), strict=True)) | {CHOSEN_BY: chosen_by(run)}
    bins = {"n_bins": run["n_bins"]} if "n_bins" in run else {}
    return {name: run[name] for name in METRICS.values()} | named | bins


def spread(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean and sample standard deviation of numbers, or lists of them, by name."""
    values = {name: np.array([one[name] for one in found]) for name in found[0]}
    return {
        "mean": {name: value.mean(axis=0).round(4).tolist() for name, value in values.items()},
        "sd": {name: value.std(axis=0, ddof=1).round(4).tolist() for name, value in values.items()},
    }
