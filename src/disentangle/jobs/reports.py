"""Reports that jobs have left, and the journal of a dataset, read as if anybody had written them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..data.features import beside
from ..errors import NONSENSE, DisentangleError, excerpt
from ..params import FEATURES
from ..runtime.terminal import shown
from ..storage import files, journal
from .columns import setting_name
from .tables import Table, tables_of

# A run has some kilobytes, and there may be hundreds of them; a table of labels has a line for each.
_MOST_BYTES = 1 << 28
# The job that makes features and reports of them.
XR_TRANSFORMER = "xr-transformer"
_NUMBERS = ("vi", "random_same_sizes", "adjusted_rand", "n_components", "n_copies", "n_instances")
_LEFT_OUT = "Lines that no job has written are left out."
_NONSENSE = (*NONSENSE, csv.Error)


def place_of(job: str, features: str) -> str:
    """The folder of a job's results in its dataset's; features that the job makes may have its own name."""
    return job if job == features == XR_TRANSFORMER else beside(job, features)


def find(name: str, model_dir: Path, job: str, features: str = FEATURES) -> Path:
    """The file that is meant: by its path, its folder's, or the names of a dataset, a job and features.

    Raises
    ------
    DisentangleError
        If there is none.
    """
    path = Path(name)
    if path.is_dir() and (path / "report.json").exists():
        return path / "report.json"
    if "/" in name or path.suffix in (".json", ".jsonl") or path.is_file():
        return path
    found = model_dir / name / place_of(job, features) / "report.json"
    if not found.exists():
        raise DisentangleError(
            f"expected a report.json, its folder, or a dataset with results in {model_dir}, got {name!r}"
        )
    return found


def read(path: Path) -> tuple[dict[str, Any], list[Table]]:
    """A report and its tables, as the job printed them.

    Returns
    -------
    report : dict
        With the runs that the job was asked for, and under "labels" the rows of a metric job that are still
        there.
    tables : list of Table

    Raises
    ------
    DisentangleError
        If it is no report.
    """
    if path.suffix == ".jsonl":
        return _journal(path)
    with trusted(path):
        report = json.loads(files.read(path, _MOST_BYTES, "a report"))
        if "runs" in report:
            report["runs"] = report["runs"][: report.get("n_asked")]
            if not report["runs"]:
                raise ValueError("no runs")
        is_single = report["job"] == "metric" and "seeds" not in report
        if is_single and (rows := _labels(path.parent, report["components"])):
            report["labels"] = rows
        return report, [_inert(table) for table in tables_of(report)]


@contextmanager
def trusted(path: Path) -> Iterator[None]:
    """Take a report for what a job has written; a sentence where it turns out to be something else.

    Raises
    ------
    DisentangleError
        As it says.
    """
    try:
        yield
    except DisentangleError:
        raise
    except _NONSENSE as error:
        what = f"{type(error).__name__} {excerpt(str(error))}".strip()
        raise DisentangleError(f"{path} must be the report of a job, found something else: {what}") from error


def _inert(table: Table) -> Table:
    """A table of which a terminal obeys nothing."""
    rows = [tuple(map(shown, row)) for row in table.rows]
    return Table(shown(table.title), table.columns, rows, [*map(shown, table.notes)])


def _labels(folder: Path, components: str) -> list[dict[str, Any]]:
    """The rows of labels that a metric job has left beside its report."""
    path = folder / f"labels-{components}.csv"
    if "/" in components or not path.exists():
        return []
    text = files.read(path, _MOST_BYTES).decode()
    csv.field_size_limit(_MOST_BYTES)  # a label may have many components, and the cell their names
    rows: list[dict[str, Any]] = []
    for row in csv.DictReader(io.StringIO(text, newline="")):
        numbers = {name: (int if name.startswith("n_") else float)(row[name]) for name in _NUMBERS}
        rows.append(row | numbers)
    return rows


def _journal(path: Path) -> tuple[dict[str, Any], list[Table]]:
    """The runs of all lines of a journal that a job has written, as those of one report, and their table."""
    columns = ("time", "job", "setting", "seed", "P@1", "P@5", "R@10", "VI", "call s")
    table, runs = Table(f"{shown(str(path))}: all runs", columns), []
    entries, n_damaged = journal.read(path)
    if n_damaged:
        table.notes = [_LEFT_OUT]
    for entry in entries:
        try:
            said = {name: entry[name] for name in ("time", "dataset", "job", "seed", "seconds")}
            said["features"] = entry.get("features", FEATURES)
            rows = [(run, _journal_cells(entry, run)) for run in entry["runs"]]
        except _NONSENSE:
            table.notes = [_LEFT_OUT]
            continue
        for run, cells in rows:
            table.add(*cells)
            runs.append((said, run))
    return {"job": "journal", "dataset": path.parent.name, "runs": runs}, [table]


def _journal_cells(entry: dict[str, Any], run: dict[str, Any]) -> list[str]:
    figures = [("precision", 1), ("precision", 5), ("recall", 10)]
    cells = [f"{run[name][k - 1]:.2f}" if name in run else "" for name, k in figures]
    cells.append(f"{run['mean_vi']:.4f}" if "mean_vi" in run else "")
    job = beside(str(entry["job"]), str(entry.get("features", FEATURES)))
    told = [str(entry["time"]), job, setting_name(run), str(entry["seed"])]
    return [*map(shown, told), *cells, f"{entry['seconds']:,.1f}"]
