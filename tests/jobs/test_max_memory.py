"""A limit on memory changes where things lie, and no byte of what is made."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import SMALL_TREE, Command, files_of_stages, ok

from disentangle.data import datasets
from disentangle.jobs import calibrate, plan
from disentangle.jobs.settings import Settings, Variant
from disentangle.jobs.steps import Means
from disentangle.params import TreeParams
from disentangle.presets import PRESETS
from disentangle.runtime.memory import Budget
from disentangle.storage.saved import Saved

VARIANTS = tuple(Variant(name, name, name, params) for name, params in PRESETS.items())


def made(verbs: Path, folder: Path, max_memory: float | None, threads: int) -> dict[str, dict[str, str]]:
    """Digests of the files of each stage of all presets."""
    tree = TreeParams(nr_splits=8, max_leaf_size=10)
    settings = Settings(threads=threads, variants=VARIANTS, tree=tree, max_memory=max_memory)
    folder.mkdir()
    plan.runs(plan.Plan(folder, datasets.source(verbs, "verbs"), settings))
    return files_of_stages(folder)


def test_all_presets_make_the_same_bytes_with_and_without_a_limit(
    verbs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    expected = made(verbs, tmp_path / "free", None, 2)
    assert len(expected) >= 3 * 3
    empty, in_files = Budget.empty, []
    monkeypatch.setattr(Budget, "empty", lambda *given: (in_files.append(given), empty(*given))[1])
    assert made(verbs, tmp_path / "limited", 8, 1) == expected
    # Weights in training, label features, what predicts.
    assert {budget.folder for budget, *_ in in_files} == {tmp_path / "limited"}
    assert len(in_files) > 50
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]


@pytest.mark.parametrize(
    "command",
    [
        ("base", "--preset", "tuned", "--calibrate"),
        ("binned", "--levels", "0"),
        ("sweep", "--preset", "lean", "--grid", "n_copies=1,2"),
    ],
    ids=lambda command: command[0],
)
def test_all_jobs_make_the_same_bytes_with_and_without_a_limit(
    verbs: Path, tmp_path: Path, disentangle: Command, command: tuple[str, ...]
):
    def made(model_dir: str, *limit: str) -> dict[str, dict[str, str]]:
        job, *options = command
        where = ("--data-dir", verbs, "--model-dir", model_dir, "--threads", "2")
        ok(disentangle(job, "verbs", *options, *where, *SMALL_TREE, *limit))
        return files_of_stages(tmp_path / model_dir)

    # Binned data, which lie elsewhere, are of the first.
    limited = made("limited", "--max-memory", "8")
    assert len(limited) > 5
    assert made("free") == limited


def test_a_calibration_has_its_files_in_the_results_folder(verbs: Path, tmp_path: Path):
    of, found = plan.Plan(tmp_path, datasets.source(verbs, "verbs"), Settings(threads=1, max_memory=8)), []

    def step(out: Path, *saved: Saved, means: Means, **_: object) -> dict[str, object]:
        found.append(means.budget.folder)
        return {}

    calibrate._stage(of, tmp_path / "calibration", step, None, ()).ensure()
    assert found == [tmp_path]
