"""The packages that an encoder takes, which nothing else needs and the base installation has not."""

from __future__ import annotations

import os
from importlib import metadata
from importlib.util import find_spec

from ..errors import DisentangleError

PACKAGES = ("torch", "transformers", "tokenizers", "safetensors")
# Unless the user has said otherwise: standard error is for what this package has to say.
_USUAL = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
}


def require(threads: int = 1) -> None:
    """Raise DisentangleError unless they are installed; tell them how many threads there may be.

    To be called before any of them is imported.
    """
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        raise DisentangleError(
            f"an encoder needs the packages {', '.join(PACKAGES)}, found no {', '.join(missing)}: "
            "python -m pip install -r requirements-encoder.txt"
        )
    os.environ["RAYON_NUM_THREADS"] = str(threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if threads > 1 else "false"
    for name, value in _USUAL.items():
        os.environ.setdefault(name, value)


def versions() -> dict[str, str]:
    """Their versions, without what tells a build for GPUs from one for CPUs."""
    return {name: metadata.version(name).partition("+")[0] for name in PACKAGES}
