"""Shared fixtures: small datasets in the layout, and the command line as a user calls it."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import re
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


def dataset(place: Path) -> Path:
    """The folder of `verbs` where commands are run in a place."""
    return place / "dataset" / "xmc-base" / "verbs"


def base(place: Path) -> Path:
    """The folder of the base job's results on `verbs` there."""
    return place / "model" / "verbs" / "base"


def run_python(
    folder: Path,
    *args: str | Path,
    package: str | Path = ROOT / "src",
    variables: dict[str, str] | None = None,
    **kwargs: Any,
) -> subprocess.CompletedProcess:
    """Run Python in a folder, with a package's on its path and with more variables of the environment."""
    env = os.environ | {"PYTHONPATH": str(package)} | (variables or {})
    command = [sys.executable, *map(str, args)]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, **kwargs)


def run_disentangle(folder: Path, *args: str | Path, **kwargs: Any) -> subprocess.CompletedProcess:
    """Run `python -m disentangle ARGS` in a folder, results going to its `model` and `dataset-binned`."""
    return run_python(folder, "-m", "disentangle", *args, **kwargs)


def ok(ended: subprocess.CompletedProcess) -> subprocess.CompletedProcess:
    """A command's outcome, which must be status 0."""
    assert ended.returncode == 0, ended.stderr
    return ended


def refused(ended: subprocess.CompletedProcess, *patterns: str) -> subprocess.CompletedProcess:
    """A command's outcome, which must be status 2 and, as its last line, one error that has all patterns."""
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    lines = ended.stderr.splitlines()
    (error,) = [line for line in lines if line.startswith("error: ")]
    assert error == lines[-1], ended.stderr
    for pattern in patterns:
        assert re.search(pattern, error), ended.stderr
    return ended


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


def digests(folder: Path, *endings: str) -> dict[str, str]:
    """Sha256 of each file below a folder, by its path there; of these endings, if any are given."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and (not endings or path.suffix in endings)
    }


def reseal(folder: Path) -> None:
    """Make a stage's record vouch for what is in its folder now, as nobody but a forger does."""
    path = folder / saved.RECORD
    record = json.loads(path.read_text())
    record["files"] = digests(folder)
    del record["files"][saved.RECORD]
    path.write_text(json.dumps(saved.sealed(record)))


Command = Callable[..., subprocess.CompletedProcess]


@pytest.fixture
def disentangle(tmp_path: Path) -> Command:
    """`run_disentangle` in an empty folder."""
    return partial(run_disentangle, tmp_path)


@pytest.fixture
def run(place: Path) -> Command:
    """`run_disentangle` in the folder that a module calls its place."""
    return partial(run_disentangle, place)


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
