"""A command that a signal stops at once, wherever it is, and that leaves nothing half-written."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import Any, NoReturn, TypeVar

from . import undo
from .undo import Undo

T = TypeVar("T")
_Task = tuple[Callable[[], T], "Future[T]"]
# Of threads that wait for a call: a new thread each time would have to build up its memory and OpenMP's team.
_idle: list[SimpleQueue[_Task]] = []
# A forked process has the list and not the threads: who gave them a call would wait for ever.
os.register_at_fork(after_in_child=_idle.clear)
_WAIT_SECONDS = 1.0

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# What is to be removed if the process is stopped now, oldest first.
_undos: dict[object, Undo] = {}
# What the next signals call in place of ending the process, the next one last.
_heeding: list[Callable[[], None]] = []
# Held while something is begun that would have to be undone; for good once the process stops.
_beginning = threading.Lock()


def run(command: Callable[[], T]) -> T:
    """Run a command in a thread, while the main one waits for its end or a signal.

    Python delivers a signal as an exception between any two byte codes of the main thread, where it can be
    lost (in a destructor, in a library that catches everything) or come too late (one PECOS call may take an
    hour). So the main thread does nothing that could be interrupted: a signal undoes what is unfinished and
    ends the process with status 128 + its number.

    Raises
    ------
    Exception
        Whatever the command raises.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    # Written by C's own handler: one of Python's would wait for a byte code of the thread that waits.
    signal.set_wakeup_fd(writer)
    for number in _SIGNALS:
        # Ignored where a shell or nohup has put the command into the background.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(command())
        except BaseException as error:  # handed over, whatever it is
            future.set_exception(error)
        os.write(writer, b"\0")

    threading.Thread(target=work, daemon=True).start()
    while stopped := os.read(reader, 1)[0]:
        if not _heeding:
            _stop(stopped)
        _heeding.pop()()
    signal.set_wakeup_fd(-1)
    for number in _SIGNALS:  # what is left to do is to say how it ended
        signal.signal(number, signal.SIG_IGN)
    return future.result()


def _stop(number: int) -> NoReturn:
    """Undo what is unfinished, by an interpreter that takes the place of this one.

    With that the command's threads are gone at once. While they run nothing can be undone: they would write
    again what is removed, and PECOS crashes where a file is not there.
    """
    for other in _SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    _beginning.acquire()
    status, undos = 128 + number, [*_undos.values()]
    with suppress(OSError, ValueError):
        os.execv(sys.executable, [sys.executable, "-I", "-S", undo.__file__, str(status), json.dumps(undos)])
    undo.main(status, undos)
    os._exit(status)


@contextmanager
def heeding(end: Callable[[], None]) -> Iterator[None]:
    """Let the first signal call `end`, for a command that ends by itself then; the next ends it as ever.

    Parameters
    ----------
    end : callable
        Called in the main thread.
    """
    _heeding.append(end)
    try:
        yield
    finally:
        with suppress(ValueError):  # it has been called
            _heeding.remove(end)


@contextmanager
def undoing(what: Undo, begin: Callable[[], Any] = lambda: None) -> Iterator[Any]:
    """Undo something in the end, and also if a signal ends the process before.

    Parameters
    ----------
    what : Undo
    begin : callable
        Makes what is to be undone; not called any more once the process stops.

    Yields
    ------
    object
        What `begin` returns.
    """
    key = object()
    try:
        with _beginning:
            _undos[key] = what
            begun = begin()
        yield begun
    finally:
        undo.perform(what)
        _undos.pop(key, None)


def interruptible(call: Callable[[], T]) -> T:
    """Run one long call that releases the GIL so that Ctrl-C in Python is answered at once.

    One PECOS call may take an hour: so the main thread waits here, while a thread that dies with the process
    is inside. In any other thread, `run`'s above all, the call is made as it is.
    """
    if threading.current_thread() is not threading.main_thread():
        return call()
    future: Future[T] = Future()
    try:
        tasks = _idle.pop()
    except IndexError:
        tasks = SimpleQueue()
        threading.Thread(target=_work, args=(tasks,), daemon=True).start()
    tasks.put((call, future))
    # One wait without end would miss a signal that comes just before it begins.
    while not future.done():
        wait([future], _WAIT_SECONDS)
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
