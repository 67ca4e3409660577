"""WordNet hypernyms: a dozen handmade synsets that can be checked by eye, and the committed data set."""

import collections
import json
import logging
import math
import re
import zipfile
import zlib
from functools import partial
from pathlib import Path

import build_wordnet_hypernyms as wordnet
import numpy as np
import pytest
import scipy.sparse as sp
from build_wordnet_hypernyms import Synset, build_wordnet, parse_synsets
from conftest import ok, refused, run_python

from disentangle.data.tfidf import Vectorizer
from disentangle.errors import DisentangleError

COMMITTED = Path(__file__).parents[2] / "dataset" / "xmc-base" / "wordnet-hypernyms"
DEBIAN_WORDNET = Path("/usr/share/wordnet")

# Both banks are below entity; the sea wall is below both of them. The desk is four levels below entity.
NOUNS = """\
  1 This is the licence of a small
  2 WordNet.  
00000001 03 n 01 entity 0 001 ~ 00000002 n 0000 | that which exists
00000002 17 n 02 bank 0 slope 0 001 @ 00000001 n 0000 | sloping land (by water; or not); "a green bank"
00000003 14 n 02 Bank 1 firm 0 002 @ 00000001 n 0000 + 00000001 v 0101 | a firm for money | and credit
00000004 17 n 01 river_bank 0 001 @ 00000002 n 0000 | the sloping land of a river
00000005 06 n 01 sea_wall 0 002 @ 00000002 n 0000 @ 00000003 n 0000 | sloping land that is a firm
00000006 14 n 01 savings_bank 0 001 @ 00000003 n 0000 | a firm for money of savers
00000007 14 n 01 Acme 0 001 @i 00000006 n 0000 | a firm for the money of coyotes
00000008 06 n 01 acme_desk 0 001 @ 00000007 n 0000 | where the firm counts money
"""  # noqa: W291
# The two verbs that are hypernyms of each other, and 16 words, which is 10 in hexadecimal digits.
VERBS = """\
00000001 41 v 01 restrain 0 001 @ 00000002 v 0000 01 + 08 00 | hold back
00000002 41 v 01 inhibit 0 002 @ 00000001 v 0000 $ 00000001 v 0000 02 + 08 00 + 11 01 | hold back; keep back
00000003 41 v 10 hold a\
 a 0 b 0 c 0 d 0 e 0 f 0 g 0 h 0 i 0 j 0 k 0 l 0 m 0 n 0 o 0 001 @ 00000001 v 0000 01 + 02 00 | keep back
00000004 41 v 01 grip 0 001 @ 00000003 v 0000 00 | hold, and keep
"""

LABELS = ["bank", "entity", "firm", "inhibit", "restrain", "savings bank", "slope"]
COMPONENTS = [
    "bank (noun): sloping land (by water; or not)",
    "bank (noun): a firm for money | and credit",
    "entity (noun): that which exists",
    "firm (noun): a firm for money | and credit",
    "inhibit (verb): hold back",
    "restrain (verb): hold back",
    "savings bank (noun): a firm for money of savers",
    "slope (noun): sloping land (by water; or not)",
]
# Columns: bank (land), bank (money), entity, firm, inhibit, restrain, savings bank, slope.
BY_COMPONENT = [
    [0, 0, 1, 0, 0, 0, 0, 0],  # bank, slope
    [0, 0, 1, 0, 0, 0, 0, 0],  # Bank, firm
    [1, 0, 1, 0, 0, 0, 0, 1],  # river bank
    [1, 1, 1, 1, 0, 0, 0, 1],  # sea wall
    [0, 1, 1, 1, 0, 0, 0, 0],  # savings bank
    [0, 1, 1, 1, 0, 0, 1, 0],  # Acme
    [0, 1, 0, 1, 0, 0, 1, 0],  # Acme desk: entity is out of reach, and Acme has one instance only
    [0, 0, 0, 0, 1, 0, 0, 0],  # restrain
    [0, 0, 0, 0, 0, 1, 0, 0],  # inhibit
    [0, 0, 0, 0, 1, 1, 0, 0],  # hold and its fifteen letters
    [0, 0, 0, 0, 1, 1, 0, 0],  # grip: hold has one instance only
]
BY_LABEL = [[int(row[0] or row[1]), *row[2:]] for row in BY_COMPONENT]


