"""Models on disk: saved in PECOS's own format, loaded once everything in them has been checked."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import scipy.sparse as sp

from ..kernels.beam_model import Model, build
from ..overlap.copies import OVERLAP_FILE, Overlap, without_copies
from ..params import MAX_HINGE
from ..runtime.memory import UNLIMITED, Budget
from ..runtime.threads import allowed, in_threads
from ..storage import npz
from ..storage.compressed import flat
from ..storage.saved import Saved
from .trained import Trained
from .tree import check_level, leaf_clusters, load_chain

# Where a model has its levels, counted from the root, and what is said of each.
_LEVEL, _PARAM = "ranker/{}.model", "param.json"
# What PECOS calls the rule that a hinge is of.
_HINGES = {f"l{hinge}-hinge": hinge for hinge in range(1, MAX_HINGE + 1)}
# Its classes, of which it makes what it reads, and its bias feature.
_MODEL, _RANKER, _OF_LEVEL, _PREDICTION = (
    f"pecos.xmc.{name}"
    for name in (
        "xlinear.model###XLinearModel",
        "base###HierarchicalMLModel",
        "base###MLModel",
        "base###MLModel.PredParams",
    )
)
_BIAS = 1.0


def save(levels: Sequence[Trained], folder: Path) -> None:
    """Save a model in PECOS's own format, for its `XLinearModel.load`, too, into a folder that is there."""
    (folder / "ranker").mkdir()
    last = levels[-1]
    sizes = {"nr_features": last.W.shape[0] - 1, "nr_codes": last.C.shape[1], "nr_labels": last.C.shape[0]}
    _write_param(folder / _PARAM, _MODEL, {})
    depth = {"model": "HierarchicalMLModel", "depth": len(levels)}
    _write_param(folder / "ranker" / _PARAM, _RANKER, depth | sizes)
    for d, level in enumerate(levels):
        place = folder / _LEVEL.format(d)
        place.mkdir()
        rule = {"only_topk": level.top_k, "post_processor": f"l{level.hinge}-hinge"}
        how = {"bias": _BIAS, "pred_kwargs": _of_class(_PREDICTION, rule)}
        _write_param(place / _PARAM, _OF_LEVEL, {"model": "MLModel"} | _sizes(level.W, level.C) | how)
    # The last level has most of it, and is begun first.
    matrices = [
        (folder / _LEVEL.format(d) / f"{name}.npz", getattr(level, name))
        for d, level in reversed([*enumerate(levels)])
        for name in ("W", "C")
    ]
    for _ in in_threads(lambda of: npz.save_plain(*of), matrices, allowed()):
        pass


def _of_class(name: str, said: dict[str, Any]) -> dict[str, Any]:
    return {"__meta__": {"class_fullname": name}} | said


def _write_param(path: Path, name: str, said: dict[str, Any]) -> None:
    path.write_text(json.dumps(_of_class(name, said), indent=1), encoding="utf-8")


def _sizes(W: sp.csc_matrix, C: sp.csc_matrix) -> dict[str, int]:
    return {"nr_labels": C.shape[0], "nr_features": W.shape[0], "nr_codes": C.shape[1]}


def _levels(saved: Saved, without: int = 0, budget: Budget = UNLIMITED) -> Iterator[Trained]:
    """The levels from the root, but for the last ones, one at a time.

    Neither kernels nor PECOS check indices and sizes: what is not sound would end the process.
    """
    names = (f"{_LEVEL.format(d)}/W.npz" for d in itertools.count())
    depth = len(list(itertools.takewhile(saved.__contains__, names))) - without
    if depth < 1:
        raise saved.damaged(_LEVEL.format(0), "expected the levels of a model, found none")
    n_features, n_above = None, 1
    for d in range(depth):
        name = f"{_LEVEL.format(d)}/W.npz"
        W = saved.matrix(name, is_plain=True, budget=budget)
        C = saved.matrix(f"{_LEVEL.format(d)}/C.npz", is_plain=True)
        C = check_level(saved, f"{_LEVEL.format(d)}/C.npz", C, n_above)
        n_features, n_above = n_features or W.shape[0], C.shape[0]
        if W.shape != (n_features, n_above) or n_features < 2:
            raise saved.damaged(name, f"expected weights of shape {(n_features, n_above)}, found {W.shape}")
        match saved.read_json(f"{_LEVEL.format(d)}/{_PARAM}"):
            case {"bias": 1, "pred_kwargs": {"only_topk": int(top_k), "post_processor": str(rule)}} if (
                rule in _HINGES and 0 < top_k < 2**31
            ):
                yield Trained(W, C, top_k, _HINGES[rule])
            case _:
                raise saved.damaged(f"{_LEVEL.format(d)}/{_PARAM}", "expected how the level predicts")


def load_trained(saved: Saved, budget: Budget = UNLIMITED) -> list[Trained]:
    """A saved model as it was trained, to train more of it; with a limit its weights lie in files.

    Raises
    ------
    DisentangleError
        If it is damaged, or no model.
    """
    return list(_levels(saved, budget=budget))


def load(saved: Saved, without: int = 0, budget: Budget = UNLIMITED) -> Model:
    """A saved model, for `match` and `predict`, but for its last levels.

    With a limit its weights lie in files that are mapped into memory.

    Raises
    ------
    DisentangleError
        If it is damaged, or no model.
    """
    return for_prediction(_levels(saved, without, budget), budget)


def for_prediction(levels: Iterable[Trained], budget: Budget = UNLIMITED) -> Model:
    """What `load` would give of a model, were it saved."""
    found = [(flat(level.C), flat(level.W), level.hinge, level.W.shape[0] - 1) for level in levels]
    return build([of[:3] for of in found], found[0][-1], allowed(), budget)


def n_features_of(saved: Saved) -> int:
    """Columns of the features that a saved model predicts from, without loading it.

    Raises
    ------
    DisentangleError
        If it is damaged.
    """
    name = f"{_LEVEL.format(0)}/W.npz"
    shape = saved.arrays(name, "shape")["shape"]
    if shape.shape != (2,) or shape.dtype.kind != "i":
        raise saved.damaged(name, "expected the shape of a matrix")
    return int(shape[0]) - 1


def load_overlap(saved: Saved) -> Overlap:
    """Labels and copies of a saved model or tree; one that was not overlapped has each label once.

    Raises
    ------
    DisentangleError
        If it is damaged.
    """
    if OVERLAP_FILE in saved:
        return Overlap.load(saved)
    chain = load_chain(saved)
    return without_copies(leaf_clusters(chain), chain[-1].shape[1])
