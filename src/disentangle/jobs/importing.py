"""What people have to a dataset in PECOS's layout, streamed: only vocabularies and names stay in memory."""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import scipy.sparse as sp

from ..data import datasets, tfidf
from ..data.components import LABEL_NAMES, count_names, first_repeated, read_names
from ..data.features import compact
from ..data.formats import FORMATS
from ..data.formats.blocks import Block, binary_rows
from ..data.lines import write_lines
from ..errors import DisentangleError
from ..params import FEATURES, TfidfParams
from ..runtime import progress
from ..storage import atomic, npz
from ..storage.files import require as require_file
from ..storage.files import sha256
from ..storage.places import check_apart
from .stages import Stage

logger = logging.getLogger(__name__)

PARTS = ("trn", "tst")


@dataclass(frozen=True)
class Import:
    """A dataset to be made.

    Attributes
    ----------
    name : str
    format : str
        A key of `formats.FORMATS`.
    trn, tst : tuple of Path
        The files of each part, in the order of the format's `files`.
    output_items : Path or None
        Label names, one a line, in the order of the columns of Y.
    tfidf : TfidfParams
        How text becomes features; ignored for formats without text.
    """

    name: str
    format: str
    trn: tuple[Path, ...]
    tst: tuple[Path, ...]
    output_items: Path | None = None
    tfidf: TfidfParams = field(default_factory=TfidfParams)

    def inputs(self) -> dict[str, tuple[Path, ...]]:
        """All files, by the option that names them."""
        items = () if self.output_items is None else (self.output_items,)
        return {"trn": self.trn, "tst": self.tst, "output-items": items}

    def validate(self) -> None:
        expected = FORMATS[self.format].files
        for part in PARTS:
            if len(files := getattr(self, part)) != len(expected):
                raise DisentangleError(
                    f"--{part} must name {len(expected)} for {self.format} ({' '.join(expected)}), "
                    f"got {len(files)}"
                )
        if FORMATS[self.format].needs_names and self.output_items is None:
            raise DisentangleError(f"{self.format} needs --output-items, the file of label names")
        for path in itertools.chain(*self.inputs().values()):
            # Each is read several times, which a pipe does not allow.
            require_file(path)
        self.tfidf.validate()


def import_dataset(job: Import, data_dir: Path) -> dict[str, Any]:
    """Make the folder of a dataset from files in another format; what is there and made alike stays.

    Labels are the columns of Y, sorted by name where they have names and no file says their order; those
    that only test instances have are columns, too, which counts them against recall. Terms are learnt
    from training text alone.

    Parameters
    ----------
    job : Import
    data_dir : Path

    Returns
    -------
    dict
        Sizes, seconds and peak memory of the import.

    Raises
    ------
    DisentangleError
        If a file is not of the format, parts disagree, nothing is left to learn from, or the folder
        exists and was not made from the same files in the same way.
    """
    datasets.check_name(data_dir, job.name)
    job.validate()
    folder = data_dir / job.name
    for name, paths in job.inputs().items():
        for path in paths:
            check_apart(f"--{name}", path, [folder])
    digests = {part: [sha256(path) for path in getattr(job, part)] for part in PARTS}
    inputs = {"format": job.format, "files": digests, "output_items": None}
    if job.output_items is not None:
        inputs["output_items"] = sha256(job.output_items)
    if FORMATS[job.format].has_text:
        inputs["tfidf"] = asdict(job.tfidf)
    form = FORMATS[job.format].read.__module__.removeprefix("disentangle.")
    of_data = tuple(
        f"data.{name}" for name in ("components", "lines", "formats.blocks", "tfidf", "datasets", "features")
    )
    modules = ("jobs.importing", form, *of_data, "storage.npz", "storage.matrices")
    stage = Stage("import", folder, inputs, modules, partial(_build, job=job))
    if (record := stage.record()) is None:
        with atomic.claim(folder):
            if folder.exists():
                raise DisentangleError(
                    f"{folder} exists, and was not made from these files with these settings by this "
                    "version, or is damaged: choose another name, or remove it"
                )
            record = stage.ensure()
    return record["results"] | {name: record[name] for name in ("seconds", "peak_rss_mib")}


