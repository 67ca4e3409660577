"""What a long run shows: live progress on a terminal, plain log lines elsewhere."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

logger = logging.getLogger(__package__)

# Standard output carries the tables alone, so that they can be piped.
_console = Console(stderr=True)
_live = Progress(
    SpinnerColumn(),
    TextColumn("{task.description}"),
    BarColumn(),
    TimeElapsedColumn(),
    console=_console,
    transient=True,
    disable=not _console.is_terminal,
)

T = TypeVar("T")


def set_up_logging() -> None:
    """Show this package's log, and PECOS's word on which layer it trains, on standard error."""
    handler: logging.Handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    if _console.is_terminal:
        handler = RichHandler(
            console=_console, show_path=False, show_level=False, markup=False, log_time_format="%H:%M:%S"
        )
    for name in (__package__, "pecos.xmc.base"):
        channel = logging.getLogger(name)
        channel.addHandler(handler)
        channel.setLevel(logging.INFO)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Log the start and the end of a stage, with its seconds; on a terminal a clock runs meanwhile."""
    start = time.perf_counter()
    logger.info("%s ...", name)
    with _live:
        task = _live.add_task(name, total=None)
        try:
            yield
        finally:
            _live.remove_task(task)
    logger.info("%s: done in %.1f s", name, time.perf_counter() - start)


def track(batches: Iterable[T], n_instances: int, batch_size: int) -> Iterator[T]:
    """Pass batches of instances through, and move the running stage's bar on a terminal."""
    for task in _live.task_ids:
        _live.reset(task, total=n_instances)
    for batch in batches:
        yield batch
        for task in _live.task_ids:
            _live.advance(task, batch_size)
