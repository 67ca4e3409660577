"""Models on disk: saved in PECOS's own format, loaded once everything in them has been checked."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import scipy.sparse as sp

from ..overlap.copies import OVERLAP_FILE, Overlap, without_copies
from ..params import MAX_HINGE
from ..runtime.interrupt import interruptible
from ..runtime.memory import UNLIMITED, Budget
from ..storage.atomic import scratch
from ..storage.saved import Saved
from . import mapped_model
from .pecos import HierarchicalMLModel, MLModel, XLinearModel
from .tree import check_level, leaf_clusters, load_chain

# Where a model has its levels, counted from the root, and what is said of each.
_LEVEL, _PARAM = "ranker/{}.model", "param.json"
_POST_PROCESSORS = {f"l{hinge}-hinge" for hinge in range(1, MAX_HINGE + 1)}
# What PECOS calls a bias that a model has not, or that is a feature.
_NO_BIAS = -1.0
# Weights in chunks (MSCM): bit-identical to layer-by-layer prediction and many times faster; and by columns.
_CHUNKS, _AS_SAVED = "HASH_CHUNKED", "CSC"
FEW = 256
# Bytes for each weight while PECOS loads them in chunks: lean's of a synthetic set take 33, and then hold 20.
_HELD = 33


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
    def pred_kwargs(self) -> dict[str, Any]:
        return {"only_topk": self.top_k, "post_processor": self.post_processor}


def _levels(saved: Saved, without: int = 0, budget: Budget = UNLIMITED) -> Iterator[_Level]:
    """The levels from the root, but for the last ones, one at a time.

    PECOS follows indices, and adds up sizes, that it never checks: what is not sound would end the process.
    """
    if not (names := _weights_in(saved, without)):
        raise saved.damaged(_LEVEL.format(0), "expected the levels of a model, found none")
    n_features, n_above = None, 1
    for d, name in enumerate(names):
        W, C = (
            saved.matrix(f"{_LEVEL.format(d)}/{one}.npz", is_plain=True, budget=budget) for one in ("W", "C")
        )
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


def _weights_in(saved: Saved, without: int = 0) -> list[str]:
    """The files of the levels' weights from the root, but for the last ones."""
    names = (f"{_LEVEL.format(d)}/W.npz" for d in itertools.count())
    return list(itertools.takewhile(saved.__contains__, names))[: -without or None]


@contextmanager
def _view(saved: Saved, without: int = 0) -> Iterator[str]:
    """The path of a folder: the saved model without its last layers, its bias a feature like any.

    Weights are links to the files that were checked, so nothing is copied, nor is another file read that has
    taken the place of one meanwhile. PECOS's fast predict-only form knows no other way to stop above the
    leaves; and its kind of that form that is fastest for sparse instances, hash tables, adds a bias before
    the features and not after them, as all others do, so that sums would differ in their last digits.

    The path has no character of a user's in it: PECOS hands some to a shell.
    """
    with ExitStack() as stack:
        view = stack.enter_context(scratch())
        (view / "ranker").mkdir()
        sizes: list[dict[str, int]] = []
        for d, level in enumerate(_levels(saved, without)):
            place = view / _LEVEL.format(d)
            place.mkdir()
            for name in ("W.npz", "C.npz"):
                file = stack.enter_context(saved.pinned(f"{_LEVEL.format(d)}/{name}"))
                (place / name).symlink_to(file)
            sizes.append(_sizes(level.W, level.C))
            said = {"model": "MLModel", "bias": _NO_BIAS, "pred_kwargs": level.pred_kwargs} | sizes[-1]
            (place / _PARAM).write_text(json.dumps(said))
        whole = {"model": "HierarchicalMLModel", "depth": len(sizes)} | sizes[-1]
        (view / "ranker" / _PARAM).write_text(json.dumps(whole))
        number = os.open(view, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, number)
        yield f"/proc/self/fd/{number}"


def load_trained(saved: Saved) -> XLinearModel:
    """A saved model as it was trained, to train more of it.

    Raises
    ------
    DisentangleError
        If it is damaged, or no model.
    """
    return _trained(_levels(saved))


