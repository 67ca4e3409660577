"""What a long run shows: live progress on a terminal, plain log lines elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, TypeVar

from rich.console import Console
from rich.filesize import decimal
from rich.logging import RichHandler
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column
from rich.text import Text

logger = logging.getLogger("disentangle")

# How often a transfer writes a line where there is no terminal.
LINE_SECONDS = 30.0


class _TransferColumn(ProgressColumn):
    """Bytes, speed and remaining time of a transfer; empty for a stage."""

    _parts = (DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())

    def render(self, task: Task) -> Text:
        if not task.fields.get("transfer"):
            return Text()
        return Text(" ").join([*(part.render(task) for part in self._parts), Text("left")])


# Standard output carries the tables alone, so that they can be piped.
_console = Console(stderr=True)
_live = Progress(
    SpinnerColumn(),
    TextColumn("{task.description}", markup=False),
    BarColumn(),
    TimeElapsedColumn(),
    _TransferColumn(table_column=Column(no_wrap=True)),
    console=_console,
    transient=True,
    disable=not _console.is_terminal,
    # What goes to a file or a pipe must not be shown here instead.
    redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),
)

# Tasks of the stages that this thread is in; others' may end at any moment.
_own: ContextVar[tuple[TaskID, ...]] = ContextVar("tasks", default=())

T = TypeVar("T")


def set_up_logging() -> None:
    """Show this package's log on standard error."""
    handler: logging.Handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    if _console.is_terminal:
        handler = RichHandler(
            console=_console, show_path=False, show_level=False, markup=False, log_time_format="%H:%M:%S"
        )
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


@contextmanager
def stage(name: str, is_live: bool = True) -> Iterator[None]:
    """Log the start and the end of a stage, with its seconds; on a terminal a clock runs meanwhile.

    Not with `is_live=False`: a clock would take what is written to the terminal meanwhile, and change it.
    """
    start = time.perf_counter()
    logger.info("%s ...", name)
    with _clock(name) if is_live else nullcontext():
        yield
    logger.info("%s: done in %.1f s", name, time.perf_counter() - start)


@contextmanager
def _clock(name: str) -> Iterator[None]:
    with _live:
        task = _live.add_task(name, total=None)
        token = _own.set((*_own.get(), task))
        try:
            yield
        finally:
            _own.reset(token)
            _live.remove_task(task)


def track(items: Iterable[T], total: int, size: Callable[[T], int] = lambda _: 1) -> Iterator[T]:
    """Pass items through, and move the running stage's bar by their sizes on a terminal."""
    for task in _own.get():
        _live.reset(task, total=total)
    for item in items:
        yield item
        for task in _own.get():
            _live.advance(task, size(item))


def _every(seconds: float) -> Callable[[], bool]:
    """A function that says whether so many seconds have passed since it last said so."""
    last = time.monotonic()

    def is_due() -> bool:
        nonlocal last
        if time.monotonic() - last < seconds:
            return False
        last = time.monotonic()
        return True

    return is_due


@contextmanager
def transfer(name: str, total: int | None, done: int) -> Iterator[Callable[[int], None]]:
    """Show how far a transfer is: a bar on a terminal, elsewhere a log line now and then.

    Parameters
    ----------
    name : str
        What is transferred.
    total : int or None
        Its size in bytes, if it is known.
    done : int
        Bytes that were there before.

    Yields
    ------
    callable
        To be called with the number of bytes of each block.
    """
    is_due = _every(LINE_SECONDS)

    def advance(n_bytes: int) -> None:
        nonlocal done
        done += n_bytes
        _live.advance(task, n_bytes)
        if _live.disable and is_due():
            share = f"{100 * done // total} % of {decimal(total)}" if total else decimal(done)
            logger.info("%s: %s", name, share)

    # The display of a stage that is running gets one more line: leaving it a second time would end it.
    with nullcontext() if _live.live.is_started else _live:
        task = _live.add_task(name, total=total, completed=done, transfer=True)
        try:
            yield advance
        finally:
            _live.remove_task(task)


def _instances(block: Any) -> int:
    return int(block.n_instances)


def counted(blocks: Iterable[T], what: str, size: Callable[[T], int] = _instances) -> Iterator[T]:
    """Pass blocks through whose number is not known, and show how many instances they had."""
    n, is_due = 0, _every(LINE_SECONDS)
    for block in blocks:
        yield block
        n += size(block)
        for task in _own.get():
            _live.update(task, description=f"{n:,} {what}")
        if _live.disable and is_due():
            logger.info("%s %s", f"{n:,}", what)
