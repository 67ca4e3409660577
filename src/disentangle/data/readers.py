"""Files that people have their data in, read as a stream of blocks of instances."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from ..errors import DisentangleError
from ..storage import files
from ..storage.matrices import LARGEST_NORM, load_any, load_labels, locate
from ..storage.npz import MAX_SIZE

# A block ends at either; together they bound what is held at a time.
_BLOCK_LINES = 8192
_BLOCK_CHARACTERS = 1 << 24
MAX_LINE = 1 << 26
_STARTS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
# What files start with that are no text before they are unpacked; some of it would pass for UTF-8.
_PACKED = {
    "gzip": rb"\x1f\x8b",
    "bzip2": rb"BZh[1-9]1AY&SY",
    "xz": rb"\xfd7zXZ\x00",
    "zip": rb"PK\x03\x04",
    "zstd": rb"\x28\xb5\x2f\xfd",
}
MAX_ID = MAX_SIZE - 1

# Ten digits hold every id that is in range.
_ID = "[0-9]{1,10}"
_IDS = re.compile(f"{_ID}(?:,{_ID})*")
# Each text must match in one way only: several would multiply from feature to feature when a line fails.
_NUMBER = r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_SVMLIGHT = re.compile(rf"(?:({_IDS.pattern})(?=[ \t]|$))?[ \t]*((?:{_ID}:{_NUMBER}(?:[ \t]+|$))*)")
# ASCII's white space, as C's isspace has it. One by one, so that names differ in `_` as they did before.
_PARTING = re.compile("[ \t\v\f\r]")
_HEADER = re.compile(rf"({_ID})[ \t]+({_ID})[ \t]+({_ID})[ \t]*")


@dataclass(frozen=True)
class Block:
    """Some instances in a row.

    Attributes
    ----------
    labels : list of list of str, or csr_matrix
        The names of each instance's labels, or a 0/1 matrix whose columns are label ids.
    content : list of str, or csr_matrix
        The text of each instance, or its features.
    n_features, n_labels : int or None
        How many there are in all, where the files say so.
    """

    labels: list[list[str]] | sp.csr_matrix
    content: list[str] | sp.csr_matrix
    n_features: int | None = None
    n_labels: int | None = None

    @property
    def n_instances(self) -> int:
        return len(self.content) if isinstance(self.content, list) else self.content.shape[0]


class Line(NamedTuple):
    """A line of a file, to be pointed at."""

    path: Path
    number: int
    text: str

    def wrong(self, expected: str, found: str | None = None) -> DisentangleError:
        """The error to raise for it."""
        found = self.text if found is None else found
        shown = repr(found if len(found) <= 60 else f"{found[:57]}...")
        return DisentangleError(f"{self.path}, line {self.number}: expected {expected}, found {shown}")


def read_lines(path: Path) -> Iterator[Line]:
    """Lines of a UTF-8 text without their ends, LF or CRLF, and without a byte order mark.

    Raises
    ------
    DisentangleError
        If the file cannot be read, is not UTF-8, or has a line of 64 MiB.
    """
    with files.opened(path, "a file of text") as file:
        number = 0
        while raw := file.readline(MAX_LINE):
            number += 1
            if len(raw) == MAX_LINE:
                raise DisentangleError(f"{path}, line {number}: expected less than {MAX_LINE:,} bytes")
            if number == 1:
                raw = raw.removeprefix(b"\xef\xbb\xbf")
                if packed := [kind for kind, start in _PACKED.items() if re.match(start, raw)]:
                    raise DisentangleError(
                        f"{path}, line 1: expected UTF-8 text, found packed bytes ({packed[0]}?)"
                    )
            raw = raw.removesuffix(b"\n").removesuffix(b"\r")
            try:
                text = raw.decode()
            except UnicodeDecodeError as error:
                guess = "".join(f" ({what}?)" for start, what in _STARTS.items() if raw.startswith(start))
                raise DisentangleError(
                    f"{path}, line {number}: expected UTF-8 text, found the byte "
                    f"0x{raw[error.start]:02x} at position {error.start + 1}{guess}"
                ) from error
            yield Line(path, number, text)


def _blocks(lines: Iterator[Line]) -> Iterator[list[Line]]:
    block: list[Line] = []
    n_characters = 0
    for line in lines:
        block.append(line)
        n_characters += len(line.text)
        if len(block) == _BLOCK_LINES or n_characters >= _BLOCK_CHARACTERS:
            yield block
            block, n_characters = [], 0
    if block:
        yield block


def read_svmlight(path: Path) -> Iterator[Block]:
    """Bag-of-words files of the Extreme Classification Repository, and svmlight files with several labels.

    A line is `label,label feature:value feature:value ...`, with ids from 0; labels or features may be
    missing. The first line may be a header: the numbers of instances, features and labels. Only then may
    a line be empty, because only then can it be told from a stray one.

    Raises
    ------
    DisentangleError
        As `read_lines`, and if a line is not of this form, an id is out of range, a feature is given
        twice, a value is too large for float32, or the header has the wrong number of instances.
    """
    lines = read_lines(path)
    first = next(lines, None)
    if first is None:
        return
    header = _HEADER.fullmatch(first.text)
    sizes = [int(n) for n in header.groups()] if header else None
    if sizes is None:
        lines = _chained(first, lines)
    elif max(sizes) > MAX_ID + 1:
        raise first.wrong(f"numbers up to {MAX_ID + 1}")
    n_instances, n_features, n_labels = sizes or (None, None, None)
    n = 0
    for block in _blocks(lines):
        n += len(block)
        if n_instances is not None and n > n_instances:
            raise block[n_instances - n].wrong(f"the end after the {n_instances} instances of the header")
        yield _parse_svmlight(block, n_features, n_labels)
    if n_instances is not None and n != n_instances:
        raise DisentangleError(f"{path} must have {n_instances} instances, as its header says, got {n}")


def _chained(first: Line, rest: Iterator[Line]) -> Iterator[Line]:
    yield first
    yield from rest


def _parse_svmlight(block: list[Line], n_features: int | None, n_labels: int | None) -> Block:
    matches = []
    for line in block:
        match = _SVMLIGHT.fullmatch(line.text)
        if match is None or (not line.text.strip() and n_features is None):
            raise line.wrong("label,label feature:value feature:value ...", _first_wrong(line.text))
        matches.append(match)
    labels = _ids_matrix(block, [match[1] or "" for match in matches], n_labels)
    features = [match[2] for match in matches]
    lengths = [text.count(":") for text in features]
    # The pattern has let nothing but numbers through; numpy would make a number of blanks alone.
    numbers = " ".join(features).replace(":", " ").strip()
    pairs = np.fromstring(numbers, sep=" ").reshape(-1, 2)
    with np.errstate(over="ignore"):
        values = pairs[:, 1].astype(np.float32)
    indptr = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    ids = pairs[:, 0]
    highest = MAX_ID if n_features is None else n_features - 1
    if (wrong := ids > highest).any():
        row, entry = locate(indptr, wrong)
        raise block[row].wrong(f"features from 0 to {highest}", f"{ids[entry]:.0f}")
    if (wrong := ~(np.abs(values) <= LARGEST_NORM)).any():
        row, entry = locate(indptr, wrong)
        said = features[row].split()[entry - indptr[row]].partition(":")[2]
        raise block[row].wrong(f"values of up to {LARGEST_NORM:.3g}", said)
    matrix = sp.csr_matrix((values, ids.astype(np.int32), indptr), shape=(len(block), int(highest) + 1))
    matrix.sort_indices()
    rows = np.repeat(np.arange(len(block)), lengths)
    twice = np.flatnonzero((np.diff(matrix.indices) == 0) & (np.diff(rows) == 0))
    if len(twice):
        raise block[rows[twice[0]]].wrong("each feature once", str(matrix.indices[twice[0]]))
    return Block(labels, matrix, n_features, n_labels)


def _first_wrong(text: str) -> str:
    """The first part of a line that has no place in the format, or the whole line."""
    labels, *features = text.split() or [""]
    if not (_IDS.fullmatch(labels) or ":" in labels):
        return labels
    pair = re.compile(f"{_ID}:{_NUMBER}")
    return next((part for part in features if not pair.fullmatch(part)), text)


def _ids_matrix(block: list[Line], ids: list[str], n_labels: int | None) -> sp.csr_matrix:
    """Label ids, `3,1,4` for each line, as a 0/1 matrix; those given twice count once."""
    highest = MAX_ID if n_labels is None else n_labels - 1
    rows = [[int(i) for i in text.split(",")] if text else [] for text in ids]
    for line, row in zip(block, rows, strict=True):
        if row and max(row) > highest:
            raise line.wrong(f"labels from 0 to {highest}", str(max(row)))
    return binary_rows(rows, highest + 1)


def binary_rows(rows: list[list[int]], n_columns: int) -> sp.csr_matrix:
    """A 0/1 matrix, float32, from the columns of each row; those given twice count once."""
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows], dtype=np.int64)])
    indices = np.array([i for row in rows for i in row], dtype=np.int32)
    matrix = sp.csr_matrix((np.ones(len(indices), np.float32), indices, indptr), shape=(len(rows), n_columns))
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def read_text_and_labels(texts: Path, labels: Path) -> Iterator[Block]:
    """AttentionXML's raw text: a file of texts and one of label names between blanks, a line an instance.

    Blanks are ASCII's, tab and form feed among them; a no-break space is part of a name.

    Raises
    ------
    DisentangleError
        As `read_lines`, and if the files differ in length.
    """
    for pairs in _pairs(texts, labels):
        split = [[name for name in _PARTING.split(labels) if name] for _, labels in pairs]
        yield Block(split, [text for text, _ in pairs])


def one_word(name: str) -> str:
    """A label name as it stands in AttentionXML's files: `_` for whatever would part it."""
    return _PARTING.sub("_", name)


