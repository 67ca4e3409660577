"""Feature sets: blocks side by side, told apart and checked."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from disentangle.data import datasets, features
from disentangle.data.features import DENSE, SPARSE, Block, FeatureSet, compact, looks_dense
from disentangle.errors import DisentangleError
from disentangle.storage import matrices

N = {"trn": 8, "tst": 3}


def blocks(folder: Path, dtype: type = np.float16, is_normalised: bool = True) -> FeatureSet:
    """Tf-idf of five columns and an embedding of three."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for part, n in N.items():
        sp.save_npz(folder / f"tfidf.{part}.npz", sp.random(n, 5, 0.5, "csr", np.float32, random_state=1))
        np.save(folder / f"mini-lm.{part}.npy", rng.normal(size=(n, 3)).astype(dtype))
    made = FeatureSet(
        folder,
        (Block("tfidf", SPARSE, 5, True, {}), Block("mini-lm", DENSE, 3, True, {"encoder": "mini-lm"})),
        is_normalised,
    )
    made.save()
    return made


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_blocks_lie_side_by_side_with_rows_of_length_1(tmp_path: Path, dtype: type):
    made = blocks(tmp_path / "set", dtype)
    found = FeatureSet.at(tmp_path / "set")
    assert found == made
    X = found.load("trn")
    assert X.shape == found.shape("trn") == (8, 8)
    assert X.dtype == np.float32
    assert X.has_canonical_format
    assert np.linalg.norm(X.toarray(), axis=1) == pytest.approx(np.ones(8))
    embedding = np.load(tmp_path / "set" / "mini-lm.trn.npy").astype(np.float64)
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    of_terms = X[:, :5].getnnz(axis=1) > 0
    # Two blocks of length 1 each, then the whole of length 1; a text without terms is its embedding.
    expected = embedding / np.where(of_terms, np.sqrt(2), 1)[:, None]
    assert X[:, 5:].toarray() == pytest.approx(expected, abs=1e-3)
    assert found.dense_columns(X).tolist() == [False] * 5 + [True] * 3


def test_a_folder_of_one_matrix_has_no_blocks(tmp_path: Path):
    X = sp.random(8, 5, 0.5, "csr", np.float32, random_state=0)
    sp.save_npz(tmp_path / "X.trn.npz", X)
    found = FeatureSet.at(tmp_path)
    assert found.blocks == ()
    assert (found.load("trn") != X).nnz == 0
    assert not found.dense_columns(X).any()


def test_a_matrix_that_says_nothing_is_looked_at():
    rng = np.random.default_rng(0)
    terms = sp.random(40, 6, 0.3, "csr", np.float32, random_state=0)
    common = np.ones((40, 1))
    hashed = np.where(np.arange(40)[:, None] % 5 == 0, -0.5, 0)  # a rare term of a hash with signs
    X = sp.hstack([terms, common, hashed, rng.normal(size=(40, 2))], "csr").astype(np.float32)
    assert looks_dense(X).nonzero()[0].tolist() == [8, 9]


def test_digests_tell_content_and_how_it_is_put_together(tmp_path: Path):
    one = blocks(tmp_path / "one")
    assert one.digest("trn") == blocks(tmp_path / "same").digest("trn")
    assert one.digest("trn") != one.digest("tst")
    assert one.digest("trn") != blocks(tmp_path / "other", is_normalised=False).digest("trn")
    np.save(tmp_path / "one" / "mini-lm.trn.npy", np.ones((8, 3), np.float16))
    assert one.digest("trn") != blocks(tmp_path / "third").digest("trn")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda said: said.pop("is_normalised"), "features.json must say the blocks"),
        (lambda said: said["blocks"].clear(), "no blocks"),
        (lambda said: said["blocks"][0].update(kind="other"), "of kind 'other'"),
        (lambda said: said["blocks"][0].update(name="../X"), "a block '../X'"),
        (lambda said: said["blocks"][0].update(n_columns=True), "a block"),
        (lambda said: said["blocks"][1].update(name="tfidf"), "two blocks of one name"),
    ],
)
def test_what_is_no_feature_set_is_refused(tmp_path: Path, spoil, message: str):
    blocks(tmp_path / "set")
    path = tmp_path / "set" / "features.json"
    said = json.loads(path.read_text())
    spoil(said)
    path.write_text(json.dumps(said))
    with pytest.raises(DisentangleError, match=message):
        FeatureSet.at(tmp_path / "set")


def nan(row: int, column: int) -> np.ndarray:
    values = np.ones((8, 3), np.float32)
    values[row, column] = np.nan
    return values


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones((7, 3), np.float16), r"mini-lm.trn.npy must be of shape \(8, 3\), got \(7, 3\)"),
        (np.ones((8, 4), np.float16), r"must be of shape \(8, 3\), got \(8, 4\)"),
        (nan(5, 2), "mini-lm.trn.npy must hold finite values, got nan in row 5, column 2"),
        (np.full((8, 3), np.inf, np.float16), "mini-lm.trn.npy must hold finite values, got inf in row 0"),
        (np.array(["a"] * 8), "mini-lm.trn.npy is damaged"),
    ],
)
def test_a_block_that_does_not_fit_is_refused(tmp_path: Path, values: np.ndarray, message: str):
    made = blocks(tmp_path / "set")
    np.save(tmp_path / "set" / "mini-lm.trn.npy", values)
    with pytest.raises(DisentangleError, match=message):
        made.load("trn")


