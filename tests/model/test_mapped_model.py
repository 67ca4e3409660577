"""Weights that lie in files predict what those in memory do, to the last bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from disentangle.model import beam_search, mapped_model, saved_model
from disentangle.model.pecos import HierarchicalMLModel, MLModel, XLinearModel
from disentangle.params import PredictParams
from disentangle.runtime.memory import Budget
from disentangle.storage.matrices import one_per_row
from disentangle.storage.saved import Saved

N_FEATURES, N_NODES, N_LABELS = 60, 7, 90
PARAMS = PredictParams(beam_size=3, top_k=20)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Two levels, labels of a cluster apart; a cluster is empty, one has no weights, one has biases alone."""
    rng = np.random.default_rng(0)
    clusters = rng.permutation(np.arange(N_LABELS) % (N_NODES - 1)).astype(np.int32)
    weights = [
        sp.random(N_FEATURES + 1, n, 0.2, "csc", np.float32, rng, rng.standard_normal)
        for n in (N_NODES, N_LABELS)
    ]
    W = weights[1].tolil()
    W[:, clusters == 2] = 0
    W[:-1, clusters == 3] = 0
    levels = (weights[0], np.zeros(N_NODES, int), 1), (W.tocsc().astype(np.float32), clusters, N_NODES)
    chain = []
    for W_level, above, n in levels:
        W_level.sort_indices()
        how = {"only_topk": 5, "post_processor": "l3-hinge"}
        C = one_per_row(above, n).tocsc()
        chain.append(MLModel(W=W_level, C=C, bias=1.0, pred_params=how))
    saved_model.save(XLinearModel(HierarchicalMLModel(chain)), tmp_path)
    return tmp_path


@pytest.mark.parametrize("block", [1, 100, 1 << 21])
@pytest.mark.parametrize("n", [1, 200])
def test_a_mapped_model_predicts_the_same(
    model: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, block: int, n: int
):
    monkeypatch.setattr(mapped_model, "_BLOCK", block)
    folder = tmp_path_factory.mktemp("mapped")
    in_memory, mapped = saved_model.load(Saved(model)), saved_model.load(Saved(model))
    mapped.within(Budget(1, folder))
    assert mapped.model.model_chain != in_memory.model.model_chain
    assert list(folder.iterdir()) == []
    X = sp.random(n, N_FEATURES, 0.3, "csr", np.float32, np.random.default_rng(1))
    X.sort_indices()
    found, expected = (beam_search.predict(one, X, PARAMS, 2) for one in (mapped, in_memory))
    for one, other in zip(found, expected, strict=True):
        assert one.tobytes() == other.tobytes()
    assert len(found[1]) == PARAMS.top_k * n


def test_a_matcher_that_was_not_saved_is_mapped_likewise(model: Path, tmp_path: Path):
    trained = saved_model.load_trained(Saved(model))
    mapped = saved_model.for_prediction(trained)
    mapped.within(Budget(1, tmp_path / "files"))
    X = sp.csr_matrix(np.random.default_rng(2).random((50, N_FEATURES), np.float32))
    found = (beam_search.predict(one, X, PARAMS, 1) for one in (mapped, saved_model.load(Saved(model))))
    assert all(one.tobytes() == other.tobytes() for one, other in zip(*found, strict=True))


def test_a_model_that_fits_is_not_mapped(model: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mapped_model, "write", lambda *_: pytest.fail("it was"))
    saved_model.load(Saved(model)).within(Budget(1 << 40))
    with pytest.raises(pytest.fail.Exception, match="it was"):
        saved_model.load(Saved(model)).within(Budget(1))
