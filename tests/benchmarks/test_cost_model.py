"""What the cost model counts, fits, projects, and does not measure again."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import cost_model
import numpy as np
import pytest
import scipy.sparse as sp
import synthetic
from cost_model import CHECKED, FITTED, SHARED, STAGES, Model
from cost_work import Sizes, works
from synthetic import SHAPES

from disentangle.data import datasets

# Of the fixed, serial and parallel share of all stages' seconds.
FACTORS = (0.5, 2e-7, 3e-8)
AMAZON = Sizes.of(SHAPES["amazon-3m"])


def sizes(share: float) -> Sizes:
    """Shares differ in more than one way, so that factors can be told from one another."""
    shape = list(SHAPES.values())[round(1 / share) % 3]
    return Sizes.of(shape.times(share))


def row(name: str, of: Sizes, threads: int) -> dict[str, Any]:
    """What would be measured if seconds were what the model says they are."""
    fixed, serial, parallel = FACTORS
    seconds = {
        stage: fixed + serial * work.serial + parallel * max(work.parallel / threads, work.longest)
        for stage, work in works(of).items()
    }
    saved = 5.0 * of.weights + 40 * of.n_labels
    peak = (2e8 + 3 * of.matrices + 2 * saved) / 2**20
    made = {"versions": {"disentangle": "1.2.3"}, "machine": {"cores": threads, "processor": "a Z80"}}
    found = made | {"seconds": seconds, "peak_mib": {"load": 1.0, "retrain": peak}, "model_bytes": saved}
    return {"dataset": name, "data": {}, "threads": threads, "sizes": asdict(of)} | found


def rows(names: tuple[str, ...]) -> list[dict[str, Any]]:
    return [row(name, sizes(1 / (9 + i)), n) for i, name in enumerate(names) for n in (1, 2)]


MODEL = Model(rows(FITTED))


def test_the_levels_are_those_of_the_tree():
    # As a run on it has trained: 4, 32 and 256 nodes, and copies in halves of halves of clusters.
    share = Sizes(15_327, 4_756, 24_026, 20_940, 1_199_321, 83_500, 6_518_350)
    assert (share.upper, share.halvings) == ([1, 4, 32, 256], 2)
    assert [AMAZON.upper[-1], AMAZON.halvings] == [2**15, 2]


def test_work_is_in_proportion_to_instances():
    double = replace(AMAZON, **{name: 2 * getattr(AMAZON, name) for name in ("n_train", "n_test")})
    double = replace(double, nnz_X=2 * AMAZON.nnz_X, nnz_Y=2 * AMAZON.nnz_Y, covered=2 * AMAZON.covered)
    for stage, work in works(AMAZON).items():
        # Python's own for each cluster stays, as labels do.
        serial = work.serial * (1 if stage == "split" else 2)
        assert works(double)[stage] == pytest.approx([serial, 2 * work.parallel, 2 * work.longest]), stage


@pytest.mark.parametrize("of", [AMAZON, Sizes.of(SHAPES["wiki-500k"], 3)])
@pytest.mark.parametrize("threads", [1, 16])
def test_a_law_is_found_again_in_its_rows(of: Sizes, threads: int):
    expected = row("other", of, threads)
    assert MODEL.seconds(of, threads) == pytest.approx(expected["seconds"], rel=1e-6)
    assert MODEL.model_bytes(of) == pytest.approx(expected["model_bytes"])
    assert MODEL.memory(of) == pytest.approx(2**20 * expected["peak_mib"]["retrain"])


def test_small_sets_count_as_much_as_large_ones_and_half_as_much_as_twice():
    found = cost_model.factors(np.array([[1.0], [1000.0]]), np.array([4.0, 1000.0]))
    assert found == pytest.approx([2.0])  # absolute errors would have it 1.000003


def test_features_of_a_label_s_instances_are_counted_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cost_model, "_LABELS", 2)
    X = sp.csr_matrix([[1.0, 1, 0], [0, 1, 1], [0, 1, 0]])
    Y = sp.csr_matrix([[1.0, 0, 0], [1, 1, 0], [1, 0, 0]])
    assert cost_model.covered(X, Y) == 3 + 2


def test_a_cluster_has_a_share_of_what_is_shared_out_alone():
    here, there = MODEL.seconds(AMAZON, 16), MODEL.seconds(AMAZON, 16, 32)
    assert {stage for stage in STAGES if there[stage] < here[stage]} == set(SHARED)
    # The root's part is not cut, however many there are.
    least = MODEL.seconds(AMAZON, 10**9)["matcher"] - FACTORS[1] * works(AMAZON)["matcher"].serial
    assert least == pytest.approx(FACTORS[0] + FACTORS[2] * works(AMAZON)["matcher"].longest, rel=1e-6)


def test_the_least_limit_is_that_of_the_job(tmp_path: Path):
    shape = SHAPES["amazon-670k"].times(0.005)
    synthetic.write(shape, tmp_path / "small")
    read = datasets.load_parts(tmp_path / "small")
    X, Y = read["X_trn"], read["Y_trn"]
    of = Sizes(X.shape[0], read["X_tst"].shape[0], X.shape[1], Y.shape[1], X.nnz, Y.nnz, 0)
    expected = datasets.memory_needed(tmp_path / "small") - datasets._LIBRARIES
    assert of.floor - datasets._LIBRARIES == pytest.approx(expected, rel=0.01)


def test_what_does_not_fit_is_said_in_the_order_in_which_a_job_meets_it():
    small, many = sizes(1 / 64), Sizes.of(SHAPES["amazon-3m"], 100)
    assert list(MODEL.breaks(small, 1e12)) == []
    assert list(MODEL.breaks(small, 1e8)) == ["data", "memory"]
    assert list(MODEL.breaks(many, 1e11))[:3] == ["data", "indices of data", "memory"]
    assert next(MODEL.breaks(replace(many, n_labels=2**30 + 1), 1e11)) == "ids"
    # Indices are of 8 bytes from there on.
    assert many.bytes_of(2**31) > 1.4 * many.bytes_of(2**31 - 1)


def test_tables_are_of_sets_that_were_fitted_to_and_others(capsys: pytest.CaptureFixture[str]):
    machine = {"machine": {"memory_gib": 24}}
    cost_model.print_tables(None)
    assert capsys.readouterr().out.startswith("Not measured yet, so that nothing is fitted: amazon-670k")
    cost_model.print_tables(machine | {"rows": rows(FITTED[1:])})
    assert capsys.readouterr().out == f"Not measured yet, so that nothing is fitted: {FITTED[0]}.\n"
    wrong = rows(CHECKED[:1])[0]
    wrong["seconds"] = {stage: 2 * value for stage, value in wrong["seconds"].items()}
    cost_model.print_tables(machine | {"rows": [*rows(FITTED), wrong]})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Rows by 1.2.3, on 1 cores of a Z80, 2 cores of a Z80."
    (checked,) = (line for line in lines if line.startswith(f"| {wrong['dataset']} "))
    assert checked.split(" | ")[4] == "0.50"
    assert sum(line.startswith("Projection, not measured") for line in lines) == 2
    for name in (*SHAPES, "100 x amazon-3m"):
        assert sum(line.startswith(f"| {name} |") for line in lines) == 4


def test_a_row_that_is_there_is_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    data, out, ran = {"a": "1", "b": "1"}, tmp_path / "out.json", []

    def measured(name: str, data_dir: Path, threads: int) -> dict[str, Any]:
        ran.append((name, threads))
        if len(ran) == 3:
            raise KeyboardInterrupt
        return row(name, AMAZON, threads) | {"data": {"X": data[name]}}

    monkeypatch.setattr(cost_model, "measured", measured)
    monkeypatch.setattr(cost_model.datasets, "dataset_folder", lambda data_dir, name: Path(name))
    monkeypatch.setattr(cost_model.datasets, "digest", lambda folder: {"X": data[folder.name]})
    with pytest.raises(KeyboardInterrupt):
        cost_model.measure(["a", "b"], tmp_path, [1, 2], out)
    cost_model.measure(["a", "b"], tmp_path, [1, 2], out)
    assert ran == [("a", 1), ("a", 2), ("b", 1), ("b", 1), ("b", 2)]
    data["a"] = "2"
    cost_model.measure(["a", "b"], tmp_path, [1], out)
    assert ran[5:] == [("a", 1)]
    found = [(one["dataset"], one["threads"]) for one in json.loads(out.read_text())["rows"]]
    assert sorted(found) == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]


@pytest.mark.parametrize("text", ["", "[]", '{"rows": [{"sizes": {"n_train": 1}}]}'])
def test_another_file_is_one_sentence(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
):
    (tmp_path / "out.json").write_text(text)
    monkeypatch.setattr(sys, "argv", ["cost_model.py", "project", str(tmp_path / "out.json")])
    with pytest.raises(SystemExit) as ended:
        cost_model.main()
    assert ended.value.code == 2
    path = tmp_path / "out.json"
    assert capsys.readouterr().err == f"error: {path} must hold rows of cost_model.py measure, found none\n"
