from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from disentangle.errors import DisentangleError
from disentangle.evaluate import metrics
from disentangle.evaluate.outcomes import OUTCOMES_FILE, Outcomes
from disentangle.storage.saved import Saved

Y_TRUE = sp.csr_matrix(np.array([[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], np.float32))
Y_PRED = np.array([[2, 1, 0], [1, -1, -1], [0, 1, 2]], np.int32)


def test_which_predictions_were_right() -> None:
    outcomes = Outcomes.of(Y_TRUE, Y_PRED)
    assert outcomes.hits.tolist() == [[True, False, True], [True, False, False], [False, False, False]]
    assert outcomes.n_true.tolist() == [2, 1, 1]


def test_what_is_saved_gives_the_same_figures(tmp_path) -> None:
    rng = np.random.default_rng(0)
    Y_true = sp.csr_matrix((rng.random((50, 30)) < 0.2).astype(np.float32))
    Y_true = Y_true[np.diff(Y_true.indptr) > 0]
    Y_pred = np.array([rng.permutation(30)[:10] for _ in range(Y_true.shape[0])], np.int32)
    Outcomes.of(Y_true, Y_pred).save(tmp_path)
    loaded = Outcomes.load(Saved(tmp_path))
    found = loaded.hits.cumsum(axis=1)
    assert np.allclose(100 * found.mean(axis=0) / np.arange(1, 11), metrics.precision(Y_true, Y_pred))
    assert np.allclose(100 * (found / loaded.n_true[:, None]).mean(axis=0), metrics.recall(Y_true, Y_pred))


def test_more_ranks_than_bits_are_refused(tmp_path) -> None:
    outcomes = replace(Outcomes.of(Y_TRUE, Y_PRED), hits=np.zeros((3, 17), bool))
    with pytest.raises(ValueError, match="at most 16 ranks, got 17"):
        outcomes.save(tmp_path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"hits": np.zeros(2, np.uint16)},
        {"hits": np.zeros(3, np.int64)},
        {"k": np.int64(17)},
        {"k": np.float64(3)},
        {"n_true": np.array([1, 0, 1], np.int32)},
    ],
)
def test_other_arrays_are_refused(tmp_path, wrong) -> None:
    sound = {"hits": np.zeros(3, np.uint16), "k": np.int64(3), "n_true": np.ones(3, np.int32)}
    np.savez(tmp_path / OUTCOMES_FILE, **(sound | wrong))
    with pytest.raises(DisentangleError, match="is damaged: expected hits and numbers of labels"):
        Outcomes.load(Saved(tmp_path))
