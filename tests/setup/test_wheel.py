"""The package as it is installed elsewhere: all that it reads is in it, and nothing pulls torch in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from conftest import ROOT
from packaging.requirements import Requirement

pytest.importorskip("setuptools", minversion="77")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    build = "from setuptools import build_meta; print(build_meta.build_wheel('.'))"
    subprocess.run([sys.executable, "-c", build], cwd=folder, check=True, capture_output=True)
    (made,) = folder.glob("*.whl")
    return made


def test_a_wheel_has_all_files_of_the_package(wheel: Path):
    package = ROOT / "src" / "disentangle"
    files = {
        str(path.relative_to(package.parent))
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert files <= set(zipfile.ZipFile(wheel).namelist())
    assert "disentangle/py.typed" in files


def test_what_it_declares_brings_no_torch(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [one for one in archive.namelist() if one.endswith("METADATA")]
        metadata = Parser().parsestr(archive.read(name).decode())
    needs = {Requirement(need).name for need in metadata.get_all("Requires-Dist")}
    assert needs == {"numpy", "scipy", "numba", "scikit-learn", "rich", "requests", "matplotlib"}


def run(folder: Path, *args: str, hidden: str = "") -> subprocess.CompletedProcess:
    """The command of the wheel, some package hidden from it, in a folder without data."""
    hide = f"import sys; sys.modules[{hidden!r}] = None; " if hidden else ""
    code = f"{hide}from disentangle.cli.main import main; main()"
    env = {name: value for name, value in os.environ.items() if not name.startswith("XMC_")}
    return subprocess.run(
        [sys.executable, "-c", code, *args],
        cwd=folder,
        env=env | {"PYTHONPATH": str(folder / "site")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_data_or_libpecos_a_sentence_says_what_to_do(wheel: Path, tmp_path: Path, verbs: Path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    ended = run(tmp_path, "--version")
    assert ended.stdout.startswith("disentangle ")
    ended = run(tmp_path, "base")
    assert ended.returncode == 2
    assert "no dataset folder at dataset/xmc-base: name another one with --data-dir" in ended.stderr
    ended = run(tmp_path, "base", "verbs", "--data-dir", str(verbs), "--max-leaf-size", "10", hidden="pecos")
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()[-1:]) == 1
    assert "Traceback" not in ended.stderr
