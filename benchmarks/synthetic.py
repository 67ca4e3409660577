"""Data of a benchmark set's shape: as many instances, features and labels, or a share of them, and as dense.

    PYTHONPATH=src .venv/bin/python benchmarks/synthetic.py SHAPE DATA_DIR [--share SHARE]

writes a dataset named after both. A label's instances are near one another on a line, a frequent label's
farther apart, and its terms are some of its own, some of its neighbours', and common ones.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from disentangle.data import datasets
from disentangle.storage import npz

# Of a label, its topic and all: terms that an instance's are drawn from, and labels that share a topic's.
_OWN, _OF_TOPIC, _TOPIC = 24, 60, 100
# Where an instance's terms come from: its label, its label's topic, anywhere.
_FROM = (0.4, 0.25, 0.35)
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Shape:
    """How large a set is; labels and features are those of an instance, on average."""

    n_train: int
    n_test: int
    n_features: int
    n_labels: int
    terms: float
    labels: float

    def times(self, share: float) -> Shape:
        """Fewer instances and labels, and fewer features by its root, as a vocabulary has."""
        counts = {name: round(share * getattr(self, name)) for name in ("n_train", "n_test", "n_labels")}
        return replace(self, **counts, n_features=round(share**0.5 * self.n_features))


# As PECOS and the Extreme Classification Repository tell of the sets.
SHAPES = {
    "amazon-670k": Shape(490_449, 153_025, 135_909, 670_091, 75.7, 5.45),
    "amazon-3m": Shape(1_717_899, 742_507, 337_067, 2_812_281, 49.7, 36.0),
}


def labels_of(shape: Shape, n: int, rng: np.random.Generator) -> sp.csr_matrix:
    """Labels of `n` instances: each label has one at least, and few have many (Zipf)."""
    weights = 1 / np.arange(1, shape.n_labels + 1) ** 0.7
    most = n * shape.labels - shape.n_labels
    counts = 1 + rng.poisson(rng.permutation(weights) * max(most, 0) / weights.sum())
    counts = np.minimum(counts, n // 4)
    labels = np.repeat(np.arange(shape.n_labels, dtype=np.int32), counts)
    center = labels * (n / shape.n_labels)
    spread = np.maximum(4 * counts[labels], 50)
    rows = np.rint(center + spread * rng.standard_normal(len(labels))).astype(np.int64) % n
    Y = sp.csr_matrix((np.ones(len(labels), np.float32), (rows, labels)), shape=(n, shape.n_labels))
    Y.sum_duplicates()
    Y.data[:] = 1
    return Y


def features_of(shape: Shape, Y: sp.csr_matrix, rng: np.random.Generator) -> sp.csr_matrix:
    """Terms of instances, tf-idf as it were: rows of length 1."""
    scattered = np.random.default_rng(1).permutation(shape.n_features).astype(np.int32)
    parts = []
    for start in range(0, Y.shape[0], _CHUNK):
        own = Y[start : start + _CHUNK]
        n = own.shape[0]
        lengths = np.maximum(1, rng.lognormal(np.log(shape.terms * 1.05), 0.5, n)).astype(np.int64)
        rows = np.repeat(np.arange(n), lengths)
        n_labels = np.diff(own.indptr)[rows]
        place = own.indptr[rows] + (rng.random(len(rows)) * n_labels).astype(np.int64)
        label = np.where(n_labels > 0, own.indices[np.minimum(place, own.nnz - 1)], 0).astype(np.int64)
        kind = rng.choice(3, len(rows), p=_FROM)
        mine = _hash(label, rng.integers(0, _OWN, len(rows)))
        topic = _hash(-1 - label // _TOPIC, rng.integers(0, _OF_TOPIC, len(rows)))
        anywhere = rng.random(len(rows))
        # Skewed: terms of low rank are common, whoever they are of.
        share = np.choose(kind, [mine**1.5, topic**2, anywhere**4])
        columns = scattered[(share * shape.n_features).astype(np.int64)]
        values = rng.lognormal(0, 0.5, len(rows)).astype(np.float32) * (0.3 + share).astype(np.float32)
        X = sp.csr_matrix((values, (rows, columns)), shape=(n, shape.n_features))
        X.sum_duplicates()
        norms = np.sqrt(np.add.reduceat(X.data.astype(np.float64) ** 2, X.indptr[:-1]))
        X.data /= np.repeat(norms, np.diff(X.indptr)).astype(np.float32)
        parts.append(X)
    return sp.vstack(parts, format="csr")


def _hash(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Numbers in [0, 1) that pairs of integers always give."""
    x = (a * 1_000_003 + b).astype(np.uint64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
    return ((x ^ (x >> np.uint64(31))) >> np.uint64(11)) / 2.0**53


def write(shape: Shape, folder: Path) -> None:
    """Write a dataset, by a fixed seed; the test part is drawn from the same instances."""
    rng = np.random.default_rng(0)
    Y = labels_of(shape, shape.n_train + shape.n_test, rng)
    X = features_of(shape, Y, rng)
    order = rng.permutation(X.shape[0])
    paths = datasets.paths_of(folder)
    for part, rows in (("trn", order[: shape.n_train]), ("tst", order[shape.n_train :])):
        for name, matrix in (("X", X), ("Y", Y)):
            path = paths[f"{name}_{part}"]
            path.parent.mkdir(parents=True, exist_ok=True)
            npz.save(path, matrix[np.sort(rows)])


def main() -> None:
    """Write a set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--share", type=float, default=1.0)
    args = parser.parse_args()
    name = f"{args.shape}-shape" if args.share == 1 else f"{args.shape}-shape-{args.share:g}"
    write(SHAPES[args.shape].times(args.share), args.data_dir / name)


if __name__ == "__main__":
    main()