def _build(out: Path, job: Import) -> dict[str, Any]:
    form = FORMATS[job.format]
    names = read_names(job.output_items) if job.output_items and form.has_names else None
    read = form.read
    if job.output_items and form.needs_names:
        read = partial(read, n_labels=count_names(job.output_items)[1])
    blocks = {part: partial(read, *getattr(job, part)) for part in PARTS}
    vectorizer = None
    if form.has_text:
        found: set[str] = set()
        vectorizer = tfidf.fit(_texts(blocks["trn"](), found), job.tfidf, str(job.trn[0]))
        (out / tfidf.VECTORIZER_FILE).write_text(vectorizer.as_json(), encoding="utf-8")
        if form.has_names and names is None:
            for _ in _texts(blocks["tst"](), found):
                pass
            names = sorted(found)
    if names is not None:
        write_lines(out / LABEL_NAMES, names)
    columns = _columns(names or [], job) if form.has_names else {}
    (out / FEATURES).mkdir()
    with ExitStack() as stack:
        paths = datasets.paths_of(out)
        writers = {key: stack.enter_context(npz.Writer(path)) for key, path in paths.items()}
        texts = {
            part: stack.enter_context((out / f"X.{part}.txt").open("w", encoding="utf-8", newline=""))
            for part in PARTS
            if form.has_text
        }
        sizes = _Sizes()
        if vectorizer is not None:
            sizes.tell("n_features", len(vectorizer.terms), job.trn[0])
        if names is not None:
            sizes.tell("n_labels", len(names), job.output_items or job.trn[0])
        elif job.output_items is not None:
            sizes.least["n_labels"] = count_names(job.output_items)[0]
        for part in PARTS:
            for block in progress.counted(blocks[part](), f"{part} instances written"):
                # The second file, if there is one, is that of the labels.
                source = getattr(job, part)
                sizes.tell("n_features", block.n_features, source[0])
                sizes.tell("n_labels", block.n_labels, source[-1])
                X = block.content if vectorizer is None else vectorizer.transform(block.content)
                if part in texts:
                    texts[part].writelines(_as_lines(block.content))
                writers[f"X_{part}"].append(X)
                writers[f"Y_{part}"].append(_label_rows(block.labels, columns, job.output_items, source[-1]))
        results = _finish(writers, sizes, job)
    if job.format == "npz":
        compact(out / FEATURES)
    if job.output_items is not None and not form.has_names:
        write_lines(out / LABEL_NAMES, read_names(job.output_items, results["n_labels"]))
    return results


def _texts(blocks: Iterator[Block], found: set[str]) -> Iterator[str]:
    """Texts of instances, while the names of their labels are collected."""
    for block in progress.counted(blocks, "instances surveyed"):
        if isinstance(block.labels, list):
            found.update(*block.labels)
        yield from block.content


def _as_lines(texts: list[str]) -> Iterator[str]:
    """A line each: line ends in a text become blanks, halves of surrogate pairs question marks."""
    for text in texts:
        plain = re.sub("[\n\r]", " ", text).encode("utf-8", "replace").decode()
        yield f"{plain}\n"


def _columns(names: list[str], job: Import) -> dict[str, int]:
    """Column of each label name, as the format writes it."""
    written = [FORMATS[job.format].as_written(name) for name in names]
    if repeated := first_repeated(written):
        first, again = repeated
        raise DisentangleError(
            f"{job.output_items}, line {again + 1}: expected each name once, found {written[again]!r}, which "
            f"line {first + 1} has, too" + ("" if names == written else f", as {job.format} writes it")
        )
    return {name: i for i, name in enumerate(written)}


def _label_rows(labels: Any, columns: dict[str, int], names: Path | None, source: Path) -> sp.csr_matrix:
    if sp.issparse(labels):
        return labels
    try:
        rows = [[columns[name] for name in row] for row in labels]
    except KeyError as error:
        where = "was when it was read at first" if names is None else f"{names} has"
        raise DisentangleError(
            f"{source} must have no other label names than {where}, found {error.args[0]!r}"
        ) from None
    return binary_rows(rows, len(columns))


class _Sizes:
    """How many features and labels there are, as far as a file says."""

    def __init__(self) -> None:
        self.said: dict[str, tuple[int, Path]] = {}
        self.least: dict[str, int] = {}

    def tell(self, name: str, size: int | None, source: Path) -> None:
        """Take up what a file says; files must agree."""
        if size is None:
            return
        expected, where = self.said.setdefault(name, (size, source))
        if size != expected:
            as_many = f"as many {name[2:]} as {where} ({expected})"
            raise DisentangleError(f"{source} must have {as_many}, got {size}")

    def resolve(self, name: str, seen: list[tuple[Path, int]]) -> int:
        """The size that was said, or what is seen of it, file by file, where none was."""
        if name not in self.said:
            return max(self.least.get(name, 0), *(n for _, n in seen))
        size, where = self.said[name]
        for path, n in seen:
            if n > size:
                ids = f"ids of {name[2:]} below {size}, as {where} tells"
                raise DisentangleError(f"{path} must have {ids}, got {n - 1}")
        return size


def _finish(writers: dict[str, npz.Writer], sizes: _Sizes, job: Import) -> dict[str, Any]:
    """Write the matrices, or refuse a dataset that could not be loaded."""
    counts = {}
    for letter, name, place in (("X", "n_features", 0), ("Y", "n_labels", -1)):
        of_file = [(getattr(job, part)[place], writers[f"{letter}_{part}"]) for part in PARTS]
        for path, writer in of_file:
            if writer.nnz == 0:
                raise DisentangleError(f"{path} must have instances with {name[2:]}, found none")
        counts[name] = sizes.resolve(name, [(path, writer.n_columns_seen) for path, writer in of_file])
        for _, writer in of_file:
            writer.finish(counts[name])
        _, of_training = of_file[0]
        for sentence in datasets.sparse_ids(
            name.removeprefix("n_"), counts[name], of_training.n_columns_used
        ):
            logger.warning("note: %s", sentence)
    n_instances = {"n_train_instances": writers["X_trn"].n_rows, "n_test_instances": writers["X_tst"].n_rows}
    return n_instances | counts
