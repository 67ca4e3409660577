"""Saved results: taken only with the content that was recorded, and with what they were made with."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from conftest import Command, ok, refused, reseal, run_disentangle

from disentangle.errors import DisentangleError
from disentangle.model import saved_model, tree
from disentangle.model.predictor import Predictor
from disentangle.model.saved_model import load_overlap
from disentangle.runtime import memory
from disentangle.runtime.memory import Budget, resident
from disentangle.storage.saved import RECORD, Saved, read_record, sealed

TREE = ("--nr-splits", "4", "--max-leaf-size", "5")
# Blanks, quotes and what a shell would run.
HOSTILE = "a$(touch pwned)b & 'c'"
FILES = ("--format", "jsonl", "--trn", "trn.jsonl", "--tst", "tst.jsonl")


def write_texts(folder: Path, names: list[str], word: str) -> None:
    rng = np.random.default_rng(0)
    for part, n in (("trn", 300), ("tst", 40)):
        rows = []
        for _ in range(n):
            labels = rng.choice(len(names), size=2, replace=False).tolist()
            text = " ".join(f"{word}{label}" for label in labels for _ in range(3))
            rows.append({"text": text, "labels": [names[label] for label in labels]})
        (folder / f"{part}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where a base job has ended, on a dataset of a hostile name."""
    folder = tmp_path_factory.mktemp("saved")
    write_texts(folder, [f"item {i}" for i in range(40)], "word")
    run = partial(run_disentangle, folder)
    for command in (("data", "import", HOSTILE, *FILES), ("base", HOSTILE, *TREE, "--preset", "paper,lean")):
        ok(run(*command))
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copytree(made, tmp_path / "place"))


def base_of(place: Path) -> Path:
    return place / "model" / HOSTILE / "base"


ASK = ("predict", HOSTILE, "--text", "word3 word4 word4", "--k", "2")


def test_no_shell_sees_a_name(place: Path, run: Command):
    ended = ok(run(*ASK))
    assert [line.split("\t")[2] for line in ended.stdout.splitlines()[1:]] == ["item 4", "item 3"]
    assert not list(place.rglob("pwned*"))
    assert sorted(path.name for path in place.iterdir()) == ["dataset", "model", "trn.jsonl", "tst.jsonl"]


def test_a_flipped_bit_is_refused_and_made_anew(place: Path, run: Command):
    expected = run(*ASK).stdout
    weights = base_of(place) / "paper" / "overlap" / "ranker" / "0.model" / "W.npz"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-400] + bytes([whole[-400] ^ 1]) + whole[-399:])
    damaged = r"W\.npz is damaged: its content is not what stage\.json beside it tells"
    assert refused(run(*ASK), damaged).stdout == ""
    ended = ok(run("base", HOSTILE, *TREE, "--preset", "paper,lean"))
    assert "overlap is redone: damaged files" in ended.stderr
    assert weights.read_bytes() == whole
    assert run(*ASK).stdout == expected


def test_a_record_that_was_edited_counts_for_nothing(place: Path):
    evaluation = base_of(place) / "paper" / "evaluation"
    record = json.loads((evaluation / RECORD).read_text())
    record["results"]["precision"][0] += 1
    (evaluation / RECORD).write_text(json.dumps(record))
    assert read_record(evaluation) is None


@pytest.mark.parametrize("name", ["../../../outside", "/etc/passwd", "a/../../b"])
def test_a_record_vouches_for_nothing_outside_its_folder(place: Path, name: str):
    evaluation = base_of(place) / "paper" / "evaluation"
    record = json.loads((evaluation / RECORD).read_text())
    record["files"][name] = "0" * 64
    (evaluation / RECORD).write_text(json.dumps(sealed(record)))
    assert read_record(evaluation) is None


def compressed(path: Path) -> None:
    sp.save_npz(path, sp.load_npz(path), compressed=True)


def by_rows(path: Path) -> None:
    sp.save_npz(path, sp.load_npz(path).tocsr(), compressed=False)


def change(path: Path, **arrays: Any) -> None:
    with np.load(path) as read:
        np.savez(path, **{name: read[name] for name in read.files} | arrays)


def with_text(path: Path) -> None:
    change(path, format=np.array("csc"))


def negative(path: Path) -> None:
    indptr = np.load(path)["indptr"]
    indptr[1] = -5
    change(path, indptr=indptr)


def out_of_range(path: Path) -> None:
    indices = np.load(path)["indices"]
    indices[0] = 2**30
    change(path, indices=indices)


