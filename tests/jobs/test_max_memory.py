"""A limit on memory changes where things lie, and no byte of what is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from disentangle.data import datasets
from disentangle.jobs import plan
from disentangle.jobs.settings import Settings, Variant
from disentangle.model import mapped_model
from disentangle.params import TreeParams
from disentangle.presets import PRESETS
from disentangle.runtime.memory import Budget
from disentangle.storage.saved import Saved

VARIANTS = tuple(Variant(name, name, name, params) for name, params in PRESETS.items())


def made(verbs: Path, folder: Path, max_memory: float | None, threads: int) -> dict[str, object]:
    """Digests of the files of each stage of all presets."""
    tree = TreeParams(nr_splits=8, max_leaf_size=10)
    settings = Settings(threads=threads, variants=VARIANTS, tree=tree, max_memory=max_memory)
    folder.mkdir()
    plan.runs(plan.Plan(folder, datasets.source(verbs, "verbs"), settings))
    return {
        str(path.parent.relative_to(folder)): Saved.at(path.parent)[0].digests
        for path in folder.rglob("stage.json")
    }


def test_all_presets_make_the_same_bytes_with_and_without_a_limit(
    verbs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    expected = made(verbs, tmp_path / "free", None, 2)
    assert len(expected) >= 3 * 3
    assert made(verbs, tmp_path / "limited", 8, 1) == expected
    mapped, write = [], mapped_model.write
    monkeypatch.setattr(mapped_model, "write", lambda *given: (mapped.append(given), write(*given)))
    # As if no model had room.
    monkeypatch.setattr(Budget, "has_room", lambda *_: False)
    assert made(verbs, tmp_path / "mapped", 8, 2) == expected
    assert len(mapped) >= 8
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]
