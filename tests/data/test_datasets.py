"""Loading a dataset: what is accepted, and the one sentence for whatever is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from conftest import save_dataset

from disentangle.data import datasets
from disentangle.errors import DisentangleError

X = sp.csr_matrix(np.array([[0.5, 0, 1], [0, 2, 0]], dtype=np.float32))
Y = sp.csr_matrix(np.array([[1, 0], [1, 1]], dtype=np.float32))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_dataset(tmp_path / "tiny", X_trn=X, Y_trn=Y, X_tst=X[:1], Y_tst=Y[:1])


def load(folder: Path) -> datasets.Dataset:
    return datasets.load_dataset(folder.parent, folder.name)


def test_loads_what_was_saved(folder: Path):
    dataset = load(folder)
    assert dataset.X_trn.toarray().tolist() == X.toarray().tolist()
    assert dataset.Y_tst.toarray().tolist() == [[1, 0]]
    assert dataset.sizes() == {"n_train_instances": 2, "n_test_instances": 1, "n_features": 3, "n_labels": 2}
    assert dataset.notes == ()


def test_unsorted_indices_and_explicit_zeros_are_put_right(folder: Path):
    unsorted = sp.csr_matrix(([1.0, 0.5, 2.0], [2, 0, 1], [0, 2, 3]), shape=(2, 3))
    with_zero = sp.csr_matrix(([1.0, 0.0, 1.0, 1.0], [0, 1, 0, 1], [0, 2, 4]), shape=(2, 2))
    sp.save_npz(folder / "tfidf-attnxml" / "X.trn.npz", unsorted)
    sp.save_npz(folder / "Y.trn.npz", with_zero)
    dataset = load(folder)
    assert dataset.X_trn.indices.tolist() == [0, 2, 1]
    assert dataset.Y_trn.nnz == 3


def test_empty_rows_and_columns_are_noted_and_kept_but_for_test_instances_without_labels(tmp_path: Path):
    X_tst = sp.csr_matrix(np.array([[0, 0, 0], [1, 0, 0]], dtype=np.float32))
    folder = save_dataset(
        tmp_path / "holes",
        X_trn=sp.csr_matrix(np.array([[0, 0, 0], [0, 2, 0]], dtype=np.float32)),
        Y_trn=sp.csr_matrix(np.array([[0, 0], [1, 0]], dtype=np.float32)),
        X_tst=X_tst,
        Y_tst=sp.csr_matrix(np.array([[0, 1], [0, 0]], dtype=np.float32)),
    )
    dataset = load(folder)
    assert dataset.X_trn.shape == (2, 3)
    assert dataset.X_tst.shape == (1, 3)
    assert dataset.Y_tst.toarray().tolist() == [[0, 1]]
    assert [note.split(";")[0] for note in dataset.notes] == [
        "instances without features in X.trn: 1",
        "instances without features in X.tst: 1",
        "instances without labels in Y.trn: 1",
        "instances without labels in Y.tst: 1",
        "features without training instances: 2",
        "labels without training instances: 1",
    ]


def test_repeated_entries_are_added_up_whatever_their_type(folder: Path):
    small = sp.coo_matrix((np.array([200, 100, 1], np.uint8), ([0, 0, 1], [0, 0, 2])), shape=(2, 3))
    sp.save_npz(folder / "tfidf-attnxml" / "X.trn.npz", small)
    assert load(folder).X_trn.toarray().tolist() == [[300, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.uint8, np.int64, bool])
@pytest.mark.parametrize(
    "convert", [sp.csr_matrix, sp.csc_matrix, sp.coo_matrix, sp.bsr_matrix, sp.dia_matrix, sp.csr_array]
)
def test_any_number_type_in_any_format_becomes_float32_csr(folder: Path, convert: Callable, dtype: type):
    stored = convert(Y)
    stored.data = stored.data.astype(dtype)
    sp.save_npz(folder / "Y.trn.npz", stored)
    loaded = load(folder).Y_trn
    assert sp.isspmatrix_csr(loaded)
    assert loaded.dtype == np.float32
    assert loaded.toarray().tolist() == Y.toarray().tolist()


NO_SHAPES = [np.array([-5, -7]), np.zeros(2), np.zeros(9, int), np.zeros(10**7, int)]


@pytest.mark.parametrize("shape", NO_SHAPES, ids=["negative", "float", "nine", "many"])
def test_a_shape_is_two_numbers(folder: Path, shape: np.ndarray):
    np.savez(folder / "Y.trn.npz", shape=shape)
    with pytest.raises(DisentangleError, match=r"Y.trn.npz is damaged .*: a shape of"):
        datasets.sizes_in(folder)


def with_value(matrix: sp.csr_matrix, value: float) -> sp.csr_matrix:
    changed = matrix.copy()
    changed.data[1] = value
    return changed


def raw_csr(indices: list[int], indptr: list[int]) -> Callable[[Path], None]:
    """A matrix file whose index arrays no constructor would accept."""
    return lambda path: np.savez(
        path,
        format=b"csr",
        shape=np.array([2, 3]),
        data=np.ones(len(indices)),
        indices=np.array(indices),
        indptr=np.array(indptr),
    )


def raw_csc(row: int) -> Callable[[Path], None]:
    """Its indices are rows, which a conversion to CSR would follow wherever they lead."""
    return lambda path: np.savez(
        path,
        format=b"csc",
        shape=np.array([2, 3]),
        data=np.ones(1),
        indices=np.array([row]),
        indptr=[0, 1, 1, 1],
    )


def save(matrix: sp.spmatrix) -> Callable[[Path], None]:
    return lambda path: sp.save_npz(path, matrix)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def pickled(path: Path) -> None:
    np.savez(
        path, format=b"csr", shape=np.array([2, 3]), data=np.array([object()]), indices=[0], indptr=[0, 1, 1]
    )


X_TRN, Y_TRN, Y_TST = "tfidf-attnxml/X.trn.npz", "Y.trn.npz", "Y.tst.npz"
BAD_FILES = [
    ("missing", X_TRN, Path.unlink, "missing file .*X.trn.npz"),
    ("empty", X_TRN, lambda path: path.write_bytes(b""), "X.trn.npz is empty"),
    ("truncated", X_TRN, truncate, "X.trn.npz is damaged"),
    ("text", X_TRN, lambda path: path.write_text("0 1 1\n"), "X.trn.npz is damaged"),
    ("a dense array", X_TRN, lambda path: np.savez(path, a=np.eye(3)), "X.trn.npz is damaged"),
    ("a pickle", X_TRN, pickled, "X.trn.npz is damaged.*pickle"),
    ("complex values", X_TRN, save(X.astype(complex)), "values of type complex128"),
    ("column out of range", X_TRN, raw_csr([0, 3], [0, 1, 2]), "X.trn.npz is damaged"),
    ("negative column", X_TRN, raw_csr([0, -1], [0, 1, 2]), "X.trn.npz is damaged"),
    ("row out of range", X_TRN, raw_csc(5), "X.trn.npz is damaged"),
    ("row far out of range", X_TRN, raw_csc(100_000_000), "X.trn.npz is damaged"),
    ("negative row", X_TRN, raw_csc(-100_000_000), "X.trn.npz is damaged"),
    (
        "too many columns",
        X_TRN,
        save(sp.coo_matrix(([1.0], ([0], [2**32])), shape=(2, 2**32 + 9))),
        "more than 1073741824 on a side",
    ),
    ("row pointers that fall", X_TRN, raw_csr([0, 1], [0, 3, 2]), "X.trn.npz is damaged"),
    ("NaN", X_TRN, save(with_value(X, np.nan)), "must hold finite values, got nan in row 0, column 2"),
    ("infinite", X_TRN, save(with_value(X, np.inf)), "must hold finite values, got inf in row 0, column 2"),
    ("too large for float32", X_TRN, save(with_value(X.astype(float), 1e300)), "finite values, got inf"),
    ("all zero", X_TRN, save(sp.csr_matrix((2, 3))), r"X.trn.npz holds no values: its shape is \(2, 3\)"),
    ("no rows", X_TRN, save(sp.csr_matrix((0, 3))), "X.trn.npz holds no values"),
    ("fewer rows", X_TRN, save(X[:1]), r"Y.trn.npz must have as many instances as X.trn.npz \(1\), got 2"),
    (
        "fewer features",
        X_TRN,
        save(X[:, :2]),
        r"X.tst.npz must have as many features as X.trn.npz \(2\), got 3",
    ),
    ("fewer labels", Y_TST, save(Y[:1, :1]), r"Y.tst.npz must have as many labels as Y.trn.npz \(2\), got 1"),
    ("a label counted twice", Y_TRN, save(with_value(Y, 2)), "only 0 and 1, got 2 in row 1, column 0"),
    ("a negative label", Y_TRN, save(with_value(Y, -1)), "only 0 and 1, got -1 in row 1, column 0"),
    ("no labels at all", Y_TST, save(sp.csr_matrix((1, 2))), "Y.tst.npz holds no values"),
]


@pytest.mark.parametrize(
    ("file", "spoil", "message"), [case[1:] for case in BAD_FILES], ids=[c[0] for c in BAD_FILES]
)
def test_bad_files_are_refused_in_one_sentence(folder: Path, file: str, spoil: Callable, message: str):
    spoil(folder / file)
    with pytest.raises(DisentangleError, match=message) as error:
        load(folder)
    assert "\n" not in str(error.value)


def test_a_name_too_long_for_the_file_system_is_no_dataset(folder: Path):
    with pytest.raises(DisentangleError, match="it holds tiny"):
        datasets.dataset_folder(folder.parent, "x" * 300)


@pytest.mark.parametrize("name", ["", ".", "..", ".tmp-tiny", "a/b", "/etc"])
def test_a_dataset_is_a_plain_name(tmp_path: Path, name: str):
    with pytest.raises(DisentangleError, match="must be the name of a folder"):
        datasets.dataset_folder(tmp_path, name)


def test_a_wrong_name_lists_what_is_there(folder: Path):
    with pytest.raises(DisentangleError, match=r"no dataset 'tny' in .*: it holds tiny"):
        datasets.dataset_folder(folder.parent, "tny")


def test_the_source_follows_the_files_content(folder: Path):
    before = datasets.source(folder.parent, "tiny").inputs
    assert datasets.source(folder.parent, "tiny").inputs == before
    sp.save_npz(folder / "Y.tst.npz", Y[1:])
    after = datasets.source(folder.parent, "tiny").inputs
    assert {name for name in before if before[name] != after[name]} == {"Y_tst"}