def _pairs(texts: Path, labels: Path) -> Iterator[list[tuple[str, str]]]:
    other = read_lines(labels)
    for block in _blocks(read_lines(texts)):
        pairs = []
        for line in block:
            if (answer := next(other, None)) is None:
                raise line.wrong(f"the end, as {labels} has {line.number - 1} lines")
            pairs.append((line.text, answer.text))
        yield pairs
    if (answer := next(other, None)) is not None:
        raise answer.wrong(f"the end, as {texts} has {answer.number - 1} lines")


def read_pecos(path: Path, n_labels: int) -> Iterator[Block]:
    """PECOS's text format: label ids from 0 between commas, a tab, the text; a line an instance.

    Raises
    ------
    DisentangleError
        As `read_lines`, and if a line is not of this form or an id is not below `n_labels`.
    """
    for block in _blocks(read_lines(path)):
        parts = []
        for line in block:
            ids, tab, text = line.text.partition("\t")
            if not tab or not (ids == "" or _IDS.fullmatch(ids)):
                raise line.wrong("label,label<tab>text")
            parts.append((ids, text))
        yield Block(_ids_matrix(block, [ids for ids, _ in parts], n_labels), [text for _, text in parts])


def read_jsonl(path: Path) -> Iterator[Block]:
    """JSON lines: an object with "text" and a list of "labels", names or numbers that serve as names.

    Raises
    ------
    DisentangleError
        As `read_lines`, and if a line is not of this form.
    """
    for block in _blocks(read_lines(path)):
        read = [_parse_json(line) for line in block]
        yield Block([labels for labels, _ in read], [text for _, text in read])


