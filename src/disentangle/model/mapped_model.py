"""A model in PECOS's memory-mapped form: weights in files, of which the kernel holds what it has room for.

PECOS itself makes that form of a model that it has in memory twice. A level has the weights of each cluster's
nodes together, by feature; PECOS finds features by bisection, and adds up in the same order as in memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import scipy.sparse as sp

from ..runtime.memory import Budget

# Weights that are put in order at a time.
_BLOCK = 1 << 21
# PECOS's structures. In a file of these, arrays begin at multiples of so many bytes.
_CHUNK = np.dtype(
    [("first", "<u4"), ("end", "<u4"), ("n_rows", "<u4"), ("bias", "<u4"), ("places", "<u8", 2)]
)
_ENTRY = np.dtype([("node", "<u4"), ("weight", "<f4")])
_ALIGNED = 16
_SIGNATURE = b"\x93PECOS<\x01"
_RANKER, _LEVEL, _PARAM = "ranker", "ranker/{}.model", "param.json"


def write(levels: Iterable[Any], folder: Path, budget: Budget) -> None:
    """Write the levels of a model, from the root, whose biases are features, for `XLinearModel.load`.

    Parameters
    ----------
    levels : iterable
        With `W`, a csc_matrix of shape (n_features, n_nodes), indices sorted; `C`, a csc_matrix of shape
        (n_nodes, n_clusters); and `pred_kwargs`.
    folder : Path
        Empty.
    budget : Budget
    """
    (folder / _RANKER).mkdir()
    depth = 0
    for depth, level in enumerate(levels, 1):
        place = folder / _LEVEL.format(depth - 1)
        place.mkdir()
        said = {"model": "MLModel", "bias": -1.0, "pred_kwargs": level.pred_kwargs, "is_mmap": True}
        (place / _PARAM).write_text(json.dumps(said))
        _write_clusters(place, level.C)
        with (place / "W.mmap_store").open("wb") as file:
            _write_weights(file, level.W, level.C, budget)
    whole = {"model": "HierarchicalMLModel", "depth": depth, "is_mmap": True}
    (folder / _RANKER / _PARAM).write_text(json.dumps(whole))


def _write_clusters(place: Path, C: sp.csc_matrix) -> None:
    """C with its nodes renumbered, cluster by cluster, and their numbers before and since."""
    n = C.shape[0]
    since = np.argsort(C.indices)
    with (place / "C.mmap_store").open("wb") as file:
        sizes = [np.array([size], np.uint32) for size in C.shape]
        arrays = C.indptr.astype(np.uint64), np.arange(n, dtype=np.uint32), np.ones(n, np.float32)
        _end(file, [_put(file, array) for array in (*sizes, _count(n), *arrays)])
    with (place / "perm.mmap_store").open("wb") as file:
        both = _count(n), since.astype(np.uint32), _count(n), C.indices.astype(np.uint32)
        _end(file, [_put(file, array) for array in both])


def _write_weights(file: BinaryIO, W: sp.csc_matrix, C: sp.csc_matrix, budget: Budget) -> None:
    """W's columns cluster by cluster, and in each by feature: which node has which weight there."""
    nodes, starts, columns = C.indices, C.indptr.astype(np.int64), W.indptr.astype(np.int64)
    sizes = np.diff(columns)[nodes]
    ends = np.concatenate([[0], sizes.cumsum()])
    of_clusters, n_clusters = ends[starts], C.shape[1]
    features, rows = budget.growing(np.uint32), budget.growing(np.uint64)
    chunks = np.zeros(n_clusters, _CHUNK)
    chunks["first"], chunks["end"] = starts[:-1], starts[1:]
    cuts = np.searchsorted(of_clusters, np.arange(_BLOCK, ends[-1], _BLOCK))
    for first, end in pairwise(np.unique([0, *cuts, n_clusters])):
        own = slice(starts[first], starts[end])
        places = np.repeat(columns[nodes[own]] - ends[:-1][own], sizes[own])
        places += np.arange(of_clusters[first], of_clusters[end])
        cluster = np.repeat(np.arange(first, end), np.diff(of_clusters[first : end + 1]))
        of = W.indices[places]
        # Each node's features rise already: so many rows in order, which sorting makes use of.
        order = np.argsort((cluster - first) * W.shape[0] + of, kind="stable")
        of, entries = of[order], np.empty(len(order), _ENTRY)
        entries["node"] = (np.repeat(np.arange(own.start, own.stop), sizes[own]) - starts[cluster])[order]
        entries["weight"] = W.data[places][order]
        file.write(entries.data)
        begins = np.flatnonzero(np.diff(of, prepend=-1) | np.diff(cluster, prepend=-1))
        n_rows = chunks["n_rows"][first:end]
        n_rows[:] = np.bincount(cluster[begins] - first, minlength=end - first)
        features.append(of[begins])
        # Each cluster's last row ends where its weights do.
        is_there = n_rows > 0
        begins += of_clusters[first]
        last = of_clusters[first + 1 : end + 1][is_there]
        rows.append(np.insert(begins, n_rows.cumsum(dtype=np.int64)[is_there], last))
    written = 0, int(8 * ends[-1])
    whole = [np.array([size], np.uint32) for size in (n_clusters, *W.shape)]
    blocks = [_put(file, array) for array in whole]
    for array in (chunks, features.array(), rows.array()):
        blocks += [_put(file, _count(len(array))), _put(file, array)]
    _end(file, [*blocks, _put(file, _count(int(ends[-1]))), written])


def _count(n: int) -> np.ndarray:
    return np.array([n], np.uint64)


def _put(file: BinaryIO, array: np.ndarray) -> tuple[int, int]:
    """Write an array, and say where it is and how many bytes it has."""
    file.write(bytes(-file.tell() % _ALIGNED))
    start = file.tell()
    file.write(array.data)
    return start, array.nbytes


def _end(file: BinaryIO, blocks: list[tuple[int, int]]) -> None:
    """Write where PECOS finds what it asks for, in the order in which it does."""
    start = file.tell()
    file.write(np.array([len(blocks), *np.ravel(blocks)], "<u8").data)
    file.write(_SIGNATURE + np.array([start], "<u8").tobytes())
