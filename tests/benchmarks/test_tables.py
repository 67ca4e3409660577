"""The tables of the README and the pages that it links are what the results say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tables


@pytest.mark.parametrize("page", tables.PAGES, ids=lambda page: page.name)
def test_every_table_is_what_the_results_say(page: Path):
    text = page.read_text(encoding="utf-8")
    assert text.count("<!-- table: ") == text.count("<!-- end -->") > 0
    assert tables.filled(text) == text, "run benchmarks/tables.py"


def test_a_table_goes_between_its_marks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(tables.TABLES, "small", ("no-such-kind", lambda found: print("| a |")))
    text = "before\n<!-- table: small -->\nold\n<!-- end -->\nafter"
    assert tables.filled(text) == "before\n<!-- table: small -->\n\n| a |\n\n<!-- end -->\nafter"
    with pytest.raises(KeyError):
        tables.filled("<!-- table: unknown --><!-- end -->")


def test_a_table_never_mixes_versions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for name, version in (("a", "0.9.0"), ("b", "0.12.0"), ("c", "0.12.0")):
        (tmp_path / f"kind-{name}.json").write_text(json.dumps({"versions": {"disentangle": version}}))
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    monkeypatch.setitem(tables.TABLES, "some", ("kind", lambda found: print(*found)))
    assert tables.table("some") == "b c\n\nLeft out, being of other versions: a (0.9.0)."


def rows(table: str) -> list[list[str]]:
    """Cells of the rows of a page's tables."""
    found = [line.strip("|").split("|") for line in tables.table(table).splitlines() if line.startswith("|")]
    return [[cell.strip(" x") for cell in row] for row in found]


def said() -> str:
    return " ".join((tables.ROOT / "README.md").read_text(encoding="utf-8").split())


@pytest.mark.parametrize(
    ("preset", "column", "sentence"),
    [
        ("tuned", 7, "It ranks {:.2f} to {:.2f} times as many candidates"),
        ("lean", 9, "takes {:.2f} to {:.2f} times the seconds of XR-Linear"),
    ],
)
def test_the_readme_has_the_ratios_of_the_tables(preset: str, column: int, sentence: str):
    found = [float(row[column]) for row in rows("preset-differences") if row[1] == preset]
    assert sentence.format(min(found), max(found)) in said()


def test_the_readme_has_the_gains_of_the_sets_that_three_seeds_were_run_on():
    own = [
        [float(one) for one in row[3:7]] for row in rows("preset-differences") if row[1:3] == ["tuned", "3"]
    ]
    means = [sum(column) / len(own) for column in zip(*own, strict=True)]
    assert len(own) == 4
    sentence = "`tuned` is {:.1f} to {:.1f} better than the paper's rule"
    assert sentence.format(min(means), max(means)) in said()


def test_the_readme_has_what_learned_features_and_the_score_give():
    learned = rows("learned-features")
    found = {tuple(row[:2]): row for row in reversed(learned)}  # the embedded set comes first
    plain, tuned = found["tf-idf", "XR-Linear"], found["fine-tuned", "tuned"]
    linear = found["fine-tuned", "XR-Linear"]
    points = [float(row[2].split()[0]) for row in (plain, linear, tuned)]
    assert "from {:.1f} to {:.1f} for XR-Linear and to {:.1f} for `tuned`".format(*points) in said()
    assert f"trains in {float(tuned[-1]) / float(linear[-1]):.2f} times XR-Linear's seconds" in said()
    (score,) = (row for row in rows("ambiguity") if row[:2] == ["tuned", "score"])
    assert f"of `tuned`'s first 100, {float(score[3]):.0f} have several meanings" in said()
