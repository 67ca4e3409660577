"""Files that people have their data in, and that other programs take: a module for each format."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from . import annif, attentionxml, json_lines, npz_matrices, pecos_text, svmlight, tables
from .blocks import Block
from .part import Part


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
    takes : tuple of str
        Fields of `Columns`, which `read` then takes.
    has_several : bool
        Whether a part may be several files, read one after the other; of a format with one file.
    has_folders : bool
        Whether a folder may be in place of a file.
    needs_names : bool
        Whether `read` asks for the number of labels, which a file of their names tells.
    write : callable or None
        Takes a folder and a `Part`, and writes its files.
    as_written : callable
        Takes a label's name and returns it as the files have it.
    """

    read: Callable[..., Iterator[Block]]
    files: tuple[str, ...] = ("FILE",)
    has_text: bool = True
    has_names: bool = True
    write: Callable[[Path, Part], None] | None = None
    takes: tuple[str, ...] = ()
    has_several: bool = False
    has_folders: bool = False
    needs_names: bool = False
    as_written: Callable[[str], str] = str


_TABLE = ("text", "labels", "separator", "delimiter", "has_quotes")
FORMATS = {
    "svmlight": Format(
        svmlight.read_svmlight, has_text=False, has_names=False, write=svmlight.write_svmlight
    ),
    "attentionxml": Format(
        attentionxml.read_text_and_labels,
        ("TEXTS", "LABELS"),
        write=attentionxml.write_attentionxml,
        as_written=attentionxml.one_word,
    ),
    "pecos": Format(pecos_text.read_pecos, has_names=False, write=pecos_text.write_pecos, needs_names=True),
    "jsonl": Format(
        json_lines.read_jsonl, write=json_lines.write_jsonl, takes=("text", "labels"), has_several=True
    ),
    "csv": Format(tables.read_csv, takes=_TABLE, has_several=True),
    "tsv": Format(tables.read_tsv, takes=_TABLE, has_several=True),
    "annif": Format(annif.read_corpus, takes=("text",), has_several=True, has_folders=True),
    "npz": Format(npz_matrices.read_matrices, ("FEATURES", "LABELS"), has_text=False, has_names=False),
}
