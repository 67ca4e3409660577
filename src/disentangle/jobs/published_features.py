"""Features that the paper's authors have published, as a feature set: fetched, or taken from a folder."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..data import datasets, urls
from ..data.features import DENSE, EMBEDDING, Block, FeatureSet
from ..data.known_datasets import MOST_BYTES, SOURCE_FILE, fetch_file, forget, is_files_fault
from ..errors import DisentangleError
from ..params import X_TRANSFORMER
from ..storage import atomic, files, matrices
from .encode import tfidf_block

logger = logging.getLogger(__name__)

# Of the feature set.
NAME = "x-transformer"
FILES = ("X.trn.npz", "X.tst.npz")
_ENDINGS = (".npz", ".npy")


def get(data_dir: Path, name: str, place: str | None = None, names: tuple[str, str] = FILES) -> Path:
    """Make X-Transformer's features a feature set of a dataset that is there, unless they are.

    A sparse matrix (.npz) is taken as it is. A dense one (.npy) becomes a block beside the dataset's tf-idf,
    with rows of length 1, as PECOS's XR-Transformer puts them together.

    Parameters
    ----------
    data_dir : Path
    name : str
        The dataset's.
    place : str or None
        URL or folder that holds the files; None for the dataset's folder where the authors put them. Secrets
        in a URL are sent, but neither shown nor kept.
    names : tuple of str
        Of the files of the training and of the test part.

    Returns
    -------
    Path
        The feature set's folder.

    Raises
    ------
    DisentangleError
        If a file cannot be fetched, is damaged, another one than before, no matrix, or not of the dataset's
        instances; or if it cannot be written. Unless the disk or the memory is to blame, the next call
        fetches it anew.
    """
    _check_names(names)
    folder = datasets.dataset_folder(data_dir, name) / NAME
    sizes = datasets.sizes_in(folder.parent)
    with atomic.claim(folder) as temporary:
        if not folder.exists():
            place = place or urls.join(X_TRANSFORMER, name)
            fetched = [fetch_file(folder, file, place) for file in names]
            _install(folder, temporary, sizes, dict(fetched))
            for path, _ in fetched:
                forget(path, place)
            logger.info("%s is in %s", NAME, folder)
        elif not (folder / SOURCE_FILE).is_file():
            raise DisentangleError(
                f"{folder} is in the way: expected {NAME} features or nothing, found others"
            )
    return folder


def _check_names(names: tuple[str, str]) -> None:
    """Refuse names of files that are none, or not of one kind, or the same."""
    endings = {Path(name).suffix for name in names}
    plain = all(Path(name).name == name and not name.startswith(".") for name in names)
    if not plain or len(endings) > 1 or not endings <= {*_ENDINGS} or names[0] == names[1]:
        raise DisentangleError(
            f"--files must be two names that both end in {' or in '.join(_ENDINGS)}, got {' '.join(names)}"
        )


def _install(folder: Path, temporary: Path, sizes: dict[str, int], fetched: dict[Path, str]) -> None:
    """Make the feature set of files, of which it is known where they are from."""
    record, paths, sources = folder.with_name(f"{NAME}.sha256"), [*fetched], [*fetched.values()]
    digests = [files.sha256(path) for path in paths]
    said = "".join(f"{sha}  {part}\n" for sha, part in zip(digests, datasets.PARTS, strict=True))
    try:
        if record.exists() and files.read(record, MOST_BYTES).decode(errors="replace") != said:
            raise DisentangleError(
                f"{' and '.join(sources)} must have the sha256 that {record} recorded at first, found "
                "others: remove that file if they have changed for good"
            )
        temporary.mkdir()
        _check(_features(temporary, folder.parent, paths), sizes, sources)
    except DisentangleError as error:
        text = str(error)
        for path, source in zip(_paths(temporary, paths) + paths, 2 * sources, strict=True):
            text = text.replace(str(path), source)
        if is_files_fault(error):
            for path, source in fetched.items():
                forget(path, source)
        raise DisentangleError(text.replace(str(temporary), str(folder))) from error
    except OSError as error:
        raise files.unwritten(error, folder) from error
    origin: dict[str, Any] = {"source": sources, "sha256": digests}
    atomic.write_json(temporary / SOURCE_FILE, origin)
    with atomic.replacing(record) as new:
        new.write_text(said, encoding="utf-8")
    atomic.publish(temporary, folder)


def _paths(out: Path, paths: list[Path]) -> list[Path]:
    """Where the files go in a feature set's folder."""
    stem = EMBEDDING if paths[0].suffix == ".npy" else "X"
    return [out / f"{stem}.{part}{path.suffix}" for part, path in zip(datasets.PARTS, paths, strict=True)]


def _features(out: Path, dataset: Path, paths: list[Path]) -> FeatureSet:
    """The feature set in a folder that is made for it."""
    copies = _paths(out, paths)
    for path, copy in zip(paths, copies, strict=True):
        shutil.copyfile(path, copy)
    if paths[0].suffix == ".npz":
        return FeatureSet(out)
    width = matrices.read_dense_shape(copies[0])[1]
    tfidf = replace(tfidf_block(out, dataset), is_normalised=False)
    made = FeatureSet(out, (tfidf, Block(EMBEDDING, DENSE, width, True, {"method": NAME})))
    made.save()
    return made


def _check(made: FeatureSet, sizes: dict[str, int], sources: list[str]) -> None:
    """Raise DisentangleError unless the features are those of the dataset's instances."""
    shapes = [made.load(part).shape for part in datasets.PARTS]
    for shape, n, source in zip(shapes, list(sizes.values())[:2], sources, strict=True):
        if shape[0] != n:
            raise DisentangleError(f"{source} must have {n:,} rows, one an instance, got {shape[0]:,}")
        if shape[1] != shapes[0][1]:
            raise DisentangleError(f"{source} must have as many columns as the other, got {shape[1]:,}")
