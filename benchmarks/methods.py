"""The methods that compare.py compares, each as it is used from Python.

What a method takes is a csr_matrix of instances, what it gives are the ids of their best labels: the
conversions that a tool's interface asks for are a part of its seconds. Each imports its own tool and no
other when it is made, so that memory is its own and imports are no part of its seconds.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import scipy.sparse as sp

from disentangle.data import datasets
from disentangle.params import MAX_K

N_TREES = 3
# Instances that a thread takes at a time; instances whose scores of all labels are in memory at a time.
CHUNK = 64
DENSE_ROWS = 2048
One = Callable[[sp.csr_matrix], np.ndarray]


@dataclass(frozen=True)
class Training:
    """What a training is told.

    Attributes
    ----------
    data : Path
        The dataset's folder.
    text : Path
        Its training part as `write_text` writes it, for a tool that reads nothing else.
    model : Path
        An empty folder for the model.
    threads, seed : int
    """

    data: Path
    text: Path
    model: Path
    threads: int
    seed: int

    def matrices(self) -> tuple[sp.csr_matrix, sp.csr_matrix]:
        """X and Y of the training part."""
        return datasets.load_part("X_trn", self.data), datasets.load_part("Y_trn", self.data)


class Method(Protocol):
    """How a method predicts.

    Attributes
    ----------
    loads_each_time : bool
        Whether `predict` loads the model in every call, so that there are no seconds without it.
    """

    loads_each_time: bool

    def load(self, model: Path, threads: int) -> None:
        """Load a model that was saved, for `predict` with so many threads."""

    def predict(self, X: sp.csr_matrix) -> np.ndarray:
        """Ids of the `MAX_K` best labels per instance, best first, -1 where there are fewer."""

    def single(self) -> One:
        """Get ready to predict instances one by one in one thread; return what does it."""


class Rival(Method, Protocol):
    """A method of another tool, which trains as well."""

    def train(self, training: Training) -> dict[str, float]:
        """Train and save; return the seconds by part, from data in memory to the model on disk."""


def padded(rows: list[list[int]]) -> np.ndarray:
    """Lists of at most `MAX_K` labels as an array of shape (len(rows), MAX_K), int32, filled up with -1."""
    labels = np.full((len(rows), MAX_K), -1, dtype=np.int32)
    for i, row in enumerate(rows):
        labels[i, : len(row)] = row[:MAX_K]
    return labels


class Ours:
    """XR-Linear and the overlaps; `python -m disentangle base` trains them."""

    loads_each_time = False

    def __init__(self) -> None:
        from disentangle.model import predictor

        self._load = predictor.Predictor.load

    def load(self, model: Path, threads: int) -> None:
        self._threads = threads
        self._predictor = self._load(model)
        # It loads what it is asked for.
        self.predict(sp.csr_matrix((1, self._predictor.n_features), dtype=np.float32))

    def predict(self, X: sp.csr_matrix) -> np.ndarray:
        return np.vstack([labels for labels, _ in self._predictor.best(X, MAX_K, self._threads)])

    def single(self) -> One:
        self._threads = 1
        return self.predict


class Omikuji:
    """Omikuji's partitioned label trees, with its defaults but for what is given.

    Its Python interface reads the training part from text and trains in one call; how many seconds of it
    were training is what its own log says, to the hundredth. Weights are densified after loading as its
    command line does it. It predicts instances one by one, and releases Python's lock meanwhile, so
    threads share a batch; what Python does for each instance is in its seconds. It takes no seed.

    Parameters
    ----------
    changes
        Hyper-parameters that differ from the defaults.
    """

    loads_each_time = False

    def __init__(self, **changes: Any) -> None:
        import omikuji

        self._model_class = omikuji.Model
        self._changes = {"n_trees": N_TREES} | changes

    def train(self, training: Training) -> dict[str, float]:
        params = self._model_class.default_hyper_param()
        for name, value in self._changes.items():
            setattr(params, name, value)
        with _captured() as log:
            model = self._model_class.train_on_data(str(training.text), params, training.threads)
            log.seek(0)
            seconds = training_seconds_in(log.read().decode())
            start = time.perf_counter()
            model.save(str(training.model))
            return {"train": seconds, "save": time.perf_counter() - start}

    def load(self, model: Path, threads: int) -> None:
        self._threads = threads
        self._model = self._model_class.load(str(model))
        self._model.densify_weights()
        self._model.init_prediction_thread_pool(threads)

    def predict(self, X: sp.csr_matrix) -> np.ndarray:
        starts = range(0, X.shape[0], CHUNK)
        with ThreadPoolExecutor(self._threads) as pool:
            return np.vstack(list(pool.map(lambda start: self._chunk(X[start : start + CHUNK]), starts)))

    def single(self) -> One:
        self._model.init_prediction_thread_pool(1)
        return self._chunk

    def _chunk(self, X: sp.csr_matrix) -> np.ndarray:
        rows = []
        for start, end in zip(X.indptr[:-1], X.indptr[1:], strict=True):
            pairs = list(zip(X.indices[start:end].tolist(), X.data[start:end].tolist(), strict=True))
            rows.append([label for label, _ in self._model.predict(pairs, top_k=MAX_K)])
        return padded(rows)


@contextmanager
def _captured() -> Iterator[IO[bytes]]:
    """What native code prints on standard output, as a file; its progress bars go nowhere."""
    saved = [os.dup(1), os.dup(2)]
    with tempfile.TemporaryFile() as log, open(os.devnull, "wb") as nothing:
        try:
            os.dup2(log.fileno(), 1)
            os.dup2(nothing.fileno(), 2)
            yield log
        finally:
            for number, copy in enumerate(saved, start=1):
                os.dup2(copy, number)
                os.close(copy)


def training_seconds_in(log: str) -> float:
    """Seconds that Omikuji's log says that its training took, without reading the data."""
    found = re.search(r"Model training complete; it took ([0-9.]+)s", log)
    if not found:
        raise RuntimeError(f"Omikuji's log does not say how long the training took: {log!r}")
    return float(found[1])


