"""Label names: one rule for reading them, and every file gets them as they are."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import ROOT, ok, run_disentangle

from disentangle.data import checks, components, lines
from disentangle.errors import DisentangleError
from disentangle.jobs import exporting
from disentangle.jobs.importing import Import, import_dataset
from disentangle.jobs.predict import writer
from disentangle.params import TfidfParams

RED = "\x1b[31mred"
# All legal, all different: no-break and ideographic space, joiners, a soft hyphen, separators that are no
# line ends, controls, a byte order mark, a character that is newer than Python, a quote, blanks.
NAMES = [
    "\ufeffmark",
    "Vol.\u00a02",
    "Vol. 2",
    "日本\u3000語",
    "می\u200cشود",
    "\U0001f469\u200d\U0001f4bb",
    "co\u00adop",
    "coop",
    "a\tb",
    "a\u2028b",
    "a\u0085b",
    "a\fc",
    RED,
    "\x00",
    "\U0001fae9",
    'say "hi"',
    " led",
    "led ",
    "  ",
    "label 3",
    "plain",
]


def write_parts(folder: Path) -> None:
    """Thirty texts with a label each, and those of all labels for the test part."""
    for part, n in (("trn", 10 * len(NAMES)), ("tst", len(NAMES))):
        rows = [
            {"text": f"word{i % len(NAMES)} more{i % 3}", "labels": [NAMES[i % len(NAMES)]]} for i in range(n)
        ]
        (folder / f"{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the dataset `named`, whose texts are there, too, for the formats that need them."""
    folder = tmp_path_factory.mktemp("names")
    write_parts(folder)
    job = Import("named", "jsonl", (folder / "trn.jsonl",), (folder / "tst.jsonl",))
    import_dataset(job, folder / "dataset" / "xmc-base")
    for part in ("trn", "tst"):
        lines = (folder / f"{part}.jsonl").read_text().splitlines()
        texts = "".join(json.loads(line)["text"] + "\n" for line in lines)
        (folder / "dataset" / "xmc-base" / "named" / f"X.{part}.txt").write_text(texts)
    return folder


def data_dir(place: Path) -> Path:
    return place / "dataset" / "xmc-base"


def test_names_in_json_are_taken_as_they_are(place: Path):
    content = (data_dir(place) / "named" / "output-items.txt").read_bytes()
    assert content == "".join(f"{name}\n" for name in sorted(NAMES)).encode()
    assert components.label_names(data_dir(place) / "named", len(NAMES)) == sorted(NAMES)


FILES = {
    "svmlight": (".txt",),
    "attentionxml": ("_texts.txt", "_labels.txt"),
    "pecos": (".txt",),
    "jsonl": (".jsonl",),
}


@pytest.mark.parametrize("has_items", [True, False])
@pytest.mark.parametrize("format", FILES)
def test_every_format_gives_the_names_back(place: Path, tmp_path: Path, format: str, has_items: bool):
    out = tmp_path / "out"
    exporting.export_dataset(data_dir(place), "named", format, out)
    assert components.read_names(out / "output-items.txt") == sorted(NAMES)
    if not has_items and format not in ("attentionxml", "jsonl"):
        return
    parts = [tuple(out / f"{part}{end}" for end in FILES[format]) for part in ("trn", "tst")]
    items = out / "output-items.txt" if has_items else None
    import_dataset(Import("back", format, *parts, items, TfidfParams(min_df=1)), tmp_path)
    back = components.label_names(tmp_path / "back", len(NAMES))
    if format == "attentionxml" and not has_items:
        # Its files cannot hold them: what would part two labels is `_` there, and nothing else.
        parting = str.maketrans(" \t\v\f", "____")
        assert back == sorted(name.translate(parting) for name in NAMES)
    else:
        assert back == sorted(NAMES)
        assert (tmp_path / "back" / "Y.trn.npz").read_bytes() == (
            data_dir(place) / "named" / "Y.trn.npz"
        ).read_bytes()


def test_a_mark_that_is_part_of_the_first_name_stays(tmp_path: Path):
    lines.write_lines(tmp_path / "names.txt", ["\ufeffa", "\ufeffb"])
    assert components.read_names(tmp_path / "names.txt") == ["\ufeffa", "\ufeffb"]


@pytest.mark.parametrize(
    ("content", "n_labels", "names"),
    [
        ("a\nb", None, ["a", "b"]),
        ("a\r\nb\r\n", 2, ["a", "b"]),
        ("\ufeffa\nb\n", 2, ["a", "b"]),
        (" a \n\tb\n", 2, [" a ", "\tb"]),
        ("a\n\nb\n\n \n", None, ["a", "label 1", "b"]),
        ("a\n\nb\n\n \n", 3, ["a", "label 1", "b"]),
        ("a\n\nb\n\n \n", 4, ["a", "label 1", "b", "label 3"]),
        ("a\n\nb\n\n \n", 5, ["a", "label 1", "b", "label 3", " "]),
        ("\n\n", 2, ["label 0", "label 1"]),
    ],
)
def test_how_a_file_of_names_is_read(tmp_path: Path, content: str, n_labels: int | None, names: list[str]):
    (tmp_path / "names.txt").write_bytes(content.encode())
    assert components.read_names(tmp_path / "names.txt", n_labels) == names


