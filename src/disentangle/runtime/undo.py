"""What is unfinished, removed or put right: as data, for a fresh interpreter when a signal comes.

Run as a script, this file is all of that interpreter's program; it imports nothing of the package.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

TEMPORARY = ".tmp-"
OLD = f"{TEMPORARY}old-"
# The name of one of the functions below, and its arguments.
Undo = tuple[str, ...]


def remove(path: str) -> None:
    """Remove a file, a link or a folder with what is in it, if it is there."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        Path(path).unlink(missing_ok=True)


def settle(folder: str, record: str) -> None:
    """Finish the replacing of a folder that something has interrupted, or undo it.

    Parameters
    ----------
    folder : str
    record : str
        The file that is written last.
    """
    place = Path(folder)
    temporary, old = beside(place)
    if (temporary / record).exists() and not place.exists():
        temporary.rename(place)
    remove(str(temporary))
    if os.path.lexists(old):
        remove(str(old)) if place.exists() else old.rename(place)


def beside(folder: Path) -> tuple[Path, Path]:
    """Where a folder is made, and where its forerunner is while they change places."""
    return folder.with_name(f"{TEMPORARY}{folder.name}"), folder.with_name(f"{OLD}{folder.name}")


def release(temporary: str, lock: str, *folders: str) -> None:
    """Give up the name of a folder that was to be made; those made for it go, too, while they are empty."""
    remove(temporary)
    remove(lock)
    with suppress(OSError):
        for folder in folders:
            os.rmdir(folder)


def perform(undo: Undo) -> None:
    """Do what it says."""
    functions: dict[str, Callable[..., None]] = {"remove": remove, "settle": settle, "release": release}
    functions[undo[0]](*undo[1:])


def main(status: int, undos: list[Undo]) -> None:
    """All of it, the latest first; then tell the user and end."""
    for undo in reversed(undos):
        with suppress(OSError):
            perform(undo)
    sentence = b"stopped; what is finished is kept, run the same command again\n"
    with suppress(OSError, ValueError):  # nobody may read it, or be able to
        show_cursor = b"\r\x1b[2K\x1b[?25h" if os.isatty(2) else b""
        if select.select([], [2], [], 0)[1]:
            os.write(2, show_cursor + sentence)
    os._exit(status)


if __name__ == "__main__":
    main(int(sys.argv[1]), json.loads(sys.argv[2]))
