"""A cluster of dask.distributed that does the parts of steps: whoever has started it, and wherever.

What all parts of a step share is put into a folder that the workers see as well, an array a file named by its
content, and they map it into memory. Where they see none it is sent to each of them. Lost workers' parts,
spilling and the dashboard are dask's.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import re
import secrets
import socket
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..errors import DisentangleError, excerpt
from ..runtime.threads import in_threads
from ..runtime.workers import Task
from ..storage import atomic, files
from . import worker

logger = logging.getLogger(__name__)

# dask raises the second, which is another one before Python 3.11.
_TIMEOUTS = (TimeoutError, asyncio.TimeoutError)

T = TypeVar("T")
R = TypeVar("R")

_ADDRESS = re.compile(r"(?:\w+://)?[^\s/]+:\d+")
# A scheduler's file has some kilobytes.
_MOST_BYTES = 1 << 24
# Calls of a worker's thread: more even out what parts take, and cost some milliseconds each.
_CALLS_PER_SLOT = 24
# Calls of a thread whose results are not taken yet, so that neither side waits, nor keeps too many.
_AHEAD = 8
# Into how many parts a worker's thread gets what one call could do.
_PARTS_PER_SLOT = 2
# How long a call may wait without any worker that could do it, looked for so often.
_PATIENCE, _LOOK = 300.0, 5.0
# Seconds after which workers that did not answer are asked again.
_AGAIN_AFTER = 1.0
# How often data that all workers have lost are sent again.
_TRIES = 5
# Stages use the same instances one after another: what was shared last is still there.
_KEPT = 3


@dataclass(eq=False)
class _Shared:
    """What tasks share, packed; it holds what was packed, so that it is known again."""

    value: Any
    head: bytes
    names: list[str]
    buffers: list[Any]


class Cluster:
    """Workers of a cluster, as `runtime.workers.Workers` has them.

    Parameters
    ----------
    client : distributed.Client
    threads : int
        Of this process, for what is not shared out.
    slots : int
        Threads of the workers.
    folder : Path or None
        One that all workers see; None to send them what they need.
    """

    def __init__(self, client: Any, threads: int, slots: int, folder: Path | None) -> None:
        self._client, self._folder = client, folder
        self.threads, self.slots, self.parts = threads, slots, _PARTS_PER_SLOT * slots
        self._kept: deque[_Shared] = deque(maxlen=_KEPT)
        self._made_by = worker.made_by()

    def map(self, task: Task[Any, T, R], shared: Any, items: Iterable[T]) -> Iterator[R]:
        """Results of parts, in the order of the items."""
        return self._results(task, shared, chunks(list(items), _CALLS_PER_SLOT * self.slots))

    def in_turn(self, task: Task[Any, T, R], shared: Any, items: Iterable[T]) -> Iterator[R]:
        """The same for parts of which each is worth a call."""
        return self._results(task, shared, ([item] for item in items))

    def _results(self, task: Task[Any, T, R], shared: Any, calls: Iterable[Sequence[T]]) -> Iterator[R]:
        waiting: deque[_Call] = deque()
        for items in calls:
            waiting.append(_Call(self, task, shared, items))
            if len(waiting) == _AHEAD * self.slots:
                yield from waiting.popleft().results()
        while waiting:
            yield from waiting.popleft().results()

    def submit(self, packed: _Shared, task: Task[Any, T, R], items: Sequence[T]) -> Any:
        """The future of a call that does a task for each item."""
        own = self._made_by, packed.head, packed.names, packed.buffers, task, items
        with _sentences():
            return self._client.submit(worker.run, *own, key=f"{task.__name__}-{secrets.token_hex(16)}")

    def forget(self, packed: _Shared) -> None:
        """Have what was sent to workers sent again, once."""
        with suppress(ValueError):  # another call has said so
            self._kept.remove(packed)

    def packed(self, shared: Any) -> _Shared:
        for one in self._kept:
            if one.value is shared:
                return one
        head, found = worker.packed(shared)
        # The workers wait meanwhile.
        names = list(in_threads(lambda buffer: hashlib.sha256(buffer).hexdigest(), found, self.threads))
        named = dict(zip(names, found, strict=True))
        if self._folder is None:
            places = self._sent(named) if named else {}
        else:
            files_of = [(self._folder / name, buffer) for name, buffer in named.items()]
            paths = in_threads(lambda of: _written(*of), files_of, self.threads)
            places = dict(zip(named, paths, strict=True))
        packed = _Shared(shared, head, names, [places[name] for name in names])
        self._kept.append(packed)
        self._clear()
        return packed

    def _sent(self, named: dict[str, memoryview]) -> dict[str, Any]:
        """Futures of what is in buffers, each on a worker, from which others get it."""
        arrays = [np.frombuffer(buffer, np.uint8) for buffer in named.values()]
        for _ in range(_TRIES):
            try:
                # By new names: it may come later that those of before are not needed any more.
                # Not to all at once: dask would wait for ever for one that is lost meanwhile.
                sent = self._client.scatter(arrays, timeout=_PATIENCE, hash=False)
                return dict(zip(named, sent, strict=True))
            except _TIMEOUTS as error:
                raise DisentangleError(f"no worker has come in {_PATIENCE:.0f} seconds: {_AGAIN}") from error
            except OSError:
                if self._client.status != "running":
                    break
                # A worker was lost while it was sent them.
        raise DisentangleError(f"{_LOST}: {_AGAIN}")

    def _clear(self) -> None:
        """Remove files that nothing needs any more; who has one open keeps it."""
        if self._folder is not None:
            needed = {name for one in self._kept for name in one.names}
            for path in self._folder.iterdir():
                if path.name not in needed:
                    path.unlink(missing_ok=True)

    def look(self) -> str | None:
        """Why no worker can do anything now; None if one can."""
        with _sentences():
            # Not there while it looks for a scheduler that was lost; what is asked of it then is never done.
            workers = self._client.scheduler_info(n_workers=-1).get("workers")
        if self._client.status != "running" or workers is None:
            raise DisentangleError(f"{_LOST}: {_AGAIN}")
        if not workers:
            return "the cluster has no workers"
        if all(one.get("status") == "paused" for one in workers.values()):
            return "all workers are at their memory limits"
        return None


def _written(path: Path, buffer: memoryview) -> str:
    """The path of a file that has what is in a buffer."""
    try:
        if not path.exists():
            temporary = path.with_suffix(".part")
            temporary.write_bytes(buffer)
            temporary.rename(path)
    except OSError as error:
        raise DisentangleError(f"cannot write {path}: {error.strerror or error}") from error
    return str(path)


class _Call:
    """A call of one task for some items."""

    def __init__(self, cluster: Cluster, task: Task[Any, T, R], shared: Any, items: Sequence[T]) -> None:
        self._cluster, self._task, self._shared, self._items = cluster, task, shared, items
        self._submit()

    def _submit(self) -> None:
        self._packed = self._cluster.packed(self._shared)
        self._future = self._cluster.submit(self._packed, self._task, self._items)

    def results(self) -> list[Any]:
        """What it has found, for each item; smaller calls where workers died of it."""
        distributed = import_module("distributed")
        for _ in range(_TRIES):
            try:
                return self._waited()
            except distributed.CancelledError as error:
                # The scheduler is gone, or all workers that had the data are.
                if "scheduler" in str(error):
                    raise DisentangleError(f"{_LOST}: {_AGAIN}") from error
                self._cluster.forget(self._packed)
                self._submit()
            except (distributed.KilledWorker, MemoryError) as error:
                if len(self._items) == 1:
                    raise DisentangleError(
                        "workers ended again and again in the same part, probably for want of memory: give "
                        f"each more, or fewer threads, and {_AGAIN}"
                    ) from error
                calls = [_Call(self._cluster, self._task, self._shared, [item]) for item in self._items]
                return [result for call in calls for result in call.results()]
        raise DisentangleError(f"the cluster lost all its workers {_TRIES} times: {_AGAIN}")

    def _waited(self) -> list[Any]:
        since = None
        while True:
            try:
                with _sentences():
                    return list(self._future.result(timeout=_LOOK))
            except _TIMEOUTS:
                why = self._cluster.look()
            since = None if why is None else since or time.monotonic()
            if since is not None and time.monotonic() - since > _PATIENCE:
                raise DisentangleError(f"{why} for {_PATIENCE:.0f} seconds: {_AGAIN}")


_LOST = "the cluster's scheduler is lost"
_AGAIN = "run the same command again, what is finished is kept"


@contextmanager
def _sentences() -> Iterator[None]:
    """A lost connection as a sentence."""
    try:
        yield
    except _TIMEOUTS:
        raise
    except OSError as error:
        raise DisentangleError(f"{_LOST} ({excerpt(str(error))}): {_AGAIN}") from error


def chunks(items: Sequence[T], most: int) -> list[Sequence[T]]:
    """Items side by side, in at most so many chunks; the first, as those of most work may be, are small."""
    share = np.arange(most + 1) / most
    bounds = np.unique(np.ceil(len(items) * share**2).astype(int))
    return [items[i:j] for i, j in pairwise(bounds)]


@contextmanager
def opened(where: str, threads: int, place: Path | None = None) -> Iterator[Cluster]:
    """A cluster's workers, checked.

    Parameters
    ----------
    where : str
        The scheduler's address, or the file that it has written of itself.
    threads : int
        Of this process.
    place : Path, optional
        A folder that workers may see, in which they are given data; by default the system's temporary one.

    Raises
    ------
    DisentangleError
        If dask.distributed is not installed, nothing answers, or there are no workers of the same versions.
    """
    address = _address(where)
    try:
        distributed = import_module("distributed")
    except ModuleNotFoundError as error:
        raise DisentangleError(
            "--cluster needs the package distributed: python -m pip install --no-deps "
            "-r requirements-cluster.txt"
        ) from error
    # They tell of what comes here as an exception, too.
    for name in ("asyncio", *logging.root.manager.loggerDict):
        if name.partition(".")[0] in ("asyncio", "distributed", "tornado"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        client = distributed.Client(address, set_as_default=False)
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        why = excerpt(str(error) or type(error).__name__)
        raise DisentangleError(f"--cluster: no scheduler answers at {excerpt(address)}: {why}") from error
    try:
        with atomic.scratch(place) as folder:
            yield _checked(client, threads, folder)
    finally:
        with suppress(Exception):  # it may be gone
            client.close(timeout=_LOOK)


def _address(where: Any) -> str:
    if not isinstance(where, str):
        said = f"as text, got {type(where).__name__}"
        raise DisentangleError(f"--cluster must be a scheduler's address, or its file, {said}")
    if _ADDRESS.fullmatch(where):
        return where
    path = Path(where)
    if not path.is_file():
        raise DisentangleError(
            f"--cluster must be a scheduler's address, such as tcp://host:8786, or its file, got {where!r}, "
            "which is neither"
        )
    try:
        found = json.loads(files.read(path, _MOST_BYTES))["address"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DisentangleError(f"{path}: expected a scheduler's file, which has its address") from error
    if not isinstance(found, str) or not _ADDRESS.fullmatch(found):
        raise DisentangleError(f"{path}: expected a scheduler's address, found {excerpt(str(found))}")
    return found


def _is_reachable(address: str) -> bool:
    """Whether a connection to a worker can be made from here."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_LOOK):
            return True
    except (OSError, ValueError):
        return False


