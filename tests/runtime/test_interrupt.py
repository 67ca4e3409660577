"""Long calls in a thread of their own."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from disentangle.runtime.interrupt import interruptible


def test_calls_share_a_thread_that_is_not_the_callers():
    first, second = (interruptible(threading.current_thread) for _ in range(2))
    assert first is second
    assert first is not threading.current_thread()


def test_what_a_call_raises_reaches_its_caller():
    with pytest.raises(ZeroDivisionError):
        interruptible(lambda: 1 / 0)
    assert interruptible(lambda: 1) == 1


@pytest.fixture
def answered() -> Iterator[None]:
    """Ctrl-C raises, even if a shell has put the tests into the background, where it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("answered")
def test_ctrl_c_is_answered_at_once_and_hinders_no_later_call():
    may_end, has_ended = threading.Event(), threading.Event()

    def call() -> None:
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        may_end.wait()
        has_ended.set()

    # Whoever waits for this call, or has the next one wait for it, hangs here.
    with pytest.raises(KeyboardInterrupt):
        interruptible(call)
    assert interruptible(lambda: 1) == 1
    assert not has_ended.is_set()
    may_end.set()
    has_ended.wait()
