"""Long calls into C++ that Ctrl-C can still stop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")
_Task = tuple[Callable[[], T], "Future[T]"]
# Of threads that wait for a call: a new thread each time would have to build up its memory and OpenMP's team.
_idle: list[SimpleQueue[_Task]] = []


def interruptible(call: Callable[[], T]) -> T:
    """Run one long call that releases the GIL so that Ctrl-C is answered at once.

    Python delivers signals to the main thread between byte codes only, and one PECOS call may take
    an hour: so the main thread waits here, while a thread that dies with the process is inside.
    """
    future: Future[T] = Future()
    try:
        tasks = _idle.pop()
    except IndexError:
        tasks = SimpleQueue()
        threading.Thread(target=_work, args=(tasks,), daemon=True).start()
    tasks.put((call, future))
    return future.result()


def _work(tasks: SimpleQueue[_Task]) -> None:
    while True:
        call, future = tasks.get()
        try:
            result, error = call(), None
        except BaseException as raised:  # handed over, whatever it is
            result, error = None, raised
        # Before the caller goes on, who may have another call.
        _idle.append(tasks)
        future.set_result(result) if error is None else future.set_exception(error)
        # Nothing that the call has made may outlive its caller's use of it.
        del call, future, result, error
