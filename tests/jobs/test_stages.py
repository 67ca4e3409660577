"""Stages: made whole or not at all, reused while valid, redone exactly when something changes."""

from __future__ import annotations

import fcntl
import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from disentangle.data import datasets
from disentangle.errors import DisentangleError
from disentangle.jobs import stages
from disentangle.jobs.plan import Plan
from disentangle.jobs.settings import Settings, Variant
from disentangle.jobs.stages import Stage
from disentangle.presets import PRESETS
from disentangle.runtime import provenance
from disentangle.storage import atomic
from disentangle.storage.saved import RECORD, Saved


class Kitchen:
    """Two stages, bread from dough, that write down what was made."""

    def __init__(self, folder: Path, flour: str = "rye", heat: int = 200, force: bool = False) -> None:
        self.made: list[str] = []
        # What the dough is of says less than what went into it.
        self.flour = flour.removeprefix("fresh ")
        self.dough = Stage(
            "knead", folder / "dough", {"flour": flour}, ("errors",), self._knead, (), force=force
        )
        self.bread = Stage(
            "bake", folder / "bread", {"heat": heat}, ("errors",), self._bake, (self.dough,), force=force
        )

    def _knead(self, out: Path) -> dict[str, Any]:
        self.made.append("dough")
        (out / "dough.txt").write_text(f"dough of {self.flour}")
        return {"weight": 1}

    def _bake(self, out: Path, dough: Saved) -> dict[str, Any]:
        self.made.append("bread")
        (out / "bread.txt").write_text((dough.folder / "dough.txt").read_text() + " baked")
        return {"seconds": {"heat": 1.0, "bake": 2.0}}


def make(folder: Path, **changes: Any) -> list[str]:
    kitchen = Kitchen(folder, **changes)
    kitchen.bread.ensure()
    return kitchen.made


def test_a_stage_makes_what_it_needs_and_leaves_a_record(tmp_path: Path):
    kitchen = Kitchen(tmp_path)
    record = kitchen.bread.ensure()
    assert kitchen.made == ["dough", "bread"]
    assert (tmp_path / "bread" / "bread.txt").read_text() == "dough of rye baked"
    assert record == json.loads((tmp_path / "bread" / "stage.json").read_text())
    assert record["seconds"] == {"heat": 1.0, "bake": 2.0}
    assert record["peak_rss_mib"] > 0
    dough = kitchen.dough.ensure()
    assert dough["results"] == {"weight": 1}
    assert list(dough["seconds"]) == ["knead"]


def test_a_finished_stage_is_reused_and_its_needs_are_not_even_looked_at(tmp_path: Path):
    make(tmp_path)
    assert make(tmp_path) == []
    (tmp_path / "dough" / "stage.json").unlink()
    assert make(tmp_path) == []


def test_what_it_needs_may_have_come_out_otherwise(tmp_path: Path):
    make(tmp_path)
    shutil.rmtree(tmp_path / "dough")
    kitchen = Kitchen(tmp_path)
    kitchen.flour = "damp rye"  # which no key tells
    kitchen.dough.ensure()
    kitchen.bread.ensure()
    assert kitchen.made == ["dough", "bread"]
    assert (tmp_path / "bread" / "bread.txt").read_text() == "dough of damp rye baked"


def test_changes_redo_exactly_what_they_affect(tmp_path: Path):
    make(tmp_path)
    assert make(tmp_path, heat=180) == ["bread"]
    assert make(tmp_path, heat=180, flour="spelt") == ["dough", "bread"]
    assert make(tmp_path, heat=180, flour="spelt", force=True) == ["dough", "bread"]


def test_what_comes_out_as_it_was_has_nothing_else_redone(tmp_path: Path):
    make(tmp_path)
    before = json.loads((tmp_path / "bread" / RECORD).read_text())
    assert make(tmp_path, flour="fresh rye") == ["dough"]
    # It has the key of what it is made of now, and is as good as what was made so.
    kitchen = Kitchen(tmp_path, flour="fresh rye")
    kept = kitchen.bread.record()
    assert kept is not None
    assert kept["key"] != before["key"]
    assert {name: kept[name] for name in before if name not in ("key", "digest")} == {
        name: before[name] for name in before if name not in ("key", "digest")
    }
    kitchen.bread.saved()
    assert make(tmp_path, flour="fresh rye") == []
    assert make(tmp_path, flour="fresh spelt") == ["dough", "bread"]


