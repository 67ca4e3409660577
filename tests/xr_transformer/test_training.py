"""XR-Transformer from texts to features, as a user runs it, from a tiny encoder with random weights."""

from __future__ import annotations

import csv
import json
import shutil
import sys
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT, Command, dataset, digests, ok, run_disentangle

from disentangle.data import datasets
from disentangle.data.features import FeatureSet
from disentangle.data.lines import Line
from disentangle.errors import DisentangleError
from disentangle.jobs import xr_transformer
from disentangle.jobs.xr_transformer import XrTransformerJob, run_xr_transformer
from disentangle.storage.saved import RECORD
from disentangle.xr_transformer import packages, settings

try:
    packages.require()
except DisentangleError as error:
    pytest.skip(f"training needs requirements-xr-transformer.txt: {error}", allow_module_level=True)

sys.path.insert(0, str(ROOT / "tests" / "encoder"))
from tiny import import_texts, save_encoder

from disentangle.xr_transformer import training

N = {"trn": 600, "tst": 60}
# Tokens, texts and steps that take a moment.
FAST = ("--max-length", "32", "--batch-size", "16", "--steps", "4", "--device", "cpu", "--threads", "1")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where texts were imported, one without labels among those of the test part, and an encoder."""
    folder = tmp_path_factory.mktemp("xr")
    import_texts(folder, N, unlabelled=1)
    save_encoder(folder / "Tiny", (folder / "dataset/xmc-base/verbs/X.trn.txt").read_text().splitlines())
    return folder


@pytest.fixture(scope="module")
def run(place: Path) -> Command:
    return partial(run_disentangle, place, "xr-transformer", "verbs")


def without_records(folder: Path) -> dict[str, str]:
    """Digests of what is in a folder, but for stages' records: they have the seconds of a run."""
    return {name: digest for name, digest in digests(folder).items() if Path(name).name != RECORD}


@pytest.mark.slow
def test_from_texts_to_features_and_a_table(place: Path, run: Command, monkeypatch: pytest.MonkeyPatch):
    ended = ok(run("--encoder", "Tiny", *FAST))
    assert "level 2: step 4 of 4, loss " in ended.stderr
    assert "level 3" not in ended.stderr or "of 3" in ended.stderr
    assert "XR-Transformer" in ended.stdout
    work = place / "model" / "verbs" / "xr-transformer"
    report = json.loads((work / "report.json").read_text())
    assert [one["variant"] for one in report["runs"]] == ["XR-Transformer"]
    assert report["params"]["steps"] == [4]
    assert report["versions"]["transformers"].startswith("4.")
    # Nothing of PECOS's own, which is pickled, stays.
    kept = sorted(path.name for path in (work / "trained").iterdir())
    assert kept == ["embedding.trn.npy", "embedding.tst.npy", "encoder", "scores.npz", "stage.json"]
    assert (work / "trained" / "encoder" / "model.safetensors").is_file()
    made = FeatureSet.at(dataset(place) / "xr-transformer")
    assert made.shape("tst")[0] == N["tst"]
    X = made.load("trn")
    tfidf = datasets.load_part("X_trn", dataset(place))
    assert (X[:, : tfidf.shape[1]] != tfidf).nnz == 0
    assert np.linalg.norm(X[:, tfidf.shape[1] :].toarray(), axis=1) == pytest.approx(
        np.ones(N["trn"]), abs=1e-6
    )
    # A second call trains nothing, and has the base job's rows beside.
    base = ("base", "verbs", "--features", "xr-transformer", "--max-leaf-size", "20", "--preset", "paper")
    ok(run_disentangle(place, *base))
    before = without_records(work / "trained")
    again = ok(run("--encoder", "Tiny", *FAST))
    assert "step 4" not in again.stderr
    rows = [line.split()[0] for line in again.stdout.splitlines() if line.startswith(("XR-", "paper"))]
    assert rows == ["XR-Transformer", "XR-Linear", "paper"]
    shown = run_disentangle(place, "report", "verbs", "--job", "xr-transformer")
    assert shown.stdout.splitlines()[2:5] == again.stdout.splitlines()[2:5]
    rows = run_disentangle(place, "report", "verbs", "--job", "xr-transformer", "--table", "csv").stdout
    methods = [row["method"] for row in csv.DictReader(rows.splitlines())]
    assert methods == ["XR-Transformer", "XR-Linear", "paper"]
    # The same call gives the same bytes, another seed others.
    ok(run("--encoder", "Tiny", *FAST, "--force"))
    assert without_records(work / "trained") == before
    # Nor does it wait for ever where a socket could not have so long a name.
    (place / ("long" * 30)).mkdir()
    monkeypatch.setenv("TMPDIR", str(place / ("long" * 30)))
    ok(run("--encoder", "Tiny", *FAST, "--seed", "1", "--name", "other"))
    other = without_records(place / "model" / "verbs" / "xr-transformer-other" / "trained")
    assert other["embedding.tst.npy"] != before["embedding.tst.npy"]


def set_config(**values: object):
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def drop_weights(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    kept = {name: one for name, one in weights.items() if "layer.1." not in name}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})


def add_tokens(folder: Path) -> None:
    from tokenizers import Tokenizer

    pieces = Tokenizer.from_file(str(folder / "tokenizer.json"))
    # Pairs of words, of which some are in the texts and none is one piece.
    pieces.add_tokens(["to the", "of a", "in a", "of the"])
    pieces.save(str(folder / "tokenizer.json"))


def pickle_alone(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def cut(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:1000])


