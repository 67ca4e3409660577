"""New texts to the features that a model was trained with, by what its evaluation carries or vouches for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from ..data.features import DENSE, FEATURES_FILE, Block, FeatureSet
from ..data.tfidf import VECTORIZER_FILE, Vectorizer
from ..encoder import packages
from ..encoder.pretrained import Pretrained
from ..errors import DisentangleError
from ..params import EncoderParams
from ..runtime import threads
from ..storage.saved import Saved
from .encode_steps import ENCODER

Maker = Callable[[list[str]], sp.csr_matrix]


def maker(saved: Saved, folder: Path, n_features: int) -> Maker:
    """What makes features of new texts.

    Parameters
    ----------
    saved : Saved
        The evaluation, which carries the vocabulary, and says which encoder there was.
    folder : Path
        Of the feature set, where an encoder lies.
    n_features : int
        Of the model.

    Raises
    ------
    DisentangleError
        If there is no vocabulary, the encoder is not there or another one, or features are more or fewer.
    """
    of_model = blocks_of(saved, folder)
    if not of_model.blocks:
        return _by_terms(saved, n_features)
    saved.check_fit("features", sum(block.n_columns for block in of_model.blocks), n_features)
    makers = [_of_block(block, of_model, saved) for block in of_model.blocks]

    def make(texts: list[str]) -> sp.csr_matrix:
        return of_model.side_by_side([of_block(texts) for of_block in makers])

    return make


def blocks_of(saved: Saved, folder: Path) -> FeatureSet:
    """The feature set that a model was trained with, as its evaluation tells; it lies in `folder`."""
    if FEATURES_FILE not in saved:
        return FeatureSet(folder)
    with saved.pinned(FEATURES_FILE) as path:
        return FeatureSet.read(path, folder)


def are_of_texts(saved: Saved, of_model: FeatureSet) -> bool:
    """Whether a model's features can be made of new texts."""
    has_terms = VECTORIZER_FILE in saved
    if not of_model.blocks:
        return has_terms
    return all(_is_encoded(own) or (has_terms and own == of_model.of_terms) for own in of_model.blocks)


def _is_encoded(block: Block) -> bool:
    return block.kind == DENSE and "encoder" in block.made_from


def encoders(of_model: FeatureSet) -> list[Pretrained]:
    """What the embeddings of a feature set are made by; it must still be there."""
    made_from = [block.made_from for block in of_model.blocks if _is_encoded(block)]
    return [_encoder(said, of_model.folder)[0] for said in made_from]


def _encoder(said: dict[str, Any], folder: Path) -> tuple[Pretrained, EncoderParams]:
    try:
        source = Pretrained(folder / ENCODER, dict(said["files"]), str(said["encoder"]))
        params = EncoderParams(max_length=said["max_length"])
        params.validate()
    except (KeyError, TypeError, ValueError) as error:
        raise DisentangleError(
            f"{folder / FEATURES_FILE} must say what encoder there was, found something else: {error}"
        ) from error
    return source, params


def _of_block(block: Block, of_model: FeatureSet, saved: Saved) -> Maker:
    if _is_encoded(block):
        return _by_encoder(block, of_model.folder)
    if block == of_model.of_terms:
        return _by_terms(saved, block.n_columns)
    raise DisentangleError(
        f"texts need a feature set that `encode` has made: {of_model.folder / FEATURES_FILE} does not say "
        f"how the block {block.name} is made of a text"
    )


def _by_terms(saved: Saved, n_terms: int) -> Maker:
    if VECTORIZER_FILE not in saved:
        raise DisentangleError(
            f"texts need a model of a dataset that was imported from texts, found no {VECTORIZER_FILE} "
            f"in {saved.folder}"
        )
    with saved.pinned(VECTORIZER_FILE) as path:
        vectorizer = Vectorizer.load(path)
    if (found := len(vectorizer.terms)) != n_terms:
        raise saved.damaged(VECTORIZER_FILE, f"expected {n_terms} terms, as the model has, found {found}")
    return vectorizer.transform


def _by_encoder(block: Block, folder: Path) -> Maker:
    packages.require(threads.allowed())
    from ..encoder import device
    from ..encoder.text_encoder import TextEncoder

    device.limit_threads(threads.allowed())
    source, params = _encoder(block.made_from, folder)
    source.check(source.folder)
    with device.has_room():
        encoder = TextEncoder(source, params, device.choose("auto"))
    if encoder.width != block.n_columns:
        raise DisentangleError(
            f"the block {block.name} of {folder} must have {block.n_columns} columns, as the model has, "
            f"got {encoder.width}"
        )

    def make(texts: list[str]) -> sp.csr_matrix:
        with device.has_room():
            return sp.csr_matrix(encoder.encode(texts).astype(np.float32))

    return make
