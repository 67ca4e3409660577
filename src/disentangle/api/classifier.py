"""The classifier for scikit-learn: fitted by the base job's own plan, its results those of its model."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.base import ClassifierMixin
from sklearn.preprocessing import normalize
from sklearn.utils.validation import check_is_fitted, validate_data

from ..data import tfidf
from ..data.components import LABEL_NAMES, URIS
from ..data.lines import write_lines
from ..errors import DisentangleError
from ..evaluate.metrics import precision, rank, recall
from ..jobs import bundles
from ..limits import Limits
from ..params import MAX_K
from . import labels, training
from .bundle import Bundle, Suggestion
from .inputs import canonical, check_texts, check_tfidf, is_text, python_names, sound
from .parameters import Parameters

# Labels of which a tree can be made.
_LEAST = 3


def _or_as_before(fit: Callable[..., Any]) -> Callable[..., Any]:
    """Have a fit that fails leave what an earlier one has made."""

    @wraps(fit)
    def fitted(self: Any, X: Any, y: Any) -> Any:
        before = dict(vars(self))
        try:
            return fit(self, X, y)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise

    return fitted


class LabelTreeClassifier(ClassifierMixin, Parameters):
    """Labels by a tree in which a label may be in several clusters.

    Parameters
    ----------
    preset : {"paper", "tuned", "lean"}
    n_trees : int
        Trees whose scores are put together by their power mean of exponent 1/4; their seeds rise by one.
    beam_size, top_k, nr_splits : int
        As the command line has them.
    max_leaf_size : int, optional
        Most labels per cluster of the first tree; by default 100, or half of so few labels.
    random_state : int, RandomState or None
        Seed of all that is random; an int gives the same model each time, and that of the commands.
    n_jobs, max_memory, cluster : int, float and str, optional
        Threads, as in scikit-learn; GiB that the process may hold; a scheduler of dask.distributed, by its
        address or file, whose workers share in fitting. None has an effect on results.
    min_probability : float
        `predict` gives labels of at least this.
    sparse_output : bool
        Whether matrices of labels and scores are sparse; with few labels they may as well be arrays.
    calibrate : bool
        Whether probabilities are calibrated, by models that are trained on four fifths of the data besides.
    tfidf : TfidfParams, optional
        How texts become features, if `X` is a list of texts.
    n_copies, gain, positives, cost, leaf_size, overlap_splits, negatives, terms, eps, threshold, \
