"""The classifier's parameters, and what the base job is told by them."""

from __future__ import annotations

from typing import Any

from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from ..errors import DisentangleError
from ..jobs.settings import Settings, variant_of
from ..params import PredictParams, TfidfParams, TreeParams, overlap_fields
from ..presets import PRESETS
from .inputs import n_threads, plain


class Parameters(BaseEstimator):
    """Parameters as scikit-learn has them: `LabelTreeClassifier` tells what they are."""

    def __init__(
        self,
        preset: str = "tuned",
        n_trees: int = 1,
        *,
        beam_size: int = PredictParams.beam_size,
        top_k: int = PredictParams.top_k,
        nr_splits: int = TreeParams.nr_splits,
        max_leaf_size: int | None = None,
        random_state: Any = 0,
        n_jobs: int | None = None,
        max_memory: float | None = None,
        cluster: str | None = None,
        min_probability: float = 0.5,
        sparse_output: bool = True,
        calibrate: bool = False,
        tfidf: TfidfParams | None = None,
        n_copies: int | None = None,
        gain: str | None = None,
        positives: str | None = None,
        cost: float | None = None,
        leaf_size: int | None = None,
        overlap_splits: int | None = None,
        negatives: float | None = None,
        terms: int | None = None,
        eps: float | None = None,
        threshold: float | None = None,
        hinge: int | None = None,
        predict_beam: int | None = None,
        merge: str | None = None,
    ) -> None:
        given = dict(locals())
        del given["self"]
        self.__dict__.update(given)

    def settings(self, n_labels: int) -> Settings:
        """What the base job would be told.

        Raises
        ------
        DisentangleError
            If a parameter is out of its range.
        """
        if not isinstance(self.preset, str) or self.preset not in PRESETS:
            raise DisentangleError(f"preset must be one of {', '.join(PRESETS)}, got {self.preset!r}")
        given = {name: plain(value) for name, value in self.get_params(deep=False).items()}
        leaf = given["max_leaf_size"]
        if leaf is None:
            leaf = TreeParams.max_leaf_size
            leaf = leaf if n_labels > leaf else max(2, n_labels // 2)
        seed = given["random_state"]
        if not isinstance(seed, int):
            seed = int(check_random_state(seed).randint(2**31 - 1))
        parts = {name: given[name] for name in overlap_fields() if given[name] is not None}
        settings = Settings(
            threads=n_threads(self.n_jobs),
            variants=(variant_of(self.preset, parts),),
            tree=TreeParams(given["nr_splits"], leaf, seed),
            n_trees=given["n_trees"],
            predict=PredictParams(given["beam_size"], given["top_k"]),
            max_memory=given["max_memory"],
        )
        settings.validate()
        return settings
