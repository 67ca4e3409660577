"""Results never go over what they are made from."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from conftest import Command, refused

from disentangle.errors import DisentangleError
from disentangle.storage.atomic import replacing
from disentangle.storage.places import check_apart, check_file

SVM = ("--format", "svmlight")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: an input, a folder that is read, and other names for them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.txt").write_text("text")
    (tmp_path / "read" / "sub").mkdir(parents=True)
    (tmp_path / "read" / "sub" / "file").write_text("content")
    Path("link").symlink_to("in.txt")
    Path("dangling").symlink_to("gone")
    Path("loop").symlink_to("loop")
    Path("folder-link").symlink_to("read")
    os.mkfifo("pipe")
    (tmp_path / "other").write_text("mine")
    Path("to-other").symlink_to("other")
    return tmp_path


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("in.txt", "--out must be another place than in.txt, got in.txt"),
        ("./read/../in.txt", "another place than in.txt"),
        ("link", "another place than in.txt, got link"),
        ("read/new", "--out must lie outside read, got read/new"),
        ("folder-link/new", "--out must lie outside read"),
        ("dangling", "--out must be a file or not there yet, found a link to nothing: dangling"),
        ("loop", "found a link to nothing: loop"),
        ("read", "must be a file or not there yet, found something else: read"),
        ("pipe", "found something else: pipe"),
        ("/dev/null", "found something else: /dev/null"),
        ("none/new", "cannot write none/new: none is no folder"),
        ("in.txt/new", "cannot write in.txt/new: in.txt is no folder"),
        ("x" * 300, "--out must have a name of at most 200 bytes"),
    ],
)
def test_a_file_that_may_not_be_written(place: Path, out: str, message: str):
    with pytest.raises(DisentangleError, match=re.escape(message)):
        check_file("--out", Path(out), [Path("in.txt"), Path("read"), Path("not-there")])


@pytest.mark.parametrize(("out", "where"), [("new", "new"), ("other", "other"), ("to-other", "other")])
def test_a_file_that_may_be_written(place: Path, out: str, where: str):
    assert check_file("--out", Path(out), [Path("in.txt"), Path("read")]) == place.resolve() / where


def test_another_name_of_what_is_read_is_replaced_alone(place: Path):
    os.link("in.txt", "hard")
    with replacing(check_file("--out", Path("hard"), [Path("in.txt")])) as temporary:
        temporary.write_text("new")
    assert (Path("in.txt").read_text(), Path("hard").read_text()) == ("text", "new")


def test_a_folder_beside_what_is_read_is_apart(place: Path):
    check_apart("--model-dir", Path("read-2"), [Path("read")])
    with pytest.raises(DisentangleError, match="--model-dir must lie outside read"):
        check_apart("--model-dir", Path("read/deep/deeper"), [Path("read")])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("base", "verbs", "--model-dir", "data"), "--model-dir must be another place than data/verbs"),
        (("base", "verbs", "--model-dir", "data/verbs"), "--model-dir must lie outside data/verbs"),
        (("binned", "verbs", "--binned-dir", "data"), "--binned-dir must be another place than data/verbs"),
        (
            ("binned", "verbs", "--binned-dir", "model"),
            "--binned-dir must be another folder than",
        ),
        (
            ("data", "export", "verbs", *SVM, "--out", "data/verbs/x"),
            "--out must lie outside",
        ),
        (
            (
                "data",
                "import",
                "verbs",
                "--format",
                "svmlight",
                "--trn",
                "data/verbs/x",
                "--tst",
                "data/verbs/x",
            ),
            "--trn must lie outside data/verbs",
        ),
    ],
)
def test_commands_refuse_to_write_where_they_read(
    disentangle: Command, verbs: Path, tmp_path: Path, args: tuple[str, ...], message: str
):
    (tmp_path / "data" / "verbs").mkdir(parents=True)
    for path in verbs.rglob("*.npz"):
        copy = tmp_path / "data" / path.relative_to(verbs)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    (tmp_path / "data" / "verbs" / "x").write_text("0 0:1\n") if "import" in args else None
    before = sorted(tmp_path.rglob("*"))
    data = ("--data-dir", "data")
    assert refused(disentangle(*args, *data), message).stdout == ""
    assert sorted(tmp_path.rglob("*")) == before
