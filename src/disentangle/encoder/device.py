"""Where an encoder runs, in what precision, and what is done when there is too little memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import torch

from ..errors import DisentangleError, excerpt

logger = logging.getLogger(__name__)

T = TypeVar("T")
_TOO_SMALL = (
    "memory is too small for {}: a smaller --max-length or another encoder needs less, and "
    "--device cpu none of a GPU's (CUDA_VISIBLE_DEVICES= in the environment does the same)"
)
# What x86 and ARM call it.
_BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16")
# Older releases of torch do not tell.
_capabilities: Callable[[], Mapping[str, Any]] = getattr(torch.cpu, "get_capabilities", dict)
# Of errors that are no OutOfMemoryError: cuBLAS's and cuDNN's, the driver's, and a CPU's.
_NO_ROOM = ("STATUS_ALLOC_FAILED", "CUDA error: out of memory", "DefaultCPUAllocator: can't allocate memory")


def choose(asked: str) -> Any:
    """The device of a name: "cpu", "cuda" for a GPU, "auto" for that if there is one that works.

    Raises
    ------
    DisentangleError
        If a GPU is asked for and there is none that torch can use.
    """
    if asked == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        build = f"torch {torch.__version__}" + ("" if torch.version.cuda else ", a build without CUDA")
        reason = f"none ({build})"
    elif reason := _trouble():
        logger.warning("note: there is a GPU that torch cannot use: %s", reason)
    if reason and asked == "cuda":
        raise DisentangleError(f"--device cuda needs a GPU that torch can use, found {reason}")
    return torch.device("cpu" if reason else "cuda")


def _trouble() -> str:
    """What a GPU says that others keep busy, or that this build of torch has no programs for; else ""."""
    try:
        torch.ones(1, device="cuda").sum().item()
    except RuntimeError as error:
        return excerpt(str(error))
    return ""


def limit_threads(threads: int) -> None:
    """Of torch, whose own number is the machine's."""
    torch.set_num_threads(threads)


def mixed_precision(device: Any, is_training: bool) -> AbstractContextManager:
    """Bfloat16 where the processor computes in it, which is exact enough and faster; else float32.

    On a CPU in training alone, as what it encodes is to be the same on others.
    """
    if device.type == "cuda":
        is_fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        is_fast = is_training and any(_capabilities().get(name) for name in _BFLOAT16)
    return torch.autocast(device.type, dtype=torch.bfloat16) if is_fast else nullcontext()


@contextmanager
def has_room() -> Iterator[None]:
    """One sentence where there is no room for what does not depend on how many texts there are."""
    try:
        yield
    except RuntimeError as error:
        if not lacks_room(error):
            raise
        raise DisentangleError(_TOO_SMALL.format("the encoder itself")) from None


def lacks_room(error: RuntimeError) -> bool:
    """Whether memory is too small; libraries and the driver have words of their own for that."""
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in _NO_ROOM)


class Portions:
    """How many texts go through an encoder at a time: half as many whenever memory is too small.

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
            # Another thread may change it meanwhile.
            size = self.size
            try:
                return call(size)
            except RuntimeError as error:
                if not lacks_room(error):
                    raise
                # What the call held is free once its error has gone.
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            if size == 1:
                raise DisentangleError(_TOO_SMALL.format("one text at a time"))
            self.size = min(self.size, -(-size // 2))
            logger.warning("note: memory is too small: %s texts at a time from now on", self.size)
