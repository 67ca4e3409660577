"""Files and folders that are made whole or not at all, whatever ends the process."""

from __future__ import annotations

import errno
import fcntl
import glob
import json
import os
import secrets
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import DisentangleError
from ..runtime.interrupt import undoing
from ..runtime.undo import OLD, TEMPORARY, beside, remove, settle

# Of folders for a moment, wherever the system has its temporary ones; what each of them holds.
_SCRATCH = "disentangle-"
_LOCK, _FILES = "lock", "files"
# As NFS asks of a file that is to be locked; there a folder's lock would be one machine's own.
_WRITABLE = os.O_RDWR | os.O_CLOEXEC


def sync(path: Path) -> None:
    """Have the disk keep a file's content, or a folder's list of files.

    A power cut may otherwise keep a name without what it names.
    """
    number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    except OSError as error:
        # File systems of virtual machines' hosts have none for folders.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP) or not stat.S_ISDIR(os.fstat(number).st_mode):
            raise
    finally:
        os.close(number)


def sync_tree(folder: Path) -> None:
    """The same for all that is in a folder, and for it."""
    for place, _, files in os.walk(folder):
        for file in files:
            sync(Path(place, file))
        sync(Path(place))


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name to write a file under, renamed to `path` when it is whole.

    Raises
    ------
    DisentangleError
        If it cannot be written.
    """
    # Its own for each process, as two may write the same.
    temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(4)}-{path.name}")
    try:
        for left in path.parent.glob(f"{TEMPORARY}{'[0-9a-f]' * 8}-{glob.escape(path.name)}"):
            _remove_if_free(left)
        with _held(temporary, temporary, temporary.touch):
            yield temporary
            sync(temporary)
            temporary.replace(path)
        sync(path.parent)
    except OSError as error:
        raise DisentangleError(f"cannot write {path}: {error.strerror or error}") from error


@contextmanager
def _held(path: Path, lock: Path, make: Callable[[], object]) -> Iterator[None]:
    """Make a temporary file or folder, removed in the end, with a lock that says its process is alive."""

    def begin() -> int:
        while True:
            make()
            with suppress(FileNotFoundError):
                number = os.open(lock, _WRITABLE)
                fcntl.flock(number, fcntl.LOCK_EX)
                # Before it was locked another process may have taken it for one that was left.
                if lock.exists():
                    return number
                os.close(number)

    with undoing(("remove", str(path)), begin) as number:
        try:
            yield
        finally:
            os.close(number)


def _remove_if_free(left: Path, lock: Path | None = None) -> None:
    """Remove a temporary file, or a folder with its lock, unless a process that is alive holds it."""
    with suppress(OSError):
        number = os.open(lock or left, _WRITABLE | os.O_NONBLOCK | os.O_NOFOLLOW)
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove(str(left))
        finally:
            os.close(number)


def write_json(path: Path, value: Any) -> None:
    """Write JSON, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


@contextmanager
def scratch(place: Path | None = None) -> Iterator[Path]:
    """An empty folder for a moment, in the system's temporary one, without what killed processes left there.

    Parameters
    ----------
    place : Path, optional
        A folder to make it in instead; made if it is not there.

    Raises
    ------
    DisentangleError
        If there can be none.
    """
    start = f"{_SCRATCH}{os.getuid()}-"
    folder = Path(place or tempfile.gettempdir(), f"{start}{secrets.token_hex(8)}").absolute()

    def make() -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        with suppress(FileNotFoundError):  # another process took it for one that was left: once more
            (folder / _LOCK).touch()

    with ExitStack() as stack:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            for left in folder.parent.glob(f"{start}*"):
                with suppress(OSError):  # its process removes it just now, or has only begun it
                    if left.lstat().st_uid == os.getuid() and stat.S_ISDIR(left.lstat().st_mode):
                        # Killed while it was removed: files are there only where there was a lock.
                        if os.path.lexists(left / _FILES) and not os.path.lexists(left / _LOCK):
                            remove(str(left))
                        _remove_if_free(left, left / _LOCK)
                        left.rmdir()
            stack.enter_context(_held(folder, folder / _LOCK, make))
            (folder / _FILES).mkdir()
        except OSError as error:
            where = "" if place else " (TMPDIR says where)"
            raise DisentangleError(f"cannot make a temporary folder{where}: {error}") from error
        yield folder / _FILES


