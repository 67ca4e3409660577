"""Tables of a report for a paper, a page or a program: LaTeX, Markdown, CSV."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

from ..params import FEATURES
from .columns import COST_COLUMNS, METRICS, costs, setting_name
from .tables import Table, subject

# Which of a column's numbers is the best; that of other columns none is.
_BEST: dict[str, Callable[[list[float]], float]] = {
    "P@": max,
    "R@": max,
    "mean": max,
    "nDCG@": max,
    "PSP@": max,
    "candidates": min,
    "train s": min,
    "predict s": min,
}
_NUMBER = re.compile(r"(?:x )?[+-]?[\d,]*\.?\d+")
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "`": r"\textasciigrave{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    **{letter: f"\\{letter}" for letter in "_%&#${}"},
}
# Of a label's meanings, what is no number.
_PARTS = ("components", "copies", "points")
_WAY = ("level_from_leaf", "bin_size", "n_bins")


def text_of(kind: str, report: dict[str, Any], tables: list[Table]) -> str:
    """A report and its tables as "latex", "markdown" or "csv".

    CSV is made of the report itself, and has all digits; the others are made of the tables.
    """
    if kind == "csv":
        return csv_text(report)
    return latex(f"{report['job']} {subject(report)}", tables) if kind == "latex" else markdown(tables)


def _value(cell: str) -> float | None:
    """The number that a cell begins with, as it is shown: so what looks alike is alike."""
    found = _NUMBER.match(cell)
    return float(found[0].removeprefix("x ").replace(",", "")) if found else None


def _is_best(table: Table) -> list[list[bool]]:
    """For each cell of a table whether it is the best of its column, or as good."""
    marks = [[False] * len(row) for row in table.rows]
    for i, column in enumerate(table.columns):
        best = next((best for start, best in _BEST.items() if i and column.startswith(start)), None)
        values = [_value(row[i]) for row in table.rows]
        there = [value for value in values if value is not None]
        if best is not None and len(there) > 1:
            for row, value in zip(marks, values, strict=True):
                if value == best(there):
                    row[i] = True
    return marks


def _plain(text: str) -> str:
    """A text in one line, without what is not to be seen."""
    return "".join(" " if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") else c for c in text)


def latex(about: str, tables: list[Table]) -> str:
    """Floats for a document with the package booktabs; the best of each column is bold.

    Returns
    -------
    str
        Names in it are text, whatever they hold.
    """
    return "% \\usepackage{booktabs}\n" + "\n".join(
        "\n".join(_latex_table(table, f"tab:{_slug(about)}-{i}")) + "\n"
        for i, table in enumerate(tables, start=1)
    )


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")


def _latex_table(table: Table, label: str) -> Iterator[str]:
    yield "\\begin{table}"
    yield "  \\centering\\footnotesize\\setlength{\\tabcolsep}{4pt}"
    yield f"  \\caption{{{_latex_text(table.title)}}}"
    yield f"  \\label{{{label}}}"
    yield f"  \\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}"
    yield "    \\toprule"
    yield f"    {' & '.join(map(_latex_text, table.columns))} \\\\"
    yield "    \\midrule"
    for row, marks in zip(table.rows, _is_best(table), strict=True):
        cells = [_latex_text(row[0]), *map(_latex_cell, row[1:], marks[1:])]
        yield f"    {' & '.join(cells)} \\\\"
    yield "    \\bottomrule"
    yield "  \\end{tabular}"
    if table.notes:
        notes = " \\\\\n    ".join(map(_latex_text, table.notes))
        yield f"  \\par\\smallskip\n  \\parbox{{\\linewidth}}{{\n    {notes}}}"
    yield "\\end{table}"


def _latex_cell(cell: str, is_best: bool) -> str:
    shown, number = _latex_text(cell), _NUMBER.match(cell)
    if number is None:
        return shown
    first, rest = number[0], _latex_text(cell[number.end() :])
    if rest.endswith(" "):  # in the place of a mark
        rest = rest[:-1] + "\\phantom{*}"
    first = first.replace("x ", "$\\times$\\,").replace("-", "$-$")
    return (f"\\textbf{{{first}}}" if is_best else first) + rest


def _latex_text(text: str) -> str:
    escaped = "".join(_LATEX.get(letter, letter) for letter in _plain(text))
    escaped = re.sub("-(?=-)", "-{}", escaped)
    # A row's end would take them for its own arguments, also after blanks.
    return re.sub(r"^(\s*)([\[*])", r"\1{\2}", escaped)


def markdown(tables: list[Table]) -> str:
    """Tables as GitHub shows them; the best of each column is bold, names are text whatever they hold."""
    return "\n".join("\n".join(_markdown_table(table)) + "\n" for table in tables)


def _markdown_table(table: Table) -> Iterator[str]:
    yield f"**{_markdown_text(table.title)}**"
    yield ""
    yield f"| {' | '.join(map(_markdown_text, table.columns))} |"
    yield f"|---|{'---:|' * (len(table.columns) - 1)}"
    for row, marks in zip(table.rows, _is_best(table), strict=True):
        cells = [_markdown_text(row[0]), *map(_markdown_cell, row[1:], marks[1:])]
        yield f"| {' | '.join(cells)} |"
    for note in table.notes:
        yield f"\n{_markdown_text(note)}"


def _markdown_cell(cell: str, is_best: bool) -> str:
    number = _NUMBER.match(cell)
    if not is_best or number is None:
        return _markdown_text(cell)
    return f"**{number[0]}**{_markdown_text(cell[number.end() :])}"


def _markdown_text(text: str) -> str:
    text = _plain(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#$])", r"\\\1", text)


def csv_text(report: dict[str, Any]) -> str:
    """All figures of a report, not rounded: a line for each method, or for each random baseline.

    Of several seeds a line has means, and standard deviations in columns that end in "sd".
    """
    if report["job"] == "journal":
        rows = [one | _row(run) for one, run in report["runs"]]
    elif report["job"] == "meanings":
        rows = [
            _of_all(report) | {name: label[name] for name in label if name not in _PARTS}
            for label in report["labels"]
        ]
    elif report["job"] == "metric":
        rows = [_of_all(report) | row for row in _metric_rows(report)]
    elif "summary" in report:
        rows = [_of_all(report) | _row(row) for row in report["summary"]]
    else:
        rows = [_of_all(report) | {"seed": run["settings"]["seed"]} | _row(run) for run in report["runs"]]
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _of_all(report: dict[str, Any]) -> dict[str, Any]:
    seeds = report.get("seeds", [report["seed"]])
    said = {"dataset": report["dataset"], "job": report["job"], "seed": " ".join(map(str, seeds))}
    return said | {"features": report.get("features", FEATURES)}


def _row(run: dict[str, Any]) -> dict[str, Any]:
    """What there is of the figures of a run, or of the summary of several."""
    row = {"method": setting_name(run)} | {name: run[name] for name in _WAY if name in run}
    if "mean_vi" in run:
        return row | {"VI": run["mean_vi"], "difference": run["mean_difference"]}
    if "candidates_per_instance" not in run.get("mean", run):  # of meanings, which have no figures
        return row
    row |= _figures(run.get("mean", run)) | dict(zip(COST_COLUMNS, costs(run), strict=True))
    if "sd" in run:
        deviations = _figures(run["sd"]) | dict(zip(COST_COLUMNS, costs({"mean": run["sd"]}), strict=True))
        row |= {f"{name} sd": value for name, value in deviations.items()}
    if "peak_rss_mib" in run:
        row["peak MiB"] = run["peak_rss_mib"]
    for difference in run.get("differences", ()):
        for column in [name for name in difference if name != "to"]:
            start, one = f"{column} to {difference['to']}", difference[column]
            row[start] = one["difference"]
            row |= {f"{start} {what}": one[what] for what in ("low", "high", "sd") if what in one}
    return row


def _figures(run: dict[str, Any]) -> dict[str, float]:
    return {
        f"{letters}@{k}": value
        for letters, metric in METRICS.items()
        for k, value in enumerate(run.get(metric, ()), start=1)
    }


def _metric_rows(report: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "summary" in report:
        mean, sd = report["summary"]["mean"], report["summary"]["sd"]
        said = {"method": report["variant"], "components": report["components"]}
        yield said | mean | {f"{name} sd": value for name, value in sd.items()}
        return
    for words, numbers in (("even odds", report), ("same sizes", report["same_sizes"])):
        low, high = numbers["difference_95_percent_interval"]
        yield {
            "method": report["variant"],
            "components": report["components"],
            "random split": words,
            "labels": report["n_labels_scored"],
            "VI": report["mean_vi"],
            "random": numbers["mean_random_baseline"],
            "difference": numbers["mean_difference"],
            "difference low": low,
            "difference high": high,
            "better": numbers["fraction_better_than_random"],
        }
