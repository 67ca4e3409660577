"""The meanings job as a user runs it."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from conftest import EMBEDDED, SMALL_TREE, Command, ok, refused

from disentangle.errors import DisentangleError
from disentangle.evaluate.ambiguity import Ambiguity
from disentangle.jobs import meanings, printing
from disentangle.overlap.copies import Overlap
from disentangle.storage.files import sha256
from disentangle.storage.saved import Saved


@pytest.fixture(scope="module")
def named(verbs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset `verbs` with names, texts, terms and the true senses of its labels."""
    data_dir = tmp_path_factory.mktemp("named")
    folder = data_dir / "named"
    shutil.copytree(verbs / "verbs", folder)
    Y_all, X_all = (sp.load_npz(EMBEDDED / file)[-4000:] for file in ("Y.trn.npz", "tfidf-attnxml/X.trn.npz"))
    labels = np.flatnonzero(np.asarray(Y_all.sum(axis=0)).ravel() >= 5)
    features = np.flatnonzero(np.asarray((X_all > 0).sum(axis=0)).ravel() >= 2)
    of_label = sp.load_npz(EMBEDDED / "components" / "labels.npz")[:, labels]
    kept = np.flatnonzero(of_label.getnnz(axis=1))
    (folder / "components").mkdir()
    sp.save_npz(folder / "components" / "labels.npz", of_label[kept])
    Y_parts = sp.load_npz(EMBEDDED / "components" / "Y.trn.npz")[-4000:][:, kept]
    sp.save_npz(folder / "components" / "Y.trn.npz", Y_parts)
    names = (EMBEDDED / "output-items.txt").read_text().splitlines()
    (folder / "output-items.txt").write_text("".join(f"{names[i]}\n" for i in labels))
    texts = (EMBEDDED / "X.trn.txt").read_text().splitlines()[-4000:]
    (folder / "X.trn.txt").write_text("".join(f"{text}\n" for text in texts))
    learnt = json.loads((EMBEDDED / "vectorizer.json").read_text())
    for name in ("terms", "frequencies"):
        learnt[name] = [learnt[name][i] for i in features]
    (folder / "vectorizer.json").write_text(json.dumps(learnt))
    return data_dir


def run(disentangle: Command, data_dir: Path, *args: str):
    return disentangle("meanings", "named", "--data-dir", data_dir, "--limit", "30", *SMALL_TREE, *args)


