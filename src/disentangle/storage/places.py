"""Where results go: never over what they are made from."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import DisentangleError

# Of the 255 bytes of a file system some are for the temporary name.
_LONGEST = 200


def check_file(option: str, out: Path, read: Iterable[Path]) -> Path:
    """Refuse a file to write that cannot be one, or that is, lies in or shares its content with what is read.

    Parameters
    ----------
    option : str
        What the messages call it.
    out : Path
    read : iterable of Path
        Files and folders; those that are not there are no harm.

    Returns
    -------
    Path
        The file itself, where `out` is a link.

    Raises
    ------
    DisentangleError
        If it is no file, its folder is not there or cannot be written, or it is among what is read.
    """
    if len(os.fsencode(out.name)) > _LONGEST:
        start = f"{out.name[:37]}..."
        raise DisentangleError(f"{option} must have a name of at most {_LONGEST} bytes, got {start}")
    must = f"{option} must be a file or not there yet"
    try:
        if (found := _mode(out)) is None and out.is_symlink():
            raise DisentangleError(f"{must}, found a link to nothing: {out}")
        if found is not None and not stat.S_ISREG(found):
            raise DisentangleError(f"{must}, found something else: {out}")
        place = real(out)
        if not stat.S_ISDIR(os.stat(place.parent).st_mode):
            raise DisentangleError(f"cannot write {out}: {out.parent} is no folder")
        if not os.access(place.parent, os.W_OK | os.X_OK):
            raise DisentangleError(f"cannot write {out}: nothing may be written to its folder")
    except OSError as error:
        raise DisentangleError(f"cannot write {out}: {error.strerror}") from error
    check_apart(option, out, read)
    return place


def real(path: Path) -> Path:
    """The place itself, links followed as far as they lead."""
    return Path(os.path.realpath(path))


def _mode(path: Path) -> int | None:
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None


def check_apart(option: str, out: Path, read: Iterable[Path]) -> None:
    """Refuse a file or folder to write that is, lies in or shares its content with what is read.

    Raises
    ------
    DisentangleError
        As it says.
    """
    place, same = real(out), _identity(out)
    for source in read:
        if place == real(source) or (same and same == _identity(source)):
            raise DisentangleError(f"{option} must be another place than {source}, got {out}")
        if os.path.isdir(source):  # False also for a name too long for a file system
            if place.is_relative_to(real(source)):
                raise DisentangleError(f"{option} must lie outside {source}, got {out}")
            if same and same in map(_identity, _files(source)):
                raise DisentangleError(f"{option} must be no link to a file of {source}, got {out}")


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file it is, whatever its name; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _files(folder: Path) -> Iterator[Path]:
    return (Path(where) / file for where, _, files in os.walk(folder) for file in files)
