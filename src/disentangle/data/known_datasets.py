"""Datasets known by name: where they come from, their published sizes, and the settings that suit them."""

from __future__ import annotations

import errno
import json
import logging
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import DisentangleError
from ..params import ARCHIVE
from ..storage import atomic, files
from . import components, datasets, urls

logger = logging.getLogger(__name__)

SOURCE_FILE = "source.json"
# Of the small texts beside a dataset.
MOST_BYTES = 1 << 20
# How an operating system refuses offsets that a damaged matrix makes up; the rest has to do with the disk.
_FILES_FAULT = (None, errno.EINVAL, errno.EOVERFLOW)


@dataclass(frozen=True)
class Entry:
    """What is known of a dataset.

    Attributes
    ----------
    published : tuple of dict
        Its numbers of instances and labels; where sources disagree, one for each.
    settings : dict
        Parameters in which it differs from the defaults, by the names that `params` has for them.
    """

    published: tuple[dict[str, Any], ...]
    settings: dict[str, Any]


@cache
def entries() -> dict[str, Entry]:
    """The files of the folder `settings`, by name of the dataset."""
    folder = Path(__file__).with_name("settings")
    read = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")}
    return {
        name: Entry(tuple(entry["published"]), entry["settings"])
        for name, entry in sorted(read.items(), key=lambda item: item[1]["published"][0]["n_labels"])
    }


def settings_of(name: str) -> dict[str, Any]:
    """Parameters in which a dataset differs from the defaults; none for one that is not known."""
    return entries()[name].settings if name in entries() else {}


def is_missing(data_dir: Path, name: str) -> bool:
    """Whether a dataset is not in `data_dir` but can be fetched."""
    return name in entries() and not (data_dir / name / "Y.trn.npz").exists()


def folder_of(data_dir: Path, name: str, mirror: str = ARCHIVE) -> Path:
    """The folder of a dataset; a known one that is not there is fetched.

    Raises
    ------
    DisentangleError
        As `get` and `datasets.dataset_folder`.
    """
    datasets.check_name(data_dir, name)
    if is_missing(data_dir, name):
        get(data_dir, name, mirror)
    return datasets.dataset_folder(data_dir, name)


def get(data_dir: Path, name: str, mirror: str = ARCHIVE, any_size: bool = False) -> Path:
    """Fetch a known dataset and put it into `data_dir`, unless it is there.

    The archive's sha256 is kept in `NAME.tar.gz.sha256`, in the format of sha256sum, and every later
    download must have the same.

    Parameters
    ----------
    data_dir : Path
    name : str
    mirror : str
        Where the archive lies: a URL or a folder. A user name, a password and a query, such as a token,
        are sent, but neither shown nor kept.
    any_size : bool
        Accept other numbers of instances and labels than were published.

    Returns
    -------
    Path
        The dataset's folder.

    Raises
    ------
    DisentangleError
        If the name is not known, the archive cannot be fetched, is damaged, hostile or another one than
        before, lacks a matrix, is of another size than published, holds a matrix that no job could use, or
        cannot be written. Unless the disk or the memory is to blame, the next call fetches it anew.
    """
    if name not in entries():
        raise DisentangleError(f"no dataset {name!r} to fetch: known are {', '.join(entries())}")
    folder = data_dir / name
    if is_missing(data_dir, name):
        if folder.exists():
            raise DisentangleError(f"{folder} is in the way: expected a dataset or nothing, found neither")
        with atomic.claim(folder) as temporary:
            if not folder.exists():  # another run may have been faster
                _install(folder, temporary, mirror, any_size)
    return folder


