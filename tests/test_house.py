"""The house: rooms by floor, imports downwards only, and nothing in it too long to survey."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from conftest import ROOT

PACKAGE = ROOT / "src" / "disentangle"
# From the top floor down; what lies in none of these folders is the ground, which all may use. What
# is used from Python, `api`, goes by the jobs' plan and steps; a command may go by it.
FLOORS = (
    "cli",
    "serve",
    "api",
    "jobs",
    "html",
    "xr_transformer",
    "encoder",
    "model",
    "evaluate",
    "overlap",
    "kernels",
    "data",
    "storage",
    "runtime",
)
MOST_LINES = {"module": 450, "class": 200, "function": 60}
MODULES = sorted(PACKAGE.rglob("*.py"))


def room(module: tuple[str, ...]) -> str | None:
    """The folder of a module of the package."""
    return module[0] if module and module[0] in FLOORS else None


def imported(path: Path) -> list[tuple[str, ...]]:
    """What a module imports from the package, wherever in it, as parts of names below the package."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            above = path.relative_to(PACKAGE).parent.parts
            base = (*above[: len(above) - node.level + 1], *(node.module or "").split("."))
            base = tuple(part for part in base if part)
            found += [(*base, name.name) for name in node.names]
    return found


def test_the_package_imports_itself_relatively_so_that_floors_are_seen():
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            assert not any(name.split(".")[0] == "disentangle" for name in names), path


def test_every_folder_is_a_floor():
    folders = {path.parent.relative_to(PACKAGE).parts[0] for path in MODULES if path.parent != PACKAGE}
    assert folders == set(FLOORS)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down_only(path: Path):
    own = room(path.relative_to(PACKAGE).parts)
    if path.name in ("__init__.py", "__main__.py") and own is None:
        return
    for module in imported(path):
        other = room(module)
        if own is None:
            assert other is None, f"the ground uses {'.'.join(module)}"
        elif other is not None:
            assert FLOORS.index(own) <= FLOORS.index(other), f"{own} uses {'.'.join(module)} above it"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_is_too_long_to_survey(path: Path):
    text = path.read_text()
    sizes = {("module", path.name): len(text.splitlines())}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            kind = "class" if isinstance(node, ast.ClassDef) else "function"
            sizes[kind, f"{node.name} in line {node.lineno}"] = (node.end_lineno or 0) - node.lineno + 1
    assert {name: n for name, n in sizes.items() if n > MOST_LINES[name[0]]} == {}
