"""Adding a rule, as docs/rules.md shows it: one function, one line, and nothing else is made again."""

from __future__ import annotations

import re
import shutil
import textwrap
from pathlib import Path

import pytest
from conftest import ROOT, SMALL_TREE, ok, run_disentangle, run_python, stages_run

from disentangle import rules
from disentangle.errors import DisentangleError
from disentangle.params import OverlapParams

PAGE = ROOT / "docs" / "rules.md"


def base(folder: Path, verbs: Path, *args: str) -> list[str]:
    """Run the base job with the package in a folder; the stages that it made."""
    command = ("base", "verbs", "--data-dir", verbs, *SMALL_TREE, "--threads", "2", *args)
    return stages_run(ok(run_disentangle(folder, *command, package=folder / "src")))


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory, verbs: Path) -> Path:
    """A copy of the package, and a base run's results."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    base(folder, verbs)
    return folder


def block() -> str:
    """The page's example."""
    found = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found
    return found[1]


def test_the_example_does_what_it_says():
    # In a process of its own: it adds to the tables.
    ended = ok(run_python(ROOT, "-c", block() + "\nprint(sorted(rules.MERGES))"))
    assert ended.stdout.strip() == "['max', 'mean', 'noisy-or']"


def test_a_new_merge_is_a_function_and_a_line_and_trains_nothing(copied: Path, verbs: Path):
    rules = copied / "src" / "disentangle" / "rules.py"
    before = rules.read_text()
    function = re.search(r"^def max_.*?return best\n", block(), re.DOTALL | re.MULTILINE)
    line = re.search(r"^    (MERGES = .*)$", PAGE.read_text(), re.MULTILINE)
    assert function
    assert line
    changed = re.sub(r"^MERGES = .*$", line[1], before, flags=re.MULTILINE)
    rules.write_text(changed.replace("GAINS = {", f"{function[0]}\n\nGAINS = {{", 1))
    try:
        assert base(copied, verbs, "--merge", "max") == ["paper/evaluation-merge-max"]
        assert base(copied, verbs) == []
    finally:
        rules.write_text(before)


def test_a_new_gain_and_positives_and_preset_are_lines(copied: Path, verbs: Path):
    page = PAGE.read_text()
    files = [copied / "src" / "disentangle" / name for name in ("rules.py", "presets.py")]
    before = [file.read_text() for file in files]
    changed = before[0]
    for name, table in (("sure", "GAINS"), ("matched_only", "POSITIVES")):
        function = re.search(rf"^    def {name}\(.*\n        return .*\n", page, re.MULTILINE)
        line = re.search(rf"^    ({table} = .*)$", page, re.MULTILINE)
        assert function
        assert line
        changed = re.sub(rf"^{table} = .*$", line[1], changed, flags=re.MULTILINE)
        changed = changed.replace("GAINS = {", f"{textwrap.dedent(function[0])}\n\nGAINS = {{", 1)
    mine = re.search(r'^    "mine": .*\n', page, re.MULTILINE)
    assert mine
    files[0].write_text(changed)
    files[1].write_text(before[1].replace('    "lean":', f'{mine[0]}    "lean":'))
    try:
        made = base(copied, verbs, "--preset", "mine", "--gain", "sure", "--positives", "matched")
        assert "mine-gain-sure-positives-matched/overlap" in made
        assert base(copied, verbs) == []
    finally:
        for file, text in zip(files, before, strict=True):
            file.write_text(text)


def test_a_changed_assignment_that_comes_out_equal_trains_nothing(copied: Path, verbs: Path):
    module = copied / "src" / "disentangle" / "overlap" / "assign.py"
    before = module.read_text()
    module.write_text(before + "\n# Otherwise, and yet the same.\n")
    try:
        assert base(copied, verbs) == ["paper/assignment"]
        assert base(copied, verbs) == []
    finally:
        module.write_text(before)
    # A rule that chooses otherwise has everything after it made again.
    rules = copied / "src" / "disentangle" / "rules.py"
    before = rules.read_text()
    rules.write_text(before.replace("return scores * 0 + 1", "return scores * 0 + (scores > 0.5)"))
    try:
        assert base(copied, verbs) == ["paper/assignment", "paper/overlap", "paper/evaluation"]
    finally:
        rules.write_text(before)


def test_a_script_may_add_a_rule(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(rules.MERGES, "first", lambda scores: scores[0])
    OverlapParams().changed({"merge": "first"}).validate()
    monkeypatch.delitem(rules.MERGES, "first")
    with pytest.raises(DisentangleError, match="--merge must be one of mean, noisy-or, got 'first'"):
        OverlapParams().changed({"merge": "first"}).validate()