@contextmanager
def making(folder: Path, record: str) -> Iterator[Path]:
    """An empty folder to be filled, which takes the place of `folder` when it is whole.

    One process at a time may make it.

    Parameters
    ----------
    folder : Path
        Where it is a link, what that points to is replaced.
    record : str
        The file that is written last.

    Yields
    ------
    Path
        Beside `folder`, so that neither a failure nor a kill leaves a half-written one in its place.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    # Only a link itself is followed: relative names of neighbours are told from where the folder was named.
    if folder.is_symlink():
        folder = Path(os.path.realpath(folder))
    temporary, old = beside(folder)
    settle(str(folder), record)
    with undoing(("settle", str(folder), record), lambda: temporary.mkdir(parents=True)):
        yield temporary
        sync_tree(temporary)
        if folder.exists():
            folder.rename(old)
        temporary.rename(folder)
        sync(folder.parent)


def is_unsettled(folder: Path) -> bool:
    """Whether something of `making` still lies beside a folder: it goes on, or was interrupted."""
    return any(map(os.path.lexists, beside(folder)))


def publish(made: Path, folder: Path) -> None:
    """Give a folder that is whole its name, under which there is none.

    Raises
    ------
    OSError
        If it cannot be written, or there is one by now.
    """
    sync_tree(made)
    made.rename(folder)
    sync(folder.parent)


@contextmanager
def workspace(folder: Path, record: str) -> Iterator[None]:
    """Hold a results folder for one run at a time, and clear what a killed run left half-written.

    Raises
    ------
    DisentangleError
        If the folder cannot be made or another run holds it.
    """
    with _locked(folder, ".lock"):
        for left in list(folder.rglob(f"{TEMPORARY}*")):
            if left.is_dir():
                place = left.with_name(left.name.removeprefix(OLD).removeprefix(TEMPORARY))
                settle(str(place), record)
            else:
                _remove_if_free(left)
        yield


@contextmanager
def workspaces(folders: Iterable[Path], record: str) -> Iterator[None]:
    """Hold several results folders for one run, as `workspace` holds one."""
    with ExitStack() as stack:
        for folder in folders:
            stack.enter_context(workspace(folder, record))
        yield


@contextmanager
def claim(folder: Path, record: str | None = None) -> Iterator[Path]:
    """Hold the name of a folder that is to be made whole or not at all, beside others that are left alone.

    Parameters
    ----------
    folder : Path
    record : str, optional
        As of `making`, where that is what makes it: a replacing that was interrupted is finished first.

    Yields
    ------
    Path
        Where to make it, for `publish`: an own name beside `folder`, not there yet, cleared whatever happens.

    Raises
    ------
    DisentangleError
        As `workspace`.
    """
    temporary = beside(folder)[0]
    lock = folder.with_name(f".{folder.name}.lock")
    made = [str(parent) for parent in folder.parents if not parent.exists()]
    with _locked(lock.parent, lock.name), undoing(("release", str(temporary), str(lock), *made)):
        if record is not None:
            settle(str(folder), record)
        remove(str(temporary))
        yield temporary


def require_free(folder: Path) -> None:
    """Raise DisentangleError if a run holds the name of something in a folder."""
    for lock in sorted(folder.glob(".*.lock")):
        with _locked(folder, lock.name):
            pass


def _open_lock(path: Path) -> BinaryIO:
    """A file that nobody else holds; one that was removed meanwhile protects nothing, so it is made anew."""
    while True:
        flags = _WRITABLE | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW
        # What is somebody's own is neither emptied nor removed.
        no_lock = OSError(errno.EEXIST, f"{path.name} is there, and no lock")
        try:
            number = os.open(path, flags, 0o666)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
                raise no_lock from error
            raise
        lock = os.fdopen(number, "r+b", buffering=0)
        try:
            found = os.fstat(number)
            if not stat.S_ISREG(found.st_mode) or found.st_size:
                raise no_lock
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Held until everything is undone, should a signal come.
            os.set_inheritable(lock.fileno(), True)
            if path.exists() and os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                return lock
        except BaseException:
            lock.close()
            raise
        lock.close()


@contextmanager
def _locked(folder: Path, name: str) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = _open_lock(folder / name)
    except BlockingIOError as error:
        raise DisentangleError(
            f"another run is at work in {folder} ({name} is held): wait for it or stop it"
        ) from error
    except OSError as error:
        raise DisentangleError(f"cannot write to {folder}: {error.strerror}") from error
    with lock:
        yield
