"""How likely it is that a predicted label is right: probabilities from scores, and how good they are."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..storage.saved import Saved

CALIBRATION_FILE = "calibration.json"
N_BINS = 15
# Of the score in a probability: labels of one step of the regression keep their order.
_SHARE = 1e-6


@dataclass(frozen=True)
class Calibration:
    """Probabilities of labels by their scores.

    Attributes
    ----------
    scores : ndarray of shape (n,), float64
        Rising, in [0, 1].
    probabilities : ndarray of shape (n,), float64
        Those of the scores, never falling, in [0, 1]; between two scores they lie on a straight line.
    threshold : float
        Labels of at least this probability had the highest micro-averaged F1.
    f1 : float
        That F1, in percent.
    model : str
        Which model's scores they are, as whoever saves it tells models apart.
    """

    scores: np.ndarray
    probabilities: np.ndarray
    threshold: float
    f1: float
    model: str = ""

    @classmethod
    def fit(cls, scores: np.ndarray, hits: np.ndarray, n_true: int) -> Calibration:
        """From predictions for instances that the model has not seen.

        Isotonic regression (Zadrozny and Elkan, KDD 2002): the rising function with the least squares. The
        label at rank r counts 1 / r^2, so that the many labels further down do not decide what the first
        ones are.

        Parameters
        ----------
        scores : ndarray of shape (n_instances, k), float
            Of each instance's labels, best first; NaN where it has fewer.
        hits : ndarray of shape (n_instances, k), bool
            Whether the label is one of the instance's.
        n_true : int
            Labels that the instances have, predicted or not.
        """
        from sklearn.isotonic import IsotonicRegression  # takes a second, and predicting needs none of it

        is_there = ~np.isnan(scores)
        weights = np.broadcast_to(np.arange(1.0, scores.shape[1] + 1) ** -2, scores.shape)[is_there]
        given, right = scores[is_there].astype(np.float64), hits[is_there]
        regression = IsotonicRegression(y_min=0, y_max=1).fit(given, right, weights)
        found = cls(regression.X_thresholds_, regression.y_thresholds_, 0.0, 0.0)
        threshold, f1 = _best_threshold(found.of(given), right, n_true)
        return cls(found.scores, found.probabilities, threshold, f1)

    def of(self, scores: np.ndarray) -> np.ndarray:
        """Probabilities of scores, float64: the higher the score the higher, so that ranks stay."""
        scores = scores.astype(np.float64)
        return (1 - _SHARE) * np.interp(scores, self.scores, self.probabilities) + _SHARE * scores

    def save(self, folder: Path) -> None:
        """Write `CALIBRATION_FILE`."""
        lists = {name: getattr(self, name).tolist() for name in ("scores", "probabilities")}
        said = json.dumps(asdict(self) | lists, indent=1)
        (folder / CALIBRATION_FILE).write_text(said + "\n", encoding="utf-8")

    @classmethod
    def load(cls, saved: Saved) -> Calibration:
        """Read what `save` wrote.

        Raises
        ------
        DisentangleError
            If it is missing or damaged.
        """
        read = saved.read_json(CALIBRATION_FILE)
        try:
            given = {name: np.array(read[name], np.float64) for name in ("scores", "probabilities")}
            threshold, f1 = float(read["threshold"]), float(read["f1"])
            found = cls(**given, threshold=threshold, f1=f1, model=str(read["model"]))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise saved.damaged(CALIBRATION_FILE, error) from error
        if not found._is_sound():
            raise saved.damaged(CALIBRATION_FILE, "expected rising scores and probabilities, found others")
        return found

    def _is_sound(self) -> bool:
        values = np.concatenate([self.scores.ravel(), self.probabilities.ravel(), [self.threshold]])
        return bool(
            self.scores.ndim == 1
            and self.scores.shape == self.probabilities.shape
            and len(self.scores)
            and ((values >= 0) & (values <= 1)).all()
            and (np.diff(self.scores) > 0).all()
            and (np.diff(self.probabilities) >= 0).all()
            and 0 <= self.f1 <= 100
        )


def _best_threshold(probabilities: np.ndarray, hits: np.ndarray, n_true: int) -> tuple[float, float]:
    """The probability from which on labels have the highest micro-averaged F1, and this, in percent.

    F1 = 2 right / (predicted + true). Of equal ones the highest probability.
    """
    order = np.argsort(-probabilities, kind="stable")
    probabilities, n_right = probabilities[order], hits[order].cumsum()
    # Labels of one probability are predicted together.
    last = np.append(probabilities[1:] < probabilities[:-1], True)
    f1 = 2 * n_right / (np.arange(1, len(order) + 1) + n_true)
    best = np.argmax(np.where(last, f1, -1))
    return float(probabilities[best]), float(100 * f1[best])


def reliability(values: np.ndarray, hits: np.ndarray) -> list[dict[str, Any]]:
    """How often labels are right, by their scores or probabilities, in bins of equal width.

    Returns
    -------
    list of dict
        For each of the `N_BINS` bins that is not empty "n", the "mean" of its values, and the share that is
        "right".
    """
    bins = np.minimum((values * N_BINS).astype(int), N_BINS - 1)
    counts = np.bincount(bins, minlength=N_BINS)
    sums, right = np.bincount(bins, values, N_BINS), np.bincount(bins, hits, N_BINS)
    return [
        {"n": int(n), "mean": round(float(sums[i] / n), 6), "right": round(float(right[i] / n), 6)}
        for i, n in enumerate(counts)
        if n
    ]


def expected_calibration_error(bins: list[dict[str, Any]]) -> float:
    """Mean distance of values from the share that is right, in percent, over what `reliability` returns.

    Naeini, Cooper and Hauskrecht, AAAI 2015; with 15 bins as Guo, Pleiss, Sun and Weinberger, ICML 2017,
    equation 5. Of the first k labels of each instance it is ECE@k.
    """
    counts = [own["n"] for own in bins]
    distances = [own["n"] * abs(own["mean"] - own["right"]) for own in bins]
    return 100 * sum(distances) / sum(counts)
