"""Shared fixtures: small datasets in the layout, and the command line as a user calls it."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import HealthCheck, settings
from server import Server

from disentangle.data import download
from disentangle.storage import saved

ROOT = Path(__file__).resolve().parents[1]
EMBEDDED = ROOT / "dataset" / "xmc-base" / "wordnet-hypernyms"
# Development data beside the checkout; users do not have it, and what needs it skips.
SHARED = ROOT.parent / "shared"

# Of a dataset as small as `verbs`.
SMALL_TREE = ("--nr-splits", "8", "--max-leaf-size", "10")

# What `run_tests.sh` sets for its drivers would have results of tests lie in the project.
for name in [name for name in os.environ if name.startswith("XMC_")]:
    del os.environ[name]

# No example has a deadline and none is random: no outcome depends on the machine, nor on the day.
settings.register_profile(
    "anywhere", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("anywhere")


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


def run_disentangle(
    folder: Path, *args: str | Path, package: Path = ROOT / "src", **kwargs: Any
) -> subprocess.CompletedProcess:
    """Run `python -m disentangle ARGS` in a folder, results going to its `model` and `dataset-binned`."""
    env = os.environ | {"PYTHONPATH": str(package)}
    command = [sys.executable, "-m", "disentangle", *map(str, args)]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, **kwargs)


def stages_run(result: subprocess.CompletedProcess) -> list[str]:
    """Folders of the stages that a run worked on, from its log."""
    return [line.split()[1] for line in result.stderr.splitlines() if line.endswith(" ...")]


def files_of_stages(root: Path) -> dict[str, dict[str, str]]:
    """Digests of the files of each stage below a folder, by the stage's own."""
    paths = sorted(root.rglob(saved.RECORD))
    return {str(path.parent.relative_to(root)): json.loads(path.read_text())["files"] for path in paths}


def run_without_torch(folder: Path, *args: str) -> subprocess.CompletedProcess:
    """Run a command in a folder as if torch were not installed."""
    # Not by a None in `sys.modules`, which scipy takes for the module.
    code = f"""
import sys
class Without:
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, *where):
        return None if name == "torch" else self.finder.find_spec(name, *where)
sys.meta_path[:] = map(Without, sys.meta_path)
sys.argv[1:] = {args!r}
from disentangle.cli.main import main
main()
"""
    env = {"PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def reseal(folder: Path) -> None:
    """Make a stage's record vouch for what is in its folder now, as nobody but a forger does."""
    path = folder / saved.RECORD
    record = json.loads(path.read_text())
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and file != path]
    record["files"] = {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files
    }
    path.write_text(json.dumps(saved.sealed(record)))


Command = Callable[..., subprocess.CompletedProcess]


@pytest.fixture
def disentangle(tmp_path: Path) -> Command:
    """`run_disentangle` in an empty folder."""
    return partial(run_disentangle, tmp_path)


@pytest.fixture
def terminal() -> tuple[int, int]:
    """Both ends of one, for the test to close."""
    try:
        return pty.openpty()
    except OSError as error:  # containers may have none
        pytest.skip(str(error))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    monkeypatch.setattr(download, "BACKOFF_SECONDS", 0)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
