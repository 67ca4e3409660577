"""The classifier for scikit-learn: fitted by the base job's own plan, its results those of its model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from ..data import tfidf
from ..data.components import LABEL_NAMES
from ..data.lines import write_lines
from ..errors import DisentangleError
from ..evaluate.metrics import precision, rank, recall
from ..jobs import bundles
from ..jobs.settings import Settings, variant_of
from ..limits import Limits
from ..params import MAX_K, PredictParams, TfidfParams, TreeParams, overlap_fields
from ..presets import PRESETS
from . import labels, training
from .bundle import Bundle, Suggestion
from .inputs import canonical, check_texts, is_text, n_threads, python_names


class LabelTreeClassifier(ClassifierMixin, BaseEstimator):
    """Labels by a tree in which a label may be in several clusters.

    Parameters
    ----------
    preset : {"paper", "tuned", "lean"}
    n_trees : int
        Trees whose scores are averaged; their seeds rise by one.
    beam_size, top_k, nr_splits : int
        As the command line has them.
    max_leaf_size : int, optional
        Most labels per cluster of the first tree; by default 100, or half of so few labels.
    random_state : int, RandomState or None
        Seed of all that is random; an int gives the same model each time, and that of the commands.
    n_jobs : int, optional
        Threads, as in scikit-learn; no effect on results.
    max_memory : float, optional
        GiB that the process may hold while it matches and predicts; no effect on results either.
    min_probability : float
        `predict` gives labels of at least this.
    sparse_output : bool
        Whether matrices of labels and scores are sparse; with few labels they may as well be arrays.
    tfidf : TfidfParams, optional
        How texts become features, if `X` is a list of texts.
    n_copies, gain, positives, leaf_size, overlap_splits, negatives, spared, first_terms, terms, max_df, \
