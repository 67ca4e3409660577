"""Shared fixtures: small datasets in the layout, and the command line as a user calls it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

ROOT = Path(__file__).resolve().parents[1]
EMBEDDED = ROOT / "dataset" / "xmc-base" / "wordnet-hypernyms"
# Development data beside the checkout; users do not have it, and what needs it skips.
SHARED = ROOT.parent / "shared"


def save_dataset(folder: Path, **matrices: sp.spmatrix) -> Path:
    """Write X_trn, Y_trn, X_tst and Y_tst in PECOS's layout."""
    (folder / "tfidf-attnxml").mkdir(parents=True)
    for name, matrix in matrices.items():
        letter, part = name.split("_")
        parent = folder / "tfidf-attnxml" if letter == "X" else folder
        sp.save_npz(parent / f"{letter}.{part}.npz", matrix)
    return folder


@pytest.fixture(scope="session")
def verbs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the dataset `verbs`: real data, small enough to train in a second.

    It is the end of the embedded set, where WordNet's verbs are.
    """
    read = {
        "X_trn": sp.load_npz(EMBEDDED / "tfidf-attnxml" / "X.trn.npz")[-4000:],
        "X_tst": sp.load_npz(EMBEDDED / "tfidf-attnxml" / "X.tst.npz")[-1000:],
        "Y_trn": sp.load_npz(EMBEDDED / "Y.trn.npz")[-4000:],
        "Y_tst": sp.load_npz(EMBEDDED / "Y.tst.npz")[-1000:],
    }
    labels = np.flatnonzero(np.asarray(read["Y_trn"].sum(axis=0)).ravel() >= 5)
    features = np.flatnonzero(np.asarray((read["X_trn"] > 0).sum(axis=0)).ravel() >= 2)
    for name in read:
        read[name] = read[name][:, labels if name[0] == "Y" else features]
    data_dir = tmp_path_factory.mktemp("data")
    save_dataset(data_dir / "verbs", **read)
    return data_dir


Command = Callable[..., subprocess.CompletedProcess]


@pytest.fixture
def disentangle(tmp_path: Path) -> Command:
    """Run `python -m disentangle ARGS` in an empty folder, results going to its `model`."""

    def run(*args: str | Path, **kwargs: object) -> subprocess.CompletedProcess:
        env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        env.pop("XMC_DATA", None)
        env.pop("XMC_MODEL", None)
        command = [sys.executable, "-m", "disentangle", *map(str, args)]
        return subprocess.run(
            command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False, **kwargs
        )  # type: ignore[call-overload]

    return run
