"""What a worker of a cluster runs, and how data get there."""

from __future__ import annotations

import hashlib
import pickle
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DisentangleError
from ..runtime import provenance
from ..runtime.threads import limit_threads

# Of an array that is worth a file of its own.
_LEAST_BYTES = 1 << 12
# Of what tasks share: those of a stage that ends, and of the next one.
_loaded: deque[tuple[str, Any]] = deque(maxlen=2)
_loading = threading.Lock()


@cache
def made_by() -> dict[str, str]:
    """What all workers and whoever asks them must have in common, or results might differ."""
    sha = hashlib.sha256()
    package = Path(__file__).parents[1]
    for path in sorted(package.rglob("*.py")):
        sha.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    dask = {"distributed": metadata.version("distributed")}
    return provenance.versions() | dask | {"disentangle's code": sha.hexdigest()[:12]}


def check(found: dict[str, str], expected: dict[str, str], name: str) -> None:
    """Raise DisentangleError unless a worker has the same versions."""
    for what, version in expected.items():
        if found.get(what) != version:
            raise DisentangleError(
                f"--cluster: {name} must have {what} {version}, as is here, found {found.get(what, 'none')}"
            )


def answer(path: str) -> tuple[dict[str, str], str | None]:
    """A worker's versions, and what it reads in a file; None if it cannot."""
    text = None
    with suppress(OSError, ValueError):
        text = Path(path).read_text(encoding="utf-8")
    return made_by(), text


def packed(value: Any) -> tuple[bytes, list[memoryview]]:
    """A value, pickled for another process, and its arrays' memory apart."""
    buffers: list[memoryview] = []

    def is_small(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes >= _LEAST_BYTES:
            buffers.append(raw)
        return raw.nbytes < _LEAST_BYTES

    return pickle.dumps(value, protocol=5, buffer_callback=is_small), buffers


def run(
    made_by_whom: dict[str, str],
    head: bytes,
    names: Sequence[str],
    buffers: Sequence[Any],
    task: Any,
    items: Sequence[Any],
) -> list[Any]:
    """What a task finds for each item, in one thread.

    Parameters
    ----------
    made_by_whom : dict
        From `made_by`: a worker may have come after all were checked.
    head : bytes
        Of what all share, from `packed`, by dask's own connections and never from a file.
    names : sequence of str
        Sha256 of each of its arrays.
    buffers : sequence of str, or of ndarray
        Their files, or they themselves.
    task : callable
        Takes what all share, an item and a number of threads.
    items : sequence
    """
    check(made_by(), made_by_whom, "a worker that came last")
    limit_threads(1)
    shared = _shared(head, names, buffers)
    return [task(shared, item, 1) for item in items]


def _shared(head: bytes, names: Sequence[str], buffers: Sequence[Any]) -> Any:
    """What all share, loaded once for all threads of a worker."""
    key = hashlib.sha256(b"".join([head, *map(str.encode, names)])).hexdigest()
    with _loading:
        for name, value in _loaded:
            if name == key:
                return value
        value = pickle.loads(head, buffers=map(_mapped, buffers))
        _loaded.append((key, value))
        return value


def _mapped(buffer: Any) -> np.ndarray:
    """An array's memory; kernels take none that is read-only, and none of it is ever written to."""
    if isinstance(buffer, str):
        try:
            return np.memmap(buffer, np.uint8, "c")
        except OSError as error:
            raise DisentangleError(f"a worker cannot read {buffer}: {error.strerror or error}") from error
    return buffer if buffer.flags.writeable else buffer.copy()