def not_finite(path: Path) -> None:
    data = np.load(path)["data"]
    data[0] = np.nan
    change(path, data=data)


def without_rows(path: Path) -> None:
    n_columns = int(np.load(path)["shape"][1])
    change(path, data=np.empty(0, np.float32), indices=np.empty(0, np.int32))
    change(path, indptr=np.zeros(n_columns + 1, np.int32), shape=np.array([0, n_columns]))


@pytest.mark.parametrize(
    "forge", [compressed, by_rows, with_text, negative, out_of_range, not_finite, without_rows]
)
@pytest.mark.parametrize("matrix", ["W", "C"])
def test_what_prediction_would_crash_on_is_refused_although_its_record_vouches_for_it(
    place: Path, forge: Any, matrix: str
):
    model = base_of(place) / "paper" / "overlap"
    forge(model / "ranker" / "1.model" / f"{matrix}.npz")
    reseal(model)
    for load in (saved_model.load, saved_model.load_trained):
        with pytest.raises(DisentangleError, match=rf"{matrix}\.npz is damaged"):
            load(Saved.at(model)[0])


def test_a_matrix_that_is_mapped_is_not_held(tmp_path: Path):
    n = 4 << 20
    W = sp.csc_matrix((np.ones(n, np.float32), np.arange(n), np.array([0, n])), shape=(n, 1))
    sp.save_npz(tmp_path / "W.npz", W, compressed=False)
    saved = Saved(tmp_path, {"W.npz": hashlib.sha256((tmp_path / "W.npz").read_bytes()).hexdigest()})
    before = resident()
    read = saved.matrix("W.npz", is_plain=True, budget=Budget(1 << 30, tmp_path))
    # It has 32 MiB.
    assert resident() - before < 8 << 20
    assert (read != W).nnz == 0


@pytest.mark.parametrize("clusters", [-1, 2**20])
def test_copies_out_of_range_are_refused(place: Path, clusters: int):
    model = base_of(place) / "paper" / "overlap"
    wrong = np.load(model / "overlap.npz")["clusters"]
    wrong[0] = clusters
    change(model / "overlap.npz", clusters=wrong)
    reseal(model)
    with pytest.raises(DisentangleError, match=r"overlap\.npz is damaged"):
        load_overlap(Saved.at(model)[0])


def test_a_tree_of_other_labels_is_no_tree_of_the_dataset(place: Path, run: Command):
    leaf = max((base_of(place) / "label-tree").glob("level-*.npz"))
    sp.save_npz(leaf, sp.load_npz(leaf).tocsr()[:-1].tocsc())
    reseal(leaf.parent)
    for stage in ("matcher", "xr-linear", "xr-linear-evaluation"):
        shutil.rmtree(base_of(place) / stage)
    refused(run("base", HOSTILE, *TREE), "label-tree must hold a tree of labels: 40, got 39")


def test_a_predictor_answers_with_the_model_that_it_has_verified(place: Path):
    folder = base_of(place) / "paper"
    X = sp.load_npz(place / "dataset" / "xmc-base" / HOSTILE / "tfidf-attnxml" / "X.tst.npz").tocsr()
    lazy, eager = Predictor.read(folder / "evaluation"), Predictor.load(folder / "evaluation")
    (expected,) = eager.best(X, 3, 1)
    # Another model takes the place of the one that was looked at, be it by a copy over it.
    for path in (base_of(place) / "lean" / "overlap").rglob("*"):
        if path.is_file():
            target = folder / "overlap" / path.relative_to(base_of(place) / "lean" / "overlap")
            target.parent.mkdir(exist_ok=True)
            shutil.copy(path, target)
    assert all(map(np.array_equal, next(eager.best(X, 3, 1)), expected))
    with pytest.raises(DisentangleError, match="is damaged: its content is not what"):
        list(lazy.best(X, 3, 1))


def test_a_model_keeps_its_vocabulary_and_names(place: Path, run: Command):
    expected = run(*ASK).stdout
    # A year later: the same name, other words, and labels in another order.
    shutil.rmtree(place / "dataset")
    write_texts(place, [f"thing {40 - i}" for i in range(40)], "term")
    ok(run("data", "import", HOSTILE, *FILES))
    ended = run(*ASK)
    assert ended.stdout == expected
    assert "vectorizer.json is not what the model was trained with" in ended.stderr
    assert "output-items.txt is not what the model was trained with" in ended.stderr
    # Names alone in another order: the model's own, until the base job has run.
    names = place / "dataset" / "xmc-base" / HOSTILE / "output-items.txt"
    names.write_text("".join(reversed(names.read_text().splitlines(keepends=True))))
    assert run(*ASK).stdout == expected


