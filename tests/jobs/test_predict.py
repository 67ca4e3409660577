"""Prediction as a user runs it: matrices and texts in, files of labels out."""

from __future__ import annotations

import csv
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from conftest import EMBEDDED, ROOT, SMALL_TREE, Command, base, dataset, ok, refused, reseal, run_disentangle

from disentangle.errors import DisentangleError
from disentangle.evaluate import metrics
from disentangle.jobs.predict import choose, variants
from disentangle.model import beam_search
from disentangle.model.predictor import PREDICTOR_FILE, Predictor
from disentangle.runtime.memory import Budget
from disentangle.storage.saved import RECORD

N_TEST = 300
# A variant of two models, by name.
CHANGED = "tuned-merge-mean"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where texts were imported and the base job has run with two presets and two trees."""
    folder = tmp_path_factory.mktemp("predict")
    names = (EMBEDDED / "output-items.txt").read_text(encoding="utf-8").splitlines()
    for part, n in (("trn", 3000), ("tst", N_TEST)):
        texts = (EMBEDDED / f"X.{part}.txt").read_text(encoding="utf-8").splitlines()[-n:]
        Y = sp.load_npz(EMBEDDED / f"Y.{part}.npz")[-n:]
        rows = [{"text": text, "labels": [names[i] for i in Y[r].indices]} for r, text in enumerate(texts)]
        (folder / f"{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (folder / f"{part}.txt").write_text("".join(f"{text}\n" for text in texts))
    run = partial(run_disentangle, folder)
    files = ("--trn", "trn.jsonl", "--tst", "tst.jsonl")
    for command in (
        ("data", "import", "verbs", "--format", "jsonl", *files),
        ("base", "verbs", *SMALL_TREE, "--preset", "paper,tuned"),
        ("base", "verbs", *SMALL_TREE, "--preset", "tuned", "--merge", "mean", "--n-trees", "2"),
    ):
        ok(run(*command))
    return folder


@pytest.fixture(scope="module")
def predict(place: Path) -> Command:
    return partial(run_disentangle, place, "predict", "verbs")


def test_a_sentence_that_cannot_be_read_is_no_result(tmp_path: Path):
    command = (sys.executable, "-m", "disentangle", "predict", "verbs", "--text", "to run")
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    closed = ("bash", "-c", 'exec "$@" 2>&-', "bash")
    result = subprocess.run((*closed, *command), cwd=tmp_path, env=environment, capture_output=True)
    assert (result.returncode, result.stdout) == (2, b"")


def features_of(place: Path) -> Path:
    return dataset(place) / "tfidf-attnxml" / "X.tst.npz"


@pytest.mark.parametrize(
    ("variant", "which"),
    [("xr-linear", (None, 1)), (CHANGED, (CHANGED, 1)), (f"{CHANGED}-trees-2", (CHANGED, 2))],
)
def test_predictions_have_the_figures_of_the_report(
    place: Path, predict: Command, variant: str, which: tuple, tmp_path: Path
):
    out = tmp_path / "scores.npz"
    ok(predict("--variant", variant, "--input", features_of(place), "--out", out))
    report = json.loads((base(place) / "report.json").read_text())
    run = next(run for run in report["runs"] if (run["variant"], run["n_trees"]) == which)
    scores, Y = sp.load_npz(out), sp.load_npz(dataset(place) / "Y.tst.npz").tocsr()
    assert scores.shape == Y.shape
    assert np.diff(scores.indptr).max() == 10
    is_scored = np.diff(Y.indptr) > 0
    precision = metrics.precision(Y[is_scored], metrics.rank(scores[is_scored], 10))
    assert precision == pytest.approx(run["precision"], abs=1e-4)
    record = json.loads((tmp_path / "scores.npz.json").read_text())
    assert record["n_instances"] == N_TEST
    assert record["versions"]["libpecos"]


def test_texts_are_predicted_as_their_features_are(place: Path, predict: Command, tmp_path: Path):
    found = {}
    for threads, source in enumerate(("tst.txt", "tst.jsonl", features_of(place)), start=1):
        for ending in ("npz", "tsv", "jsonl"):
            out = tmp_path / f"{Path(source).name}.{ending}"
            given = ("--variant", "tuned", "--input", source, "--threads", str(threads))
            ok(predict(*given, "--out", out, "--k", "3"))
            found[Path(source).name, ending] = out.read_bytes()
    for ending in ("npz", "tsv", "jsonl"):
        assert found["tst.txt", ending] == found["tst.jsonl", ending] == found["X.tst.npz", ending]
    scores = sp.load_npz(tmp_path / "tst.txt.npz")
    names = (dataset(place) / "output-items.txt").read_text(encoding="utf-8").splitlines()
    rows = list(csv.DictReader(found["tst.txt", "tsv"].decode().splitlines(), delimiter="\t"))
    objects = [json.loads(line) for line in found["tst.txt", "jsonl"].decode().splitlines()]
    assert len(rows) == scores.nnz == sum(len(one["labels"]) for one in objects)
    flat = [one["labels"][j] for one in objects for j in range(len(one["labels"]))]
    for row, label in zip(rows, flat, strict=True):
        assert int(row["label"]) == label["label"]
        assert row["name"] == label["name"] == names[label["label"]]
        assert float(row["score"]) == pytest.approx(label["score"], abs=1e-5)
        assert scores[int(row["instance"]), label["label"]] == pytest.approx(label["score"], abs=1e-5)
    # Best first.
    for one in objects:
        assert [label["score"] for label in one["labels"]] == sorted(
            (label["score"] for label in one["labels"]), reverse=True
        )


def test_single_texts_go_to_standard_output(place: Path, predict: Command):
    first, second = (place / "tst.txt").read_text().splitlines()[:2]
    ended = ok(predict("--text", first, "--text", second, "--k", "2"))
    lines = [line.split("\t") for line in ended.stdout.splitlines()]
    assert lines[0] == ["instance", "label", "name", "score"]
    assert [line[0] for line in lines[1:]] == ["0", "0", "1", "1"]
    assert predict("--text", first, "--text", second, "--k", "2").stdout == ended.stdout


def test_lines_go_to_a_file_though_a_terminal_shows_the_progress(
    place: Path, tmp_path: Path, terminal: tuple[int, int]
):
    ours, theirs = terminal
    env = os.environ | {"PYTHONPATH": str(ROOT / "src"), "TERM": "xterm"}
    command = [sys.executable, "-m", "disentangle", "predict", "verbs", "--text", "move", "--k", "2"]
    try:
        with (tmp_path / "labels.tsv").open("w") as out:
            subprocess.run(command, cwd=place, env=env, stdout=out, stderr=theirs, check=True)
    finally:
        os.close(ours)
        os.close(theirs)
    assert (tmp_path / "labels.tsv").read_text().startswith("instance\tlabel\tname\tscore\n0\t")


def test_instances_without_features_get_no_labels(place: Path, predict: Command, tmp_path: Path):
    known = (place / "tst.txt").read_text().splitlines()[0]
    (tmp_path / "odd.txt").write_text(f"xqzv\n{known}\n\n")
    for ending in ("tsv", "jsonl", "npz"):
        ended = ok(predict("--input", tmp_path / "odd.txt", "--out", tmp_path / f"odd.{ending}"))
        assert "2 of 3 texts have no known word: no labels for them" in ended.stderr
    rows = list(csv.DictReader((tmp_path / "odd.tsv").open(newline=""), delimiter="\t"))
    assert {row["instance"] for row in rows} == {"1"}
    objects = [json.loads(line) for line in (tmp_path / "odd.jsonl").open()]
    assert [len(one["labels"]) for one in objects] == [0, 10, 0]
    assert np.diff(sp.load_npz(tmp_path / "odd.npz").indptr).tolist() == [0, 10, 0]
    assert json.loads((tmp_path / "odd.npz.json").read_text())["n_without_features"] == 2
    X = sp.load_npz(features_of(place)).tocsr()[:3]
    X.data[X.indptr[1] : X.indptr[2]] = 0
    sp.save_npz(tmp_path / "X.npz", X)
    np.save(tmp_path / "X.npy", X.toarray())
    for ending in ("npz", "npy"):
        ended = predict("--input", tmp_path / f"X.{ending}", "--out", tmp_path / "X.jsonl")
        assert "1 of 3 instances have no features: no labels for them" in ended.stderr
        objects = [json.loads(line) for line in (tmp_path / "X.jsonl").open()]
        assert [len(one["labels"]) for one in objects] == [10, 0, 10]


def test_an_output_is_refused_before_anything_is_read(place: Path, predict: Command, tmp_path: Path):
    (tmp_path / "link.tsv").symlink_to(place / "tst.txt")
    (tmp_path / "o.tsv.json").symlink_to(place / "tst.txt")
    before = (place / "tst.txt").read_bytes()
    for out, message in (
        (tmp_path / "link.tsv", "--out must be another place than tst.txt"),
        (tmp_path / "o.tsv", "the record of --out must be another place than tst.txt"),
        (features_of(place), "--out must lie outside dataset/xmc-base/verbs"),
        (base(place) / "o.tsv", "--out must lie outside model/verbs/base"),
    ):
        ended = predict("--input", "tst.txt", "--out", out, "--variant", "none")
        refused(ended, re.escape(message))
    assert (place / "tst.txt").read_bytes() == before


def test_a_model_folder_may_be_a_link(place: Path, tmp_path: Path):
    where = ("--data-dir", place / "dataset" / "xmc-base", "--model-dir", "model")
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c" / "model").symlink_to(tmp_path)
    run = partial(run_disentangle, tmp_path / "a" / "b" / "c")
    ok(run("base", "verbs", *where, *SMALL_TREE, "--preset", "lean", "--without-xr-linear"))
    ended = run("predict", "verbs", *where, "--text", "move up")
    assert (ended.returncode, ended.stdout.count("\n")) == (0, 11), ended.stderr


def test_a_record_that_cannot_be_written_leaves_none_of_an_earlier_run(
    place: Path, predict: Command, tmp_path: Path
):
    given = ("--variant", "tuned", "--input", "tst.txt", "--out", tmp_path / "labels.tsv")
    ok(predict(*given))
    (tmp_path / "sitecustomize.py").write_text(
        "import json, os\n"
        "dumps = json.dumps\n"
        "def full(value, **how):\n"
        "    if isinstance(value, dict) and value.get('job') == 'predict':\n"
        "        raise OSError(28, 'No space left on device', 'labels.tsv.json')\n"
        "    return dumps(value, **how)\n"
        "json.dumps = full\n"
    )
    package = f"{tmp_path}{os.pathsep}{ROOT / 'src'}"
    ended = run_disentangle(place, "predict", "verbs", *given, "--k", "5", package=package)
    assert (ended.returncode, "No space left" in ended.stderr) == (2, True)
    assert (tmp_path / "labels.tsv").read_text().count("\n") == 5 * N_TEST + 1
    assert not (tmp_path / "labels.tsv.json").exists()


def test_a_predictor_goes_to_other_processes(place: Path):
    predictor = Predictor.load(base(place) / "tuned" / "evaluation-merge-mean")
    X = sp.load_npz(features_of(place)).tocsr()[:20]
    ((labels, scores),) = predictor.best(X, 5, 1)
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        ((there, of_there),) = pool.submit(_best, predictor, X).result()
    assert np.array_equal(labels, there)
    assert np.array_equal(scores, of_there)
    with pytest.raises(TypeError, match="can be pickled only if"):
        pickle.dumps(Predictor(predictor.voices, predictor.merge))


def test_an_ensemble_of_an_earlier_version_takes_the_ordinary_mean(place: Path, tmp_path: Path):
    shutil.copytree(base(place), tmp_path / "base")
    folder = tmp_path / "base" / "tuned" / "evaluation-merge-mean-trees-2"
    said = json.loads((folder / PREDICTOR_FILE).read_text())
    assert said["merge"] == {"copies": "mean", "roots": 2}
    said["merge"] = "mean"
    (folder / PREDICTOR_FILE).write_text(json.dumps(said))
    reseal(folder)
    ensemble, X = Predictor.load(folder), sp.load_npz(features_of(place)).tocsr()[:20]
    scores = np.zeros((20, ensemble.n_labels))
    for voice in ensemble.voices:
        ((labels, found),) = Predictor((voice,), "mean").best(X, 100, 1)
        rows, places = np.nonzero(labels >= 0)
        scores[rows, labels[rows, places]] += found[rows, places] / 2
    ((_, means),) = ensemble.best(X, 5, 1)
    assert means == pytest.approx(np.sort(scores)[:, :-6:-1], abs=1e-6)


def _best(predictor: Predictor, X: sp.csr_matrix) -> list[tuple[np.ndarray, np.ndarray]]:
    return list(predictor.best(X, 5, 1))


def test_a_limit_changes_batches_and_no_score(place: Path, monkeypatch: pytest.MonkeyPatch):
    predictor = Predictor.load(base(place) / "tuned" / "evaluation-merge-mean")
    X = sp.load_npz(features_of(place)).tocsr()
    (whole,) = predictor.best(X, 10, 2)
    # Ten instances at a time, for which half of what is left is.
    (predict,) = predictor._ranking.predict
    monkeypatch.setattr("disentangle.runtime.memory.resident", lambda: 0)
    monkeypatch.setattr("disentangle.runtime.memory._LEAST_BATCH", 0)
    n_nodes = max(predict.beam_size, predict.top_k)
    to_merge = 20 * n_nodes  # bytes
    bytes_per_node = beam_search.BYTES_PER_NODE
    limit = Budget(2 * bytes_per_node * (n_nodes + -(-to_merge // bytes_per_node)) * 10)
    batches = list(predictor.best(X, 10, 2, limit))
    assert [len(labels) for labels, _ in batches[:-1]] == [10] * (len(batches) - 1)
    assert len(batches) > 25
    for parts, expected in zip(zip(*batches, strict=True), whole, strict=True):
        assert np.array_equal(np.vstack(parts), expected)


def test_what_is_unfinished_or_no_overlap_is_never_meant(tmp_path: Path):
    linear = ("xr-linear-evaluation", "seed-1/xr-linear-evaluation")
    for folder in ("lean/evaluation", "lean/.tmp-evaluation", *linear):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / PREDICTOR_FILE).touch()
    assert sorted(variants(tmp_path)) == ["lean", "seed-1/xr-linear", "xr-linear"]
    assert choose(tmp_path, None) == tmp_path / "lean" / "evaluation"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ("--variant", "lean", "--text", "a"),
            f"no model 'lean' .* it has paper, tuned, {CHANGED}, {CHANGED}-trees-2, xr",
        ),
        (("--input", "none.txt"), "cannot read none.txt: No such file"),
        (("--input", "trn.csv"), "--input must end in .npz, .npy, .txt, .jsonl, got trn.csv"),
        (("--input", "empty.txt"), "empty.txt is empty: expected a text a line"),
        (("--input", "bad.jsonl", "--out", "o.tsv"), 'bad.jsonl, line 2: expected an object with a "text"'),
        (
            ("--input", "dataset/xmc-base/verbs/Y.tst.npz"),
            r"Y.tst.npz: expected \d+ features, as the",
        ),
        (("--input", "tst.txt", "--out", "o.csv"), "--out must end in .npz, .tsv, .jsonl, got o.csv"),
        (("--input", "tst.txt", "--out", "no/o.tsv"), "cannot write no/o.tsv: no is no folder"),
        (("--text", "a", "--k", "0"), "--k must be at least 1, got 0"),
        (("--text", "a", "--k", "161"), r"--k must be at most the models' --top-k \(160\), got 161"),
        (("--input", "none.npz"), "missing file none.npz"),
        (("--input", "rows.npz"), r"rows.npz is empty: its shape is \(0, 5\)"),
        (
            ("--input", "tst.jsonl", "--out", "tst.jsonl"),
            "--out must be another place than tst.jsonl",
        ),
        (("--text", "a", "--threads", "0"), "--threads must be at least 1, got 0"),
        (("--text", "a", "--model-dir", "none"), "no model 'paper' in none/verbs/base: no base job"),
        (("--text", "a", "--max-memory", "nan"), "--max-memory must be a number, got nan"),
        ((), "one of the arguments --input --text is required"),
    ],
)
def test_mistakes(place: Path, predict: Command, args: tuple[str, ...], message: str):
    (place / "empty.txt").write_text("")
    (place / "bad.jsonl").write_text('{"text": "fine"}\n{"words": "none"}\n')
    sp.save_npz(place / "rows.npz", sp.csr_matrix((0, 5), dtype=np.float32))
    before = sorted(path.name for path in place.iterdir())
    assert refused(predict(*args), message).stdout == ""
    assert sorted(path.name for path in place.iterdir()) == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "predictor.json is damaged"),
        ("[]", "predictor.json is damaged"),
        ('{"merge": "mean", "models": 1}', "predictor.json is damaged"),
        ('{"merge": "mean", "models": []}', "predictor.json is damaged: it names no model"),
        ('{"merge": "mean", "models": [{}]}', "predictor.json is damaged"),
        (
            '{"merge": "mean", "models": [{"model": "gone", "predict": {}, "content": ""}]}',
            "gone/stage.json must be the record of what a job left there, found none",
        ),
        (
            '{"merge": "mean", "models": [{"model": "x", "predict": {"top_k": 2.5}, "content": ""}]}',
            "predictor.json is damaged: .* instead of whole numbers",
        ),
        ('{"merge": "sum", "models": []}', "predictor.json is damaged: a rule of merging 'sum'"),
        ('{"merge": ["mean"], "models": []}', "predictor.json is damaged"),
        (
            '{"merge": {"copies": "mean", "roots": 3}, "models": []}',
            "predictor.json is damaged: a way of merging",
        ),
        ('{"merge": {"copies": "sum", "roots": 2}, "models": []}', "a rule of merging 'sum'"),
        ('{"merge": {"roots": 2}, "models": []}', "predictor.json is damaged"),
    ],
)
def test_damaged_predictors(tmp_path: Path, content: str, message: str):
    record = {
        "key": "",
        "inputs": {},
        "results": {},
        "seconds": {},
        "peak_rss_mib": 0,
        "threads": 1,
        "machine": {},
    }
    (tmp_path / PREDICTOR_FILE).write_text(content)
    (tmp_path / RECORD).write_text(json.dumps(record | {"files": {}}))
    reseal(tmp_path)
    with pytest.raises(DisentangleError, match=message):
        Predictor.load(tmp_path)


def test_models_that_were_made_otherwise_are_not_mixed_with_older_ones(place: Path, predict: Command):
    # Another file than was evaluated, of which its record tells the truth.
    model = base(place) / "xr-linear"
    param, record = model / "param.json", model / RECORD
    before = param.read_text(), record.read_text()
    param.write_text(before[0] + "\n")
    reseal(model)
    try:
        ended = predict("--variant", "xr-linear", "--text", "a")
    finally:
        param.write_text(before[0])
        record.write_text(before[1])
    assert refused(ended, "found another one: run the base job again").stdout == ""


def test_a_limit_holds_for_texts_in_several_blocks(place: Path, predict: Command, tmp_path: Path):
    lines = (place / "tst.txt").read_text() * 60  # 18,000 texts, three blocks
    (tmp_path / "many.txt").write_text(lines)
    found = {}
    for limit in ((), ("--max-memory", "0.5")):
        out = tmp_path / f"labels-{len(limit)}.npz"
        ok(predict("--variant", "tuned", "--input", tmp_path / "many.txt", "--out", out, *limit))
        found[limit] = sp.load_npz(out)
        record = json.loads((tmp_path / f"{out.name}.json").read_text())
        assert record["n_instances"] == 60 * N_TEST
    assert record["peak_rss_mib"] < 0.5 * 1024
    one, other = found.values()
    assert (one != other).nnz == 0
