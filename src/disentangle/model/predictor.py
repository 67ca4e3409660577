"""Saved models as one that predicts original labels: their copies merged, then their scores."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from ..errors import DisentangleError
from ..evaluate.metrics import candidates_of
from ..kernels.beam_model import Model
from ..overlap.copies import OVERLAP_FILE, Overlap
from ..overlap.merge import best_labels
from ..params import PredictParams
from ..rules import MERGES
from ..runtime.memory import UNLIMITED, Budget
from ..runtime.workers import Workers, workers_of
from ..storage.compressed import Flat, rows_of
from ..storage.saved import Saved
from . import beam_search, saved_model
from .saved_model import load_overlap

PREDICTOR_FILE = "predictor.json"
# Of the mean of several models' scores, of exponent 1/4: a label that all find rather likely comes before one
# that a single one is sure of. Square roots are the same on every processor, other powers are not.
ROOTS = 2
# Earlier versions' mean, which says nothing of it.
_NO_ROOTS = 0
# Bytes of a node that a model has found, once more while all are merged.
_TO_MERGE = 20


@dataclass(frozen=True)
class Voice:
    """A saved model whose scores of labels are put together with others'.

    Attributes
    ----------
    saved : Saved
    predict : PredictParams
        How it predicts here, whatever it has stored.
    """

    saved: Saved
    predict: PredictParams

    @cached_property
    def overlap(self) -> Overlap:
        return load_overlap(self.saved)


@dataclass(frozen=True)
class _Ranking:
    """What all batches of instances have in common."""

    models: tuple[Model, ...]
    predict: tuple[PredictParams, ...]
    originals: tuple[np.ndarray, ...]
    merge: str
    roots: int


def _best(ranking: _Ranking, asked: tuple[Flat, int, int], threads: int) -> tuple[np.ndarray, np.ndarray]:
    X, k, room = asked
    found = [
        beam_search.predict(model, X, predict, room, threads)
        for model, predict in zip(ranking.models, ranking.predict, strict=True)
    ]
    return best_labels(found, ranking.originals, ranking.merge, ranking.roots, k, threads)


class Predictor:
    """Power means of models' scores.

    Parameters
    ----------
    voices : tuple of Voice
        Of models with the same features and labels.
    merge : str
        Rule for scores of copies of one label: a key of `rules.MERGES`.
    saved : Saved, optional
        The evaluation that it was read from, which carries what says what features and labels are.
    roots : int
        The mean's exponent is 2 ** -roots. Of one model there is no mean: it is 0.

    Attributes
    ----------
    n_labels, n_features : int
    """

    def __init__(
        self,
        voices: tuple[Voice, ...],
        merge: str,
        saved: Saved = Saved(Path(), {}),  # noqa: B008
        roots: int = ROOTS,
    ) -> None:
        self.voices = voices
        self.merge = merge
        self.saved = saved
        self.roots = roots if len(voices) > 1 else 0
        self._ranking: _Ranking | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """What another process is sent is where it was read from, which it reads again.

        Raises
        ------
        TypeError
            If it was not read.
        """
        if not self.saved.digests:
            raise TypeError("a Predictor can be pickled only if `load` or `read` has read it from a folder")
        return Predictor.load, (self.saved.folder.absolute(),)

    @classmethod
    def load(cls, folder: Path) -> Predictor:
        """Read what `save` wrote into an evaluation's folder, and the models, which may then be replaced.

        Raises
        ------
        DisentangleError
            As `read` and `load_models`.
        """
        predictor = cls.read(folder)
        predictor.load_models()
        return predictor

    @classmethod
    def read(cls, folder: Path) -> Predictor:
        """Read what `save` wrote; the models are yet to be loaded, and must be the same then.

        Raises
        ------
        DisentangleError
            If a file is missing or damaged, or a model that it names is not there or another by now.
        """
        saved, _ = Saved.at(folder)
        read = saved.read_json(PREDICTOR_FILE)
        try:
            merge, roots = _merge(read["merge"])
            voices = tuple(_voice(folder, said) for said in read["models"])
            if merge not in MERGES:
                raise ValueError(f"a rule of merging {merge!r}")
            if not voices:
                raise ValueError("it names no model")
            if len({voice.saved.folder for voice in voices}) < len(voices):
                raise ValueError("it names a model twice")
        except DisentangleError:
            raise
        except (ValueError, TypeError, KeyError, ArithmeticError) as error:
            raise saved.damaged(PREDICTOR_FILE, error) from error
        return cls(voices, merge, saved, roots)

    def load_models(self, budget: Budget = UNLIMITED) -> None:
        """Load the models; predicting does it where it has not been done.

        Parameters
        ----------
        budget : Budget
            With a limit their weights lie in files that are mapped into memory.

        Raises
        ------
        DisentangleError
            If one is damaged, another by now, or of other features or labels.
        """
        self._loaded(budget)

    def _loaded(self, budget: Budget) -> _Ranking:
        if self._ranking is not None:
            return self._ranking
        models = tuple(saved_model.load(voice.saved, budget=budget) for voice in self.voices)
        for voice, model in zip(self.voices, models, strict=True):
            overlap, depth = voice.overlap, len(model.hinges)
            sizes = model.n_nodes(depth - 1), model.n_nodes(depth - 2)
            if (len(overlap.original), overlap.n_clusters) != sizes:
                raise voice.saved.damaged(
                    OVERLAP_FILE, "expected the copies and clusters of the model beside it"
                )
            if (overlap.n_labels, model.n_features) != (self.n_labels, self.n_features):
                raise self.saved.damaged(PREDICTOR_FILE, "expected models of the same features and labels")
        self._ranking = _Ranking(
            models,
            tuple(voice.predict for voice in self.voices),
            tuple(voice.overlap.original for voice in self.voices),
            self.merge,
            self.roots,
        )
        return self._ranking

    def save(self, folder: Path) -> None:
        """Write which models it is made of, by their places relative to `folder`."""
        models = [
            {
                "model": os.path.relpath(voice.saved.folder, folder),
                "predict": asdict(voice.predict),
                "content": voice.saved.content,
            }
            for voice in self.voices
        ]
        # Earlier versions refuse what they would take the ordinary mean of.
        merge = {"copies": self.merge, "roots": self.roots} if self.roots else self.merge
        said = json.dumps({"merge": merge, "models": models}, indent=1)
        (folder / PREDICTOR_FILE).write_text(said + "\n", encoding="utf-8")

    @property
    def n_labels(self) -> int:
        return self.voices[0].overlap.n_labels

    @property
    def n_features(self) -> int:
        return saved_model.n_features_of(self.voices[0].saved)

    def candidates(self, X: sp.csr_matrix, threads: int | Workers, budget: Budget = UNLIMITED) -> np.ndarray:
        """Labels, copies counted, that each model ranks for each instance.

        Returns
        -------
        ndarray of shape (n_models, n_instances), int64
        """
        kept = (
            (voice, beam_search.match(model, X, voice.predict.beam_size, threads, budget, without=1))
            for voice, model in zip(self.voices, self._loaded(budget).models, strict=True)
        )
        return np.array([candidates_of(M, voice.overlap.cluster_sizes()) for voice, M in kept])

    def best(
        self,
        X: sp.csr_matrix,
        k: int,
        threads: int | Workers,
        budget: Budget = UNLIMITED,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The best labels of each instance, in batches of instances; a model that lacks one counts 0 for it.

        Parameters
        ----------
        X : csr_matrix of shape (n_instances, n_features), float32
        k : int
            How many, at most the models' `top_k`.
        threads : int or Workers
            Has no effect on the result, nor has `budget`.
        budget : Budget

        Yields
        ------
        labels : ndarray of shape (at most n_instances, k), int32
            Best first, equal scores by ascending label id, -1 where an instance has fewer.
        scores : ndarray of the same shape, float32
            Theirs, 0 where there is none.
        """
        workers, ranking = workers_of(threads), self._loaded(budget)
        n_nodes = max(max(params.beam_size, params.top_k) for params in ranking.predict)
        n_nodes = min(n_nodes, max(model.largest for model in ranking.models))
        # Each model's nodes wait for the others', and are there once more as all are merged.
        n_nodes += -(-_TO_MERGE * n_nodes * len(ranking.models) // beam_search.BYTES_PER_NODE)
        rows, room = beam_search.batches(X.shape[0], n_nodes, workers, budget)
        checked = beam_search.checked(ranking.models[0], X)
        yield from workers.in_turn(_best, ranking, ((rows_of(checked, part), k, room) for part in rows))


def _merge(said: Any) -> tuple[str, int]:
    """The rule for copies, and the roots of the mean of models."""
    if not isinstance(said, dict):
        return said, _NO_ROOTS
    if said != {"copies": said["copies"], "roots": ROOTS}:
        raise ValueError(f"a way of merging {said}")
    return said["copies"], ROOTS


def _voice(evaluation: Path, said: dict[str, Any]) -> Voice:
    """A model that an evaluation names, if it is still the one that was evaluated."""
    predict = PredictParams(**said["predict"])
    if any(type(value) is not int for value in asdict(predict).values()):
        raise ValueError(f"{predict} instead of whole numbers")
    predict.validate()
    saved, _ = Saved.at(Path(os.path.normpath(evaluation / said["model"])))
    if saved.content != said["content"]:
        raise DisentangleError(
            f"{evaluation / PREDICTOR_FILE} needs the model that was at {saved.folder}, found another one: "
            "run the base job again"
        )
    return Voice(saved, predict)