def test_what_is_damaged_is_not_kept_for_its_inputs(tmp_path: Path):
    make(tmp_path)
    (tmp_path / "bread" / "bread.txt").write_text("crumbs")
    assert make(tmp_path, flour="fresh rye") == ["dough", "bread"]
    assert make(tmp_path, flour="rye", force=True) == ["dough", "bread"]


def test_other_versions_and_other_code_redo_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    make(tmp_path)
    real = provenance.versions()
    monkeypatch.setattr(provenance, "versions", lambda: real | {"libpecos": "0.0"})
    assert make(tmp_path) == ["dough", "bread"]
    monkeypatch.setattr(provenance, "code_of", lambda *code: "edited")
    assert make(tmp_path) == ["dough", "bread"]


def test_code_that_changes_meanwhile_makes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    kitchen = Kitchen(tmp_path)
    kitchen.dough.ensure()
    monkeypatch.setattr(provenance, "code_of", lambda *code: "edited")
    with pytest.raises(DisentangleError, match="the code of bread has changed meanwhile"):
        kitchen.bread.ensure()
    assert [path.name for path in tmp_path.iterdir()] == ["dough"]


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_text("do")], ids=["deleted", "cut"])
def test_a_damaged_result_is_made_again(tmp_path: Path, damage: Any):
    make(tmp_path)
    damage(tmp_path / "bread" / "bread.txt")
    assert make(tmp_path) == ["bread"]
    (tmp_path / "bread" / "stage.json").write_text("{")
    assert make(tmp_path) == ["bread"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_stage_that_fails_leaves_the_old_result(
    tmp_path: Path, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
):
    make(tmp_path)
    kitchen = Kitchen(tmp_path, heat=900)

    def burn(out: Path, dough: Saved) -> dict[str, Any]:
        (out / "bread.txt").write_text("bur")
        raise error

    monkeypatch.setattr(kitchen.bread, "_build", burn)
    with pytest.raises(error):
        kitchen.bread.ensure()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bread", "dough"]
    assert make(tmp_path) == []


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    kitchen = Kitchen(tmp_path)

    def fill(out: Path) -> dict[str, Any]:
        (out / "dough.txt").write_text("do")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kitchen.dough, "_build", fill)
    with pytest.raises(DisentangleError, match=r"cannot write .*dough: No space left on device"):
        kitchen.bread.ensure()
    assert list(tmp_path.iterdir()) == []


def test_a_copy_that_finds_no_room_names_what_could_not_be_written(tmp_path: Path):
    def copy(out: Path) -> dict[str, Any]:
        raise OSError(28, "No space left on device", "source", None, str(out / "copy"))

    stage = Stage("copy", tmp_path / "copied", {}, (), copy)
    with pytest.raises(DisentangleError, match=r"cannot write .*/copy: No space left on device"):
        stage.ensure()


