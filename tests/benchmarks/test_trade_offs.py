"""What the figure of trade-offs shows, by hand."""

from __future__ import annotations

import pytest
import trade_offs


def row(setting: str, seed: int, p5: float, r10: float, seconds: float) -> dict:
    return {"setting": setting, "seed": seed, "P@5": p5, "R@10": r10, trade_offs.SECONDS: seconds}


def test_gains_are_means_over_a_settings_own_seeds_and_seconds_the_least():
    rows = [
        row("XR-Linear", 0, 50.0, 60.0, 12.0),
        row("XR-Linear", 1, 52.0, 64.0, 10.0),
        row("XR-Linear", 2, 90.0, 90.0, 11.0),
        row("lean", 0, 51.0, 63.0, 15.0),
        row("lean", 1, 54.0, 65.0, 13.0),
        row("paper", 0, 99.0, 99.0, 1.0),
    ]
    found = trade_offs.trade_off(rows, "lean")
    assert found == pytest.approx({"seconds": 1.3, "P@5": 1.5, "R@10": 2.0})
