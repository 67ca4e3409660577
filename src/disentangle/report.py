"""What a run says at its end: tables on the terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

_COLUMNS = ("P@1", "P@3", "P@5", "R@1", "R@5", "R@10", "PSP@5")
_LETTERS = {"P": "precision", "R": "recall", "PSP": "psp"}
_TRAINING = ("train", "match", "assign", "expand", "retrain")
# Wide enough for every table where the output is no terminal: a wrapped table cannot be searched.
_PLAIN_WIDTH = 140


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
    """Seconds from loaded data to the model, the first training of an overlap included."""
    return sum(run["seconds"].get(stage, 0.0) for stage in _TRAINING)


def _name(run: dict[str, Any]) -> str:
    if run["method"] == "xr-linear":
        return "XR-Linear"
    return f"overlap ({run['preset']}, n_copies {run['n_copies']})"


def _cells(figures: list[float | None], sign: str = "") -> list[str]:
    return ["" if value is None else f"{value:{sign}.2f}" for value in figures]


def print_base(report: dict[str, Any]) -> None:
    """Print both methods of a base report, their difference, and what others published."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=_PLAIN_WIDTH)
    table = Table(title=f"{report['dataset']}: measured here, in percent")
    table.add_column("method", no_wrap=True)
    for column in (*_COLUMNS, "candidates", "train s", "predict s"):
        table.add_column(column, justify="right")
    rows = []
    for run in report["runs"]:
        costs = [run["candidates_per_instance"], training_seconds(run), run["seconds"]["predict"]]
        rows.append((_figures(run), costs))
        table.add_row(_name(run), *_cells(_figures(run)), *_costs(costs))
    (xr_linear, xr_costs), (overlap, overlap_costs) = rows
    difference = [b - a for a, b in zip(xr_linear, overlap, strict=True)]  # type: ignore[operator]
    ratios = [f"x {b / a:.2f}" if a else "" for a, b in zip(xr_costs, overlap_costs, strict=True)]
    table.add_section()
    table.add_row("difference", *_cells(difference, "+"), *ratios)
    tables = [table]
    if rows_elsewhere := published(report["dataset"]):
        tables.append(_published_table(report["dataset"], rows_elsewhere))
    # Captured, because a console that finds its pipe closed ends the process by itself.
    with console.capture() as capture:
        console.print(*tables, sep="\n")
    print(capture.get(), end="")


def _costs(costs: list[float]) -> list[str]:
    return [f"{value:,.1f}" for value in costs]


def _published_table(dataset: str, rows: list[dict[str, Any]]) -> Table:
    table = Table(title=f"{dataset}: published elsewhere, not run here")
    table.add_column("method", no_wrap=True)
    for column in _COLUMNS:
        table.add_column(column, justify="right")
    table.add_column("source")
    for row in rows:
        table.add_row(row["method"], *_cells(_figures(row)), row["source"])
    return table