def read_texts(path: Path, is_json: bool) -> Iterator[list[str]]:
    """Texts without labels, a line each: the line itself, or an object with a "text".

    Raises
    ------
    DisentangleError
        As `read_lines`, and if a line should be such an object and is not.
    """
    for block in _blocks(read_lines(path)):
        if is_json:
            yield [_object_with_text(line, 'an object with a "text"')["text"] for line in block]
        else:
            yield [line.text for line in block]


def _object_with_text(line: Line, expected: str) -> dict[str, Any]:
    try:
        value = json.loads(line.text)
    except (ValueError, RecursionError):
        raise line.wrong(expected) from None
    if not isinstance(value, dict) or not isinstance(value.get("text"), str):
        raise line.wrong(expected)
    return value


def _parse_json(line: Line) -> tuple[list[str], str]:
    expected = 'an object {"text": "...", "labels": ["...", ...]}'
    value = _object_with_text(line, expected)
    labels = value.get("labels")
    if not isinstance(labels, list) or any(type(label) not in (str, int) for label in labels):
        raise line.wrong(expected)
    names = [str(label) for label in labels]
    # They become lines of a UTF-8 file; a lone half of a surrogate pair cannot.
    if not all(names) or re.search("[\n\r\ud800-\udfff]", " ".join(names)):
        raise line.wrong("label names that make a line each", str(names))
    return names, value["text"]


def read_matrices(features: Path, labels: Path) -> Iterator[Block]:
    """Features and labels as matrices: `scipy.sparse.save_npz`'s or `numpy.save`'s, cast to float32.

    Raises
    ------
    DisentangleError
        As `matrices.load_sparse` and `matrices.load_labels`, and if their rows disagree.
    """
    X, Y = load_any(features), load_labels(labels, load_any)
    if X.shape[0] != Y.shape[0]:
        raise DisentangleError(
            f"{labels} must have as many instances as {features.name} ({X.shape[0]}), got {Y.shape[0]}"
        )
    yield Block(Y, X, X.shape[1], Y.shape[1])


@dataclass(frozen=True)
class Format:
    """A way to keep a dataset.

    Attributes
    ----------
    read : callable
        Takes the files of one part, yields its blocks.
    files : tuple of str
        What they are, in order.
    has_text, has_names : bool
        Whether instances are text, else features; whether labels are names, else ids.
    needs_names : bool
        Whether `read` asks for the number of labels, which a file of their names tells.
    as_written : callable
        Takes a label's name and returns it as the files have it.
    """

    read: Callable[..., Iterator[Block]]
    files: tuple[str, ...]
    has_text: bool
    has_names: bool
    needs_names: bool = False
    as_written: Callable[[str], str] = str


FORMATS = {
    "svmlight": Format(read_svmlight, ("FILE",), has_text=False, has_names=False),
    "attentionxml": Format(
        read_text_and_labels, ("TEXTS", "LABELS"), has_text=True, has_names=True, as_written=one_word
    ),
    "pecos": Format(read_pecos, ("FILE",), has_text=True, has_names=False, needs_names=True),
    "jsonl": Format(read_jsonl, ("FILE",), has_text=True, has_names=True),
    "npz": Format(read_matrices, ("FEATURES", "LABELS"), has_text=False, has_names=False),
}
