"""Annif's corpora: a TSV, CSV or JSON Lines file, or a folder of full texts, told apart as Annif does.

Labels are the URIs or the names that a corpus has, URIs without angle brackets.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import DisentangleError
from ..columns import USUAL, Columns
from ..lines import Line, read_lines, read_whole
from .blocks import Block, checked_names, of_documents
from .json_lines import joined_text, parse_object
from .tables import TEXT, documents, read_rows

logger = logging.getLogger(__name__)

Document = tuple[list[str], str]
# Of a folder; beside a text lies a file of its subjects.
_TEXTS, _SUBJECTS = (".txt", ".json"), (".tsv", ".key")


def read_corpus(path: Path, columns: Columns = USUAL) -> Iterator[Block]:
    """A corpus: a folder, or by its name CSV, JSON Lines or else TSV, packed or not.

    Parameters
    ----------
    path : Path
    columns : Columns
        What `text` names, in CSV and JSON: the text itself, or metadata.

    Raises
    ------
    DisentangleError
        As `read_lines`, and if a file is not of its format.
    """
    text = columns.text or TEXT
    if os.path.isdir(path):  # False also for a name too long for a file system
        return of_documents(_of_folder(path, text))
    name = _unpacked(path)
    if name.endswith(".csv"):
        rows = read_rows(path, (*text, "subject_uris"))
        return of_documents(documents(rows, text, ("subject_uris",), _uris))
    of_line = _of_json if name.endswith(".jsonl") else _of_tsv
    return of_documents(of_line(line, text) for line in read_lines(path) if line.text.strip())


def has_columns(path: Path) -> bool:
    """Whether texts of a corpus may have several parts with names: those of lines of TSV have none."""
    if os.path.isdir(path):
        return any(one.suffix == ".json" for one in files_of(path))
    return _unpacked(path).endswith((".csv", ".jsonl"))


def _unpacked(path: Path) -> str:
    return path.name.lower().removesuffix(".gz").removesuffix(".bz2").removesuffix(".xz")


def files_of(folder: Path) -> list[Path]:
    """The files of a folder that make a corpus of full texts, in the order of their names.

    Raises
    ------
    DisentangleError
        If there is no text among them, or the folder cannot be read.
    """
    try:
        found = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise DisentangleError(f"cannot read {folder}: {error.strerror}") from error
    if not any(path.suffix in _TEXTS for path in found):
        raise DisentangleError(f"{folder} must hold texts (NAME.txt or NAME.json), found none")
    return [path for path in found if path.suffix in (*_TEXTS, *_SUBJECTS)]


def check_folder(folder: Path) -> None:
    """Say how many texts of a folder are left out, as they have no file of subjects.

    Raises
    ------
    DisentangleError
        As `files_of`.
    """
    left_out = sum(not own for path, own in _texts_of(folder) if path.suffix == ".txt")
    if left_out:
        logger.warning("note: %s: %d texts without a file of subjects are left out", folder, left_out)


def plain_uri(uri: str) -> str:
    """A URI without the angle brackets around it."""
    return uri[1:-1] if uri.startswith("<") and uri.endswith(">") else uri


def _uris(text: str) -> list[str]:
    return [plain_uri(uri) for uri in text.split()]


def _of_tsv(line: Line, _: tuple[str, ...]) -> Document:
    text, tab, uris = line.text.partition("\t")
    if not tab:
        raise line.wrong("text<tab><URI> <URI> ...")
    return checked_names(line, _uris(uris)), text


def _of_json(line: Line, text: tuple[str, ...]) -> Document:
    expected = 'an object {"text": "...", "subjects": [{"uri": "..."} or {"label": "..."}, ...]}'
    value = parse_object(line, expected)
    metadata, subjects = value.get("metadata"), value.get("subjects", [])
    if not isinstance(metadata, (dict, type(None))) or not isinstance(subjects, list):
        raise line.wrong(expected)
    names = [_subject(one) for one in subjects]
    if not all(isinstance(name, str) for name in names):
        raise line.wrong(expected)
    # Where there are metadata, the text itself may be missing.
    texts = {**(metadata or {}), "text": value.get("text", None if metadata is None else "")}
    return checked_names(line, names), joined_text(line, texts, text, expected)


def _subject(said: Any) -> Any:
    match said:
        case {"uri": str(uri)}:
            return plain_uri(uri)
        case {"uri": _}:
            return None
        case {"label": name}:
            return name
    return None


def _texts_of(folder: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Each text of a folder, with its files of subjects, that which counts first."""
    files = files_of(folder)
    subjects = {path for path in files if path.suffix in _SUBJECTS}
    for path in (path for ending in _TEXTS for path in files if path.suffix == ending):
        yield path, [one for ending in _SUBJECTS if (one := path.with_suffix(ending)) in subjects]


def _of_folder(folder: Path, text: tuple[str, ...]) -> Iterator[Document]:
    for path, subjects in _texts_of(folder):
        if path.suffix == ".json":
            yield _of_json(Line(path, 1, read_whole(path)), text)
        elif subjects:
            yield [name for line in read_lines(subjects[0]) for name in _of_line(line)], read_whole(path)


def _of_line(line: Line) -> list[str]:
    """The label of a line `<URI>`, `<URI>\tname` or `name`; whatever follows is no matter."""
    first = next((cell for cell in map(str.strip, line.text.split("\t")) if cell), None)
    return checked_names(line, [] if first is None else [plain_uri(first)])
