"""Imports: what each format may look like, the one sentence for what it may not, and nothing half-written."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import resource
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from conftest import EMBEDDED, SHARED, Command, ok, refused, run_disentangle
from hypothesis import given, settings
from hypothesis import strategies as st

from disentangle.cli import data
from disentangle.data import checks, datasets
from disentangle.data.columns import Columns
from disentangle.data.formats import FORMATS
from disentangle.data.lines import read_lines
from disentangle.errors import DisentangleError
from disentangle.jobs import exporting
from disentangle.jobs.importing import Import, import_dataset
from disentangle.jobs.stages import Stage
from disentangle.params import TfidfParams
from disentangle.storage import atomic, npz
from disentangle.storage.matrices import load_any, load_sparse


def test_the_command_line_offers_every_format():
    assert tuple(FORMATS) == data.FORMATS
    assert tuple(name for name, form in FORMATS.items() if form.write) == data.EXPORT_FORMATS


Content = bytes | Callable[[Path], None]


def put(path: Path, content: Content) -> Path:
    if callable(content):
        content(path)
    else:
        path.write_bytes(content)
    return path


def files(folder: Path, part: str, contents: tuple[Content, ...]) -> tuple[Path, ...]:
    """Write the files of a part; numpy would add .npy to other names."""
    return tuple(put(folder / f"{part}{i}.npy", content) for i, content in enumerate(contents))


def job(folder: Path, format: str, trn: Any, tst: Any, items: bytes | None = None, **tfidf: Any) -> Import:
    parts = [one if isinstance(one, tuple) else (one,) for one in (trn, tst)]
    output_items = None if items is None else put(folder / "items.txt", items)
    paths = [files(folder, name, contents) for name, contents in zip(("trn", "tst"), parts, strict=True)]
    return Import("made", format, *paths, output_items, TfidfParams(**{"min_df": 1, **tfidf}))


def make(folder: Path, *args: Any, **kwargs: Any) -> datasets.Dataset:
    """Import and load, X and Y still of all instances."""
    import_dataset(job(folder, *args, **kwargs), folder / "data")
    return datasets.load_dataset(folder / "data", "made")


def names(folder: Path) -> list[str]:
    return (folder / "data" / "made" / "output-items.txt").read_text().split("\n")[:-1]


SVM = b"2 3 2\n0,1 0:0.5 2:1\n1 1:2\n"
SVM_TST = b"1 3 2\n0 2:1\n"


def test_svmlight_with_header(tmp_path: Path):
    dataset = make(tmp_path, "svmlight", SVM, SVM_TST)
    assert dataset.X_trn.toarray().tolist() == [[0.5, 0, 1], [0, 2, 0]]
    assert dataset.Y_trn.toarray().tolist() == [[1, 1], [0, 1]]
    assert dataset.X_tst.toarray().tolist() == [[0, 0, 1]]


def test_what_was_killed_is_taken_up_where_a_link_leads(tmp_path: Path):
    given = job(tmp_path, "svmlight", SVM, SVM_TST)
    (tmp_path / "far").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "made").symlink_to(tmp_path / "far" / "made")
    import_dataset(given, tmp_path / "data")
    made = tmp_path / "far" / "made"
    shutil.copytree(made, made.with_name(".tmp-old-made"))
    import_dataset(given, tmp_path / "data")
    assert [path.name for path in made.parent.iterdir()] == ["made"]
    # Between two renames: the finished one has the name again, and another does not replace it.
    made.rename(made.with_name(".tmp-made"))
    with pytest.raises(DisentangleError, match="or have it replaced with --replace"):
        import_dataset(replace(given, tst=given.trn), tmp_path / "data")
    assert datasets.load_dataset(tmp_path / "data", "made").X_tst.shape[0] == 1


def test_a_mark_at_the_beginning_of_a_text_stays(tmp_path: Path):
    lines = b'{"text": "\\ufeffred", "labels": ["a"]}\n{"text": "\\ufeffblue", "labels": ["b"]}\n'
    make(tmp_path, "jsonl", lines, lines)
    found = [line.text for line in read_lines(tmp_path / "data" / "made" / "X.trn.txt")]
    assert found == ["\ufeffred", "\ufeffblue"]


def test_a_replacing_that_was_killed_is_taken_up(tmp_path: Path):
    given = job(tmp_path, "svmlight", SVM, SVM_TST)
    other = replace(given, tst=given.trn)
    import_dataset(given, tmp_path / "data")
    made = tmp_path / "data" / "made"
    old = shutil.copytree(made, tmp_path / "old")
    import_dataset(other, tmp_path / "data", is_replaced=True)
    before = (made / "stage.json").read_bytes()
    made.rename(made.with_name(".tmp-made"))
    old.rename(made.with_name(".tmp-old-made"))
    import_dataset(other, tmp_path / "data")
    assert (made / "stage.json").read_bytes() == before
    assert not list(made.parent.glob(".tmp-*"))
    # Or only the forerunner was still to be removed.
    shutil.copytree(made, made.with_name(".tmp-old-made"))
    import_dataset(other, tmp_path / "data")
    assert (made / "stage.json").read_bytes() == before
    assert not list(made.parent.glob(".tmp-*"))


def test_svmlight_without_header_has_the_columns_that_it_needs(tmp_path: Path):
    dataset = make(tmp_path, "svmlight", b"0 0:1\n0 1:1\n", b"2 4:1\n")
    assert dataset.X_trn.shape == (2, 5)
    assert dataset.Y_trn.shape == (2, 3)


@pytest.mark.parametrize(
    "text",
    [
        SVM.replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + SVM,
        SVM.removesuffix(b"\n"),
        SVM.replace(b"0:0.5 2:1", b"2:1e0 0:.5  "),
        SVM.replace(b"0,1", b"1,0,1").replace(b" 1:2", b"\t1:+2."),
    ],
    ids=["CRLF", "byte order mark", "no last line end", "unsorted features", "a label twice"],
)
def test_svmlight_in_other_dress_is_the_same(tmp_path: Path, text: bytes):
    dataset = make(tmp_path, "svmlight", text, SVM_TST)
    assert dataset.X_trn.toarray().tolist() == [[0.5, 0, 1], [0, 2, 0]]
    assert dataset.Y_trn.toarray().tolist() == [[1, 1], [0, 1]]


def test_svmlight_lines_without_labels_features_or_both_are_instances(tmp_path: Path):
    dataset = make(tmp_path, "svmlight", b"5 2 2\n 0:1\n1:1\n0\n\n1 0:1\n", b"0 0:1\n")
    assert dataset.X_trn.toarray().tolist() == [[1, 0], [0, 1], [0, 0], [0, 0], [1, 0]]
    assert dataset.Y_trn.toarray().tolist() == [[0, 0], [0, 0], [1, 0], [0, 0], [0, 1]]


def test_svmlight_without_a_single_feature_in_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("disentangle.data.formats.blocks._BLOCK_LINES", 2)
    dataset = make(tmp_path, "svmlight", b"3 1 1\n\n0\n0 0:1\n", b"0 0:1\n")
    assert dataset.X_trn.toarray().tolist() == [[0], [0], [1]]


def test_labels_by_name_are_sorted_and_those_of_test_instances_are_among_them(tmp_path: Path):
    dataset = make(
        tmp_path, "attentionxml", (b"red fruit\nred\n", b"pear apple\npear\n"), (b"red\n", b"fig\n")
    )
    assert names(tmp_path) == ["apple", "fig", "pear"]
    assert dataset.Y_trn.toarray().tolist() == [[1, 0, 1], [0, 0, 1]]
    assert dataset.Y_tst.toarray().tolist() == [[0, 1, 0]]
    assert dataset.notes == ("labels without training instances: 1; they keep their cluster, uncopied",)


def test_a_file_of_names_gives_the_order(tmp_path: Path):
    trn, tst = (b"red\n", b"b a\n"), (b"red\n", b"a\n")
    dataset = make(tmp_path, "attentionxml", trn, tst, b"c\nb\na\n")
    assert names(tmp_path) == ["c", "b", "a"]
    assert dataset.Y_trn.toarray().tolist() == [[0, 1, 1]]


def test_pecos_text(tmp_path: Path):
    dataset = make(tmp_path, "pecos", b"1,0\tred\tfruit\n\tred\n", b"0\tred\n", b"a\nb\n")
    assert dataset.Y_trn.toarray().tolist() == [[1, 1], [0, 0]]
    assert dataset.X_trn.shape == (2, 2)


def test_json_lines(tmp_path: Path):
    trn = b'{"text": "red\\nfruit", "labels": ["big apple", 7], "id": 3}\n{"labels": [], "text": "red"}\n'
    dataset = make(tmp_path, "jsonl", trn, b'{"text": "red", "labels": ["7"]}\n')
    assert names(tmp_path) == ["7", "big apple"]
    assert dataset.Y_trn.toarray().tolist() == [[1, 1], [0, 0]]


def save(array: Any) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with path.open("wb") as file:
            sp.save_npz(file, array) if sp.issparse(array) else np.save(file, array)

    return write


@pytest.mark.parametrize("dtype", [np.float64, np.int8, np.uint16, bool])
def test_matrices_are_cast_dense_or_sparse(tmp_path: Path, dtype: type):
    X, Y = np.array([[0, 1], [1, 1]], dtype), np.array([[1, 0], [1, 1]], dtype)
    dataset = make(tmp_path, "npz", (save(X), save(sp.csc_matrix(Y))), (save(sp.coo_matrix(X)), save(Y)))
    assert dataset.X_trn.dtype == np.float32
    assert dataset.X_trn.toarray().tolist() == dataset.X_tst.toarray().tolist() == X.tolist()
    assert dataset.Y_trn.toarray().tolist() == dataset.Y_tst.toarray().tolist() == Y.tolist()


def test_dense_matrices_become_a_dense_block(tmp_path: Path):
    values = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float16)
    Y = np.eye(12, 3)
    Y[3:, 0] = 1
    files = save(values.astype(np.float64)), save(Y)
    dataset = make(tmp_path, "npz", files, files)
    folder = tmp_path / "data" / "made" / "tfidf-attnxml"
    assert sorted(path.name for path in folder.iterdir()) == [
        "embedding.trn.npy",
        "embedding.tst.npy",
        "features.json",
    ]
    assert np.load(folder / "embedding.trn.npy").dtype == np.float16
    assert dataset.is_dense.all()
    assert (dataset.X_trn.toarray() == values).all()
    assert {finding.level for finding in checks.check(tmp_path / "data", "made")} == {"warning"}


def test_terms_are_learnt_from_training_text_alone(tmp_path: Path):
    trn, tst = (b"red fruit\nred\n", b"a\na\n"), (b"blue red\n", b"a\n")
    assert make(tmp_path, "attentionxml", trn, tst).X_tst.toarray().tolist() == [[0, 1]]


def test_blocks_do_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    lines = [f"{i % 7} {i % 5}:1 {5 + i % 3}:2" for i in range(100)]
    text = "\n".join(lines).encode()
    whole = make(tmp_path, "svmlight", text, text)
    monkeypatch.setattr("disentangle.data.formats.blocks._BLOCK_LINES", 7)
    (tmp_path / "again").mkdir()
    parts = make(tmp_path / "again", "svmlight", text, text)
    assert (whole.X_trn != parts.X_trn).nnz == (whole.Y_trn != parts.Y_trn).nnz == 0


J = b'{"text": "red", "labels": ["a"]}\n'
CSV = b"text,labels\nred,a;b\n"
P, PI = b"0\tred\n", b"a\nb\n"
TEXT = (b"red\n", b"a\n")
MATRICES = (save(np.eye(2)), save(np.eye(2)))


def bomb(path: Path) -> None:
    """A few hundred bytes that claim terabytes."""
    header = io.BytesIO()
    shape = {"descr": "<f8", "fortran_order": False, "shape": (10**6, 10**6)}
    np.lib.format.write_array_header_1_0(header, shape)
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("data.npy", "format.npy"):
            archive.writestr(name, header.getvalue())


def cut(content: Callable[[Path], None]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        content(path)
        path.write_bytes(path.read_bytes()[:-9])

    return write


def pickled(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.array([[object()]]))


DEFAULTS: dict[str, tuple[Any, bytes | None]] = {
    "svmlight": (SVM_TST, None),
    "attentionxml": (TEXT, None),
    "pecos": (P, PI),
    "jsonl": (J, None),
    "csv": (CSV, None),
    "tsv": (CSV.replace(b",", b"\t"), None),
    "annif": (b"red\t<u:1>\n", None),
    "npz": (MATRICES, None),
}


def case(name: str, trn: Any, message: str, **other: Any) -> Any:
    """One malformed input, in the training part unless others are given; its name starts with the format."""
    form = other.get("format") or name.partition(":")[0]
    tst, items = DEFAULTS[form]
    return pytest.param(form, trn, other.get("tst", tst), other.get("items", items), message, id=name)


MALFORMED = [
    case("svmlight: empty", b"", "trn0.npy must have instances with features, found none"),
    case("svmlight: no labels", SVM, "tst0.npy must have instances with labels", tst=b"1 3 2\n 2:1\n"),
    case("svmlight: too few lines", SVM[:-6], "must have 2 instances, as its header says, got 1"),
    case("svmlight: too many", SVM + b"0 1:1\n", "line 4: expected the end after the 2 inst"),
    case("svmlight: blank at the end", SVM + b"\n", "line 4: expected the end after the 2 inst"),
    case("svmlight: label range", b"1 3 2\n0,2 0:1\n", "line 2: expected labels from 0 to 1, found '2'"),
    case("svmlight: feature range", b"1 3 2\n0 3:1\n", "line 2: expected features from 0 to 2, found '3'"),
    case(
        "svmlight: no such feature", b"0 9999999999:1\n", "features from 0 to 1073741823, found '9999999999'"
    ),
    case("svmlight: no such label", b"9999999999 0:1\n", "labels from 0 to 1073741823"),
    case("svmlight: endless id", b"9" * 5000 + b" 0:1\n", "expected label,label feature:value"),
    case(
        "svmlight: feature twice", b"0 0:1\n0 2:1 1:1 2:3\n", "line 2: expected each feature once, found '2'"
    ),
    case("svmlight: NaN", b"0 1:1 0:nan\n", "feature:value ..., found '0:nan'"),
    case("svmlight: infinite", b"0 0:inf\n", "feature:value ..., found '0:inf'"),
    case("svmlight: too large", b"0 0:1 1:1e39\n", "expected values of up to 1.84e[+]19, found '1e39'"),
    case("svmlight: negative label", b"-1 0:1\n", "found '-1'"),
    case("svmlight: negative feature", b"0 -1:1\n", "found '-1:1'"),
    case("svmlight: label by name", b"apple 0:1\n", "line 1: expected label,label .* found 'apple'"),
    case("svmlight: label half", b"0, 0:1\n", "found '0,'"),
    case("svmlight: id with a point", b"0 1.5:1\n", "found '1.5:1'"),
    case("svmlight: no value", b"0 1:\n", "found '1:'"),
    case("svmlight: no feature", b"0 1\n", "found '1'"),
    case("svmlight: comment", b"0 1:1 # one\n", "found '#'"),
    case(
        "svmlight: long numbers",
        b"0 " + b" ".join(b"%d:1000" % i for i in range(5000)) + b" x\n",
        "found 'x'",
    ),
    case("svmlight: one long number", b"0 0:" + b"1" * 100_000 + b"x\n", "expected label,label"),
    case("svmlight: blanks", b"0" + b" " * 100_000 + b"x\n", "found 'x'"),
    case("svmlight: blank line, no header", b"0 0:1\n\n", "line 2: expected label,label .* found ''"),
    case(
        "svmlight: feature beyond a header",
        b"2 5 3\n0 0:1\n1 1:1\n",
        "ids of features below 5, as .*trn0",
        tst=b"0 9:1\n",
    ),
    case("svmlight: NUL", b"0 1:1\x00\n", r"found '1:1\\x00'"),
    case("svmlight: Arabic digits", "0 ١:1\n".encode(), "found '١:1'"),
    case(
        "svmlight: other features",
        SVM,
        r"tst0.npy must have as many features as .*trn0.npy \(3\), got 4",
        tst=b"1 4 2\n0 3:1\n",
    ),
    case(
        "svmlight: other labels",
        SVM,
        r"tst0.npy must have as many labels as .*trn0.npy \(2\), got 9",
        tst=b"1 3 9\n0 2:1\n",
    ),
    case(
        "svmlight: too few names",
        b"3 0:1\n",
        r"items.txt must have 4 lines, one a name, got 2",
        tst=b"0 0:1\n",
        items=b"a\nb\n",
    ),
    case("svmlight: header of ages", b"1 9999999999 1\n", "line 1: expected numbers up to 1073741824"),
    case(
        "text: gzip in gzip",
        gzip.compress(gzip.compress(SVM)),
        "line 1: expected UTF-8 text, found packed bytes [(]gzip[?][)]",
        format="svmlight",
    ),
    case("text: zip", b"PK\x03\x04", r"found packed bytes [(]zip[?][)]", format="svmlight"),
    case("text: gzip cut off", gzip.compress(SVM)[:-9], "packed by gzip, found it damaged", format="pecos"),
    case("text: xz cut off", lzma.compress(SVM)[:-9], "packed by xz, found it damaged", format="pecos"),
    case(
        "text: bzip2 damaged",
        bz2.compress(SVM)[:20] + b"x" * 99,
        "cannot read .*: Invalid data",
        format="pecos",
    ),
    case(
        "text: Latin-1",
        ("red\ncafé\n".encode("latin-1"), b"a\na\n"),
        "line 2: .* byte 0xe9 at position 4",
        format="attentionxml",
    ),
    case(
        "text: UTF-16",
        "0\tred\n".encode("utf-16"),
        "expected UTF-8 text, found the byte 0xff at position 1",
        format="pecos",
    ),
    case(
        "attentionxml: labels end",
        (b"red\nred\n", b"a\n"),
        "trn0.npy, line 2: expected the end, as .*trn1.npy has 1 lines",
    ),
    case(
        "attentionxml: texts end",
        (b"red\n", b"a\na\n"),
        "trn1.npy, line 2: expected the end, as .*trn0.npy has 1 lines",
    ),
    case("attentionxml: labels in Latin-1", (b"red\n", b"\xe9\n"), "trn1.npy, line 1: expected UTF-8"),
    case(
        "attentionxml: no such name",
        (b"red\n", b"z\n"),
        r"trn1.npy must have no other label names than .*items.txt has, found 'z'",
        items=b"a\n",
    ),
    case(
        "attentionxml: a name twice",
        TEXT,
        "items.txt, line 3: expected each name once, found 'a', which line 1 has, too",
        items=b"a\nb\na\n",
    ),
    case("attentionxml: no names", TEXT, "items.txt is empty", items=b""),
    case("attentionxml: empty", (b"", b""), "found none in the 0 of .*trn0"),
    case(
        "attentionxml: no words",
        (b"- -\n\n", b"a\na\n"),
        r"a term must be in at least 1 .* found none in the 2 of .*trn0",
    ),
    case(
        "attentionxml: no known word",
        TEXT,
        "tst0.npy must have instances with features",
        tst=(b"blue\n", b"a\n"),
    ),
    case("pecos: no tab", b"0 red\n", "line 1: expected label,label<tab>text, found '0 red'"),
    case("pecos: label range", b"0\tred\n0,2\tred\n", "line 2: expected labels from 0 to 1, found '2'"),
    case("pecos: names for ids", b"apple\tred\n", "expected label,label<tab>text"),
    case("pecos: blank line", b"0\tred\n\n", "line 2: expected label,label<tab>text, found ''"),
    case("pecos: without names", P, "pecos needs --output-items", items=None),
    case("jsonl: no JSON", b"red\n", "line 1: expected an object .* found 'red'"),
    case("jsonl: cut off", J + b'{"text": "red", "lab', "line 2: expected an object"),
    case("jsonl: a list", b"[1, 2]\n", "line 1: expected an object"),
    case("jsonl: no text", b'{"labels": ["a"]}\n', "line 1: expected an object"),
    case("jsonl: text is a number", b'{"text": 1, "labels": ["a"]}\n', "line 1: expected an object"),
    case("jsonl: labels are text", b'{"text": "red", "labels": "a"}\n', "line 1: expected an object"),
    case("jsonl: a label is null", b'{"text": "red", "labels": [null]}\n', "line 1: expected an object"),
    case("jsonl: a label is true", b'{"text": "red", "labels": [true]}\n', "line 1: expected an object"),
    case(
        "jsonl: a label of two lines",
        b'{"text": "red", "labels": ["a\\nb"]}\n',
        "expected label names that make a line each",
    ),
    case("jsonl: an empty label", b'{"text": "red", "labels": [""]}\n', "label names that make a line each"),
    case(
        "jsonl: half a character",
        b'{"text": "red", "labels": ["\\ud800"]}\n',
        "expected label names that make a line each",
    ),
    case("jsonl: very deep", b"[" * 100_000 + b"\n", "line 1: expected an object"),
    case(
        "jsonl: endless number",
        b'{"text": "red", "labels": [' + b"9" * 5000 + b"]}\n",
        "line 1: expected an object",
    ),
    case("jsonl: text is null", b'{"text": null, "labels": ["a"]}\n', "line 1: expected an object"),
    case("csv: empty", b"\n", "trn0.npy is empty: expected a row of names, with text, labels"),
    case(
        "csv: no such column", b"text,tags\nred,a\n", "line 1: expected a column 'labels', found 'text, tags'"
    ),
    case(
        "csv: a column twice",
        b"text,labels,text\n",
        "line 1: expected a column 'text', found '2 of that name'",
    ),
    case("csv: too few cells", CSV + b"\nred\n", "line 4: expected 2 cells, as the first row has, found '1'"),
    case("csv: too many", CSV + b"red,a,b\n", "line 3: expected 2 cells, as the first row has, found '3'"),
    case(
        "csv: an open quote", CSV + b'"red,a\n\n', "line 4: .*found none: unexpected end.*; --no-quotes takes"
    ),
    case("csv: half quoted", CSV + b'"red" one,a\n', "line 3: expected a row of cells, found none"),
    case("csv: old line ends", CSV.replace(b"\n", b"\r"), "line 1: expected a row of cells, found none"),
    case("csv: a label of two lines", CSV + b'red,"a\nb"\n', "line 4: expected label names that make a line"),
    case("csv: Latin-1", CSV + b"caf\xe9,a\n", "line 3: expected UTF-8"),
    case("tsv: commas", CSV, "line 1: expected a column 'text', found 'text,labels'"),
    case("annif: no tab", b"red <u:1>\n", "line 1: expected text<tab><URI> <URI> ..., found 'red <u:1>'"),
    case("jsonl: blank line", J + b"\n" + J, "line 2: expected an object .* found ''"),
    case(
        "npz: rows disagree",
        (save(np.eye(2)), save(np.eye(3))),
        r"trn1.npy must have as many instances as trn0.npy \(2\), got 3",
    ),
    case(
        "npz: columns disagree",
        MATRICES,
        r"tst0.npy must have as many features as .*trn0.npy \(2\), got 3",
        tst=(save(np.ones((2, 3))), save(np.eye(2))),
    ),
    case(
        "npz: NaN",
        (save(np.full((2, 2), np.nan)), save(np.eye(2))),
        "finite values, got nan in row 0, column 0",
    ),
    case(
        "npz: labels count", (save(np.eye(2)), save(2 * np.eye(2))), "trn1.npy must hold only 0 and 1, got 2"
    ),
    case("npz: negative labels", (save(np.eye(2)), save(-sp.identity(2))), "only 0 and 1, got -1"),
    case("npz: a vector", (save(np.ones(2)), save(np.eye(2))), r"an array of shape \(2,\)"),
    case("npz: complex", (save(np.eye(2) * 1j), save(np.eye(2))), "type complex128"),
    case("npz: pickled", (pickled, save(np.eye(2))), "trn0.npy is damaged .*Python objects"),
    case("npz: cut off", (cut(save(np.eye(2))), save(np.eye(2))), "trn0.npy is damaged"),
    case("npz: cut off, sparse", (cut(save(sp.identity(2))), save(np.eye(2))), "trn0.npy is damaged"),
    case("npz: a bomb", (bomb, save(np.eye(2))), "0 bytes of values where its header claims 8000000000000"),
    case("npz: text", (b"1 0\n0 1\n", save(np.eye(2))), "trn0.npy is damaged"),
    case("files: too many", (SVM, SVM), r"--trn must name 1 for svmlight \(FILE\), got 2", format="svmlight"),
    case(
        "files: too few",
        TEXT,
        r"--tst must name 2 for attentionxml \(TEXTS LABELS\), got 1",
        format="attentionxml",
        tst=b"red\n",
    ),
    case("files: missing", lambda path: None, "cannot read .*trn0.npy: No such file", format="svmlight"),
    case("files: a folder", Path.mkdir, "trn0.npy must be a file, found a folder", format="svmlight"),
    case("files: a pipe", os.mkfifo, "trn0.npy must be a file, found a pipe", format="svmlight"),
]


@pytest.mark.parametrize(("format", "trn", "tst", "items", "message"), MALFORMED)
def test_malformed_input_is_refused_in_one_sentence_and_leaves_nothing(
    tmp_path: Path, format: str, trn: Any, tst: Any, items: bytes | None, message: str
):
    with pytest.raises(DisentangleError, match=message) as error:
        make(tmp_path, format, trn, tst, items)
    assert "\n" not in str(error.value)
    left = [path.name for path in (tmp_path / "data").glob("*")]
    assert not left


def test_a_line_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("disentangle.data.lines.MAX_LINE", 100)
    with pytest.raises(DisentangleError, match="line 2: expected less than 100 bytes"):
        make(tmp_path, "svmlight", SVM.replace(b"\n0,1", b"\n" + b"0," * 60 + b"1"), SVM_TST)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"min_df": 0}, "--min-df must be at least 1, got 0"),
        ({"max_df": 0.0}, "--max-df must be above 0, got 0.0"),
        ({"max_df": float("nan")}, "--max-df must be a number, got nan"),
        ({"max_features": 0}, "--max-features must be at least 1, got 0"),
        ({"ngram_range": (2, 1)}, "--ngram-range must be two rising numbers in 1..10, got 2, 1"),
        ({"token_pattern": "("}, "--token-pattern must be a regular expression"),
        ({"token_pattern": "a{99999999999999999999}"}, "--token-pattern must be a regular expression"),
        ({"token_pattern": "(?:" * 5000 + ")" * 5000}, "--token-pattern must be made of characters"),
        ({"token_pattern": "(a+)+$"}, "--token-pattern must be made of characters"),
        ({"token_pattern": "(a)(b)"}, "--token-pattern must have at most one group, got 2"),
    ],
)
def test_wrong_settings(tmp_path: Path, wrong: dict[str, Any], message: str):
    with pytest.raises(DisentangleError, match=message):
        make(tmp_path, "attentionxml", TEXT, TEXT, **wrong)


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "a\nb"])
def test_a_dataset_has_a_plain_name(tmp_path: Path, name: str):
    with pytest.raises(DisentangleError, match="must be the name of a folder"):
        import_dataset(replace(job(tmp_path, "svmlight", SVM, SVM_TST), name=name), tmp_path / "data")


def test_the_same_import_again_is_reused_and_another_one_refused(tmp_path: Path):
    first = job(tmp_path, "svmlight", SVM, SVM_TST)
    made = import_dataset(first, tmp_path / "data")
    file = tmp_path / "data" / "made" / "Y.trn.npz"
    before = file.stat().st_mtime_ns
    assert import_dataset(first, tmp_path / "data") == made
    with pytest.raises(DisentangleError, match="data/made exists, and was not made from these files"):
        import_dataset(replace(first, tst=first.trn), tmp_path / "data")
    assert file.stat().st_mtime_ns == before
    file.unlink()
    with pytest.raises(DisentangleError, match="or is damaged: choose another name, or remove it"):
        import_dataset(first, tmp_path / "data")


def test_both_parts_may_be_the_same_file(tmp_path: Path):
    same = job(tmp_path, "svmlight", SVM, SVM_TST)
    import_dataset(replace(same, tst=same.trn), tmp_path / "data")
    assert datasets.load_dataset(tmp_path / "data", "made").X_tst.shape == (2, 3)


def test_a_dataset_that_was_not_imported_is_never_replaced(tmp_path: Path):
    (tmp_path / "data" / "made").mkdir(parents=True)
    (tmp_path / "data" / "made" / "mine.txt").write_text("mine")
    for is_replaced in (False, True):
        with pytest.raises(DisentangleError, match=r"choose another name, or remove it$"):
            import_dataset(job(tmp_path, "svmlight", SVM, SVM_TST), tmp_path / "data", is_replaced)
    assert (tmp_path / "data" / "made" / "mine.txt").read_text() == "mine"
    (tmp_path / "data" / "made" / "mine.txt").unlink()
    # Nor what another command has made.
    Stage("bake", tmp_path / "data" / "made", {"heat": 1}, ("errors",), lambda out: {}).ensure()
    for is_replaced in (False, True):
        with pytest.raises(DisentangleError, match=r"choose another name, or remove it$"):
            import_dataset(job(tmp_path, "svmlight", SVM, SVM_TST), tmp_path / "data", is_replaced)


def test_a_dataset_is_not_replaced_while_a_feature_set_of_it_is_made(tmp_path: Path):
    first = job(tmp_path, "svmlight", SVM, SVM_TST)
    import_dataset(first, tmp_path / "data")
    made = tmp_path / "data" / "made"
    with (
        atomic.claim(made / "embedded"),
        pytest.raises(DisentangleError, match=r"another run is at work in .*made \(.embedded.lock is held\)"),
    ):
        import_dataset(replace(first, tst=first.trn), tmp_path / "data", is_replaced=True)
    import_dataset(replace(first, tst=first.trn), tmp_path / "data", is_replaced=True)


def test_values_that_no_job_could_use_are_refused(tmp_path: Path):
    line = b"0 0:1\n0,1 0:1.5e19 1:1.5e19\n"
    with pytest.raises(DisentangleError, match=r"trn0.npy .* for 2 rows, got 1.5e\+19 in row 1"):
        make(tmp_path, "svmlight", line, SVM_TST)
    # Only those of training are summed.
    few = b"0 0:1.2e19\n0,1 1:1\n"
    with pytest.raises(DisentangleError, match=r"trn0.npy must hold rows"):
        make(tmp_path, "svmlight", few, SVM_TST)
    assert make(tmp_path, "svmlight", SVM_TST, few).X_tst.max() == np.float32(1.2e19)


def test_another_import_replaces_when_it_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    first = job(tmp_path, "svmlight", SVM, SVM_TST)
    import_dataset(first, tmp_path / "data")
    folder = tmp_path / "data" / "made"
    (folder / "encoded").mkdir()
    other = replace(first, tst=first.trn)
    with pytest.raises(DisentangleError, match="or have it replaced with --replace"):
        import_dataset(other, tmp_path / "data")
    (tmp_path / "bad").write_bytes(b"0 0:x\n")
    with pytest.raises(DisentangleError, match="found '0:x'"):
        import_dataset(replace(first, trn=(tmp_path / "bad",)), tmp_path / "data", is_replaced=True)
    assert (folder / "encoded").is_dir()  # what fails replaces nothing
    assert import_dataset(other, tmp_path / "data", is_replaced=True)["n_test_instances"] == 2
    assert "made is replaced, and with it goes encoded" in caplog.text
    assert not (folder / "encoded").exists()
    before = (folder / "stage.json").stat().st_mtime_ns
    import_dataset(other, tmp_path / "data", is_replaced=True)
    assert (folder / "stage.json").stat().st_mtime_ns == before


def test_a_table_with_several_columns_of_text_and_of_labels(tmp_path: Path):
    table = b'id|title|note|tag|more\n1|red|"fig; ""ripe"", big\nand soft"|" a;\tb c ;"|z\n\n2|blue|||\n'
    options = Columns(("title", "note"), ("tag", "more"), ";", "|")
    made = replace(job(tmp_path, "csv", table, table), columns=options)
    import_dataset(made, tmp_path / "data")
    dataset = datasets.load_dataset(tmp_path / "data", "made")
    assert names(tmp_path) == ["a", "b c", "z"]
    assert dataset.Y_trn.toarray().tolist() == [[1, 1, 1], [0, 0, 0]]
    assert (tmp_path / "data/made/X.trn.txt").read_text() == 'red fig; "ripe", big and soft\nblue \n'


def test_tsv_with_quotes_that_are_letters(tmp_path: Path):
    table = b'text\tlabels\n"red\ta b\n'
    made = replace(job(tmp_path, "tsv", table, table), columns=Columns(separator=" ", has_quotes=False))
    import_dataset(made, tmp_path / "data")
    assert names(tmp_path) == ["a", "b"]
    assert (tmp_path / "data/made/X.tst.txt").read_text() == '"red\n'


def test_json_lines_with_other_keys(tmp_path: Path):
    lines = b'{"title": "red", "tags": ["a"]}\n{"title": null, "body": "blue", "tags": [7]}\n'
    made = replace(job(tmp_path, "jsonl", lines, lines), columns=Columns(("title", "body"), ("tags",)))
    import_dataset(made, tmp_path / "data")
    assert names(tmp_path) == ["7", "a"]
    assert (tmp_path / "data/made/X.trn.txt").read_text() == "red\nblue\n"


def test_a_row_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("disentangle.data.lines.MAX_LINE", 100)
    with pytest.raises(DisentangleError, match="expected the end of a row of less than 100 bytes"):
        make(tmp_path, "csv", b'text,labels\n"' + b"red\n" * 60, CSV)


def test_the_limit_of_a_row_is_one_of_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("disentangle.data.lines.MAX_LINE", 100)
    with pytest.raises(DisentangleError, match="expected the end of a row of less than 100 bytes"):
        make(tmp_path, "csv", b'text,labels\n"' + "\u6797\n".encode() * 30, CSV)  # 60 characters


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("format", ["svmlight", "pecos", "jsonl", "csv", "annif"])
def test_packed_files_are_as_good(tmp_path: Path, format: str, pack: Callable[[bytes], bytes]):
    content, items = DEFAULTS[format]
    plain = make(tmp_path, format, content, content, items)
    (tmp_path / "packed").mkdir()
    packed = make(tmp_path / "packed", format, pack(content), pack(content), items and pack(items))
    assert (plain.X_trn != packed.X_trn).nnz == (plain.Y_tst != packed.Y_tst).nnz == 0


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_bomb_is_refused_before_it_is_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: Callable[[bytes], bytes]
):
    monkeypatch.setattr("disentangle.data.packed._SMALL", 1000)
    bomb = pack(b"text,labels\n" + b"\n" * 1_000_000)
    with pytest.raises(DisentangleError, match=r"must unpack to at most 200 times its size, .* found more"):
        make(tmp_path, "csv", bomb, CSV)


def test_xz_that_asks_for_much_memory_is_refused(tmp_path: Path):
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 30}]
    for first in (b"", lzma.compress(J)):
        with pytest.raises(DisentangleError, match="xz, found it damaged: Memory usage limit exceeded"):
            make(tmp_path, "jsonl", first + lzma.compress(J, filters=filters), J)


@pytest.mark.parametrize(("pack", "zeros"), [(gzip.compress, 0), (bz2.compress, 0), (lzma.compress, 8)])
def test_packed_files_that_were_joined_are_read_whole_or_refused(
    tmp_path: Path, pack: Callable[[bytes], bytes], zeros: int
):
    content = J.replace(b'"a"', b'"b"') * 40_000
    packed = pack(content)
    path = put(tmp_path / "joined", pack(J) + bytes(zeros) + packed + bytes(zeros))
    assert "".join(f"{line.text}\n" for line in read_lines(path)).encode() == J + content
    for damaged in (packed[:20] + b"x" * 30 + packed[50:], packed[:-12], b"x" * 30):
        path.write_bytes(pack(J) + damaged)
        with pytest.raises(DisentangleError, match=r"found it damaged|cannot read"):
            list(read_lines(path))


def test_a_part_may_be_several_files(tmp_path: Path):
    one = job(tmp_path, "jsonl", J, J)
    other = put(tmp_path / "more.gz", gzip.compress(J.replace(b'"a"', b'"b"')))
    import_dataset(replace(one, trn=(*one.trn, other)), tmp_path / "data")
    assert datasets.load_dataset(tmp_path / "data", "made").Y_trn.toarray().tolist() == [[1, 0], [0, 1]]


def test_what_is_wrong_in_one_of_several_files_is_not_said_of_the_last(tmp_path: Path):
    one = job(tmp_path, "jsonl", J, J, b"b\n")
    other = put(tmp_path / "more.jsonl", J.replace(b'"a"', b'"b"'))
    with pytest.raises(
        DisentangleError,
        match=r"trn0\.npy, .*more\.jsonl must have no other label names than .*items\.txt has",
    ):
        import_dataset(replace(one, trn=(*one.trn, other)), tmp_path / "data")


def test_a_part_that_is_drawn_without_labels_is_named(tmp_path: Path):
    empty = b'{"text": "word", "labels": []}\n' * 999
    whole = replace(job(tmp_path, "jsonl", J + empty, J), tst=(), split=0.01)
    sentence = r"trn0\.npy must have instances with labels, found none drawn for the tst part \(--seed draws"
    with pytest.raises(DisentangleError, match=sentence):
        import_dataset(whole, tmp_path / "new" / "data")
    assert not (tmp_path / "new").exists()
    # Of those that are for validation none is drawn.
    given = job(tmp_path, "jsonl", NUMBERED, empty)
    with pytest.raises(DisentangleError, match=r"tst0\.npy must have instances with labels, found none$"):
        import_dataset(replace(given, tst=(), split=0.5, val=given.tst), tmp_path / "data")


NUMBERED = b"".join(b'{"text": "t%d word", "labels": ["l%d"]}\n' % (i, i) for i in range(100))


def test_a_share_is_drawn_for_testing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole = replace(job(tmp_path, "jsonl", NUMBERED, NUMBERED), tst=(), split=0.2, seed=3)
    drawn = {}
    for name, block, seed in (("made", 8192, 3), ("again", 7, 3), ("other", 7, 4)):
        monkeypatch.setattr("disentangle.data.formats.blocks._BLOCK_LINES", block)
        made = import_dataset(replace(whole, name=name, seed=seed), tmp_path / "data")
        assert (made["n_train_instances"], made["n_test_instances"], made["n_labels"]) == (80, 20, 100)
        trn, tst = (
            (tmp_path / f"data/{name}/X.{part}.txt").read_text().splitlines() for part in ("trn", "tst")
        )
        assert len({*trn, *tst}) == 100
        drawn[name] = tst
    assert drawn["made"] == drawn["again"] != drawn["other"]
    terms = json.loads((tmp_path / "data/made/vectorizer.json").read_text())["terms"]
    assert not {line.split()[0] for line in drawn["made"]} & set(terms)


@pytest.mark.parametrize(
    ("share", "message"),
    [
        (0.0, "--split must be above 0, got 0.0"),
        (1.5, "--split must be at most 1, got 1.5"),
        (0.001, "--split must leave instances for both parts, got 0.001 of 100"),
        (1.0, "--split must leave instances for both parts, got 1.0 of 100"),
        (None, "either --tst or --split must say which instances are for testing"),
    ],
)
def test_a_share_that_cannot_be_drawn(tmp_path: Path, share: float | None, message: str):
    whole = replace(job(tmp_path, "jsonl", NUMBERED, NUMBERED), tst=(), split=share)
    with pytest.raises(DisentangleError, match=message):
        import_dataset(whole, tmp_path / "data")
    assert not (tmp_path / "data/made").exists()


@pytest.mark.parametrize("dense", [False, True])
def test_matrices_can_be_split_and_have_a_validation_part(tmp_path: Path, dense: bool):
    values = (
        np.random.default_rng(0).normal(size=(20, 5)).astype(np.float16) if dense else np.eye(20, 5, -1) + 1
    )
    Y = np.eye(20, 3)
    Y[3:, 0] = 1
    one = job(tmp_path, "npz", (save(values), save(Y)), (save(values), save(Y)))
    made = import_dataset(replace(one, tst=(), split=0.25, val=one.tst), tmp_path / "data")
    assert [made[f"n_{part}_instances"] for part in ("train", "test", "validation")] == [15, 5, 20]
    features = datasets.feature_set(tmp_path / "data/made", "tfidf-attnxml")
    assert bool(features.blocks) == dense
    assert (features.load("val").toarray() == values).all()
    drawn = datasets.load_dataset(tmp_path / "data", "made")
    rows = {tuple(row) for row in drawn.X_trn.toarray()} | {tuple(row) for row in drawn.X_tst.toarray()}
    assert rows == {tuple(row) for row in values}


def test_a_validation_part_has_its_labels_and_none_of_its_terms(tmp_path: Path):
    one = job(tmp_path, "jsonl", J, J)
    val = put(tmp_path / "val.jsonl", b'{"text": "red blue", "labels": ["z", "a"]}\n')
    import_dataset(replace(one, val=(val,)), tmp_path / "data")
    folder = tmp_path / "data/made"
    assert names(tmp_path) == ["a", "z"]
    assert sp.load_npz(folder / "Y.val.npz").toarray().tolist() == [[1, 1]]
    assert sp.load_npz(folder / "tfidf-attnxml/X.val.npz").toarray().tolist() == [[1]]
    assert (folder / "X.val.txt").read_text() == "red blue\n"


VOCABULARY = b"<u:2>\tapple\n<u:1>\tapple\n<u:3>\tzebra\n<u:4>\tunused\n"


def test_a_vocabulary_gives_labels_uris_and_names(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    words = put(tmp_path / "words.tsv", VOCABULARY)
    corpus = b"red\t<u:1> <u:3>\nred\t<u:2> <u:9>\n"
    made = replace(job(tmp_path, "annif", corpus, corpus), vocabulary=words)
    import_dataset(made, tmp_path / "data")
    assert names(tmp_path) == ["apple", "apple", "zebra"]
    assert (tmp_path / "data/made/output-uris.txt").read_text() == "u:1\nu:2\nu:3\n"
    loaded = datasets.load_dataset(tmp_path / "data", "made")
    assert loaded.Y_trn.toarray().tolist() == [[1, 0, 1], [0, 1, 0]]
    exporting.export_dataset(tmp_path / "data", "made", "pecos", tmp_path / "out")
    assert (tmp_path / "out/output-uris.txt").read_text() == "u:1\nu:2\nu:3\n"
    assert "words.tsv does not have, and are left out: 1, such as u:9" in caplog.text


def test_names_are_looked_up_as_the_format_writes_them(tmp_path: Path):
    words = put(tmp_path / "words.tsv", b"<u:1>\tred apple\n<u:2>\tpear\n<u:3>\tfig\n")
    files_of_part = (b"red fruit\ngreen\n", b"red_apple pear\npear\n")
    made = replace(job(tmp_path, "attentionxml", files_of_part, files_of_part), vocabulary=words)
    import_dataset(made, tmp_path / "data")
    assert names(tmp_path) == ["pear", "red apple"]


def test_names_are_labels_of_the_vocabulary_in_any_format(tmp_path: Path):
    words = put(tmp_path / "words.tsv", VOCABULARY)
    both = b"text,labels\nred,zebra\nred,u:3;u:1\n"
    import_dataset(replace(job(tmp_path, "csv", both, both), vocabulary=words), tmp_path / "data")
    assert (tmp_path / "data/made/output-uris.txt").read_text() == "u:1\nu:3\n"
    ambiguous = b"text,labels\nred,apple\n"
    with pytest.raises(DisentangleError, match="found 'apple', which is u:2 and u:1"):
        import_dataset(
            replace(job(tmp_path, "csv", ambiguous, both), name="other", vocabulary=words), tmp_path / "data"
        )


@pytest.mark.parametrize(
    ("format", "more", "message"),
    [
        (
            "jsonl",
            {"columns": Columns(separator=",")},
            "--separator must come with --format csv, tsv, got jsonl",
        ),
        (
            "pecos",
            {"columns": Columns(("a",))},
            "--text-column must come with --format jsonl, csv, tsv, annif, got",
        ),
        (
            "annif",
            {"columns": Columns(labels=("a",))},
            "--label-column must come with --format jsonl, csv, tsv, got",
        ),
        (
            "annif",
            {"columns": Columns(has_quotes=False)},
            "--no-quotes must come with --format csv, tsv, got annif",
        ),
        ("annif", {"columns": Columns(("title",))}, "--text-column must come with CSV or JSON of Annif's"),
        ("csv", {"columns": Columns(separator="")}, "--separator must be one or more characters, got ''"),
        ("csv", {"seed": 7}, "--seed must come with --split"),
        ("csv", {"columns": Columns(delimiter=";;")}, "--delimiter must be one character, .* got ';;'"),
        ("svmlight", {"vocabulary": Path("x")}, "--vocabulary must name labels that have names"),
        ("jsonl", {"language": "en"}, "--language must come with --vocabulary, got 'en' alone"),
        ("jsonl", {"vocabulary": Path("no-such")}, "cannot read no-such: No such file"),
        ("jsonl", {"split": 0.5}, "either --tst or --split must say"),
    ],
)
def test_options_that_do_not_go_together(tmp_path: Path, format: str, more: dict[str, Any], message: str):
    content, items = DEFAULTS[format]
    with pytest.raises(DisentangleError, match=message):
        import_dataset(replace(job(tmp_path, format, content, content, items), **more), tmp_path / "data")


@pytest.mark.parametrize("options", [("--min-df", "2"), ("--text-settings", "bigrams")])
def test_settings_of_text_are_refused_without_text(
    tmp_path: Path, disentangle: Command, options: tuple[str, ...]
):
    put(tmp_path / "a.svm", SVM)
    files = ("--trn", "a.svm", "--tst", "a.svm", "--format", "svmlight")
    ended = disentangle("data", "import", "made", *files, *options)
    refused(ended, "settings of tf-idf must come with a format of text, got svmlight")


@pytest.mark.parametrize(
    ("options", "terms"),
    [
        (("bigrams",), {"red", "fig", "plum", "red fig", "red plum"}),
        (("finto-ai",), {"red", "fig", "red fig"}),
        (("finto-ai", "--ngram-range", "1", "1"), {"red", "fig"}),
        (("usual", "--min-df", "9"), {"red"}),
    ],
)
def test_named_settings_of_text(
    tmp_path: Path, disentangle: Command, options: tuple[str, ...], terms: set[str]
):
    put(tmp_path / "c.csv", b"text,labels\n" + b"red fig,a\n" * 5 + b"red plum,b\n" * 4)
    files = ("--trn", "c.csv", "--tst", "c.csv", "--format", "csv")
    ok(disentangle("data", "import", "made", *files, "--text-settings", *options))
    made = json.loads((tmp_path / "dataset/xmc-base/made/vectorizer.json").read_text())
    assert set(made["terms"]) == terms


def test_an_interrupted_import_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def stop(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("disentangle.storage.npz.Writer.finish", stop)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path, "svmlight", SVM, SVM_TST)
    assert not (tmp_path / "data").exists()


def test_files_that_change_meanwhile_are_no_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    finish = npz.Writer.finish

    def grow(writer: npz.Writer, *args: Any) -> None:
        finish(writer, *args)
        (path,) = tmp_path.glob("trn*")
        path.write_bytes(SVM + b"0 1:1\n")

    monkeypatch.setattr(npz.Writer, "finish", grow)
    with pytest.raises(DisentangleError, match="the imported files have changed meanwhile"):
        make(tmp_path, "svmlight", SVM, SVM_TST)
    assert not (tmp_path / "data").exists()


def test_what_a_killed_import_left_is_cleared(tmp_path: Path):
    left = tmp_path / "data" / ".tmp-made"
    left.mkdir(parents=True)
    (left / "Y.trn.npz").write_text("half")
    make(tmp_path, "svmlight", SVM, SVM_TST)
    assert not left.exists()


def test_a_full_disk_is_one_sentence(tmp_path: Path):
    line = b"0 " + b" ".join(b"%d:%d" % (i, i * i) for i in range(2000)) + b"\n"
    files = put(tmp_path / "trn.txt", line * 50), put(tmp_path / "tst.txt", line)
    result = run_disentangle(
        tmp_path,
        *("data", "import", "made", "--format", "svmlight", "--trn", files[0], "--tst", files[1]),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
    )
    refused(result, "^error: cannot write .*: File too large$")
    assert not (tmp_path / "dataset" / "xmc-base" / "made").exists()


def test_the_record_has_the_settings(tmp_path: Path):
    make(tmp_path, "attentionxml", TEXT, TEXT, sublinear_tf=True)
    inputs = json.loads((tmp_path / "data" / "made" / "stage.json").read_text())["inputs"]
    assert inputs["tfidf"]["sublinear_tf"] is True
    assert inputs["format"] == "attentionxml"
    assert len(inputs["files"]["trn"]) == 2


WORDS = b'text,labels text\tlabels " ; <u:1> 0 1,0 0:1 2:.5 -1 1e999 99999999999 red a { }'.split()
STARTS = [b"1 2 2\n", b'{"text": "red"', b'"labels": ["a"]']
PIECES = st.sampled_from(
    [*WORDS, b" ", b"\t", b"\n", b"\r\n", b", ", b"\xff", b"\x00", "é".encode(), J, P, SVM, *STARTS]
)
STREAMS = st.one_of(st.binary(max_size=60), st.lists(PIECES, max_size=12).map(b"".join))


@pytest.mark.parametrize("format", FORMATS)
@settings(max_examples=150)
@given(
    streams=st.lists(STREAMS, min_size=4, max_size=4),
    items=st.none() | STREAMS,
    sound=st.sampled_from([(), (0,), (1,), (0, 1, 2, 3)]),
)
def test_whatever_a_file_holds_it_is_a_dataset_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory,
    format: str,
    streams: list[Content],
    items: bytes | None,
    sound: tuple[int, ...],
):
    folder = tmp_path_factory.mktemp("fuzz")
    content, its_items = DEFAULTS[format]
    of_part = content if isinstance(content, tuple) else (content,)
    n = len(FORMATS[format].files)
    # Some files are as they should be, or all.
    parts = [
        of_part[i % n] if i in sound else one for i, one in enumerate([*streams[:n], *streams[2 : 2 + n]])
    ]
    if len(sound) == 4:
        items = its_items
    elif items is None and format == "pecos":
        items = b"a\nb\n"
    sentence = None
    try:
        make(folder, format, tuple(parts[:n]), tuple(parts[n:]), items)
    except DisentangleError as error:
        sentence = str(error)
    assert (folder / "data" / "made").exists() == (sentence is None)
    assert "\n" not in (sentence or "")
    assert len(sound) < 4 or sentence is None


@settings(max_examples=300)
@given(position=st.integers(0, 10_000), value=st.integers(0, 255), end=st.integers(1, 10_000))
def test_a_damaged_matrix_file_is_a_matrix_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int, end: int
):
    folder = tmp_path_factory.mktemp("damaged")
    sp.save_npz(folder / "m.npz", sp.random(5, 4, 0.5, format="csr", random_state=0))
    content = bytearray((folder / "m.npz").read_bytes()[:end])
    content[position % len(content)] = value
    (folder / "m.npz").write_bytes(content)
    for load in (load_sparse, load_any):
        try:
            assert load(folder / "m.npz").format == "csr"
        except DisentangleError as error:
            sentence = str(error)
        else:
            continue
        assert "m.npz" in sentence
        assert "\n" not in sentence


FILES = {
    "svmlight": (".txt",),
    "attentionxml": ("_texts.txt", "_labels.txt"),
    "pecos": (".txt",),
    "jsonl": (".jsonl",),
}


def round_trip(data_dir: Path, name: str, format: str, folder: Path, **tfidf: Any) -> datasets.Dataset:
    exporting.export_dataset(data_dir, name, format, folder / "out")
    paths = [tuple(folder / "out" / f"{part}{end}" for end in FILES[format]) for part in ("trn", "tst")]
    back = Import("back", format, *paths, folder / "out" / "output-items.txt", TfidfParams(**tfidf))
    import_dataset(back, folder / "data")
    return datasets.load_dataset(folder / "data", "back")


@pytest.mark.parametrize("format", data.EXPORT_FORMATS)
def test_the_embedded_set_comes_back_from_every_text_format(tmp_path: Path, format: str):
    before = datasets.load_dataset(EMBEDDED.parent, EMBEDDED.name)
    after = round_trip(EMBEDDED.parent, EMBEDDED.name, format, tmp_path)
    for name in ("X_trn", "Y_trn", "X_tst", "Y_tst"):
        assert getattr(after, name).shape == getattr(before, name).shape
        assert (getattr(after, name) != getattr(before, name)).nnz == 0


def test_export_refuses_what_it_cannot_tell(tmp_path: Path, disentangle: Command):
    import_dataset(job(tmp_path, "svmlight", SVM, SVM_TST, b"a b\na_b\n"), tmp_path / "data")
    options = ["--data-dir", tmp_path / "data", "--out", tmp_path / "out", "--format"]
    result = disentangle("data", "export", "made", *options, "attentionxml")
    refused(result, "must differ: labels 0 and 1 are both 'a_b'")
    refused(disentangle("data", "export", "made", *options, "jsonl"), "missing file")
    assert not (tmp_path / "out").exists()
    ok(disentangle("data", "export", "made", *options, "svmlight"))
    assert (tmp_path / "out" / "trn.txt").read_text().startswith("2 3 2\n0,1 0:0.5 2:1\n")
    result = disentangle("data", "export", "made", *options, "svmlight")
    assert "must not exist yet" in result.stderr


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the development data beside the checkout")
def test_raw_text_gives_a_model_as_good_as_the_features_that_came_with_it(
    tmp_path: Path, disentangle: Command
):
    from_shared = SHARED / "data" / "xmc-base"
    round_trip(from_shared, "vullib", "attentionxml", tmp_path)
    precision = {}
    for name, data_dir in (("vullib", from_shared), ("back", tmp_path / "data")):
        ok(disentangle("base", name, "--data-dir", data_dir))
        report = json.loads((tmp_path / "model" / name / "base" / "report.json").read_text())
        precision[name] = [run["precision"][0] for run in report["runs"]]
    assert precision["back"] == pytest.approx(precision["vullib"], abs=1.0)
