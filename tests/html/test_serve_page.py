"""The page of a server in a browser: a text in, labels with scores out, and nothing asked of anybody else."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import pytest
from chromium import Chromium, browsing
from serving import Server, serving
from test_browser import AXE

import disentangle
from disentangle.html import serve_page

TEXTS = ["a sweet fruit", "a sour fruit", "a fast animal", "a slow animal", "a fruit that an animal eats"] * 6
HOSTILE = "<img src=x onerror=alert(1)>"
TAGS = [["fruit", HOSTILE], ["fruit"], ["animal"], ["animal"], ["fruit", "animal"]] * 6
ASKED = "document.getElementById('status').textContent"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if importlib.util.find_spec("uvicorn") is None:
        pytest.skip("no uvicorn: python -m pip install -r requirements-serve.txt")
    folder = tmp_path_factory.mktemp("served") / "a b ü"
    disentangle.LabelTreeClassifier(max_leaf_size=2, nr_splits=2).fit(TEXTS, TAGS).save(folder)
    with serving(folder) as server:
        yield server


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with browsing(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


def until(browser: Chromium, condition: str) -> None:
    """Wait in the page until what it shows makes this true."""
    browser.run(
        f"new Promise(done => {{ const look = () => ({condition}) && done(null); "
        "const every = {subtree: true, childList: true, characterData: true}; "
        "new MutationObserver(look).observe(document, every); look(); })"
    )


def suggest(browser: Chromium, server: Server, text: str) -> list[list[str]]:
    """What the page shows for a text, row by row."""
    browser.visit(f"{server.url}/")
    until(browser, "document.querySelector('#project option')")
    browser.run(
        f"document.getElementById('text').value = {text!r}; document.getElementById('text').focus(); null"
    )
    browser.run("document.querySelector('#ask button').click()")
    until(browser, f"{ASKED} && !{ASKED}.startsWith('Asking')")
    return browser.run(
        "[...document.querySelectorAll('#found tbody tr')].map(r => [...r.cells].map(c => c.textContent))"
    )


def test_a_text_gets_labels_with_scores(browser: Chromium, server: Server):
    rows = suggest(browser, server, "a sweet fruit")
    assert {row[0] for row in rows} == {"fruit", "animal", HOSTILE}
    scores = [float(row[1]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0
    assert browser.complaints == []
    assert {request for request in browser.requests if not request.startswith((server.url, "data:"))} == set()


def test_a_text_without_a_known_word_says_so(browser: Chromium, server: Server):
    assert suggest(browser, server, "xyzzy") == []
    assert browser.run(ASKED) == "No label: the model knows no word of this text."


def test_a_refusal_is_shown(browser: Chromium, server: Server):
    browser.visit(f"{server.url}/")
    until(browser, "document.querySelector('#project option')")
    browser.run("document.querySelector('#project option').value = 'other'; null")
    browser.run("document.getElementById('text').value = 'x'; document.querySelector('#ask button').click()")
    until(browser, f"{ASKED}.startsWith('There')")
    assert browser.run(ASKED) == "There is no answer: no such project: other."


@pytest.mark.parametrize("width", [1280, 360])
def test_axe_finds_nothing(browser: Chromium, server: Server, width: int):
    if not AXE.is_file():
        pytest.skip("no axe-core in tests/html: npm ci --prefix tests/html --ignore-scripts")
    browser.look(width, dark=False)
    suggest(browser, server, "a sweet fruit")
    browser.run(AXE.read_text(encoding="utf-8") + "; null")
    found = browser.run("axe.run().then(said => said.violations.map(one => one.id))")
    assert found == []
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")


def test_the_page_has_no_code_of_its_own():
    page = serve_page.files()["/"][0].decode()
    assert page.count("<script") == 1
    assert '<script src="/serve.js" defer></script>' in page
    assert all(word not in page for word in ("<style", "style=", " on", "://"))
