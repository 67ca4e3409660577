"""Ranges of parameters: declared where a parameter is, checked in one place, by the name that is typed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from typing import Any

from .errors import DisentangleError

# PECOS takes C integers, and some are added up: a larger one would come out as another number there.
MAX_COUNT = 2**30
# Far beyond what makes a difference, and near enough that nothing computed with it is infinite.
MAX_NUMBER = 1e9


@dataclass(frozen=True)
class Limits:
    """The range of a number.

    Attributes
    ----------
    low, high : int or float
        Integers ask for an integer.
    is_open : bool
        Whether `low` itself is too low.
    """

    low: float
    high: float = MAX_COUNT
    is_open: bool = False

    def check(self, name: str, value: Any) -> None:
        """Raise DisentangleError, with this name, unless `value` is in the range."""
        kind, what = (Integral, "an integer") if isinstance(self.low, int) else (Real, "a number")
        is_number = isinstance(value, kind) and value == value  # NaN is not
        if not is_number:
            rule = what
        elif value < self.low or (self.is_open and value == self.low):
            rule = f"{'above' if self.is_open else 'at least'} {self.low:.10g}"
        elif value > self.high:
            rule = f"at most {self.high:.10g}"
        else:
            return
        found = str(value)
        raise DisentangleError(
            f"{name} must be {rule}, got {found if len(found) <= 40 else f'{found[:37]}...'}"
        )


def option(name: str) -> str:
    """A parameter by the name that is typed for it: messages call it so, whoever has set it."""
    return "--" + _OPTIONS.get(name, name).replace("_", "-")


_OPTIONS = {"A": "propensity-a", "B": "propensity-b"}


def at_least(name: str, value: int, minimum: int) -> None:
    """Raise DisentangleError unless an integer is in its range."""
    Limits(minimum).check(name, value)


def limited(default: Any, low: float, high: float = MAX_COUNT, is_open: bool = False, words: str = "") -> Any:
    """A field of a dataclass with its default, the range that `check_limits` looks up, and help for it."""
    return field(default=default, metadata={"limits": Limits(low, high, is_open), "words": words})


def chosen(default: str, choices: Collection[str], words: str) -> Any:
    """The same for one of several names, also of those that a table gets later."""
    return field(default=default, metadata={"choices": choices, "words": words})


def check_limits(params: Any) -> None:
    """Raise DisentangleError unless the fields of a dataclass have values in the ranges that they declare."""
    for one in fields(params):
        value = getattr(params, one.name)
        if "limits" in one.metadata and not (value is None and one.default is None):
            one.metadata["limits"].check(option(one.name), value)
        choices = one.metadata.get("choices", (value,))
        if value not in choices:
            raise DisentangleError(f"{option(one.name)} must be one of {', '.join(choices)}, got {value!r}")