@pytest.mark.parametrize(
    ("change", "max_length", "message"),
    [
        (set_config(model_type="mpnet"), 32, "PECOS takes bert, roberta, xlm-roberta, .*, found mpnet"),
        (drop_weights, 32, r"its weights lack encoder\.layer\.1\."),
        (add_tokens, 32, "--encoder must have weights of all tokens of its tokenizer, found those of 400"),
        (pickle_alone, 32, "pickle may run programs and is never read"),
        (cut, 32, "--encoder must be one that PECOS can load: "),
        (
            lambda folder: None,
            65,
            "--max-length must be at most 64, as the encoder takes no more tokens, got 65",
        ),
    ],
)
def test_an_encoder_that_pecos_cannot_take_leaves_nothing(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change, max_length: int, message: str
):
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    shutil.copytree(place / "Tiny", tmp_path / "Spoilt")
    change(tmp_path / "Spoilt")
    before = without_records(dataset(place).parent)
    with pytest.raises(DisentangleError, match=message):
        run_xr_transformer(job(place, tmp_path / "Spoilt", max_length=max_length))
    assert without_records(dataset(place).parent) == before
    work = place / "model" / "verbs" / "xr-transformer-spoilt"
    assert [path.name for path in work.rglob("*") if path.name != ".lock"] == []
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "positions", "most"),
    [("bert", 64, 64), ("roberta", 66, 64), ("xlnet", -1, None), ("other", None, None)],
)
def test_tokens_are_as_many_as_there_are_positions_for(kind: str, positions: int | None, most: int | None):
    config = SimpleNamespace(model_type=kind, max_position_embeddings=positions)
    training.check_length(config, 64)
    if most is None:
        training.check_length(config, 10_000)
    else:
        with pytest.raises(DisentangleError, match=r"--max-length must be at most 64, .*, got 65"):
            training.check_length(config, 65)


def job(place: Path, encoder: Path, **given: object) -> XrTransformerJob:
    places = place / "dataset" / "xmc-base", place / "model"
    chosen = settings.named()["small"].changed({"steps": (4,)} | given)
    return XrTransformerJob("verbs", *places, encoder, "spoilt", chosen, "small", 0, "cpu", 1)


def test_texts_that_are_not_there_or_too_few(place: Path, tmp_path: Path):
    shutil.copytree(dataset(place), tmp_path / "verbs")
    text = tmp_path / "verbs" / "X.trn.txt"
    lines = text.read_text(encoding="utf-8").splitlines(keepends=True)
    text.write_text("".join(lines[1:]), encoding="utf-8")
    given = replace(job(place, place / "Tiny"), data_dir=tmp_path)
    with pytest.raises(DisentangleError, match=r"X.trn.txt must have 600 lines, one an instance, got 599"):
        run_xr_transformer(given)
    text.unlink()
    with pytest.raises(
        DisentangleError, match=r"missing file .*X.trn.txt: expected the text of each instance"
    ):
        run_xr_transformer(given)
    with pytest.raises(DisentangleError, match="--encoder must be a folder, found none at none"):
        run_xr_transformer(replace(given, encoder=Path("none")))
    with pytest.raises(DisentangleError, match="--name must be at most 100 letters"):
        run_xr_transformer(replace(given, name="tfidf-attnxml"))


def test_a_folder_that_is_not_this_commands_stays(place: Path):
    theirs = dataset(place) / "spoilt"
    theirs.mkdir()
    (theirs / "note.txt").write_text("mine")
    with pytest.raises(
        DisentangleError, match="exists, and was not made by `xr-transformer`, or is damaged: choose another"
    ):
        run_xr_transformer(job(place, place / "Tiny"))
    assert [path.name for path in theirs.iterdir()] == ["note.txt"]
    shutil.rmtree(theirs)


def test_data_that_change_meanwhile_are_refused(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shutil.copytree(dataset(place), tmp_path / "verbs")
    read = xr_transformer.read_lines

    def changing(path: Path) -> list[Line]:
        lines = list(read(path))
        path.write_text(path.read_text(encoding="utf-8").upper(), encoding="utf-8")
        return lines

    monkeypatch.setattr(xr_transformer, "read_lines", changing)
    sentence = r"verbs has changed meanwhile \(texts\): run the same command again"
    with pytest.raises(DisentangleError, match=sentence):
        run_xr_transformer(replace(job(place, place / "Tiny"), data_dir=tmp_path))
    assert not (tmp_path / "verbs" / "spoilt").exists()


def test_results_do_not_lie_among_the_data(place: Path):
    given = job(place, place / "Tiny")
    with pytest.raises(DisentangleError, match="--model-dir"):
        run_xr_transformer(replace(given, model_dir=given.data_dir))
    assert not (given.data_dir / "verbs" / "xr-transformer-spoilt").exists()


def test_a_tokenizer_keeps_capitals_where_its_file_says_so(place: Path, tmp_path: Path):
    from tokenizers import Tokenizer, normalizers

    cased = Path(shutil.copytree(place / "Tiny", tmp_path / "Cased"))
    pieces = Tokenizer.from_file(str(cased / "tokenizer.json"))
    pieces.normalizer = normalizers.BertNormalizer(lowercase=False)
    pieces.save(str(cased / "tokenizer.json"))
    read = training._reader(cased, SimpleNamespace(max_length=32)).text_tokenizer
    assert (
        read.convert_tokens_to_ids(read.tokenize("MOVE up"))
        == pieces.encode("MOVE up", add_special_tokens=False).ids
    )
    # As does the one that comes with the trained encoder.
    given = replace(job(place, cased), name="cased", model_dir=tmp_path)
    run_xr_transformer(given)
    saved = Tokenizer.from_file(str(given.folder / "trained" / "encoder" / "tokenizer.json"))
    assert saved.encode("MOVE up").ids == pieces.encode("MOVE up").ids
    shutil.rmtree(dataset(place) / "cased")
