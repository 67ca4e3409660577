"""A bundle at work: labels for texts, with their names and URIs, and for matrices."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from ..data.features import FEATURES_FILE
from ..data.tfidf import VECTORIZER_FILE
from ..errors import DisentangleError
from ..jobs import bundles, predict, text_features
from ..jobs.calibrate import calibration_of
from ..limits import Limits
from ..model.predictor import Predictor
from ..params import MAX_K
from ..runtime.memory import Budget
from ..runtime.threads import limited_to
from ..storage.atomic import scratch
from ..storage.matrices import LARGEST_NORM, largest_norm
from ..storage.saved import RECORD
from .inputs import as_matrix, check_texts, n_threads, python_names


class Suggestion(NamedTuple):
    """A label for a text.

    Attributes
    ----------
    label : int
        Its column in matrices of scores.
    name : str
    uri : str or None
    score : float
        In [0, 1]; by it labels are ranked.
    probability : float or None
        That the label is right; None of a model that is not calibrated.
    """

    label: int
    name: str
    uri: str | None
    score: float
    probability: float | None = None


class Bundle:
    """A model that predicts, from a bundle's folder; `load` makes one.

    All but an encoder is in memory. Pickled it is the name of its folder, from which whoever unpickles it
    loads it again.

    Attributes
    ----------
    names : list of str
    uris : list of str or None
    card : dict
        What `README.md` says of the model.
    content : str
        Sha256 of all that is in the folder.
    n_labels, n_features : int
    most : int
        Labels that there may be of an instance.
    calibration : Calibration or None
        What makes probabilities of scores. Its `threshold` is the probability from which on labels had the
        highest micro-averaged F1, its `f1` in percent, on validation data.
    """

    def __init__(self, folder: Path, n_jobs: int | None = None, max_memory: float | None = None) -> None:
        self._folder, self._given = folder, (n_jobs, max_memory)
        with python_names():
            self._threads, self._budget = n_threads(n_jobs), Budget.of(max_memory)
        self._saved, record = bundles.open_bundle(folder)
        self.card, self.content = record["inputs"], self._saved.content
        self._predictor = Predictor.read(folder)
        self.calibration = calibration_of(self._predictor, is_bundle=True)
        with limited_to(self._threads):
            self._predictor.load_models(budget=self._budget)
        self.n_labels, self.n_features = self._predictor.n_labels, self._predictor.n_features
        self.most = min(self.n_labels, *(voice.predict.top_k for voice in self._predictor.voices))
        self._blocks = text_features.blocks_of(self._saved, folder)
        self.names = predict.label_names(self._saved, self.n_labels)
        self.uris = bundles.read_uris(self._saved, self.n_labels)
        if FEATURES_FILE not in self._saved and VECTORIZER_FILE in self._saved:
            _ = self._maker

    def __reduce__(self) -> tuple[Any, ...]:
        return _load_again, (self._folder, self.content, *self._given)

    @cached_property
    def _maker(self) -> text_features.Maker:
        """What makes features of texts; an encoder takes torch, and is loaded when it is first asked for."""
        if FEATURES_FILE not in self._saved and VECTORIZER_FILE not in self._saved:
            raise DisentangleError("texts need a model of texts, found one of features, which predict takes")
        return text_features.maker(self._saved, self._folder, self.n_features)

    def suggest(
        self, texts: Sequence[str], limit: int = MAX_K, threshold: float = 0.0
    ) -> list[list[Suggestion]]:
        """The best labels of each text, best first; none for a text without any known word.

        Parameters
        ----------
        texts : list of str
        limit : int
            Most labels of a text.
        threshold : float
            Least probability of a label; of a model that is not calibrated its least score.

        Raises
        ------
        DisentangleError
            If these are no texts, a number is out of its range, or the model is not one of texts.
        """
        if not len(read := check_texts(texts)):
            return []
        labels, scores = self._best(self.features(read), limit, threshold)
        probabilities = [[None] * labels.shape[1]] * len(labels)
        if self.calibration is not None:
            probabilities = self.calibration.of(scores).tolist()
        rows = zip(labels.tolist(), scores.tolist(), probabilities, strict=True)
        return [
            [Suggestion(i, self.names[i], self.uris[i], *own) for i, *own in zip(*row, strict=True) if i >= 0]
            for row in rows
        ]

    def predict(self, X: Any, limit: int = MAX_K, threshold: float = 0.0) -> sp.csr_matrix:
        """Probabilities of the best labels of each instance; none for one without features.

        They are scores of a model that is not calibrated.

        Parameters
        ----------
        X : sparse matrix or array-like of shape (n_instances, n_features)
            Of a model of several blocks of features these side by side, as `predict --input` takes them.
        limit, threshold
            As in `suggest`.

        Returns
        -------
        csr_matrix of shape (n_instances, n_labels), float64; of scores float32

        Raises
        ------
        ValueError
            If it is no matrix of finite numbers with as many columns, or a number is out of its range.
        """
        best = self._best(self._blocks.fit(self._checked(as_matrix(X))), limit, threshold)
        found = self.probabilities(predict.as_matrix(*best, self.n_labels))
        found.sort_indices()
        return found

    def features(self, texts: Sequence[str]) -> sp.csr_matrix:
        """Features of texts: csr_matrix of shape (n_texts, n_features), float32."""
        with limited_to(self._threads):
            return self._maker(check_texts(texts))

    def scores(self, X: sp.csr_matrix) -> sp.csr_matrix:
        """Scores of all labels that the model finds, as an evaluation has them: without features, too."""
        with python_names():
            batches = self._predictor.best(self._checked(X), self.most, self._threads, self._budget)
            found = sp.vstack([predict.as_matrix(*best, self.n_labels) for best in batches], "csr")
        found.sort_indices()
        return found

    def probabilities(self, scores: sp.csr_matrix) -> sp.csr_matrix:
        """What scores stand for, as float64; the scores themselves of a model that is not calibrated."""
        if self.calibration is None:
            return scores
        arrays = self.calibration.of(scores.data), scores.indices, scores.indptr
        return sp.csr_matrix(arrays, shape=scores.shape)

    def _checked(self, X: sp.csr_matrix) -> sp.csr_matrix:
        if X.shape[1] != self.n_features:
            raise DisentangleError(f"X must have {self.n_features} features, got {X.shape[1]}")
        if (largest := largest_norm(X)).norm > LARGEST_NORM:
            rule = f"rows whose squares add up to at most {LARGEST_NORM**2:.2g}, float32's limit"
            raise DisentangleError(f"X must have {rule}, got {largest.norm**2:.2g} in row {largest.row}")
        return X

    def _best(self, X: sp.csr_matrix, limit: int, threshold: float) -> tuple[np.ndarray, np.ndarray]:
        """Those labels of each instance, best first, -1 where there are fewer, and their scores."""
        Limits(1, max(self.most, MAX_K)).check("limit", limit)
        Limits(0.0, 1.0).check("threshold", threshold)
        found: list[tuple[np.ndarray, np.ndarray]] = []
        how = min(limit, self.most), self._threads, self._budget
        with python_names():
            predict.predict(self._predictor, [X], *how, lambda _, *best: found.append(best))
        labels, scores = (np.concatenate(own) for own in zip(*found, strict=True))
        values = scores if self.calibration is None else self.calibration.of(scores)
        return np.where(values >= threshold, labels, -1), scores


def load(
    folder: str | os.PathLike[str], n_jobs: int | None = None, max_memory: float | None = None
) -> Bundle:
    """Load a bundle, from the command `bundle` or a classifier's `save`.

    Parameters
    ----------
    folder : str or path-like
    n_jobs : int, optional
        Threads, as in scikit-learn; no effect on results.
    max_memory : float, optional
        GiB that the process may hold while it predicts; no effect on results either.

    Raises
    ------
    DisentangleError
        If it is no bundle, or not what was written.
    """
    return Bundle(Path(folder).absolute(), n_jobs, max_memory)


def _load_again(folder: Path, content: str, n_jobs: int | None, max_memory: float | None) -> Bundle:
    """A bundle that was pickled."""
    bundle = load(folder, n_jobs, max_memory)
    if bundle.content != content:
        raise DisentangleError(f"{folder} must hold the bundle that was pickled, found another")
    return bundle


class Packed:
    """The files of a bundle in memory, which a fitted classifier is made of.

    Parameters
    ----------
    files : dict of str to bytes
        By their paths in the folder.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self._loaded: dict[tuple[int | None, float | None], Bundle] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return Packed, (self.files,)

    @classmethod
    def of(cls, folder: Path) -> Packed:
        """What is in a folder by now."""
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        return cls({str(path.relative_to(folder)): path.read_bytes() for path in paths})

    def said(self) -> dict[str, Any]:
        """What the record says of the model."""
        return dict(json.loads(self.files[RECORD])["inputs"])

    def unpack(self, folder: Path) -> None:
        """Write all but the record into a folder that is there."""
        for name in self.files.keys() - {RECORD}:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(self.files[name])

    def bundle(self, n_jobs: int | None, max_memory: float | None) -> Bundle:
        """What predicts, loaded once for each way to."""
        given = n_jobs, max_memory
        # Another thread may put its own there in the meantime.
        if (found := self._loaded.get(given)) is None:
            with scratch() as folder:
                self.unpack(folder)
                (folder / RECORD).write_bytes(self.files[RECORD])
                found = Bundle(folder, *given)
            self._loaded = {given: found}
        return found
