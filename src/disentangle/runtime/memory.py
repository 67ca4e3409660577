"""How much memory a job may take, and how its work is cut to fit in."""

from __future__ import annotations

import ctypes
import math
import mmap
import os
import re
import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import DTypeLike

from ..errors import DisentangleError
from ..limits import Limits

# Below that a prediction would crawl.
_LEAST_BATCH = 1 << 24
_MOST_GIB = 1e6
_PROC, _CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
# A control group's limit, what it holds, and which lines of memory.stat count the files in it.
_VERSION_1 = "memory.limit_in_bytes", "memory.usage_in_bytes", r"^total_(?:in)?active_file (\d+)$"
_VERSION_2 = "memory.max", "memory.current", r"^(?:in)?active_file (\d+)$"


def resident() -> int:
    """Bytes of memory that this process holds, those apart that it has freed and not given back.

    Nor are those of files, which the kernel takes when it needs them.
    """
    with suppress(OSError, AttributeError):  # another C library than glibc: counted as held
        ctypes.CDLL(None).malloc_trim(0)
    held = re.findall(r"^Rss(?:Anon|Shmem):\s*(\d+) kB$", _text(_PROC / "self" / "status"), re.MULTILINE)
    return 1024 * sum(map(int, held))


def available() -> int:
    """Bytes that this process may still take: the least that the machine and every limit leave it."""
    return _least()[0]


def require(needed: int, what: str) -> None:
    """Raise DisentangleError if so many bytes for `what`, the sentence's subject, are not available."""
    free, where = _least()
    if needed > free:
        raise DisentangleError(
            f"{what} needs about {gibibytes(needed)} of memory, {gibibytes(free)} are available {where}"
        ) from MemoryError()


def gibibytes(size: float) -> str:
    """Bytes for a message: "1.5 GiB"."""
    return f"{size / 2**30:,.1f} GiB" if size >= 2**30 else f"{size / 2**30:.2g} GiB"


def _least() -> tuple[int, str]:
    free, where = min([*_of_machine(), *_of_cgroups(), *_of_limits()], default=(2**63, "on this machine"))
    return max(0, free), where


def _of_machine() -> Iterator[tuple[int, str]]:
    # Swap is not counted: training in it would never end.
    if found := re.search(r"MemAvailable: *(\d+)", _text(_PROC / "meminfo")):
        yield int(found[1]) * 1024, "on this machine"


