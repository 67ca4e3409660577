"""Unpack a dataset's .tar.gz archive, which anybody may have made."""

from __future__ import annotations

import errno
import gzip
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath

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
_BLOCK = 1 << 20
_DAMAGED = (tarfile.TarError, zlib.error, gzip.BadGzipFile, EOFError, ValueError, RecursionError)


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
        _check_size(archive)
        # Names that are no UTF-8 come out with surrogates, which are not printable.
        with tarfile.open(archive, "r:gz", encoding="utf-8", errors="surrogateescape") as tar:
            for n_members, member in enumerate(tar, 1):
                if n_members > MAX_MEMBERS:
                    raise DisentangleError(f"{archive} holds more than {MAX_MEMBERS} files and folders")
                _extract(archive, tar, member, _target(archive, member, out, name))
    except DisentangleError:
        raise
    except _DAMAGED as error:
        text = excerpt((str(error) or type(error).__name__).splitlines()[0])
        raise DisentangleError(f"{archive} is damaged or no .tar.gz archive: {text}") from None
    except OSError as error:
        raise DisentangleError(f"cannot read {archive}: {error.strerror}") from error


def _check_size(archive: Path) -> None:
    """Read all of it before any of it is believed: its checksum is compared, and how large it becomes."""
    left = MAX_RATIO * archive.stat().st_size + _SLACK
    with gzip.open(archive) as file:
        while block := file.read(_BLOCK):
            left -= len(block)
            if left < 0:
                raise DisentangleError(f"{archive} unpacks to more than {MAX_RATIO} times its size")


def _target(archive: Path, member: tarfile.TarInfo, out: Path, name: str) -> Path:
    """Where a member belongs in `out`."""
    # The path drops "." and doubled slashes.
    parts = PurePosixPath(member.name).parts
    if len(member.name) > _MAX_NAME or not member.name.isprintable() or "\\" in member.name:
        raise _refused(archive, member, f"a name of up to {_MAX_NAME} printable characters without backslash")
    if member.issparse() or not (member.isdir() or member.type in (tarfile.REGTYPE, tarfile.AREGTYPE)):
        raise _refused(archive, member, "a plain file or folder, found another kind")
    if parts[:1] == (_PACKED_IN,):
        parts = parts[1:]
    inside = parts[:1] == (name,) and (len(parts) > 1 or member.isdir())
    above = not parts and member.isdir()
    if ".." in parts or not (inside or above):
        raise _refused(archive, member, f"something in {_PACKED_IN}/{name} or {name}")
    return out.joinpath(*parts[1:])


def _extract(archive: Path, tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    """Make a folder or a new file; permissions, owners and times are those of any new one."""
    try:
        if member.isdir():
            target.mkdir(parents=True, exist_ok=True)
        elif (content := tar.extractfile(member)) is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
            space.check(target.parent, member.size, f"{_shown(member)} needs {decimal(member.size)}")
            with target.open("xb") as file:
                shutil.copyfileobj(content, file, _BLOCK)
    except (FileExistsError, NotADirectoryError):
        raise _refused(archive, member, "every file once, and none where a folder is") from None
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL):
            raise _refused(archive, member, f"a name that {target.parent} takes") from None
        raise DisentangleError(f"cannot write {target}: {error.strerror}") from error


def _shown(member: tarfile.TarInfo) -> str:
    """A member's name, short and printable."""
    return repr(member.name if len(member.name) <= _SHOWN else f"{member.name[:_SHOWN]}...")


def _refused(archive: Path, member: tarfile.TarInfo, expected: str) -> DisentangleError:
    return DisentangleError(f"{archive} is not unpacked because of {_shown(member)}: expected {expected}")
