"""How many threads there may be, and work shared out among them."""

from __future__ import annotations

import os
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import TypeVar

from ..limits import Limits

T = TypeVar("T")
R = TypeVar("R")
# Beyond the cores they only wait for one another, and OpenMP ends the process when it gets none.
_MAX_THREADS = 256
# Calls of a thread whose results are not taken yet: so many that none waits for a first one that takes long.
_AHEAD = 64
# Microseconds of a period of as many, or "max".
_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_limit: int | None = None
# Of a call from Python, which has its own beside others of the same process.
_own_limit: ContextVar[int | None] = ContextVar("threads", default=None)
# By how many threads they have: to begin threads takes longer than many a call.
_idle: defaultdict[int, list[ThreadPoolExecutor]] = defaultdict(list)
# A forked process has the lists and not the threads: who gave them a call would wait for ever.
os.register_at_fork(after_in_child=_idle.clear)


def check_threads(threads: int) -> None:
    """Raise DisentangleError unless there may be so many threads."""
    Limits(1, max(_MAX_THREADS, os.cpu_count() or 1)).check("--threads", threads)


def limit_threads(threads: int) -> None:
    """Tell BLAS, which reads it when it is imported, and `allowed`; PECOS is told call by call.

    Raises
    ------
    DisentangleError
        If there may not be so many.
    """
    global _limit
    check_threads(threads)
    _limit = threads
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)
    # On a machine shared with other work, threads that spin while they wait hold each other up.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@contextmanager
def limited_to(threads: int) -> Iterator[None]:
    """Have `allowed` give so many to whoever asks in the meantime, in this thread."""
    token = _own_limit.set(threads)
    try:
        yield
    finally:
        _own_limit.reset(token)


def allowed() -> int:
    """How many threads there may be: those of `limited_to` or `limit_threads`, or the cores."""
    return _own_limit.get() or _limit or cores()


def cores() -> int:
    """How many cores this process may use: those it is bound to, or as many as its control group gives it."""
    n = len(os.sched_getaffinity(0))
    with suppress(OSError, ValueError):  # there is no group, or it has no quota
        quota, period = map(int, _QUOTA.read_text().split())
        n = min(n, max(1, -(-quota // period)))
    return n


def in_threads(call: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """What calls that release the GIL return, in the order of the items.

    Who stops listening, as Ctrl-C makes them, waits for no call; for who listens slowly not all are made.
    """
    waiting = deque[Future[R]]()
    # None that others use: a call may have such calls of its own.
    try:
        pool = _idle[threads].pop()
    except IndexError:
        pool = ThreadPoolExecutor(threads)
    try:
        for item in items:
            waiting.append(pool.submit(call, item))
            if len(waiting) == _AHEAD * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    _idle[threads].append(pool)
