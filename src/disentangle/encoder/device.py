"""Where an encoder runs, in what precision, and what is done when a GPU has too little memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import torch

from ..errors import DisentangleError

logger = logging.getLogger(__name__)

T = TypeVar("T")
_TOO_SMALL = (
    "the GPU's memory is too small for {}: a smaller --max-length or another encoder needs less, "
    "--device cpu none"
)


def choose(asked: str) -> Any:
    """The device of a name: "cpu", "cuda" for a GPU, "auto" for that if there is one.

    Raises
    ------
    DisentangleError
        If a GPU is asked for and there is none.
    """
    if asked == "auto":
        asked = "cuda" if torch.cuda.is_available() else "cpu"
    if asked == "cuda" and not torch.cuda.is_available():
        build = f"torch {torch.__version__}" + ("" if torch.version.cuda else ", a build without CUDA")
        raise DisentangleError(f"--device cuda needs a GPU that torch can use, found none ({build})")
    return torch.device(asked)


def limit_threads(threads: int) -> None:
    """Of torch, whose own number is the machine's."""
    torch.set_num_threads(threads)


def mixed_precision(device: Any) -> AbstractContextManager:
    """Bfloat16 where that is exact enough and faster, on a GPU; float32 on a CPU."""
    return torch.autocast("cuda", dtype=torch.bfloat16) if device.type == "cuda" else nullcontext()


@contextmanager
def has_room() -> Iterator[None]:
    """One sentence where the GPU has no room for what does not depend on how many texts there are."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise DisentangleError(_TOO_SMALL.format("the encoder itself")) from None


class Portions:
    """How many texts go through an encoder at a time: half as many whenever the GPU's memory is too small.

    Parameters
    ----------
    size : int
        At first.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def run(self, call: Callable[[int], T]) -> T:
        """What `call` returns, with as many texts at a time as there is room for.

        Raises
        ------
        DisentangleError
            If there is not room for one.
        """
        while True:
            try:
                return call(self.size)
            except torch.OutOfMemoryError:
                pass  # what the call held is free once its error has gone
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            if self.size == 1:
                raise DisentangleError(_TOO_SMALL.format("one text at a time"))
            self.size = -(-self.size // 2)
            logger.warning("note: the GPU's memory is too small: %s texts at a time from now on", self.size)
