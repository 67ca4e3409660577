"""Annif's corpora and vocabularies: files as its documentation has them, and its own reading of them."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from disentangle.data import vocabulary
from disentangle.data.columns import USUAL, Columns
from disentangle.data.formats import annif
from disentangle.errors import DisentangleError

BASE = "http://example.org/thesaurus/"
NET, SCI, IP, OLD = (f"{BASE}subj{i}" for i in range(1, 5))
NAMES = {NET: "computer network", SCI: "computer science", IP: "Internet Protocol"}

VOCABULARIES = {
    "vocabulary.tsv": f"\ufeff<{NET}>\tcomputer network\n<{SCI}>\tcomputer science\n"
    f"{IP}\tInternet Protocol\t42\n<{OLD}>\n",
    "vocabulary.csv": "uri,label_en,label_fr,notation\n"
    f"{NET},computer network,réseau informatique,\n{SCI},computer science,informatique,\n"
    f"{IP},Internet Protocol,Internet Protocol,42.42\n{OLD},,,\n",
    "vocabulary.ttl": f"""@prefix skos: <http://www.w3.org/2004/02/skos/core#> .
@prefix owl: <http://www.w3.org/2002/07/owl#> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix : <{BASE}> .
:subj1 a skos:Concept ; skos:prefLabel "computer network"@en, "réseau informatique"@fr ;
    skos:altLabel "network"@en .
:subj2 a skos:Concept ; rdfs:label "computer science"@en .
:subj3 a skos:Concept ; skos:prefLabel "Internet Protocol" ; skos:notation "42.42" .
:subj4 a skos:Concept ; skos:prefLabel "telex"@en ; owl:deprecated true .
:scheme a skos:ConceptScheme ; skos:prefLabel "all"@en .
""",
}

TSV = f"""\ufeffRouters and switches\t<{NET}> <{IP}>
A "quoted title\t{NET}\t<{SCI}>

Nothing to say\t
Old and unknown\t<{OLD}> <{BASE}unknown> <{SCI}>
"""
CSV = f"""document_id,title,text,subject_uris
d1,A title,"Routers, and
switches",<{NET}> <{IP}>
d2,Another,"A ""quoted"" one",{SCI}

