"""A server of bundles as another process, for what measures it and for its tests."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

SOURCE = Path(__file__).resolve().parents[1] / "src"


class Server(NamedTuple):
    """One that listens.

    Attributes
    ----------
    url : str
        Without a slash at its end.
    process : Popen
    log : list of str
        Lines that it has written so far.
    """

    url: str
    process: subprocess.Popen[str]
    log: list[str]


@contextmanager
def serving(*arguments: str | Path) -> Iterator[Server]:
    """Run `python -m disentangle serve` with these arguments, on a free port, while something is done.

    Raises
    ------
    RuntimeError
        If it ends before it listens.
    """
    command = [sys.executable, "-m", "disentangle", "serve", *map(str, arguments), "--port", "0"]
    env = os.environ | {"PYTHONPATH": str(SOURCE)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env) as process:
        errors: IO[str] = process.stderr  # type: ignore[assignment]
        log: list[str] = []
        try:
            for line in errors:
                log.append(line.rstrip("\n"))
                if " serving at " in line:
                    break
            else:
                raise RuntimeError("\n".join(log))
            # Its log must be read on: a full pipe would stop it.
            reader = threading.Thread(target=lambda: log.extend(line.rstrip("\n") for line in errors))
            reader.start()
            yield Server(log[-1].rpartition(" ")[2].rstrip("/"), process, log)
        finally:
            process.terminate()
            process.wait()
    reader.join()
