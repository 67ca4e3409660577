"""Probabilities of scores: against what can be counted by hand, and against slow twins."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from disentangle.errors import DisentangleError
from disentangle.evaluate.calibration import (
    CALIBRATION_FILE,
    Calibration,
    expected_calibration_error,
    reliability,
)
from disentangle.storage.saved import Saved


def drawn(n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Scores of ten labels of instances, best first, some missing; right with the score's square."""
    rng = np.random.default_rng(0)
    scores = -np.sort(-rng.random((n, 10)).astype(np.float32).round(2), axis=1)
    hits = rng.random(scores.shape) < scores**2
    scores[:5, 7:], hits[:5, 7:] = np.nan, False
    return scores, hits


def test_a_probability_is_the_share_of_right_labels_where_a_higher_score_is_right_less_often():
    found = Calibration.fit(np.array([[0.4, 0.3], [0.2, 0.1]]), np.array([[1, 0], [1, 0]], bool), 2)
    # Of 0.2, a first label, and 0.3, a second one that counts a quarter, only the former is right.
    share = 1 / 1.25
    assert found.of(np.array([0.1, 0.2, 0.3, 0.4])) == pytest.approx([0, share, share, 1], abs=2e-6)
    # Straight between two scores, and no further than the outermost ones.
    expected = [share / 2, (1 + share) / 2, 0, 1]
    assert found.of(np.array([0.15, 0.35, 0.0, 1.0])) == pytest.approx(expected, abs=2e-6)


def test_ranks_stay_even_within_a_step_and_for_neighbours_of_float32():
    found = Calibration.fit(*drawn(), 900)
    scores = np.random.default_rng(1).random(1000).astype(np.float32)
    scores = np.unique(np.concatenate([scores, np.nextafter(scores, np.float32(2))]))
    probabilities = found.of(scores)
    assert (np.diff(probabilities) > 0).all()
    assert (probabilities >= 0).all()
    assert (probabilities <= 1).all()


@pytest.mark.parametrize("n_true", [700, 2000])
def test_the_threshold_has_the_highest_f1(n_true: int):
    scores, hits = drawn()
    found = Calibration.fit(scores, hits, n_true)
    probabilities = found.of(scores)
    best = 0.0
    for threshold in np.unique(probabilities[~np.isnan(scores)]):
        is_given = probabilities >= threshold
        precision, recall = hits[is_given].mean(), hits[is_given].sum() / n_true
        if hits[is_given].any():
            best = max(best, 2 * precision * recall / (precision + recall))
    is_given = probabilities >= found.threshold
    assert 200 * hits[is_given].sum() / (is_given.sum() + n_true) == pytest.approx(found.f1)
    assert found.f1 == pytest.approx(100 * best)


def test_the_error_is_that_of_the_bins():
    values, hits = np.array([0.0, 0.05, 0.07, 0.5, 1.0]), np.array([0, 1, 0, 1, 1], bool)
    bins = reliability(values, hits)
    assert [own["n"] for own in bins] == [2, 1, 1, 1]  # 0.07 is beyond 1/15
    expected = 2 * abs(0.025 - 0.5) + 0.07 + 0.5 + 0
    assert expected_calibration_error(bins) == pytest.approx(100 * expected / 5, abs=1e-3)


def test_the_error_of_what_was_fitted_is_gone():
    scores, hits = (one[:, 1:2] for one in drawn())  # all of one weight
    found = Calibration.fit(scores, hits, 900).of(scores)
    before = expected_calibration_error(reliability(scores.ravel(), hits.ravel()))
    assert expected_calibration_error(reliability(found.ravel(), hits.ravel())) < 0.01 < 10 < before


@pytest.mark.parametrize("hit", [False, True])
def test_labels_that_are_all_wrong_or_all_right_have_one_probability(hit: bool):
    scores = drawn()[0]
    found = Calibration.fit(scores, np.full(scores.shape, hit) & ~np.isnan(scores), 3000)
    assert found.of(np.array([0.3, 0.8])) == pytest.approx([float(hit)] * 2, abs=2e-6)


def test_what_is_loaded_is_what_was_saved(tmp_path: Path):
    found = Calibration.fit(*drawn(), 900)
    found.save(tmp_path)
    loaded = Calibration.load(Saved(tmp_path))
    scores = np.linspace(0, 1, 101, dtype=np.float32)
    assert (loaded.of(scores) == found.of(scores)).all()
    assert (loaded.threshold, loaded.f1, loaded.model) == (found.threshold, found.f1, found.model)
    before = (tmp_path / CALIBRATION_FILE).read_bytes()
    loaded.save(tmp_path)
    assert (tmp_path / CALIBRATION_FILE).read_bytes() == before


@pytest.mark.parametrize(
    "changed",
    [
        {"scores": [0.1, 0.1]},
        {"scores": [0.2, 0.1]},
        {"scores": [0.1]},
        {"scores": [], "probabilities": []},
        {"scores": [[0.1, 0.2]], "probabilities": [[0.1, 0.2]]},
        {"scores": "ab"},
        {"scores": None},
        {"scores": [0.1, 10**400]},
        {"probabilities": [0.5, 0.4]},
        {"probabilities": [0.5, 1.1]},
        {"probabilities": [float("nan"), 0.5]},
        {"threshold": -0.1},
        {"threshold": "high"},
        {"f1": 101},
    ],
)
def test_a_damaged_one_is_refused(tmp_path: Path, changed: dict):
    sound = {"scores": [0.1, 0.2], "probabilities": [0.5, 0.6], "threshold": 0.5, "f1": 50.0, "model": ""}
    (tmp_path / CALIBRATION_FILE).write_text(json.dumps(sound))
    Calibration.load(Saved(tmp_path))
    (tmp_path / CALIBRATION_FILE).write_text(json.dumps(sound | changed))
    with pytest.raises(DisentangleError, match="is damaged: "):
        Calibration.load(Saved(tmp_path))


@pytest.mark.parametrize("text", ["", "[]", "{}", "3", "{"])
def test_what_is_no_calibration_is_refused(tmp_path: Path, text: str):
    (tmp_path / CALIBRATION_FILE).write_text(text)
    with pytest.raises(DisentangleError, match="is damaged: "):
        Calibration.load(Saved(tmp_path))