class Predicting(XLinearModel):
    """A model for prediction, loaded when it first predicts: with a cluster, that is elsewhere.

    PECOS's own lies in memory of its library. So what another process is sent is its levels, of which it is
    loaded there at once.

    Parameters
    ----------
    load : callable
        What loads PECOS's, given a budget.
    levels : callable
        What gives its levels from the root, each a weight matrix, C, `only_topk` and the post-processor.
    """

    def __init__(self, load: Callable[[Budget], Any], levels: Callable[[], Iterable[_Level]]) -> None:
        self._load, self._levels = load, levels

    @cached_property
    def model(self) -> Any:
        return self._load(UNLIMITED)

    def within(self, budget: Budget) -> None:
        """Load it, if it is not: where the limit leaves too little for it in memory, mapped into it.

        It takes a half more time to predict then, the same weights in the same order.
        """
        if "model" not in vars(self):
            self.model = self._load(budget)

    def __reduce__(self) -> tuple[Any, ...]:
        return _predicting, ([tuple(level) for level in self._levels()],)


def _predicting(levels: list[tuple[Any, ...]]) -> Predicting:
    """What was sent of a model; loaded, as threads may predict with it from now on."""
    model = _of_levels(lambda: map(_Level._make, levels))
    _ = model.model
    return model


def _of_levels(levels: Callable[[], Iterable[_Level]]) -> Predicting:
    def loaded(budget: Budget) -> Any:
        if not budget.has_room(_HELD * sum(one.W.nnz for one in levels())):
            return _mapped(levels(), budget)
        with scratch() as temporary:
            save(_trained(levels()), temporary)
            return _read(Saved(temporary))

    return Predicting(loaded, levels)


def _trained(levels: Iterable[_Level]) -> XLinearModel:
    bias = MLModel.TrainParams().bias
    return XLinearModel(
        HierarchicalMLModel(
            [MLModel(W=level.W, C=level.C, bias=bias, pred_params=level.pred_kwargs) for level in levels]
        )
    )


def load(saved: Saved, for_few: bool = False) -> Predicting:
    """A saved model, for prediction by `match` and `predict` alone.

    Parameters
    ----------
    saved : Saved
    for_few : bool
        Whether it is for at most `FEW` instances; has no effect on the result. On tibkat-all (tuned, 377 MiB)
        weights in chunks take 7 to 10 s to make, as they are 1 s, and an instance 1 ms instead of 10.

    Raises
    ------
    DisentangleError
        If it is damaged, or no model, when it first predicts.
    """
    return _saved(saved, kind=_AS_SAVED if for_few else _CHUNKS)


def load_matcher(saved: Saved) -> Predicting:
    """A saved model's matcher, the levels above the labels, likewise."""
    return _saved(saved, without=1)


def _saved(saved: Saved, without: int = 0, kind: str = _CHUNKS) -> Predicting:
    return Predicting(partial(_read, saved, without, kind), partial(_levels, saved, without))


def _read(saved: Saved, without: int = 0, kind: str = _CHUNKS, budget: Budget = UNLIMITED) -> Any:
    if not budget.has_room(_HELD * _n_weights(saved, without)):
        return _mapped(_levels(saved, without, budget), budget)
    how = {"is_predict_only": True, "weight_matrix_type": kind}
    with _view(saved, without) as view:
        return interruptible(lambda: XLinearModel.load(view, **how)).model


def _n_weights(saved: Saved, without: int) -> int:
    """About how many weights a model has without its last layers, by the sizes of their files."""
    return sum((saved.folder / name).stat().st_size for name in _weights_in(saved, without)) // 8


def _mapped(levels: Iterable[_Level], budget: Budget) -> Any:
    """PECOS's model, of which nothing is read before it is used; its files lose their names at once."""
    with scratch(budget.folder) as folder:
        mapped_model.write(levels, folder, budget)
        return XLinearModel.load(str(folder), is_predict_only=True, lazy_load=True).model


def for_prediction(model: XLinearModel) -> Predicting:
    """What `load` would give of a model, were it saved."""
    levels = model.model.model_chain
    return _of_levels(lambda: (_Level(one.W, one.C, *_predicts(one)) for one in levels))


def _predicts(level: MLModel) -> tuple[int, str]:
    return level.pred_params.only_topk, level.pred_params.post_processor


def n_features(model: XLinearModel) -> int:
    """Columns of the features that a model for prediction predicts from."""
    return int(model.model.nr_features) - 1  # the bias


def n_features_of(saved: Saved) -> int:
    """The same of a saved model, without loading it.

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


def n_labels_and_clusters(model: XLinearModel) -> tuple[int, int]:
    """Labels, copies counted, and leaf clusters of a model for prediction."""
    return int(model.model.nr_labels), int(model.model.nr_codes)


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
