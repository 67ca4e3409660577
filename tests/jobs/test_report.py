"""What a run prints at its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from disentangle.jobs import tables


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


REPORT = {
    "dataset": "wiki10-31k",
    "runs": [
        run("xr-linear", 80.0, {"train": 10.0}),
        run("overlap", 81.5, {"train": 10.0, "match": 1.0, "assign": 0.5, "expand": 0.5, "retrain": 18.0}),
    ],
}


def row(text: str, start: str) -> list[str]:
    """Cells of the table's row whose first cell starts so."""
    line = next(line for line in text.splitlines() if line.startswith(f"│ {start}"))
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_both_methods_and_their_difference(capsys: pytest.CaptureFixture[str]):
    tables.print_base(REPORT)
    printed = capsys.readouterr().out
    assert row(printed, "XR-Linear")[1:5] == ["80.00", "80.00", "80.00", "10.00"]
    assert row(printed, "XR-Linear")[-4:] == ["20.00", "250.0", "10.0", "2.0"]
    assert row(printed, "overlap (paper, n_copies 2)")[-3:] == ["1,000.0", "30.0", "2.0"]
    assert row(printed, "difference")[1] == "+1.50"
    assert row(printed, "difference")[-3:] == ["x 4.00", "x 3.00", "x 1.00"]


def test_published_figures_are_beside_it_and_unknown_cells_stay_empty(capsys: pytest.CaptureFixture[str]):
    tables.print_base(REPORT)
    printed = capsys.readouterr().out
    assert "published elsewhere, not run here" in printed
    assert row(printed, "X-Transformer")[:8] == ["X-Transformer", "88.51", "78.71", "69.62", "", "", "", ""]
    tables.print_base(REPORT | {"dataset": "my-own"})
    assert "published" not in capsys.readouterr().out


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
    tables.print_base(REPORT)
    lines = capsys.readouterr().out.splitlines()
    assert sum("overlap" in line for line in lines) == 1


def test_a_sweep_shows_the_parts_that_vary(capsys: pytest.CaptureFixture[str]):
    xr_linear, overlap = REPORT["runs"]
    runs = [
        {**overlap, "variant": f"paper-budget-{budget}", "overlap": {"n_copies": 8, "budget": budget}}
        for budget in (1.2, 2.0)
    ]
    tables.print_sweep(REPORT | {"runs": [xr_linear, *runs]})
    lines = capsys.readouterr().out.splitlines()
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if "│" in line]
    assert [row[0] for row in rows] == ["XR-Linear", "1.2", "2.0"]
    assert "n_copies 8" in lines[0]
    tables.print_sweep(REPORT | {"runs": [xr_linear, runs[0]]})
    assert "paper-budget-1.2" in capsys.readouterr().out


def test_csv_is_whole_or_not_there(tmp_path: Path):
    tables.write_csv(
        tmp_path / "a.csv", [{"name": 'with "quotes", and comma', "n": 1}, {"name": "ä", "n": 2}]
    )
    assert (tmp_path / "a.csv").read_text(encoding="utf-8") == 'name,n\n"with ""quotes"", and comma",1\nä,2\n'
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
