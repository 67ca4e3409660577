"""Files packed by gzip, bzip2 or xz, unpacked as they are read; how they start tells, not their names."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import re
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import DisentangleError
from ..storage import files

# What files start with that are no text before they are unpacked; some of it would pass for UTF-8.
_STARTS = {
    "gzip": rb"\x1f\x8b",
    "bzip2": rb"BZh[1-9]1AY&SY",
    "xz": rb"\xfd7zXZ\x00",
    "zip": rb"PK\x03\x04",
    "zstd": rb"\x28\xb5\x2f\xfd",
}
_LONGEST_START = 10
# Text comes out ten times as large, a bomb a thousand times; of small files nothing is said.
_MOST_TIMES, _SMALL = 200, 1 << 26
# xz's strongest setting takes a quarter of it; a file may ask for 4 GiB.
_XZ_MEMORY = 1 << 28
_BLOCK = 1 << 16


def _unpacked(file: BinaryIO, decompressor: Callable[[], Any]) -> Iterator[bytes]:
    """What the streams of a file hold, one after another.

    The readers of bz2 and lzma take damage at the start of a second one for the file's end, and set no limit
    to memory.
    """
    packed = file.read(_BLOCK)
    while packed:
        stream = decompressor()
        while not stream.eof:
            yield stream.decompress(packed, _BLOCK)
            packed = b""
            if stream.needs_input and not (packed := file.read(_BLOCK)):
                raise EOFError("it ends too soon")
        packed = stream.unused_data.lstrip(b"\0")  # xz may have zeros between streams
        while not packed and (block := file.read(_BLOCK)):
            packed = block.lstrip(b"\0")


class _Chunks(io.RawIOBase):
    """Chunks of bytes as a file to read."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._left = chunks, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as a chunk goes; 0 at the end."""
        while not self._left:
            if (chunk := next(self._chunks, None)) is None:
                return 0
            self._left = chunk
        n = min(len(buffer), len(self._left))
        buffer[:n], self._left = self._left[:n], self._left[n:]
        return n


def _of_streams(decompressor: Callable[[], Any]) -> Callable[[BinaryIO], Any]:
    return lambda file: io.BufferedReader(_Chunks(_unpacked(file, decompressor)), _BLOCK)


_OPENERS: dict[str, Callable[[BinaryIO], Any]] = {
    "gzip": gzip.open,
    "bzip2": _of_streams(bz2.BZ2Decompressor),
    "xz": _of_streams(partial(lzma.LZMADecompressor, memlimit=_XZ_MEMORY)),
}


def packing(start: bytes) -> str | None:
    """What packed a file that starts so; None for one that is as it is."""
    return next((kind for kind, pattern in _STARTS.items() if re.match(pattern, start)), None)


@contextmanager
def opened(path: Path, expected: str) -> Iterator[tuple[BinaryIO, int]]:
    """A regular file open for reading, unpacked if need be, and the most bytes that it may hold.

    Raises
    ------
    DisentangleError
        As `files.opened`, and if what is packed is damaged, be it later.
    """
    with files.opened(path, expected) as file:
        kind = packing(file.read(_LONGEST_START))
        file.seek(0)
        if (opener := _OPENERS.get(kind or "")) is None:
            yield file, sys.maxsize
            return
        most = max(_SMALL, _MOST_TIMES * os.fstat(file.fileno()).st_size)
        try:
            with opener(file) as unpacked:
                yield unpacked, most
        except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
            raise DisentangleError(f"{path} must be packed by {kind}, found it damaged: {error}") from error


def check_size(path: Path, n_bytes: int, most: int) -> None:
    """Raise DisentangleError if more has come out of a file than `opened` says it may hold."""
    if n_bytes > most:
        raise DisentangleError(
            f"{path} must unpack to at most {_MOST_TIMES} times its size, or {_SMALL:,} bytes, found more"
        )
