"""Text files, line by line: read so that what is wrong can be pointed at, and written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ..errors import DisentangleError
from . import packed

MAX_LINE = 1 << 26
_STARTS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


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

    The file may be packed by gzip, bzip2 or xz.

    Raises
    ------
    DisentangleError
        If the file cannot be read, is not UTF-8, has a line of 64 MiB, or is packed and damaged or a bomb.
    """
    with packed.opened(path, "a file of text") as (file, most):
        number = n_bytes = 0
        while raw := file.readline(MAX_LINE):
            number += 1
            n_bytes += len(raw)
            packed.check_size(path, n_bytes, most)
            if len(raw) == MAX_LINE:
                raise DisentangleError(f"{path}, line {number}: expected less than {MAX_LINE:,} bytes")
            if number == 1:
                raw = raw.removeprefix(b"\xef\xbb\xbf")
                if kind := packed.packing(raw):
                    raise DisentangleError(
                        f"{path}, line 1: expected UTF-8 text, found packed bytes ({kind}?)"
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


def read_texts(path: Path, n: int) -> Iterator[str]:
    """The texts of `n` instances.

    Raises
    ------
    DisentangleError
        As `read_lines`, and if the file is not there, or has not a line for each.
    """
    if not path.is_file():
        raise DisentangleError(f"missing file {path}: expected the text of each instance, one a line")
    found = 0
    for line in read_lines(path):
        found = line.number
        # One too many is not for whoever takes texts beside labels: the sentence is.
        if found <= n:
            yield line.text
    if found != n:
        raise DisentangleError(f"{path} must have {n} lines, one an instance, got {found}")


def read_whole(path: Path) -> str:
    """A whole text, its lines ending in LF.

    Raises
    ------
    DisentangleError
        As `read_lines`, and if the text has 64 MiB.
    """
    lines, n = [], 0
    for line in read_lines(path):
        n += len(line.text.encode()) + 1
        if n >= MAX_LINE:
            raise DisentangleError(f"{path} must have less than {MAX_LINE:,} bytes, found more")
        lines.append(line.text)
    return "\n".join(lines)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write names or texts, one a line, such that `read_lines` gives them back."""
    with path.open("w", encoding="utf-8", newline="") as file:
        for i, line in enumerate(lines):
            # A mark that is part of the first line stays when the reader drops one.
            mark = "\ufeff" if i == 0 and line.startswith("\ufeff") else ""
            file.write(f"{mark}{line}\n")