def test_labels_come_with_the_meanings_of_their_copies(disentangle: Command, named: Path, tmp_path: Path):
    result = ok(run(disentangle, named))
    folder = tmp_path / "model" / "named" / "meanings"
    report = json.loads((folder / "paper.json").read_text())
    assert report["n_shown"] == len(report["labels"]) == 30
    with (folder / "paper.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == report["n_with_copies"] > 30
    scores = [float(row["ambiguity"]) for row in rows if row["ambiguity"]]
    assert scores == sorted(scores, reverse=True)
    texts = (named / "named" / "X.trn.txt").read_text().splitlines()
    Y = sp.load_npz(named / "named" / "Y.trn.npz").tocsc()
    for label in report["labels"]:
        reached = sum(copy["n_instances"] for copy in label["copies"])
        assert reached + label["n_none"] + label["n_tied"] == label["n_instances"] == Y[:, label["label"]].nnz
        assert len(label["copies"]) == label["n_copies"] > 1
        for copy in label["copies"]:
            for example in copy["examples"]:
                assert Y[example["instance"], label["label"]]
                assert example["text"].removesuffix("…") in texts[example["instance"]]
        assert len({len(values) for values in label["points"].values()}) == 1
    assert any(copy["terms"] for label in report["labels"] for copy in label["copies"])
    assert any(label["components"] for label in report["labels"])
    first = report["labels"][0]
    assert f"1. {first['name']}" in result.stdout
    page = (folder / "paper.html").read_text()
    assert first["name"] in page
    assert "wrote model/named/meanings/paper.html" in result.stdout
    # With other settings it would train anew.
    assert result.stdout.endswith(f"--preset paper --labels NAME {' '.join(SMALL_TREE)}\n")


def test_a_second_call_repeats_nothing_and_says_the_same(disentangle: Command, named: Path, tmp_path: Path):
    first = run(disentangle, named)
    page = (tmp_path / "model" / "named" / "meanings" / "paper.html").read_bytes()
    again = run(disentangle, named, "--threads", "1")
    assert "..." not in again.stderr
    assert again.stdout == first.stdout
    assert (tmp_path / "model" / "named" / "meanings" / "paper.html").read_bytes() == page


def test_meanings_fit_80_columns(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    names = [{"label": i, "name": f"a label of many words {i}"} for i in range(4)]
    copy = {"share": 1.0, "terms": ["electroencephalograph"] * 5, "companions": names, "neighbours": []}
    row = {"rank": 1, "name": "bank", "ambiguity": None, "is_significant": True, "n_instances": 12}
    report = {"dataset": "toy", "variant": "tuned", "n_labels": 21_336, "n_with_copies": 21_067}
    report |= {"n_tested": 6_608, "n_significant": 161, "false_discovery_rate": 0.05}
    monkeypatch.setattr(printing, "_width", lambda: 80)
    printing.print_meanings(report | {"labels": [row | {"copies": [copy, copy]}]})
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    # What goes on below is indented further than what it belongs to.
    assert [line.split()[0] for line in lines if line.startswith(" " * 8) and line[8:12].strip()] == [
        "100%"
    ] * 2


def test_the_report_command_knows_meanings(disentangle: Command, named: Path, tmp_path: Path):
    run(disentangle, named)
    result = ok(disentangle("report", "named", "--job", "meanings", "--table", "csv"))
    rows = list(csv.DictReader(result.stdout.splitlines()))
    report = json.loads((tmp_path / "model" / "named" / "meanings" / "report.json").read_text())
    assert [int(row["label"]) for row in rows] == [label["label"] for label in report["labels"]]
    assert float(rows[0]["ambiguity"]) == report["labels"][0]["ambiguity"]
    ok(disentangle("report", "named", "--job", "meanings", "--table", "latex"))
    journal = disentangle("report", "model/named/runs.jsonl")
    assert " meanings " in journal.stdout
    noted = ok(disentangle("report", "model/named/runs.jsonl", "--table", "csv"))
    assert "meanings" in {row["job"] for row in csv.DictReader(noted.stdout.splitlines())}


def test_the_base_report_keeps_what_else_it_tells(disentangle: Command, named: Path, tmp_path: Path):
    base = tmp_path / "model" / "named" / "base" / "report.json"
    ok(disentangle("base", "named", "--data-dir", named, "--preset", "paper,lean", *SMALL_TREE))
    before = base.read_bytes()
    ok(run(disentangle, named))
    assert base.read_bytes() == before
    ok(run(disentangle, named, "--n-copies", "3"))
    presets = [[one["preset"] for one in json.loads(told)["runs"]] for told in (before, base.read_bytes())]
    assert len(presets[1]) == len(presets[0]) + 1
    assert set(presets[0]) <= set(presets[1])


def test_labels_by_name_and_by_id(disentangle: Command, named: Path, tmp_path: Path):
    run(disentangle, named)
    folder = tmp_path / "model" / "named" / "meanings"
    first, second = json.loads((folder / "paper.json").read_text())["labels"][3:5]
    ok(run(disentangle, named, "--labels", first["name"], str(second["label"])))
    report = json.loads((folder / "paper-labels.json").read_text())
    # Ranks are those among all labels.
    assert [(one["label"], one["rank"]) for one in report["labels"]] == [
        (first["label"], 4),
        (second["label"], 5),
    ]
    assert (folder / "paper.json").exists()


def test_a_dataset_of_matrices_alone(disentangle: Command, verbs: Path, tmp_path: Path):
    ok(disentangle("meanings", "verbs", "--data-dir", verbs, "--limit", "5", *SMALL_TREE))
    report = json.loads((tmp_path / "model" / "verbs" / "meanings" / "paper.json").read_text())
    copies = [copy for label in report["labels"] for copy in label["copies"]]
    assert not any(copy["terms"] for copy in copies)
    assert any(copy["neighbours"] for copy in copies)
    assert all("text" not in example for copy in copies for example in copy["examples"])
    assert report["labels"][0]["name"] == f"label {report['labels'][0]['label']}"
    assert report["labels"][0]["components"] is None


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ("--labels", "no such label"),
            r"--labels must be names or ids of labels, of which there are [\d,]+, got",
        ),
        (("--labels", "99999999"), "--labels must be names or ids of labels"),
        (("--limit", "0"), "--limit must be at least 1, got 0"),
        (("--n-copies", "1"), "--n-copies must be at least 2 to have copies to look at, got 1"),
        (("--seeds", "0,1"), "meanings are those of one seed, got --seeds 0,1"),
        (("--preset", "paper,lean"), "meanings takes one preset, got paper, lean"),
    ],
)
def test_mistakes_are_one_sentence(
    disentangle: Command, named: Path, tmp_path: Path, args: tuple[str, ...], message: str
):
    refused(run(disentangle, named, *args), message)
    assert not (tmp_path / "model" / "named" / "base" / "matcher").exists()


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("X.trn.txt", "one text\n", "X.trn.txt must have 4000 lines, one an instance, got 1"),
        ("output-items.txt", "one name\n", "output-items.txt must have .* lines, one a name, got 1"),
    ],
)
def test_files_of_another_dataset_are_refused(
    disentangle: Command, named: Path, tmp_path: Path, file: str, content: str, message: str
):
    shutil.copytree(named, tmp_path / "data")
    (tmp_path / "data" / "named" / file).write_text(content)
    refused(run(disentangle, tmp_path / "data"), message)


