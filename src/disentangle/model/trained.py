"""A level of a model, as it was trained; a model is its levels from the root."""

from __future__ import annotations

from typing import NamedTuple

import scipy.sparse as sp


class Trained(NamedTuple):
    """A level's nodes and their SVMs.

    Attributes
    ----------
    W : csc_matrix of shape (n_features + 1, n_nodes), float32
        The weights; the last row is the bias.
    C : csc_matrix of shape (n_nodes, n_clusters), float32
        The nodes above.
    top_k : int
        Nodes that an instance keeps, unless told otherwise.
    hinge : int
        A sum z scores exp(-max(0, 1 - z)^hinge).
    """

    W: sp.csc_matrix
    C: sp.csc_matrix
    top_k: int
    hinge: int
