"""How kernels are shared out: every part once, and nothing handed over where one thread has it all."""

from __future__ import annotations

import threading

import pytest

from disentangle.kernels import in_blocks, share


@pytest.mark.parametrize("n", [0, 1, 5000])
@pytest.mark.parametrize("threads", [1, 3])
def test_each_part_is_called_for_once(n: int, threads: int):
    for shared_out in (
        lambda call: share(n, call, threads),
        lambda call: in_blocks(n, threads, call),
    ):
        found: list[int] = []
        shared_out(lambda first, end, found=found: found.extend(range(first, end)))
        assert sorted(found) == list(range(n))


def test_one_instance_stays_in_the_thread_that_asks():
    """To hand it to another one would take longer than the kernel."""
    asked_by: set[int] = set()
    share(1, lambda *_: asked_by.add(threading.get_ident()), 8)
    in_blocks(5, 1, lambda *_: asked_by.add(threading.get_ident()))
    assert asked_by == {threading.get_ident()}
