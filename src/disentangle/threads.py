"""How many threads there may be: told to every library that reads it from the environment."""

from __future__ import annotations

import os


def limit_threads(threads: int) -> None:
    """Tell BLAS and numba, which read it when they are imported; PECOS is told call by call."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = str(threads)
    # On a machine shared with other work, threads that spin while they wait hold each other up.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
