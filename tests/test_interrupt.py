"""Long calls in a thread of their own."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator

import pytest

from disentangle.interrupt import interruptible


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
    end = threading.Event()
    main = threading.main_thread().ident
    threading.Timer(0.2, signal.pthread_kill, (main, signal.SIGINT)).start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        interruptible(lambda: end.wait(60))
    assert interruptible(lambda: 1) == 1
    assert time.monotonic() - start < 30, "both waited for the call to end"
    end.set()
