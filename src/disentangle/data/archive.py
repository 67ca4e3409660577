"""Unpack a dataset's .tar.gz archive, which anybody may have made."""

from __future__ import annotations

import errno
import gzip
import os
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, NoReturn, cast

from rich.filesize import decimal

from ..errors import DisentangleError, excerpt
from ..storage import space

# Four times the largest benchmark archive: whatever is larger is something else, or has no end.
MAX_SIZE = 40_000_000_000
# A dataset is four matrices and a few texts; sparse matrices and text shrink to a third or a tenth.
MAX_MEMBERS = 1000
MAX_RATIO = 20
# The folder that PECOS packs its datasets in.
_PACKED_IN = "xmc-base"
_SLACK = 1 << 20
# In characters; the limit bounds the depth of folders, too.
_MAX_NAME = 255
_SHOWN = 60
# tarfile reads a name or a pax header in one go, of whatever size is claimed, and older releases search
# it in quadratic time.
_MAX_HEADER = 1 << 13
_BLOCK = 1 << 20
_KINDS = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
    tarfile.REGTYPE: "a sparse file",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}


def unpack(archive: Path, out: Path, name: str) -> None:
    """Unpack the folder of one dataset.

    Parameters
    ----------
    archive : Path
        Gzipped tar that holds `xmc-base/NAME/...` or `NAME/...`, plain files and folders, nothing else.
    out : Path
        An empty folder for the content of `NAME`. After an error it holds a part, for the caller to
        remove.
    name : str
        The dataset's name.

    Raises
    ------
    DisentangleError
        If the archive cannot be read, is damaged, too large when unpacked, or holds anything but new
        plain files in its folder; or if a file cannot be written.
    """
    try:
        with archive.open("rb") as file:
            stream = _Stream(archive, file)
            for n_members, member in enumerate(_members(archive, stream), 1):
                if n_members > MAX_MEMBERS:
                    raise DisentangleError(f"{archive} holds more than {MAX_MEMBERS} files and folders")
                _extract(archive, stream, member, _target(archive, member, out, name))
    except OSError as error:
        raise DisentangleError(f"cannot read {archive}: {error.strerror}") from error


class _Stream:
    """The decompressed archive, for tarfile: read once from start to end, and of bounded size.

    Attributes
    ----------
    position : int
        Bytes read.
    zeros_from : int
        Where the run of zeros before `position` starts.
    """

    def __init__(self, archive: Path, file: BinaryIO) -> None:
        self._archive = archive
        self._gzip = gzip.GzipFile(fileobj=file)
        self._limit = MAX_RATIO * os.fstat(file.fileno()).st_size + _SLACK
        self.position = 0
        self.zeros_from = 0

    def tell(self) -> int:
        return self.position

    def seek(self, position: int) -> None:
        """Skip; tarfile has no reason to go back unless a header makes it."""
        if position < self.position:
            raise tarfile.ReadError("a header points back")
        while self.position < position and self.take(min(position - self.position, _BLOCK)):
            pass

    def read(self, size: int) -> bytes:
        """For tarfile: a header."""
        if not 0 <= size <= _MAX_HEADER:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self.take(size)

    def take(self, size: int) -> bytes:
        """The next bytes, fewer only at the end."""
        try:
            data = self._gzip.read(size)
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            _damaged(self._archive, error)
        except OSError as error:
            raise DisentangleError(f"cannot read {self._archive}: {error.strerror}") from error
        self.position += len(data)
        if self.position > self._limit:
            raise DisentangleError(f"{self._archive} unpacks to more than {MAX_RATIO} times its size")
        if kept := len(data.rstrip(b"\0")):
            self.zeros_from = self.position - len(data) + kept
        return data


def _members(archive: Path, stream: _Stream) -> Iterator[tarfile.TarInfo]:
    """The headers; whoever takes one reads its content from the stream before the next."""
    n_members = end = 0
    try:
        # Names that are no UTF-8 come out with surrogates, which are not printable.
        tar = tarfile.TarFile(fileobj=cast(IO[bytes], stream), encoding="utf-8", errors="surrogateescape")
        while (member := tar.next()) is not None:
            n_members += 1
            yield member
            end = stream.position
    except (DisentangleError, MemoryError):
        raise
    except Exception as error:  # tarfile trusts a header's numbers and texts: ValueError, RecursionError ...
        _damaged(archive, error)
    # tarfile takes a damaged header for the end. Reading on lets gzip compare its checksum, too.
    while stream.take(_BLOCK):
        pass
    if stream.zeros_from > end:
        _damaged(archive, "a header is damaged, or something follows the end")
    if stream.position < end + tarfile.BLOCKSIZE:
        _damaged(archive, "it ends early")
    if n_members == 0:
        _damaged(archive, "it is empty")


def _target(archive: Path, member: tarfile.TarInfo, out: Path, name: str) -> Path:
    """Where a member belongs in `out`."""
    # The path drops "." and doubled slashes.
    parts = PurePosixPath(member.name).parts
    if len(member.name) > _MAX_NAME or not member.name.isprintable() or "\\" in member.name:
        _refuse(archive, member, f"a name of up to {_MAX_NAME} printable characters without backslash")
    if member.issparse() or not (member.isdir() or member.type in (tarfile.REGTYPE, tarfile.AREGTYPE)):
        _refuse(archive, member, f"a plain file or folder, found {_KINDS.get(member.type, 'another kind')}")
    if parts[:1] == (_PACKED_IN,):
        parts = parts[1:]
    inside = parts[:1] == (name,) and (len(parts) > 1 or member.isdir())
    above = not parts and member.isdir()
    if ".." in parts or not (inside or above):
        _refuse(archive, member, f"something in {_PACKED_IN}/{name} or {name}")
    return out.joinpath(*parts[1:])


def _extract(archive: Path, stream: _Stream, member: tarfile.TarInfo, target: Path) -> None:
    """Make a folder or a new file; permissions, owners and times are those of any new one."""
    try:
        if member.isdir():
            target.mkdir(parents=True, exist_ok=True)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        space.check(target.parent, member.size, f"{_shown(member)} needs {decimal(member.size)}")
        with target.open("xb") as file:
            left = member.size
            while left > 0:
                if not (block := stream.take(min(left, _BLOCK))):
                    _damaged(archive, f"it ends within {_shown(member)}")
                file.write(block)
                left -= len(block)
    except (FileExistsError, NotADirectoryError):
        _refuse(archive, member, "every file once, and none where a folder is")
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL):
            _refuse(archive, member, f"a name that {target.parent} takes")
        raise DisentangleError(f"cannot write {target}: {error.strerror}") from error


def _shown(member: tarfile.TarInfo) -> str:
    """A member's name, short and printable."""
    return repr(member.name if len(member.name) <= _SHOWN else f"{member.name[:_SHOWN]}...")


def _refuse(archive: Path, member: tarfile.TarInfo, expected: str) -> NoReturn:
    raise DisentangleError(f"{archive} is not unpacked because of {_shown(member)}: expected {expected}")


def _damaged(archive: Path, reason: object) -> NoReturn:
    text = str(reason) or type(reason).__name__
    raise DisentangleError(f"{archive} is damaged or no .tar.gz archive: {excerpt(text.splitlines()[0])}")
