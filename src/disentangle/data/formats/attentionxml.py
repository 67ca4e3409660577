"""AttentionXML's raw text: a file of texts, and one of label names between blanks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ..lines import read_lines, write_lines
from .blocks import Block, blocks
from .part import Part

# ASCII's white space, as C's isspace has it. One by one, so that names differ in `_` as they did before.
_PARTING = re.compile("[ \t\v\f\r]")


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
    for block in blocks(read_lines(texts)):
        pairs = []
        for line in block:
            if (answer := next(other, None)) is None:
                raise line.wrong(f"the end, as {labels} has {line.number - 1} lines")
            pairs.append((line.text, answer.text))
        yield pairs
    if (answer := next(other, None)) is not None:
        raise answer.wrong(f"the end, as {texts} has {answer.number - 1} lines")


def write_attentionxml(folder: Path, part: Part) -> None:
    """`PART_texts.txt` and `PART_labels.txt` of `read_text_and_labels`."""
    write_lines(folder / f"{part.name}_texts.txt", part.read_texts())
    labels = (" ".join(part.names[i] for i in row) for row in part.read_labels())
    write_lines(folder / f"{part.name}_labels.txt", labels)