@pytest.fixture
def wordnet_dir(tmp_path):
    folder = tmp_path / "wordnet"
    folder.mkdir()
    (folder / "data.noun").write_text(NOUNS)
    (folder / "data.verb").write_text(VERBS)
    return folder


@pytest.fixture
def out_dir(tmp_path):
    return tmp_path / "dataset" / "small"


def split_of_small():
    order = np.random.default_rng(0).permutation(11)
    return sorted(order[:8]), sorted(order[8:])


def read_lines(path):
    return path.read_text(encoding="utf-8").splitlines()


def read_folder(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def unpack(path):
    """Return the members of an npz file: its content, whatever the compression."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


class TestParseSynsets:
    def test_reads_words_hypernyms_and_gloss(self, wordnet_dir):
        nouns = parse_synsets(wordnet_dir / "data.noun")
        assert [synset.offset for synset in nouns] == [f"0000000{i}" for i in range(1, 9)]
        gloss = "a firm for money | and credit"
        assert nouns[2] == Synset("n", "00000003", ("Bank", "firm"), (("n", "00000001"),), gloss)
        assert nouns[6].hypernyms == (("n", "00000006"),)

    def test_reads_frames_and_hexadecimal_word_counts(self, wordnet_dir):
        verbs = parse_synsets(wordnet_dir / "data.verb")
        assert [len(synset.words) for synset in verbs] == [1, 1, 16, 1]
        assert verbs[1] == Synset("v", "00000002", ("inhibit",), (("v", "00000001"),), "hold back; keep back")


def test_ancestors_are_those_of_a_search_level_by_level():
    rng = np.random.default_rng(0)
    for _ in range(20):
        parents = {str(i): [str(p) for p in rng.choice(12, size=rng.integers(0, 3))] for i in range(12)}
        parents["0"] = ["1"]
        synsets = [Synset("n", key, ("word",), tuple(("n", p) for p in parents[key]), "") for key in parents]
        found = wordnet._find_ancestors(synsets).toarray()
        for key in parents:
            reached, level = set(), {key}
            for _ in range(3):
                level = {parent for below in level for parent in parents[below]}
                reached |= level
            assert set(np.flatnonzero(found[int(key)])) == {int(parent) for parent in reached - {key}}


class TestSmallWordnet:
    def test_labels_and_components(self, wordnet_dir, out_dir):
        build_wordnet(wordnet_dir, out_dir)
        assert read_lines(out_dir / "output-items.txt") == LABELS
        assert read_lines(out_dir / "components" / "names.txt") == COMPONENTS
        of_component = sp.load_npz(out_dir / "components" / "labels.npz").toarray()
        assert of_component.argmax(axis=1).tolist() == [0, 0, 1, 2, 3, 4, 5, 6]
        assert of_component.sum() == 8
        for part, rows in zip(("trn", "tst"), split_of_small(), strict=True):
            by_label = sp.load_npz(out_dir / f"Y.{part}.npz").toarray()
            by_component = sp.load_npz(out_dir / "components" / f"Y.{part}.npz").toarray()
            assert by_label.tolist() == [BY_LABEL[row] for row in rows]
            assert by_component.tolist() == [BY_COMPONENT[row] for row in rows]

    def test_features_are_those_of_the_formula(self, wordnet_dir, out_dir):
        build_wordnet(wordnet_dir, out_dir)
        synsets = parse_synsets(wordnet_dir / "data.noun")[1:] + parse_synsets(wordnet_dir / "data.verb")
        texts = [" ".join((*synset.words, synset.gloss)).replace("_", " ").lower() for synset in synsets]
        words = [re.findall(r"\w\w+", text) for text in texts]
        trn, tst = split_of_small()
        df = collections.Counter(word for row in trn for word in set(words[row]))
        features = sorted(word for word in df if df[word] >= 2)
        assert Vectorizer.load(out_dir / "vectorizer.json").terms == features
        for part, rows in (("trn", trn), ("tst", tst)):
            expected = [
                [words[row].count(word) * (math.log(9 / (1 + df[word])) + 1) for word in features]
                for row in rows
            ]
            expected /= np.linalg.norm(expected, axis=1, keepdims=True)
            X = sp.load_npz(out_dir / "tfidf-attnxml" / f"X.{part}.npz")
            np.testing.assert_allclose(X.toarray(), expected, rtol=1e-6)

    def test_counts(self, wordnet_dir, out_dir):
        counts = build_wordnet(wordnet_dir, out_dir)
        assert json.loads((out_dir / "stats.json").read_text())["counts"] == counts
        assert counts["synsets"] == 12
        assert (counts["noun_instances"], counts["verb_instances"]) == (7, 4)
        assert (counts["training_instances"], counts["test_instances"]) == (8, 3)
        assert (counts["labels"], counts["components"]) == (7, 8)
        assert counts["labels_of_training_instances"] + counts["labels_of_test_instances"] == np.sum(BY_LABEL)
        assert counts["labels_with_several_components"] == 1
        assert counts["labels_of_instances_that_several_components_gave"] == 1

    def test_files(self, wordnet_dir, out_dir):
        build_wordnet(wordnet_dir, out_dir)
        assert set(read_folder(out_dir)) == set(wordnet.FILES)
        assert read_lines(out_dir / "LICENSE") == ["This is the licence of a small", "WordNet."]
        assert "WordNet other than 3.0" in (out_dir / "README.md").read_text()
        for path in out_dir.rglob("*.npz"):
            matrix = sp.load_npz(path)
            assert (matrix.format, matrix.dtype, matrix.indices.dtype) == ("csr", np.float32, np.int32)
            assert matrix.has_canonical_format

    def test_npz_files_hold_what_scipy_would_write(self, wordnet_dir, out_dir, tmp_path):
        build_wordnet(wordnet_dir, out_dir)
        for path in out_dir.rglob("*.npz"):
            sp.save_npz(tmp_path / "again.npz", sp.load_npz(path))
            assert unpack(path) == unpack(tmp_path / "again.npz")

    def test_same_definitions_of_a_label_get_offsets(self, wordnet_dir, out_dir):
        with (wordnet_dir / "data.noun").open("a") as file:
            file.write("00000009 17 n 01 slope 0 001 @ 00000001 n 0000 | sloping land (by water; or not)\n")
            file.write("00000010 17 n 01 ramp 0 001 @ 00000009 n 0000 | a sloping thing\n")
        build_wordnet(wordnet_dir, out_dir)
        names = read_lines(out_dir / "components" / "names.txt")
        assert names[-2:] == [f"slope (noun): sloping land (by water; or not) [{i:08}]" for i in (2, 9)]

    def test_another_wordnet_is_said_in_the_log(self, wordnet_dir, out_dir, caplog):
        with caplog.at_level(logging.WARNING):
            build_wordnet(wordnet_dir, out_dir)
        assert [record.args[0].name for record in caplog.records] == ["data.noun", "data.verb"]
        assert "not WordNet 3.0's" in caplog.text


class TestOutput:
    def test_two_builds_have_the_same_bytes(self, wordnet_dir, tmp_path):
        build_wordnet(wordnet_dir, tmp_path / "one")
        build_wordnet(wordnet_dir, tmp_path / "two")
        assert read_folder(tmp_path / "one") == read_folder(tmp_path / "two")

    def test_an_earlier_build_is_replaced(self, wordnet_dir, out_dir):
        build_wordnet(wordnet_dir, out_dir)
        expected = read_folder(out_dir)
        (out_dir / "README.md").write_text("old")
        (out_dir / "vectorizer.json").unlink()
        build_wordnet(wordnet_dir, out_dir)
        assert read_folder(out_dir) == expected
        assert list(out_dir.parent.iterdir()) == [out_dir]

    def test_a_folder_with_other_files_is_refused(self, wordnet_dir, out_dir):
        out_dir.mkdir(parents=True)
        (out_dir / "thesis.txt").write_text("years of work")
        with pytest.raises(DisentangleError, match=r"only files of an earlier build, found thesis\.txt"):
            build_wordnet(wordnet_dir, out_dir)
        assert read_folder(out_dir) == {"thesis.txt": b"years of work"}

    def test_a_file_in_the_place_of_the_folder_is_refused(self, wordnet_dir, out_dir):
        out_dir.parent.mkdir(parents=True)
        out_dir.write_text("a file")
        with pytest.raises(DisentangleError, match="must be a folder or not there yet, found a file"):
            build_wordnet(wordnet_dir, out_dir)

    def test_a_full_disk_leaves_the_earlier_build(self, wordnet_dir, out_dir, monkeypatch):
        build_wordnet(wordnet_dir, out_dir)
        expected = read_folder(out_dir)

        def write_nothing(self, data):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Path, "write_bytes", write_nothing)
        with pytest.raises(DisentangleError, match="cannot be written: No space left on device"):
            build_wordnet(wordnet_dir, out_dir)
        assert read_folder(out_dir) == expected
        assert list(out_dir.parent.iterdir()) == [out_dir]


# file, what to replace in it, by what, and the message.
BAD_SOURCES = {
    "blank line": (
        "noun",
        "00000004 17",
        "\n00000004 17",
        "line 6: expected a synset offset of 8 digits, found the end",
    ),
    "short offset": (
        "noun",
        "00000004 17",
        "4 17",
        "line 6: expected a synset offset of 8 digits, found '4'",
    ),
    "no file number": (
        "noun",
        "04 17 n",
        "04 n",
        "line 6: expected a lexicographer file number .* found 'n'",
    ),
    "adjective": ("noun", "04 17 n", "04 17 a", "line 6: expected the part of speech n or v, found 'a'"),
    "no words": (
        "noun",
        "n 01 river",
        "n 00 river",
        "line 6: expected a word count .* at least 01, found '00'",
    ),
    "too few words": (
        "noun",
        "n 02 bank",
        "n 01 bank",
        "line 4: expected a pointer count of 3 digits, found 'slope'",
    ),
    "no lexical id": ("noun", "river_bank 0", "river_bank", "line 6: expected a lexical id .* found '001'"),
    "long pointer symbol": ("noun", "@i", "isa", "line 9: expected a pointer symbol, found 'isa'"),
    "short pointer": (
        "noun",
        "@i 00000006",
        "@i 6",
        "line 9: expected a pointer's synset offset .* found '6'",
    ),
    "pointer's part of speech": ("noun", "00000006 n", "00000006 x", "line 9: .* part of speech, found 'x'"),
    "pointer's source": (
        "noun",
        "00000006 n 0000",
        "00000006 n 00",
        "line 9: .* source and target .* found '00'",
    ),
    "too few pointers": ("noun", "002 @", "001 @", "line 5: expected '|' and the gloss, found '\\+'"),
    "too many pointers": (
        "noun",
        "0 002 @",
        "0 003 @",
        "line 5: expected a pointer symbol, found the end of the fields",
    ),
    "no frame count": (
        "verb",
        " 00 | hold, and",
        " | hold, and",
        "line 4: expected a frame count .* found the end",
    ),
    "no frame sign": ("verb", "+ 11", "11", "line 2: expected the frame sign \\+, found '11'"),
    "long frame number": (
        "verb",
        "+ 11",
        "+ 111",
        "line 2: expected a frame number of 2 digits, found '111'",
    ),
    "no frame's word": ("verb", "11 01", "11", "line 2: expected a frame's word number .* found the end"),
    "no bar": ("verb", " | hold, and keep", "", "line 4: expected '|', a gloss and a newline, found the end"),
    "no gloss": ("verb", "hold, and keep", "", "line 4: expected '|', a gloss and a newline, found the end"),
    "cut in a gloss": (
        "verb",
        "and keep\n",
        "and ke",
        "line 4: expected '|', a gloss and a newline, found the end",
    ),
    "unknown hypernym": (
        "verb",
        "@ 00000003",
        "@ 00000009",
        "v 00000004 has hypernym v 00000009, which is neither",
    ),
    "repeated synset": (
        "verb",
        "00000004 41",
        "00000003 41",
        "v 00000003 must be there once, found it 2 times",
    ),
    "no hypernyms": ("both", "@", "=", "must have hypernym pointers \\(@ or @i\\), found none"),
    "no licence": (
        "noun",
        NOUNS[: NOUNS.index("00000001")],
        "",
        "expected the licence notice in its first lines",
    ),
}


class TestErrors:
    @pytest.mark.parametrize("case", BAD_SOURCES)
    def test_bad_sources(self, case, wordnet_dir, tmp_path):
        part, old, new, message = BAD_SOURCES[case]
        for name in ("noun", "verb") if part == "both" else (part,):
            path = wordnet_dir / f"data.{name}"
            assert old in path.read_text()
            path.write_text(path.read_text().replace(old, new))
        with pytest.raises(DisentangleError, match=message.replace("'|'", r"'\|'")):
            build_wordnet(wordnet_dir, tmp_path / "dataset" / "small")
        assert list(tmp_path.iterdir()) == [wordnet_dir]

    @pytest.mark.parametrize("name", ["data.noun", "data.verb"])
    def test_missing_file(self, name, wordnet_dir, out_dir):
        (wordnet_dir / name).unlink()
        with pytest.raises(DisentangleError, match=f"must hold data.noun and data.verb, found no {name}"):
            build_wordnet(wordnet_dir, out_dir)

    def test_unreadable_file(self, wordnet_dir, out_dir):
        (wordnet_dir / "data.verb").unlink()
        (wordnet_dir / "data.verb").mkdir()
        with pytest.raises(DisentangleError, match=r"data\.verb cannot be read: Is a directory"):
            build_wordnet(wordnet_dir, out_dir)

    def test_missing_folder(self, tmp_path, out_dir):
        with pytest.raises(DisentangleError, match=r"the WordNet folder .*nowhere is not there"):
            build_wordnet(tmp_path / "nowhere", out_dir)

    def test_not_utf8(self, wordnet_dir, out_dir):
        (wordnet_dir / "data.verb").write_bytes(VERBS.replace("grip", "fa\xe7onner").encode("latin-1"))
        with pytest.raises(DisentangleError, match=r"data\.verb: expected UTF-8 text, found byte 0xe7"):
            build_wordnet(wordnet_dir, out_dir)

    def test_no_label_with_two_instances(self, wordnet_dir, out_dir):
        (wordnet_dir / "data.noun").write_text("".join(NOUNS.splitlines(keepends=True)[:4]))
        (wordnet_dir / "data.verb").write_text("")
        with pytest.raises(DisentangleError, match="must have labels with at least 2 instances, found none"):
            build_wordnet(wordnet_dir, out_dir)

    def test_no_word_twice(self, wordnet_dir, out_dir):
        nouns = (
            NOUNS.replace("bank 0 slope", "shore 0 slope").replace("_bank", "").replace("acme_desk", "desk")
        )
        (wordnet_dir / "data.noun").write_text(re.sub(r"\|.*", "| x", nouns))
        (wordnet_dir / "data.verb").write_text(re.sub(r"\|.*", "| x", VERBS))
        with pytest.raises(DisentangleError, match=r"in at least 2 training texts .* found none in the 8"):
            build_wordnet(wordnet_dir, out_dir)


@pytest.fixture(scope="module")
def matrices():
    return {path.relative_to(COMMITTED).as_posix(): sp.load_npz(path) for path in COMMITTED.rglob("*.npz")}


class TestCommitted:
    def test_counts(self, matrices):
        counts = json.loads((COMMITTED / "stats.json").read_text())["counts"]
        assert matrices["Y.trn.npz"].shape == (76_255, 21_336)
        assert matrices["Y.tst.npz"].shape == (19_064, 21_336)
        assert matrices["tfidf-attnxml/X.trn.npz"].shape == (76_255, 42_039)
        assert matrices["tfidf-attnxml/X.tst.npz"].shape == (19_064, 42_039)
        assert matrices["components/labels.npz"].shape == (33_291, 21_336)
        assert counts["instances"] == 95_319
        assert counts["labels_with_several_components"] == 5_524
        assert counts["labels_with_several_components_of_more_than_10_training_instances"] == 683
        assert counts["labels_without_training_instances"] == 269
        assert (matrices["Y.trn.npz"].getnnz(axis=0) == 0).sum() == 269

    def test_names(self):
        for name, n_names in (("output-items", 21_336), ("components/names", 33_291)):
            names = read_lines(COMMITTED / f"{name}.txt")
            assert len(names) == len(set(names)) == n_names
            if name != "components/names":
                assert names == sorted(names)

    def test_the_vectorizer_makes_the_features_of_the_texts(self, matrices):
        vectorizer = Vectorizer.load(COMMITTED / "vectorizer.json")
        assert len(vectorizer.terms) == 42_039
        for part in ("trn", "tst"):
            X = vectorizer.transform(read_lines(COMMITTED / f"X.{part}.txt"))
            assert (matrices[f"tfidf-attnxml/X.{part}.npz"] != X).nnz == 0

    def test_component_names_start_with_their_label(self, matrices):
        labels = read_lines(COMMITTED / "output-items.txt")
        names = read_lines(COMMITTED / "components" / "names.txt")
        label_of = matrices["components/labels.npz"].indices
        assert all(name.startswith(f"{labels[label]} (") for name, label in zip(names, label_of, strict=True))
        assert (np.diff(label_of) >= 0).all()

    def test_labels_are_unions_of_their_components(self, matrices):
        of_component = matrices["components/labels.npz"]
        assert (of_component.getnnz(axis=1) == 1).all()
        for part in ("trn", "tst"):
            by_label = matrices[f"Y.{part}.npz"]
            assert (by_label.getnnz(axis=1) > 0).all()
            union = matrices[f"components/Y.{part}.npz"] @ of_component > 0
            assert (union != by_label.astype(bool)).nnz == 0

    def test_values(self, matrices):
        for name, matrix in matrices.items():
            assert (matrix.dtype, matrix.indices.dtype) == (np.float32, np.int32)
            assert matrix.has_canonical_format
            if "X" not in name:
                assert (matrix.data == 1).all()
        for part, n_empty in (("trn", 0), ("tst", 1)):
            X = matrices[f"tfidf-attnxml/X.{part}.npz"].astype(np.float64)
            norms = np.sqrt(X.multiply(X).sum(axis=1)).A1
            assert (norms == 0).sum() == n_empty
            np.testing.assert_allclose(norms[norms > 0], 1, atol=1e-6)

    def test_is_what_wordnet_gives(self, tmp_path):
        if not DEBIAN_WORDNET.is_dir():
            pytest.skip(f"no {DEBIAN_WORDNET} here (Debian package wordnet-base)")
        build_wordnet(DEBIAN_WORDNET, tmp_path / "again")
        if json.loads((tmp_path / "again" / "stats.json").read_text())["sha256"] != wordnet.SOURCE_SHA256:
            pytest.skip(f"{DEBIAN_WORDNET} holds another WordNet than 3.0")
        again, committed = read_folder(tmp_path / "again"), read_folder(COMMITTED)
        assert set(again) == set(committed)
        for name in committed:
            if name.endswith(".npz") and "ng" in zlib.ZLIB_RUNTIME_VERSION:  # zlib-ng compresses differently
                assert unpack(tmp_path / "again" / name) == unpack(COMMITTED / name), name
            else:
                assert again[name] == committed[name], name


def test_the_command_builds_the_folder_and_refuses_a_wrong_one(wordnet_dir, tmp_path):
    build = partial(run_python, tmp_path, wordnet.__file__)
    result = ok(build("--wordnet", wordnet_dir, "--out", "built"))
    assert "labels: 7" in result.stdout
    assert (tmp_path / "built" / "Y.trn.npz").exists()
    refused(build("--wordnet", "nowhere", "--out", "other"), "^error: the WordNet folder nowhere")
    assert not (tmp_path / "other").exists()
