"""What a run of a report, or the summary of several, is called, and its columns in tables and figures."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_FLOOR, Decimal
from statistics import fmean
from typing import Any

from ..evaluate.significance import COLUMNS, MEAN

# What fits a terminal of 80 columns; reports have k = 1 to 10, and nDCG.
SHOWN = ("P@1", "P@3", "P@5", "R@10", "PSP@5")
METRICS = {"P": "precision", "R": "recall", "nDCG": "ndcg", "PSP": "psp"}
COSTS = ("candidates_per_instance", "train_seconds", "predict_seconds")
COST_COLUMNS = ("candidates", "train s", "predict s")
# Of a summary: what `chosen_by` says.
CHOSEN_BY = "chosen_by"
_TRAINING = ("train", "match", "assign", "expand", "split", "retrain")
# What tells the runs of a report apart, but for their settings.
_NAMED_BY = ("variant", "n_trees", "level_from_leaf", "bin_size")


def figure(run: dict[str, Any], column: str) -> float | None:
    """A figure in percent by the name of its column, such as "P@5" or "mean"; None if the run has none."""
    if column == MEAN:
        return chosen_by(run)
    letters, k = column.split("@")
    values = run.get("mean", run).get(METRICS[letters])
    return values[int(k) - 1] if values else None


def figures(run: dict[str, Any], columns: Sequence[str] = SHOWN) -> list[float | None]:
    """Those of several columns."""
    return [figure(run, column) for column in columns]


def chosen_by(run: dict[str, Any]) -> float:
    """What presets are chosen by: the mean of P@1, P@3, P@5 and R@10."""
    if (said := run.get("mean", run).get(CHOSEN_BY)) is not None:
        return said
    return fmean(value for value in figures(run, COLUMNS) if value is not None)


def training_seconds(run: dict[str, Any]) -> float:
    """Seconds from loaded data to the model, what an overlap builds on of the first training included."""
    return sum(run["seconds"].get(stage, 0.0) for stage in _TRAINING)


def costs(run: dict[str, Any]) -> list[float]:
    """Candidates per instance, seconds of training and of predicting."""
    if "mean" in run:
        return [run["mean"][name] for name in COSTS]
    return [run["candidates_per_instance"], training_seconds(run), run["seconds"]["predict"]]


def threshold(probability: float) -> str:
    """A threshold in four digits, rounded down: one above it would leave out labels that it takes in."""
    return str(Decimal(repr(float(probability))).quantize(Decimal("0.0001"), ROUND_FLOOR))


def setting_name(run: dict[str, Any]) -> str:
    """What a run is called in tables and figures."""
    trees = f", {run['n_trees']} trees" if run.get("n_trees", 1) > 1 else ""
    return f"{run['variant'] or 'XR-Linear'}{trees}"


def model_name(evaluation: str) -> str:
    """What `predict` calls the model whose figures lie in a folder of the job's."""
    return evaluation.replace("/evaluation", "").replace("-evaluation", "")


def setting_of(run: dict[str, Any]) -> tuple[Any, ...]:
    """What runs of other seeds have in common with a run: its variant, trees and way to bin."""
    return tuple(run.get(name) for name in _NAMED_BY)
