"""A file that only grows, a line of JSON each time: what is in it is never lost."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
from pathlib import Path
from typing import Any

from ..errors import DisentangleError
from . import files

# A line has some kilobytes.
_MOST_BYTES = 1 << 28


def append(path: Path, entry: dict[str, Any]) -> None:
    """Write one more line; those before it stay as they are, whatever ends the process.

    Lines of several processes never mix. Half a line, as a kill leaves it, is ended before the next begins.

    Raises
    ------
    DisentangleError
        If it cannot be written; nothing of it is then left.
    """
    line = json.dumps(entry).encode() + b"\n"
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        number = os.open(path, flags, 0o666)
        try:
            if not stat.S_ISREG(os.fstat(number).st_mode):
                raise DisentangleError(f"cannot write {path}: it is {files.kind(os.fstat(number).st_mode)}")
            fcntl.flock(number, fcntl.LOCK_EX)  # until it is closed
            _append(number, line)
        finally:
            os.close(number)
    except OSError as error:
        raise DisentangleError(f"cannot write {path}: {error.strerror}") from error


def _append(number: int, line: bytes) -> None:
    size = os.fstat(number).st_size
    if size and os.pread(number, 1, size - 1) != b"\n":
        line = b"\n" + line
    try:
        if os.write(number, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(number)
    except OSError:
        os.ftruncate(number, size)
        raise


def read(path: Path) -> tuple[list[dict[str, Any]], int]:
    """All lines, oldest first, but for those that are damaged, and how many these are.

    Raises
    ------
    DisentangleError
        If it cannot be read, or is too large.
    """
    entries, n_damaged = [], 0
    for line in files.read(path, _MOST_BYTES).split(b"\n"):
        try:
            entry = json.loads(line) if line else None
        except (ValueError, RecursionError):
            entry = None
        if isinstance(entry, dict):
            entries.append(entry)
        else:
            n_damaged += bool(line)
    return entries, n_damaged
