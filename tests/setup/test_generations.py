"""Models are the same bytes with both generations of packages: numpy 1.26 and numpy 2."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import digests, ok

PROJECT = Path(__file__).resolve().parents[2]
OLD, YOUNG = (12, 11, 10), (13, 14)


def find_python(minors: tuple[int, ...]) -> str | None:
    """One of these Pythons that runs and can make an environment."""
    for name in ("python3", *(f"python3.{minor}" for minor in minors)):
        probe = f"import sys, ensurepip, venv; sys.exit(sys.version_info[1] not in {minors})"
        found = shutil.which(name)
        if found and not subprocess.run([found, "-c", probe], capture_output=True, check=False).returncode:
            return found
    return None


def printed(python: str | Path, *args: str | Path) -> str:
    """What a command prints in another Python."""
    env = {"PYTHONPATH": str(PROJECT / "src")}
    command = [python, "-m", "disentangle", *args]
    return ok(subprocess.run(command, env=env, capture_output=True, text=True, check=False)).stdout


@pytest.mark.slow
def test_models_are_the_same_bytes_with_both(verbs: Path, tmp_path: Path):
    other = find_python(YOUNG if sys.version_info[1] < 13 else OLD)
    if other is None:
        pytest.skip("needs a Python of the other generation")
    project = tmp_path / "project"
    project.mkdir()
    for path in [PROJECT / "run_base.sh", *PROJECT.glob("requirements*.txt")]:
        shutil.copy(path, project)
    shutil.copytree(PROJECT / "src", project / "src")
    made, numpys = [], set()
    for driver, python in ((PROJECT, sys.executable), (project, other)):
        model = tmp_path / f"model-{len(made)}"
        env = {
            name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "CONDA_PREFIX")
        }
        env |= {"DISENTANGLE_PYTHON": python, "XMC_DATA": str(verbs), "XMC_MODEL": str(model)}
        command = ["bash", driver / "run_base.sh", "verbs", "--nr-splits", "8", "--max-leaf-size", "10"]
        command += ["--preset", "paper,tuned,lean"]
        ok(subprocess.run(command, env=env, capture_output=True, text=True, check=False))
        made.append(digests(model, ".npz"))
        report = json.loads((model / "verbs/base/report.json").read_text())
        numpys.add(report["versions"]["numpy"].partition(".")[0])
    assert numpys == {"1", "2"}
    assert len(made[0]) > 10
    assert made[0] == made[1]
    # And a bundle that one has made predicts alike in the other.
    places = ("--data-dir", verbs, "--model-dir", tmp_path / "model-0")
    printed(sys.executable, "bundle", "verbs", *places, "--preset", "tuned", "--out", tmp_path / "bundle")
    given = ("--bundle", tmp_path / "bundle", "--input", verbs / "verbs" / "tfidf-attnxml" / "X.tst.npz")
    here = printed(sys.executable, "predict", *given)
    assert len(here.splitlines()) > 1000
    assert printed(project / ".venv" / "bin" / "python", "predict", *given) == here
