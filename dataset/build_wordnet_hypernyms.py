"""A benchmark with true senses: WordNet synsets labelled with the lemmas of their hypernyms.

A lemma such as "bank" names several synsets, so it is a label made of several components, one per synset
that gives it. WordNet says which synset gave each label of each instance; what a method separates can thus be
compared with what there is to separate. WordNet's manual page wndb(5) describes the file format.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import logging
import re
import shutil
import tempfile
import textwrap
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from disentangle.cli.arguments import Parser, place
from disentangle.cli.main import run
from disentangle.data import tfidf
from disentangle.errors import DisentangleError
from disentangle.params import TfidfParams
from disentangle.runtime import progress
from disentangle.storage import npz, places

logger = logging.getLogger(__name__)

LEVELS_UP = 3
MIN_INSTANCES = 2
MIN_DF = 2
SPLIT_SEED = 0

# WordNet 3.0 as the Debian package wordnet-base 1:3.0-37 installs it.
SOURCE_SHA256 = {
    "data.noun": "fea17d2f9656611334eac790e5d69e47645fa180c4aa481fb4cd9b3520754ca2",
    "data.verb": "adcf43e35b581e8036d8b5a52d63d9cd3d3b4870b2720d3c03c799df44777bc2",
}

FILES = {
    "README.md": "this text",
    "LICENSE": "the notice at the top of WordNet's own files",
    "stats.json": "the counts above and the sha256 of the two source files",
    "Y.trn.npz": "instances x labels, training part",
    "Y.tst.npz": "instances x labels, test part",
    "tfidf-attnxml/X.trn.npz": "instances x features, training part",
    "tfidf-attnxml/X.tst.npz": "instances x features, test part",
    "output-items.txt": "label names, one a line, in the order of Y's columns",
    "X.trn.txt": "texts of the training part, one a line",
    "X.tst.txt": "texts of the test part, one a line",
    "vectorizer.json": "the terms of X's columns, with the number of training texts that have each",
    "components/Y.trn.npz": "instances x components, training part",
    "components/Y.tst.npz": "instances x components, test part",
    "components/labels.npz": "components x labels, one 1 per row: the label of a component",
    "components/names.txt": "component names, one a line: label, part of speech, definition",
}

_POS_NAMES = {"n": "noun", "v": "verb"}
_NAME_WIDTH = 80

_README = """\
# WordNet hypernyms: labels whose senses are known

Made from {source}.

An instance is a noun or verb synset; its text is the synset's own words and its whole gloss. Its labels are
the lower-cased lemmas of all its hypernym synsets (pointers `@` and `@i`) up to {levels} levels up. Lemmas
with fewer than {min_instances} instances are left out, and so are synsets without labels. Labels are sorted
by name.

A lemma can belong to several synsets. For each label of each instance WordNet says which synsets gave it,
and each (label, synset) pair is a component of the label. So a label is a union of known components, as a
binned label is, but this time because the word really has several senses. Components are sorted by label,
then in WordNet's file order. An instance can reach a label through several synsets; it then has several
components of that label.

Features are tf-idf over words of at least two characters, lower-cased, in at least {min_df} training
instances, with rows of length 1 (scikit-learn's `TfidfVectorizer(min_df={min_df})`, fitted on the training
part, stored as float32). 80 % of the instances are for training, drawn with
`numpy.random.default_rng({seed}).permutation`; both parts keep WordNet's order.

    PYTHONPATH=src .venv/bin/python dataset/build_wordnet_hypernyms.py --wordnet DIR

makes this folder anew, DIR being the folder of `data.noun` and `data.verb` (Debian: `/usr/share/wordnet` of
the package `wordnet-base`). The same source files and library versions give the same bytes; a zlib that
compresses differently changes the bytes of the npz files, not the arrays in them.

| count | |
|---|---:|
{counts}

| file | content |
|---|---|
{files}

Matrices are `csr_matrix`, float32, in scipy's npz format.

## What to know before using it

- The split is random, by instance. Siblings have the same hypernyms: {seen:.0%} of the test instances have
  a label set that some training instance has too, so a tail label is easier here than its frequency
  suggests.