hinge, predict_beam, merge : optional
        Parts of the preset that are to be others; None for the preset's own. `docs/presets.md` tells them.

    Attributes
    ----------
    classes_ : ndarray of shape (n_labels,)
        The label of each column: as in `y`, rising, or the numbers of its columns.
    n_features_in_ : int

    Notes
    -----
    Fitting takes room in the system's temporary folder (`TMPDIR`), and leaves nothing there. An instance
    without features has the scores that the model gives it, as in the job's figures; `suggest` gives it none.
    """

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_model")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.multi_output = True
        tags.classifier_tags.multi_label = True
        return tags

    @_or_as_before
    def fit(self, X: Any, y: Any) -> LabelTreeClassifier:
        """Train on instances and their labels.

        Parameters
        ----------
        X : sparse matrix or array-like of shape (n_instances, n_features), or list of str
            Features, or texts.
        y : sparse matrix or array of shape (n_instances, n_labels), or list
            A matrix of 0 and 1; or a list of each instance's labels, or label: all text, or whole numbers.

        Raises
        ------
        ValueError
            In one sentence, if a parameter is out of its range or the data cannot be learnt from.
        """
        (form, Y), vectorizer = labels.given(y), None
        if is_text(X):
            texts, params = check_texts(X), check_tfidf(self.tfidf)
            with python_names():
                vectorizer = tfidf.fit(texts, params, "X")
            X, self.n_features_in_ = vectorizer.transform(texts), len(vectorizer.terms)
            self.__dict__.pop("feature_names_in_", None)  # of an earlier fit
        else:
            X = validate_data(self, sound(X), accept_sparse="csr", dtype=np.float32)
        matrix, classes = labels.encode(Y, form)
        n_added = max(0, _LEAST - len(classes))
        names = None if form == labels.MATRIX else labels.lines([*classes.tolist(), *[None] * n_added])
        with python_names():
            # Fewer make no tree: what is added to them has no instance, and is never predicted.
            matrix.resize(matrix.shape[0], matrix.shape[1] + n_added)
            given = names, vectorizer, self.calibrate, self.cluster
            model = training.train(canonical(X), matrix, self.settings(matrix.shape[1]), *given)
        self.classes_, self._form, self._model = classes, form, model
        return self

    def predict(self, X: Any) -> Any:
        """Labels of instances in the form of `y`: all that are probable enough; of one label each, the best.

        Lists of labels have the best first.
        """
        probabilities = self._probabilities(X)
        if self._is_single():
            return self.classes_[np.asarray(probabilities.argmax(axis=1)).ravel()]
        Limits(0.0, 1.0).check("min_probability", self.min_probability)
        if self._form == labels.LISTS:
            return labels.lists(probabilities, self.min_probability, self.classes_)
        return self._out(labels.indicator(probabilities, self.min_probability))

    def predict_proba(self, X: Any) -> Any:
        """Probability of each label, or score if not calibrated; of one label each they add up to 1.

        Returns
        -------
        csr_matrix or ndarray of shape (n_instances, n_labels), float32, or float64 if calibrated
            0 for labels that the model does not find, which are all but `top_k` (copies counted) at least.
        """
        return self._out(self._probabilities(X))

    def decision_function(self, X: Any) -> Any:
        """Scores of labels, in the form of `predict_proba`: the higher, the likelier.

        Of one label each, and just two: how far the second is ahead, from -1 to 1, as scikit-learn has it.
        """
        if self._is_single() and len(self.classes_) == 2:
            return 2 * self._probabilities(X)[:, 1].toarray().ravel() - 1
        return self._out(self._scores(X))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The mean of P@1, P@3, P@5 and R@10, from 0 to 1; of one label each, the accuracy, with weights.

        Instances without labels are left out. Presets are chosen by this mean.
        """
        if self._is_single():
            return super().score(X, y, sample_weight)
        if sample_weight is not None:
            raise DisentangleError("sample_weight must be None where instances may have several labels")
        scores, (form, Y) = self._scores(X), labels.given(y)
        if form != self._form:
            raise DisentangleError(f"y must have the form of fit's ({self._form}), got {form}")
        true, _ = labels.encode(Y, form, self.classes_)
        return _mean_figure(true, scores)

    def suggest(
        self, texts: Sequence[str], limit: int = MAX_K, threshold: float = 0.0
    ) -> list[list[Suggestion]]:
        """The best labels of each text, with names, as `Bundle.suggest` gives them."""
        self._require_tree("suggest")
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
        self._require_tree("save")
        given = {LABEL_NAMES: names, URIS: uris}
        lines = {file: labels.lines(said, self.classes_) for file, said in given.items() if said is not None}
        with python_names(), bundles.making(Path(folder), replace) as made:
            self._model.unpack(made)
            for file, said in lines.items():
                write_lines(made / file, said)
            bundles.seal(made, self._model.said())

    def _is_single(self) -> bool:
        check_is_fitted(self)
        return self._form == labels.SINGLE

    def _require_tree(self, what: str) -> None:
        check_is_fitted(self)
        if len(self.classes_) < _LEAST:
            raise DisentangleError(f"{what} needs at least {_LEAST} labels, got {len(self.classes_)}")

    def _features(self, X: Any) -> sp.csr_matrix:
        if is_text(X):
            return self._bundle().features(X)
        return canonical(validate_data(self, sound(X), accept_sparse="csr", dtype=np.float32, reset=False))

    def _bundle(self) -> Bundle:
        check_is_fitted(self)
        return self._model.bundle(self.n_jobs, self.max_memory)

    def _scores(self, X: Any) -> sp.csr_matrix:
        return self._bundle().scores(self._features(X))[:, : len(self.classes_)]

    def _probabilities(self, X: Any) -> sp.csr_matrix:
        found = self._bundle().probabilities(self._scores(X))
        return normalize(found, norm="l1") if self._is_single() else found

    def _out(self, matrix: sp.csr_matrix) -> Any:
        return matrix if self.sparse_output else matrix.toarray()


def _mean_figure(true: sp.csr_matrix, scores: sp.csr_matrix) -> float:
    if scores.shape[0] != true.shape[0]:
        raise DisentangleError(f"y must have as many instances as X ({scores.shape[0]}), got {true.shape[0]}")
    is_scored = np.diff(true.indptr) > 0
    if not is_scored.any():
        raise DisentangleError("y must have labels for at least one instance, found none")
    best = rank(scores[is_scored], MAX_K)
    figures = [*precision(true[is_scored], best)[[0, 2, 4]], recall(true[is_scored], best)[9]]
    return float(np.mean(figures)) / 100
