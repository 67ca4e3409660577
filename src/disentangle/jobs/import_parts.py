"""What an import makes a dataset of: files and options that go together, and the instances of each part."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..data.columns import USUAL, Columns
from ..data.components import count_names
from ..data.formats import FORMATS, Format, annif
from ..data.formats.blocks import Block
from ..data.vocabulary import Vocabulary
from ..errors import DisentangleError
from ..limits import Limits
from ..params import TfidfParams
from ..runtime import progress
from ..storage.files import require as require_file
from ..storage.files import sha256

# Options that are called otherwise than the field.
_OPTIONS = {"text": "text-column", "labels": "label-column", "has_quotes": "no-quotes"}
Blocks = Callable[[], Iterator[Block]]


@dataclass(frozen=True)
class Import:
    """A dataset to be made.

    Attributes
    ----------
    name : str
    format : str
        A key of `formats.FORMATS`.
    trn, tst, val : tuple of Path
        The files of each part, in the order of the format's `files`; no `tst` with `split`, `val` or none.
    output_items : Path or None
        Label names, one a line, in the order of the columns of Y.
    tfidf : TfidfParams
        How text becomes features; ignored for formats without text.
    columns : Columns
        Which columns are taken, for formats that have some.
    vocabulary : Path or None
        URIs and names of the labels, which `trn` and the others give by either.
    language : str or None
        Of the vocabulary's names.
    split : float or None
        Share of the instances of `trn` to draw as test instances.
    seed : int
        Of the draw.
    """

    name: str
    format: str
    trn: tuple[Path, ...]
    tst: tuple[Path, ...] = ()
    output_items: Path | None = None
    tfidf: TfidfParams = field(default_factory=TfidfParams)
    val: tuple[Path, ...] = ()
    columns: Columns = USUAL
    vocabulary: Path | None = None
    language: str | None = None
    split: float | None = None
    seed: int = 0

    def parts(self) -> dict[str, tuple[Path, ...]]:
        """The files of each part that there will be."""
        tst = self.tst if self.split is None else self.trn
        return {"trn": self.trn, "tst": tst} | ({"val": self.val} if self.val else {})

    def sources(self, part: str) -> tuple[str, str]:
        """The file of a part's features and that of its labels, in words: of several, any may be meant."""
        paths = [str(path) for path in self.parts()[part]]
        if FORMATS[self.format].has_several:
            paths = [", ".join(paths)]
        return paths[0], paths[-1]

    def inputs(self) -> dict[str, tuple[Path, ...]]:
        """All files, by the option that names them."""
        single = {"output-items": self.output_items, "vocabulary": self.vocabulary}
        return self.parts() | {name: (path,) for name, path in single.items() if path is not None}

    def said(self) -> dict[str, Any]:
        """What the dataset depends on, as JSON."""
        form = FORMATS[self.format]
        files = {part: [_digest(path, form) for path in paths] for part, paths in self.parts().items()}
        items = None if self.output_items is None else sha256(self.output_items)
        said: dict[str, Any] = {"format": self.format, "files": files, "output_items": items}
        if form.has_text:
            said["tfidf"] = asdict(self.tfidf)
        if form.takes:
            said["columns"] = asdict(self.columns)
        if self.vocabulary is not None:
            digest = f"{sha256(self.vocabulary)}{_endings(self.vocabulary)}"
            said["vocabulary"] = {"file": digest, "language": self.language}
        if self.split is not None:
            said["split"] = {"share": self.split, "seed": self.seed}
        return said

    def validate(self) -> None:
        """Raise DisentangleError unless all of it goes together."""
        form = FORMATS[self.format]
        if bool(self.tst) == (self.split is not None):
            raise DisentangleError("either --tst or --split must say which instances are for testing")
        if self.split is not None:
            Limits(0.0, 1.0, is_open=True).check("--split", self.split)
            Limits(0).check("--seed", self.seed)
        for part, paths in self.parts().items():
            expected = len(form.files)
            if len(paths) != expected and not (form.has_several and paths):
                raise DisentangleError(
                    f"--{part} must name {expected} for {self.format} ({' '.join(form.files)}), "
                    f"got {len(paths)}"
                )
        if self.seed and self.split is None:
            raise DisentangleError("--seed must come with --split, which draws with it")
        if form.needs_names and self.output_items is None:
            raise DisentangleError(f"{self.format} needs --output-items, the file of label names")
        if self.vocabulary is not None and (self.output_items is not None or not form.has_names):
            raise DisentangleError("--vocabulary must name labels that have names, without --output-items")
        if self.language is not None and self.vocabulary is None:
            raise DisentangleError(f"--language must come with --vocabulary, got {self.language!r} alone")
        for name, value in vars(self.columns).items():
            if value != getattr(USUAL, name) and name not in form.takes:
                takers = [other for other in FORMATS if name in FORMATS[other].takes]
                raise DisentangleError(
                    f"--{_OPTIONS.get(name, name)} must come with --format {', '.join(takers)}, "
                    f"got {self.format}"
                )
        self.columns.validate()
        for path in dict.fromkeys(itertools.chain(*self.inputs().values())):
            # Each is read several times, which a pipe does not allow.
            if form.has_folders and os.path.isdir(path):
                annif.check_folder(path)
            else:
                require_file(path)
        corpora = itertools.chain(*self.parts().values())
        if self.format == "annif" and self.columns.text and not any(map(annif.has_columns, corpora)):
            raise DisentangleError(
                "--text-column must come with CSV or JSON of Annif's, found only plain texts"
            )
        self.tfidf.validate()