def test_a_dataset_has_feature_sets_by_name(tmp_path: Path):
    for part, n in N.items():
        Y = sp.csr_matrix(np.eye(n, 4, dtype=np.float32)) + sp.csr_matrix(
            np.eye(n, 4, k=-4, dtype=np.float32)
        )
        (tmp_path / "toy").mkdir(exist_ok=True)
        sp.save_npz(tmp_path / "toy" / f"Y.{part}.npz", Y)
    blocks(tmp_path / "toy" / "mixed")
    assert datasets.feature_sets(tmp_path / "toy") == ["mixed"]
    loaded = datasets.load_dataset(tmp_path, "toy", "mixed")
    assert loaded.is_dense is not None
    assert loaded.is_dense.tolist() == [False] * 5 + [True] * 3
    source = datasets.source(tmp_path, "toy", "mixed")
    assert source.load().X_trn.shape == (8, 8)
    with pytest.raises(DisentangleError, match=r"no features 'none' in .*: it has mixed"):
        datasets.source(tmp_path, "toy", "none")
    with pytest.raises(DisentangleError, match="--features must be the name of a folder"):
        datasets.source(tmp_path, "toy", "../mixed")


def test_rows_have_length_1_in_whatever_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made = blocks(tmp_path / "set")
    whole = made.load("trn")
    monkeypatch.setattr(features, "_CHUNK", 7)
    assert (made.load("trn") != whole).nnz == 0


def test_columns_that_come_as_one_matrix_are_put_together_alike(tmp_path: Path):
    made = blocks(tmp_path / "set")
    embedding = np.load(made.paths("trn")[1]).astype(np.float32)
    raw = sp.hstack([sp.load_npz(tmp_path / "set" / "tfidf.trn.npz"), embedding], "csr")
    whole = made.load("trn")
    assert made.fit(raw.astype(np.float32)).toarray() == pytest.approx(whole.toarray(), abs=1e-6)
    assert made.fit(whole).toarray() == pytest.approx(whole.toarray(), abs=1e-6)
    assert FeatureSet(tmp_path).fit(raw) is raw


def test_only_the_first_sparse_block_has_terms(tmp_path: Path):
    dense, terms = Block("a", DENSE, 3, True, {}), Block("b", SPARSE, 4, True, {})
    more = Block("c", SPARSE, 5, True, {})
    assert FeatureSet(tmp_path, (dense, terms, more)).terms(12) == slice(3, 7)
    assert FeatureSet(tmp_path, (dense,)).terms(3) == slice(0, 0)
    assert FeatureSet(tmp_path).terms(12) == slice(0, 12)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_matrix_that_is_an_embedding_is_kept_as_one(tmp_path: Path, dtype: type):
    values = np.random.default_rng(0).normal(size=(9, 20)).astype(dtype)
    values[:, 3] = abs(values[:, 3])  # one column that does not look like it
    values[2] = 0
    for part in N:
        sp.save_npz(tmp_path / f"X.{part}.npz", sp.csr_matrix(values.astype(np.float32)))
    compact(tmp_path, N)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "embedding.trn.npy",
        "embedding.tst.npy",
        "features.json",
    ]
    stored = np.load(tmp_path / "embedding.tst.npy")
    assert stored.dtype == dtype
    assert (stored == values).all()
    found = FeatureSet.at(tmp_path)
    assert (found.load("trn").toarray() == values).all()
    assert found.dense_columns(found.load("trn")).all()


def test_all_parts_of_an_embedding_have_one_type(tmp_path: Path):
    values = {part: np.eye(3, 4, dtype=np.float32) - 2 for part in ("trn", "tst", "val")}
    values["val"][0, 0] = 0.1  # no value of float16
    for part, X in values.items():
        sp.save_npz(tmp_path / f"X.{part}.npz", sp.csr_matrix(X))
    compact(tmp_path, values)
    stored = {part: np.load(tmp_path / f"embedding.{part}.npy") for part in values}
    assert {X.dtype.name for X in stored.values()} == {"float32"}
    assert all((stored[part] == values[part]).all() for part in values)


def test_a_matrix_of_terms_stays_as_it_is(tmp_path: Path):
    for part in N:
        sp.save_npz(tmp_path / f"X.{part}.npz", sp.random(9, 20, 0.5, "csr", np.float32, random_state=0))
    compact(tmp_path, N)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["X.trn.npz", "X.tst.npz"]


def test_a_dense_block_counts_as_what_it_takes_in_memory(tmp_path: Path):
    made = blocks(tmp_path / "set")
    size = made.unpacked_size("trn")
    X = matrices.load_sparse(made.paths("trn")[0])
    expected = X.data.nbytes + X.indices.nbytes + X.indptr.nbytes + 8 * 3 * (4 + 4)
    assert expected <= size <= expected + 100  # the file's shape and format
    np.save(made.paths("trn")[1], np.ones((8, 300), np.float16))
    assert made.unpacked_size("trn") == size + 8 * 297 * (4 + 4)
