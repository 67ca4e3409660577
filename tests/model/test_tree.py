"""The label tree."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from disentangle.model import tree
from disentangle.params import TreeParams
from disentangle.runtime.memory import Budget

# Labels that differ in few features tie all the time: rounding decides, and with PECOS's own choice of parts
# this seed gives other clusters for one thread than for two.
PROGRAM = """
import sys
import numpy as np, scipy.sparse as sp
from disentangle.model import tree
from disentangle.params import TreeParams
rng = np.random.default_rng(12)
X = np.zeros((3000, 30), np.float32)
for row in X:
    row[rng.permutation(30)[:3]] = 3**-0.5
params = TreeParams(nr_splits=4, max_leaf_size=10, seed=12)
chain = tree.build_chain(sp.csr_matrix(X), sp.identity(3000, np.float32, "csc"), params, int(sys.argv[1]))
print([C.indices.tolist() for C in chain])
"""


def clusters(threads: int, **variables: str) -> str:
    """The tree of a process of its own: what is set in the environment is read once."""
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(threads)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout


@pytest.fixture(scope="module")
def by_two() -> str:
    return clusters(2)


@pytest.mark.parametrize(
    ("threads", "variables"),
    [
        (1, {}),
        (3, {}),
        (8, {}),
        (2, {"OMP_NUM_THREADS": "1"}),
        (2, {"OMP_THREAD_LIMIT": "1", "OMP_DYNAMIC": "true"}),
        (2, {"OMP_MAX_ACTIVE_LEVELS": "0"}),
    ],
)
def test_a_tree_is_the_same_for_any_number_of_threads(by_two: str, threads: int, variables: dict[str, str]):
    assert clusters(threads, **variables) == by_two


def test_a_leaf_holds_at_most_so_many_labels():
    rng = np.random.default_rng(0)
    X = sp.csr_matrix(rng.random((200, 20)).astype(np.float32))
    params = TreeParams(nr_splits=4, max_leaf_size=10)
    chain = tree.build_chain(X, sp.identity(200, np.float32, "csc"), params, threads=2)
    assert chain[-1].shape[0] == 200
    assert np.asarray(chain[-1].sum(axis=0)).max() <= 10
    assert (np.asarray(chain[-1].sum(axis=1)) == 1).all()


@pytest.mark.parametrize("n_features", [7, 40, 64, 500])
@pytest.mark.parametrize(("block", "limit"), [(1, None), (500, None), (500, 1), (1 << 24, None)])
def test_label_features_are_pecos_own_whatever_the_blocks_and_the_limit(
    block: int, limit: int | None, n_features: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    rng = np.random.default_rng(0)
    X = sp.random(300, n_features, 0.2, "csr", np.float32, rng)
    Y = sp.random(300, 70, 0.05, "csc", np.float32, rng)
    Y.data[:] = 1
    Y = sp.hstack([Y, sp.csc_matrix((300, 1), dtype=np.float32)], "csc")  # a label without instances
    monkeypatch.setattr(tree, "_BLOCK", block)
    indptr, indices, values = tree._label_features(X, Y, 2, Budget(limit, tmp_path))
    from pecos.xmc import LabelEmbeddingFactory  # `tree` has made PECOS ready

    expected = LabelEmbeddingFactory.create(Y, X, method="pifa", threads=1)
    assert indptr.tolist() == expected.indptr.tolist()
    assert indices.tolist() == expected.indices.tolist()
    assert values.tobytes() == expected.data.tobytes()