class NapkinXC:
    """napkinXC's probabilistic label trees, with its defaults: k-means trees of arity 2, three of them.

    Its ensembles keep no model between calls but load all trees in each. So there are no seconds of a
    batch without loading; single instances are predicted by the same trees loaded one by one, and what
    they give a label is averaged, 0 for a label that is not among the best of a tree.
    """

    loads_each_time = True

    def __init__(self) -> None:
        from napkinxc.models import PLT

        self._model_class = PLT

    def train(self, training: Training) -> dict[str, float]:
        X, Y = training.matrices()
        model = self._model_class(
            str(training.model), ensemble=N_TREES, threads=training.threads, seed=training.seed
        )
        start = time.perf_counter()
        model.fit(X, Y)
        # It saves each tree as it has trained it.
        return {"train": time.perf_counter() - start}

    def load(self, model: Path, threads: int) -> None:
        self._folder = model
        self._model = self._model_class(str(model), ensemble=N_TREES, threads=threads)

    def predict(self, X: sp.csr_matrix) -> np.ndarray:
        return padded(self._model.predict(X, top_k=MAX_K))

    def single(self) -> One:
        trees = []
        for member in sorted(self._folder.glob("member_*")):
            shutil.copy(self._folder / "args.bin", member)  # a tree by itself is a model with arguments
            trees.append(self._model_class(str(member), ensemble=0, threads=1))
            trees[-1].load()

        def one(x: sp.csr_matrix) -> np.ndarray:
            scores: Counter[int] = Counter()
            for tree in trees:
                scores.update(dict(tree.predict_proba(x, top_k=MAX_K)[0]))
            return padded([[label for label, _ in scores.most_common(MAX_K)]])

        return one


class LinearTree:
    """LibMultiLabel's linear tree, with its defaults: one tree of at most 100 children a node, by k-means.

    It builds on the settings that its documentation trains a tree with: L2-regularised squared hinge loss by
    `-s 1 -e 0.0001`. Its k-means draws from numpy's global state, which is what a seed can be given to.
    Scores are dense, so instances are predicted in groups. Its k-means fails with an error of GraphBLAS where
    a node has fewer distinct labels than children, as on vullib.
    """

    loads_each_time = False

    def __init__(self) -> None:
        import joblib
        from libmultilabel import linear

        self._joblib, self._linear = joblib, linear

    def train(self, training: Training) -> dict[str, float]:
        X, Y = training.matrices()
        np.random.seed(training.seed)  # noqa: NPY002 - the only state that it reads
        start = time.perf_counter()
        options = f"-s 1 -e 0.0001 -m {training.threads}"
        with _captured():
            model = self._linear.train_tree(Y, X, options, verbose=False)
        trained = time.perf_counter()
        self._joblib.dump(model, training.model / "model.joblib")
        return {"train": trained - start, "save": time.perf_counter() - trained}

    def load(self, model: Path, threads: int) -> None:
        self._model = self._joblib.load(model / "model.joblib")

    def predict(self, X: sp.csr_matrix) -> np.ndarray:
        starts = range(0, X.shape[0], DENSE_ROWS)
        return np.vstack([self._best(X[start : start + DENSE_ROWS]) for start in starts])

    def single(self) -> One:
        return self._best

    def _best(self, X: sp.csr_matrix) -> np.ndarray:
        scores = self._model.predict_values(X)
        labels = np.argsort(-scores, axis=1, kind="stable")[:, :MAX_K]
        # What the beam did not reach has 0.
        reached = np.take_along_axis(scores, labels, axis=1) > 0
        return np.where(reached, labels, -1).astype(np.int32)


BONSAI = {"cluster_k": 100, "cluster_balanced": False, "max_depth": 3}
RIVALS: dict[str, Callable[[], Rival]] = {
    "omikuji-parabel": Omikuji,
    "omikuji-bonsai": partial(Omikuji, **BONSAI),
    "napkinxc-plt": NapkinXC,
    "libmultilabel-tree": LinearTree,
}


def write_text(folder: Path, X: sp.csr_matrix, Y: sp.csr_matrix) -> Path:
    """Write instances in the Extreme Classification Repository's format; return the file."""
    from disentangle.data.formats.part import Part
    from disentangle.data.formats.svmlight import write_svmlight

    write_svmlight(folder, Part("all", X, Y, folder, []))
    path = folder / "trn.txt"
    # An instance without features ends in a blank there, which Omikuji takes for a feature.
    with (folder / "all.txt").open("rb") as lines, path.open("wb") as file:
        file.writelines(line.rstrip() + b"\n" for line in lines)
    (folder / "all.txt").unlink()
    return path
