"""Loaded by workers (`--preload`): one of them is killed in each step, when it has its first part."""

from __future__ import annotations

import hashlib
import os
import signal
from pathlib import Path
from typing import Any

from disentangle.jobs import worker


def dask_setup(of: Any) -> None:
    run = worker.run

    def killed_once(made_by: Any, head: bytes, names: list[str], buffers: Any, task: Any, items: Any) -> Any:
        # Steps are told apart by what is done and by what their parts share.
        shared = hashlib.sha256(head + "".join(names).encode()).hexdigest()
        step = Path(os.environ["KILLED_IN"], f"{task.__module__.split('.')[-1]}.{task.__name__} {shared}")
        try:
            step.touch(exist_ok=False)
        except FileExistsError:
            return run(made_by, head, names, buffers, task, items)
        os.kill(os.getpid(), signal.SIGKILL)
        return None

    worker.run = killed_once
