"""What a report says, as tables: titles, columns and cells, for the terminal and for exports."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..data.datasets import SIZES
from ..runtime.terminal import shown
from ..storage.atomic import replacing
from .cost_estimate import Estimate

# What fits a terminal of 80 columns; reports have k = 1 to 10, and nDCG.
_COLUMNS = ("P@1", "P@3", "P@5", "R@10", "PSP@5")
_COSTS = ("candidates", "train s", "predict s")
_LETTERS = {"P": "precision", "R": "recall", "PSP": "psp"}
_TRAINING = ("train", "match", "assign", "expand", "split", "retrain")
_N_SHOWN = 10


def published(dataset: str) -> list[dict[str, Any]]:
    """Figures that others published for a dataset, as `published.json` beside this file has them.

    Returns
    -------
    list of dict
        "method", "precision" and "recall" (10 percents or None each) and "source" in words.
    """
    facts = json.loads(Path(__file__).with_name("published.json").read_text(encoding="utf-8"))
    return [
        row | {"source": facts["sources"][row["source"]]}
        for row in facts["results"]
        if row["dataset"] == dataset
    ]


def _figures(run: dict[str, Any]) -> list[float | None]:
    figures = []
    for column in _COLUMNS:
        letters, k = column.split("@")
        values = run.get(_LETTERS[letters])
        figures.append(values[int(k) - 1] if values else None)
    return figures


def training_seconds(run: dict[str, Any]) -> float:
    """Seconds from loaded data to the model, what an overlap builds on of the first training included."""
    return sum(run["seconds"].get(stage, 0.0) for stage in _TRAINING)


def setting_name(run: dict[str, Any]) -> str:
    """What a run is called in tables and figures."""
    trees = f", {run['n_trees']} trees" if run["n_trees"] > 1 else ""
    return f"{run['variant'] or 'XR-Linear'}{trees}"


def _costs(run: dict[str, Any]) -> list[float]:
    return [run["candidates_per_instance"], training_seconds(run), run["seconds"]["predict"]]


def _numbers(run: dict[str, Any]) -> list[str]:
    """The cells of `_COLUMNS` and `_COSTS`."""
    return [*_cells(_figures(run)), *(f"{value:,.1f}" for value in _costs(run))]


def _cells(figures: list[float | None], sign: str = "") -> list[str]:
    return ["" if value is None else f"{value:{sign}.2f}" for value in figures]


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows that have the same keys as CSV, whole or not at all."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


@dataclass
class Table:
    """A table of a first column of names and others of numbers.

    Attributes
    ----------
    title : str
    columns : tuple of str
    rows : list of tuple of str
        An empty row is an empty line.
    notes : list of str
        Sentences below it.
    """

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, *cells: str) -> None:
        self.rows.append(cells)


def tables_of(report: dict[str, Any]) -> list[Table]:
    """All tables of the report of a job, as the job returns it or as `report.json` has it."""
    return _TABLES[report["job"]](report)


def _base_tables(report: dict[str, Any]) -> list[Table]:
    """The runs, how they differ from XR-Linear's, and what others published."""
    tables = _comparison_tables(report["dataset"], report["runs"])
    if rows := published(report["dataset"]):
        tables.append(_published_table(report["dataset"], rows))
    return tables


def _binned_tables(report: dict[str, Any]) -> list[Table]:
    """Both methods and their difference for each way to bin."""
    tables, runs = [], report["runs"]
    for pair in zip(runs[::2], runs[1::2], strict=True):
        first = pair[0]
        bins = f"{first['n_bins']:,} bins of {first['bin_size']}, level {first['level_from_leaf']}"
        tables += _comparison_tables(f"{report['dataset']}, {bins}", list(pair))
    return tables


def _comparison_tables(subject: str, runs: list[dict[str, Any]]) -> list[Table]:
    measured = Table(f"{subject}: measured here, in percent", ("method", *_COLUMNS, *_COSTS))
    for run in runs:
        measured.add(setting_name(run), *_numbers(run))
    if runs[0]["method"] != "xr-linear":
        return [measured]
    title = f"{subject}: difference to XR-Linear, in percentage points; costs in times"
    compared = Table(title, measured.columns)
    (xr_linear, xr_costs), *overlaps = [(_figures(run), _costs(run)) for run in runs]
    for run, (overlap, overlap_costs) in zip(runs[1:], overlaps, strict=True):
        difference = [b - a for a, b in zip(xr_linear, overlap, strict=True)]  # type: ignore[operator]
        ratios = [f"x {b / a:.2f}" if a else "" for a, b in zip(xr_costs, overlap_costs, strict=True)]
        compared.add(setting_name(run), *_cells(difference, "+"), *ratios)
    return [measured, compared]


def _sweep_tables(report: dict[str, Any]) -> list[Table]:
    """A row for each variant, named by those of its parts that are not the same for all."""
    xr_linear, *runs = report["runs"]
    values = {name: {str(run["overlap"][name]) for run in runs} for name in runs[0]["overlap"]}
    varied = [name for name in values if len(values[name]) > 1]
    same = ", ".join(f"{name} {runs[0]['overlap'][name]}" for name in values if name not in varied)
    title = f"{report['dataset']}, a fifth of the training data: measured here, in percent"
    table = Table(title, ("setting", *_COLUMNS, *_COSTS), notes=[f"The same for all: {same}"])
    table.add("XR-Linear", *_numbers(xr_linear))
    for run in runs:
        parts = ", ".join(f"{name} {run['overlap'][name]}" for name in varied)
        table.add(parts or run["variant"], *_numbers(run))
    return [table]


