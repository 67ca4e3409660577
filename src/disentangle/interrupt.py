"""Long calls into C++ that Ctrl-C can still stop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def interruptible(call: Callable[[], T]) -> T:
    """Run one long call that releases the GIL so that Ctrl-C is answered at once.

    Python delivers signals to the main thread between byte codes only, and one PECOS call may take
    an hour: so the main thread waits here, while a thread that dies with the process is inside.
    """
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # handed over, whatever it is
            future.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return future.result()
