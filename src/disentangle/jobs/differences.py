"""How a report's runs differ from XR-Linear and from the paper's rule, instance by instance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import DisentangleError
from ..evaluate import significance
from ..evaluate.outcomes import Outcomes
from ..presets import DEFAULT_PRESET
from ..storage.saved import Saved
from .columns import setting_of

Run = dict[str, Any]
# Names by the variants of the runs that others are compared with.
REFERENCES = {None: "XR-Linear", DEFAULT_PRESET: DEFAULT_PRESET}


class Comparison:
    """Differences between runs whose evaluations lie in one folder.

    Parameters
    ----------
    folder : Path
        That the runs' evaluations are named in.
    columns : sequence of str
        As `significance.compare` takes them.
    same_instances : bool
        Whether runs of different seeds are evaluated on the same instances.
    """

    def __init__(
        self,
        folder: Path,
        columns: Sequence[str] = significance.COLUMNS,
        same_instances: bool = True,
    ) -> None:
        self._folder = folder
        self._columns = columns
        self._same_instances = same_instances
        self._outcomes: Callable[[str], Outcomes] = cache(
            lambda evaluation: Outcomes.load(Saved.at(folder / evaluation)[0])
        )

    def between(self, before: Sequence[Run], after: Sequence[Run]) -> dict[str, dict[str, float]]:
        """By how much each run of `after` is better than the one of `before` in its place: in the mean."""
        pairs = [
            (self._outcomes(one["evaluation"]), self._outcomes(other["evaluation"]))
            for one, other in zip(before, after, strict=True)
        ]
        for (one, other), first, second in zip(pairs, before, after, strict=True):
            if one.hits.shape != other.hits.shape or (one.n_true != other.n_true).any():
                raise DisentangleError(
                    f"{self._folder / second['evaluation']} must be of the same test instances as "
                    f"{self._folder / first['evaluation']}, found others: remove both and run the job again"
                )
        found = significance.compare(pairs, self._columns, self._same_instances)
        return {name: _said(one) for name, one in found.items()}

    def to_references(self, runs: Sequence[Sequence[Run]]) -> list[list[dict[str, Any]]]:
        """For each way to overlap, given as its runs over seeds, its differences to those of `REFERENCES`.

        One is left out where it is not among the runs, or is the way itself.
        """
        of_setting = {setting_of(own[0]): own for own in runs}
        found = []
        for own in runs:
            variant, *rest = setting_of(own[0])
            others = {name: of_setting.get((one, *rest)) for one, name in REFERENCES.items()}
            if variant is None:  # XR-Linear is what the others are compared with
                others = {}
            found.append(
                [
                    {"to": name} | self.between(other, own)
                    for name, other in others.items()
                    if other is not None and other is not own
                ]
            )
        return found

    def added(self, runs: Sequence[Run]) -> list[Run]:
        """Runs of one seed with "differences", where there are any."""
        found = self.to_references([[run] for run in runs])
        return [run | ({"differences": own} if own else {}) for run, own in zip(runs, found, strict=True)]


def _said(one: significance.Difference) -> dict[str, float]:
    return {name: round(value, 4) + 0.0 for name, value in asdict(one).items() if value is not None}


def excludes_zero(difference: dict[str, float]) -> bool:
    """Whether an interval leaves 0 out: more than chance."""
    return difference["low"] > 0 or difference["high"] < 0
