"""Tables for LaTeX, Markdown and programs: names are text, numbers line up, the best is told."""

from __future__ import annotations

import csv
import io
import re

import pytest

from disentangle.jobs import export
from disentangle.jobs.tables import Table

HOSTILE = (
    "a_b %&#${}~^\\",
    "\\input{/etc/passwd}",
    "$x$ | <b>",
    "[1] *x*\n\\\\",
    "\u2028\x1b`c`",
    '"--q"',
    " [1]",
    "?`---",
)


@pytest.fixture
def table() -> Table:
    made = Table("my_set: 100 % measured", ("method", "P@1", "candidates", "source"))
    made.add("XR-Linear", "62.24", "834.0", "[1]")
    made.add("paper", "63.42 ± 0.10*", "3,560.0", "[2]")
    made.add("tuned", "63.42 ± 0.12 ", "x 739.00", "")
    made.notes = ["[1] a & b"]
    return made


def test_the_best_of_each_column_is_bold_and_ties_are_all(table: Table):
    text = export.latex("my_set", [table])
    rows = {
        line.split("&")[0].strip(): line
        for line in text.splitlines()
        if " & " in line and line.endswith("\\\\")
    }
    assert re.findall(r"\\textbf\{(.*?)\}", text) == ["63.42", "63.42", "$\\times$\\,739.00"]
    assert "\\textbf{63.42} $\\pm$ 0.10* " in rows["paper"]
    assert "\\textbf{63.42} $\\pm$ 0.12\\phantom{*} " in rows["tuned"]
    assert "{[}1]" in rows["XR-Linear"]
    assert "\\caption{my\\_set: 100 \\% measured}" in text
    marked = export.markdown([table]).splitlines()
    assert "| paper | **63.42** ± 0.10\\* | 3,560.0 | \\[2\\] |" in marked
    assert "|---|---:|---:|---:|" in marked


def test_a_single_row_is_not_the_best(table: Table):
    table.rows = table.rows[:1]
    assert "textbf" not in export.latex("x", [table])


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_text(table: Table, name: str):
    table.rows[1] = (name, *table.rows[1][1:])
    table.title, table.notes = name, [name]
    text = export.latex(name, [table])
    inert = re.sub(
        r"\\(textbackslash|textasciitilde|textasciicircum|textless|textgreater|textbar|textasciigrave)\{\}",
        "",
        text,
    )
    inert = re.sub(r"\\[_%&#${}]", "", inert)
    plain = export.latex("", [Table("", table.columns, [("", *row[1:]) for row in table.rows], [""])])
    for letter in ("\\", "$", "&", "#", "_", "^", "~", "\n", "`", "--"):
        assert inert.count(letter) == plain.count(letter), letter
    assert inert.count("{") == inert.count("}")
    assert not re.search(r"^\s*[\[*]", inert, re.MULTILINE)
    rows = [line for line in export.markdown([table]).splitlines() if line.startswith("| ")]
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows] == [5] * 4
    assert not any(re.search(r"(?<!\\)[`<>$]", row) for row in rows)


def run(method: str, **more: object) -> dict:
    figures = {name: [1.23456 + k for k in range(10)] for name in ("precision", "recall", "ndcg", "psp")}
    told = {"method": method, "variant": None if method == "xr-linear" else method, "n_trees": 1}
    return (
        told
        | figures
        | {
            "settings": {"seed": 3},
            "candidates_per_instance": 1 / 3,
            "seconds": {"train": 2.0, "predict": 0.5},
            "peak_rss_mib": 9,
        }
        | more
    )


def rows_of(report: dict) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(export.csv_text(report))))


def test_csv_has_all_digits_of_all_figures():
    difference = {"to": "XR-Linear", "P@1": {"difference": 0.1234, "low": -0.1, "high": 0.3}}
    report = {"job": "base", "dataset": 'a,"b', "seed": 3, "runs": [run("xr-linear"), run("paper")]}
    report["runs"][1]["differences"] = [difference]
    xr_linear, paper = rows_of(report)
    assert (paper["dataset"], paper["seed"], paper["method"]) == ('a,"b', "3", "paper")
    assert (paper["P@1"], paper["PSP@10"], paper["candidates"]) == ("1.23456", "10.23456", repr(1 / 3))
    assert [paper[f"P@1 to XR-Linear{end}"] for end in ("", " low", " high")] == ["0.1234", "-0.1", "0.3"]
    assert xr_linear["P@1 to XR-Linear"] == ""


def test_csv_of_several_seeds_has_means_and_deviations():
    mean = {
        "precision": [2.0] * 10,
        "candidates_per_instance": 7.0,
        "train_seconds": 8.0,
        "predict_seconds": 9.0,
    }
    sd = {name: [0.5] * 10 if name == "precision" else 0.25 for name in mean}
    one = {"variant": "paper", "n_trees": 1, "mean": mean, "sd": sd, "differences": []}
    report = {"job": "base", "dataset": "x", "seed": 0, "seeds": [0, 1], "runs": [], "summary": [one]}
    (row,) = rows_of(report)
    assert (row["seed"], row["P@1"], row["P@1 sd"]) == ("0 1", "2.0", "0.5")
    assert (row["candidates"], row["candidates sd"], row["train s sd"]) == ("7.0", "0.25", "0.25")