def _checked(client: Any, threads: int, folder: Path) -> Cluster:
    """The workers, if there are any, and all of the same versions."""
    token = secrets.token_hex(16)
    (folder / token).write_text(token, encoding="utf-8")
    answers: dict[str, Any] = {}
    deadline = None
    with _sentences():
        while not answers:
            try:
                client.wait_for_workers(1, timeout=_PATIENCE)
            except _TIMEOUTS as error:
                raise DisentangleError(f"--cluster: no worker has come in {_PATIENCE:.0f} seconds") from error
            found = client.run(worker.answer, str(folder / token), on_error="return")
            # One that is lost meanwhile does not answer; one that comes later is checked by its first task.
            answers = {name: own for name, own in found.items() if not isinstance(own, OSError)}
            if found and not answers:
                # One that the scheduler cannot reach stays, and never answers.
                deadline = deadline or time.monotonic() + _PATIENCE
                if time.monotonic() > deadline:
                    name, answer = next(iter(found.items()))
                    raise DisentangleError(
                        f"--cluster: {name} has not answered in {_PATIENCE:.0f} seconds: "
                        f"{excerpt(f'{type(answer).__name__}: {answer}')}"
                    )
                time.sleep(_AGAIN_AFTER)
        try:
            answers["scheduler"] = client.run_on_scheduler(worker.answer, str(folder / token))
        except (ImportError, AttributeError, RuntimeError) as error:  # it reads what is sent to workers
            answers["scheduler"] = error
        # One that has gone by now is missed when it is to do something.
        slots = max(1, sum(client.nthreads().values()))
    is_seen = True
    for name, own in answers.items():
        if not isinstance(own, tuple):
            raise DisentangleError(
                f"--cluster: {name} cannot run disentangle, install the same version there: "
                f"{excerpt(f'{type(own).__name__}: {own}')}"
            )
        worker.check(own[0], worker.made_by(), name)
        is_seen &= own[1] == token or name == "scheduler"
    (folder / token).unlink()
    # What they have found need not go through the scheduler.
    client.direct_to_workers = all(map(_is_reachable, set(answers) - {"scheduler"}))
    logger.info(
        "cluster: %d worker%s, %d thread%s; dashboard %s",
        *(len(answers) - 1, "s" * (len(answers) != 2), slots, "s" * (slots != 1), client.dashboard_link),
    )
    how = "workers read data from %s" if is_seen else "workers do not see %s and are sent data"
    logger.info(f"cluster: {how}", folder)
    return Cluster(client, threads, slots, folder if is_seen else None)
