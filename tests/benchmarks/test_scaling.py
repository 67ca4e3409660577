"""What seconds against threads tell, and what threads share."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest
import scaling
import scaling_process

from disentangle.runtime.threads import in_threads

LAW = {1: 12.0, 2: 7.0, 4: 4.5}  # 2 + 10 / n
# Of one call, two parts of which one takes 3 of 4 seconds, and 1 second beside it.
NOTES = [{"step": "match", "alone": 1.0, "calls": [(4.0, 3.0)]}]


def test_seconds_that_do_not_fall_are_told_from_those_that_do():
    assert scaling.fit([1, 2, 4], list(LAW.values())) == pytest.approx((2, 10))
    # What falls by more than threads can is noise, and no seconds are below 0.
    assert scaling.fit([1, 2], [4.0, 1.5])[0] == 0


def test_no_number_of_threads_is_sooner_than_the_longest_part():
    assert [scaling.projected(NOTES, n) for n in (1, 2, 64)] == [5.0, 4.0, 4.0]


def test_rows_take_the_least_seconds_and_add_up(capsys: pytest.CaptureFixture[str]):
    rounds: list[dict[int, dict[str, Any]]] = [
        {n: {key: {"seconds": slower * s, "notes": notes} for key in scaling.STAGES} for n, s in LAW.items()}
        for slower, notes in ((1.5, []), (1, NOTES))
    ]
    rows = scaling.rows("lean", rounds)
    assert [row["stage"] for row in rows] == [*scaling.STAGES, "all"]
    n = len(scaling.STAGES)
    assert rows[-1]["seconds"] == pytest.approx([n * s for s in LAW.values()])
    assert (rows[-1]["serial"], rows[-1]["parallel"]) == pytest.approx((2 * n, 10 * n))
    assert (rows[-1]["alone"], rows[-1]["projected"]) == (n, [4.0 * n, 4.0 * n])
    scaling.print_scaling({"rows": rows})
    assert capsys.readouterr().out.splitlines()[-1].endswith("| 17 | 4.00 | 8.3 | 3.0 x | 3.0 x |")


def test_what_is_shared_is_told_from_what_one_thread_does_alone():
    calls: list[Any] = []
    noted = scaling_process.noting(in_threads, calls)
    both = threading.Barrier(2)
    assert list(noted(lambda item: both.wait() * 0 + item, [1, 2], 2)) == [1, 2]
    ((start, end, all_parts, longest),) = calls
    assert 0 < longest <= all_parts <= 2 * (end - start)

    def in_blocks() -> None:
        assert list(noted(str, [1], 2)) == ["1"]

    in_blocks()
    assert calls[1][3] == 0 < calls[1][2]
    # A call within another is counted once, and one that began before not at all.
    assert scaling_process.alone(10, 20, [(11, 13, 0, 0), (12, 14, 0, 0), (12, 12.5, 0, 0)]) == 7
    assert scaling_process.alone(10, 20, []) == 10


def test_steps_are_noted_with_their_own_calls():
    calls: list[Any] = [(0.0, 0.0, 9.0, 9.0)]

    def match() -> str:
        calls.append((0.0, 0.0, 4.0, 3.0))
        return "made"

    steps = SimpleNamespace(**dict.fromkeys(scaling_process.STEPS, match))
    noted: list[dict[str, Any]] = []
    scaling_process.watch(steps, calls, noted)
    assert steps.match() == "made"
    assert [(note["step"], note["calls"]) for note in noted] == [("match", [(4.0, 3.0)])]
