"""The page of meanings: whole, small, the same bytes again, and inert whatever names say."""

from __future__ import annotations

import copy
import json

import pytest
from fake_meanings import fake_meanings
from test_page import check_nothing_else_runs

from disentangle.html import meanings_page


@pytest.fixture(scope="module")
def thousand() -> dict:
    return fake_meanings(1000)


def held(written: str) -> dict:
    """The data of a page."""
    return json.loads(check_nothing_else_runs(written).contents["script"][0])


def test_a_page_of_a_thousand_labels_is_small_and_has_them_all(thousand):
    content = meanings_page.build(thousand).encode()
    assert len(content) <= meanings_page.MOST_BYTES
    assert len(held(content.decode())["labels"]) == 1000
    assert b"Left out to keep the page small" not in content


def test_the_same_meanings_give_the_same_page():
    meanings = fake_meanings(20)
    before = copy.deepcopy(meanings)
    assert meanings_page.build(meanings) == meanings_page.build(before)
    assert meanings == before


def test_what_does_not_fit_are_the_least_ambiguous_and_their_number_is_told(thousand, monkeypatch):
    monkeypatch.setattr(meanings_page, "MOST_BYTES", 500_000)
    turned = thousand | {"labels": thousand["labels"][::-1]}
    written = meanings_page.build(turned)
    ranks = [label["rank"] for label in held(written)["labels"]]
    assert ranks == list(range(1, len(ranks) + 1))
    assert f"Left out to keep the page small: {1000 - len(ranks)} labels that are less ambiguous" in written
    assert f"The {len(ranks)} most ambiguous are listed." in written
    assert 490_000 < len(written.encode()) <= 500_000


def test_the_lead_says_which_labels_are_listed():
    whole = fake_meanings(5)
    told = whole | {"n_labels": 9, "n_with_copies": 9, "n_tested": 0}
    assert "The 5 most ambiguous are listed." in meanings_page.build(told)
    assert "2 of them are listed." in meanings_page.build(told | {"labels": whole["labels"][2:4]})
    assert "listed." not in meanings_page.build(told | {"n_with_copies": 5})


def test_labels_are_told_in_full():
    (label,) = held(meanings_page.build(fake_meanings(1)))["labels"]
    points = label["points"]
    assert len(points["x"]) == len(points["y"]) == len(points["copy"]) == 80
    assert (min(points["x"]), min(points["y"])) >= (0, 0)
    assert max(points["x"] + points["y"]) == 999
    assert len(label["copies"]) == 9
    assert all(len(one["examples"]) == 3 for one in label["copies"])


def test_what_is_not_known_is_left_out():
    meanings = fake_meanings(1)
    meanings["labels"][0] |= {
        "separation": float("nan"),
        "p_value": None,
        "components": None,
        "points": {"x": [], "y": [], "copy": []},
    }
    (label,) = held(meanings_page.build(meanings))["labels"]
    assert not {"separation", "p_value", "components", "points"} & set(label)


def test_points_that_are_one_or_nowhere_are_no_trouble():
    meanings = fake_meanings(1)
    meanings["labels"][0]["points"] = {
        "x": [2.0, 2.0, float("inf")],
        "y": [3.0, 3.0, 1.0],
        "copy": [0, -2, 1],
    }
    (label,) = held(meanings_page.build(meanings))["labels"]
    assert label["points"] == {"x": [0, 0], "y": [0, 0], "copy": [0, -2]}


def test_without_labels_there_is_a_page():
    assert held(meanings_page.build(fake_meanings(1) | {"labels": []}))["labels"] == []


def test_a_label_without_a_name_has_its_number():
    names = [label["name"] for label in held(meanings_page.build(fake_meanings(11)))["labels"]]
    assert names[10] == "label 10"
    assert all(len(name) <= 200 for name in names)


def test_a_name_that_shows_nothing_is_none():
    meanings = fake_meanings(1)
    meanings["labels"][0]["name"] = "\u200b\u00ad"
    (label,) = held(meanings_page.build(meanings))["labels"]
    assert label["name"] == f"label {label['label']}"


def test_a_share_that_is_not_all_is_not_told_as_all():
    meanings = fake_meanings(1)
    copies = meanings["labels"][0]["copies"][:2]
    meanings["labels"][0]["copies"] = [
        one | {"n_instances": n} for one, n in zip(copies, (29_999, 1), strict=True)
    ]
    (label,) = held(meanings_page.build(meanings))["labels"]
    assert [one["share"] for one in label["copies"]] == [0.999967, 0.000033]
