"""What a stage has left, taken only with the content that its record vouches for."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import scipy.sparse as sp

from .errors import DisentangleError, excerpt

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
_BLOCK = 1 << 20

# A file's place and times, which every change of its content changes, too.
_State = tuple[int, ...]
_digests: dict[_State, str] = {}


def _state(file: BinaryIO) -> _State:
    found = os.fstat(file.fileno())
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _open(path: Path) -> BinaryIO:
    # Whatever it is, opening it must not wait: a pipe would, for somebody to write to it.
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise OSError(f"{path} is no regular file")
    return os.fdopen(number, "rb")


def digest_of(file: BinaryIO) -> str:
    """Sha256 of a file that is open for reading; one that has not changed since is not read twice."""
    if (state := _state(file)) not in _digests:
        sha = hashlib.sha256()
        file.seek(0)
        while block := file.read(_BLOCK):
            sha.update(block)
        if _state(file) != state:
            return ""  # it has no content that could be told
        _digests[state] = sha.hexdigest()
    file.seek(0)
    return _digests[state]


def sealed(record: dict[str, Any]) -> dict[str, Any]:
    """A record with a digest of its own, by which `read_record` knows that it is whole."""
    return record | {"digest": _seal(record)}


def _seal(record: dict[str, Any]) -> str:
    said = {name: value for name, value in record.items() if name != "digest"}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def read_record(folder: Path) -> dict[str, Any] | None:
    """What a stage's `stage.json` says, or None if it is not there, damaged, or none that a stage wrote."""
    try:
        with _open(folder / RECORD) as file:
            record = json.loads(file.read())
        is_sound = (
            isinstance(record, dict)
            and all(isinstance(record.get(name), kind) for name, kind in _KINDS.items())
            and all(isinstance(sha, str) for sha in record["files"].values())
            and all(isinstance(value, (int, float)) for value in record["seconds"].values())
            and record.get("digest") == _seal(record)
        )
    except (OSError, ValueError, RecursionError):
        return None
    return record if is_sound else None


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
        try:
            file = _open(path)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise DisentangleError(f"cannot read {path}: {reason}; run the job that made it again") from error
        with file:
            before = _state(file)
            if self.digests is not None and digest_of(file) != self.digests.get(name):
                raise DisentangleError(
                    f"{path} is damaged: its content is not what {RECORD} beside it tells; "
                    "run the job that made it again"
                )
            yield file
            if _state(file) != before:
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
            As `open`, and if it is none; nothing is ever unpickled.
        """
        with self.open(name) as file:
            try:
                with np.load(file, allow_pickle=False) as read:
                    return {array: read[array] for array in expected}
            except MemoryError:
                raise
            except Exception as error:  # zipfile, zlib and numpy each have their own
                raise self.damaged(name, error) from error

    def matrix(self, name: str, is_sorted: bool = True) -> sp.csr_matrix | sp.csc_matrix:
        """A compressed sparse matrix, float32, that is sound: PECOS and kernels follow its indices blindly.

        Parameters
        ----------
        name : str
        is_sorted : bool
            Whether indices must be sorted and unique in their row or column; in range they must be.

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
                matrix = sp.load_npz(file)
                if matrix.format not in ("csr", "csc") or matrix.dtype != np.float32:
                    raise ValueError(f"a matrix of format {matrix.format} and type {matrix.dtype}")
                matrix.check_format(full_check=True)
                if is_sorted and not matrix.has_canonical_format:
                    raise ValueError("indices that are not sorted and unique")
                if not np.isfinite(matrix.data).all():
                    raise ValueError("values that are not finite")
            except MemoryError:
                raise
            except Exception as error:
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


def check_membership(saved: Saved, name: str, C: sp.spmatrix, n_columns: int | None = None) -> sp.csc_matrix:
    """A level of a tree, as PECOS takes it: in each row of nodes one 1, in the column of the node above.

    Raises
    ------
    DisentangleError
        If the matrix, read from the file `name`, is none, or has not `n_columns`.
    """
    rows = C.tocsr()
    if (np.diff(rows.indptr) != 1).any() or (rows.data != 1).any() or n_columns not in (None, C.shape[1]):
        raise saved.damaged(
            name, f"expected one 1 per row and {n_columns or 'some'} columns, found no such tree"
        )
    return C.tocsc()
