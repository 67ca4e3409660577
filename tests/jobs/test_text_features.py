"""What features of new texts are made by, as a model's evaluation tells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from disentangle.data.features import DENSE, SPARSE, VECTORIZER_FILE, Block, FeatureSet
from disentangle.errors import DisentangleError
from disentangle.jobs import encode, text_features
from disentangle.params import FEATURES

TERMS = Block("tfidf", SPARSE, 4, True, {"features": FEATURES, "vectorizer": "0"})
ENCODED = Block("embedding", DENSE, 2, True, {"encoder": "Mini"})
OTHER = Block("embedding", DENSE, 2, True, {"method": "XR-Transformer"})


@pytest.mark.parametrize(
    ("files", "blocks", "expected"),
    [
        ((), (), False),
        ((VECTORIZER_FILE,), (), True),
        ((VECTORIZER_FILE,), (TERMS, ENCODED), True),
        ((VECTORIZER_FILE,), (TERMS, OTHER), False),
        ((), (ENCODED,), True),
        ((), (TERMS, ENCODED), False),
    ],
)
def test_which_models_take_texts(files: tuple[str, ...], blocks: tuple[Block, ...], expected: bool):
    saved: Any = set(files)
    assert text_features.are_of_texts(saved, FeatureSet(Path("none"), blocks)) is expected


@pytest.mark.parametrize("files", [{"../../.bashrc": "00"}, {"a/config.json": "00"}])
def test_an_encoder_of_other_files_is_refused_before_it_is_copied(tmp_path: Path, files: dict[str, str]):
    said = {"encoder": "Mini", "max_length": 64, "files": files}
    made = FeatureSet(tmp_path, (Block("embedding", DENSE, 2, True, said),))
    with pytest.raises(DisentangleError, match=r"must say what encoder there was, .* is no file"):
        text_features.encoders(made)


def test_features_that_are_no_terms_are_refused_before_anything_is_trained(tmp_path: Path):
    (tmp_path / FEATURES).mkdir()
    FeatureSet(tmp_path / FEATURES, (ENCODED,)).save()
    with pytest.raises(DisentangleError, match="must be one sparse matrix, found features"):
        encode.check_texts(tmp_path)