def _published_table(dataset: str, rows: list[dict[str, Any]]) -> Table:
    table = Table(f"{dataset}: published elsewhere, not run here", ("method", *_COLUMNS, "source"))
    sources = list(dict.fromkeys(row["source"] for row in rows))
    for row in rows:
        table.add(row["method"], *_cells(_figures(row)), f"[{sources.index(row['source']) + 1}]")
    table.notes = [f"[{i}] {source}" for i, source in enumerate(sources, start=1)]
    return table


def _metric_tables(report: dict[str, Any]) -> list[Table]:
    """The summary, and the best and worst separated labels by name where the report has them."""
    title = (
        f"{report['dataset']}, {report['components']} components, {report['n_labels_scored']:,} labels: "
        "variation of information, nats"
    )
    summary = Table(title, ("random split", "VI", "random", "difference", "95 % interval", "better"))
    for words, numbers in (("even odds", report), ("same sizes", report["same_sizes"])):
        low, high = numbers["difference_95_percent_interval"]
        summary.add(
            words,
            f"{report['mean_vi']:.4f}",
            f"{numbers['mean_random_baseline']:.4f}",
            f"{numbers['mean_difference']:.4f}",
            f"{low:.4f} to {high:.4f}",
            f"{numbers['fraction_better_than_random']:.1%}",
        )
    coverage = report["coverage"]
    summary.notes = [
        f"normalised VI {report['mean_normalised_vi']:.4f}, "
        f"adjusted Rand index {report['mean_adjusted_rand']:.4f}; "
        f"{coverage['n_instances']:,} instances scored ({coverage['fraction_scored']:.1%}); left out: "
        f"{coverage['n_several_components']:,} with several components, "
        f"{coverage['n_small_component']:,} of a small component, "
        f"{coverage['n_unreached']:,} that reach no copy, {coverage['n_tied']:,} that reach several alike"
    ]
    if "labels" not in report:
        return [summary]
    ranked = sorted(report["labels"], key=lambda row: row["vi"] - row["random_same_sizes"])
    shown = min(_N_SHOWN, len(ranked))
    return [
        summary,
        _labels_table("best separated labels", ranked[:shown]),
        _labels_table("worst separated labels", ranked[::-1][:shown]),
    ]


def _labels_table(title: str, rows: list[dict[str, Any]]) -> Table:
    table = Table(title, ("label", "components", "copies", "instances", "VI", "same sizes", "Rand index"))
    for row in rows:
        figures = (row["vi"], row["random_same_sizes"], row["adjusted_rand"])
        counts = (row["n_components"], row["n_copies"], row["n_instances"])
        table.add(shown(row["name"]), *(f"{n:,}" for n in counts), *(f"{n:.4f}" for n in figures))
    return table


_TABLES: dict[str, Callable[[dict[str, Any]], list[Table]]] = {
    "base": _base_tables,
    "binned": _binned_tables,
    "metric": _metric_tables,
    "sweep": _sweep_tables,
}


def datasets_table(data_dir: Path, rows: dict[str, tuple[dict[str, int], str]]) -> Table:
    """Datasets: their sizes as far as they are known, and where they are."""
    table = Table(f"datasets of {shown(str(data_dir))}", ("name", "training", "test", "labels", "where"))
    for name, (sizes, where) in rows.items():
        cells = (f"{sizes[size]:,}" if size in sizes else "" for size in SIZES)
        table.add(shown(name), *cells, shown(where))
    table.notes = [
        "Those to fetch are fetched on first use; their sizes are the published ones. "
        "What is wrong with a damaged one `data check` says."
    ]
    return table


def info_table(
    name: str, described: dict[str, Any], costs: Estimate, threads: int, machine: dict[str, Any]
) -> Table:
    """What a dataset looks like, and what a base run is estimated to cost."""
    table = Table(name, ("what", "value"))
    for what, value in described.items():
        if isinstance(value, dict):
            table.add()
            for group, n in value.items():
                table.add(f"labels with {group} training instances", f"{n:,}")
        else:
            shown = f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
            table.add(what.removeprefix("n_").replace("_", " "), shown)
    of_runs = (
        f"at the pace of base runs on this machine ({costs.n_local_runs})"
        if costs.n_local_runs
        else f"at the pace of the measured runs ({costs.machine})"
    )
    memory = machine["memory_gib"]
    table.notes = [
        f"Estimate, not a promise: a base run with the paper preset and {threads} threads takes about "
        f"{_duration(costs.seconds)}, {of_runs}, and {costs.mebibytes / 1024:,.1f} GiB of memory. "
        f"Runs that were measured are off by a factor of up to {costs.seconds_factor:.1f} in time and "
        f"{costs.mebibytes_factor:.1f} in memory; much larger datasets may be further off."
    ]
    if costs.mebibytes > memory * 1024:
        table.notes.append(f"That is more than the {memory} GiB of this machine.")
    return table


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds:,.0f} seconds"
