"""What a job is run with: settings, and the ways to overlap that it compares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from ..errors import DisentangleError
from ..limits import Limits, check_limits
from ..params import MAX_REPEATS, SCORING, OverlapParams, PredictParams, Propensity, TreeParams
from ..presets import DEFAULT_PRESET, PRESETS
from ..runtime.memory import Budget
from ..runtime.threads import check_threads
from ..runtime.workers import Workers

# Of the 255 bytes of a file system some are for what stands beside a variant's name.
_LONGEST = 200
P = TypeVar("P")


@dataclass(frozen=True)
class Variant:
    """One way to overlap.

    Attributes
    ----------
    name : str
        The preset's, with what was changed of it. Its evaluation's folder ends in what is not in `folder`.
    folder : str
        Of its models: the same without the parts of which they know nothing.
    preset : str
        Name of the setting that `params` started from.
    params : OverlapParams
    """

    name: str
    folder: str
    preset: str
    params: OverlapParams


@dataclass(frozen=True)
class Settings:
    """What a job is run with.

    Attributes
    ----------
    variants : tuple of Variant
        Ways to overlap, each compared with XR-Linear.
    n_trees : int
        How many trees there are in the ensembles that are compared as well; 1 for none.
    threads : int
        Has no effect on results, nor have `force` and `workers`.
    max_memory : float or None
        GiB that the process may hold; no effect on results either.
    force : bool
        Redo stages that are done.
    xr_linear : bool
        Whether XR-Linear itself is reported, and so trained whole in any case.
    workers : Workers or None
        Who does what can be shared out; None for the threads.
    """

    threads: int
    variants: tuple[Variant, ...] = (
        Variant(DEFAULT_PRESET, DEFAULT_PRESET, DEFAULT_PRESET, PRESETS[DEFAULT_PRESET]),
    )
    tree: TreeParams = field(default_factory=TreeParams)
    n_trees: int = field(default=1, metadata={"limits": Limits(1, MAX_REPEATS)})
    predict: PredictParams = field(default_factory=PredictParams)
    propensity: Propensity = field(default_factory=Propensity)
    max_memory: float | None = None
    force: bool = False
    xr_linear: bool = True
    workers: Workers | None = field(default=None, compare=False, repr=False)

    @property
    def slots(self) -> int:
        """How many parts of a step are worked on side by side."""
        return self.workers.slots if self.workers else self.threads

    def budget(self, folder: Path | None = None) -> Budget:
        """What a job may hold; what it may not lies in files of this folder."""
        return replace(Budget.of(self.max_memory), folder=folder)

    def prediction(self, variant: Variant | None) -> PredictParams:
        """How XR-Linear (None), or a variant's retrained model, predicts."""
        if variant is None or (beam_size := variant.params.scoring.predict_beam) is None:
            return self.predict
        return replace(self.predict, beam_size=beam_size)

    def said(self) -> dict[str, Any]:
        """What figures depend on besides data and variant, for the report."""
        return asdict(self.tree) | asdict(self.predict) | {"propensity": asdict(self.propensity)}

    def validate(self) -> None:
        for params in (self.tree, self.predict, self.propensity):
            params.validate()
        for variant in self.variants:
            variant.params.validate()
        check_limits(self)
        Limits(0, 2**32 - self.n_trees).check(f"--seed with --n-trees {self.n_trees}", self.tree.seed)
        check_threads(self.threads)
        Budget.of(self.max_memory)


def variant_of(preset: str, changes: Mapping[str, Any]) -> Variant:
    """A preset with some parts changed (other names are passed over), which its name says.

    Raises
    ------
    DisentangleError
        If a part is out of its range, or so many digits are given that no folder could have the name.
    """
    params = PRESETS[preset].changed(changes)
    params.validate()
    before = PRESETS[preset].parts()
    changed = {
        name: value for name, value in params.parts().items() if value is not None and value != before[name]
    }

    def said(names: Iterable[str]) -> str:
        return "".join(f"-{name}-{changed[name]}" for name in names).replace("_", "-")

    folder = preset + said(name for name in changed if name not in SCORING)
    name = folder + said(name for name in changed if name in SCORING)
    if len(name) > _LONGEST:
        raise DisentangleError(
            f"a preset and its parts must have a name of at most {_LONGEST} bytes, got {len(name)}: "
            f"{name[:60]}..."
        )
    return Variant(name, folder, preset, params)


def distinct(variants: Iterable[Variant]) -> tuple[Variant, ...]:
    """Each way to overlap once; one that is a preset's has the preset's name."""
    found: dict[OverlapParams, Variant] = {}
    for variant in variants:
        if variant.params not in found or variant.name == variant.preset:
            found[variant.params] = variant
    return tuple(found.values())


def filled(params: type[P], given: Mapping[str, Any]) -> P:
    """Parameters of one kind, of which those that are given are not the defaults."""
    names = [one.name for one in fields(params)]  # type: ignore[arg-type]
    return params(**{name: given[name] for name in names if name in given})


def describe(variant: Variant | None, n_trees: int = 1) -> dict[str, Any]:
    """How the report names XR-Linear (None) or a way to overlap."""
    if variant is None:
        return {"method": "xr-linear", "variant": None, "preset": None, "n_copies": 1, "n_trees": n_trees}
    return {
        "method": "overlap",
        "variant": variant.name,
        "preset": variant.preset,
        "n_copies": variant.params.assignment.n_copies,
        "n_trees": n_trees,
        "overlap": variant.params.parts(),
    }
