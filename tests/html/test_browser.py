"""Both pages in a browser: axe finds nothing serious, a keyboard is enough, back works."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import Chromium, browsing
from fake_meanings import HOSTILE, fake_meanings
from test_run_page import fake_figures, fake_report, fake_tables

from disentangle.html import meanings_page, page, run_page

AXE = Path(__file__).with_name("node_modules") / "axe-core" / "axe.min.js"
# Of a first view: what takes a browser its time, told on any machine, however busy.
MOST_ELEMENTS = 4000
WIDTHS = (1280, 360)
TAB, ENTER = ("Tab", 9), ("Enter", 13, "\r")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with browsing(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def axe() -> str:
    if not AXE.is_file():
        pytest.skip("no axe-core in tests/html: npm ci --prefix tests/html --ignore-scripts")
    return AXE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    pages = {name: folder / f"{name}.html" for name in ("meanings", "large", "run")}
    page.save(pages["meanings"], meanings_page.build(fake_meanings(150)))
    page.save(pages["large"], meanings_page.build(fake_meanings(1000)))
    page.save(pages["run"], run_page.build(fake_report(), fake_tables(), fake_figures(folder)))
    return pages


def texts(browser: Chromium, selector: str) -> list[str]:
    return browser.run(f"[...document.querySelectorAll({selector!r})].map(e => e.textContent)")


def focused(browser: Chromium) -> str:
    return browser.run("document.activeElement.id || document.activeElement.textContent")


def set_field(browser: Chromium, name: str, value: str) -> None:
    field = f"document.getElementById({name!r})"
    browser.run(
        f"{field}.value = {value!r}; {field}.dispatchEvent(new Event('input', {{bubbles: true}})); null"
    )


def sort_by(browser: Chromium, name: str) -> None:
    event = "new Event('change', {bubbles: true})"
    choice = f"[...document.querySelectorAll('#sort option')].find(o => o.text === {name!r})"
    browser.run(f"{choice}.selected = true; document.getElementById('sort').dispatchEvent({event}); null")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    ("name", "fragment"),
    [
        ("meanings", ""),
        ("meanings", "#label-0"),
        ("meanings", "#label-5"),
        ("meanings", "#label-9999"),
        ("run", ""),
    ],
)
def test_axe_finds_nothing_serious(browser, axe, pages, name, fragment, width, dark):
    browser.look(width, dark)
    browser.open(pages[name], fragment)
    # What is closed is looked at as well.
    browser.run("for (const details of document.querySelectorAll('details')) details.open = true; null")
    browser.run(axe + "; null")
    found = json.loads(
        browser.run("axe.run({resultTypes: ['violations']}).then(r => JSON.stringify(r.violations))")
    )
    serious = {
        one["id"]: [node["html"][:200] for node in one["nodes"]][:5]
        for one in found
        if one["impact"] in ("serious", "critical")
    }
    assert serious == {}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    ("name", "fragment"), [("meanings", ""), ("meanings", "#label-0"), ("meanings", "#label-5"), ("run", "")]
)
def test_a_page_fits_loads_nothing_and_complains_of_nothing(browser, pages, name, fragment, width):
    browser.look(width, dark=False)
    browser.open(pages[name], fragment)
    browser.run("for (const details of document.querySelectorAll('details')) details.open = true; null")
    assert browser.run("document.documentElement.scrollWidth") <= width
    for sort in texts(browser, "#sort option"):
        sort_by(browser, sort)
        assert browser.run("document.documentElement.scrollWidth") <= width, sort
    loaded = [address for address in browser.requests if not address.startswith("data:")]
    assert loaded == [pages[name].as_uri() + fragment] or loaded == [pages[name].as_uri()]
    assert browser.complaints == []


def test_hostile_names_are_shown_as_they_are(browser, pages):
    browser.look(1280, dark=False)
    browser.open(pages["meanings"], "#label-1")
    assert texts(browser, "#view-title") == [HOSTILE]
    assert HOSTILE in texts(browser, ".examples p")
    assert HOSTILE in texts(browser, ".terms li")
    assert browser.run("document.querySelectorAll('img').length") == 0
    browser.open(pages["run"])
    assert HOSTILE in texts(browser, "h1")[0]
    assert browser.complaints == []


@pytest.mark.parametrize("name", ["meanings", "run"])
def test_code_that_is_not_the_page_s_own_does_not_run(browser, pages, name):
    browser.look(1280, dark=False)
    browser.open(pages[name])
    script = "Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'})"
    browser.run(f"document.body.append({script}); null")
    broken = "<img src=data:, onerror='window.ran = 2'>"
    failed = "new Promise(heard => addEventListener('error', () => heard(null), {capture: true, once: true}))"
    browser.run(
        f"{{ const failed = {failed}; document.body.insertAdjacentHTML('beforeend', {broken!r}); failed }}"
    )
    assert browser.run("typeof window.ran") == "undefined"
    assert len([complaint for complaint in browser.complaints if "Content Security Policy" in complaint]) == 2


def test_labels_are_searched_filtered_and_sorted(browser, pages):
    browser.look(1280, dark=False)
    browser.open(pages["meanings"])
    assert texts(browser, "#count") == ["150 labels, the first 100 shown"]
    set_field(browser, "search", "DONAUDAMPF elektrizitaten")
    assert texts(browser, "#count") == ["1 of 150 labels"]
    set_field(browser, "search", "nowhere")
    assert texts(browser, "#count") == ["No label is as chosen. Change the search or the filters."]
    set_field(browser, "search", "")
    browser.run("document.getElementById('significant').click()")
    assert texts(browser, "#count") == ["50 of 150 labels"]
    browser.run("document.getElementById('known').click()")
    assert texts(browser, "#count") == ["20 of 150 labels"]
    set_field(browser, "least", "1000")
    shown = [int(n.replace(",", "")) for n in texts(browser, "td.instances-column")]
    assert shown
    assert min(shown) >= 1000
    browser.open(pages["meanings"])
    browser.run("document.querySelector('.instances-column button').click()")
    down = [int(n.replace(",", "")) for n in texts(browser, "td.instances-column")]
    assert down == sorted(down, reverse=True)
    browser.run("document.querySelector('.instances-column button').click()")
    up = [int(n.replace(",", "")) for n in texts(browser, "td.instances-column")]
    assert up == sorted(up)
    assert up[0] <= down[-1]
    assert browser.run("document.querySelector('[aria-sort]').getAttribute('aria-sort')") == "ascending"
    assert focused(browser) != ""
    sort_by(browser, "separation")
    values = texts(browser, "td.separation-column")
    known = [float(value.replace("−", "-")) for value in values if value != "–"]
    assert known == sorted(known, reverse=True)


def test_back_leads_to_the_list_where_it_was_left(browser, pages):
    browser.look(1280, dark=False)
    browser.open(pages["meanings"])
    browser.run("document.getElementById('more').click()")
    assert texts(browser, "#count") == ["150 labels"]
    link = "document.querySelector('a[href=\"#label-120\"]')"
    browser.run(f"{link}.scrollIntoView()")
    place = browser.run("scrollY")
    browser.follow(f"{link}.click()")
    assert browser.run("location.hash") == "#label-120"
    assert texts(browser, "#view-title") == [
        focused_text := browser.run("document.activeElement.textContent")
    ]
    assert focused_text in browser.run("document.title")
    assert browser.run("document.getElementById('overview').hidden")
    browser.follow("history.back()")
    assert browser.run("document.getElementById('view').hidden")
    assert browser.run("document.activeElement.getAttribute('href')") == "#label-120"
    assert (browser.run("scrollY"), texts(browser, "#count")) == (place, ["150 labels"])
    browser.follow("history.forward()")
    assert texts(browser, "#view-title") == [focused_text]


def test_a_keyboard_is_enough(browser, pages):
    browser.look(1280, dark=False)
    browser.open(pages["meanings"])
    order = []
    for _ in range(13):
        browser.press(*TAB)
        order.append(focused(browser))
        assert browser.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert order == [
        *(
            "Skip to the content",
            "Meanings of labels",
            "theme",
            "search",
            "sort",
            "least",
            "significant",
            "known",
        ),
        *("Label", "Ambiguity", "Copies", "Instances", "Separation"),
    ]
    browser.press(*ENTER)
    assert focused(browser) == "Separation"
    browser.press(*TAB)
    first = focused(browser)
    browser.press(*TAB)
    browser.press("Tab", 9, shift=True)
    changed = "new Promise(heard => addEventListener('hashchange', () => heard(null), {once: true}))"
    browser.run(f"window.heard = {changed}; null")
    browser.press(*ENTER)
    browser.run("heard")
    assert texts(browser, "#view-title") == [first]
    assert focused(browser) == "view-title"


def test_a_picture_says_of_how_many_instances_it_shows_some(browser, pages):
    # The report itself holds no more than a thousand of them.
    labels = fake_meanings(150)["labels"]
    label = max(labels, key=lambda one: one["n_instances"])
    browser.look(1280, dark=False)
    browser.open(pages["meanings"], f"#label-{label['label']}")
    (said,) = [text for text in texts(browser, "#view p") if text.startswith("The picture shows")]
    assert f" of its {label['n_instances']:,} instances. " in said


def test_the_skip_link_keeps_the_view(browser, pages):
    browser.look(1280, dark=False)
    browser.open(pages["meanings"], "#label-3")
    browser.press(*TAB)
    browser.press(*ENTER)
    assert (focused(browser), browser.run("location.hash")) == ("main", "#label-3")


def test_after_show_more_the_reader_is_at_the_first_new_label(browser, pages):
    browser.look(1280, dark=False)
    browser.open(pages["meanings"])
    browser.run("document.getElementById('more').focus(); null")
    browser.press(*ENTER)
    assert browser.run("document.activeElement.getAttribute('href')") == "#label-100"
    assert browser.run("document.getElementById('more').hidden")


@pytest.mark.parametrize("name", ["meanings", "run"])
def test_the_button_turns_the_theme(browser, pages, name):
    colour = "getComputedStyle(document.body).backgroundColor"
    seen = []
    for dark in (False, True):
        browser.look(1280, dark)
        browser.open(pages[name])
        for pressed in (dark, not dark):
            assert (
                browser.run("document.getElementById('theme').getAttribute('aria-pressed')")
                == str(pressed).lower()
            )
            seen.append(browser.run(colour))
            browser.run("document.getElementById('theme').click()")
    assert seen == [seen[0], seen[1], seen[1], seen[0]]
    assert seen[0] != seen[1]


def test_all_that_the_picture_shows_is_in_its_table(browser, pages):
    browser.look(1280, dark=False)
    browser.open(pages["meanings"], "#label-0")
    drawn = browser.run("document.querySelectorAll('.picture path').length")
    assert sum(map(int, texts(browser, ".key tbody td:nth-child(3)"))) == drawn == 80
    looks = browser.run(
        "[...document.querySelectorAll('.key .mark')].map(m => m.getAttribute('class') + m.getAttribute('d'))"
    )
    assert len(set(looks)) == len(looks) == 11


def test_a_thousand_labels_are_soon_there(browser, pages):
    browser.look(1280, dark=False)
    browser.open(pages["large"])
    assert texts(browser, "#count") == ["1,000 labels, the first 100 shown"]
    assert browser.run("document.querySelectorAll('*').length") <= MOST_ELEMENTS
    assert browser.run("performance.getEntriesByName('first-contentful-paint').length") == 1
