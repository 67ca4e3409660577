"""The presets' rows and table, by hand."""

from __future__ import annotations

import json
from pathlib import Path

import presets
import pytest


def test_a_runs_columns():
    run = {
        "method": "overlap",
        "precision": list(range(1, 11)),
        "recall": list(range(11, 21)),
        "psp": list(range(21, 31)),
        "candidates_per_instance": 99.0,
        "seconds": {"train": 7.0, "expand": 1.0, "split": 2.0, "retrain": 3.0},
    }
    assert list(presets.columns(run).values()) == [1, 3, 5, 20, 25, 99.0, 6.0]
    assert presets.columns(run | {"method": "xr-linear"})[presets.SECONDS] == 7.0


def test_the_table_has_means_and_deviations_of_several_seeds(capsys: pytest.CaptureFixture[str]):
    def row(setting: str, seed: int, value: float) -> dict:
        return {
            "setting": setting,
            "seed": seed,
            **dict.fromkeys(presets.COLUMNS, value),
            "VI difference": None,
        }

    presets.print_table("small", [row("lean", 0, 1.0), row("lean", 1, 3.0), row("paper", 0, 5.0)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "small"
    assert lines[3].endswith("| second training, s |")
    assert lines[5].startswith("| lean | 2 | 2.00 ± 1.41 |")
    assert lines[6].startswith("| paper | 1 | 5.00 |")


def test_runs_that_other_commands_have_left_are_not_counted(tmp_path: Path):
    def run(variant: str | None, n_trees: int = 1, seed: int = 0) -> dict[str, object]:
        return {"variant": variant, "n_trees": n_trees, "settings": {"seed": seed}}

    own = [run(None), run("lean")]
    report = {"runs": [*own, run("lean-negatives-0.5"), run(None, n_trees=3), run("lean", seed=1)]}
    (tmp_path / "report.json").write_text(json.dumps(report), encoding="utf-8")
    assert presets.runs_in(tmp_path, 0) == own
