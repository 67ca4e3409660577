"""The classifier: the job's own model, in scikit-learn's words, in every form that labels have."""

from __future__ import annotations

import inspect
import json
import multiprocessing
import pickle
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import scipy.sparse as sp
from conftest import EMBEDDED, ROOT, ok, run_disentangle, run_python, save_dataset
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer
from sklearn.utils.estimator_checks import parametrize_with_checks

from disentangle import LabelTreeClassifier
from disentangle.api import labels as forms
from disentangle.data import datasets
from disentangle.errors import DisentangleError
from disentangle.evaluate.calibration import CALIBRATION_FILE
from disentangle.jobs import stages
from disentangle.model.predictor import Predictor
from disentangle.params import TfidfParams, overlap_fields
from disentangle.runtime.threads import allowed

Small = partial(LabelTreeClassifier, nr_splits=8, max_leaf_size=10)
N = 400


@pytest.fixture(scope="module")
def data(verbs: Path) -> dict[str, sp.csr_matrix]:
    """The first instances of the dataset `verbs`, with labels of at least 3, by name of the matrix."""
    parts = datasets.load_parts(verbs / "verbs")
    X, Y = parts["X_trn"][:N], parts["Y_trn"][:N]
    features = np.flatnonzero(np.asarray(X.sum(axis=0)).ravel())
    labels = np.flatnonzero(np.asarray(Y.sum(axis=0)).ravel() >= 3)
    tested = np.flatnonzero(np.diff(parts["Y_tst"][:, labels].indptr))[:50]
    test = parts["X_tst"][tested][:, features], parts["Y_tst"][tested][:, labels]
    return dict(zip(("X_trn", "Y_trn", "X_tst", "Y_tst"), (X[:, features], Y[:, labels], *test), strict=True))


@pytest.fixture(scope="module")
def texts() -> tuple[list[str], list[list[str]]]:
    """Texts of verbs, and the names of their labels."""
    names = (EMBEDDED / "output-items.txt").read_text(encoding="utf-8").splitlines()
    lines = (EMBEDDED / "X.trn.txt").read_text(encoding="utf-8").splitlines()[-N:]
    Y = sp.load_npz(EMBEDDED / "Y.trn.npz").tocsr()[-N:]
    return lines, [[names[label] for label in Y[i].indices] for i in range(N)]


@pytest.fixture(scope="module")
def fitted(data: dict[str, sp.csr_matrix]) -> LabelTreeClassifier:
    return Small().fit(data["X_trn"], data["Y_trn"])


@pytest.fixture(scope="module")
def of_texts(texts: tuple[list[str], list[list[str]]]) -> LabelTreeClassifier:
    return Small().fit(*texts)


def weights(model: LabelTreeClassifier, tree: int = 0) -> dict[str, bytes]:
    """The files of a model, but for the record of how it was made."""
    start = f"tree-{tree}/"
    files = {
        name.removeprefix(start): content
        for name, content in model._model.files.items()
        if name.startswith(start)
    }
    return {name: content for name, content in files.items() if name != "stage.json"}


def test_a_model_is_that_of_the_job_byte_for_byte(data: dict[str, sp.csr_matrix], tmp_path: Path):
    save_dataset(tmp_path / "dataset" / "xmc-base" / "verbs", **data)
    args = ("--nr-splits", "8", "--max-leaf-size", "10", "--n-trees", "2", "--seed", "7", "--threads", "2")
    ok(run_disentangle(tmp_path, "base", "verbs", *args, "--preset", "paper,tuned"))
    base = tmp_path / "model" / "verbs" / "base" / "seed-7"
    for preset in ("paper", "tuned"):
        model = Small(preset, n_trees=2, random_state=7, n_jobs=1).fit(data["X_trn"], data["Y_trn"])
        for tree, place in enumerate((base, base.with_name("seed-8"))):
            folder = place / preset / "overlap"
            assert len(found := weights(model, tree)) > 5
            assert found == {name: (folder / name).read_bytes() for name in found}
        predictor = Predictor.load(base / preset / "evaluation-trees-2")
        ((labels, scores),) = predictor.best(data["X_tst"], 10, 2)
        given = model.decision_function(data["X_tst"])
        assert np.array_equal(scores, np.take_along_axis(given.toarray(), labels.astype(np.int64), axis=1))
        assert given.data.min() > 0
        assert given.data.max() <= 1


