"""Models on disk: saved in PECOS's own format, loaded once everything in them has been checked."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import scipy.sparse as sp

from ..kernels.beam_model import Model, build
from ..overlap.copies import OVERLAP_FILE, Overlap, without_copies
from ..params import MAX_HINGE
from ..runtime.memory import UNLIMITED, Budget
from ..runtime.threads import allowed
from ..storage.matrices import flat
from ..storage.saved import Saved
from .pecos import HierarchicalMLModel, MLModel, XLinearModel
from .tree import check_level, leaf_clusters, load_chain

# Where a model has its levels, counted from the root, and what is said of each.
_LEVEL, _PARAM = "ranker/{}.model", "param.json"
_POST_PROCESSORS = {f"l{hinge}-hinge" for hinge in range(1, MAX_HINGE + 1)}


def save(model: XLinearModel, folder: Path) -> None:
    """Save a model in PECOS's own format, for its `XLinearModel.load`, too, into a folder that is there.

    PECOS would make the folder anew if it had been removed meanwhile, as a stopped command's is.
    """
    ranker, levels = model.model, model.model.model_chain
    (folder / "ranker").mkdir()
    sizes = {"nr_features": ranker.nr_features, "nr_codes": ranker.nr_codes, "nr_labels": ranker.nr_labels}
    _write_param(folder / _PARAM, model, {})
    _write_param(
        folder / "ranker" / _PARAM, ranker, {"model": "HierarchicalMLModel", "depth": len(levels)} | sizes
    )
    for d, level in enumerate(levels):
        place = folder / _LEVEL.format(d)
        place.mkdir()
        how = {"bias": level.bias, "pred_kwargs": level.pred_params.to_dict()}
        _write_param(place / _PARAM, level, {"model": "MLModel"} | _sizes(level.W, level.C) | how)
        for name in ("W", "C"):
            sp.save_npz(place / f"{name}.npz", getattr(level, name), compressed=False)


def _write_param(path: Path, owner: Any, said: dict[str, Any]) -> None:
    path.write_text(json.dumps(owner.append_meta(said), indent=1), encoding="utf-8")


def _sizes(W: sp.csc_matrix, C: sp.csc_matrix) -> dict[str, int]:
    return {"nr_labels": C.shape[0], "nr_features": W.shape[0], "nr_codes": C.shape[1]}


class _Level(NamedTuple):
    """A level of a saved model, which is sound."""

    W: sp.csc_matrix
    C: sp.csc_matrix
    top_k: int
    post_processor: str

    @property
    def hinge(self) -> int:
        return int(self.post_processor[1:].partition("-")[0])

    @property
    def pred_kwargs(self) -> dict[str, Any]:
        return {"only_topk": self.top_k, "post_processor": self.post_processor}


def _levels(saved: Saved, without: int = 0, budget: Budget = UNLIMITED) -> Iterator[_Level]:
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
                rule in _POST_PROCESSORS and 0 < top_k < 2**31
            ):
                yield _Level(W, C, top_k, rule)
            case _:
                raise saved.damaged(f"{_LEVEL.format(d)}/{_PARAM}", "expected how the level predicts")


def load_trained(saved: Saved) -> XLinearModel:
    """A saved model as it was trained, to train more of it.

    Raises
    ------
    DisentangleError
        If it is damaged, or no model.
    """
    bias = MLModel.TrainParams().bias
    levels = [
        MLModel(W=level.W, C=level.C, bias=bias, pred_params=level.pred_kwargs) for level in _levels(saved)
    ]
    return XLinearModel(HierarchicalMLModel(levels))


def load(saved: Saved, without: int = 0, budget: Budget = UNLIMITED) -> Model:
    """A saved model, for `match` and `predict`, but for its last levels.

    With a limit its weights lie in files that are mapped into memory.

    Raises
    ------
    DisentangleError
        If it is damaged, or no model.
    """
    return _for_prediction(_levels(saved, without, budget), budget)


def for_prediction(model: XLinearModel, budget: Budget = UNLIMITED) -> Model:
    """What `load` would give of a model, were it saved."""
    levels = model.model.model_chain
    made = (_Level(one.W, one.C, one.pred_params.only_topk, one.pred_params.post_processor) for one in levels)
    return _for_prediction(made, budget)


def _for_prediction(levels: Iterable[_Level], budget: Budget) -> Model:
    found = list(levels)
    n_features = found[0].W.shape[0] - 1
    return build([(flat(one.C), flat(one.W), one.hinge) for one in found], n_features, allowed(), budget)


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
