"""Which columns of a table are text and labels."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import DisentangleError


@dataclass(frozen=True)
class Columns:
    """Which columns, or keys of JSON objects, are taken, and how their file is cut.

    Attributes
    ----------
    text : tuple of str
        Whose texts, one after the other, are an instance's; for each format its own if there is none.
    labels : tuple of str
        Whose labels are an instance's, likewise.
    separator : str
        What stands between the labels of a cell; blanks around them belong to it.
    delimiter : str or None
        What stands between cells; None for the format's.
    has_quotes : bool
        Whether cells may be quoted, as CSV has it.
    """

    text: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    separator: str = ";"
    delimiter: str | None = None
    has_quotes: bool = True

    def validate(self) -> None:
        if not self.separator:
            raise DisentangleError("--separator must be one or more characters, got ''")
        if self.delimiter is not None and (len(self.delimiter) != 1 or self.delimiter in '"\r\n'):
            raise DisentangleError(
                f"--delimiter must be one character, no quote and no line end, got {self.delimiter!r}"
            )


USUAL = Columns()
