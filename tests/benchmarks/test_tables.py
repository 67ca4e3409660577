"""The tables of the README and the pages that it links are what the results say."""

from __future__ import annotations

from pathlib import Path

import pytest
import tables


@pytest.mark.parametrize("page", tables.PAGES, ids=lambda page: page.name)
def test_every_table_is_what_the_results_say(page: Path):
    text = page.read_text(encoding="utf-8")
    assert text.count("<!-- table: ") == text.count("<!-- end -->") > 0
    assert tables.filled(text) == text, "run benchmarks/tables.py"


def test_a_table_goes_between_its_marks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(tables.TABLES, "small", lambda: print("| a |"))
    text = "before\n<!-- table: small -->\nold\n<!-- end -->\nafter"
    assert tables.filled(text) == "before\n<!-- table: small -->\n\n| a |\n\n<!-- end -->\nafter"
    with pytest.raises(KeyError):
        tables.filled("<!-- table: unknown --><!-- end -->")
