"""One training of scaling.py, in a process of its own that notes what its threads share.

    python benchmarks/scaling_process.py OUT.json ARGUMENT ...

runs `python -m disentangle ARGUMENT ...`. OUT.json gets for each step its name, the seconds in which no work
is shared out, and for each call that shares work out the seconds of all parts together, and of the longest.
"""

from __future__ import annotations

import functools
import json
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from disentangle.runtime import threads

# Of jobs.steps, those that train.
STEPS = ("build_tree", "regroup_tree", "train_matcher", "match", "assign", "retrain")
# Beginning and end, seconds of all parts and of the longest.
Call = tuple[float, float, float, float]


def noting(in_threads: Callable[..., Iterator[Any]], calls: list[Call]) -> Callable[..., Iterator[Any]]:
    """The same, with each call noted, but for those that a part makes."""
    parts = threading.local()

    def noted(call: Callable[[Any], Any], items: Iterable[Any], threads: int) -> Iterator[Any]:
        start, seconds = time.perf_counter(), [0.0]
        # `in_blocks` cuts work into as many parts as threads ask for: none of them is one to wait for.
        is_cut = sys._getframe(1).f_code.co_name == "in_blocks"

        def timed(item: Any) -> Any:
            start, parts.is_one = time.perf_counter(), True
            try:
                return call(item)
            finally:
                seconds.append(time.perf_counter() - start)

        yield from in_threads(timed, items, threads)
        if not getattr(parts, "is_one", False):
            longest = 0.0 if is_cut else max(seconds)
            calls.append((start, time.perf_counter(), sum(seconds), longest))

    return noted


def alone(start: float, end: float, calls: list[Call]) -> float:
    """Seconds from start to end in which nothing is shared out; a call may lie within another."""
    found = end - start
    for begins, ends, *_ in sorted(calls):
        found -= max(0.0, ends - max(begins, start))
        start = max(start, ends)
    return found


def watch(steps: Any, calls: list[Call], noted: list[dict[str, Any]]) -> None:
    """Note each step that is made."""

    def watched(name: str, step: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(step)
        def made(*args: Any, **how: Any) -> Any:
            start, n = time.perf_counter(), len(calls)
            result = step(*args, **how)
            own = calls[n:]
            seconds = alone(start, time.perf_counter(), own)
            noted.append({"step": name, "alone": seconds, "calls": [call[2:] for call in own]})
            return result

        return made

    for name in STEPS:
        setattr(steps, name, watched(name, getattr(steps, name)))


def main() -> None:
    """Run the command, and write what was noted."""
    out, calls, noted = Path(sys.argv[1]), list[Call](), list[dict[str, Any]]()
    # Before anything takes it by its name.
    threads.in_threads = noting(threads.in_threads, calls)
    from disentangle.cli.main import main as command
    from disentangle.jobs import steps

    watch(steps, calls, noted)
    sys.argv[:] = ["disentangle", *sys.argv[2:]]
    try:
        command()
    finally:
        out.write_text(json.dumps(noted), encoding="utf-8")


if __name__ == "__main__":
    main()
