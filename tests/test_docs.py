"""What the pages say can be followed: links lead somewhere, commands are understood, Python compiles."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

from disentangle.cli import main
from disentangle.params import overlap_fields
from disentangle.presets import PRESETS

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
README_BYTES = 12_288
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Commands in a line of prose or a table.
INLINE = re.compile(r"`((?:bash run_|python -m disentangle )[^`]+)`")
JOBS = {"run_base.sh": "base", "run_binned.sh": "binned", "run_metric.sh": "metric"}


def anchors(page: Path) -> set[str]:
    """What a link can name in a page: its headings, as GitHub makes anchors of them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(text: str) -> Iterator[list[str]]:
    """The arguments of each call of the package in a page."""
    lines = [line for kind, block in FENCE.findall(text) if kind == "bash" for line in block.splitlines()]
    for line in [*lines, *INLINE.findall(text)]:
        words = shlex.split(line, comments=True)
        if words[:1] == ["bash"] and words[1] in JOBS:
            yield [JOBS[words[1]], *words[2:]]
        elif words[:1] == ["sbatch"] and "run.sbatch" in words:
            yield ["base", *words[words.index("run.sbatch") + 1 :]]
        elif "disentangle" in words and words[words.index("disentangle") - 1] == "-m":
            yield words[words.index("disentangle") + 1 :]


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_bytes()) <= README_BYTES


def test_installation_own_data_and_python_come_in_the_first_half():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    first_half = text[: len(text) // 2]
    assert all(f"\n## {name}\n" in first_half for name in ("Installation", "Data of your own", "Python"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path):
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_are_understood(page: Path):
    parser = main._parser()
    for words in commands(page.read_text(encoding="utf-8")):
        try:
            parser.parse_args(words)
        except SystemExit as error:
            asks_for_help = not error.code
            assert asks_for_help, f"{page.name}: {shlex.join(words)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_scripts_and_benchmarks_that_are_named_are_there(page: Path):
    blocks = [block for kind, block in FENCE.findall(page.read_text(encoding="utf-8")) if kind == "bash"]
    for line in "\n".join(blocks).splitlines():
        for word in shlex.split(line, comments=True):
            if word.endswith((".sh", ".py", ".sbatch")):
                assert (ROOT / word).is_file(), word


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_compiles(page: Path):
    for kind, block in FENCE.findall(page.read_text(encoding="utf-8")):
        if kind == "python":
            compile(block, page.name, "exec")


def test_commands_are_found_wherever_they_stand():
    block = "```bash\nPYTHONPATH=src python -m disentangle data list  # all\n```\n"
    block += "```bash\nsbatch --mem=64G run.sbatch x --seed 1\n```\n"
    text = f"{block}or `bash run_binned.sh x --levels 2`"
    assert list(commands(text)) == [
        ["data", "list"],
        ["base", "x", "--seed", "1"],
        ["binned", "x", "--levels", "2"],
    ]


def test_the_table_of_parts_is_that_of_the_presets():
    page = (ROOT / "docs" / "presets.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `--([\w-]+)` \|[^|\n]*\|([^|\n]*)\|([^|\n]*)\|([^|\n]*)\|$", page, re.MULTILINE)
    said = {name.replace("-", "_"): [cell.strip(" `") for cell in cells] for name, *cells in rows}

    def shown(value: object) -> str:
        return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)

    parts = [preset.parts() for preset in PRESETS.values()]
    assert said == {part: [shown(one[part]) for one in parts] for part in overlap_fields()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_python_imports_is_there(page: Path):
    blocks = [block for kind, block in FENCE.findall(page.read_text(encoding="utf-8")) if kind == "python"]
    for node in (node for block in blocks for node in ast.walk(ast.parse(block))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("disentangle"):
            module = importlib.import_module(str(node.module))
            for one in node.names:
                name = f"{node.module}.{one.name}"
                assert hasattr(module, one.name) or importlib.util.find_spec(name), name