- A definition often names its hypernym (hiccup: "breathe spasmodically, ..."), and the words of one synset
  mostly are labels of the same instances. What is hard is the number of labels, most of them with few
  instances, and words that mean different things.
- {untrained_labels:,} labels and {untrained_components:,} components have test instances only. They
  are kept: their columns of the training matrices are empty, and nothing can be learnt about them. Every
  test instance has labels.
- WordNet cuts senses finely. Some components of a label differ little, and some share instances.
- The data are WordNet's, under the licence in `LICENSE`, which asks that its notice be on all copies.
"""


@dataclass(frozen=True)
class Synset:
    """One line of a WordNet data file.

    Attributes
    ----------
    pos : str
        Part of speech, "n" or "v".
    offset : str
        Eight digits; together with `pos` the synset's identity.
    words : tuple of str
        As in the file: case kept, underscores for spaces.
    hypernyms : tuple of (str, str)
        (pos, offset) of each `@` and `@i` pointer, in the file's order.
    gloss : str
        Everything after the first "|", stripped.
    """

    pos: str
    offset: str
    words: tuple[str, ...]
    hypernyms: tuple[tuple[str, str], ...]
    gloss: str


@dataclass(frozen=True)
class _Labels:
    """What the synsets say about labels; N instances, Q components, L labels.

    Attributes
    ----------
    instances : ndarray of shape (N,), int64
        The synset of each instance.
    names : list of str, length L
    component_names : list of str, length Q
    of_component : csr_matrix of shape (Q, L), float32
        One 1 per row.
    by_component : csr_matrix of shape (N, Q), float32, binary
    by_label : csr_matrix of shape (N, L), float32, binary
    """

    instances: NDArray[np.int64]
    names: list[str]
    component_names: list[str]
    of_component: sp.csr_matrix
    by_component: sp.csr_matrix
    by_label: sp.csr_matrix


class _Fields:
    """The blank-separated fields of one line, taken from the left and checked one by one."""

    def __init__(self, text: str, where: str) -> None:
        self._fields = iter(text.split())
        self._where = where

    def take(self, pattern: str, expected: str) -> str:
        field = next(self._fields, None)
        if field is None or not re.fullmatch(pattern, field):
            raise self._error(expected, field)
        return field

    def finish(self) -> None:
        field = next(self._fields, None)
        if field is not None:
            raise self._error("'|' and the gloss", field)

    def _error(self, expected: str, field: str | None) -> DisentangleError:
        found = "the end of the fields" if field is None else repr(field)
        return DisentangleError(f"{self._where}: expected {expected}, found {found}")


def parse_synsets(path: Path) -> list[Synset]:
    """Read the synsets of a WordNet data file of nouns or verbs.

    Parameters
    ----------
    path : Path
        `data.noun` or `data.verb`; lines that start with two blanks (the licence) are skipped.

    Returns
    -------
    list of Synset
        In the file's order.

    Raises
    ------
    DisentangleError
        If the file cannot be read, is not UTF-8, or a line is not as wndb(5) says; the message then has the
        line number.
    """
    synsets = []
    try:
        with path.open(encoding="utf-8", newline="\n") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.startswith("  "):
                    synsets.append(_parse_line(line, f"{path}, line {number}"))
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise DisentangleError(f"{path}: expected UTF-8 text, found byte 0x{byte:02x}") from None
    except OSError as error:
        raise DisentangleError(f"{path} cannot be read: {error.strerror}") from None
    return synsets


def build_wordnet(wordnet_dir: Path, out_dir: Path) -> dict[str, int]:
    """Build the data set of WordNet hypernyms, in PECOS's layout, with the true components of each label.

    The folder is complete or not there: it is written under another name beside `out_dir` and renamed at the
    end.

    Parameters
    ----------
    wordnet_dir : Path
        Folder with `data.noun` and `data.verb`. Another WordNet than 3.0 is accepted and noted in the log.
    out_dir : Path
        Folder to make. If it is there, it is replaced, provided that it holds nothing but files that this
        function writes.

    Returns
    -------
    dict of str to int
        The counts that `stats.json` and the README of the folder state.

    Raises
    ------
    DisentangleError
        If the source files are missing, malformed or without hypernyms, if `out_dir` holds something else, or
        if it cannot be written.
    """
    started = time.perf_counter()
    wordnet_dir, out_dir = Path(wordnet_dir), Path(out_dir).resolve()
    _check_replaceable(out_dir)
    checksums = _check_sources(wordnet_dir)
    logger.info("reading WordNet from %s", wordnet_dir)
    synsets = [synset for name in SOURCE_SHA256 for synset in parse_synsets(wordnet_dir / name)]
    labels = _make_labels(synsets)
    trn, tst = _split(len(labels.instances))
    texts = [_text(synsets[i]) for i in labels.instances]
    trn_texts, tst_texts = ([texts[i] for i in part] for part in (trn, tst))
    vectorizer = tfidf.fit(trn_texts, TfidfParams(min_df=MIN_DF))
    X_trn, X_tst = vectorizer.transform(trn_texts), vectorizer.transform(tst_texts)
    counts = _count(synsets, labels, trn, tst, X_trn, X_tst)
    contents = {
        "README.md": _make_readme(counts, checksums).encode(),
        "LICENSE": _read_licence(wordnet_dir / "data.noun").encode(),
        "stats.json": (json.dumps({"counts": counts, "sha256": checksums}, indent=2) + "\n").encode(),
        "output-items.txt": _text_bytes(labels.names),
        "X.trn.txt": _text_bytes(trn_texts),
        "X.tst.txt": _text_bytes(tst_texts),
        "vectorizer.json": vectorizer.as_json().encode(),
        "components/names.txt": _text_bytes(labels.component_names),
    }
    _write_folder(out_dir, contents | _make_matrix_files(labels, trn, tst, X_trn, X_tst))
    sizes = ", ".join(f"{counts[name]} {name}" for name in ("instances", "labels", "components", "features"))
    logger.info("wrote %s: %s in %.1f s", out_dir, sizes, time.perf_counter() - started)
    return counts


def _check_replaceable(out_dir: Path) -> None:
    """Refuse a target that holds anything this module does not write, before any work is done."""
    if not out_dir.exists():
        return
    if not out_dir.is_dir():
        raise DisentangleError(f"{out_dir} must be a folder or not there yet, found a file")
    for path in sorted(out_dir.rglob("*")):
        name = path.relative_to(out_dir).as_posix()
        if path.is_symlink() or (not path.is_dir() and name not in FILES):
            raise DisentangleError(f"{out_dir} must hold only files of an earlier build, found {name}")


def _check_sources(wordnet_dir: Path) -> dict[str, str]:
    """Return the sha256 of both source files; say in the log if they are not those of WordNet 3.0."""
    if not wordnet_dir.is_dir():
        raise DisentangleError(f"the WordNet folder {wordnet_dir} is not there")
    checksums = {}
    for name, known in SOURCE_SHA256.items():
        path = wordnet_dir / name
        try:
            checksums[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        except FileNotFoundError:
            raise DisentangleError(
                f"{wordnet_dir} must hold data.noun and data.verb, found no {name}"
            ) from None
        except OSError as error:
            raise DisentangleError(f"{path} cannot be read: {error.strerror}") from None
        if checksums[name] != known:
            logger.warning("%s is not WordNet 3.0's: the result will differ from the data set known", path)
    return checksums


def _parse_line(line: str, where: str) -> Synset:
    head, bar, gloss = line.partition("|")
    fields = _Fields(head, where)
    offset = fields.take(r"\d{8}", "a synset offset of 8 digits")
    fields.take(r"\d\d", "a lexicographer file number of 2 digits")
    pos = fields.take("[nv]", "the part of speech n or v")
    n_words = int(fields.take("(?!00)[0-9a-f]{2}", "a word count of 2 hexadecimal digits, at least 01"), 16)
    words = []
    for _ in range(n_words):
        words.append(fields.take(r"\S+", "a word"))
        fields.take("[0-9a-f]", "a lexical id of 1 hexadecimal digit")
    hypernyms = []
    for _ in range(int(fields.take(r"\d{3}", "a pointer count of 3 digits"))):
        symbol = fields.take(r"\S{1,2}", "a pointer symbol")
        target = fields.take(r"\d{8}", "a pointer's synset offset of 8 digits")
        target_pos = fields.take("[nvasr]", "a pointer's part of speech")
        fields.take("[0-9a-f]{4}", "a pointer's source and target of 4 hexadecimal digits")
        if symbol in ("@", "@i"):
            hypernyms.append((target_pos, target))
    if pos == "v":
        for _ in range(int(fields.take(r"\d\d", "a frame count of 2 digits"))):
            fields.take(r"\+", "the frame sign +")
            fields.take(r"\d\d", "a frame number of 2 digits")
            fields.take("[0-9a-f]{2}", "a frame's word number of 2 hexadecimal digits")
    fields.finish()
    if not bar or not gloss.strip() or not line.endswith("\n"):
        raise DisentangleError(f"{where}: expected '|', a gloss and a newline, found the end of the line")
    return Synset(pos, offset, tuple(words), tuple(hypernyms), gloss.strip())


def _find_ancestors(synsets: list[Synset]) -> sp.csr_matrix:
    """Return which synsets are hypernyms, at most `LEVELS_UP` levels up, of which: S x S, binary."""
    position = {(synset.pos, synset.offset): i for i, synset in enumerate(synsets)}
    if len(position) < len(synsets):
        (key, times), *_ = Counter((synset.pos, synset.offset) for synset in synsets).most_common(1)
        raise DisentangleError(f"synset {' '.join(key)} must be there once, found it {times} times")
    rows, columns = [], []
    for i, synset in enumerate(synsets):
        for target in synset.hypernyms:
            if target not in position:
                raise DisentangleError(
                    f"synset {synset.pos} {synset.offset} has hypernym {' '.join(target)}, "
                    "which is neither in data.noun nor in data.verb"
                )
            rows.append(i)
            columns.append(position[target])
    if not rows:
        raise DisentangleError("data.noun and data.verb must have hypernym pointers (@ or @i), found none")
    parents = _binary_csr(rows, columns, (len(synsets), len(synsets)))
    ancestors = reached = parents
    for _ in range(LEVELS_UP - 1):
        reached = reached @ parents
        ancestors = ancestors + reached
    rows, columns = ancestors.nonzero()
    not_itself = rows != columns  # restrain and inhibit are hypernyms of each other
    return _binary_csr(rows[not_itself], columns[not_itself], ancestors.shape)


def _make_labels(synsets: list[Synset]) -> _Labels:
    pairs = sorted({(_label_name(word), i) for i, synset in enumerate(synsets) for word in synset.words})
    names = sorted({name for name, _ in pairs})
    label_ids = {name: label for label, name in enumerate(names)}
    synset_of = np.array([synset for _, synset in pairs])
    label_of = np.array([label_ids[name] for name, _ in pairs])

    by_component = _find_ancestors(synsets)[:, synset_of]
    of_component = _binary_csr(np.arange(len(pairs)), label_of, (len(pairs), len(names)))
    n_instances = _binarize(by_component @ of_component).getnnz(axis=0)
    kept_labels = np.flatnonzero(n_instances >= MIN_INSTANCES)
    kept = np.flatnonzero((n_instances[label_of] >= MIN_INSTANCES) & (by_component.getnnz(axis=0) > 0))
    instances = np.flatnonzero(by_component[:, kept].getnnz(axis=1))
    if len(instances) == 0:
        raise DisentangleError(
            f"WordNet must have labels with at least {MIN_INSTANCES} instances, found none"
        )

    by_component = _binarize(by_component[instances][:, kept])
    of_component = _binarize(of_component[kept][:, kept_labels])
    return _Labels(
        instances=instances,
        names=[names[label] for label in kept_labels],
        component_names=_name_components([pairs[k] for k in kept], synsets),
        of_component=of_component,
        by_component=by_component,
        by_label=_binarize(by_component @ of_component),
    )


def _name_components(pairs: list[tuple[str, int]], synsets: list[Synset]) -> list[str]:
    """Name each (label, synset) pair; where a label's shortened definitions are the same, add the offset."""
    names = []
    for label, i in pairs:
        definition = textwrap.shorten(_first_definition(synsets[i].gloss), _NAME_WIDTH, placeholder=" ...")
        names.append(f"{label} ({_POS_NAMES[synsets[i].pos]}): {definition}")
    times = Counter(names)
    return [
        name if times[name] == 1 else f"{name} [{synsets[i].offset}]"
        for name, (_, i) in zip(names, pairs, strict=True)
    ]


