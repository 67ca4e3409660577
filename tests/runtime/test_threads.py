"""Work that is shared out among threads."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from disentangle.runtime.threads import allowed, cores, in_threads, limited_to


def squares(n: int, threads: int) -> list[int]:
    return list(in_threads(lambda i: i * i, range(n), threads))


def test_the_same_threads_do_what_comes_next():
    def mine() -> set[int]:
        return set(in_threads(lambda _: threading.get_ident(), range(50), 3))

    mine()
    before = threading.active_count()
    for _ in range(20):
        mine()
    assert threading.active_count() == before


@pytest.mark.parametrize("threads", [1, 2])
def test_a_call_may_share_out_its_own_work(threads: int):
    found = list(in_threads(lambda i: squares(i, threads), range(5), threads))
    assert found == [[j * j for j in range(i)] for i in range(5)]


def test_after_a_failure_the_next_calls_work():
    def fail(i: int) -> int:
        raise ValueError(i)

    with pytest.raises(ValueError, match=r"^0$"):
        list(in_threads(fail, range(1000), 2))
    assert squares(10, 2) == [i * i for i in range(10)]


def test_who_stops_listening_leaves_no_call_to_the_next_one():
    go, made = threading.Event(), []
    taken = in_threads(lambda i: (i and go.wait(), made.append(i)), range(10), 2)
    next(taken)
    taken.close()
    go.set()
    assert squares(10, 2) == [i * i for i in range(10)]
    # The first, and those that had begun: one a thread.
    assert len(made) <= 3


def test_a_forked_process_has_threads_of_its_own():
    squares(10, 2)
    if (child := os.fork()) == 0:
        os._exit(0 if squares(10, 2) == [i * i for i in range(10)] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_limit_is_of_the_thread_that_asks_for_it_and_ends():
    before = allowed()
    with limited_to(before + 1):
        assert allowed() == before + 1
        other: list[int] = []
        asking = threading.Thread(target=lambda: other.append(allowed()))
        asking.start()
        asking.join()
        assert other == [before]
    assert allowed() == before


@pytest.mark.parametrize(("quota", "most"), [("50000 100000", 1), ("max 100000", None), (None, None)])
def test_cores_are_those_that_a_control_group_gives(
    quota: str | None, most: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    if quota is not None:
        (tmp_path / "cpu.max").write_text(f"{quota}\n")
    monkeypatch.setattr("disentangle.runtime.threads._QUOTA", tmp_path / "cpu.max")
    assert cores() == (most or len(os.sched_getaffinity(0)))
