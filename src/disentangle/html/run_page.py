"""The page of a run: its tables and figures, and what it takes to repeat it."""

from __future__ import annotations

import base64
import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..data.features import titled
from ..params import FEATURES
from ..storage import files
from . import page

_MOST_BYTES = 1 << 26  # of a figure or its numbers
_WORDS = {
    "frontier": "Quality against cost, a numbered point for each setting",
    "figure-2": "Precision and recall at 1 to 10, with and without overlap, on binned labels",
    "reliability": "How often labels of a score, or of a probability, are right; best on the diagonal",
    "sweep": "What overlapping gains on binned labels, a line for each level",
    "differences": "Histograms over labels: how much closer to the meanings copies are than random splits",
}
_NUMBER = re.compile(r"^(x )?[+−-]?[\d,]*\.?\d+( ± [\d.]+)? ?[%*]?$|^$|^–$")


def build(report: dict[str, Any], tables: list[dict[str, Any]], figures: list[Path]) -> str:
    """The page; the same contents give the same.

    Parameters
    ----------
    report : dict
        As a job returns it, or as `report.json` has it.
    tables : list of dict
        "title", "columns", "rows" (lists of texts, numbers or None) and "notes" (sentences).
    figures : list of Path
        SVG. The numbers of a figure are those of the CSV file of its name, if there is one.

    Raises
    ------
    DisentangleError
        If a figure cannot be read.
    """
    sections = [
        ("Tables", "".join(_table(**table) for table in tables)),
        ("Figures", "".join(_figure(figure) for figure in figures)),
        ("Dataset", _dataset(report.get("sizes", {}))),
        ("Parameters", _facts(report.get("params", {}))),
        ("Ways to overlap", _parts([report, *report.get("runs", [])])),
        ("Dataset's settings", _facts(report.get("dataset_settings", {}))),
        ("Seconds", _seconds(report.get("runs", []))),
        ("Versions", _facts(report.get("versions", {}))),
        ("Machine", _facts(report.get("machine", {}))),
        ("Files of the data, by sha256", _facts(report.get("data", {}), "pairs lines")),
    ]
    kept = [(name, _anchor(name), body) for name, body in sections if body]
    links = "".join(f'<li><a href="#{anchor}">{page.text(name)}</a></li>' for name, anchor, _ in kept)
    blocks = "\n".join(
        f'<section class="block" aria-labelledby="{anchor}"><h2 id="{anchor}">{page.text(name)}</h2>\n'
        f"{body}</section>"
        for name, anchor, body in kept
    )
    title = f"{report['job']} on {titled(report['dataset'], report.get('features', FEATURES))}"
    body = (
        f"{page.top('Report of a run', title)}\n"
        f'<main id="main" tabindex="-1">\n<h1>{page.text(title)}</h1>\n'
        f'<nav aria-label="Sections"><ul class="sections">{links}</ul></nav>\n{blocks}\n</main>\n'
        '<footer class="quiet">This page is one file and loads nothing.</footer>'
    )
    return page.document(title, body, ["page.css", "run.css"], ["theme.js"])


def _anchor(name: str) -> str:
    return re.sub(r"\W+", "-", name.lower())


def _table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], notes: Iterable[str] = ()
) -> str:
    """A table that is scrolled by itself where it is too wide, so that the page is not."""
    cells = [[_cell(value) for value in row] for row in rows]
    isnumber = [all(_NUMBER.match(row[i]) for row in cells if i < len(row)) for i in range(len(columns))]
    # The first column names the rows.
    isnumber[:1] = [False]
    kinds = [' class="number"' if number else "" for number in isnumber]
    head = "".join(
        f'<th scope="col"{kind}>{page.text(column)}</th>' for kind, column in zip(kinds, columns, strict=True)
    )
    body = "\n".join(_row(row, kinds) for row in cells)
    said = "".join(f'<p class="quiet" dir="auto">{page.text(note)}</p>' for note in notes)
    return (
        f'<div class="scrolled" role="region" tabindex="0" aria-label="{page.text(title)}"><table>'
        f"<caption>{page.text(title)}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>\n"
        f"{said}"
    )


def _row(cells: list[str], kinds: list[str]) -> str:
    first = "".join(f'<th scope="row"><bdi>{page.text(cell)}</bdi></th>' for cell in cells[:1])
    others = zip(kinds[1:], cells[1:], strict=False)
    return f"<tr>{first}" + "".join(f"<td{kind}>{page.text(cell)}</td>" for kind, cell in others) + "</tr>"


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.2f}" if value == 0 or abs(value) >= 1 else f"{value:.4g}"
    return str(value)