def _install(folder: Path, temporary: Path, mirror: str, any_size: bool) -> None:
    from .archive import unpack

    entry = entries()[folder.name]
    name = f"{folder.name}.tar.gz"
    archive, source = fetch_file(folder, name, mirror)
    digest = files.sha256(archive)
    record = folder.with_name(f"{name}.sha256")
    try:
        _verify(digest, record, source)
        temporary.mkdir()
        logger.info("unpacking %s", archive)
        unpack(archive, temporary, folder.name)
        sizes = datasets.sizes_in(temporary)
        _compare(sizes, entry, source, any_size)
        # What fails a job later fails here, where the archive can be forgotten.
        _check_files(temporary)
        datasets.load_parts(temporary)
    except DisentangleError as error:
        if is_files_fault(error):
            forget(archive, mirror)
            text = str(error).replace(str(temporary), source).replace(str(archive), source)
            raise DisentangleError(text) from error
        raise DisentangleError(str(error).replace(str(temporary), str(folder))) from error
    except OSError as error:
        raise files.unwritten(error, folder) from error
    origin = {"source": source, "sha256": digest, "size": archive.stat().st_size} | sizes
    atomic.write_json(temporary / SOURCE_FILE, origin | {"files": datasets.digest(temporary)})
    with atomic.replacing(record) as new:
        new.write_text(f"{digest}  {name}\n", encoding="utf-8")
    atomic.publish(temporary, folder)
    forget(archive, mirror)
    logger.info("%s is in %s", folder.name, folder)


def is_files_fault(error: DisentangleError) -> bool:
    """Whether another attempt with the same bytes would end alike; not if disk or memory were short."""
    cause = error.__cause__
    if isinstance(cause, OSError):
        return cause.errno in _FILES_FAULT
    return not isinstance(cause, MemoryError)


def _check_files(folder: Path) -> None:
    """Refuse folders in place of the files that a dataset may have besides its matrices."""
    for file in (SOURCE_FILE, components.LABEL_NAMES, components.URIS):
        if (folder / file).is_dir():
            raise DisentangleError(f"{folder} must hold {file} as a file or not at all, found a folder")


def fetch_file(folder: Path, file: str, mirror: str) -> tuple[Path, str]:
    """The archive on disk, and where it is from, without secrets."""
    if not urls.is_url(mirror):
        archive = Path(mirror) / file
        if not archive.is_file():  # a pipe would be waited for
            raise DisentangleError(
                f"the mirror {mirror} must be a URL or a folder with {archive.name}, found no such file"
            )
        return archive, str(archive)
    from .download import fetch

    url = urls.join(mirror, file)
    archive = folder.with_name(f".{file}")
    # One that an interrupted call left is as good as a new one, if it is from the same place.
    origin = archive.with_name(f".{file}.url")
    here = archive.is_file() and origin.is_file()
    if not (here and origin.read_text(encoding="utf-8", errors="replace") == urls.identity(url)):
        # First, so that an archive that is whole is never fetched again.
        origin.unlink(missing_ok=True)
        archive.unlink(missing_ok=True)
        with atomic.replacing(origin) as temporary:
            temporary.write_text(urls.identity(url), encoding="utf-8")
        fetch(url, archive)
    return archive, urls.shown(url)


def forget(archive: Path, mirror: str) -> None:
    """Remove an archive that was downloaded; a user's own stays."""
    if urls.is_url(mirror):
        for path in (archive, archive.with_name(f"{archive.name}.url")):
            path.unlink(missing_ok=True)


def _verify(digest: str, record: Path, source: str) -> None:
    """Compare the archive's sha256 with what was recorded for the first that could be used."""
    if not record.exists():
        return
    expected = files.read(record, MOST_BYTES).decode(errors="replace").partition(" ")[0]
    if digest != expected:
        raise DisentangleError(
            f"{source} must have the sha256 that {record} recorded at first, {expected}, got {digest}: "
            "remove that file if the archive has changed for good"
        )


def differs(sizes: dict[str, int], entry: Entry) -> str | None:
    """How sizes differ from all that were published, in words, or None."""
    if any(all(sizes[size] == one[size] for size in datasets.SIZES) for one in entry.published):
        return None
    expected = " or ".join(
        f"{datasets.in_words({size: one[size] for size in datasets.SIZES})} ({one['source']})"
        for one in entry.published
    )
    return f"expected {expected}, got {datasets.in_words(sizes)}"


def _compare(sizes: dict[str, int], entry: Entry, source: str, any_size: bool) -> None:
    if difference := differs(sizes, entry):
        if not any_size:
            raise DisentangleError(
                f"{source} has other sizes than published: {difference} (--any-size takes it)"
            )
        logger.warning("%s has other sizes than published: %s", source, difference)
