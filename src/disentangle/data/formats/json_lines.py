"""JSON lines: an object per instance, its text and the names of its labels; and texts alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..lines import Line, read_lines, write_lines
from .blocks import Block, blocks
from .part import Part


def read_jsonl(path: Path) -> Iterator[Block]:
    """JSON lines: an object with "text" and a list of "labels", names or numbers that serve as names.

    Raises
    ------
    DisentangleError
        As `read_lines`, and if a line is not of this form.
    """
    for block in blocks(read_lines(path)):
        read = [_parse_json(line) for line in block]
        yield Block([labels for labels, _ in read], [text for _, text in read])


def read_texts(path: Path, is_json: bool) -> Iterator[list[str]]:
    """Texts without labels, a line each: the line itself, or an object with a "text".

    Raises
    ------
    DisentangleError
        As `read_lines`, and if a line should be such an object and is not.
    """
    for block in blocks(read_lines(path)):
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


def write_jsonl(folder: Path, part: Part) -> None:
    """`PART.jsonl` of `read_jsonl`."""
    rows = zip(part.read_labels(), part.read_texts(), strict=True)
    objects = ({"text": text, "labels": [part.names[i] for i in row]} for row, text in rows)
    write_lines(folder / f"{part.name}.jsonl", (json.dumps(one, ensure_ascii=False) for one in objects))
