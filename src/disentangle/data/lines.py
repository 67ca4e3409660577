"""Text files, line by line: read so that what is wrong can be pointed at, and written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ..errors import DisentangleError
from ..storage import files

MAX_LINE = 1 << 26
_STARTS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
# What files start with that are no text before they are unpacked; some of it would pass for UTF-8.
_PACKED = {
    "gzip": rb"\x1f\x8b",
    "bzip2": rb"BZh[1-9]1AY&SY",
    "xz": rb"\xfd7zXZ\x00",
    "zip": rb"PK\x03\x04",
    "zstd": rb"\x28\xb5\x2f\xfd",
}


class Line(NamedTuple):
    """A line of a file, to be pointed at."""

    path: Path
    number: int
    text: str

    def wrong(self, expected: str, found: str | None = None) -> DisentangleError:
        """The error to raise for it."""
        found = self.text if found is None else found
        shown = repr(found if len(found) <= 60 else f"{found[:57]}...")
        return DisentangleError(f"{self.path}, line {self.number}: expected {expected}, found {shown}")


def read_lines(path: Path) -> Iterator[Line]:
    """Lines of a UTF-8 text without their ends, LF or CRLF, and without a byte order mark.

    Raises
    ------
    DisentangleError
        If the file cannot be read, is not UTF-8, or has a line of 64 MiB.
    """
    with files.opened(path, "a file of text") as file:
        number = 0
        while raw := file.readline(MAX_LINE):
            number += 1
            if len(raw) == MAX_LINE:
                raise DisentangleError(f"{path}, line {number}: expected less than {MAX_LINE:,} bytes")
            if number == 1:
                raw = raw.removeprefix(b"\xef\xbb\xbf")
                if packed := [kind for kind, start in _PACKED.items() if re.match(start, raw)]:
                    raise DisentangleError(
                        f"{path}, line 1: expected UTF-8 text, found packed bytes ({packed[0]}?)"
                    )
            raw = raw.removesuffix(b"\n").removesuffix(b"\r")
            try:
                text = raw.decode()
            except UnicodeDecodeError as error:
                guess = "".join(f" ({what}?)" for start, what in _STARTS.items() if raw.startswith(start))
                raise DisentangleError(
                    f"{path}, line {number}: expected UTF-8 text, found the byte "
                    f"0x{raw[error.start]:02x} at position {error.start + 1}{guess}"
                ) from error
            yield Line(path, number, text)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write names or texts, one a line, such that `read_lines` gives them back."""
    with path.open("w", encoding="utf-8", newline="") as file:
        for i, line in enumerate(lines):
            # A mark that is part of the first line stays when the reader drops one.
            mark = "\ufeff" if i == 0 and line.startswith("\ufeff") else ""
            file.write(f"{mark}{line}\n")
