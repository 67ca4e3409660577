"""What a report says, as tables: titles, columns and cells, for the terminal and for exports."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..data.datasets import SIZES
from ..data.features import titled
from ..evaluate.significance import COLUMNS, MEAN
from ..params import FEATURES
from ..runtime.terminal import shown
from ..storage.atomic import replacing
from .columns import COST_COLUMNS, SHOWN, costs, figure, figures, setting_of, threshold
from .columns import setting_name as setting_name  # benchmarks take both from here
from .columns import training_seconds as training_seconds
from .cost_estimate import Estimate
from .differences import REFERENCES, excludes_zero

Row = dict[str, Any]

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


def subject(report: dict[str, Any]) -> str:
    """What a report is about, for titles."""
    return titled(report["dataset"], report.get("features", FEATURES))


def tables_of(report: dict[str, Any]) -> list[Table]:
    """All tables of the report of a job, as the job returns it or as `report.json` has it."""
    return _TABLES[report["job"]](report)


def _base_tables(report: dict[str, Any]) -> list[Table]:
    """The runs, or their means over seeds, how they differ from others, and what others published."""
    tables = _comparison_tables(subject(report), _rows(report), report.get("seeds"))
    if runs := [run for run in report["runs"][: report.get("n_asked")] if "calibration" in run]:
        tables.append(_calibration_table(report, runs))
    if rows := published(report["dataset"]):
        tables.append(_published_table(report["dataset"], rows))
    return tables


def _calibration_table(report: dict[str, Any], runs: list[Row]) -> Table:
    """How far scores (before) and probabilities (after) are from how often labels are right."""
    columns = ("@1 before", "@1 after", "@5 before", "@5 after", "threshold", "F1")
    table = Table(f"{subject(report)}: calibration error, in percent", ("method", *columns))
    for run in runs:
        seed = f", seed {run['settings']['seed']}" if "seeds" in report else ""
        own = run["calibration"]
        errors = (own["ece"][name][k] for k in ("1", "5") for name in ("scores", "probabilities"))
        told = (threshold(own["threshold"]), f"{own['f1']:.2f}")
        table.add(setting_name(run) + seed, *(f"{error:.2f}" for error in errors), *told)
    table.notes = [
        "Expected calibration error of scores (before) and probabilities (after) on the test part, of the "
        "first label and of the first five of each instance; 15 bins.",
        "threshold: the probability with the highest micro-averaged F1 on the validation part, of the ten "
        "best labels; F1: that of the test part with it, in percent",
    ]
    return table


def _rows(report: dict[str, Any]) -> list[Row]:
    """What the tables of a report show: its runs, or of several seeds the summary."""
    return report.get("summary", report["runs"])


def _binned_tables(report: dict[str, Any]) -> list[Table]:
    """Both methods and their difference for each way to bin."""
    tables, rows = [], _rows(report)
    for pair in zip(rows[::2], rows[1::2], strict=True):
        first = pair[0]
        n_bins = first.get("mean", first)["n_bins"]
        bins = f"{n_bins:,.0f} bins of {first['bin_size']}, level {first['level_from_leaf']}"
        tables += _comparison_tables(f"{subject(report)}, {bins}", list(pair), report.get("seeds"))
    return tables


def _comparison_tables(subject: str, rows: list[Row], seeds: list[int] | None) -> list[Table]:
    names = [setting_name(row) for row in rows]
    measured = _measured_tables(subject, names, rows, SHOWN, seeds)
    return [*measured, *_difference_tables(subject, names, rows, SHOWN, seeds)]


def _measured_tables(
    subject: str, names: list[str], rows: list[Row], columns: tuple[str, ...], seeds: list[int] | None
) -> list[Table]:
    """Figures and costs; of several seeds in two tables, as one would not fit a terminal."""
    title = f"{subject}: measured here, in percent"
    if not seeds:
        table = Table(title, ("method", *columns, *COST_COLUMNS))
        for name, row in zip(names, rows, strict=True):
            table.add(name, *_cells(figures(row, columns)), *(f"{value:,.1f}" for value in costs(row)))
        return [table]
    quality = Table(f"{title}, means ± {_over(seeds)}", ("method", *columns))
    cost = Table(f"{subject}: what it costs, means ± {_over(seeds)}", ("method", *COST_COLUMNS))
    for name, row in zip(names, rows, strict=True):
        numbers = zip(figures(row, columns), figures(row["sd"], columns), strict=True)
        quality.add(name, *(f"{mean:.2f} ± {sd:.2f}" for mean, sd in numbers))
        numbers = zip(costs(row), costs({"mean": row["sd"]}), strict=True)
        cost.add(name, *(f"{mean:,.1f} ± {sd:,.1f}" for mean, sd in numbers))
    return [quality, cost]


def _over(seeds: list[int]) -> str:
    return f"standard deviation over seeds {', '.join(map(str, seeds))}"


def _difference_tables(
    subject: str, names: list[str], rows: list[Row], columns: tuple[str, ...], seeds: list[int] | None
) -> list[Table]:
    """A table for each run that others are compared with; costs are beside XR-Linear's alone."""
    of_setting = {setting_of(row): row for row in rows}
    tables = []
    for variant, to in REFERENCES.items():
        with_costs = variant is None and not seeds
        costs_too = "; costs in times" if with_costs else ""
        title = f"{subject}: difference to {to}, in percentage points{costs_too}"
        table = Table(title, ("method", *columns, *(COST_COLUMNS if with_costs else ())))
        for name, row in zip(names, rows, strict=True):
            found = {one["to"]: one for one in row.get("differences", ())}
            if to in found:
                reference = of_setting[(variant, *setting_of(row)[1:])]
                ratios = _ratios(costs(reference), costs(row)) if with_costs else []
                table.add(name, *_differences(row, reference, found[to], columns), *ratios)
        if table.rows:
            table.notes = _notes(columns, seeds)
            tables.append(table)
    return tables


