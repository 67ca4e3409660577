"""What people have to a dataset in PECOS's layout, streamed: only vocabularies and names stay in memory."""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import scipy.sparse as sp

from ..data import datasets, tfidf, vocabulary
from ..data.components import LABEL_NAMES, URIS, count_names, first_repeated, read_names
from ..data.features import compact
from ..data.formats import FORMATS
from ..data.formats.blocks import Block, binary_rows
from ..data.lines import write_lines
from ..data.tfidf import Vectorizer
from ..errors import DisentangleError, printable
from ..params import FEATURES
from ..runtime import progress
from ..storage import atomic, npz
from ..storage.matrices import NO_NORM, LargestNorm, largest_norm
from ..storage.places import check_apart, real
from ..storage.saved import RECORD, read_record
from .import_parts import Blocks, blocks_of
from .import_parts import Import as Import
from .stages import Stage

logger = logging.getLogger(__name__)

# Of training, of test, of validation, which few datasets have.
_SIZES = {"trn": "n_train_instances", "tst": "n_test_instances", "val": "n_validation_instances"}
# Modules that all imports depend on.
_DATA = tuple(
    f"data.{name}"
    for name in (
        *("columns", "components", "datasets", "features", "lines", "packed", "tfidf", "vocabulary"),
        *("formats.annif", "formats.blocks", "formats.json_lines", "formats.tables"),
    )
)


