"""What a stage makes of its parameters, where a whole run would not show it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.sparse as sp

from disentangle.data.datasets import load_dataset
from disentangle.jobs import steps
from disentangle.model import tree
from disentangle.model.beam_search import odds
from disentangle.model.trained import Trained
from disentangle.params import Copies, OverlapParams, PredictParams, TreeParams
from disentangle.runtime.memory import UNLIMITED


def test_odds_are_those_of_the_mean_of_instances_best_scores():
    # Best: 1, 1/2 and, of an instance that is sent nowhere, 0.
    M = sp.csr_matrix(np.array([[0.25, 1], [0.5, 0], [0, 0]], np.float32))
    assert odds(M) == 1
    assert odds(M[:1]) == np.inf
    assert odds(M[2:]) == 0.001


def test_copies_of_many_instances_get_less_cost_the_less_sure_the_matcher_is(verbs: Path):
    dataset = load_dataset(verbs, "verbs")
    Y = dataset.Y_trn.tocsc()
    chain = tree.build_chain(dataset.X_trn, Y, TreeParams(nr_splits=4, max_leaf_size=8), 1)

    def trained(best: float, cost: float) -> list[Trained]:
        M = sp.csr_matrix(np.full((Y.shape[0], 1), best, np.float32))
        params = OverlapParams(copies=Copies(cost=cost))
        means = steps.Means(1, UNLIMITED)
        return steps._retrained(dataset, M, Y, chain, params, PredictParams(), 0, means)

    def weights(best: float, cost: float) -> np.ndarray:
        return trained(best, cost)[-1].W.toarray()

    at_odds_of_one = weights(0.5, 3)
    assert np.array_equal(at_odds_of_one, weights(0.75, 1))
    assert not np.array_equal(at_odds_of_one, weights(0.5, 1))
    # A matcher that is sure leaves all the whole cost, and one that knows nothing a little.
    assert np.array_equal(weights(1, 1), weights(0.5, 1_000_000))
    assert np.isfinite(weights(0, 0.001)).all()
    # It is the ranker's alone.
    assert (trained(0.5, 1)[0].W != trained(0.5, 3)[0].W).nnz == 0