def _differences(row: Row, reference: Row, found: Row, columns: tuple[str, ...]) -> list[str]:
    """The cells of a difference; without an interval in the columns that have none."""
    cells = []
    for column in columns:
        if column not in found:
            before, after = figure(reference, column), figure(row, column)
            cells.append("" if before is None or after is None else f"{after - before:+.2f} ")
            continue
        one = found[column]
        spread = f" ± {one['sd']:.2f}" if "sd" in one else ""
        cells.append(f"{one['difference']:+.2f}{spread}{'*' if excludes_zero(one) else ' '}")
    return cells


def _notes(columns: tuple[str, ...], seeds: list[int] | None) -> list[str]:
    drawn = "test instances and seeds" if seeds else "test instances"
    none = "; PSP@5 has none" if "PSP@5" in columns else ""
    said = [f"* the 95 % interval, from {drawn} drawn anew, leaves out 0{none}"]
    return [f"± {_over(seeds)}, of differences between runs of the same seed", *said] if seeds else said


def _ratios(before: list[float], after: list[float]) -> list[str]:
    return [f"x {b / a:.2f}" if a else "" for a, b in zip(before, after, strict=True)]


def _cells(figures: list[float | None]) -> list[str]:
    return ["" if value is None else f"{value:.2f}" for value in figures]


def _sweep_tables(report: dict[str, Any]) -> list[Table]:
    """A row for each variant, named by those of its parts that are not the same for all; the winner."""
    rows, seeds = _rows(report), report.get("seeds")
    overlaps = [row for row in rows if row["variant"] is not None]
    values = {name: {str(row["overlap"][name]) for row in overlaps} for name in overlaps[0]["overlap"]}
    varied = [name for name in values if len(values[name]) > 1]

    def named(row: Row) -> str:
        if row["variant"] is None:
            return "XR-Linear"
        return ", ".join(f"{name} {row['overlap'][name]}" for name in varied) or row["variant"]

    names = [named(row) for row in rows]
    same = ", ".join(f"{name} {overlaps[0]['overlap'][name]}" for name in values if name not in varied)
    is_given = "X_val" in report.get("data", ())
    about = f"{subject(report)}, {'validation part' if is_given else 'a fifth of the training data'}"
    # Five columns fit a terminal with their deviations.
    columns = (*COLUMNS, MEAN) if seeds else (*SHOWN, MEAN)
    tables = _measured_tables(about, names, rows, columns, seeds)
    tables[0].notes = [f"mean: that of {', '.join(COLUMNS)}", f"The same for all: {same}"]
    if "winner" in report:
        by_variant = {row["variant"]: name for row, name in zip(rows, names, strict=True)}
        tables[0].notes.append(_winner(report["winner"], by_variant))
    return [*tables, *_difference_tables(about, names, rows, (*COLUMNS, MEAN), seeds)]


def _winner(winner: dict[str, Any], names: dict[str, str]) -> str:
    sentence = f"The highest mean has {names[winner['variant']]}: {winner['mean']:.2f}"
    if "runner_up" not in winner:
        return f"{sentence}."
    second, difference = winner["runner_up"], winner["runner_up"]["difference"]
    interval = f"{difference['low']:+.2f} to {difference['high']:+.2f}"
    by = f"{difference['difference']:+.2f} to {names[second['variant']]} (95 % interval {interval})"
    noise = "the two are within noise" if second["within_noise"] else "more than noise"
    return f"{sentence}, {by}: {noise}."


