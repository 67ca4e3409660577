"""Who does the independent parts of a step: threads of this process, or whoever else takes them.

A step says what its parts are and does not know who does them; results never depend on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

import numpy as np

from .threads import in_threads

S = TypeVar("S")
T = TypeVar("T")
R = TypeVar("R")
# Takes what all parts share, a part, and the threads that it may have. Of a module, so that it has a name
# elsewhere; what is shared can be pickled, and is not changed.
Task = Callable[[S, T, int], R]


class Workers(Protocol):
    """Whoever does the parts of a step.

    Attributes
    ----------
    threads : int
        Of this process, for what is not shared out.
    slots : int
        Parts that are worked on side by side.
    parts : int
        Into how many parts to cut what one call could do as well, in several threads of its own.
    """

    threads: int
    slots: int
    parts: int

    def map(self, task: Task[S, T, R], shared: S, items: Iterable[T]) -> Iterator[R]:
        """Results of parts that have one thread each, in the order of the items."""

    def in_turn(self, task: Task[S, T, R], shared: S, items: Iterable[T]) -> Iterator[R]:
        """The same for parts that may as well have all threads, one after another."""


class Threads:
    """Threads of this process.

    Parameters
    ----------
    threads : int
    """

    parts = 1

    def __init__(self, threads: int) -> None:
        self.threads = self.slots = threads

    def map(self, task: Task[S, T, R], shared: S, items: Iterable[T]) -> Iterator[R]:
        return in_threads(lambda item: task(shared, item, 1), items, self.threads)

    def in_turn(self, task: Task[S, T, R], shared: S, items: Iterable[T]) -> Iterator[R]:
        return (task(shared, item, self.threads) for item in items)


def workers_of(threads: int | Workers) -> Workers:
    """Who is meant: so many threads of this process, or whoever is given."""
    return Threads(threads) if isinstance(threads, int) else threads


def split(ids: np.ndarray, workers: Workers) -> list[np.ndarray]:
    """Ids in as many parts as are worth a call each; none is empty."""
    return [part for part in np.array_split(ids, workers.parts) if len(part)]


def most_rows(n_rows: int, most: int, workers: Workers) -> int:
    """Rows of a batch: at most so many, and so few that there is a batch for each part."""
    return max(1, min(most, -(-n_rows // workers.parts)))
