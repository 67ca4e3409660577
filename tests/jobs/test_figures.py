"""Figures: whole files, the same bytes each time, and their numbers beside them."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from disentangle.errors import DisentangleError
from disentangle.jobs import figures


def run(method: str, gain: float, **where: int) -> dict:
    precision = [50 + gain - k for k in range(10)]
    recall = [10 + gain + k for k in range(10)]
    return {"method": method, "n_copies": 2, "n_bins": 9, "precision": precision, "recall": recall, **where}


RUNS = [
    run(method, gain, level_from_leaf=level, bin_size=size)
    for level in (0, 2)
    for size in (2, 4)
    for method, gain in (("xr-linear", 0.0), ("overlap", level + size / 2))
]


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_figure_2_is_drawn_for_each_way_to_bin(tmp_path: Path):
    figures.draw_figure_2(tmp_path, "tiny", RUNS)
    names = [f"figure-2-level-{level}-size-{size}" for level in (0, 2) for size in (2, 4)]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        f"{name}.{ending}" for name in names for ending in ("png", "svg", "pdf", "csv")
    )
    rows = read(tmp_path / "figure-2-level-2-size-4.csv")
    assert len(rows) == 30
    none = {f"{metric}_{end}": "" for metric in ("precision", "recall") for end in ("low", "high")}
    assert rows[10] == {"method": "overlap", "k": "1", "precision": "54.0", "recall": "14.0", **none}
    assert rows[20] == {"method": "difference", "k": "1", "precision": "4.0", "recall": "4.0", **none}
    svg = (tmp_path / "figure-2-level-2-size-4.svg").read_text()
    assert "<svg" in svg
    pdf = (tmp_path / "figure-2-level-2-size-4.pdf").read_bytes()
    assert pdf.startswith(b"%PDF-")
    assert b"/Type3" not in pdf  # outlines that publishers refuse
    assert b"CreationDate" not in pdf


def test_the_sweep_shows_the_gain(tmp_path: Path):
    figures.draw_sweep(tmp_path, "tiny", RUNS)
    rows = read(tmp_path / "sweep.csv")
    assert [(r["level_from_leaf"], r["bin_size"], float(r["P@1"]), float(r["R@10"])) for r in rows] == [
        ("0", "2", 1, 1),
        ("0", "4", 2, 2),
        ("2", "2", 3, 3),
        ("2", "4", 4, 4),
    ]
    assert (tmp_path / "sweep.png").stat().st_size > 10_000


def test_no_two_of_sixteen_lines_look_alike():
    styles = [figures._style(i) for i in range(16)]
    assert len(set(styles)) == 16
    # Nor do they in grey.
    assert len({style[1:] for style in styles}) == 16


def test_the_same_figure_has_the_same_bytes(tmp_path: Path):
    summary = {"mean_difference": 0.1, "fraction_better_than_random": 0.5}
    rows = [{"vi": 1.0, "random_even_odds": 1.0 + d, "random_same_sizes": 1.0 + d} for d in (-0.1, 0.3)]
    drawn = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        figures.draw_differences(folder, "tiny", "natural", rows, summary | {"same_sizes": summary})
        drawn.append([(folder / f"differences-natural.{e}").read_bytes() for e in ("png", "svg", "pdf")])
    assert drawn[0] == drawn[1]


def test_a_figure_of_a_name_with_dots_is_not_drawn_twice(tmp_path: Path):
    before = []
    for _ in range(2):
        figures.draw_figure_2(tmp_path, "tiny", RUNS[:2], "-paper-eps-0.5")
        before.append({path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()})
    assert before[0] == before[1]


@pytest.mark.parametrize("ending", ["png", "svg", "pdf", "csv"])
def test_a_figure_is_drawn_again_once_one_of_its_files_is_gone(tmp_path: Path, ending: str):
    runs = [one | {"variant": None, "n_trees": 1, "candidates_per_instance": 9.0} for one in RUNS[:1]]
    figures.draw_frontier(tmp_path, "tiny", runs)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    figures.draw_frontier(tmp_path, "tiny", runs)
    assert before == {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    (tmp_path / f"frontier.{ending}").unlink()
    figures.draw_frontier(tmp_path, "tiny", runs)
    assert before.keys() == {path.name for path in tmp_path.iterdir()}


def test_a_figure_whose_numbers_are_damaged_is_drawn_again(tmp_path: Path):
    figures.draw_sweep(tmp_path, "tiny", RUNS)
    before = (tmp_path / "sweep.csv").read_bytes()
    (tmp_path / "sweep.csv").write_text("x" * (csv.field_size_limit() + 1))
    figures.draw_sweep(tmp_path, "tiny", RUNS)
    assert (tmp_path / "sweep.csv").read_bytes() == before


def test_a_figure_that_cannot_be_written_leaves_the_old_one(tmp_path: Path):
    (tmp_path / "sweep.png").mkdir()  # a folder in its place
    with pytest.raises(DisentangleError, match=r"cannot write .*sweep.png"):
        figures.draw_sweep(tmp_path, "tiny", RUNS)
    assert [p.name for p in tmp_path.iterdir()] == ["sweep.png"]
