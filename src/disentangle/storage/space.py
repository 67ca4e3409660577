"""Free space on disk, of which a reserve is left to others."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from rich.filesize import decimal

from ..errors import DisentangleError

# Programs beside this one go on writing logs and temporary files, some tens of megabytes until somebody has
# read the message, and this one its records.
RESERVE = 128_000_000


def check(folder: Path, n_bytes: int, what: str) -> None:
    """Make sure that `n_bytes` more can be written and the reserve is left.

    Raises
    ------
    DisentangleError
        From an OSError, as if the disk were full. The sentence goes on with `what`: who needs how much.
    """
    free = shutil.disk_usage(folder).free
    if n_bytes > free - RESERVE:
        raise DisentangleError(
            f"not enough space in {folder}: {what}, {decimal(free)} is free, "
            f"of which {decimal(RESERVE)} must stay so"
        ) from OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
