"""PECOS's text format: ids of labels, a tab, the text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..lines import read_lines, write_lines
from .blocks import IDS, Block, blocks, ids_matrix
from .part import Part


def read_pecos(path: Path, n_labels: int) -> Iterator[Block]:
    """PECOS's text format: label ids from 0 between commas, a tab, the text; a line an instance.

    Raises
    ------
    DisentangleError
        As `read_lines`, and if a line is not of this form or an id is not below `n_labels`.
    """
    for block in blocks(read_lines(path)):
        parts = []
        for line in block:
            ids, tab, text = line.text.partition("\t")
            if not tab or not (ids == "" or IDS.fullmatch(ids)):
                raise line.wrong("label,label<tab>text")
            parts.append((ids, text))
        yield Block(ids_matrix(block, [ids for ids, _ in parts], n_labels), [text for _, text in parts])


def write_pecos(folder: Path, part: Part) -> None:
    """`PART.txt` of `read_pecos`."""
    rows = zip(part.read_labels(), part.read_texts(), strict=True)
    write_lines(folder / f"{part.name}.txt", (f"{','.join(map(str, row))}\t{text}" for row, text in rows))