def _published_table(dataset: str, rows: list[dict[str, Any]]) -> Table:
    table = Table(f"{dataset}: published elsewhere, not run here", ("method", *SHOWN, "source"))
    sources = list(dict.fromkeys(row["source"] for row in rows))
    for row in rows:
        table.add(row["method"], *_cells(figures(row)), f"[{sources.index(row['source']) + 1}]")
    table.notes = [f"[{i}] {source}" for i, source in enumerate(sources, start=1)]
    return table


def _xr_transformer_tables(report: dict[str, Any]) -> list[Table]:
    """XR-Transformer's own prediction, and the base job's on its features."""
    names = [setting_name(row) for row in report["runs"]]
    subject = f"{report['dataset']}, features {report['features']}"
    return _measured_tables(subject, names, report["runs"], SHOWN, None)


def _seeds_tables(report: dict[str, Any]) -> list[Table]:
    """The means of a metric report's figures over seeds."""
    mean, sd, seeds = report["summary"]["mean"], report["summary"]["sd"], report["seeds"]
    title = (
        f"{subject(report)}, {report['components']} components, {mean['n_labels_scored']:,.0f} labels: "
        f"variation of information, nats, means ± {_over(seeds)}"
    )
    table = Table(title, ("random split", "VI", "random", "difference", "better"))

    def cell(name: str, form: str = ".4f") -> str:
        return f"{mean[name]:{form}} ± {sd[name]:{form}}"

    for words, prefix in (("even odds", ""), ("same sizes", "same_sizes_")):
        baseline, difference = (f"{prefix}mean_{name}" for name in ("random_baseline", "difference"))
        better = cell(f"{prefix}fraction_better_than_random", ".1%")
        table.add(words, cell("mean_vi"), cell(baseline), cell(difference), better)
    table.notes = [
        f"normalised VI {cell('mean_normalised_vi')}, adjusted Rand index {cell('mean_adjusted_rand')}"
    ]
    return [table]


def _metric_tables(report: dict[str, Any]) -> list[Table]:
    """The summary, and the best and worst separated labels by name where the report has them."""
    if "summary" in report:
        return _seeds_tables(report)
    title = (
        f"{subject(report)}, {report['components']} components, {report['n_labels_scored']:,} labels: "
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


def _meanings_tables(report: dict[str, Any]) -> list[Table]:
    """A row for each label whose copies were looked at."""
    title = f"{subject(report)}, {report['variant']}: how ambiguous labels are"
    table = Table(title, ("label", "ambiguity", "separation", "p", "instances", "copies"))
    for row in report["labels"]:
        values = (row["ambiguity"], row["separation"], row["p_value"])
        numbers = ("" if value is None else f"{value:.3g}" for value in values)
        table.add(shown(row["name"]), *numbers, f"{row['n_instances']:,}", f"{row['n_copies']}")
    return [table]


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
    "meanings": _meanings_tables,
    "metric": _metric_tables,
    "sweep": _sweep_tables,
    "xr-transformer": _xr_transformer_tables,
}


def datasets_table(data_dir: Path, rows: dict[str, tuple[dict[str, int], str]]) -> Table:
    """Datasets: their sizes as far as they are known, and where they are."""
    table = Table(f"datasets of {shown(str(data_dir))}", ("name", "training", "test", "labels", "where"))
    for name, (sizes, where) in rows.items():
        cells = (f"{sizes[size]:,}" if size in sizes else "" for size in SIZES)
        table.add(shown(name), *cells, shown(where))
    table.notes = [
        "Those to fetch are fetched on first use; their sizes are the published ones. "
        'After "here" are names for --features. '
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
    # Rounded up: they are bounds.
    most = [math.ceil(10 * factor) / 10 for factor in (costs.seconds_factor, costs.mebibytes_factor)]
    table.notes = [
        f"Estimate, not a promise: a base run with the paper preset and {threads} threads takes about "
        f"{_duration(costs.seconds)}, {of_runs}, and {costs.mebibytes / 1024:,.1f} GiB of memory. "
        f"Runs that were measured are off by a factor of up to {most[0]} in time and {most[1]} in "
        "memory; much larger datasets may be further off."
    ]
    if costs.mebibytes > memory * 1024:
        table.notes.append(f"That is more than the {memory} GiB of this machine.")
    return table


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds:,.0f} seconds"
