"""What fine-tuning goes on from: tensors as safetensors, numbers as JSON, whole or not there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ..errors import DisentangleError
from ..storage import atomic, files

_STATE, _TENSORS = "state.json", "tensors.safetensors"
_MOST_BYTES = 1 << 24


def save(folder: Path, key: str, state: dict[str, Any], tensors: dict[str, Any]) -> None:
    """Put a checkpoint in the place of the one before it.

    Parameters
    ----------
    folder : Path
    key : str
        Of what is being made; a checkpoint of anything else is none.
    state : dict
        JSON.
    tensors : dict of str to Tensor

    Raises
    ------
    DisentangleError
        If it cannot be written.
    """
    with writing(folder), atomic.making(folder, _STATE) as temporary:
        save_file({name: one.contiguous() for name, one in tensors.items()}, temporary / _TENSORS)
        said = {"key": key, "sha256": files.sha256(temporary / _TENSORS), "state": state}
        (temporary / _STATE).write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """One sentence where a folder of tensors cannot be written, which safetensors says with no OSError."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DisentangleError(f"cannot write {folder}: {reason}") from error


def load(folder: Path, key: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """State and tensors of the checkpoint of this key; None if it is not there, damaged or another's."""
    try:
        said = json.loads(files.read(folder / _STATE, _MOST_BYTES))
        if said["key"] != key or files.sha256(folder / _TENSORS) != said["sha256"]:
            return None
        return said["state"], load_file(folder / _TENSORS)
    except (DisentangleError, ValueError, KeyError, TypeError, RecursionError):
        return None
