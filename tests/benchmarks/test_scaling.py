"""What a fit of seconds against threads finds."""

from __future__ import annotations

import pytest
import scaling

LAW = {1: 12.0, 2: 7.0, 4: 4.5}  # 2 + 10 / n


def test_seconds_that_do_not_fall_are_told_from_those_that_do():
    assert scaling.fit([1, 2, 4], list(LAW.values())) == pytest.approx((2, 10))
    # What falls by more than threads can is noise, and no seconds are below 0.
    assert scaling.fit([1, 2], [4.0, 1.5])[0] == 0


def test_rows_take_the_least_seconds_and_add_up(capsys: pytest.CaptureFixture[str]):
    rounds = [{n: dict.fromkeys(scaling.STAGES, slower * s) for n, s in LAW.items()} for slower in (1.5, 1)]
    rows = scaling.rows("lean", rounds)
    assert [row["stage"] for row in rows] == [*scaling.STAGES, "all"]
    n = len(scaling.STAGES)
    assert rows[-1]["seconds"] == pytest.approx([n * s for s in LAW.values()])
    assert (rows[-1]["serial"], rows[-1]["parallel"]) == pytest.approx((2 * n, 10 * n))
    scaling.print_scaling({"rows": rows})
    assert capsys.readouterr().out.splitlines()[-1].endswith("| 12.00 | 17 | 4.6 x | 5.6 x |")