def import_dataset(job: Import, data_dir: Path, is_replaced: bool = False) -> dict[str, Any]:
    """Make the folder of a dataset from files in another format; what is there and made alike stays.

    Labels are the columns of Y, sorted by name where they have names and no file says their order; those
    that only test instances have are columns, too, which counts them against recall. Terms are learnt
    from training text alone.

    Parameters
    ----------
    job : Import
    data_dir : Path
    is_replaced : bool
        Whether a folder that another import has made is replaced.

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
    form = FORMATS[job.format].read.__module__.removeprefix("disentangle.")
    modules = (
        "jobs.importing",
        "jobs.import_parts",
        form,
        *_DATA,
        "storage.npz",
        "storage.compressed",
        "storage.matrices",
    )
    said = job.said()
    stage = Stage("import", folder, said, modules, partial(_build, job=job, said=said))
    # What is unfinished lies beside the folder itself.
    place = real(folder) if folder.is_symlink() else folder
    if (record := stage.record()) is None or atomic.is_unsettled(place):
        with atomic.claim(place, RECORD):
            # One who was killed may have left what has only now got its name.
            if (record := stage.record()) is None:
                if folder.exists():
                    _check_replaced(folder, is_replaced)
                record = stage.ensure()
    return record["results"] | {name: record[name] for name in ("seconds", "peak_rss_mib")}


def _check_replaced(folder: Path, is_replaced: bool) -> None:
    """Raise DisentangleError unless a folder may be replaced; say what goes with it."""
    before = read_record(folder)
    if before is not None and "format" not in before["inputs"]:  # no import has made it
        before = None
    if not is_replaced or before is None:
        way = "choose another name, or remove it"
        if before is not None:
            way += ", or have it replaced with --replace"
        raise DisentangleError(
            f"{folder} exists, and was not made from these files with these settings by this version, "
            f"or is damaged: {way}"
        )
    atomic.require_free(folder)
    made = {Path(name).parts[0] for name in before["files"]} | {"stage.json"}
    if others := sorted(path.name for path in folder.iterdir() if path.name not in made):
        logger.warning("note: %s is replaced, and with it goes %s", folder, ", ".join(others))


def _build(out: Path, job: Import, said: dict[str, Any]) -> dict[str, Any]:
    form = FORMATS[job.format]
    unknown: set[str] = set()
    words = None
    if job.vocabulary is not None:
        words = replace(vocabulary.read(job.vocabulary, job.language), as_written=form.as_written)
    blocks = blocks_of(job, words, unknown)
    names = read_names(job.output_items) if job.output_items and form.has_names else None
    vectorizer = None
    if form.has_text:
        found: set[str] = set()
        vectorizer = tfidf.fit(_texts(blocks["trn"](), found), job.tfidf, job.sources("trn")[0])
        (out / tfidf.VECTORIZER_FILE).write_text(vectorizer.as_json(), encoding="utf-8")
        if form.has_names and names is None:
            for _ in itertools.chain(*(_texts(blocks[part](), found) for part in blocks if part != "trn")):
                pass
            names = sorted(found)
    if unknown:
        logger.warning(
            "note: labels that %s does not have, and are left out: %d, such as %s",
            *(job.vocabulary, len(unknown), printable(min(unknown))),
        )
    if words is not None and names is not None:
        names.sort(key=lambda uri: (words.names[uri], uri))
        write_lines(out / URIS, names)
        write_lines(out / LABEL_NAMES, [words.names[uri] for uri in names])
    elif names is not None:
        write_lines(out / LABEL_NAMES, names)
    results = _write(out, job, blocks, names, vectorizer)
    if job.format == "npz":
        compact(out / FEATURES, blocks)
    if job.output_items is not None and not form.has_names:
        write_lines(out / LABEL_NAMES, read_names(job.output_items, results["n_labels"]))
    if job.said() != said:  # files are read twice
        raise DisentangleError("the imported files have changed meanwhile: run the same command again")
    return results


def _write(
    out: Path, job: Import, blocks: dict[str, Blocks], names: list[str] | None, vectorizer: Vectorizer | None
) -> dict[str, Any]:
    """Write the matrices and the texts."""
    columns = _columns(names or [], job) if FORMATS[job.format].has_names else {}
    (out / FEATURES).mkdir()
    sizes, norms = _Sizes(), dict.fromkeys(blocks, NO_NORM)
    if vectorizer is not None:
        sizes.tell("n_features", len(vectorizer.terms), job.sources("trn")[0])
    if names is not None:
        sizes.tell("n_labels", len(names), str(job.output_items or job.sources("trn")[-1]))
    elif job.output_items is not None:
        sizes.least["n_labels"] = count_names(job.output_items)[0]
    with ExitStack() as stack:
        places = {"X": out / FEATURES, "Y": out}
        writers = {
            f"{letter}_{part}": stack.enter_context(npz.Writer(place / f"{letter}.{part}.npz"))
            for part in blocks
            for letter, place in places.items()
        }
        for part, read in blocks.items():
            source = job.sources(part)
            texts = None
            if vectorizer is not None:
                texts = stack.enter_context((out / f"X.{part}.txt").open("w", encoding="utf-8", newline=""))
            for block in progress.counted(read(), f"{part} instances written"):
                sizes.tell("n_features", block.n_features, source[0])
                sizes.tell("n_labels", block.n_labels, source[-1])
                X = block.content if vectorizer is None else vectorizer.transform(block.content)
                if texts is not None:
                    found = list(_as_lines(block.content))
                    # Readers drop a mark at the beginning of a file, and not that of the first text.
                    if texts.tell() == 0 and found[:1] and found[0].startswith("\ufeff"):
                        texts.write("\ufeff")
                    texts.writelines(found)
                first_row = writers[f"X_{part}"].n_rows
                writers[f"X_{part}"].append(X)
                largest = largest_norm(X)
                if largest.norm > norms[part].norm:
                    norms[part] = largest._replace(row=first_row + largest.row)
                writers[f"Y_{part}"].append(_label_rows(block.labels, columns, job.output_items, source[-1]))
        return _finish(writers, sizes, norms, job)


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
    is_written = job.vocabulary is None  # else these are URIs, as they have been found
    written = [FORMATS[job.format].as_written(name) if is_written else name for name in names]
    if repeated := first_repeated(written):
        first, again = repeated
        raise DisentangleError(
            f"{job.output_items}, line {again + 1}: expected each name once, found {written[again]!r}, which "
            f"line {first + 1} has, too" + ("" if names == written else f", as {job.format} writes it")
        )
    return {name: i for i, name in enumerate(written)}


def _label_rows(labels: Any, columns: dict[str, int], names: Path | None, source: str) -> sp.csr_matrix:
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
        self.said: dict[str, tuple[int, str]] = {}
        self.least: dict[str, int] = {}

    def tell(self, name: str, size: int | None, source: str) -> None:
        """Take up what a file says; files must agree."""
        if size is None:
            return
        expected, where = self.said.setdefault(name, (size, source))
        if size != expected:
            as_many = f"as many {name[2:]} as {where} ({expected})"
            raise DisentangleError(f"{source} must have {as_many}, got {size}")

    def resolve(self, name: str, seen: list[tuple[str, int]]) -> int:
        """The size that was said, or what is seen of it, file by file, where none was."""
        if name not in self.said:
            return max(self.least.get(name, 0), *(n for _, n in seen))
        size, where = self.said[name]
        for path, n in seen:
            if n > size:
                ids = f"ids of {name[2:]} below {size}, as {where} tells"
                raise DisentangleError(f"{path} must have {ids}, got {n - 1}")
        return size


def _finish(
    writers: dict[str, npz.Writer], sizes: _Sizes, norms: dict[str, LargestNorm], job: Import
) -> dict[str, Any]:
    """Write the matrices, or refuse a dataset that could not be loaded."""
    counts = {}
    for part, (path, *_) in job.parts().items():
        # Those of training are summed.
        n_rows = writers[f"X_{part}"].n_rows if part == "trn" else 1
        if problem := norms[part].problem(path, n_rows):
            raise DisentangleError(f"{problem} of the {part} part")
    for letter, name, place in (("X", "n_features", 0), ("Y", "n_labels", -1)):
        of_file = [(job.sources(part)[place], writers[f"{letter}_{part}"]) for part in job.parts()]
        for part, (source, writer) in zip(job.parts(), of_file, strict=True):
            if writer.nnz == 0:
                is_drawn = job.split is not None and part != "val"
                where = f" drawn for the {part} part (--seed draws others)" if is_drawn else ""
                raise DisentangleError(f"{source} must have instances with {name[2:]}, found none{where}")
        counts[name] = sizes.resolve(name, [(source, writer.n_columns_seen) for source, writer in of_file])
        for _, writer in of_file:
            writer.finish(counts[name])
        _, of_training = of_file[0]
        for sentence in datasets.sparse_ids(
            name.removeprefix("n_"), counts[name], of_training.n_columns_used
        ):
            logger.warning("note: %s", sentence)
    return {_SIZES[part]: writers[f"X_{part}"].n_rows for part in job.parts()} | counts
