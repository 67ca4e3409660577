"""A server of bundles as another process, for what measures it and for its tests."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

SOURCE = Path(__file__).resolve().parents[1] / "src"


class Server:
    """One that listens.

    Attributes
    ----------
    url : str
        Without a slash at its end.
    process : Popen
    log : list of str
        Lines that it has written so far.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process, self.log = process, list[str]()
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self.reader = threading.Thread(target=self._read)
        self.reader.start()
        self.url = self.wait_for(" serving at ").rpartition(" ")[2].rstrip("/")

    def wait_for(self, words: str) -> str:
        """The next line of its log with these words.

        Raises
        ------
        RuntimeError
            If it ends before.
        """
        while (line := self._lines.get()) is not None:
            if words in line:
                return line
        raise RuntimeError("\n".join(self.log))

    def _read(self) -> None:
        """Read its log, all of it: a full pipe would stop it."""
        for line in self.process.stderr or ():
            self.log.append(line.rstrip("\n"))
            self._lines.put(self.log[-1])
        self._lines.put(None)


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
        try:
            server = Server(process)
            yield server
        finally:
            process.terminate()
            process.wait()
        server.reader.join()
