"""The notebook runs from top to bottom in a fresh process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

NOTEBOOK = ROOT / "examples" / "disentangle.ipynb"


def code_cells() -> list[str]:
    """The source of each code cell, in order."""
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def test_it_is_a_notebook_whose_cells_compile_and_keep_no_outputs():
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    assert {cell["cell_type"] for cell in notebook["cells"]} == {"markdown", "code"}
    assert all(not cell["outputs"] for cell in notebook["cells"] if cell["cell_type"] == "code")
    for number, cell in enumerate(code_cells()):
        compile(cell, f"cell {number}", "exec")


@pytest.mark.slow
def test_its_cells_run_in_order_and_show_what_they_say(tmp_path: Path):
    env = os.environ | {"XMC_MODEL": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-"],
        input="\n\n".join(code_cells()),
        cwd=NOTEBOOK.parent,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "76,255 training instances, 21,336 labels" in run.stdout
    assert run.stdout.count("citrus: ") == 2, "a line for each copy of the label"