matcher_eps, eps, threshold, hinge, predict_beam, merge : optional
        Parts of the preset that are to be others; None for the preset's own. `docs/presets.md` tells them.

    Attributes
    ----------
    classes_ : ndarray of shape (n_labels,)
        The label of each column: as in `Y`, rising, or the numbers of its columns.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Where `X` has names for all.

    Notes
    -----
    Two instances and three labels are the fewest. Fitting takes room in the system's temporary folder.
    """

    def __init__(
        self,
        preset: str = "tuned",
        n_trees: int = 1,
        *,
        beam_size: int = PredictParams.beam_size,
        top_k: int = PredictParams.top_k,
        nr_splits: int = TreeParams.nr_splits,
        max_leaf_size: int | None = None,
        random_state: Any = 0,
        n_jobs: int | None = None,
        max_memory: float | None = None,
        min_probability: float = 0.5,
        sparse_output: bool = True,
        tfidf: TfidfParams | None = None,
        n_copies: int | None = None,
        gain: str | None = None,
        positives: str | None = None,
        leaf_size: int | None = None,
        overlap_splits: int | None = None,
        negatives: float | None = None,
        spared: int | None = None,
        first_terms: int | None = None,
        terms: int | None = None,
        max_df: float | None = None,
        matcher_eps: float | None = None,
        eps: float | None = None,
        threshold: float | None = None,
        hinge: int | None = None,
        predict_beam: int | None = None,
        merge: str | None = None,
    ) -> None:
        self.preset = preset
        self.n_trees = n_trees
        self.beam_size = beam_size
        self.top_k = top_k
        self.nr_splits = nr_splits
        self.max_leaf_size = max_leaf_size
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.max_memory = max_memory
        self.min_probability = min_probability
        self.sparse_output = sparse_output
        self.tfidf = tfidf
        given = dict(locals())
        for name in overlap_fields():
            setattr(self, name, given[name])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.multi_output = True
        tags.classifier_tags.multi_label = True
        return tags

    def fit(self, X: Any, Y: Any) -> LabelTreeClassifier:
        """Train on instances and their labels.

        Parameters
        ----------
        X : sparse matrix or array-like of shape (n_instances, n_features), or list of str
            Features, or texts.
        Y : sparse matrix or array of shape (n_instances, n_labels), or list
            A matrix of 0 and 1; or a list, with a list of labels for each instance, or one label. Labels are
            all text, or all whole numbers.

        Raises
        ------
        ValueError
            In one sentence, if a parameter is out of its range or the data cannot be learnt from.
        """
        form, vectorizer = labels.form_of(Y), None
        if is_text(X):
            texts, params = check_texts(X), self.tfidf or TfidfParams()
            with python_names():
                params.validate()
                vectorizer = tfidf.fit(texts, params, "X")
            X, self.n_features_in_ = vectorizer.transform(texts), len(vectorizer.terms)
        else:
            X = validate_data(self, X, accept_sparse="csr", dtype=np.float32)
        matrix, classes = labels.encode(Y, form)
        names = None if form == labels.MATRIX else labels.lines(classes.tolist(), len(classes))
        with python_names():
            settings = self._settings(len(classes))
            model = training.train(canonical(X), matrix, settings, names, vectorizer)
        self.classes_, self._form, self._model = classes, form, model
        return self

    def predict(self, X: Any) -> Any:
        """Labels of instances in the form of `Y`: all that are probable enough; of one label each, the best.

        Lists of labels have the best first.
        """
        probabilities = self._probabilities(X)
        if self._form == labels.SINGLE:
            return self.classes_[np.asarray(probabilities.argmax(axis=1)).ravel()]
        Limits(0.0, 1.0).check("min_probability", self.min_probability)
        if self._form == labels.LISTS:
            return labels.lists(probabilities, self.min_probability, self.classes_)
        return self._out(labels.indicator(probabilities, self.min_probability))

    def predict_proba(self, X: Any) -> Any:
        """Probability of each label: the model's scores, which lie in [0, 1] and are not calibrated.

        Where instances have one label each, those of an instance add up to 1.

        Returns
        -------
        csr_matrix or ndarray of shape (n_instances, n_labels), float32
            0 for labels that the model does not find, which are all but `top_k` (copies counted) at least.
        """
        return self._out(self._probabilities(X))

    def decision_function(self, X: Any) -> Any:
        """Scores of labels, in the form of `predict_proba`: the higher, the likelier."""
        return self._out(self._bundle().scores(self._features(X)))

    def score(self, X: Any, Y: Any) -> float:
        """The mean of P@1, P@3, P@5 and R@10, from 0 to 1; of one label each, the accuracy.

        Instances without labels are left out. Presets are chosen by this mean.
        """
        check_is_fitted(self)
        if self._form == labels.SINGLE:
            return super().score(X, Y)
        true, _ = labels.encode(Y, self._form, self.classes_)
        scores = self._bundle().scores(self._features(X))
        if scores.shape[0] != true.shape[0]:
            raise DisentangleError(
                f"Y must have as many instances as X ({scores.shape[0]}), got {true.shape[0]}"
            )
        is_scored = np.diff(true.indptr) > 0
        if not is_scored.any():
            raise DisentangleError("Y must have labels for at least one instance, found none")
        best = rank(scores[is_scored], MAX_K)
        figures = [*precision(true[is_scored], best)[[0, 2, 4]], recall(true[is_scored], best)[9]]
        return float(np.mean(figures)) / 100

    def suggest(
        self, texts: Sequence[str], limit: int = MAX_K, threshold: float = 0.0
    ) -> list[list[Suggestion]]:
        """The best labels of each text, with names, as `Bundle.suggest` gives them."""
        return self._bundle().suggest(texts, limit, threshold)

    def save(
        self,
        folder: str | os.PathLike[str],
        *,
        names: Sequence[str] | None = None,
        uris: Sequence[str | None] | None = None,
        replace: bool = False,
    ) -> None:
        """Write a bundle, which `disentangle.load` reads.

        Parameters
        ----------
        folder : str or path-like
        names, uris : sequence of str, optional
            Of the labels, in the order of `classes_`. Labels that are text have names.
        replace : bool
            Whether `folder` may be a bundle already.

        Raises
        ------
        DisentangleError
            If the folder is there and may not be replaced, or cannot be written, or names are no lines.
        """
        check_is_fitted(self)
        with python_names(), bundles.making(Path(folder), replace) as made:
            self._model.unpack(made)
            for file, given in ((LABEL_NAMES, names), (bundles.URIS, uris)):
                if given is not None:
                    write_lines(made / file, labels.lines(given, len(self.classes_)))
            bundles.seal(made, bundles.said_of(made))

    def _settings(self, n_labels: int) -> Settings:
        """What the base job would be told."""
        if self.preset not in PRESETS:
            raise DisentangleError(f"preset must be one of {', '.join(PRESETS)}, got {self.preset!r}")
        given = {name: _plain(value) for name, value in self.get_params(deep=False).items()}
        leaf = given["max_leaf_size"]
        if leaf is None:
            leaf = TreeParams.max_leaf_size
            leaf = leaf if n_labels > leaf else max(2, n_labels // 2)
        seed = given["random_state"]
        if not isinstance(seed, int):
            seed = int(check_random_state(seed).randint(2**31 - 1))
        parts = {name: given[name] for name in overlap_fields() if given[name] is not None}
        settings = Settings(
            threads=n_threads(self.n_jobs),
            variants=(variant_of(self.preset, parts),),
            tree=TreeParams(given["nr_splits"], leaf, seed),
            n_trees=given["n_trees"],
            predict=PredictParams(given["beam_size"], given["top_k"]),
            max_memory=given["max_memory"],
        )
        settings.validate()
        return settings

    def _features(self, X: Any) -> sp.csr_matrix:
        check_is_fitted(self)
        if is_text(X):
            return self._bundle().features(X)
        return canonical(validate_data(self, X, accept_sparse="csr", dtype=np.float32, reset=False))

    def _bundle(self) -> Bundle:
        check_is_fitted(self)
        return self._model.bundle(self.n_jobs, self.max_memory)

    def _probabilities(self, X: Any) -> sp.csr_matrix:
        bundle = self._bundle()
        found = bundle.probabilities(bundle.scores(self._features(X)))
        return labels.shares(found) if self._form == labels.SINGLE else found

    def _out(self, matrix: sp.csr_matrix) -> Any:
        return matrix if self.sparse_output else matrix.toarray()


def _plain(value: Any) -> Any:
    """A number of numpy's as Python's: grids are often made by numpy, records are JSON."""
    return value.item() if isinstance(value, np.generic) else value
