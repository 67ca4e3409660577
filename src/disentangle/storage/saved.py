"""What a stage has left, taken only with the content that its record vouches for."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import numpy as np
import scipy.sparse as sp

from ..errors import DisentangleError, excerpt
from ..runtime import memory
from ..runtime.memory import UNLIMITED, Budget
from . import files, npz
from .compressed import is_canonical
from .matrices import read_sparse

RECORD = "stage.json"
_KINDS: dict[str, type | tuple[type, ...]] = {
    "key": str,
    "inputs": dict,
    "results": dict,
    "seconds": dict,
    "peak_rss_mib": int,
    "threads": int,
    "machine": dict,
    "files": dict,
}


def sealed(record: dict[str, Any]) -> dict[str, Any]:
    """A record with a digest of its own, by which `read_record` knows that it is whole."""
    return record | {"digest": _seal(record)}


def _seal(record: dict[str, Any]) -> str:
    said = {name: value for name, value in record.items() if name != "digest"}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def read_record(folder: Path) -> dict[str, Any] | None:
    """What a stage's `stage.json` says, or None if it is not there, damaged, or none that a stage wrote."""
    try:
        with files.opened(folder / RECORD) as file:
            record = json.loads(file.read())
        is_sound = (
            isinstance(record, dict)
            and all(isinstance(record.get(name), kind) for name, kind in _KINDS.items())
            and all(isinstance(sha, str) for sha in record["files"].values())
            and all(map(_is_inside, record["files"]))
            and all(isinstance(value, (int, float)) for value in record["seconds"].values())
            and record.get("digest") == _seal(record)
        )
    except (ValueError, RecursionError):
        return None
    return record if is_sound else None


def _is_inside(name: str) -> bool:
    """Whether a path stays in its folder: a bundle is made by copying to it."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


@dataclass(frozen=True)
class Saved:
    """A folder of arrays and models.

    Attributes
    ----------
    folder : Path
    digests : dict of str to str, or None
        Sha256 of each of its files, by their paths in the folder. None for a folder of which nothing is
        recorded: its files are taken as they are.
    """

    folder: Path
    digests: dict[str, str] | None = None

    @property
    def content(self) -> str:
        """Sha256 of what is recorded of its files: the same for the same files, however they were made."""
        return hashlib.sha256(json.dumps(self.digests, sort_keys=True).encode()).hexdigest()

    @classmethod
    def at(cls, folder: Path) -> tuple[Saved, dict[str, Any]]:
        """What a stage has left in a folder, and its record.

        Raises
        ------
        DisentangleError
            If no stage has ended there, or its record is damaged.
        """
        if (record := read_record(folder)) is None:
            raise DisentangleError(
                f"{folder / RECORD} must be the record of what a job left there, found "
                + ("a damaged one" if (folder / RECORD).exists() else "none")
                + ": run the job again"
            )
        return cls(folder, record["files"]), record

    def __contains__(self, name: str) -> bool:
        return (self.folder / name).exists() if self.digests is None else name in self.digests

    def is_whole(self) -> bool:
        """Whether all files are there with the content that was recorded."""
        try:
            for name in self.digests or ():
                with self.open(name):
                    pass
        except DisentangleError:
            return False
        return True

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """A file, open for reading; it must not change until it is closed.

        Raises
        ------
        DisentangleError
            If it is missing, no regular file, or has not the content that was recorded.
        """
        path = self.folder / name
        with ExitStack() as stack:
            try:
                file = stack.enter_context(files.opened(path, f"a file that {RECORD} beside it tells of"))
            except DisentangleError as error:
                raise DisentangleError(f"{error}; run the job that made it again") from error
            before = files.state(file)
            if self.digests is not None and files.digest(file) != self.digests.get(name):
                raise DisentangleError(
                    f"{path} is damaged: its content is not what {RECORD} beside it tells; "
                    "run the job that made it again"
                )
            yield file
            if files.state(file) != before:
                raise DisentangleError(f"{path} has changed while it was read: run the same command again")

    @contextmanager
    def pinned(self, name: str) -> Iterator[Path]:
        """A path to a file that `open` finds sound, whatever takes its name meanwhile."""
        with self.open(name) as file:
            path = Path(f"/proc/self/fd/{file.fileno()}")
            try:
                yield path
            except DisentangleError as error:
                raise DisentangleError(str(error).replace(str(path), str(self.folder / name))) from error

    def read_json(self, name: str) -> Any:
        """A file of JSON.

        Raises
        ------
        DisentangleError
            As `open`, and if it is none.
        """
        with self.open(name) as file:
            try:
                return json.loads(file.read())
            except (ValueError, RecursionError) as error:
                raise self.damaged(name, error) from error

    def arrays(self, name: str, *expected: str) -> dict[str, np.ndarray]:
        """Arrays of an npz file by name, of which there must be those expected.

        Raises
        ------
        DisentangleError
            As `open`, and if it is none, or memory is too small; nothing is ever unpickled.
        """
        with self.open(name) as file:
            try:
                with zipfile.ZipFile(file) as archive:
                    found = npz.headers(archive)
                    memory.require(sum(found[array].n_bytes for array in expected), str(self.folder / name))
                    return {array: npz.read_array(archive, array) for array in expected}
            except (DisentangleError, MemoryError):
                raise
            except Exception as error:  # zipfile, zlib and numpy each have their own
                raise self.damaged(name, error) from error

    def matrix(
        self, name: str, is_sorted: bool = True, is_plain: bool = False, budget: Budget = UNLIMITED
    ) -> sp.csr_matrix | sp.csc_matrix:
        """A compressed sparse matrix, float32, that is sound: PECOS and kernels follow its indices blindly.

        Parameters
        ----------
        name : str
        is_sorted : bool
            Whether indices must be sorted and unique in their row or column; in range they must be.
        is_plain : bool
            Whether the file itself must be what PECOS reads, by columns: from another it ends the process.
        budget : Budget

        Returns
        -------
        csr_matrix or csc_matrix
            As it was saved; its values are finite.

        Raises
        ------
        DisentangleError
            As `open`, and if it is no such matrix.
        """
        with self.open(name) as file:
            try:
                read = read_sparse(self.folder / name, file, self.digests is not None, budget)
                matrix = read.matrix
                if matrix.format not in ("csr", "csc") or read.dtype != np.float32:
                    raise ValueError(f"a matrix of format {matrix.format} and type {read.dtype}")
                if is_plain and not (read.is_plain and matrix.format == "csc"):
                    raise ValueError("expected a matrix of columns that is not compressed")
                if is_sorted and not is_canonical(matrix):
                    raise ValueError("indices that are not sorted and unique")
                # What is not a number is either; a mask of as many bytes as values would be in memory.
                if not np.isfinite([matrix.data.min(initial=0), matrix.data.max(initial=0)]).all():
                    raise ValueError("values that are not finite")
            except (DisentangleError, MemoryError):
                raise
            except Exception as error:  # zipfile, zlib, numpy and scipy each have their own
                raise self.damaged(name, error) from error
        return matrix

    def damaged(self, name: str, reason: object) -> DisentangleError:
        """The error to raise for a file whose content makes no sense."""
        text = excerpt((str(reason) or type(reason).__name__).splitlines()[0])
        return DisentangleError(f"{self.folder / name} is damaged: {text}; run the job that made it again")

    def check_fit(self, what: str, found: object, expected: object) -> None:
        """Raise DisentangleError if what was found here does not fit what it belongs to."""
        if found != expected:
            raise DisentangleError(
                f"{self.folder} must hold {what} {expected}, got {found}: remove it and run the job again"
            )
