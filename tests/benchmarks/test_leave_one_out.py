"""What a preset loses without a part: the parts, and the changes by hand."""

from __future__ import annotations

from typing import Any

import leave_one_out
import pytest

from disentangle.presets import DEFAULT_PRESET, PRESETS


def row(part: str | None, seed: int, figure: float, candidates: float, seconds: float) -> dict[str, Any]:
    costs = {"candidates": candidates, "training_seconds": seconds}
    return (
        {"preset": "lean", "part": part, "seed": seed} | dict.fromkeys(leave_one_out.FIGURES, figure) | costs
    )


@pytest.mark.parametrize("preset", [name for name in PRESETS if name != DEFAULT_PRESET])
def test_every_part_can_be_taken_out_and_changes_the_preset(preset: str):
    own = PRESETS[preset].parts()
    parts = leave_one_out.parts(preset)
    assert {"gain", "positives", "leaf_size", "merge"} <= set(parts)
    assert all(value is not None and value != own[part] for part, value in parts.items())
    for part, value in parts.items():
        PRESETS[preset].changed({part: value}).validate()


def test_the_papers_rule_has_no_parts():
    assert leave_one_out.parts(DEFAULT_PRESET) == {}


def test_changes_are_of_the_same_seed():
    rows = [
        row(None, 0, 50, 100, 10),
        row(None, 1, 60, 100, 10),
        row("gain", 0, 49, 150, 5),
        row("gain", 1, 61, 150, 5),
    ]
    found = leave_one_out.effects(rows, "lean")
    assert found == {"gain": pytest.approx({"mean": 0, "sd": 2**0.5, "candidates": 1.5, "seconds": 0.5})}


def test_a_part_that_a_dataset_lacks_has_empty_cells(capsys: pytest.CaptureFixture[str]):
    rows = [row(None, 0, 50, 100, 10), row("gain", 0, 49.5, 150, 5)]
    others = [row(None, 0, 50, 100, 10), row("leaf_size", 0, 51, 300, 20)]
    leave_one_out.print_table({"a": rows, "b": others})
    lines = capsys.readouterr().out.splitlines()
    assert "| gain | counts | -0.50, x 0.50 |  | x 1.50 |" in lines
    assert "| leaf_size | none |  | +1.00, x 2.00 | x 3.00 |" in lines
    assert "| merge | mean |  |  |  |" in lines