def test_a_model_of_texts_is_that_of_an_import(
    texts: tuple[list[str], list[list[str]]], of_texts, tmp_path: Path
):
    rows = [{"text": text, "labels": tags} for text, tags in zip(*texts, strict=True)]
    for part, n in (("trn", N), ("tst", 50)):
        (tmp_path / f"{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:n]))
    tree = ("--nr-splits", "8", "--max-leaf-size", "10", "--preset", "tuned", "--without-xr-linear")
    for command in (
        ("data", "import", "verbs", "--format", "jsonl", "--trn", "trn.jsonl", "--tst", "tst.jsonl"),
        ("base", "verbs", *tree),
    ):
        ok(run_disentangle(tmp_path, *command))
    folder = tmp_path / "model" / "verbs" / "base" / "tuned" / "overlap"
    assert weights(of_texts) == {name: (folder / name).read_bytes() for name in weights(of_texts)}
    vectorizer = tmp_path / "dataset" / "xmc-base" / "verbs" / "vectorizer.json"
    assert of_texts._model.files["vectorizer.json"] == vectorizer.read_bytes()


def test_threads_and_memory_change_nothing(data: dict[str, sp.csr_matrix], fitted: LabelTreeClassifier):
    other = Small(n_jobs=2, max_memory=4).fit(data["X_trn"], data["Y_trn"])
    assert weights(other) == weights(fitted)
    X = data["X_tst"]
    assert (other.decision_function(X) != fitted.decision_function(X)).nnz == 0


def test_features_may_be_dense_and_of_any_sparse_kind(
    data: dict[str, sp.csr_matrix], fitted: LabelTreeClassifier
):
    X, Y = data["X_trn"], data["Y_trn"]
    messy = X.copy()
    messy.indices, messy.indptr = messy.indices.astype(np.int64), messy.indptr.astype(np.int64)
    for i in range(N):  # as scipy leaves rows that it has put together
        row = slice(*messy.indptr[i : i + 2])
        messy.indices[row], messy.data[row] = messy.indices[row][::-1].copy(), messy.data[row][::-1].copy()
    messy.has_sorted_indices = False
    before = messy.indices.copy()
    for given in (messy, X.tocoo(), sp.csr_array(X), X.toarray(), X.toarray().astype(np.float64)):
        assert weights(Small().fit(given, Y)) == weights(fitted)
    assert np.array_equal(messy.indices, before)


@pytest.mark.parametrize(
    "Y", [[[5], [2**63 + 1], [2**63 + 2]], np.array([5, 2**63 + 1, 2**63 + 2], np.uint64)]
)
def test_large_ids_are_given_back_as_they_came(Y: Any):
    form, own = forms.given(Y)
    _, classes = forms.encode(own, form)
    assert classes.tolist() == [5, 2**63 + 1, 2**63 + 2]
    assert {type(one) for one in classes.tolist()} == {int}
    again, found = forms.encode(own, form, classes)
    assert (again.toarray() == np.eye(3)).all()
    assert found.tolist() == classes.tolist()


def test_labels_may_be_a_matrix_or_lists(data: dict[str, sp.csr_matrix], fitted: LabelTreeClassifier):
    X, Y = data["X_trn"], data["Y_trn"]
    lists = [Y[i].indices.tolist() for i in range(N)]
    of_lists = Small().fit(X, lists)
    assert weights(of_lists) == weights(fitted)
    assert of_lists.classes_.tolist() == list(range(Y.shape[1]))
    names = [[f"label {label:05}" for label in row] for row in lists]
    of_names = Small().fit(X, [set(row) for row in names])
    assert weights(of_names) == weights(fitted)
    assert weights(Small().fit(X, Y.toarray())) == weights(fitted)
    X = data["X_tst"]
    indicator = fitted.predict(X)
    assert set(indicator.data) == {1}
    for row, labels, said in zip(indicator, of_lists.predict(X), of_names.predict(X), strict=True):
        assert sorted(labels) == row.indices.tolist()
        assert [f"label {label:05}" for label in labels] == said
    scores = fitted.decision_function(X)
    best = of_lists.predict(X)[0]
    found = [scores[0, label] for label in best]
    assert found == sorted(found, reverse=True)
    assert min(found) >= 0.5


def test_predictions_are_as_probable_as_is_asked(data: dict[str, sp.csr_matrix], fitted: LabelTreeClassifier):
    X = data["X_tst"]
    few, many = (clone(fitted).set_params(min_probability=least) for least in (0.9, 0.1))
    for one in (few, many):
        vars(one).update({name: vars(fitted)[name] for name in vars(fitted) if name not in vars(one)})
    scores = fitted.predict_proba(X)
    assert few.predict(X).nnz == (scores.data >= 0.9).sum()
    assert many.predict(X).nnz == (scores.data >= 0.1).sum() > few.predict(X).nnz


def test_calibrated_probabilities_are_those_of_the_job(
    verbs: Path, texts, of_texts: LabelTreeClassifier, tmp_path: Path
):
    parts = datasets.load_parts(verbs / "verbs")
    X, Y = parts["X_trn"][:1000], parts["Y_trn"][:1000]
    save_dataset(tmp_path / "data" / "some", X_trn=X, Y_trn=Y, X_tst=X[:50], Y_tst=Y[:50])
    options = ("--preset", "lean", "--nr-splits", "8", "--max-leaf-size", "10", "--without-xr-linear")
    ok(run_disentangle(tmp_path, "base", "some", "--data-dir", "data", *options, "--calibrate"))
    of_job = tmp_path / "model" / "some" / "base" / "lean" / "calibration" / CALIBRATION_FILE
    model = Small("lean", calibrate=True).fit(X, Y)
    assert model._model.files[CALIBRATION_FILE] == of_job.read_bytes()
    scores, found = model.decision_function(X[:50]), model.predict_proba(X[:50])
    assert (scores.indices == found.indices).all()
    for row in range(50):
        one, other = (matrix.data[matrix.indptr[row] : matrix.indptr[row + 1]] for matrix in (scores, found))
        assert (np.argsort(one, kind="stable") == np.argsort(other, kind="stable")).all()
        assert len(set(one)) == len(set(other))
    threshold = model._bundle().calibration.threshold
    model.set_params(min_probability=threshold)
    assert model.predict(X[:50]).nnz == (found.data >= threshold).sum() != (scores.data >= threshold).sum()
    again = pickle.loads(pickle.dumps(clone(model).set_params(calibrate=False).fit(X, Y)))
    assert (again.predict_proba(X[:50]) != scores).nnz == 0


def test_suggestions_of_a_calibrated_model_have_probabilities(texts, of_texts: LabelTreeClassifier):
    lines, tags = texts
    model = Small(calibrate=True).fit(lines, tags)
    for row, before in zip(model.suggest(lines[:20]), of_texts.suggest(lines[:20]), strict=True):
        assert [one._replace(probability=None) for one in row] == before
        probabilities = [one.probability for one in row]
        assert probabilities == sorted(probabilities, reverse=True)
        assert 0 <= probabilities[-1] < probabilities[0] <= 1
    least = model.suggest(lines[:1])[0][2].probability
    assert model.suggest(lines[:1], threshold=least) == [model.suggest(lines[:1])[0][:3]]


@pytest.mark.parametrize(
    ("kind", "n_trees", "calibrate"),
    [("terms", 1, False), ("terms", 3, True), ("mixed", 1, True), ("mixed", 2, False), ("dense", 1, False)],
)
def test_one_instance_is_predicted_as_in_a_batch(
    data: dict[str, sp.csr_matrix], kind: str, n_trees: int, calibrate: bool
):
    terms, Y = data["X_trn"], data["Y_trn"]
    dense = sp.csr_matrix(np.random.default_rng(0).normal(size=(N, 16)).astype(np.float32))
    X = {"terms": terms, "dense": dense, "mixed": sp.hstack([terms, dense], "csr")}[kind]
    bundle = Small(n_trees=n_trees, calibrate=calibrate).fit(X, Y)._bundle()
    assert (len(bundle._predictor.voices), bundle.calibration is not None) == (n_trees, calibrate)
    ((labels, scores),) = bundle._predictor.best(X, 10, 2)
    assert (labels >= 0).all(axis=1).sum() > N / 2
    probabilities = bundle.predict(X)
    for i in range(60):
        ((of_one, its_scores),) = bundle._predictor.best(X[i], 10, 1)
        assert (of_one.tobytes(), its_scores.tobytes()) == (labels[i].tobytes(), scores[i].tobytes())
        expected, found = probabilities[i], bundle.predict(X[i])
        assert found.indices.tolist() == expected.indices.tolist()
        assert found.data.tobytes() == expected.data.tobytes()


def test_one_text_gets_what_it_gets_in_a_batch(texts, of_texts: LabelTreeClassifier):
    lines = [*texts[0][:60], "", "xqzv"]
    assert [of_texts.suggest([line])[0] for line in lines] == of_texts.suggest(lines)


def test_too_few_instances_to_calibrate_are_refused():
    with pytest.raises(DisentangleError, match=r"too few training instances .* with random_state 0"):
        Small(calibrate=True, max_leaf_size=2).fit(np.eye(4), [["x"], ["y"], ["z"], ["x"]])


def test_the_score_is_the_mean_of_the_report(data: dict[str, sp.csr_matrix], fitted: LabelTreeClassifier):
    true = data["Y_tst"].toarray() > 0
    order = np.argsort(-fitted.decision_function(data["X_tst"]).toarray(), axis=1, kind="stable")[:, :10]
    hits = np.take_along_axis(true, order, axis=1)[true.any(axis=1)]
    parts = [hits[:, :k].sum(axis=1).mean() / k for k in (1, 3, 5)]
    parts.append((hits.sum(axis=1) / true.sum(axis=1)[true.any(axis=1)]).mean())
    assert fitted.score(data["X_tst"], data["Y_tst"]) == pytest.approx(np.mean(parts))


def test_labels_that_only_tests_have_count_as_missed(of_texts: LabelTreeClassifier, texts):
    lines, tags = texts
    known = of_texts.score(lines[:20], tags[:20])
    assert of_texts.score(lines[:20], [[*row, "an unknown label"] for row in tags[:20]]) < known


def test_labels_of_another_type_than_in_training_are_refused(of_texts: LabelTreeClassifier, texts):
    with pytest.raises(ValueError, match="labels must be text, as in training, got numbers"):
        of_texts.score(texts[0][:2], [[1], [2, 3]])


def test_parameters_of_texts_may_be_numbers_of_numpy(texts):
    lines, tags = texts
    model = Small(tfidf=TfidfParams(min_df=np.int64(2), ngram_range=(np.int64(1), 1))).fit(lines, tags)
    assert model.suggest(lines[:1])[0]


def test_a_tables_column_of_lists_is_lists(texts):
    lines, tags = texts
    column = np.empty((len(tags), 1), object)
    column[:, 0] = [list(row) for row in tags]
    assert Small().fit(lines, column).predict(lines[:3]) == Small().fit(lines, tags).predict(lines[:3])


def test_of_one_label_each_instances_may_have_weights():
    X, y = np.eye(6, dtype=np.float32), ["a", "b", "c", "a", "b", "c"]
    model = LabelTreeClassifier(max_leaf_size=2).fit(X, y)
    wrong = ["a", "b", "c", "a", "b", "a"]
    right = model.predict(X) == np.array(wrong)
    assert model.score(X, wrong, [1, 1, 1, 1, 1, 5]) == pytest.approx(
        np.average(right, weights=[1] * 5 + [5])
    )


def test_texts_get_suggestions_with_names(of_texts: LabelTreeClassifier, texts):
    lines, tags = texts
    found, nothing = of_texts.suggest([lines[0], "xqzv"], limit=5)
    assert nothing == []
    assert len(found) == 5
    assert {one.name for one in found} & set(tags[0])
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert all(of_texts.classes_[one.label] == one.name for one in found)
    assert of_texts.predict([lines[0]]) == [[one.name for one in found if one.score >= 0.5]]
    assert of_texts.suggest([]) == []
    few = of_texts.suggest(lines[:1], limit=100, threshold=0.5)[0]
    assert min(one.score for one in few) >= 0.5


@pytest.mark.parametrize("page", ["README.md", "docs/api.md"])
def test_the_first_example_of_a_page_runs(
    texts, page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    block = re.search(r"```python\n(import disentangle\n.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert block is not None
    monkeypatch.chdir(tmp_path)
    exec(block[1], {"texts": texts[0], "tags": texts[1]})
    assert len(capsys.readouterr().out.splitlines()) >= 5
    assert (tmp_path / "my-model" / "README.md").exists()


def test_it_works_in_pipelines_and_searches(data: dict[str, sp.csr_matrix]):
    X, Y = data["X_trn"], data["Y_trn"]
    pipeline = make_pipeline(Normalizer(), Small())
    assert pipeline.fit(X, Y).predict(X[:5]).shape == (5, Y.shape[1])
    # Which takes no sparse matrix for labels, whatever the classifier.
    # Of so few instances few labels are sure.
    pipeline.set_params(labeltreeclassifier__min_probability=0.3)
    scores = cross_val_score(pipeline, X, Y.toarray(), cv=3, scoring="f1_micro")
    assert scores.min() > 0.2
    lists = [Y[i].indices.tolist() for i in range(N)]
    assert cross_val_score(Small(), X, lists, cv=KFold(3)).min() > 0.2
    grid = GridSearchCV(Small("lean"), {"n_copies": np.array([1, 2]), "gain": ["counts"]}, cv=2).fit(X, Y)
    assert grid.best_params_["n_copies"] in (1, 2)
    assert grid.predict(X[:5]).shape == (5, Y.shape[1])
    assert grid.best_score_ > 0.2


def test_a_fit_has_the_threads_of_n_jobs(data: dict[str, sp.csr_matrix], monkeypatch: pytest.MonkeyPatch):
    n, real, asked = allowed() + 1, stages.in_threads, []
    monkeypatch.setattr(
        stages,
        "in_threads",
        lambda call, items, threads: (asked.append(threads), real(call, items, threads))[1],
    )
    Small(n_jobs=n).fit(data["X_trn"], data["Y_trn"])
    assert set(asked) == {n}


def test_a_clone_has_the_parameters_and_no_model(fitted: LabelTreeClassifier):
    other = clone(fitted.set_params(tfidf=TfidfParams(min_df=3)))
    assert other.get_params() == fitted.get_params()
    assert not hasattr(other, "classes_")
    given = set(inspect.signature(LabelTreeClassifier).parameters)
    assert set(overlap_fields()) < given == set(other.get_params())
    fitted.set_params(tfidf=None)


def _probabilities(model: LabelTreeClassifier, X: sp.csr_matrix) -> np.ndarray:
    return model.predict_proba(X).toarray()


def _of_parent(X: sp.csr_matrix) -> np.ndarray:
    return _probabilities(_inherited, X)


_inherited: Any = None


@pytest.mark.parametrize(
    "again", [lambda model: pickle.loads(pickle.dumps(model)), "joblib"], ids=["pickle", "joblib"]
)
def test_a_copy_through_pickle_or_joblib_predicts_alike(fitted, data, again: Callable | str, tmp_path: Path):
    if again == "joblib":
        joblib.dump(fitted, tmp_path / "model")
        other = joblib.load(tmp_path / "model")
    else:
        other = again(fitted)
    X = data["X_tst"]
    assert np.array_equal(_probabilities(other, X), _probabilities(fitted, X))


@pytest.mark.parametrize("backend", ["threading", "loky", "multiprocessing"])
def test_it_predicts_and_trains_in_jobs_of_joblib(fitted, data, backend: str):
    X, Y = data["X_tst"], data["Y_trn"]
    expected = _probabilities(fitted, X)
    with joblib.parallel_config(backend):
        for found in joblib.Parallel(2)(joblib.delayed(_probabilities)(fitted, X) for _ in range(2)):
            assert np.array_equal(found, expected)
        fits = joblib.Parallel(2)(joblib.delayed(Small().fit)(data["X_trn"], Y) for _ in range(2))
    assert [weights(one) == weights(fitted) for one in fits] == [True, True]


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_processes_predict_with_a_model_of_their_parent(fitted, data, start: str):
    global _inherited
    X = data["X_tst"]
    expected = _probabilities(fitted, X)  # which leaves threads behind that a fork does not have
    _inherited = fitted
    with multiprocessing.get_context(start).Pool(1) as pool:
        found = pool.apply_async(*((_of_parent, (X,)) if start == "fork" else (_probabilities, (fitted, X))))
        assert np.array_equal(found.get(timeout=120), expected)


def test_nothing_is_left_of_a_fit(data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    model = Small().fit(data["X_trn"], data["Y_trn"])
    model.predict(data["X_tst"][:5])
    assert list(tmp_path.iterdir()) == []

    def fails(*_: Any, **__: Any) -> None:
        raise DisentangleError("told to fail")

    monkeypatch.setattr("disentangle.jobs.steps.retrain", fails)
    with pytest.raises(DisentangleError, match="told to fail"):
        Small().fit(data["X_trn"], data["Y_trn"])
    assert list(tmp_path.iterdir()) == []


def matrix(*rows: list[float]) -> sp.csr_matrix:
    return sp.csr_matrix(np.array(rows, np.float32))


X4, Y4 = matrix([1, 0], [0, 1], [1, 1], [1, 0]), [["a"], ["b"], ["c"], ["a", "d"]]


@pytest.mark.parametrize(
    ("params", "X", "Y", "message"),
    [
        ({"preset": "best"}, X4, Y4, "preset must be one of paper, tuned, lean, got 'best'"),
        ({"n_copies": 0}, X4, Y4, "n_copies must be at least 1, got 0"),
        ({"n_copies": 2.5}, X4, Y4, "n_copies must be an integer, got 2.5"),
        ({"gain": "x"}, X4, Y4, "gain must be one of counts, scores, got 'x'"),
        ({"top_k": 1}, X4, Y4, "top_k must be at least 10, got 1"),
        ({"n_jobs": 0}, X4, Y4, "n_jobs must be None, -1 or at least 1, got 0"),
        ({"random_state": -1}, X4, Y4, "random_state must be at least 0, got -1"),
        ({"max_memory": 0}, X4, Y4, "max_memory must be above 0, got 0"),
        ({"cluster": 3}, X4, Y4, "cluster must be a scheduler's address, or its file, as text, got int"),
        ({"max_leaf_size": 9}, X4, Y4, r"expected more than max_leaf_size \(9\), got 4"),
        ({}, X4, Y4[:3], r"y must have as many instances as X \(4\), got 3"),
        ({}, X4[:, :0], Y4, "Found array with 0 feature"),
        ({}, X4 * 0, Y4, r"X holds no values: its shape is \(4, 2\)"),
        ({}, X4 * np.float32(1e20), Y4, "X must hold rows whose sum can be squared in float32"),
        ({}, np.full((4, 2), np.nan), Y4, "Input X contains NaN"),
        ({}, X4, [[], [], [], []], r"y holds no values"),
        ({}, X4, [["a"], "b", ["c"], []], "y must be lists of labels, got 'b' for instance 1"),
        (
            {},
            X4,
            [["a"], [1], ["c"], []],
            "labels must all be text, or all whole numbers, got 1 for instance 1",
        ),
        ({}, X4, [{"a": 1, "b": 0}] * 4, "Unknown label type"),
        ({}, X4, [["a"], ["b", ""], ["c"], []], "labels must not be empty, got '' for instance 1"),
        ({}, X4, ["a", "b", "", "c"], "labels must not be empty, got '' for instance 2"),
        ({}, X4, [["a"], ["b\n"], ["c"], []], r"a label must make a line of text, got 'b\\\\*n'"),
        ({}, X4, np.int64(3), r"y must be a matrix of 0 and 1, or a list .* got array\(3\)"),
        ({}, X4, "abcd", "y must be a matrix of 0 and 1, or a list of each instance's labels, got 'abcd'"),
        ({}, X4, matrix([1, 0], [2, 0], [0, 1], [0, 0]), "0 and 1, got 2 in row 1, column 0"),
        (
            {},
            ["a b", "c", "b", "e"],
            Y4,
            r"at least 2 training texts \(min_df\).* found none|found none in the 4 of X",
        ),
        ({"tfidf": TfidfParams(min_df=0)}, ["a b"] * 4, Y4, "min_df must be at least 1, got 0"),
        ({}, ["a b", 1, "b", "e"], Y4, "texts must be text, got int for number 1"),
        ({}, X4, {"a", "b", "c", "d"}, "y must be a matrix of 0 and 1, or a list of each instance's labels"),
        ({}, {"id": "a fruit"}, Y4, "instances must be a list or a matrix, got dict"),
        ({}, {"a b", "c"}, Y4, "instances must be a list or a matrix, got set"),
        ({"tfidf": TfidfParams(ngram_range=2)}, ["a b"] * 4, Y4, "ngram_range must be two whole numbers"),
        (
            {"tfidf": TfidfParams(token_pattern=None)},
            ["a b"] * 4,
            Y4,
            "and token_pattern text, got .* and None",
        ),
        ({"tfidf": {}}, ["a b"] * 4, Y4, "tfidf must be a TfidfParams, or None, got dict"),
        ({"tfidf": {"min_df": 3}}, ["a b"] * 4, Y4, "tfidf must be a TfidfParams, or None, got dict"),
        ({"preset": ["lean"]}, X4, Y4, r"preset must be one of paper, tuned, lean, got \['lean'\]"),
        ({}, X4, ["a", float("nan"), "b", "a"], "all be text, or all numbers, got nan for instance 1"),
        ({}, X4, [1, "a", "b", 2], "all be text, or all numbers, got 1 for instance 0"),
        ({}, X4, np.array(["a", None, "b", "a"], object), "all numbers, got None for instance 1"),
    ],
)
def test_mistakes_get_a_sentence(params: dict[str, Any], X: Any, Y: Any, message: str):
    with pytest.raises(ValueError, match=message) as error:
        LabelTreeClassifier(**params).fit(X, Y)
    assert "--" not in str(error.value)


def test_indices_beyond_a_matrix_are_refused():
    X, Y = np.eye(3, dtype=np.float32), sp.csc_matrix(np.eye(3, dtype=np.float32))
    Y.indices[0] = 1_000_000
    with pytest.raises(ValueError, match="must be < 3"):
        LabelTreeClassifier().fit(X, Y)


@pytest.mark.parametrize("form", ["csr", "csc", "bsr", "coo", "lil"])
def test_indices_beyond_the_features_are_refused_before_they_are_followed(form: str):
    X = sp.csr_matrix(np.eye(4, dtype=np.float32)).asformat(form)
    if form == "lil":
        X.rows[0] = [1_000_000]
    else:
        (X.row if form == "coo" else X.indices)[0] = 1_000_000
    for given in ((X, Y4), (np.eye(4, dtype=np.float32), X)):
        with pytest.raises(ValueError, match=r"must be < 4|exceeds matrix"):
            LabelTreeClassifier().fit(*given)


def test_mistakes_after_fitting_get_a_sentence(
    fitted: LabelTreeClassifier, data: dict[str, sp.csr_matrix], tmp_path: Path
):
    with pytest.raises(ValueError, match="has 3 features, but LabelTreeClassifier is expecting"):
        fitted.predict(np.ones((2, 3)))
    with pytest.raises(DisentangleError, match="texts need a model of texts"):
        fitted.suggest(["a"])
    with pytest.raises(DisentangleError, match="y must have the form of fit's"):
        fitted.score(data["X_tst"][:2], [["a"], ["b"]])
    with pytest.raises(DisentangleError, match=r"there must be \d+ names or URIs, one a label, got 1"):
        fitted.save(tmp_path / "bundle", names=["a"])
    with pytest.raises(DisentangleError, match="names or URIs must be text, or None, got nan"):
        fitted.save(tmp_path / "bundle", uris=[float("nan")] * len(fitted.classes_))
    with pytest.raises(DisentangleError, match="sample_weight must be None where instances may have several"):
        fitted.score(data["X_tst"], data["Y_tst"], np.ones(data["X_tst"].shape[0]))
    bad = data["X_tst"][:2].copy()
    bad.indices[0] = 10**6
    with pytest.raises(ValueError, match="ind"):
        fitted.predict(bad)
    assert list(tmp_path.iterdir()) == []


def test_a_fit_that_fails_leaves_no_half_of_a_model(data: dict[str, sp.csr_matrix]):
    model = Small()
    with pytest.raises(ValueError, match="y holds no values"):
        model.fit(X4, [[]] * 4)
    with pytest.raises(NotFittedError):
        model.predict(X4)
    model.fit(data["X_trn"], data["Y_trn"])
    with pytest.raises(ValueError, match="y holds no values"):
        model.fit(X4, [[]] * 4)
    # What was fitted before predicts as before.
    assert model.predict(data["X_tst"]).shape == data["Y_tst"].shape
    with pytest.raises(ValueError, match="X has 2 features, but LabelTreeClassifier is expecting"):
        model.predict(X4)


def test_importing_the_package_imports_no_library():
    code = "import sys, disentangle; print({'numpy', 'scipy', 'sklearn', 'pecos'} & set(sys.modules))"
    assert ok(run_python(ROOT, "-c", code)).stdout == "set()\n"


EXCLUDED = {
    "check_classifier_multioutput": "expects scores around 0, these lie in [0, 1]",
    "check_classifiers_multilabel_output_format_predict_proba": "expects no 0, as labels not found have",
    "check_classifiers_multilabel_representation_invariance": "takes lists for rows of 0 and 1",
}


@pytest.mark.slow
@parametrize_with_checks(
    [LabelTreeClassifier(sparse_output=False)], expected_failed_checks=lambda _: EXCLUDED
)
def test_it_is_an_estimator_of_scikit_learn(estimator: Any, check: Callable):
    check(estimator)
