"""What a dataset looks like, in the numbers by which XMC datasets are compared."""

from __future__ import annotations

from typing import Any

import numpy as np

from .data import Dataset

_HEAD_SHARE = 0.01
_BOUNDS = (0, 1, 5, 100)


def describe(dataset: Dataset) -> dict[str, Any]:
    """Sizes, densities, and how labels and instances are spread.

    Returns
    -------
    dict
        Counts as int, the rest as float; `n_labels_with_instances` counts labels by their number of
        training instances, keys being ranges.
    """
    X, Y = dataset.X_trn, dataset.Y_trn
    per_instance = np.diff(Y.indptr)
    per_label = np.sort(Y.getnnz(axis=0))[::-1]
    head = max(1, int(_HEAD_SHARE * len(per_label)))
    groups = {}
    for low, high in zip((-1, *_BOUNDS), (*_BOUNDS, np.inf), strict=True):
        label = (
            f"more than {low}" if high == np.inf else str(high) if high == low + 1 else f"{low + 1} to {high}"
        )
        groups[label] = int(((per_label > low) & (per_label <= high)).sum())
    return dataset.sizes() | {
        "density_of_X": X.nnz / (X.shape[0] * X.shape[1]),
        "density_of_Y": Y.nnz / (Y.shape[0] * Y.shape[1]),
        "features_per_instance": X.nnz / X.shape[0],
        "labels_per_instance": Y.nnz / Y.shape[0],
        "labels_per_instance_max": int(per_instance.max()),
        "instances_per_label": Y.nnz / Y.shape[1],
        "instances_per_label_median": float(np.median(per_label)),
        "instances_per_label_max": int(per_label[0]),
        "share_of_the_most_frequent_percent_of_labels": float(per_label[:head].sum() / Y.nnz),
        "n_labels_with_instances": groups,
    }
