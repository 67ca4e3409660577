"""Exponents and what is printed of them: made-up power laws must come out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import growth
import numpy as np
import pytest

BARE = 200


def made_up() -> dict[str, Any]:
    """Three repeats at four sizes: training takes n^1.5, above the bare process memory is n^0.5."""
    rng = np.random.default_rng(0)
    runs = []
    for repeat in range(3):
        for n in (1000, 2000, 4000, 8000):
            seconds = {"train": n**1.5 / 1e4 * np.exp(rng.normal(0, 0.02)), "match": 0.001}
            peaks = {"train": BARE + 10 * n**0.5}
            run = {"part": "instances", "value": n, "repeat": repeat}
            runs.append(run | {"seconds": seconds, "peak_rss_mib": peaks})
    return {"machine": {"processor": "a fast one", "cores": 2}, "bare_rss_mib": BARE, "runs": runs}


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_exponent_of_a_power_law_is_found_exactly():
    sizes = [1.0, 2.0, 4.0, 8.0]
    exponent, error = growth.fit_exponent(sizes, [3 * size**1.25 for size in sizes])
    assert exponent == pytest.approx(1.25)
    assert error == pytest.approx(0, abs=1e-6)


def test_the_error_is_that_of_a_regression():
    # By hand: x = 0, 1, 2 times ln 2; y = 0, 1, 1 times ln 2; slope 1/2, residuals -1/6, 1/3, -1/6 times
    # ln 2, so their variance is 1/6 ln(2)^2 at one degree of freedom, and the slope's a half of 1/6.
    exponent, error = growth.fit_exponent([1, 2, 4], [1, 2, 2])
    assert exponent == pytest.approx(0.5)
    assert error == pytest.approx((1 / 12) ** 0.5)


@pytest.mark.parametrize("sizes", [[1.0, 2.0], [5.0, 5.0, 5.0], []])
def test_too_few_points_have_no_exponent(sizes: list[float]):
    assert growth.fit_exponent(sizes, sizes) is None


def test_the_table_has_the_exponents_of_a_made_up_power_law(capsys: pytest.CaptureFixture):
    growth.print_scale(made_up())
    lines = {cells(line)[0]: cells(line) for line in capsys.readouterr().out.splitlines() if line}
    exponent, _, error = lines["train"][1].partition(" ± ")
    assert float(exponent) == pytest.approx(1.5, abs=3 * float(error))
    assert 0 < float(error) < 0.05
    assert lines["train"][2] == "0.50 ± 0.00"
    assert lines["match"][1:] == ["", ""]  # a millisecond is noise
    assert lines["4,000"][1] == "3"
    assert float(lines["4,000"][2]) == pytest.approx(4000**1.5 / 1e4, rel=0.05)
    assert lines["4,000"][-1] == f"{BARE + 10 * 4000**0.5:.0f}"


def test_assignments_are_told_with_what_they_need_above_their_input(capsys: pytest.CaptureFixture):
    run = {"part": "assignment", "value": "paper", "threads": 2, "nnz": 61_000_000, "rss_before_mib": 900}
    runs = [run | {"seconds": {"assign": s}, "peak_rss_mib": {"assign": 1000}} for s in (3.0, 5.0, 4.0)]
    growth.print_scale({"bare_rss_mib": BARE, "runs": runs})
    last = capsys.readouterr().out.splitlines()[-1]
    assert cells(last) == ["paper", "61,000,000", "2", "3", "4.0", "1,000", "100"]


def test_the_figure_is_drawn_once_something_has_grown(tmp_path: Path):
    results = made_up()
    growth.draw_scale(tmp_path, {"bare_rss_mib": BARE, "runs": results["runs"][:1]})
    assert list(tmp_path.iterdir()) == []
    growth.draw_scale(tmp_path, results)
    assert {path.name for path in tmp_path.iterdir()} == {"scale.png", "scale.svg"}
