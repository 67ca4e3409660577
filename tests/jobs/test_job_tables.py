"""What a run prints at its end."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from rich.cells import cell_len

from disentangle.jobs import columns, cost_estimate, printing, tables


def run(method: str, p1: float, seconds: dict[str, float]) -> dict:
    return {
        "method": method,
        "preset": "paper" if method == "overlap" else None,
        "variant": "paper" if method == "overlap" else None,
        "n_copies": 2,
        "n_trees": 1,
        "precision": [p1] * 10,
        "recall": [10.0] * 10,
        "psp": [20.0] * 10,
        "candidates_per_instance": 1000.0 if method == "overlap" else 250.0,
        "seconds": {"load": 100.0, "predict": 2.0, **seconds},
    }


def interval(difference: float, low: float, high: float) -> dict:
    return {"difference": difference, "low": low, "high": high, "standard_error": 0.1}


REPORT = {
    "job": "base",
    "dataset": "wiki10-31k",
    "runs": [
        run("xr-linear", 80.0, {"train": 10.0}),
        run("overlap", 81.5, {"train": 10.0, "match": 1.0, "assign": 0.5, "expand": 0.5, "retrain": 18.0}),
    ],
}


REPORT["runs"][1]["differences"] = [
    {"to": "XR-Linear", "P@1": interval(1.5, 0.9, 2.1), "P@3": interval(1.5, -0.1, 3.1)}
    | {"P@5": interval(-1.5, -2.0, -1.0), "R@10": interval(0, 0, 0), "mean": interval(0.4, 0.2, 0.6)}
]


def print_report(report: dict) -> None:
    printing.print_tables(tables.tables_of(report))


def row(text: str, start: str) -> list[str]:
    """Cells of the first row of the table whose first cell is so."""
    return next(cells for line in text.splitlines() if (cells := re.split("  +", line))[0] == start)


def test_both_methods_and_their_difference(capsys: pytest.CaptureFixture[str]):
    print_report(REPORT)
    measured, difference = capsys.readouterr().out.split("difference to XR-Linear")
    assert row(measured, "XR-Linear")[1:] == [
        "80.00",
        "80.00",
        "80.00",
        "10.00",
        "20.00",
        "250.0",
        "10.0",
        "2.0",
    ]
    assert row(measured, "paper")[-3:] == ["1,000.0", "30.0", "2.0"]
    # What leaves 0 out is marked, on either side.
    assert row(difference, "paper")[1:6] == ["+1.50*", "+1.50", "-1.50*", "+0.00", "+0.00"]
    assert "* the 95 % interval, from test instances drawn anew, leaves out 0; PSP@5 has none" in difference
    assert row(difference, "paper")[-3:] == ["x 4.00", "x 3.00", "x 1.00"]


def test_published_figures_are_beside_it_and_unknown_cells_stay_empty(capsys: pytest.CaptureFixture[str]):
    print_report(REPORT)
    printed = capsys.readouterr().out
    assert "published elsewhere, not run here" in printed
    assert row(printed, "X-Transformer") == ["X-Transformer", "88.51", "78.71", "69.62", "[2]"]
    assert "\n[2] The Extreme Classification Repository" in printed
    print_report(REPORT | {"dataset": "my-own"})
    assert "published" not in capsys.readouterr().out


NAME = "tuned-terms-100-leaf-size-20, 3 trees"


@pytest.mark.parametrize("figure", [1.0, 123456.7])
def test_a_table_fits_80_columns_and_nothing_in_it_is_cut(figure: float):
    table = tables.Table("title", ("method", *columns.SHOWN, *columns.COST_COLUMNS))
    table.add("XR-Linear", *["99.99"] * 5, *[f"{figure:,.1f}"] * 3)
    table.add(NAME, *["+0.01"] * 5, *[f"x {figure:.2f}"] * 3)
    table.add("日本語", *[""] * 8)
    lines = list(printing.lines(table, 80))
    # Whatever has no room gets a line of its own.
    assert NAME in lines
    widths = {cell_len(line) for line in lines if line not in ("title", "", NAME, "XR-Linear")}
    assert len(widths) == 1
    assert max(widths) <= 80
    assert sum(f"  {figure:,.1f}" in line for line in lines) == 1
    assert next(line for line in printing.lines(table, 300) if line.startswith(NAME)).endswith(
        f"x {figure:.2f}"
    )


def test_every_published_row_names_a_known_source():
    rows = [
        row
        for name in ("amazon-670k", "wiki-500k", "amazon-3m", "eurlex-4k")
        for row in tables.published(name)
    ]
    assert len(rows) > 15
    for published in rows:
        assert len(published["precision"]) == len(published["recall"]) == 10
        assert len(published["source"]) > 10


def test_a_table_is_never_wrapped_where_it_is_piped(capsys: pytest.CaptureFixture[str]):
    print_report(REPORT)
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("paper") for line in lines) == 2


def test_a_sweep_shows_the_parts_that_vary(capsys: pytest.CaptureFixture[str]):
    xr_linear, overlap = REPORT["runs"]
    runs = [
        {
            **overlap,
            "variant": f"paper-leaf-size-{size}",
            "overlap": {"n_copies": 8, "leaf_size": size},
        }
        for size in (20, 50)
    ]
    print_report(REPORT | {"job": "sweep", "runs": [xr_linear, *runs]})
    printed = capsys.readouterr().out
    assert row(printed, "leaf_size 20")[1] == "81.50"
    assert row(printed, "leaf_size 50")[1] == "81.50"
    assert "The same for all: n_copies 8" in printed
    print_report(REPORT | {"job": "sweep", "runs": [xr_linear, runs[0]]})
    assert "paper-leaf-size-20" in capsys.readouterr().out


def seeds_report() -> dict:
    """The same over three seeds, of which the differences vary."""
    summary = []
    for one in REPORT["runs"]:
        numbers = {name: one[name] for name in ("precision", "recall", "psp", "candidates_per_instance")}
        numbers |= {"train_seconds": 12345.6, "predict_seconds": 2.0, "chosen_by": 50.0}
        sd = {name: [0.25] * 10 if isinstance(value, list) else 0.5 for name, value in numbers.items()}
        differences = [
            {name: to if name == "to" else to | {"sd": 0.12} for name, to in one_of.items()}
            for one_of in one.get("differences", ())
        ]
        told = {name: one[name] for name in ("method", "variant", "n_trees")}
        summary.append(told | {"mean": numbers, "sd": sd, "differences": differences})
    return REPORT | {"dataset": "my-own", "seeds": [0, 1, 2], "summary": summary}


def test_several_seeds_have_deviations_and_fit_80_columns():
    quality, cost, difference = tables.tables_of(seeds_report())
    assert quality.rows[0][:2] == ("XR-Linear", "80.00 ± 0.25")
    assert cost.rows[1][1:3] == ("1,000.0 ± 0.5", "12,345.6 ± 0.5")
    assert difference.rows[0][:4] == ("paper", "+1.50 ± 0.12*", "+1.50 ± 0.12 ", "-1.50 ± 0.12*")
    assert len(difference.notes) == 2
    for table in (quality, cost, difference):
        assert max(cell_len(line) for line in printing.lines(table, 80)) <= 80


def test_a_winner_within_noise_is_said_to_be():
    runs = [one | {"overlap": {"leaf_size": 50}} for one in REPORT["runs"]]
    winner = {"variant": "paper", "mean": 63.62, "runner_up": {"variant": "paper", "mean": 63.0}}
    for low, words in ((-0.1, "the two are within noise"), (0.1, "more than noise")):
        winner["runner_up"] |= {"difference": interval(0.3, low, 0.6), "within_noise": low < 0}
        table, *_ = tables.tables_of(REPORT | {"job": "sweep", "runs": runs, "winner": winner})
        assert table.notes[-1] == (
            f"The highest mean has paper: 63.62, +0.30 to paper (95 % interval {low:+.2f} to +0.60): {words}."
        )
        assert table.rows[1][6] == "63.62"


def test_csv_is_whole_or_not_there(tmp_path: Path):
    tables.write_csv(
        tmp_path / "a.csv", [{"name": 'with "quotes", and comma', "n": 1}, {"name": "ä", "n": 2}]
    )
    assert (tmp_path / "a.csv").read_text(encoding="utf-8") == 'name,n\n"with ""quotes"", and comma",1\nä,2\n'
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_how_far_an_estimate_may_be_off_is_rounded_up():
    costs = cost_estimate.Estimate(60.0, 512.0, 1.39, 1.11, 0, "a machine")
    (note,) = tables.info_table("verbs", {}, costs, 2, {"memory_gib": 8.0}).notes
    assert "off by a factor of up to 1.4 in time and 1.2 in memory" in note
