"""Bundles: one folder with all that it takes to predict, and a card that says what it is.

A bundle is laid out as an evaluation that has its models inside, so that whatever predicts reads both:

    README.md              the card
    stage.json             what it was made from, and the sha256 of each file
    predictor.json         which models there are, and how they predict
    tree-0/ tree-1/        the models, in PECOS's own format, each with the record of its training
    vectorizer.json        the vocabulary, of a model of texts
    features.json encoder/ its blocks of features and their encoder, of a model that has them
    calibration.json       what makes probabilities of scores, of a calibrated model
    output-items.txt       names of labels, a line each, if they have some
    output-uris.txt        URIs of labels, likewise
    LICENSE                the data's licence, if the dataset says it
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..data import components
from ..errors import DisentangleError
from ..evaluate.calibration import CALIBRATION_FILE, Calibration
from ..model.predictor import Predictor
from ..runtime import provenance
from ..storage import atomic, files, places, space
from ..storage.saved import RECORD, Saved, read_record, sealed
from .model_card import card
from .stages import digests

CARD, LICENCE = "README.md", "LICENSE"
_TREE = "tree-{}"
# Of what a record says of a bundle: one of another format is another version's to read.
_FORMAT = 1


def open_bundle(folder: Path) -> tuple[Saved, dict[str, Any]]:
    """A bundle, each of its files with the content that was written, and its record.

    Raises
    ------
    DisentangleError
        If it is none or another version's, or a file is missing, changed or cannot be read.
    """
    if (record := read_record(folder)) is None or "bundle" not in record:
        is_damaged = record is None and os.path.lexists(folder / RECORD)
        found = f"a damaged {RECORD}" if is_damaged else "none"
        raise DisentangleError(f"{folder} must be a bundle, as `bundle` or `save` writes it, found {found}")
    if record["bundle"] != _FORMAT:
        found = repr(record["bundle"])
        raise DisentangleError(f"{folder} must be a bundle of format {_FORMAT}, found {found:.40}")
    saved = Saved(folder, record["files"])
    for name, expected in record["files"].items():
        if files.sha256(folder / name) != expected:
            raise DisentangleError(
                f"{folder / name} is damaged: its content is not what {RECORD} of the bundle tells; make or "
                "copy the bundle again"
            )
    return saved, record


@contextmanager
def making(out: Path, is_replaced: bool) -> Iterator[Path]:
    """An empty folder to fill, which becomes the bundle `out` when it is whole.

    Raises
    ------
    DisentangleError
        If `out` is there, and is no bundle or must not be replaced, or cannot be written.
    """
    if not out.name:
        raise DisentangleError(f"--out must name a folder to make, got {str(out)!r}")
    place = places.real(out)
    try:
        with atomic.claim(place, RECORD):
            if os.path.lexists(place):
                if "bundle" not in (read_record(place) or {}):
                    raise DisentangleError(f"--out must not exist yet or be a bundle, found another: {out}")
                if not is_replaced:
                    raise DisentangleError(
                        f"--out must not exist yet, but for --force, found a bundle: {out}"
                    )
            with atomic.making(place, RECORD) as temporary:
                yield temporary
    except OSError as error:
        raise files.unwritten(error, out) from error


def complete(out: Path, predictor: Predictor, said: dict[str, Any]) -> None:
    """Make a bundle of a folder that has all but the models, which are copied, the card and the record.

    Parameters
    ----------
    out : Path
    predictor : Predictor
        Its models must not have been replaced.
    said : dict
        What the model is, for the card and the record: JSON.

    Raises
    ------
    DisentangleError
        If a model is damaged, or there is no room for it.
    """
    copied = []
    for i, voice in enumerate(predictor.voices):
        place = out / _TREE.format(i)
        copy(voice.saved, tuple(voice.saved.digests or ()), place)
        shutil.copyfile(voice.saved.folder / RECORD, place / RECORD)
        copied.append(replace(voice, saved=Saved(place, voice.saved.digests)))
    Predictor(tuple(copied), predictor.merge, roots=predictor.roots).save(out)
    if (out / CALIBRATION_FILE).exists():
        calibration = Calibration.load(Saved(out))
        said = said | {"calibration": {"threshold": calibration.threshold, "F1": calibration.f1}}
    seal(out, said)


def copy(saved: Saved, names: tuple[str, ...], out: Path) -> None:
    """Copy files that are what was saved; their folders are made."""
    size = sum(_size(saved, name) for name in names)
    out.mkdir(exist_ok=True)
    space.check(out, size, f"a bundle takes {size:,} bytes")
    for name in names:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        with saved.open(name) as file:
            files.copy(file, out / name)


def _size(saved: Saved, name: str) -> int:
    with files.opened(saved.folder / name) as file:
        return os.fstat(file.fileno()).st_size


def seal(out: Path, said: dict[str, Any]) -> None:
    """Write the card, and last the record that vouches for all that lies in the folder."""
    (out / CARD).write_text(card(said), encoding="utf-8")
    found = digests(out)
    record = {
        "bundle": _FORMAT,
        "key": "",
        "inputs": said,
        "results": {},
        "seconds": {},
        "peak_rss_mib": 0,
        "threads": 1,
        "machine": {},
        "versions": provenance.versions(),
        "files": found,
    }
    (out / RECORD).write_text(json.dumps(sealed(record), indent=1) + "\n", encoding="utf-8")


def read_uris(saved: Saved, n_labels: int) -> list[str | None]:
    """URIs of labels, None for a label without one.

    Raises
    ------
    DisentangleError
        If the file is damaged, or has another number of lines than there are labels.
    """
    if components.URIS not in saved:
        return [None] * n_labels
    with saved.pinned(components.URIS) as path:
        return components.read_uris(path, n_labels)
