"""Label disentanglement in partition-based extreme multi-label classification, on PECOS's XR-Linear."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api.bundle import load
    from .api.classifier import LabelTreeClassifier

__version__ = "0.29.0"
__all__ = ["LabelTreeClassifier", "__version__", "load"]
# Where what is used from Python lies: imported when it is asked for, as numpy and scikit-learn take a second.
_PLACES = {"LabelTreeClassifier": "classifier", "load": "bundle"}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".api.{_PLACES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