def _first_definition(gloss: str) -> str:
    """Cut a gloss at its first semicolon outside parentheses; more definitions and examples follow it."""
    depth = 0
    for end, character in enumerate(gloss):
        depth += (character == "(") - (character == ")")
        if character == ";" and depth <= 0:
            return gloss[:end]
    return gloss


def _label_name(word: str) -> str:
    return word.replace("_", " ").lower()


def _text(synset: Synset) -> str:
    return " ".join([word.replace("_", " ") for word in synset.words] + [synset.gloss])


def _split(n_instances: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the sorted row numbers of the training part (80 %) and of the test part."""
    order = np.random.default_rng(SPLIT_SEED).permutation(n_instances)
    n_trn = n_instances * 4 // 5
    return np.sort(order[:n_trn]), np.sort(order[n_trn:])


def _count(
    synsets: list[Synset],
    labels: _Labels,
    trn: NDArray[np.int64],
    tst: NDArray[np.int64],
    X_trn: sp.csr_matrix,
    X_tst: sp.csr_matrix,
) -> dict[str, int]:
    Y_trn, Y_tst = labels.by_label[trn], labels.by_label[tst]
    component_trn = labels.by_component[trn].getnnz(axis=0)
    label_sets_trn = set(_row_keys(Y_trn))
    n_seen = sum(key in label_sets_trn for key in _row_keys(Y_tst))
    senses = labels.of_component.getnnz(axis=0)
    large_senses = labels.of_component.T @ (component_trn > 10)
    repeated = (labels.by_component @ labels.of_component).data > 1
    return {
        "synsets": len(synsets),
        "instances": len(labels.instances),
        "noun_instances": sum(synsets[i].pos == "n" for i in labels.instances),
        "verb_instances": sum(synsets[i].pos == "v" for i in labels.instances),
        "training_instances": len(trn),
        "test_instances": len(tst),
        "labels": len(labels.names),
        "labels_without_training_instances": int((Y_trn.getnnz(axis=0) == 0).sum()),
        "labels_of_training_instances": Y_trn.nnz,
        "labels_of_test_instances": Y_tst.nnz,
        "components": len(labels.component_names),
        "components_without_training_instances": int((component_trn == 0).sum()),
        "labels_with_several_components": int((senses > 1).sum()),
        "labels_with_several_components_of_more_than_10_training_instances": int((large_senses > 1).sum()),
        "most_components_of_a_label": int(senses.max()),
        "labels_of_instances_that_several_components_gave": int(repeated.sum()),
        "features": X_trn.shape[1],
        "features_of_training_instances": X_trn.nnz,
        "features_of_test_instances": X_tst.nnz,
        "test_instances_without_features": int((X_tst.getnnz(axis=1) == 0).sum()),
        "test_instances_whose_label_set_a_training_instance_has": n_seen,
    }


def _make_matrix_files(
    labels: _Labels,
    trn: NDArray[np.int64],
    tst: NDArray[np.int64],
    X_trn: sp.csr_matrix,
    X_tst: sp.csr_matrix,
) -> dict[str, bytes]:
    matrices = {
        "Y.trn.npz": labels.by_label[trn],
        "Y.tst.npz": labels.by_label[tst],
        "tfidf-attnxml/X.trn.npz": X_trn,
        "tfidf-attnxml/X.tst.npz": X_tst,
        "components/Y.trn.npz": labels.by_component[trn],
        "components/Y.tst.npz": labels.by_component[tst],
        "components/labels.npz": labels.of_component,
    }
    return {name: _npz_bytes(matrix) for name, matrix in matrices.items()}


def _make_readme(counts: dict[str, int], checksums: dict[str, str]) -> str:
    source = "WordNet 3.0, nouns and verbs, as the Debian package `wordnet-base` 1:3.0-37 installs it"
    if checksums != SOURCE_SHA256:
        source = "the nouns and verbs of a WordNet other than 3.0 (`stats.json` has the sha256 of its files)"
    rows = [f"| {name.replace('_', ' ')} | {count:,} |" for name, count in counts.items()]
    n_given = counts["labels_of_training_instances"] + counts["labels_of_test_instances"]
    rows.append(f"| labels per instance | {n_given / counts['instances']:.2f} |")
    return _README.format(
        source=source,
        levels=LEVELS_UP,
        min_instances=MIN_INSTANCES,
        min_df=MIN_DF,
        seed=SPLIT_SEED,
        counts="\n".join(rows),
        files="\n".join(f"| `{name}` | {content} |" for name, content in FILES.items()),
        seen=counts["test_instances_whose_label_set_a_training_instance_has"] / counts["test_instances"],
        untrained_labels=counts["labels_without_training_instances"],
        untrained_components=counts["components_without_training_instances"],
    )


def _read_licence(path: Path) -> str:
    """Return the notice at the top of a data file, without the two blanks and the number of each line."""
    with path.open(encoding="utf-8") as file:
        numbered = itertools.takewhile(lambda line: line.startswith("  "), file)
        lines = [re.sub(r"^  \d+ ", "", line).rstrip() for line in numbered]
    if not any(lines):
        raise DisentangleError(f"{path}: expected the licence notice in its first lines, found none")
    return "\n".join(lines) + "\n"


def _write_folder(out_dir: Path, contents: dict[str, bytes]) -> None:
    """Write the files of a folder under another name, then put the folder in the place of `out_dir`."""
    try:
        out_dir.parent.mkdir(parents=True, exist_ok=True)
        workshop = Path(tempfile.mkdtemp(prefix=f".{out_dir.name}-", dir=out_dir.parent))
        try:
            for name, content in contents.items():
                path = workshop / "new" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            if out_dir.exists():
                out_dir.rename(workshop / "old")
            (workshop / "new").rename(out_dir)
        finally:
            shutil.rmtree(workshop)
    except OSError as error:
        raise DisentangleError(f"{out_dir} cannot be written: {error.strerror}") from None


def _text_bytes(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _npz_bytes(matrix: sp.csr_matrix) -> bytes:
    file = io.BytesIO()
    npz.save(file, matrix)
    return file.getvalue()


def _binary_csr(rows: Iterable[int], columns: Iterable[int], shape: tuple[int, int]) -> sp.csr_matrix:
    rows, columns = np.asarray(rows), np.asarray(columns)
    return _binarize(sp.csr_matrix((np.ones(len(rows), dtype=np.float32), (rows, columns)), shape=shape))


def _binarize(matrix: sp.spmatrix) -> sp.csr_matrix:
    """Return a canonical csr_matrix of float32 ones where `matrix` stores something."""
    binary = matrix.tocsr(copy=True).astype(np.float32)
    binary.sum_duplicates()
    binary.data[:] = 1
    return binary


def _row_keys(matrix: sp.csr_matrix) -> list[bytes]:
    """Return one key per row, the same for rows that store the same columns."""
    return [
        matrix.indices[start:end].tobytes()
        for start, end in zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True)
    ]


def main() -> None:
    """Build the folder, byte for byte, from the files of WordNet 3.0."""
    parser = Parser(description="Rebuild the dataset wordnet-hypernyms from the files of WordNet 3.0.")
    parser.add_argument("--wordnet", type=place, required=True, help="folder of data.noun and data.verb")
    beside = Path(__file__).with_name("xmc-base") / "wordnet-hypernyms"
    parser.add_argument("--out", type=place, default=beside, help="folder to write")
    args = parser.parse_args()
    run(lambda: _build(args.wordnet, args.out))


def _build(wordnet: Path, out: Path) -> None:
    places.check_apart("--out", out, [wordnet])
    progress.set_up_logging()
    with progress.stage("build-wordnet"):
        counts = build_wordnet(wordnet, out)
    for name, count in counts.items():
        print(f"{name}: {count}")


if __name__ == "__main__":
    main()
