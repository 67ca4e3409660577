"""The page of a run: its tables, figures and facts, and nothing in them runs."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from fake_meanings import HOSTILE
from test_page import check_nothing_else_runs

from disentangle.errors import DisentangleError
from disentangle.html import run_page

SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 4">'
    "<script>alert(1)</script><image href='http://127.0.0.1:9/'/></svg>"
)


def fake_report() -> dict[str, Any]:
    """A report as a base job writes it, with a hostile name wherever a name may be."""
    run = {"method": "xr-linear", "variant": None, "n_trees": 1, "peak_rss_mib": 393}
    return {
        "job": "base",
        "dataset": HOSTILE,
        "params": {"nr_splits": 32, "propensity": {"A": 0.55, "B": 1.5}, "bins": [{"level": 2, "size": 4}]},
        "dataset_settings": {},
        "seed": 0,
        "versions": {"disentangle": "0.13.0", "python": HOSTILE},
        "machine": {"system": "Linux x86_64", "memory_gib": 23.5},
        "data": {"X_trn": "78d046" * 10},
        "sizes": {
            "n_train_instances": 76255,
            "costs": {"nnz": 3},
            "notes": [HOSTILE, "labels without any: 269"],
        },
        "runs": [
            run | {"seconds": {"load": 0.342, "train": 1234.5}},
            run | {"variant": "paper", "seconds": {"load": 0.342, "match": 1.8}, "n_trees": 3},
        ],
    }


def fake_tables() -> list[dict[str, Any]]:
    rows = [["XR-Linear", 62.24, 834, HOSTILE], [HOSTILE, "+1.2", "x 4.27", None]]
    return [
        {"title": HOSTILE, "columns": ["method", "P@1", "labels", "words"], "rows": rows, "notes": [HOSTILE]}
    ]


def fake_figures(folder: Path) -> list[Path]:
    (folder / "frontier.svg").write_text(SVG)
    (folder / "frontier.csv").write_text(f'setting,P@1\n"{HOSTILE.replace(chr(34), "")}",62.2\n')
    (folder / "other.svg").write_text(SVG)
    return [folder / "frontier.svg", folder / "other.svg"]


def test_a_page_has_all_of_it_and_nothing_in_it_runs(tmp_path):
    written = run_page.build(fake_report(), fake_tables(), fake_figures(tmp_path))
    elements = check_nothing_else_runs(written)
    images = [attributes for tag, attributes in elements.found if tag == "img"]
    assert [image["src"] for image in images] == [
        "data:image/svg+xml;base64," + base64.b64encode(SVG.encode()).decode()
    ] * 2
    assert [image["alt"] for image in images] == [
        "Quality against cost, a numbered point for each setting. The table of its numbers follows.",
        "Figure.",
    ]
    for part in (
        "76,255",
        "1,234.5",
        "0.55",
        "23.5",
        "level 2 size 4",
        "paper, 3 trees",
        "labels without any: 269",
    ):
        assert part in written, part
    assert "nnz" not in written


def test_columns_of_numbers_are_aligned_right_and_others_are_not(tmp_path):
    written = run_page.build(fake_report(), fake_tables(), [])
    for head in ('<th scope="col">method', '<th scope="col" class="number">P@1', '<th scope="col">words'):
        assert head in written


def test_the_same_run_gives_the_same_page(tmp_path):
    figures = fake_figures(tmp_path)
    one, other = (run_page.build(fake_report(), fake_tables(), figures) for _ in range(2))
    assert one == other


def test_a_run_that_says_little_has_a_page():
    written = run_page.build({"job": "metric", "dataset": "verbs"}, [], [])
    check_nothing_else_runs(written)
    assert "<h2" not in written


def test_a_figure_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(DisentangleError, match="cannot read"):
        run_page.build(fake_report(), [], [tmp_path / "none.svg"])


def test_seeds_are_told_apart(tmp_path):
    report = fake_report()
    runs = [report["runs"][1] | {"settings": {"seed": seed}} for seed in (0, 1)]
    (tmp_path / "seed-1").mkdir()
    figures = [tmp_path / "frontier.svg", tmp_path / "seed-1" / "frontier.svg"]
    for figure in figures:
        figure.write_text(SVG)
    page = run_page.build(report | {"runs": runs}, [], figures)
    assert page.count("paper, 3 trees, seed 1") == 1
    assert page.count("(frontier, seed-1)") == page.count("(frontier)") > 0


def test_parts_have_all_their_digits_and_are_told_of_a_metric_of_several_seeds():
    whole = {"job": "metric", "dataset": "verbs", "variant": "paper", "overlap": {"cost": 1.0042}}
    page = run_page.build(whole | {"runs": [{"seed": 0}, {"seed": 1}]}, [], [])
    assert "Ways to overlap" in page
    assert ">1.0042<" in page
