"""Vocabularies: URIs and names of labels, and what may not be in one."""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path

import pytest

from disentangle.data import vocabulary
from disentangle.errors import DisentangleError

needs_rdflib = pytest.mark.skipif(
    find_spec("rdflib") is None, reason="rdflib is not installed: requirements-skos.txt"
)
PREFIXES = "@prefix skos: <http://www.w3.org/2004/02/skos/core#> .\n@prefix : <http://x/> .\n"
XML = """<?xml version="1.0"?>
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
    xmlns:skos="http://www.w3.org/2004/02/skos/core#">
<skos:Concept rdf:about="http://x/1">
<skos:prefLabel xml:lang="en">one</skos:prefLabel></skos:Concept></rdf:RDF>
"""
SKOS = "http://www.w3.org/2004/02/skos/core#"
NT = (
    f"<http://x/1> <http://www.w3.org/1999/02/22-rdf-syntax-ns#type> <{SKOS}Concept> .\n"
    f'<http://x/1> <{SKOS}prefLabel> "one" .\n'
)


def read(folder: Path, name: str, content: str | bytes, language: str | None = None) -> dict[str, str]:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return vocabulary.read(path, language).names


def test_names_and_uris_are_as_they_came(tmp_path: Path):
    content = "<http://x/ä b>\tSpaced  name \n<urn:x:2>\t<not a uri>\t1\t2\n"
    assert read(tmp_path, "v.tsv", content) == {"http://x/ä b": "Spaced  name", "urn:x:2": "<not a uri>"}


def test_a_language_is_chosen_where_there_are_several(tmp_path: Path):
    content = "uri,label_en,label_fr\nu:1,one,un\nu:2,,deux\nu:3,,\n"
    assert read(tmp_path, "v.csv", content, "fr") == {"u:1": "un", "u:2": "deux"}
    # Without a name in the language the URI is one; without any the subject is deprecated.
    assert read(tmp_path, "v.csv", content, "en") == {"u:1": "one", "u:2": "u:2"}
    with pytest.raises(
        DisentangleError, match=r"--language must say which names to take of .*: it has en, fr"
    ):
        read(tmp_path, "v.csv", content)
    with pytest.raises(DisentangleError, match=r"--language must be one of .*: en, fr, got 'de'"):
        read(tmp_path, "v.csv", content, "de")


def test_names_with_and_without_a_language_of_one_subject_are_to_choose_from(tmp_path: Path):
    content = "uri,label_,label_fr\nu:1,cats,chats\nu:2,dogs,\n"
    with pytest.raises(DisentangleError, match="it has fr, and '' for names without a language"):
        read(tmp_path, "v.csv", content)
    assert read(tmp_path, "v.csv", content, "") == {"u:1": "cats", "u:2": "dogs"}
    assert read(tmp_path, "v.csv", content, "fr") == {"u:1": "chats", "u:2": "dogs"}


def test_tags_of_languages_have_no_case(tmp_path: Path):
    content = "uri,label_en,label_EN-gb,label_DE\nu:1,one,,eins\n"
    assert read(tmp_path, "v.csv", content, "EN") == {"u:1": "one"}
    assert read(tmp_path, "v.csv", content, "de") == {"u:1": "eins"}


def test_empty_rows_are_none_and_a_row_without_a_uri_is_told(tmp_path: Path):
    assert read(tmp_path, "v.csv", "uri,label_en\n,\nu:1,one\n,\n,\n") == {"u:1": "one"}
    assert read(tmp_path, "v.tsv", "<u:1>\tone\n\t\n \n") == {"u:1": "one"}
    with pytest.raises(DisentangleError, match="line 2: expected a URI and a name of a line each, found"):
        read(tmp_path, "v.tsv", "<u:1>\tone\n\ttwo\tA1\n")


def test_skos_of_another_form_is_told(tmp_path: Path):
    with pytest.raises(DisentangleError, match=r"must be SKOS that ends in \.ttl, \.rdf, .*, or CSV or TSV"):
        read(tmp_path, "v.jsonld.gz", gzip.compress(b"{}"))


def test_labels_are_found_by_uri_and_by_name(tmp_path: Path):
    (tmp_path / "v.tsv").write_text("<u:1>\tapple\n<u:2>\tapple\n<u:3>\tpear\n")
    found = vocabulary.read(tmp_path / "v.tsv")
    assert [found.uri(label) for label in ("u:1", "u:2", "pear", "plum")] == ["u:1", "u:2", "u:3", None]
    assert [found.uri(label) for label in ("<u:1>", " u:2\t", "<pear>")] == ["u:1", "u:2", None]
    with pytest.raises(DisentangleError, match="found 'apple', which is u:1 and u:2"):
        found.uri("apple")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("v.tsv", "<u:1> \tcat\n<u:2>\t dog\n"),
        ("v.csv", "uri,label_en\nu:1 ,cat \n<u:2>, dog\n"),
    ],
)
def test_blanks_around_a_uri_or_a_name_hide_no_label(tmp_path: Path, name: str, content: str):
    (tmp_path / name).write_text(content)
    found = vocabulary.read(tmp_path / name)
    assert found.names == {"u:1": "cat", "u:2": "dog"}
    labels = "u:1", "u:2", "cat", "dog", "cat ", " dog"
    assert [found.uri(label) for label in labels] == ["u:1", "u:2"] * 3


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("v.tsv", "<u:1>\ta\n<u:1>\tb\n", "v.tsv, line 2: expected each URI once, found 'u:1' again"),
        ("v.tsv", "<>\ta\n", "v.tsv, line 1: expected a URI and a name of a line each, found ''"),
        ("v.csv", 'uri,label_en\nu:1,"a\nb"\n', "v.csv, line 3: expected a URI and a name of a line each"),
        ("v.csv", "url,label_en\nu:1,a\n", "line 1: expected a column 'uri', found 'url, label_en'"),
        ("v.csv", "uri,label_en\nu:1\n", "line 2: expected 2 cells, as the first row has, found '1'"),
        ("v.tsv", b"\xff", "line 1: expected UTF-8"),
        (
            "v.tsv",
            gzip.compress(b"".join(b"<u:%d>\ta\n" % i for i in range(999)))[:-9],
            "must be packed by gzip, found it damaged",
        ),
    ],
)
def test_what_is_no_vocabulary_is_one_sentence(tmp_path: Path, name: str, content: str | bytes, message: str):
    with pytest.raises(DisentangleError, match=message):
        read(tmp_path, name, content)


