"""Tables, such as CSV: a row an instance, its text and its labels in columns that the first row names."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ...errors import DisentangleError
from .. import lines
from ..columns import USUAL, Columns
from ..lines import Line, read_lines
from .blocks import Block, checked_names, of_documents

TEXT, LABELS = ("text",), ("labels",)
# A no-break space is part of a name.
BLANKS = " \t\r\n"


class Row(NamedTuple):
    """A row of a table: its cells by column, and the line that it ends in."""

    line: Line
    cells: dict[str, str]


def read_csv(path: Path, columns: Columns = USUAL) -> Iterator[Block]:
    """CSV with a row of names: by default commas between cells, `text`, and `labels` with `;` between them.

    Raises
    ------
    DisentangleError
        As `read_rows`.
    """
    text, labels = columns.text or TEXT, columns.labels or LABELS
    rows = read_rows(path, (*text, *labels), columns.delimiter or ",", columns.has_quotes)
    return of_documents(documents(rows, text, labels, lambda cell: cell.split(columns.separator)))


def read_tsv(path: Path, columns: Columns = USUAL) -> Iterator[Block]:
    """The same with tabs between cells."""
    return read_csv(path, replace(columns, delimiter=columns.delimiter or "\t"))


def documents(
    rows: Iterator[Row], text: tuple[str, ...], labels: tuple[str, ...], split: Callable[[str], list[str]]
) -> Iterator[tuple[list[str], str]]:
    """The labels and the text of each row; what is between labels says `split`, and blanks around them go."""
    for row in rows:
        said = (name.strip(BLANKS) for column in labels for name in split(row.cells[column]))
        names = checked_names(row.line, [name for name in said if name])
        yield names, "\n".join(row.cells[column] for column in text)


def read_rows(
    path: Path, columns: tuple[str, ...], delimiter: str = ",", has_quotes: bool = True
) -> Iterator[Row]:
    """The rows of a table below that of the names of its columns; empty lines are none.

    Parameters
    ----------
    path : Path
    columns : tuple of str
        That must be there.
    delimiter : str
    has_quotes : bool
        Whether cells may be quoted, with line ends in them.

    Raises
    ------
    DisentangleError
        As `read_lines`; if rows are not of this form, differ in length, or have 64 MiB; or if a column is
        missing or there twice.
    """
    csv.field_size_limit(lines.MAX_LINE)  # what is smaller than a row is no matter
    taken = _Taken(path, has_quotes)
    rows = csv.reader(
        taken,
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if has_quotes else csv.QUOTE_NONE,
        strict=True,
    )
    names: list[str] = []
    while (row := _next(rows, taken)) is not None:
        taken.n_bytes = 0
        if not row:
            continue
        if not names:
            names = row
            _check(taken.line, names, columns)
        elif len(row) == len(names):
            yield Row(taken.line, dict(zip(names, row, strict=True)))
        else:
            raise taken.line.wrong(f"{len(names)} cells, as the first row has", f"{len(row)}")
    if not names:
        raise DisentangleError(f"{path} is empty: expected a row of names, with {', '.join(columns)}")


class _Taken:
    """Lines for a parser, which says what is wrong, but not where."""

    def __init__(self, path: Path, has_quotes: bool) -> None:
        self._lines = read_lines(path)
        self._hint = "; --no-quotes takes quotes for letters" if has_quotes else ""
        self.line = Line(path, 1, "")
        self.n_bytes = 0

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self.line = line
            self.n_bytes += len(line.text.encode()) + 1
            if self.n_bytes > lines.MAX_LINE:
                raise line.wrong(f"the end of a row of less than {lines.MAX_LINE:,} bytes")
            yield f"{line.text}\n"

    def wrong(self, reason: str) -> DisentangleError:
        """The error to raise for the line that was taken last."""
        place = f"{self.line.path}, line {self.line.number}"
        return DisentangleError(f"{place}: expected a row of cells, found none: {reason}{self._hint}")


def _next(rows: Iterator[list[str]], taken: _Taken) -> list[str] | None:
    try:
        return next(rows, None)
    except csv.Error as error:
        raise taken.wrong(str(error)) from None


def _check(line: Line, names: list[str], columns: tuple[str, ...]) -> None:
    for column in columns:
        if (n := names.count(column)) != 1:
            found = f"{n} of that name" if n else ", ".join(names)
            raise line.wrong(f"a column {column!r}", found)
