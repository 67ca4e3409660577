"""A page holds what it is given and nothing else runs in it, whatever texts say; colours stand out."""

from __future__ import annotations

import html.parser
import json
import re

import pytest
from conftest import ROOT
from fake_meanings import HOSTILE

from disentangle.errors import DisentangleError
from disentangle.html import page

STATIC = sorted((ROOT / "src/disentangle/html/static").iterdir())
CODE = [path for path in STATIC if path.suffix != ".html"]
STYLE = "".join(path.read_text(encoding="utf-8") for path in STATIC if path.suffix == ".css")


class Elements(html.parser.HTMLParser):
    """The elements of a page, each with its attributes and, if it is a script or a style, its content."""

    def __init__(self, written: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.contents: dict[str, list[str]] = {"script": [], "style": []}
        self.feed(written)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag in self.contents:
            self.contents[tag].append("")

    def handle_data(self, data):
        if self.cdata_elem:
            self.contents[self.cdata_elem][-1] += data


def check_nothing_else_runs(written: str) -> Elements:
    """That a page is allowed its own style and script only, and asks for no other file."""
    elements = Elements(written)
    policy = next(
        attributes["content"]
        for tag, attributes in elements.found
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    )
    *islands, script = elements.contents["script"]
    for island in islands:
        json.loads(island)
    (style,) = elements.contents["style"]
    assert policy == (
        f"default-src 'none'; script-src '{page.digest(script)}'; style-src '{page.digest(style)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    for tag, attributes in elements.found:
        assert tag not in ("link", "iframe", "object", "embed", "base")
        assert not any(name.startswith("on") or name in ("style", "srcset") for name in attributes), (
            attributes
        )
        assert (attributes.get("src") or "data:").startswith("data:")
        assert (attributes.get("href") or "#").startswith("#")
    return elements


def test_a_page_is_allowed_its_own_code_only():
    island = page.island({"name": HOSTILE})
    written = page.document(HOSTILE, f"<p>{page.text(HOSTILE)}</p>", ["page.css"], ["theme.js"], island)
    elements = check_nothing_else_runs(written)
    assert [tag for tag, _ in elements.found] == [
        *(
            "html",
            "head",
            "meta",
            "meta",
            "meta",
            "meta",
            "meta",
            "title",
            "style",
            "body",
            "p",
            "script",
            "script",
        )
    ]
    assert json.loads(elements.contents["script"][0]) == {"name": HOSTILE}


@pytest.mark.parametrize("words", [HOSTILE, "<!--", "]]>", "\u2028", "<script", "</SCRIPT >"])
def test_nothing_in_an_island_ends_it(words):
    written = page.island([words])
    assert "<" not in written
    assert json.loads(written) == [words]


def test_an_island_has_no_number_that_json_has_not():
    with pytest.raises(ValueError, match="JSON"):
        page.island(float("nan"))


def test_what_no_page_can_hold_is_replaced():
    words = page.text("a\x00b\ud800c\x1bd\n<&\"'>")
    assert words == "a�b�c�d\n&lt;&amp;&quot;&#x27;&gt;"
    words.encode()


def test_a_text_is_shortened_with_dots():
    assert [page.shortened(words, 5) for words in ("fives", "sixes!", "abc def")] == [
        "fives",
        "sixe…",
        "abc…",
    ]


@pytest.mark.parametrize("path", CODE, ids=lambda path: path.name)
def test_static_files_only_ever_show_texts_as_texts(path):
    content = path.read_text(encoding="utf-8")
    for risky in (
        "</",
        "<!--",
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "Function(",
    ):
        assert risky not in content
    for outside in ("@import", "url(", "fetch(", "import(", "localStorage", "sessionStorage", "cookie"):
        # A server's page asks its server, and its policy lets it ask no other.
        assert outside not in content or (path.name, outside) == ("serve.js", "fetch(")
    addresses = re.findall(r"\w+://[^\s\"']*", content)
    assert set(addresses) <= {"http://www.w3.org/2000/svg"}


def colours(name: str) -> list[str]:
    """A colour of the style, as both themes have it: light, dark."""
    return re.search(rf"--{name}: light-dark\((#\w+), (#\w+)\)", STYLE).groups()


def brightness(colour: str) -> float:
    """WCAG 2's relative luminance."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    low, high = sorted((brightness(one), brightness(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("below", ["paper", "card", "tint"])
@pytest.mark.parametrize("name", ["ink", "quiet", "link"])
def test_texts_stand_out(name, below):
    for one, other in zip(colours(name), colours(below), strict=True):
        assert contrast(one, other) >= 4.5


@pytest.mark.parametrize("below", ["paper", "card"])
@pytest.mark.parametrize("name", ["edge", "focus", "part", *(f"copy-{i}" for i in range(8))])
def test_marks_and_edges_stand_out(name, below):
    for one, other in zip(colours(name), colours(below), strict=True):
        assert contrast(one, other) >= 3


def test_a_page_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("before")
    with pytest.raises(UnicodeEncodeError):
        page.save(path, "half a character: \ud800")
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"page.html": "before"}


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(DisentangleError, match=r"cannot write .*: No such file or directory"):
        page.save(tmp_path / "none" / "page.html", "")