def _of_cgroups() -> Iterator[tuple[int, str]]:
    """What the control groups of this process, and those around them, leave: of version 1, 2, or both."""
    for line in _text(_PROC / "self" / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            roots, (limit, usage, cached) = [_CGROUPS, _CGROUPS / "unified"], _VERSION_2
        elif "memory" in controllers.split(","):
            roots, (limit, usage, cached) = [_CGROUPS / "memory"], _VERSION_1
        else:
            continue
        for root in roots:
            # In a container the path may be that outside of it; the group is then the root.
            group = root if ".." in path else root / path.lstrip("/")
            for folder in (group, *group.parents[: len(group.parts) - len(root.parts)]):
                most, used = _text(folder / limit).strip(), _text(folder / usage).strip()
                if most.isdecimal() and used.isdecimal():
                    yield int(most) - int(used) + _cached(folder, cached), "in this control group"


def _cached(folder: Path, pattern: str) -> int:
    """Bytes of files that a control group holds in memory, which the kernel gives back when it needs them."""
    return sum(int(n) for n in re.findall(pattern, _text(folder / "memory.stat"), re.MULTILINE))


def _of_limits() -> Iterator[tuple[int, str]]:
    pages = [int(n) for n in _text(_PROC / "self" / "statm").split()]
    if len(pages) < 6:
        return
    page_size = os.sysconf("SC_PAGE_SIZE")
    for limit, held, name in (
        (resource.RLIMIT_AS, pages[0], "ulimit -v"),
        (resource.RLIMIT_DATA, pages[5], "ulimit -d"),
    ):
        most = resource.getrlimit(limit)[0]
        if most != resource.RLIM_INFINITY:
            yield most - held * page_size, f"under {name}"


def _text(path: Path) -> str:
    """What a file of the kernel's says; nothing if there is none."""
    try:
        return path.read_text()
    except (OSError, ValueError):
        return ""


@dataclass(frozen=True)
class Budget:
    """A limit for what the process holds; what is too large for it lies in files that are mapped into memory.

    Attributes
    ----------
    limit : int or None
        Bytes that the process may hold; None for no limit.
    folder : Path or None
        Where those files are, which have no names; None for the system's temporary folder.
    """

    limit: int | None = None
    folder: Path | None = None

    @classmethod
    def of(cls, gibibytes: float | None) -> Budget:
        """A limit in GiB.

        Raises
        ------
        DisentangleError
            If it is no positive number, or larger than any machine.
        """
        if gibibytes is None:
            return cls()
        Limits(0.0, _MOST_GIB, is_open=True).check("--max-memory", gibibytes)
        return cls(int(gibibytes * 2**30))

    def require(self, needed: int, what: str) -> None:
        """Raise DisentangleError if so many bytes for `what` are more than the limit."""
        if self.limit is not None and needed > self.limit:
            raise DisentangleError(
                f"--max-memory must be at least {math.ceil(needed / 2**30 * 100) / 100} GiB for {what}, "
                f"got {self.limit / 2**30:g} GiB"
            )

    def empty(self, n: int, dtype: DTypeLike) -> np.ndarray:
        """An array of `n` values to be written: in memory, with a limit in a file."""
        if self.limit is None or n == 0:
            return np.empty(n, dtype)
        with _where(self.folder), tempfile.TemporaryFile(dir=self.folder) as file:
            # Now, as there is no error but the process's end where a full disk is found by a written page.
            os.posix_fallocate(file.fileno(), 0, n * np.dtype(dtype).itemsize)
            return np.frombuffer(mmap.mmap(file.fileno(), 0), dtype)

    def growing(self, dtype: DTypeLike) -> Growing:
        """The same of an array whose size is not known yet."""
        if self.limit is None:
            return Growing(dtype, None)
        with _where(self.folder):
            return Growing(dtype, tempfile.TemporaryFile(dir=self.folder), self.folder)

    def left(self, kept: int, what: str) -> int | None:
        """Bytes of the limit for `what` besides what is held, and `kept` of its results; None for no limit.

        Raises
        ------
        DisentangleError
            If next to nothing is.
        """
        if self.limit is None:
            return None
        held = resident() + kept
        self.require(held + _LEAST_BATCH, what)
        return self.limit - held


@contextmanager
def _where(folder: Path | None) -> Iterator[None]:
    """Says which folder has no room for a file without a name."""
    try:
        yield
    except OSError as error:
        place = folder or f"{tempfile.gettempdir()} (TMPDIR names another folder)"
        raise DisentangleError(f"cannot write to {place}: {error.strerror or error}") from error


UNLIMITED = Budget()


class Growing:
    """An array that grows at its end.

    Parameters
    ----------
    dtype : data type
    file : binary file, optional
        Open for reading and writing; in memory without one.
    folder : Path, optional
        Where it is.
    """

    def __init__(self, dtype: DTypeLike, file: BinaryIO | None, folder: Path | None = None) -> None:
        self._dtype, self._file, self._folder, self._size = np.dtype(dtype), file, folder, 0
        # Of the system and not of Python, as it grows without being copied.
        self._room = None if file else mmap.mmap(-1, 1 << 16, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)

    def append(self, values: np.ndarray) -> None:
        content = values.astype(self._dtype, copy=False).data.cast("B")
        start, self._size = self._size, self._size + len(content)
        if self._file is not None:
            with _where(self._folder):
                self._file.write(content)
        elif self._room is not None:
            if self._size > len(self._room):
                self._room.resize(max(self._size, 5 * len(self._room) // 4))
            self._room[start : self._size] = content

    def array(self) -> np.ndarray:
        """All values, mapped into memory; there can be no more then."""
        if self._file is not None:
            with _where(self._folder), self._file as file:
                file.flush()
                if self._size:
                    self._room = mmap.mmap(file.fileno(), 0)
        n = self._size // self._dtype.itemsize
        return np.frombuffer(self._room, self._dtype, n) if self._room and n else np.empty(0, self._dtype)
