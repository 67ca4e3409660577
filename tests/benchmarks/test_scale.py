"""The benchmark of growth: which cases there are, what is written for them, and exponents of power laws."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scale

from disentangle.data import datasets


def made_up() -> dict[str, Any]:
    """Training takes n^1.5, matching is noise."""
    runs = [
        {
            "part": "instances",
            "value": n,
            "seconds": {"train": n**1.5 / 1e4, "match": 0.001},
            "peak_rss_mib": n,
        }
        for n in (1000, 2000, 4000)
    ]
    return {"dataset": "small", "runs": runs}


def test_cases_grow_in_one_thing_only():
    assert scale.cases(["instances"], 800) == [("instances", n, n, 2) for n in (100, 200, 400, 800)]
    assert scale.cases(["copies"], 800) == [("copies", n, 200, n) for n in (1, 2, 3, 4)]


def test_a_share_is_a_dataset_and_a_smaller_one_lies_in_a_larger(verbs: Path, tmp_path: Path):
    dataset = datasets.load_dataset(verbs, "verbs")
    for n in (100, 300):
        scale.write_share(tmp_path / f"share-{n}", dataset, n)
    small, large = (datasets.load_dataset(tmp_path, f"share-{n}") for n in (100, 300))
    assert (small.X_trn.shape, small.Y_trn.shape) == (
        (100, dataset.X_trn.shape[1]),
        (100, dataset.Y_trn.shape[1]),
    )
    assert (small.X_tst != dataset.X_tst).nnz == 0
    rows = {row.tobytes() for row in np.asarray(large.X_trn.todense())}
    assert all(row.tobytes() in rows for row in np.asarray(small.X_trn.todense()))


def test_the_exponent_of_a_power_law_is_found():
    assert scale.exponent([1, 2, 4], [3, 3 * 2**1.25, 3 * 4**1.25]) == pytest.approx(1.25)
    assert scale.exponent([1, 2], [1, 2]) is None
    assert scale.exponent([1, 2, 4], [0.001, 0.002, 0.004]) is None


def test_the_table_has_seconds_and_exponents(capsys: pytest.CaptureFixture[str]):
    scale.print_scale(made_up())
    lines = capsys.readouterr().out.splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line]
    assert rows[0][:3] == ["training instances", "train s", "match s"]
    assert rows[2][:2] == ["1,000", "3.16"]
    assert rows[-1][:3] == ["exponent", "1.50", ""]
    assert rows[-1][-1] == "1.00"


def test_the_figure_is_drawn_once_something_has_grown(tmp_path: Path):
    result = made_up()
    scale.draw_scale(tmp_path, result | {"runs": result["runs"][:1]})
    assert list(tmp_path.iterdir()) == []
    scale.draw_scale(tmp_path, result)
    assert {path.name for path in tmp_path.iterdir()} == {"scale.png", "scale.svg", "scale.pdf"}
