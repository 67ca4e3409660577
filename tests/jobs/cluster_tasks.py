"""Tasks that workers do in tests: of a module of their own, which they can import."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from disentangle.errors import DisentangleError


def add(shared: dict[str, Any], item: int, threads: int) -> tuple[float, int]:
    return float(shared["values"][item] + shared["M"][item].sum()), threads


def fail(shared: str, item: int, threads: int) -> None:
    raise DisentangleError(f"{shared} {item}")


def die(shared: Path, item: int, threads: int) -> int:
    """End the worker's process if the item is 3; the first time only, if there is a file that says so."""
    done = shared.with_suffix(".done")
    if item == 3 and not done.exists():
        if shared.exists():
            done.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return item