@pytest.mark.parametrize(
    ("content", "n_labels", "message"),
    [
        (b"a\nb\n", 3, "must have 3 lines, one a name, got 2"),
        (b"a\nb\n\nc\n", 2, "must have 2 lines, one a name, got 4"),
        (b"", None, "is empty: expected names"),
        (b"\n \n", None, "is empty: expected names"),
        (b"a\nb\rc\n", 2, "line 2: expected a name without a carriage return"),
        (b"a\n\xff\n", 2, "line 2: expected UTF-8 text, found the byte 0xff"),
    ],
)
def test_what_no_file_of_names_is(tmp_path: Path, content: bytes, n_labels: int | None, message: str):
    (tmp_path / "names.txt").write_bytes(content)
    with pytest.raises(DisentangleError, match=message):
        components.read_names(tmp_path / "names.txt", n_labels)


def test_a_link_to_nothing_is_no_dataset_without_names(tmp_path: Path):
    (tmp_path / "output-items.txt").symlink_to("gone")
    with pytest.raises(DisentangleError, match=r"cannot read .*output-items.txt: No such file"):
        components.label_names(tmp_path, 2)


@pytest.mark.parametrize(
    ("header", "items", "names"),
    [
        ("", "a\nb\n\n\n", ["a", "b"]),
        ("2 2 3\n", "a\nb\n\n\n", ["a", "b", "label 2"]),
        ("2 2 2\n", "a\nb\n", ["a", "b"]),
    ],
)
def test_blank_lines_are_names_where_the_labels_need_them(
    tmp_path: Path, header: str, items: str, names: list[str]
):
    (tmp_path / "part.txt").write_text(f"{header}0 0:1\n1 1:1\n")
    (tmp_path / "items.txt").write_text(items)
    part = (tmp_path / "part.txt",)
    import_dataset(Import("made", "svmlight", part, part, tmp_path / "items.txt"), tmp_path)
    assert components.label_names(tmp_path / "made", len(names)) == names


def test_names_that_attentionxml_cannot_tell_apart_are_refused(tmp_path: Path):
    for part in ("texts", "labels"):
        (tmp_path / part).write_text("a_b\n")
    (tmp_path / "items.txt").write_text("a b\na_b\n")
    files = (tmp_path / "texts", tmp_path / "labels")
    job = Import("made", "attentionxml", files, files, tmp_path / "items.txt", TfidfParams(min_df=1))
    with pytest.raises(DisentangleError, match=r"line 2: .* found 'a_b', which line 1 has, too, as"):
        import_dataset(job, tmp_path)


@pytest.mark.parametrize("ending", ["tsv", "jsonl"])
def test_predictions_have_the_names_as_they_are(tmp_path: Path, ending: str):
    import numpy as np

    out = tmp_path / f"out.{ending}"
    labels = np.arange(len(NAMES))[None, :]
    with writer(out, len(NAMES), NAMES) as write:
        write(0, labels, np.ones_like(labels, np.float32))
    text = out.read_bytes().decode()
    if ending == "tsv":
        rows = list(csv.DictReader(text.split("\n")[:-1], delimiter="\t"))
        assert [row["name"] for row in rows] == NAMES
    else:
        assert [label["name"] for label in json.loads(text)["labels"]] == NAMES


WRITE = """
import sys, numpy as np
from disentangle.jobs.predict import writer
labels = np.zeros((1, 1), int)
with writer(None, 1, [sys.argv[1]]) as write:
    write(0, labels, np.ones((1, 1), np.float32))
"""


def write_one(name: str, **kwargs: object) -> bytes:
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}
    env["PYTHONUTF8"] = "0"
    code = WRITE.replace("sys.argv[1]", ascii(name))
    return subprocess.run([sys.executable, "-c", code], env=env, check=True, **kwargs).stdout  # type: ignore[call-overload]


def test_standard_output_is_utf_8_whatever_the_locale():
    shown = write_one("日本\u3000語\x1b", stdout=subprocess.PIPE)
    assert shown.decode().splitlines()[1] == "0\t0\t日本\u3000語\x1b\t1"


def test_a_terminal_gets_no_control_character(terminal: tuple[int, int]):
    ours, theirs = terminal
    try:
        write_one("\x1b[31mred\x9b", stdout=theirs)
        shown = os.read(ours, 1000)
    finally:
        os.close(ours)
        os.close(theirs)
    assert b"\x1b" not in shown
    assert b"[31mred" in shown


def test_a_command_shows_no_control_character_on_a_terminal(place: Path, terminal: tuple[int, int]):
    tree = ("--nr-splits", "4", "--max-leaf-size", "5")
    ok(run_disentangle(place, "base", "named", *tree, "--preset", "lean"))
    ours, theirs = terminal
    command = [sys.executable, "-m", "disentangle", "predict", "named", "--variant", "lean"]
    text = f"word{NAMES.index(RED)} word{NAMES.index(RED)}"
    env = os.environ | {"PYTHONPATH": str(ROOT / "src"), "TERM": "xterm"}
    # Its log goes to the same terminal, with a clock that would have the rows.
    ended = subprocess.Popen(
        [*command, "--text", text, "--k", "3"], cwd=place, env=env, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    with suppress(OSError), os.fdopen(ours, "rb", buffering=0) as file:  # nobody writes to it any more
        while block := file.read(1000):
            shown += block
    assert ended.wait() == 0, shown
    assert RED.encode() not in shown
    assert f"\t{RED}\t".replace("\x1b", "\ufffd").encode() in shown


def test_a_check_tells_names_that_look_alike(place: Path):
    told = [found.text for found in checks.check(data_dir(place), "named") if "names" in found.text]
    assert len(told) == 1
    assert "in blanks, case or invisible characters alone" in told[0]
    assert "\n" not in told[0]
    assert told[0].isascii()
    assert components.look("Straße\u00ad X\ufe0f") == components.look("STRASSEx")
    assert components.look("a_b") != components.look("ab")
    assert components.look("\U0001fae9") != components.look("\U0001f60a")
