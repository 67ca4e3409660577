"""Regular files opened for reading: never waited for, never endless; and what they hold, told by a digest."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ..errors import DisentangleError

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
# Their files claim to be regular, but may have no end.
_OF_THE_KERNEL = ("/proc", "/sys")
_BLOCK = 1 << 20
# A file's place, size and times, which a change of its content changes, too.
State = tuple[int, ...]
# But for one that comes right after another: file systems count time in steps of some milliseconds.
_STEP = 20_000_000  # ns
_digests: dict[State, str] = {}
_MOST_DIGESTS = 10_000


@contextmanager
def opened(path: Path, expected: str = "a file") -> Iterator[BinaryIO]:
    """A regular file, or a link to one, open for reading.

    It is judged once it is open, without waiting for it, so that it cannot become another one in between.

    Parameters
    ----------
    path : Path
    expected : str
        What the file should be, for the error's sentence.

    Raises
    ------
    DisentangleError
        If there is none, it cannot be read, be it later, or it is a folder, a pipe, a socket, a device or the
        kernel's.
    """
    try:
        with os.fdopen(_descriptor(path, expected), "rb") as file:
            yield file
    except OSError as error:
        raise DisentangleError(f"cannot read {path}: {error.strerror or error}") from error


def _descriptor(path: Path, expected: str) -> int:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except ValueError:  # a NUL in it
        raise DisentangleError(f"{str(path)!r} cannot be the name of {expected}") from None
    except OSError:
        # A socket cannot even be opened.
        if found := _other_kind(path):
            raise DisentangleError(f"{path} must be {expected}, found {found}") from None
        raise
    if found := _other_kind(descriptor):
        os.close(descriptor)
        raise DisentangleError(f"{path} must be {expected}, found {found}")
    return descriptor


def _other_kind(file: Path | int) -> str | None:
    """What a file is that is not regular; None for a regular one, and for one that is not there."""
    try:
        status = os.stat(file)
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return kind(status.st_mode)
    if any(os.path.ismount(place) and status.st_dev == os.stat(place).st_dev for place in _OF_THE_KERNEL):
        return "a file of the kernel's"
    return None


def kind(mode: int) -> str:
    """What a file is that is not regular, in words."""
    return _KINDS.get(stat.S_IFMT(mode), "something else")


def require(path: Path, expected: str = "a file") -> None:
    """Raise DisentangleError unless `opened` would open a file."""
    with opened(path, expected):
        pass


def read(path: Path, most: int, expected: str = "a file") -> bytes:
    """The content of a file of at most so many bytes.

    Raises
    ------
    DisentangleError
        As `opened`, and if there is more.
    """
    with opened(path, expected) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise DisentangleError(f"{path} must have at most {most:,} bytes, found more")
    return content


def unwritten(error: OSError, place: Path) -> DisentangleError:
    """What to raise for what failed while something was written to a place."""
    # Of a copy the second name is the one that is written.
    written = error.filename2 or error.filename or place
    return DisentangleError(f"cannot write {written}: {error.strerror or error}")


def copy(file: BinaryIO, path: Path) -> None:
    """Write what a file that is open for reading has under another name.

    Raises
    ------
    DisentangleError
        If it cannot be written, which `opened` around it would take for a failure to read.
    """
    try:
        with path.open("wb") as new:
            shutil.copyfileobj(file, new, _BLOCK)
    except OSError as error:
        raise unwritten(error, path) from error


def state(file: BinaryIO) -> State:
    """What changes with a file's content."""
    found = os.fstat(file.fileno())
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def digest(file: BinaryIO) -> str:
    """Sha256 of a file that is open for reading; "" if it changes meanwhile.

    One that has not changed since the last time is not read again. The file then stands at its start.
    """
    before, now = state(file), time.time_ns()
    found = _digests.get(before)
    if found is None:
        sha = hashlib.sha256()
        file.seek(0)
        while block := file.read(_BLOCK):
            sha.update(block)
        found = sha.hexdigest() if state(file) == before else ""
        if before[-1] < now - _STEP:
            if len(_digests) >= _MOST_DIGESTS:
                _digests.clear()
            _digests[before] = found
    file.seek(0)
    return found


def sha256(path: Path) -> str:
    """Sha256 of a file's content.

    Raises
    ------
    DisentangleError
        As `opened`, and if it changes while it is read.
    """
    with opened(path) as file:
        if not (found := digest(file)):
            raise DisentangleError(f"{path} has changed while it was read: run the same command again")
    return found
