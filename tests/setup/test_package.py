"""The package in a user's own environment: what it declares, what its wheel holds, what it asks for."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from conftest import run_disentangle
from packaging.requirements import Requirement

from disentangle import __version__

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Made without network, by the setuptools of the lock."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("src", "pyproject.toml", "README.md", "LICENSE"):
        source = PROJECT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, folder / name)
    build = "from setuptools import build_meta; build_meta.build_wheel('.')"
    subprocess.run([sys.executable, "-c", build], cwd=folder, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_no_declared_dependency_is_libpecos_or_brings_torch(wheel):
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        declared = metadata.PathDistribution(zipfile.Path(archive, name.rpartition("/")[0] + "/")).requires
    asked = [Requirement(line) for line in declared or []]
    optional = {str(one.marker): set() for one in asked if one.marker}
    for one in asked:
        if one.marker:
            optional[str(one.marker)].add(one.name)
    assert optional == {
        'extra == "mlflow"': {"mlflow-skinny"},
        'extra == "skos"': {"rdflib"},
        'extra == "serve"': {"uvicorn"},
        'extra == "cluster"': {"distributed"},
        'extra == "encoder"': {"torch", "transformers", "tokenizers", "safetensors"},
        'extra == "xr-transformer"': {"torch", "transformers", "tokenizers", "safetensors"},
    }
    names = {one.name for one in asked if not one.marker}
    assert names == {"numpy", "scipy", "numba", "scikit-learn", "rich", "requests", "matplotlib"}


def test_wheel_holds_data_and_types(wheel):
    kept = {
        path.relative_to(PROJECT / "src").as_posix()
        for path in (PROJECT / "src/disentangle").rglob("*")
        if path.suffix in {".py", ".json", ".css", ".js"} or path.name == "py.typed"
    }
    assert {"disentangle/py.typed", "disentangle/html/static/page.css"} <= kept
    with zipfile.ZipFile(wheel) as archive:
        assert kept <= set(archive.namelist())


def test_version(tmp_path):
    result = run_disentangle(tmp_path, "--version", variables={"COLUMNS": "80"})
    assert (result.returncode, result.stdout, result.stderr) == (0, f"disentangle {__version__}\n", "")


def test_without_a_dataset_a_sentence_says_what_to_do(tmp_path):
    result = run_disentangle(tmp_path, "base", variables={"COLUMNS": "80"})
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        "error: no dataset folder at dataset/xmc-base: name another one with --data-dir, "
        "or make one with `data get` or `data import`\n"
    )


@pytest.mark.slow
def test_in_a_new_environment_the_command_asks_for_libpecos_and_then_runs(wheel, tmp_path):
    # The packages of the environment that runs the tests stand in for those that pip would bring.
    made = tmp_path / "environment"
    venv.create(made)
    site = next(made.glob("lib/python3.*/site-packages"))
    theirs = Path(metadata.distribution("numpy").locate_file("."))
    for path in theirs.iterdir():
        if not path.name.startswith(("pecos", "libpecos", "label_disentanglement", "__pycache__")):
            (site / path.name).symlink_to(path)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    data = PROJECT / "dataset/xmc-base"
    command = [made / "bin/python", "-I", "-m", "disentangle", "base", "--data-dir", data, "--preset", "lean"]

    def base() -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    result = base()
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert result.stderr.startswith("error: libpecos is missing, install it without torch: ")
    assert " -m pip install --no-deps " in result.stderr
    assert result.stderr.endswith(" libpecos==1.2.8\n")
    for path in theirs.iterdir():
        if path.name.startswith(("pecos", "libpecos")):
            (site / path.name).symlink_to(path)
    result = base()
    assert (result.returncode, "wordnet-hypernyms" in result.stdout) == (0, True), result.stderr
