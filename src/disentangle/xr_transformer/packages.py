"""The packages that PECOS's XR-Transformer takes: other versions than `encode` does."""

from __future__ import annotations

import os
from importlib import metadata
from importlib.util import find_spec

from ..encoder import packages
from ..errors import DisentangleError

# PECOS takes classes of transformers that later releases have dropped.
_BEFORE = (4, 50)
_NEEDS = (
    "XR-Transformer needs the packages torch and transformers before {}.{}, found {}: "
    "python -m pip install -r requirements-xr-transformer.txt"
)


def require(threads: int = 1) -> None:
    """Raise DisentangleError unless they are installed; tell them how many threads there may be.

    To be called before any of them is imported. Nothing will be fetched from a hub.
    """
    if missing := [name for name in packages.PACKAGES if find_spec(name) is None]:
        raise DisentangleError(_NEEDS.format(*_BEFORE, f"no {', '.join(missing)}"))
    found = metadata.version("transformers")
    if tuple(int(part) for part in found.split(".")[:2]) >= _BEFORE:
        raise DisentangleError(_NEEDS.format(*_BEFORE, f"transformers {found}"))
    os.environ["HF_HUB_OFFLINE"] = "1"
    packages.require(threads)
