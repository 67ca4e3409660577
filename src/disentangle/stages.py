"""Resumable stages: each leaves a folder, made whole or not at all, that is reused while it is valid."""

from __future__ import annotations

import fcntl
import hashlib
import importlib
import inspect
import json
import logging
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any, TextIO

from . import __version__, progress
from .errors import DisentangleError

logger = logging.getLogger(__name__)

RECORD = "stage.json"
_RECORDED = {"key", "inputs", "results", "seconds", "peak_rss_mib", "threads", "machine", "files"}
_TEMPORARY = ".tmp-"
_OLD = f"{_TEMPORARY}old-"


def versions() -> dict[str, str]:
    """Versions of everything that results depend on."""
    packages = ("libpecos", "numpy", "scipy", "numba", "scikit-learn")
    found = {name: metadata.version(name) for name in packages}
    return {"disentangle": __version__, "python": platform.python_version()} | found


def machine() -> dict[str, Any]:
    """What a reader needs to judge the seconds by."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30, 1),
    }


def code_of(modules: tuple[str, ...], functions: tuple[Callable, ...]) -> str:
    """Sha256 of modules of this package, by name, and of functions: a changed rule makes results stale."""
    sha = hashlib.sha256()
    for module in modules:
        sha.update(Path(__file__).with_name(f"{module}.py").read_bytes())
    for function in functions:
        sha.update(inspect.getsource(getattr(function, "func", function)).encode())
    return sha.hexdigest()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name to write a file under, renamed to `path` when it is whole.

    Raises
    ------
    DisentangleError
        If it cannot be written.
    """
    # Its own for each process: two may write the same.
    temporary = path.with_name(f"{_TEMPORARY}{os.getpid()}-{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise DisentangleError(f"cannot write {path}: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write JSON, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


@contextmanager
def workspace(folder: Path) -> Iterator[None]:
    """Hold a results folder for one run at a time, and clear what a killed run left half-written.

    Raises
    ------
    DisentangleError
        If the folder cannot be made or another run holds it.
    """
    with _locked(folder, ".lock"):
        for left in list(folder.rglob(f"{_TEMPORARY}*")):
            _clear(left)
        yield


@contextmanager
def claim(folder: Path) -> Iterator[Path]:
    """Hold the name of a folder that is to be made whole or not at all, beside others that are left alone.

    Yields
    ------
    Path
        Where to make it: an own name beside `folder`, not there yet, cleared whatever happens.

    Raises
    ------
    DisentangleError
        As `workspace`.
    """
    temporary = folder.with_name(f"{_TEMPORARY}{folder.name}")
    lock = folder.with_name(f".{folder.name}.lock")
    is_new = not folder.parent.exists()
    with _locked(lock.parent, lock.name):
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            lock.unlink(missing_ok=True)
            with suppress(OSError):
                if is_new and not any(folder.parent.iterdir()):
                    folder.parent.rmdir()


def _open_lock(path: Path) -> TextIO:
    """A file that nobody else holds; one that was removed meanwhile protects nothing, so it is made anew."""
    while True:
        lock = path.open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
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


def _clear(left: Path) -> None:
    """Remove what a killed run left, or finish its renaming of a folder that is whole."""
    place = left.with_name(left.name.removeprefix(_TEMPORARY))
    if (left / RECORD).exists() and not left.name.startswith(_OLD) and not place.exists():
        left.rename(place)
    elif left.is_dir():
        shutil.rmtree(left, ignore_errors=True)
    else:
        left.unlink(missing_ok=True)


def read_record(folder: Path) -> dict[str, Any] | None:
    """What a stage's `stage.json` says, or None if it is not there or damaged."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and set(record) >= _RECORDED else None


def is_whole(folder: Path, record: dict[str, Any]) -> bool:
    """Whether a stage's folder has all files that its record tells of, by their sizes."""
    paths = ((folder / file, size) for file, size in record["files"].items())
    return all(path.is_file() and path.stat().st_size == size for path, size in paths)


class Stage:
    """One step of a job, whose results lie in a folder of their own.

    Parameters
    ----------
    name : str
        What its seconds are booked under.
    folder : Path
        Where its results go, beside `stage.json`: the key, inputs, seconds, peak memory, results.
    inputs : dict
        Whatever the results depend on besides `needs`, versions and code, as JSON.
    modules : tuple of str
        Modules of this package whose code makes the results; imported before the clock starts.
    build : callable
        Takes an empty folder, writes the stage's files to it and returns its results as JSON; a
        result named "seconds" splits the stage's time by name.
    needs : tuple of Stage
        Stages whose results `build` reads. They are made only when this one has to be.
    prepare : callable, optional
        Called before the clock starts, when the stage has to be made.
    helpers : tuple of callable
        Functions that `build` relies on, outside `modules`.
    threads : int
        For the record; they have no effect on results.
    force : bool
        Make it anew, once, even when it is valid.
    title : str, optional
        What the log calls it, if not by its folder.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        inputs: dict[str, Any],
        modules: tuple[str, ...],
        build: Callable[[Path], dict[str, Any]],
        needs: tuple[Stage, ...] = (),
        prepare: Callable[[], object] = lambda: None,
        helpers: tuple[Callable, ...] = (),
        threads: int = 1,
        force: bool = False,
        title: str | None = None,
    ) -> None:
        self.name = name
        self.title = title or folder.name
        self.folder = folder
        self.needs = needs
        self._build = build
        self._prepare = prepare
        self._threads = threads
        self._force = force
        self._modules = modules
        self._inputs = inputs | versions() | {"code": code_of(modules, (build, *helpers))}
        for need in needs:
            # Those of several trees have the same name.
            self._inputs[need.folder.name] = self._inputs.get(need.folder.name, "") + need.key
        self.key: str = hashlib.sha256(json.dumps(self._inputs, sort_keys=True).encode()).hexdigest()

    def record(self) -> dict[str, Any] | None:
        """What `stage.json` says, or None if the stage is not done, not whole, or out of date."""
        record = read_record(self.folder)
        if self._force or record is None or record.get("key") != self.key:
            return None
        return record if is_whole(self.folder, record) else None

    def ensure(self) -> dict[str, Any]:
        """Make the stage, and before it what it needs, unless it is done; return its record."""
        if (record := self.record()) is not None:
            return record
        for need in self.needs:
            need.ensure()
        self._say_why()
        with progress.stage(self.title):
            record = self._make()
        self._force = False
        return record

    def _say_why(self) -> None:
        if (old := read_record(self.folder)) is None:
            return
        before = old["inputs"]
        changed = sorted(name for name, value in self._inputs.items() if before.get(name) != value)
        why = f"changed {', '.join(changed)}" if changed else "--force" if self._force else "damaged files"
        logger.info("%s is redone: %s", self.title, why)

    def _make(self) -> dict[str, Any]:
        temporary = self.folder.with_name(f"{_TEMPORARY}{self.folder.name}")
        try:
            temporary.mkdir(parents=True)
            for module in self._modules:
                importlib.import_module(f"{__package__}.{module}")
            self._prepare()
            reset_peak_rss()
            start = time.perf_counter()
            results = self._build(temporary)
            seconds = results.pop("seconds", {self.name: time.perf_counter() - start})
            files = [path for path in sorted(temporary.rglob("*")) if path.is_file()]
            record = {
                "key": self.key,
                "inputs": self._inputs,
                "results": results,
                "seconds": {name: round(value, 3) for name, value in seconds.items()},
                "peak_rss_mib": peak_rss_mib(),
                "threads": self._threads,
                "machine": machine(),
                "files": {str(path.relative_to(temporary)): path.stat().st_size for path in files},
            }
            (temporary / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
            _replace(self.folder, temporary)
            return record
        except OSError as error:
            raise DisentangleError(
                f"cannot write {error.filename or self.folder}: {error.strerror}"
            ) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _replace(folder: Path, new: Path) -> None:
    """Put `new` where `folder` is; after a kill in between, the next run ends it."""
    if folder.exists():
        old = folder.with_name(f"{_OLD}{folder.name}")
        folder.rename(old)
        try:
            new.rename(folder)
        except BaseException:  # a signal, perhaps
            if not folder.exists():
                old.rename(folder)
            raise
        shutil.rmtree(old)
    else:
        new.rename(folder)


def reset_peak_rss() -> None:
    """Let the kernel count the peak from now on; where it is forbidden the peak is an upper bound."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        logger.debug("the peak memory of single stages cannot be told apart here")


def peak_rss_mib() -> int:
    """Most memory that the process has held, in MiB, since `reset_peak_rss`."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) // 1024
    return 0
