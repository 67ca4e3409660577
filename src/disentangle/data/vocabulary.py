"""Vocabularies of subjects as Annif takes them: URIs and names of labels, from TSV, CSV or SKOS."""

from __future__ import annotations

import io
import logging
import re
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import Any

from ..errors import DisentangleError, excerpt
from . import packed
from .formats.annif import plain_uri
from .formats.tables import BLANKS, read_rows
from .lines import read_lines

# Of rdflib, by the ending of a file; none of them reaches for other files.
_SKOS = {".ttl": "turtle", ".rdf": "xml", ".xml": "xml", ".owl": "xml", ".nt": "nt"}
# SKOS, too, which would be taken for lines of URIs.
_OTHER_SKOS = (".jsonld", ".json", ".n3", ".nq", ".trig")
_MOST_BYTES = 1 << 30
# Names of a subject: by the tag of their language.
Names = dict[str, str]
# Where a subject stands, its URI, its names.
Subject = tuple[str, str, Names]
_NO_LINE = re.compile("[\n\r\ud800-\udfff]")


@dataclass(frozen=True)
class Vocabulary:
    """What labels are called.

    Attributes
    ----------
    path : Path
    names : dict of str to str
        Of each URI.
    as_written : callable
        What a name is in the files whose labels are asked for.
    """

    path: Path
    names: dict[str, str]
    as_written: Callable[[str], str] = str

    @cached_property
    def _uris(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for uri, name in self.names.items():
            found.setdefault(self.as_written(name), []).append(uri)
        return found

    def uri(self, label: str) -> str | None:
        """The URI of a label that is given by its URI or its name; None if it is not there.

        Raises
        ------
        DisentangleError
            If several have the name.
        """
        stripped = label.strip(BLANKS)
        if (uri := plain_uri(stripped)) in self.names:
            return uri
        uris = self._uris.get(stripped, [])
        if len(uris) > 1:
            raise DisentangleError(
                f"a label must be given by its URI where {self.path} has its name several times, found "
                f"{label!r}, which is {uris[0]} and {uris[1]}"
            )
        return uris[0] if uris else None


def read(path: Path, language: str | None = None) -> Vocabulary:
    """Read a vocabulary: by its ending SKOS, CSV or else TSV, packed or not.

    A subject without a name in the language has that without a language, or its URI for a name. Those
    that are deprecated, in TSV and CSV those without any name, are none. Blanks around a name are no part of
    it.

    Parameters
    ----------
    path : Path
    language : str, optional
        Tag of the language of the names, in capitals or not, empty for names without one; it must be given
        where there are several.

    Raises
    ------
    DisentangleError
        As `read_lines`; if the file is not of its format, a URI is there twice or missing, a name has line
        ends, or there are several languages or only others; if SKOS is to be read, and rdflib is not
        installed.
    """
    packings = (".gz", ".bz2", ".xz")
    ending = PurePath(path.stem if path.suffix.lower() in packings else path.name).suffix.lower()
    if ending in _OTHER_SKOS:
        raise DisentangleError(f"{path} must be SKOS that ends in {', '.join(_SKOS)}, or CSV or TSV")
    if ending in _SKOS:
        subjects = _from_skos(path, _SKOS[ending])
    else:
        subjects = _from_csv(path) if ending == ".csv" else _from_tsv(path)
    found: dict[str, Names] = {}
    places: dict[str, str] = {}
    for place, uri, names in subjects:
        own: Names = {}
        for tag, name in names.items():
            if name.strip(BLANKS):
                own.setdefault(tag.lower(), name.strip(BLANKS))
        if not uri and not own:  # an empty row
            continue
        if uri and uri in found:
            raise DisentangleError(f"{place}: expected each URI once, found {uri!r} again")
        found[uri], places[uri] = own, place
    chosen = _chosen(path, found, None if language is None else language.lower())
    taken = {uri: names.get(chosen, names.get("", uri)) for uri, names in found.items() if names}
    if not taken:
        expected = (
            "subjects with names: SKOS concepts, a CSV column label_LANGUAGE, or lines of URI, tab, name"
        )
        raise DisentangleError(f"{path} must have {expected}, found none")
    for uri, name in taken.items():
        if not uri or _NO_LINE.search(uri + name):
            found_here = excerpt(f"{uri!r} with {name!r}")
            raise DisentangleError(
                f"{places[uri]}: expected a URI and a name of a line each, found {found_here}"
            )
    return Vocabulary(path, taken)


def _chosen(path: Path, subjects: dict[str, Names], language: str | None) -> str:
    tags = {tag for names in subjects.values() for tag in names}
    languages = sorted(tags - {""})
    if not languages:
        return ""
    # A subject that has a name without a language besides is named in two.
    has_both = any("" in names and len(names) > 1 for names in subjects.values())
    said = ", ".join(languages) + (", and '' for names without a language" if has_both else "")
    if language is None and (has_both or len(languages) > 1):
        raise DisentangleError(f"--language must say which names to take of {path}: it has {said}")
    if language is not None and language not in tags:
        raise DisentangleError(f"--language must be one of {path}: {said}, got {language!r}")
    return languages[0] if language is None else language


def _from_tsv(path: Path) -> Iterator[Subject]:
    """Of lines `<URI>`, tab, name; a notation may follow."""
    for line in read_lines(path):
        uri, *more = line.text.split("\t")
        yield f"{path}, line {line.number}", plain_uri(uri.strip(BLANKS)), {"": "".join(more[:1])}


def _from_csv(path: Path) -> Iterator[Subject]:
    """Of a column `uri`, and columns `label_en` and the like."""
    for line, cells in read_rows(path, ("uri",)):
        names = {column[6:]: name for column, name in cells.items() if column.startswith("label_")}
        yield f"{path}, line {line.number}", plain_uri(cells["uri"].strip(BLANKS)), names


def _from_skos(path: Path, form: str) -> Iterator[Subject]:
    if find_spec("rdflib") is None:
        raise DisentangleError(
            f"a vocabulary in SKOS needs the package rdflib, which is not installed, got {path}: "
            "python -m pip install -r requirements-skos.txt"
        )
    from rdflib import Graph, Literal, URIRef
    from rdflib.namespace import OWL, RDF, RDFS, SKOS

    logging.getLogger("rdflib").setLevel(logging.ERROR)
    graph = Graph()
    try:
        graph.parse(io.BytesIO(_content(path)), format=form)
    except (DisentangleError, MemoryError):
        raise
    except Exception as error:  # whatever a parser has against what somebody wrote
        raise DisentangleError(f"{path} must be SKOS as {form}, found {excerpt(str(error))}") from None
    for concept in sorted(set(graph.subjects(RDF.type, SKOS.Concept)), key=str):
        if not isinstance(concept, URIRef) or (concept, OWL.deprecated, Literal(True)) in graph:
            continue
        # A relative one would be another wherever the command is run.
        if str(concept).startswith("file:"):
            found = excerpt(str(concept))
            raise DisentangleError(f"{path} must have absolute URIs, or a base for them, found {found!r}")
        names: Names = {}
        for kind in (SKOS.prefLabel, RDFS.label):
            # Of several in a language the first in the alphabet, whatever the order of a graph.
            for label in sorted(filter(str, graph.objects(concept, kind)), key=str):
                names.setdefault(getattr(label, "language", None) or "", str(label))
            if names:
                break
        # Where it has no name at all its URI is one.
        yield str(path), str(concept), names or {"": str(concept)}


def _content(path: Path) -> bytes:
    with packed.opened(path, "a vocabulary") as (file, most):
        content: Any = file.read(min(most, _MOST_BYTES) + 1)
    packed.check_size(path, len(content), most)
    if len(content) > _MOST_BYTES:
        raise DisentangleError(f"{path} must have at most {_MOST_BYTES:,} bytes, found more")
    return bytes(content).removeprefix(BOM_UTF8)
