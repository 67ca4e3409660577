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


def ratios(preset: str, column: int) -> tuple[str, str]:
    """The least and the greatest of a column of the table of differences, over all sets."""
    rows = [line.strip("|").split("|") for line in tables.table("preset-differences").splitlines()[2:]]
    found = [float(row[column].strip(" x")) for row in rows if row[1].strip() == preset]
    return f"{min(found):.2f}", f"{max(found):.2f}"


def test_the_readme_says_what_the_tables_do():
    text = (tables.ROOT / "README.md").read_text(encoding="utf-8").replace("\n", " ")
    assert "It ranks {} to {} times as many candidates".format(*ratios("tuned", 7)) in text
    assert "takes {} to {} times the seconds of XR-Linear".format(*ratios("lean", 9)) in text
