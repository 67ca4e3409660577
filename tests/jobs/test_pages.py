"""Every job leaves a page of its report."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import SMALL_TREE, Command, ok


@pytest.mark.parametrize(
    ("job", "content"),
    [
        ("base", "difference to XR-Linear"),
        ("binned", "The numbers of figure-2"),
        ("metric", "normalised VI"),
        ("sweep", "The highest mean has"),
    ],
)
@pytest.mark.parametrize("seeds", [(), ("--seeds", "0,1")], ids=["one seed", "two seeds"])
def test_a_job_says_where_the_page_of_its_report_is(
    disentangle: Command, verbs: Path, tmp_path: Path, job: str, content: str, seeds: tuple[str, ...]
):
    result = ok(disentangle(job, "verbs", "--data-dir", verbs, *SMALL_TREE, *seeds))
    (said,) = [line for line in result.stdout.splitlines() if line.endswith(".html")]
    path = tmp_path / said.removeprefix("wrote ")
    assert path.name.startswith("report")
    assert content in path.read_text(encoding="utf-8")
