"""PECOS, imported only where it will find its library.

What PECOS cannot load it tries to build with a shell, to which it gives the name of its folder: a user's.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
from pathlib import Path

from ..errors import DisentangleError
from . import compat

_PATTERN = "libpecos_float32*.so"
# By these OpenMP starts fewer threads than it is told to. PECOS adds up what each of them has left, and takes
# what is not there for old sums: the clusters of XR-Transformer would silently be others.
_FEWER = ("OMP_THREAD_LIMIT", "OMP_DYNAMIC", "OMP_MAX_ACTIVE_LEVELS")


def load_library() -> None:
    """Raise DisentangleError unless PECOS will find and load its library."""
    if (spec := importlib.util.find_spec("pecos")) is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("No module named 'pecos'", name="pecos")
    folder = Path(spec.submodule_search_locations[0]) / "core"
    libraries = sorted(folder.glob(_PATTERN))
    if any(c in str(folder) for c in "*?["):  # PECOS takes its path for a pattern
        raise DisentangleError(f"libpecos must lie in a folder without * ? [ in its name, found {folder}")
    if not libraries:
        raise DisentangleError(f"{folder} must hold {_PATTERN}, found none: install libpecos again")
    for name in _FEWER:
        os.environ.pop(name, None)
    try:
        ctypes.CDLL(str(libraries[0]))
    except OSError as error:
        raise DisentangleError(f"cannot load PECOS's library: {error}") from error


load_library()

from pecos.utils import smat_util

compat.apply(smat_util)

from pecos.utils.cluster_util import ClusterChain
from pecos.xmc import HierarchicalMLModel, MLModel
from pecos.xmc.base import HierarchicalKMeans, MLProblem
from pecos.xmc.xlinear import XLinearModel

__all__ = [
    "ClusterChain",
    "HierarchicalKMeans",
    "HierarchicalMLModel",
    "MLModel",
    "MLProblem",
    "XLinearModel",
    "smat_util",
]
