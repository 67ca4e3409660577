"""A dataset to the text formats that can be imported, for other programs and for a round trip."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import scipy.sparse as sp
from sklearn.datasets import dump_svmlight_file

from ..errors import DisentangleError
from ..storage import atomic
from ..storage.places import check_apart
from . import components, datasets
from .components import write_lines
from .readers import FORMATS, read_lines


@dataclass(frozen=True)
class Part:
    """One half of a dataset.

    Attributes
    ----------
    name : {"trn", "tst"}
    X, Y : csr_matrix
    texts : Path
        The file of its texts, one a line, if it has one.
    names : list of str
        Of the labels, as the format writes them.
    """

    name: str
    X: sp.csr_matrix
    Y: sp.csr_matrix
    texts: Path
    names: list[str]

    def read_texts(self) -> Iterator[str]:
        """The text of each instance."""
        if not self.texts.is_file():
            raise DisentangleError(
                f"missing file {self.texts}: expected the text of each instance, one a line"
            )
        n = 0
        for line in read_lines(self.texts):
            n = line.number
            yield line.text
        if n != self.Y.shape[0]:
            raise DisentangleError(
                f"{self.texts} must have {self.Y.shape[0]} lines, one an instance, got {n}"
            )

    def read_labels(self) -> Iterator[list[int]]:
        """The label ids of each instance."""
        for start, end in zip(self.Y.indptr[:-1], self.Y.indptr[1:], strict=True):
            yield self.Y.indices[start:end].tolist()


def export_dataset(data_dir: Path, name: str, format: str, out: Path) -> list[Path]:
    """Write a dataset's two parts and its label names in another format.

    Parameters
    ----------
    data_dir : Path
    name : str
    format : str
        A key of `WRITERS`. Text formats need `X.trn.txt` and `X.tst.txt` in the dataset's folder.
    out : Path
        A folder that does not exist yet; it is made whole or not at all.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    DisentangleError
        If the dataset cannot be loaded, has no text where the format needs it, has names that the format
        cannot tell apart, or `out` exists or cannot be written.
    """
    if not out.name:
        raise DisentangleError(f"--out must name a folder to make, got {str(out)!r}")
    folder = datasets.dataset_folder(data_dir, name)
    check_apart("--out", out, [folder])
    read = datasets.load_parts(folder)
    names = components.label_names(folder, read["Y_trn"].shape[1])
    written = [FORMATS[format].as_written(label) for label in names]
    if FORMATS[format].has_names and (repeated := components.first_repeated(written)):
        first, again = repeated
        raise DisentangleError(
            f"{format} tells labels by their names, which must differ: labels {first} and {again} "
            f"are both {written[first]!r}"
        )
    parts = [
        Part(part, read[f"X_{part}"], read[f"Y_{part}"], folder / f"X.{part}.txt", written)
        for part in ("trn", "tst")
    ]
    with atomic.claim(out) as temporary:
        if out.exists():
            raise DisentangleError(f"{out} must not exist yet, it is made anew")
        try:
            temporary.mkdir()
            write_lines(temporary / components.LABEL_NAMES, names)
            for part in parts:
                WRITERS[format](temporary, part)
            files = sorted(path.name for path in temporary.iterdir())
            atomic.publish(temporary, out)
        except OSError as error:
            raise DisentangleError(f"cannot write {error.filename or out}: {error.strerror}") from error
    return [out / file for file in files]


def write_svmlight(folder: Path, part: Part) -> None:
    """`PART.txt` of `readers.read_svmlight`, with its header."""
    with (folder / f"{part.name}.txt").open("wb") as file:
        file.write(f"{part.X.shape[0]} {part.X.shape[1]} {part.Y.shape[1]}\n".encode())
        dump_svmlight_file(part.X, part.Y, file, zero_based=True, multilabel=True)


def write_attentionxml(folder: Path, part: Part) -> None:
    """`PART_texts.txt` and `PART_labels.txt` of `readers.read_text_and_labels`."""
    write_lines(folder / f"{part.name}_texts.txt", part.read_texts())
    labels = (" ".join(part.names[i] for i in row) for row in part.read_labels())
    write_lines(folder / f"{part.name}_labels.txt", labels)


def write_pecos(folder: Path, part: Part) -> None:
    """`PART.txt` of `readers.read_pecos`."""
    rows = zip(part.read_labels(), part.read_texts(), strict=True)
    write_lines(folder / f"{part.name}.txt", (f"{','.join(map(str, row))}\t{text}" for row, text in rows))


def write_jsonl(folder: Path, part: Part) -> None:
    """`PART.jsonl` of `readers.read_jsonl`."""
    rows = zip(part.read_labels(), part.read_texts(), strict=True)
    objects = ({"text": text, "labels": [part.names[i] for i in row]} for row, text in rows)
    write_lines(folder / f"{part.name}.jsonl", (json.dumps(one, ensure_ascii=False) for one in objects))


WRITERS: dict[str, Callable[[Path, Part], None]] = {
    "svmlight": write_svmlight,
    "attentionxml": write_attentionxml,
    "pecos": write_pecos,
    "jsonl": write_jsonl,
}
