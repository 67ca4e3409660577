"""Which code and versions made a result, on what machine, and what memory it took."""

from __future__ import annotations

import hashlib
import inspect
import logging
import os
import platform
import re
from collections.abc import Callable
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from .. import __version__

logger = logging.getLogger(__name__)


def versions() -> dict[str, str]:
    """Versions of everything that results depend on."""
    return {"disentangle": __version__, "python": platform.python_version(), **dict(_packages())}


@cache
def _packages() -> tuple[tuple[str, str], ...]:
    # Each stage asks, and to read one takes milliseconds.
    packages = ("libpecos", "numpy", "scipy", "numba", "scikit-learn")
    return tuple((name, metadata.version(name)) for name in packages)


def machine() -> dict[str, Any]:
    """What a reader needs to judge the seconds by."""
    found = re.search(r"^model name[^:\n]*:(.*)", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    model = found[1].strip() if found else platform.machine()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30, 1),
    }


def code_of(modules: tuple[str, ...], functions: tuple[Callable, ...]) -> str:
    """Sha256 of modules of this package, by name, and of functions with the constants that these name.

    So a changed rule, or a changed number in it, makes results stale.
    """
    sha = hashlib.sha256()
    for module in modules:
        sha.update((Path(__file__).parents[1] / f"{module.replace('.', '/')}.py").read_bytes())
    for function in functions:
        plain = getattr(function, "func", function)  # of a partial
        sha.update(inspect.getsource(plain).encode())
        named = inspect.getclosurevars(plain).globals.items()
        constants = {name: value for name, value in named if isinstance(value, (int, float, str))}
        sha.update(repr(sorted(constants.items())).encode())
    return sha.hexdigest()


def reset_peak_rss() -> None:
    """Let the kernel count the peak from now on; where it is forbidden the peak is an upper bound."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        logger.debug("the peak memory of single stages cannot be told apart here")


def peak_rss_mib() -> int:
    """Most memory that the process has held, in MiB, since `reset_peak_rss`."""
    found = re.search(r"^VmHWM:\s*(\d+)", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(found[1]) // 1024 if found else 0