def _digest(path: Path, form: Format) -> str:
    """Sha256 of a file, or of what a folder of texts holds; with its endings where they tell the format."""
    if not form.has_folders:
        return sha256(path)
    if not os.path.isdir(path):
        return f"{sha256(path)}{_endings(path)}"
    found = [[one.name, sha256(one)] for one in annif.files_of(path)]
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()


def _endings(path: Path) -> str:
    return "".join(path.suffixes)


def blocks_of(job: Import, words: Vocabulary | None, unknown: set[str]) -> dict[str, Blocks]:
    """What reads the instances of each part, labels by the vocabulary's URIs if there is one."""
    form = FORMATS[job.format]
    read: Callable[..., Iterator[Block]] = form.read
    if form.takes:
        read = partial(read, columns=job.columns)
    if job.output_items and form.needs_names:
        read = partial(read, n_labels=count_names(job.output_items)[1])

    def read_part(paths: tuple[Path, ...]) -> Iterator[Block]:
        found = itertools.chain.from_iterable(map(read, paths)) if form.has_several else read(*paths)
        return found if words is None else _known(found, words, unknown)

    blocks: dict[str, Blocks] = {part: partial(read_part, paths) for part, paths in job.parts().items()}
    if job.split is not None:
        whole = blocks["trn"]
        is_test = _drawn(whole(), job)
        blocks |= {"trn": partial(_rows, whole, ~is_test), "tst": partial(_rows, whole, is_test)}
    return blocks


def _known(blocks: Iterator[Block], words: Vocabulary, unknown: set[str]) -> Iterator[Block]:
    """Instances with labels by their URIs, those apart that the vocabulary does not have."""
    for block in blocks:
        rows = [[(label, words.uri(label)) for label in row] for row in block.labels]
        unknown.update(label for row in rows for label, uri in row if uri is None)
        yield replace(block, labels=[[uri for _, uri in row if uri is not None] for row in rows])


def _drawn(blocks: Iterator[Block], job: Import) -> np.ndarray:
    """Which instances are drawn for testing: bool of shape (n_instances,)."""
    n = sum(block.n_instances for block in progress.counted(blocks, "instances counted"))
    n_test = round(n * (job.split or 0))
    if not 0 < n_test < n:
        raise DisentangleError(f"--split must leave instances for both parts, got {job.split} of {n}")
    is_test = np.zeros(n, np.bool_)
    is_test[np.random.default_rng(job.seed).permutation(n)[:n_test]] = True
    return is_test


def _rows(whole: Blocks, is_taken: np.ndarray) -> Iterator[Block]:
    """Those instances that are taken."""
    start = 0
    for block in whole():
        taken = is_taken[start : start + block.n_instances]
        start += block.n_instances
        if taken.any():
            yield block.rows(taken)