@pytest.mark.parametrize(
    ("name", "content"),
    [("v.tsv", ""), ("v.tsv", "<u:1>\n<u:2>\n"), ("v.csv", "uri,prefLabel\nu:1,one\n")],
)
def test_a_vocabulary_without_names_is_told(tmp_path: Path, name: str, content: str):
    with pytest.raises(DisentangleError, match=r"v\..* must have subjects with names: .*, found none"):
        read(tmp_path, name, content)


@needs_rdflib
@pytest.mark.parametrize(
    ("name", "content"),
    [("v.rdf", XML), ("v.nt", NT), ("v.nt.gz", gzip.compress(NT.encode())), ("v.nt", f"\ufeff{NT}")],
)
def test_skos_in_other_dress(tmp_path: Path, name: str, content: str | bytes):
    assert read(tmp_path, name, content) == {"http://x/1": "one"}


@needs_rdflib
def test_names_of_skos(tmp_path: Path):
    content = PREFIXES + (
        ':1 a skos:Concept ; skos:prefLabel "b"@en, "a"@en, "un"@fr .\n'
        ':2 a skos:Concept ; skos:prefLabel "plain", "deux"@fr .\n'
        ":3 a skos:Concept .\n"
        ':4 a skos:Concept ; skos:prefLabel ""@en, "d"@en .\n'
        ':5 a skos:Concept ; skos:prefLabel ""@en .\n'
        '[] a skos:Concept ; skos:prefLabel "nowhere"@en .\n'
    )
    assert read(tmp_path, "v.ttl", content, "en") == {
        "http://x/1": "a",
        "http://x/2": "plain",
        "http://x/3": "http://x/3",
        "http://x/4": "d",
        "http://x/5": "http://x/5",
    }


@needs_rdflib
def test_other_names_of_skos_are_those_of_concepts_without_preferred_ones(tmp_path: Path):
    rdfs = "@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .\n"
    content = rdfs + PREFIXES + ':1 a skos:Concept ; skos:prefLabel "Cats" ; rdfs:label "Felis catus"@la .\n'
    assert read(tmp_path, "v.ttl", content) == {"http://x/1": "Cats"}
    content += ':2 a skos:Concept ; rdfs:label "Canis"@LA .\n'
    assert read(tmp_path, "v.ttl", content, "la") == {"http://x/1": "Cats", "http://x/2": "Canis"}


@needs_rdflib
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("v.ttl", "no turtle"),
        ("v.ttl", PREFIXES + ":1 a skos:Concept ; skos:prefLabel " + "[ :a " * 5000),
        ("v.rdf", XML[:-20]),
        ("v.nt", "<a> <b>\n"),
        ("v.nt", b"\xff\xfe"),
    ],
    ids=["words", "deep", "cut off", "no triple", "no text"],
)
def test_what_is_no_skos_is_one_sentence(tmp_path: Path, name: str, content: str | bytes):
    with pytest.raises(DisentangleError, match=r"v[.].* must be SKOS as (turtle|xml|nt), found ") as error:
        read(tmp_path, name, content)
    assert "\n" not in str(error.value)


def test_names_in_other_languages_may_have_line_ends(tmp_path: Path):
    content = 'uri,label_en,label_fr\nu:1,one,"un\net un"\n'
    assert read(tmp_path, "v.csv", content, "en") == {"u:1": "one"}


@needs_rdflib
def test_a_uri_is_never_made_of_the_folder_that_the_command_is_run_in(tmp_path: Path):
    content = PREFIXES + '<#apple> a skos:Concept ; skos:prefLabel "apple" .\n'
    with pytest.raises(DisentangleError, match=r"v[.]ttl must have absolute URIs, or a base for them, found"):
        read(tmp_path, "v.ttl", content)
    assert read(tmp_path, "v.ttl", f"@base <http://x/> .\n{content}") == {"http://x/#apple": "apple"}


@needs_rdflib
def test_skos_in_xml_reaches_for_no_other_file(tmp_path: Path):
    (tmp_path / "secret").write_text("secret")
    entity = f'<!DOCTYPE x [<!ENTITY e SYSTEM "file://{tmp_path}/secret">]>\n<rdf:RDF'
    content = XML.replace("<rdf:RDF", entity, 1).replace("one", "one&e;")
    try:
        found = str(read(tmp_path, "v.rdf", content))
    except DisentangleError as error:
        found = str(error)
    assert "'secret" not in found
    assert "onesecret" not in found


def test_skos_without_rdflib_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(vocabulary, "find_spec", lambda name: None)
    with pytest.raises(
        DisentangleError,
        match=r"needs the package rdflib, .*: python -m pip install -r requirements-skos.txt",
    ):
        read(tmp_path, "v.ttl", PREFIXES)
