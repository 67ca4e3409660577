"""A validation part that a dataset brings, and one that is drawn: what they are, and are known by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from conftest import save_dataset

from disentangle.data import checks, datasets
from disentangle.data.validation import validation
from disentangle.errors import DisentangleError

X = sp.csr_matrix(np.arange(1, 31, dtype=np.float32).reshape(10, 3))
Y = sp.csr_matrix(np.tile(np.eye(2, dtype=np.float32), (5, 1)))
X_VAL = sp.csr_matrix(np.array([[1, 2, 9], [0, 0, 0], [4, 5, 6]], dtype=np.float32))
Y_VAL = sp.csr_matrix(np.array([[1, 1], [0, 1], [0, 0]], dtype=np.float32))
X_FILE = Path("tfidf-attnxml", "X.val.npz")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_dataset(
        tmp_path / "tiny", X_trn=X, Y_trn=Y, X_tst=X[:2], Y_tst=Y[:2], X_val=X_VAL, Y_val=Y_VAL
    )


def source(folder: Path, seed: int = 0, features: str = "tfidf-attnxml") -> datasets.Source:
    return validation(datasets.source(folder.parent, folder.name, features), seed)


def test_all_of_the_training_part_is_trained_on(folder: Path):
    found = source(folder).load()
    assert (found.X_trn != X).nnz == (found.Y_trn != Y).nnz == 0
    # The last instance has no labels, and cannot be scored.
    assert (found.X_tst != X_VAL[:2]).nnz == (found.Y_tst != Y_VAL[:2]).nnz == 0
    assert found.notes == (
        "instances without features in X.val: 1; they are kept",
        "instances without labels in Y.val: 1; they cannot be scored and are left out",
    )


def test_it_is_known_by_its_content_whatever_the_seed(folder: Path):
    whole = datasets.source(folder.parent, folder.name).inputs
    before = source(folder).inputs
    assert source(folder, 7).inputs == before
    assert {name for name in before if before[name] == whole.get(name)} == {"X_trn", "Y_trn"}
    for file, matrix, key in ((X_FILE, X_VAL * 2, "X_val"), (Path("Y.val.npz"), Y_VAL[::-1], "Y_val")):
        old = (folder / file).read_bytes()
        sp.save_npz(folder / file, sp.csr_matrix(matrix))
        after = source(folder).inputs
        assert {name for name in before if before[name] != after[name]} == {key}
        assert datasets.source(folder.parent, folder.name).inputs == whole
        (folder / file).write_bytes(old)


def test_without_one_a_fifth_is_drawn_by_the_seed(folder: Path):
    (folder / "Y.val.npz").unlink()
    found = [source(folder, seed) for seed in (0, 1)]
    assert [one.inputs["validation"] for one in found] == ["0", "1"]
    for one in found:
        drawn = one.load()
        assert (drawn.X_trn.shape[0], drawn.X_tst.shape[0]) == (8, 2)
        rows = {tuple(row) for part in (drawn.X_trn, drawn.X_tst) for row in part.toarray()}
        assert rows == {tuple(row) for row in X.toarray()}


def test_features_without_a_validation_part_have_one_drawn_which_a_check_tells(folder: Path):
    (folder / "other").mkdir()
    for part, matrix in (("trn", X), ("tst", X[:2])):
        sp.save_npz(folder / "other" / f"X.{part}.npz", matrix)
    assert "validation" in source(folder, features="other").inputs
    told = [one.text for one in checks.check(folder.parent, folder.name, "other")]
    assert any("other has no validation part, which the dataset has" in text for text in told)
    usual = [one.text for one in checks.check(folder.parent, folder.name)]
    assert not any("has no validation part" in text for text in usual)


@pytest.mark.parametrize(
    ("file", "matrix", "message"),
    [
        (X_FILE, X_VAL[:, :2], "X.val.npz must have as many features as X.trn.npz .3., got 2"),
        (X_FILE, X_VAL[:2], "Y.val.npz must have as many instances as X.val.npz .2., got 3"),
        ("Y.val.npz", sp.csr_matrix(np.eye(3)), "Y.val.npz must have as many labels as Y.trn.npz .2., got 3"),
        ("Y.val.npz", sp.csr_matrix((3, 2)), "Y.val.npz holds no values"),
        ("Y.val.npz", Y_VAL * 2, "Y.val.npz must hold only 0 and 1"),
    ],
)
def test_one_that_does_not_fit_is_refused(folder: Path, file: str, matrix: sp.csr_matrix, message: str):
    sp.save_npz(folder / file, matrix)
    with pytest.raises(DisentangleError, match=message):
        source(folder).load()
    (error,) = [one.text for one in checks.check(folder.parent, folder.name) if one.level == "error"]
    assert str(folder / "Y.val.npz" if "Y.val" in message[:5] else folder) in error
    # It is no matter for what does without it.
    assert datasets.load_dataset(folder.parent, folder.name).Y_trn.shape == Y.shape


def test_a_check_tells_of_its_instances_that_are_trained_on(folder: Path):
    sp.save_npz(folder / X_FILE, X[:3])
    told = [one.text for one in checks.check(folder.parent, folder.name)]
    assert any(text.startswith("validation instances that have the features of a training") for text in told)


def test_one_that_changes_meanwhile_is_refused(folder: Path):
    one = source(folder)
    sp.save_npz(folder / X_FILE, X_VAL * 2)
    with pytest.raises(DisentangleError, match=r"X\.val\.npz changed meanwhile"):
        one.load()