d3,,,<{BASE}unknown>
"""
OBJECTS: list[dict[str, Any]] = [
    {"document_id": "d1", "text": "Routers", "subjects": [{"uri": NET, "label": "x"}, {"uri": IP}]},
    {"metadata": {"title": "No text"}, "subjects": [{"label": "computer science"}]},
    {
        "text": "Two\nlines é",
        "metadata": {"title": "T"},
        "subjects": [{"label": "no such name"}, {"uri": SCI}],
    },
]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def folder(place: Path) -> Path:
    """Full texts: with URIs, with names, with both, as JSON, and one without subjects."""
    place.mkdir()
    write(place / "1.txt", "\ufeffRouters\nand switches\n")
    write(place / "1.tsv", f"<{NET}>\tcomputer network\tmore\n<{IP}>\n")
    write(place / "2.txt", "Science")
    write(place / "2.key", "computer science\n Internet Protocol \n\n")
    write(place / "3.txt", "Both")
    write(place / "3.tsv", f"\t<{SCI}>\tcomputer science\n")
    write(place / "3.key", "computer network\n")
    write(place / "4.txt", "Nobody has looked at this one")
    write(place / "5.json", json.dumps(OBJECTS[0], indent=1))
    write(place / "notes.md", "no text")
    return place


def corpora(place: Path) -> list[Path]:
    jsonl = "".join(f"{json.dumps(one)}\n" for one in OBJECTS)
    made = [write(place / "c.tsv", TSV), write(place / "c.csv", CSV), write(place / "c.jsonl", jsonl)]
    for path in list(made):
        packed = path.with_name(f"packed-{path.name}.gz")
        packed.write_bytes(gzip.compress(path.read_bytes()))
        made.append(packed)
    return [*made, folder(place / "fulltext")]


def read(path: Path, columns: Columns = USUAL) -> list[tuple[str, list[str]]]:
    return [
        pair
        for block in annif.read_corpus(path, columns)
        for pair in zip(block.content, block.labels, strict=True)
    ]


def test_short_texts(tmp_path: Path):
    tsv, csv, jsonl, *_ = corpora(tmp_path)
    assert read(tsv) == [
        ("Routers and switches", [NET, IP]),
        ('A "quoted title', [NET, SCI]),
        ("Nothing to say", []),
        ("Old and unknown", [OLD, f"{BASE}unknown", SCI]),
    ]
    assert read(csv) == [
        ("Routers, and\nswitches", [NET, IP]),
        ('A "quoted" one', [SCI]),
        ("", [f"{BASE}unknown"]),
    ]
    assert read(jsonl) == [
        ("Routers", [NET, IP]),
        ("", ["computer science"]),
        ("Two\nlines é", ["no such name", SCI]),
    ]


def test_full_texts(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    annif.check_folder(place := folder(tmp_path / "f"))
    assert read(place) == [
        ("Routers\nand switches", [NET, IP]),
        ("Science", ["computer science", "Internet Protocol"]),
        ("Both", [SCI]),
        ("Routers", [NET, IP]),
    ]
    assert "1 texts without a file of subjects are left out" in caplog.text


def test_metadata_may_be_the_text(tmp_path: Path):
    _, csv, jsonl, *_ = corpora(tmp_path)
    both = Columns(text=("title", "text"))
    assert [text for text, _ in read(csv, both)] == [
        "A title\nRouters, and\nswitches",
        'Another\nA "quoted" one',
        "\n",
    ]
    assert [text for text, _ in read(jsonl, both)] == ["Routers", "No text\n", "T\nTwo\nlines é"]


@pytest.mark.parametrize(
    ("ending", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)]
)
def test_packed_corpora_are_told_apart_as_the_others(
    tmp_path: Path, ending: str, pack: Callable[[bytes], bytes]
):
    plain = write(tmp_path / "c.csv", CSV)
    packed = tmp_path / f"C.CSV.{ending}"
    packed.write_bytes(pack(plain.read_bytes()))
    assert read(packed) == read(plain)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "c.tsv",
            "a\t<u>\nno subjects\n",
            "c.tsv, line 2: expected text<tab><URI> <URI> ..., found 'no subjects'",
        ),
        ("c.tsv", "a\t<>\n", "line 1: expected label names that make a line each"),
        ("c.csv", "text,uris\na,b\n", "line 1: expected a column 'subject_uris', found 'text, uris'"),
        ("c.csv", "", "c.csv is empty: expected a row of names, with text, subject_uris"),
        ("c.jsonl", '{"text": "a", "subjects": ["u"]}\n', "line 1: expected an object"),
        ("c.jsonl", '{"text": "a", "subjects": [{"uri": 1}]}\n', "line 1: expected an object"),
        ("c.jsonl", '{"text": "a", "subjects": {}}\n', "line 1: expected an object"),
        ("c.jsonl", '{"text": "a", "metadata": []}\n', "line 1: expected an object"),
        ("c.jsonl", '{"text": ["a"]}\n', "line 1: expected an object"),
        ("c.jsonl", '{"subjects": []}\n', "line 1: expected an object"),
        ("f/1.json", "{}", "1.json, line 1: expected an object"),
        ("f/1.md", "a", "f must hold texts .NAME.txt or NAME.json., found none"),
    ],
)
def test_what_is_no_corpus_is_one_sentence(tmp_path: Path, name: str, content: str, message: str):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    write(path, content)
    with pytest.raises(DisentangleError, match=message):
        read(path if path.parent == tmp_path else path.parent)


@pytest.mark.parametrize("name", VOCABULARIES)
def test_annif_reads_the_same(tmp_path: Path, name: str):
    pytest.importorskip("annif", reason="Annif is not installed")
    from annif.cli_util import open_doc_path
    from annif.vocab import SubjectIndexFile, VocabFileCSV, VocabFileSKOS, VocabFileTSV

    path = write(tmp_path / name, VOCABULARIES[name])
    readers = {"tsv": lambda it: VocabFileTSV(it, "en"), "csv": VocabFileCSV, "ttl": VocabFileSKOS}
    index = SubjectIndexFile()
    index.load_subjects(readers[path.suffix[1:]](str(path)))
    own = vocabulary.read(path, "en")
    assert own.names == {subject.uri: subject.labels["en"] for _, subject in index.active} == NAMES
    for corpus in corpora(tmp_path):
        documents = open_doc_path(str(corpus), index, "en", require_subjects=True).documents
        theirs = [(one.text.rstrip("\n"), {index[i].uri for i in one.subject_set}) for one in documents]
        ours = [(text, {uri for label in labels if (uri := own.uri(label))}) for text, labels in read(corpus)]
        assert ours == theirs, corpus