def test_the_workspace_is_for_one_run_and_clears_what_a_killed_one_left(tmp_path: Path):
    (tmp_path / ".tmp-bread").mkdir()
    (tmp_path / ".tmp-bread" / "bread.txt").write_text("half")
    (tmp_path / ".tmp-report.json").write_text("half")
    with atomic.workspace(tmp_path, RECORD):
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]
        with (
            pytest.raises(DisentangleError, match="another run is at work"),
            atomic.workspace(tmp_path, RECORD),
        ):
            pass
    with (tmp_path / ".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # free again


def test_a_workspace_that_cannot_be_made_is_one_sentence(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(DisentangleError, match=r"cannot write to .*file/base"),
        atomic.workspace(tmp_path / "file" / "base", RECORD),
    ):
        pass


def test_code_of_follows_modules_and_functions():
    def one() -> int:
        return 1

    def two() -> int:
        return 2

    assert provenance.code_of(("errors",), (one,)) == provenance.code_of(("errors",), (one,))
    assert provenance.code_of(("errors",), ()) != provenance.code_of(("params",), ())
    assert provenance.code_of((), (one,)) != provenance.code_of((), (two,))
    # What a function is bound to does not matter, its code does.
    assert provenance.code_of((), (partial(one),)) == provenance.code_of((), (one,))


LIMIT = 3


def within(n: int) -> bool:
    return n < LIMIT


# A tuple.
IN_NO_STAGE = {"model.trained"}


@pytest.fixture
def of_presets(verbs: Path, tmp_path: Path) -> dict[str, Stage]:
    variants = tuple(Variant(name, name, name, params) for name, params in PRESETS.items())
    settings = Settings(threads=1, variants=variants)
    return Plan(tmp_path, datasets.source(verbs, "verbs"), settings)._made


def test_no_module_that_makes_results_is_in_no_stage(of_presets: dict[str, Stage]):
    package = Path(provenance.__file__).parents[1]
    rooms = ("model", "overlap", "kernels")
    there = {f"{room}.{path.stem}" for room in rooms for path in (package / room).glob("[a-z]*.py")}
    assert there - {module for stage in of_presets.values() for module in stage._modules} == IN_NO_STAGE


def test_a_solver_is_in_the_stages_where_it_runs_alone(of_presets: dict[str, Stage]):
    assert {name for name, stage in of_presets.items() if "kernels.dual_descent" in stage._modules} == {
        "matcher-eps-0.5-terms-150",
        "matcher-splits-8-eps-0.5-terms-150",
        "tuned/overlap",
        "lean/overlap",
    }


def test_what_is_made_by_pecos_is_another_where_our_door_to_it_is(of_presets: dict[str, Stage]):
    for name in ("label-tree", "label-tree-splits-8", "tuned/overlap", "tuned/evaluation"):
        assert "model.pecos" in of_presets[name]._modules


def test_a_constant_that_a_function_names_is_part_of_its_code(monkeypatch: pytest.MonkeyPatch):
    before = provenance.code_of((), (within,))
    assert provenance.code_of((), (within,)) == before
    monkeypatch.setitem(globals(), "LIMIT", 4)
    assert provenance.code_of((), (within,)) != before


def test_another_way_to_build_redoes_the_stage(tmp_path: Path):
    make(tmp_path)
    kitchen = Kitchen(tmp_path)

    def fried(out: Path, dough: Saved) -> dict[str, Any]:
        return {}

    fry = Stage("bake", tmp_path / "bread", {"heat": 200}, ("errors",), fried, (kitchen.dough,))
    fry.ensure()
    assert kitchen.made == []
    assert not (tmp_path / "bread" / "bread.txt").exists()


def test_no_input_is_lost_to_what_every_stage_says(tmp_path: Path):
    for name in ("code", "numpy"):
        with pytest.raises(ValueError, match=f"stage bake must have other names than {name}"):
            Stage("bake", tmp_path / "bread", {name: "mine"}, ("errors",), lambda out: {})


@pytest.mark.parametrize("record", ["{}", "[]", '{"key": 1}', "null", ""])
def test_a_strange_record_counts_for_nothing(tmp_path: Path, record: str):
    make(tmp_path)
    (tmp_path / "bread" / "stage.json").write_text(record)
    assert make(tmp_path) == ["bread"]


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path: Path):
    make(tmp_path)
    (tmp_path / "bread").rename(tmp_path / ".tmp-bread")  # new and whole, not yet in its place
    (tmp_path / ".tmp-old-bread").mkdir()
    (tmp_path / ".tmp-old-bread" / "stage.json").write_text("{}")
    with atomic.workspace(tmp_path, RECORD):
        assert make(tmp_path) == []
    assert not list(tmp_path.glob(".tmp-*"))


def test_preparing_is_not_on_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    prepared = []
    clock = 0.0
    monkeypatch.setattr(stages.time, "perf_counter", lambda: clock)

    def prepare() -> None:
        nonlocal clock
        prepared.append(True)
        clock += 1000

    stage = Stage("rest", tmp_path / "rest", {}, ("errors",), lambda out: {}, prepare=prepare, threads=3)
    record = stage.ensure()
    assert prepared == [True]
    assert record["seconds"]["rest"] == 0
    assert record["threads"] == 3
    assert record["machine"]["cores"] >= 1


def test_a_tree_is_another_once_its_kernel_is(verbs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def key(edited: str | None) -> str:
        of = provenance.code_of
        with monkeypatch.context() as patch:
            patch.setattr(provenance, "code_of", lambda modules, code: [of(modules, code), edited in modules])
            return Plan(tmp_path, datasets.source(verbs, "verbs"), Settings(threads=1)).tree.key

    assert key("kernels.kmeans") != key(None) == key("kernels.beam")
