"""Files of an encoder: found, told by digests, refused where they hold programs. It needs no torch."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import refused, run_without_torch

from disentangle.encoder import pretrained
from disentangle.encoder.pretrained import Pretrained
from disentangle.errors import DisentangleError


def folder_of(place: Path, *names: str) -> Path:
    place.mkdir()
    for name in names:
        (place / name).write_text(name)
    return place


def test_an_encoder_is_known_by_the_files_that_are_read(tmp_path: Path):
    names = ("config.json", "model.safetensors", "tokenizer.json")
    found = Pretrained.at(folder_of(tmp_path / "Mini", *names, "README.md", "pytorch_model.bin"))
    assert sorted(found.digests) == sorted(names)
    assert (found.name, found.revision) == ("Mini", None)
    found.copy(tmp_path / "copy")
    assert sorted(path.name for path in (tmp_path / "copy").iterdir()) == sorted(names)
    found.check(tmp_path / "copy")
    (tmp_path / "copy" / "vocab.txt").write_text("more")
    with pytest.raises(DisentangleError, match=r"the encoder that was there before, found another vocab.txt"):
        found.check(tmp_path / "copy")


@pytest.mark.parametrize("name", ["../../.bashrc", "sub/config.json", "model.bin", "run.py", ""])
def test_files_that_no_encoder_has_are_none_of_it(tmp_path: Path, name: str):
    with pytest.raises(ValueError, match="is no file of an encoder"):
        Pretrained(tmp_path, {"config.json": "0", name: "0"}, "Mini")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "found no config.json"),
        (("config.json", "tokenizer.json"), "found no model.safetensors"),
        (("config.json", "model.safetensors"), "found no tokenizer.json"),
        (
            ("config.json", "tokenizer.json", "pytorch_model.bin"),
            "must have its weights as safetensors .*found pytorch_model.bin: pickle .* never read",
        ),
    ],
)
def test_what_is_no_encoder_is_refused(tmp_path: Path, names: tuple[str, ...], message: str):
    with pytest.raises(DisentangleError, match=message):
        Pretrained.at(folder_of(tmp_path / "odd", *names))


@pytest.mark.parametrize(
    "index", ['{"weight_map": {"a": "x.bin"}}', '{"weight_map": {"a": "../x"}}', "[]", "no JSON"]
)
def test_an_index_leads_to_safetensors_beside_it_alone(tmp_path: Path, index: str):
    names = (
        "config.json",
        "tokenizer.json",
        "model.safetensors.index.json",
        "x.bin",
        "model-1-of-1.safetensors",
    )
    folder = folder_of(tmp_path / "odd", *names)
    (folder / names[2]).write_text(index)
    with pytest.raises(
        DisentangleError, match=r"index\.json must name files model-\*-of-\*\.safetensors beside it"
    ):
        Pretrained.at(folder)
    (folder / names[2]).write_text('{"weight_map": {"a": "model-1-of-1.safetensors"}}')
    assert names[4] in Pretrained.at(folder).digests


def test_what_is_neither_a_folder_nor_a_name_is_refused():
    for given in ("none", "/no/such/folder", "../up", "a/b/c", ""):
        with pytest.raises(DisentangleError, match="--encoder must be a folder, or a name on the"):
            pretrained.find(given)


def test_without_the_packages_one_sentence_says_what_to_install(tmp_path: Path):
    ended = run_without_torch(tmp_path, "encode", "none", "--encoder", "none")
    asked = r"pip install -r requirements-encoder\.txt"
    refused(ended, "^error: an encoder needs the packages torch, ", "found no torch", asked)
    assert len(ended.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
