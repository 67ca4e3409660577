"""What a dataset looks like, in the numbers by which XMC datasets are compared."""

from __future__ import annotations

from typing import Any

import numpy as np

from .datasets import Dataset

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
    # Only labels that have instances: a shape may claim billions.
    per_label = np.sort(np.unique(Y.indices, return_counts=True)[1])[::-1]
    n_labels = Y.shape[1]
    head = max(1, int(_HEAD_SHARE * n_labels))
    groups = {}
    for low, high in zip((-1, *_BOUNDS), (*_BOUNDS, np.inf), strict=True):
        label = (
            f"more than {low}" if high == np.inf else str(high) if high == low + 1 else f"{low + 1} to {high}"
        )
        groups[label] = int(((per_label > low) & (per_label <= high)).sum())
    groups["0"] = n_labels - len(per_label)
    middle = (n_labels - 1) // 2, n_labels // 2
    median = np.mean([per_label[i] if i < len(per_label) else 0 for i in middle])
    dense = {} if dataset.is_dense is None else {"n_dense_features": int(dataset.is_dense.sum())}
    return {
        **dataset.sizes(),
        **dense,
        "density_of_X": X.nnz / (X.shape[0] * X.shape[1]),
        "density_of_Y": Y.nnz / (Y.shape[0] * Y.shape[1]),
        "features_per_instance": X.nnz / X.shape[0],
        "labels_per_instance": Y.nnz / Y.shape[0],
        "labels_per_instance_max": int(per_instance.max()),
        "instances_per_label": Y.nnz / Y.shape[1],
        "instances_per_label_median": float(median),
        "instances_per_label_max": int(per_label[0]),
        "share_of_the_most_frequent_percent_of_labels": float(per_label[:head].sum() / Y.nnz),
        "n_labels_with_instances": groups,
    }
