"""Bundles: made by the command or a classifier, moved, loaded, refused when they are not what was written."""

from __future__ import annotations

import csv
import json
import os
import pickle
import re
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from conftest import EMBEDDED, SMALL_TREE, Command, ok, refused, reseal, run_disentangle, stages_run

import disentangle
from disentangle import LabelTreeClassifier
from disentangle.data.components import LABEL_NAMES, URIS
from disentangle.data.features import DENSE, SPARSE, Block, FeatureSet
from disentangle.data.tfidf import VECTORIZER_FILE
from disentangle.errors import DisentangleError
from disentangle.jobs import bundles, predict
from disentangle.model import saved_model
from disentangle.runtime.threads import allowed
from disentangle.storage.saved import RECORD

N = 400
# Stands for a matrix as wide as the model.
WIDE = object()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with texts, the results of a base job on them, and a bundle of its ensemble."""
    folder = tmp_path_factory.mktemp("bundle")
    names = (EMBEDDED / "output-items.txt").read_text(encoding="utf-8").splitlines()
    texts = (EMBEDDED / "X.trn.txt").read_text(encoding="utf-8").splitlines()[-N:]
    Y = sp.load_npz(EMBEDDED / "Y.trn.npz").tocsr()[-N:]
    rows = [{"text": text, "labels": [names[i] for i in Y[r].indices]} for r, text in enumerate(texts)]
    for part, n in (("trn", N), ("tst", 50)):
        (folder / f"{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:n]))
    (folder / "new.txt").write_text("".join(f"{text}\n" for text in texts[:20]))
    run = partial(run_disentangle, folder)
    dataset = folder / "dataset" / "xmc-base" / "verbs"
    commands = (
        ("data", "import", "verbs", "--format", "jsonl", "--trn", "trn.jsonl", "--tst", "tst.jsonl"),
        ("base", "verbs", *SMALL_TREE, "--preset", "tuned", "--n-trees", "2", "--without-xr-linear"),
        ("bundle", "verbs", "--preset", "tuned-trees-2", "--out", "made"),
    )
    for command in commands:
        if command[0] == "base":
            n_labels = len((dataset / "output-items.txt").read_text().splitlines())
            (dataset / URIS).write_text(
                "".join(f"urn:label:{i}\n" if i % 2 else "\n" for i in range(n_labels))
            )
            (dataset / "LICENSE").write_text("All may use it.\n")
        ok(run(*command))
    return folder


@pytest.fixture
def bundle(place: Path, tmp_path: Path) -> Path:
    """A copy of it, elsewhere."""
    return Path(shutil.copytree(place / "made", tmp_path / "copy of it"))


def test_a_bundle_predicts_as_the_model_does_wherever_it_lies(
    place: Path, run: Command, bundle: Path, tmp_path: Path
):
    given = ("--input", "new.txt", "--k", "5")
    ended = ok(run("predict", "verbs", "--variant", "tuned-trees-2", *given))
    of_bundle = run_disentangle(
        tmp_path, "predict", "--bundle", bundle, "--input", place / "new.txt", "--k", "5"
    )
    assert of_bundle.stdout == ended.stdout
    texts = (place / "new.txt").read_text().splitlines()
    model = disentangle.load(bundle)
    found = model.suggest([*texts, "xqzv"], limit=5)
    assert found.pop() == []
    rows = list(csv.DictReader(ended.stdout.splitlines(), delimiter="\t"))
    flat = [one for suggestions in found for one in suggestions]
    assert [(one.name, f"{one.score:.6g}") for one in flat] == [(row["name"], row["score"]) for row in rows]
    assert all(one.uri == (f"urn:label:{one.label}" if one.label % 2 else None) for one in flat)
    X = sp.load_npz(place / "dataset/xmc-base/verbs/tfidf-attnxml/X.trn.npz").tocsr()[:20]
    scores = model.predict(X, limit=5, threshold=0.2)
    assert scores.nnz == sum(one.score >= 0.2 for one in flat)
    for i, suggestions in enumerate(found):
        kept = [one for one in suggestions if one.score >= 0.2]
        assert [scores[i, one.label] for one in kept] == [np.float32(one.score) for one in kept]
    assert (model.predict(X.toarray(), limit=5, threshold=0.2) != scores).nnz == 0


def test_uris_are_the_models_own_until_the_base_job_has_run(place: Path, tmp_path: Path):
    copy = Path(shutil.copytree(place, tmp_path / "copy"))
    run = partial(run_disentangle, copy)
    uris = copy / "dataset" / "xmc-base" / "verbs" / URIS
    own, n = disentangle.load(copy / "made").uris, len(uris.read_text().splitlines())
    uris.write_text("".join(f"urn:new:{i}\n" for i in range(n)))
    bundle = ("bundle", "verbs", "--preset", "tuned-trees-2", "--out", "again", "--force")
    for command in (bundle, ("predict", "verbs", "--variant", "tuned-trees-2", "--text", "move")):
        ended = ok(run(*command))
        assert f"{URIS} is not what the model was trained with" in ended.stderr
    assert disentangle.load(copy / "again").uris == own
    base = ("base", "verbs", *SMALL_TREE, "--preset", "tuned", "--n-trees", "2", "--without-xr-linear")
    ended = ok(run(*base))
    made = stages_run(ended)
    assert made
    assert [stage for stage in made if "evaluation" not in stage] == []  # nothing is trained anew
    ended = run(*bundle)
    assert URIS not in ended.stderr
    assert disentangle.load(copy / "again").uris == [f"urn:new:{i}" for i in range(n)]
    # Too few of them: no bundle that could not be loaded.
    uris.write_text("urn:new:0\n")
    ok(run(*base))
    content = disentangle.load(copy / "again").content
    refused(run(*bundle), re.escape(f"{URIS} must have {n} lines, one a URI, got 1") + "$")
    assert disentangle.load(copy / "again").content == content


def test_the_folder_is_no_longer_needed_once_it_is_loaded(bundle: Path):
    model = disentangle.load(bundle, n_jobs=2, max_memory=4)
    before = model.suggest(["move up and down"])
    shutil.rmtree(bundle)
    assert model.suggest(["move up and down"]) == before


def test_the_card_tells_what_the_model_is(place: Path):
    card = (place / "made" / "README.md").read_text()
    report = json.loads((place / "model/verbs/base/report.json").read_text())
    run = next(run for run in report["runs"] if run["n_trees"] == 2)
    for said in (
        "# verbs, tuned",
        "That of the data is in `LICENSE`.",
        f"| P@1 | {run['precision'][0]} |",
        f"| n_train_instances | {N} |",
        "| n_trees | 2 |",
        "| n_copies | 3 |",
        "| max_leaf_size | 10 |",
        f"| sha256 of X_trn | {report['data']['X_trn']} |",
        f"| numpy | {np.__version__} |",
    ):
        assert said in card
    assert (place / "made" / "LICENSE").read_text() == "All may use it.\n"
    (block,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    exec(block.replace("FOLDER", str(place / "made")), {})
    assert disentangle.load(place / "made").card["figures"]["P@1"] == run["precision"][0]


def test_nothing_in_a_bundle_is_pickled_or_names_its_origin(place: Path):
    for path in (path for path in (place / "made").rglob("*") if path.is_file()):
        assert path.suffix in (".json", ".npz", ".txt", ".md", "")
        assert not path.is_symlink()
        assert str(place).encode() not in path.read_bytes()
        if path.suffix == ".npz":
            np.load(path, allow_pickle=False)


def test_a_bundle_made_again_is_the_same(place: Path, run: Command, tmp_path: Path):
    ok(run("bundle", "verbs", "--preset", "tuned-trees-2", "--out", tmp_path / "again"))
    assert disentangle.load(tmp_path / "again").content == disentangle.load(place / "made").content


def test_every_file_is_vouched_for(bundle: Path, run: Command):
    paths = sorted(path for path in bundle.rglob("*") if path.is_file())
    assert len(paths) > 20
    for path in paths:
        before = path.read_bytes()
        middle = len(before) // 2
        for damaged in (
            before[:middle] + bytes([before[middle] ^ 1]) + before[middle + 1 :],
            before[:middle],
        ):
            path.write_bytes(damaged)
            with pytest.raises(DisentangleError, match="damaged") as error:
                disentangle.load(bundle)
            assert str(path if path.name != RECORD or path.parent != bundle else bundle) in str(error.value)
        path.unlink()
        with pytest.raises(DisentangleError, match=r"No such file|must be a bundle"):
            disentangle.load(bundle)
        path.write_bytes(before)
    disentangle.load(bundle)
    (bundle / "README.md").write_text("another card")
    ended = run("predict", "--bundle", bundle, "--text", "move")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert re.fullmatch(r"error: \S.*README.md is damaged: its content is not what .* again\n", ended.stderr)


def test_what_is_no_bundle_is_refused(place: Path, bundle: Path, run: Command, tmp_path: Path):
    for folder in (
        tmp_path / "none",
        tmp_path,
        place / "model/verbs/base/tuned/evaluation",
        place / "new.txt",
    ):
        with pytest.raises(DisentangleError, match="must be a bundle"):
            disentangle.load(folder)
    for more in (("--variant", "tuned"), ("--features", "mini"), ("verbs",)):
        ended = run("predict", "--bundle", bundle, "--text", "move", *more)
        refused(ended, "--bundle has one model: expected no DATASET, --variant or --features beside it")
    record = json.loads((bundle / RECORD).read_text())
    (bundle / RECORD).write_text(json.dumps(record | {"bundle": 2}))
    reseal(bundle)
    with pytest.raises(DisentangleError, match="must be a bundle of format 1, found 2"):
        disentangle.load(bundle)


def test_what_is_there_is_not_overwritten_unless_told(
    place: Path, bundle: Path, run: Command, tmp_path: Path
):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("years of work")
    before = sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*"))
    for args, message in (
        (("--out", bundle), "--out must not exist yet, but for --force, found a bundle"),
        (("--out", tmp_path / "other", "--force"), "--out must not exist yet or be a bundle, found another"),
        (("--out", "model/verbs/base/x"), "--out must lie outside model/verbs/base"),
        (("--out", "dataset/xmc-base/verbs/x"), "--out must lie outside dataset/xmc-base/verbs"),
        (
            ("--out", tmp_path / "new", "--preset", "lean"),
            "no model 'lean' in model/verbs/base: it has tuned",
        ),
        (("--out", place / "new.txt" / "x"), "cannot write"),
    ):
        refused(run("bundle", "verbs", "--preset", "tuned", *args), re.escape(message))
    assert sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*")) == before
    ok(run("bundle", "verbs", "--preset", "tuned", "--out", bundle, "--force"))
    assert not (bundle / "tree-1").exists()
    assert disentangle.load(bundle).card["parameters"]["n_trees"] == 1


def test_a_bundle_without_figures_is_refused(place: Path, run: Command, tmp_path: Path):
    base = tmp_path / "model" / "verbs" / "base"
    shutil.copytree(place / "model" / "verbs" / "base", base)
    (base / "report.json").unlink()
    places = ("--model-dir", tmp_path / "model", "--out", tmp_path / "out")
    ended = run("bundle", "verbs", "--preset", "tuned", *places)
    refused(ended, r"report\.json must have the figures of")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", [LABEL_NAMES, VECTORIZER_FILE])
def test_what_could_not_be_loaded_is_no_bundle(place: Path, tmp_path: Path, name: str):
    copy = Path(shutil.copytree(place, tmp_path / "copy"))
    evaluation = predict.choose(copy / "model" / "verbs" / "base", "tuned-trees-2")
    if name == LABEL_NAMES:
        (evaluation / name).write_text("one name\n")
    else:
        terms = json.loads((evaluation / name).read_text())
        dropped = {name: terms[name][:-1] for name in ("terms", "frequencies")}
        (evaluation / name).write_text(json.dumps(terms | dropped))
    reseal(evaluation)
    given = ("bundle", "verbs", "--preset", "tuned-trees-2", "--out", "another")
    refused(run_disentangle(copy, *given), re.escape(name))
    assert not (copy / "another").exists()


def test_a_pickled_bundle_is_loaded_from_its_folder_again(
    place: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(bundle.parent)
    model = disentangle.load(bundle.name)
    pickled = pickle.dumps(model)
    monkeypatch.chdir("/")
    assert pickle.loads(pickled).suggest(["move up"]) == model.suggest(["move up"])
    shutil.rmtree(bundle)
    with pytest.raises(DisentangleError, match=r"must be a bundle, .* found none"):
        pickle.loads(pickled)


def test_blocks_get_the_lengths_that_the_model_learnt_from(place: Path, bundle: Path, run: Command):
    """A model of two blocks side by side, whose rows have length 1, takes them unscaled."""
    source = place / "dataset/xmc-base/verbs"
    (source / "both").mkdir(exist_ok=True)
    for part in ("trn", "tst"):
        X = sp.load_npz(source / "tfidf-attnxml" / f"X.{part}.npz").tocsr()
        sp.save_npz(source / "both" / f"a.{part}.npz", X)
        np.save(
            source / "both" / f"b.{part}.npy", np.random.default_rng(0).random((X.shape[0], 3), np.float32)
        )
    blocks = Block("a", SPARSE, X.shape[1], True, {}), Block("b", DENSE, 3, True, {})
    FeatureSet(source / "both", blocks, True).save()
    for command in (
        ("base", "verbs", *SMALL_TREE, "--features", "both", "--without-xr-linear"),
        ("bundle", "verbs", "--features", "both", "--preset", "paper", "--out", "of-both"),
    ):
        ok(run(*command))
    new = sp.hstack([X, np.load(source / "both" / "b.tst.npy")], "csr")
    sp.save_npz(place / "new.npz", new)
    ok(run("predict", "--bundle", "of-both", "--input", "new.npz", "--k", "5", "--out", "found.npz"))
    found = disentangle.load(place / "of-both").predict(new, limit=5)
    assert (found != sp.load_npz(place / "found.npz")).nnz == 0


def test_a_classifier_saves_a_bundle(place: Path, tmp_path: Path):
    rows = [json.loads(line) for line in (place / "trn.jsonl").read_text().splitlines()]
    texts, tags = [row["text"] for row in rows], [row["labels"] for row in rows]
    model = LabelTreeClassifier("lean", nr_splits=8, max_leaf_size=10).fit(texts, tags)
    model.save(tmp_path / "a")
    loaded = disentangle.load(tmp_path / "a")
    assert loaded.names == model.classes_.tolist()
    assert loaded.suggest(texts[:20]) == model.suggest(texts[:20])
    with pytest.raises(
        DisentangleError, match="folder must not exist yet, but for replace=True, found a bundle"
    ):
        model.save(tmp_path / "a")
    uris = [f"urn:{i}" for i in range(len(loaded.names))]
    model.save(tmp_path / "a", names=loaded.names[::-1], uris=uris, replace=True)
    again = disentangle.load(tmp_path / "a")
    assert (again.names, again.uris) == (loaded.names[::-1], uris)
    found = [[(one.label, one.score) for one in row] for row in again.suggest(texts[:5])]
    assert found == [[(one.label, one.score) for one in row] for row in loaded.suggest(texts[:5])]
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"texts": "a text"}, "texts must be a list of texts, got str"),
        ({"texts": ["a", None]}, "texts must be text, got NoneType for number 1"),
        ({"texts": ["a"], "limit": 0}, "limit must be at least 1, got 0"),
        ({"texts": ["a"], "limit": 1000}, "limit must be at most"),
        ({"texts": ["a"], "threshold": 1.5}, "threshold must be at most 1, got 1.5"),
        ({"X": np.ones((2, 3))}, r"X must have \d+ features, got 3"),
        ({"X": WIDE}, r"X must have rows whose squares add up to at most 3\.4e\+38"),
        ({"X": [["a"]]}, "could not convert string to float"),
    ],
)
def test_mistakes_get_a_sentence(place: Path, given: dict, message: str):
    model = disentangle.load(place / "made")
    if given.get("X") is WIDE:
        given = {"X": np.full((1, model.n_features), 1e38)}
    with pytest.raises(ValueError, match=message):
        model.predict(**given) if "X" in given else model.suggest(**given)


def test_a_bundle_loads_and_predicts_with_the_threads_of_n_jobs(place: Path, monkeypatch: pytest.MonkeyPatch):
    n, asked = allowed() + 1, []
    build, best = saved_model.build, predict.predict
    monkeypatch.setattr(saved_model, "build", lambda *of: (asked.append(of[2]), build(*of))[1])
    monkeypatch.setattr(predict, "predict", lambda *of: (asked.append(of[3]), best(*of))[1])
    model = disentangle.load(place / "made", n_jobs=n)
    assert asked == [n, n]  # two trees
    model.suggest(["move up"])
    assert asked == [n, n, n]
    assert allowed() == n - 1


def test_a_bundle_whose_replacing_was_killed_is_there_again(place: Path, bundle: Path):
    content = disentangle.load(bundle).content
    bundle.rename(bundle.with_name(f".tmp-{bundle.name}"))
    shutil.copytree(place / "made", bundle.with_name(f".tmp-old-{bundle.name}"))
    with pytest.raises(DisentangleError, match="found a bundle"), bundles.making(bundle, False):
        pass
    assert disentangle.load(bundle).content == content
    assert os.listdir(bundle.parent) == [bundle.name]