def test_a_link_to_no_texts_is_refused(disentangle: Command, named: Path, tmp_path: Path):
    shutil.copytree(named, tmp_path / "data")
    texts = tmp_path / "data" / "named" / "X.trn.txt"
    texts.unlink()
    texts.symlink_to(tmp_path / "nowhere")
    refused(run(disentangle, tmp_path / "data"), "cannot read")


def test_texts_that_change_meanwhile_are_refused(tmp_path: Path):
    texts = tmp_path / "X.trn.txt"
    texts.write_text("one\ntwo\n")
    sha = sha256(texts)
    texts.write_text("one\n")
    found = [{"copies": [{"examples": [{"instance": 1}]}]}]
    with pytest.raises(DisentangleError, match="has changed meanwhile"):
        meanings._add_texts(found, texts, sha)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("score", np.zeros(2)),
        ("score", np.array(0.5)),
        ("score", np.full(3, np.inf)),
        ("p_value", np.array([b"a", b"b", b"c"])),
        ("n_preferring", np.zeros(3, np.int64)),
        ("n_tied", np.full(3, np.nan)),
    ],
)
def test_ambiguities_of_another_shape_or_kind_are_refused(tmp_path: Path, name: str, values: np.ndarray):
    overlap = Overlap(np.array([0, 1, 1, 0], np.int32), np.array([0, 1, 2, 0], np.int32), 3, 2, 0)
    arrays = {one.name: np.zeros(3) for one in fields(Ambiguity)}
    arrays |= {one: np.zeros(3, np.int64) for one in arrays if one.startswith("n_")}
    arrays |= {"n_preferring": np.zeros(4, np.int64), "is_significant": np.zeros(3, bool)}
    np.savez_compressed(tmp_path / "ambiguity.npz", **arrays)
    assert meanings._load_ambiguity(Saved(tmp_path), overlap).score.shape == (3,)
    np.savez_compressed(tmp_path / "ambiguity.npz", **(arrays | {name: values}))
    with pytest.raises(DisentangleError, match=f"ambiguity.npz is damaged.*in {name}, found"):
        meanings._load_ambiguity(Saved(tmp_path), overlap)