def test_results_of_seeds_and_variants_stand_side_by_side(place: Path, run: Command):
    report = base_of(place) / "report.json"

    def rows() -> list[tuple[int, str | None]]:
        runs = json.loads(report.read_text())["runs"]
        return sorted(((run["settings"]["seed"], run["variant"]) for run in runs), key=str)

    assert rows() == [(0, "lean"), (0, "paper"), (0, None)]
    ok(run("base", HOSTILE, *TREE, "--seed", "1"))
    assert rows() == [(0, "lean"), (0, "paper"), (0, None), (1, "paper"), (1, None)]
    # Going back trains nothing, and one more variant loses none.
    ended = ok(run("base", HOSTILE, *TREE, "--preset", "paper,lean"))
    assert " ..." not in ended.stderr, ended.stderr
    assert run("metric", HOSTILE, *TREE, "--components", "binned").returncode in (0, 2)
    assert rows() == [(0, "lean"), (0, "paper"), (0, None), (1, "paper"), (1, None)]
    ok(run(*ASK, "--variant", "seed-1/paper"))
    # Rows whose models are gone, or were made otherwise, go.
    shutil.rmtree(base_of(place) / "lean")
    ok(run("base", HOSTILE, *TREE))
    assert rows() == [(0, "paper"), (0, None), (1, "paper"), (1, None)]


def test_the_sweep_of_a_seed_keeps_its_runs(place: Path, run: Command):
    report = place / "model" / HOSTILE / "sweep" / "seed-0" / "report.json"

    def variants() -> list[str | None]:
        return [one["variant"] for one in json.loads(report.read_text())["runs"]]

    sweep = ("sweep", HOSTILE, *TREE)
    ok(run(*sweep, "--grid", "merge=noisy-or"))
    assert variants() == [None, "paper-merge-noisy-or"]
    # Another seed has another part of the data, and a report of its own.
    ok(run(*sweep, "--seed", "1"))
    assert variants() == [None, "paper-merge-noisy-or"]
    ok(run(*sweep))
    assert variants() == [None, "paper", "paper-merge-noisy-or"]


def test_whoever_writes_to_the_base_jobs_results_holds_all_of_them(place: Path, run: Command):
    folder = place / "dataset" / "xmc-base" / HOSTILE / "components"
    folder.mkdir()
    Y = sp.load_npz(folder.parent / "Y.trn.npz")
    sp.save_npz(folder / "Y.trn.npz", Y)
    sp.save_npz(folder / "labels.npz", sp.identity(Y.shape[1], np.float32, format="csr"))
    with (base_of(place) / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for command in ("base", "metric"):
            refused(run(command, HOSTILE, *TREE, "--seed", "1"), "another run is at work in")


@pytest.mark.parametrize("content", ["{", "[" * 100_000, '{"runs": [{}]}', "null", ""])
def test_a_damaged_report_is_written_anew(place: Path, run: Command, content: str):
    report = base_of(place) / "report.json"
    report.write_text(content)
    ok(run("base", HOSTILE, *TREE))
    assert len(json.loads(report.read_text())["runs"]) == 2


def test_a_stage_may_be_a_link_to_a_roomier_disk(place: Path, run: Command, tmp_path: Path):
    stage, roomy = base_of(place) / "paper" / "overlap", tmp_path / "roomy"
    roomy.mkdir()
    shutil.move(stage, roomy / "overlap")
    stage.symlink_to(roomy / "overlap")
    for _ in range(2):
        ok(run("base", HOSTILE, *TREE, "--force"))
    assert stage.is_symlink()
    assert sorted(path.name for path in roomy.iterdir()) == ["overlap"]
    assert tree.load_chain(Saved.at(stage)[0])[-1].shape[0] > 40


def test_the_model_that_is_there_is_asked(place: Path, run: Command):
    shutil.rmtree(base_of(place) / "paper")
    ok(run(*ASK))
    shutil.rmtree(base_of(place) / "lean")
    refused(run(*ASK), "no model 'paper' in", r"it has xr-linear \(--variant names one\)")


def test_arrays_that_memory_has_no_room_for_are_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(1 << 20))
    saved = Saved(tmp_path)
    assert saved.arrays("a.npz", "a")["a"].sum() == 0
    monkeypatch.setattr(memory, "_least", lambda: (1 << 20, "here"))
    with pytest.raises(DisentangleError, match=r"a.npz needs about 0.0078 GiB of memory, 0.00098 GiB are"):
        saved.arrays("a.npz", "a")
