"""What a job says at its end, on the terminal."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rich.cells import cell_len

from ..runtime.terminal import shown
from .tables import Table, subject

# Wide enough for every table where the output is no terminal.
_PLAIN_WIDTH = 300
_GAP = 2  # blanks between columns
_N_MEANINGS = 20


def print_tables(tables: Iterable[Table]) -> None:
    """Print tables, no wider than the terminal, and the notes below each."""
    for table in tables:
        print(*lines(table, _width() or _PLAIN_WIDTH), sep="\n", end="\n\n")
        if table.notes:
            print(*(part for note in table.notes for part in _wrapped(note)), sep="\n", end="\n\n")


def _width() -> int | None:
    """Columns of the terminal; None where there is none, as a line that is wrapped cannot be searched."""
    return shutil.get_terminal_size().columns if sys.stdout is not None and sys.stdout.isatty() else None


def _wrapped(line: str, indent: int = 0) -> list[str]:
    """A line as the terminal shows it; all but the first part are indented."""
    width = _width()
    return textwrap.wrap(line, width, subsequent_indent=" " * indent) if width else [line]


def lines(table: Table, width: int) -> Iterator[str]:
    """A table as it is printed in so many columns.

    A name that leaves its numbers no room has a line of its own above them, so nothing is ever cut.
    """
    full = [row for row in (table.columns, *table.rows) if row]
    widths = [max(cell_len(row[i]) for row in full) for i in range(1, len(table.columns))]
    room = width - sum(widths) - _GAP * len(widths)
    names = [cell_len(row[0]) for row in full]
    first = max((name for name in names if name <= room), default=0)
    yield from textwrap.wrap(table.title, width)
    yield ""
    for row in (table.columns, *table.rows):
        if not row:
            yield ""
            continue
        name, numbers = row[0], (cell.rjust(n + _GAP) for cell, n in zip(row[1:], widths, strict=True))
        if cell_len(name) > first:
            yield name
            name = ""
        yield name + " " * (first - cell_len(name)) + "".join(numbers)


def print_meanings(report: dict[str, Any]) -> None:
    """Print what the copies of the first labels stand for."""
    tested = (
        f"Of {report['n_tested']:,} with enough instances {report['n_significant']:,} (*) are split more "
        f"than labels of their frequency; up to {report['false_discovery_rate']:.0%} of these by chance."
    )
    if not report["n_tested"]:
        tested = "Too few have instances enough for a test of their copies."
    copied = f"{report['n_with_copies']:,} of {report['n_labels']:,} labels have copies."
    lead = f"{shown(subject(report))}, {report['variant']}: {copied} {tested}"
    print(*_wrapped(lead), sep="\n", end="\n\n")
    for row in report["labels"][:_N_MEANINGS]:
        mark = "*" if row["is_significant"] else ""
        score = "-" if row["ambiguity"] is None else f"{row['ambiguity']:.2f}"
        counted = f"ambiguity {score}, {row['n_instances']:,} instances"
        print(*_wrapped(f"{row['rank']:>6,}. {shown(row['name'])}{mark}: {counted}", 8), sep="\n")
        for copy in row["copies"]:
            near = [one["name"] for one in copy["companions"] or copy["neighbours"]]
            said = [", ".join(words) for words in (copy["terms"][:5], near[:3]) if words]
            print(*_wrapped(f"        {copy['share']:>4.0%}  {shown('; with '.join(said))}", 14), sep="\n")
    print()


def print_end(files: Iterable[Path], following: str) -> None:
    """Print which files a job has written that a person looks at, and what one may run next."""
    for path in files:
        print(f"wrote {shown(str(path))}")
    print(f"next: {following}")