def _figure(path: Path) -> str:
    """A figure as an image, in which nothing runs and which loads nothing, whatever its file holds."""
    content = base64.b64encode(files.read(path, _MOST_BYTES, "a figure")).decode()
    words = next((words for start, words in _WORDS.items() if path.stem.startswith(start)), "Figure")
    place = path.parent.name
    name = f"{path.stem}, {place}" if place.startswith("seed-") else path.stem
    caption = f"{words} ({name})"
    numbers = path.with_suffix(".csv")
    table = _numbers(numbers, name) if numbers.is_file() else ""
    alternative = f"{words}. " + ("The table of its numbers follows." if table else "")
    return (
        f'<figure><div class="scrolled" role="region" tabindex="0" aria-label="{page.text(caption)}">'
        f'<img src="data:image/svg+xml;base64,{content}" alt="{page.text(alternative.strip())}"></div>\n'
        f"<figcaption>{page.text(caption)}</figcaption></figure>\n{table}"
    )


def _numbers(path: Path, name: str) -> str:
    content = files.read(path, _MOST_BYTES).decode("utf-8", errors="replace")
    columns, *rows = list(csv.reader(io.StringIO(content, newline=""))) or [[]]
    if not columns:
        return ""
    table = _table(f"The numbers of {name}", columns, rows)
    return f"<details><summary>The numbers of {page.text(name)}</summary>{table}</details>\n"


def _dataset(sizes: dict[str, Any]) -> str:
    facts = {name: value for name, value in sizes.items() if name not in ("notes", "costs")}
    notes = "".join(f'<li dir="auto">{page.text(note)}</li>' for note in sizes.get("notes", []))
    return _facts(facts) + (
        f'<h3>What was found in the data</h3><ul class="notes">{notes}</ul>\n' if notes else ""
    )


def _facts(facts: dict[str, Any], kind: str = "pairs") -> str:
    """Names and values as a list; those of a value that has names itself follow its name."""
    pairs = "".join(
        f"<div><dt>{page.text(_words(name))}</dt><dd>{page.text(_fact(value))}</dd></div>"
        for name, value in _flat(facts)
    )
    return f'<dl class="{kind}">{pairs}</dl>\n' if pairs else ""


def _flat(facts: dict[str, Any], before: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in facts.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name} ")
        else:
            yield f"{before}{name}", value


def _words(name: str) -> str:
    return name.removeprefix("n_").replace("_", " ")


def _fact(value: object) -> str:
    """A parameter as it would be typed: no digits are rounded away."""
    if isinstance(value, list):
        return ", ".join(map(_fact, value))
    if isinstance(value, dict):
        return " ".join(f"{_words(name)} {_fact(one)}" for name, one in value.items())
    return _cell(value) if value is None or isinstance(value, (bool, int)) else str(value)


def _parts(runs: list[dict[str, Any]]) -> str:
    """What each way to overlap is made of, side by side."""
    ways = {run["variant"]: run["overlap"] for run in runs if run.get("overlap")}
    names = list(dict.fromkeys(name for parts in ways.values() for name in parts))
    rows = [[_words(name), *(_fact(parts.get(name)) for parts in ways.values())] for name in names]
    return _table("The parts of each way to overlap", ["part", *ways], rows) if ways else ""


def _seconds(runs: list[dict[str, Any]]) -> str:
    timed = [run for run in runs if run.get("seconds")]
    stages = list(dict.fromkeys(stage for run in timed for stage in run["seconds"]))
    rows = [
        [_run_name(run), *(_one(run["seconds"], stage) for stage in stages), _one(run, "peak_rss_mib")]
        for run in timed
    ]
    columns = ["run", *stages, "peak MiB"]
    return _table("Seconds of each stage, and peak memory", columns, rows) if timed else ""


def _one(facts: dict[str, Any], name: str) -> str:
    """Seconds with one digit, so that a column of them is aligned."""
    value = facts.get(name)
    return f"{value:,.1f}" if isinstance(value, float) else _cell(value)


def _run_name(run: dict[str, Any]) -> str:
    trees = f", {run['n_trees']} trees" if run.get("n_trees", 1) > 1 else ""
    bins = f", level {run['level_from_leaf']}, bins of {run['bin_size']}" if "bin_size" in run else ""
    seed = f", seed {run['settings']['seed']}" if run.get("settings", {}).get("seed") else ""
    return f"{run.get('variant') or run.get('method', 'run')}{trees}{bins}{seed}"
