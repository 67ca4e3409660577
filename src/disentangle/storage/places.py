"""Where results go: never over what they are made from."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ..errors import DisentangleError

# Of the 255 bytes of a file system some are for the temporary name.
_LONGEST = 200


def check_file(option: str, out: Path, read: Iterable[Path]) -> Path:
    """Refuse a file to write that cannot be one, or that is what is read, or lies in it.

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
    must, place = f"{option} must be a file or not there yet", real(out)
    if os.path.islink(out) and not os.path.exists(out):
        raise DisentangleError(f"{must}, found a link to nothing: {out}")
    if os.path.exists(out) and not os.path.isfile(out):
        raise DisentangleError(f"{must}, found something else: {out}")
    if not os.path.isdir(place.parent):
        raise DisentangleError(f"cannot write {out}: {out.parent} is no folder")
    if not os.access(place.parent, os.W_OK | os.X_OK):
        raise DisentangleError(f"cannot write {out}: nothing may be written to its folder")
    check_apart(option, out, read)
    return place


def real(path: Path) -> Path:
    """The place itself, links followed as far as they lead."""
    return Path(os.path.realpath(path))


def check_apart(option: str, out: Path, read: Iterable[Path]) -> None:
    """Refuse a file or folder to write that is what is read, or lies in it.

    Another name of the same content is no harm: what is written takes the name's place alone.

    Raises
    ------
    DisentangleError
        As it says.
    """
    place = real(out)
    for source in read:
        if place == real(source):
            raise DisentangleError(f"{option} must be another place than {source}, got {out}")
        if os.path.isdir(source) and place.is_relative_to(real(source)):
            raise DisentangleError(f"{option} must lie outside {source}, got {out}")
