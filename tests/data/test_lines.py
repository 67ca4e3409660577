"""Texts beside instances."""

from __future__ import annotations

from pathlib import Path

import pytest

from disentangle.data.lines import read_texts
from disentangle.errors import DisentangleError


@pytest.mark.parametrize("n", [1, 3])
def test_texts_that_are_too_many_or_too_few_are_a_sentence_beside_labels_too(tmp_path: Path, n: int):
    path = tmp_path / "X.trn.txt"
    path.write_text("one\ntwo\n")
    assert list(read_texts(path, 2)) == ["one", "two"]
    with pytest.raises(DisentangleError, match=rf"X.trn.txt must have {n} lines, one an instance, got 2"):
        list(zip(range(n), read_texts(path, n), strict=True))


def test_texts_that_are_missing_are_a_sentence(tmp_path: Path):
    with pytest.raises(DisentangleError, match=r"missing file .*X.trn.txt: expected the text of each"):
        list(read_texts(tmp_path / "X.trn.txt", 2))
