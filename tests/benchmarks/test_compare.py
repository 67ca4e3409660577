"""The comparison with other tools: what it prints, what it resumes, and each method once on real data."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import compare
import method_process
import methods
import numpy as np
import pytest
import scipy.sparse as sp
from conftest import ROOT, run_python

from disentangle.data import datasets


def needs(method: str) -> None:
    """Skip a test of a method whose tool is not installed."""
    for package in compare.PACKAGES.get(method, ()):
        pytest.importorskip(package, reason=f"{package} is not installed, see {compare.REQUIREMENTS}")


def run(method: str, repeat: int, seconds: float, **changes: Any) -> dict[str, Any]:
    costs: dict[str, Any] = {key: 10.0 for _, key, _, _ in compare.COSTS}
    figures = dict.fromkeys(compare.FIGURES, 50.0 + repeat)
    return {"method": method, "repeat": repeat, "training_seconds": seconds} | figures | costs | changes


RESULT = {
    "dataset": "vullib",
    "machine": {"processor": "Slow", "cores": 4},
    "versions": {"disentangle": "1.2.3"},
    "threads": 2,
    "skipped": {"libmultilabel-tree": "too large"},
    "runs": [
        run("lean", 0, 10.0),
        run("lean", 1, 20.0),
        run("lean", 2, 60.0),
        run("omikuji-parabel", 0, 5.0, predict_seconds_loaded=None),
        run("omikuji-parabel", 1, 40.0, predict_seconds_loaded=None),
        run("omikuji-parabel", 2, 20.0, predict_seconds_loaded=None),
    ],
}


def table(printed: str) -> dict[str, dict[str, str]]:
    """A printed table's cells by method and column."""
    lines = [line.strip("|").split("|") for line in printed.splitlines() if line.startswith("|")]
    header, _, *rows = [[cell.strip() for cell in line] for line in lines]
    return {row[0]: dict(zip(header[1:], row[1:], strict=True)) for row in rows}


def test_the_table_has_medians_with_ranges_and_ratios_of_the_same_repeat(capsys: pytest.CaptureFixture[str]):
    compare.print_comparison(RESULT)
    printed = capsys.readouterr().out
    cells = table(printed)
    assert cells["lean"]["P@1"] == "51.00"
    assert cells["lean"]["train s"] == "20.0 (10.0-60.0)"
    # 2, 0.5 and 3: not 20 / 20.
    assert cells["lean"]["/ omikuji-parabel"] == "2.00"
    assert "/ omikuji-bonsai" not in cells["lean"]
    assert cells["omikuji-parabel"]["/ omikuji-parabel"] == "1.00"
    assert cells["omikuji-parabel"]["without loading"] == ""
    assert "vullib, version 1.2.3, repeats: 3, threads: 2, on Slow, 4 cores" in printed
    assert "libmultilabel-tree has no row: too large." in printed


def test_ratios_leave_out_repeats_that_only_one_has(capsys: pytest.CaptureFixture[str]):
    runs = [run("lean", 0, 8.0), run("lean", 1, 100.0), run("omikuji-bonsai", 0, 4.0)]
    compare.print_comparison(RESULT | {"runs": runs})
    printed = capsys.readouterr().out
    assert table(printed)["lean"]["/ omikuji-bonsai"] == "2.00"
    assert table(printed)["omikuji-bonsai"]["train s"] == "4.0"
    assert "repeats: 1 to 2" in printed


def test_the_summary_has_a_row_for_each_dataset_and_method(capsys: pytest.CaptureFixture[str]):
    runs = [run("tuned", 0, 3.0), run("omikuji-bonsai", 0, 4.0)]
    results = [RESULT | {"dataset": "a"}, {"dataset": "b", "runs": runs}]
    compare.print_summary(results)
    lines = [line.split(" | ") for line in capsys.readouterr().out.splitlines()]
    header, rows = lines[0], [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]
    assert header[0] == "| dataset"
    named = [(row["| dataset"], row["method"]) for row in rows]
    assert named == [
        ("| a", "lean"),
        ("| a", "omikuji-parabel"),
        ("| b", "tuned"),
        ("| b", "omikuji-bonsai"),
    ]
    ratios = [(row["/ omikuji-parabel"], row["/ omikuji-bonsai"]) for row in rows]
    assert ratios == [("2.00", ""), ("1.00", ""), ("", "0.75"), ("", "1.00")]


def test_differences_are_of_medians_and_seconds_of_the_same_repeat(capsys: pytest.CaptureFixture[str]):
    runs = [*RESULT["runs"], run("tuned", 0, 3.0)]
    compare.print_differences([RESULT | {"runs": runs}])
    *_, row = capsys.readouterr().out.splitlines()
    # No row for `tuned`, as there is nothing of Bonsai's.
    assert row == "| vullib | lean | omikuji-parabel |" + " +0.00 |" * len(compare.FIGURES) + " x 2.00 |"
    runs = [run("tuned", 0, 3.0, **{"P@1": 53.25}), run("omikuji-bonsai", 0, 4.0)]
    compare.print_differences([RESULT | {"runs": runs}])
    assert (
        capsys.readouterr()
        .out.splitlines()[-1]
        .startswith("| vullib | tuned | omikuji-bonsai | +3.25 | +0.00")
    )


def test_what_the_linear_trees_beam_did_not_reach_is_no_label():
    tree = object.__new__(methods.LinearTree)
    scores = np.zeros((2, 20))
    scores[0, [4, 7]] = 0.2, 0.9
    scores[1, :15] = np.arange(15, 0, -1)
    tree._model = type("Model", (), {"predict_values": lambda self, X: scores})()
    labels = tree.single()(sp.csr_matrix((2, 3)))
    assert labels[0].tolist() == [7, 4] + [-1] * 8
    assert labels[1].tolist() == list(range(10))


def call(monkeypatch: pytest.MonkeyPatch, *args: str | Path) -> None:
    monkeypatch.setattr(sys, "argv", ["compare.py", *map(str, args)])
    compare.main()


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """What `compare.measure` is asked for; nothing is trained."""
    asked: list[tuple[str, int]] = []

    def measure(task: compare.Task, method: str, repeat: int) -> dict[str, Any]:
        asked.append((method, repeat))
        return run(method, repeat, 1.0, code=compare.code_of(method))

    monkeypatch.setattr(compare, "measure", measure)
    return asked


def test_methods_take_turns_and_finished_runs_are_not_run_again(
    verbs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, measured: list[tuple[str, int]]
):
    out = tmp_path / "new" / "compare.json"
    only = ("verbs", "--data-dir", verbs, "--out", out, "--threads", "1", "--only")
    call(monkeypatch, *only, "lean,xr-linear", "--repeats", "2")
    assert measured == [("xr-linear", 0), ("lean", 0), ("xr-linear", 1), ("lean", 1)]
    measured.clear()
    call(monkeypatch, *only, "lean,tuned", "--repeats", "3")
    assert measured == [("tuned", 0), ("tuned", 1), ("lean", 2), ("tuned", 2)]
    result = json.loads(out.read_text())
    assert len(result["runs"]) == 8
    assert {"disentangle", "libpecos", "omikuji", "napkinxc"} <= set(result["versions"])


def test_runs_with_other_threads_are_dropped(
    verbs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, measured: list[tuple[str, int]]
):
    out = tmp_path / "compare.json"
    for threads in ("1", "2", "2"):
        only = ("--only", "lean", "--repeats", "1")
        call(monkeypatch, "verbs", "--data-dir", verbs, "--out", out, "--threads", threads, *only)
    assert measured == [("lean", 0), ("lean", 0)]
    result = json.loads(out.read_text())
    assert (result["threads"], len(result["runs"])) == (2, 1)


def test_a_change_of_our_code_or_version_has_other_tools_runs_stay(
    verbs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, measured: list[tuple[str, int]]
):
    out = tmp_path / "compare.json"
    monkeypatch.setattr(compare, "check_installed", lambda methods: None)
    only = ("verbs", "--data-dir", verbs, "--out", out, "--repeats", "1", "--only", "lean,omikuji-parabel")
    call(monkeypatch, *only)
    result = json.loads(out.read_text())
    result["versions"]["disentangle"] = "0.0.1"
    for one in result["runs"]:
        one["code"] = "another" if one["method"] == "lean" else one["code"]
    out.write_text(json.dumps(result))
    measured.clear()
    call(monkeypatch, *only)
    assert measured == [("lean", 0)]
    found = json.loads(out.read_text())
    assert [one["method"] for one in found["runs"]] == ["omikuji-parabel", "lean"]
    assert found["versions"]["disentangle"] != "0.0.1"


def test_a_tool_that_fails_is_said_and_ends_no_comparison(
    verbs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def measure(task: compare.Task, method: str, repeat: int) -> dict[str, Any]:
        if method == "napkinxc-plt":
            raise compare.DisentangleError("training napkinxc-plt ended with status 1")
        return run(method, repeat, 1.0, code=compare.code_of(method))

    monkeypatch.setattr(compare, "measure", measure)
    monkeypatch.setattr(compare, "check_installed", lambda methods: None)
    out = tmp_path / "compare.json"
    only = ("--only", "lean,napkinxc-plt,omikuji-bonsai", "--repeats", "1")
    call(monkeypatch, "verbs", "--data-dir", verbs, "--out", out, *only)
    result = json.loads(out.read_text())
    assert [one["method"] for one in result["runs"]] == ["lean", "omikuji-bonsai"]
    assert result["skipped"] == {"napkinxc-plt": "training napkinxc-plt ended with status 1"}


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["missing"], "no dataset 'missing' in"),
        (["verbs", "--repeats", "0"], "repeats must be at least 1, got 0"),
        (["verbs", "verbs", "--out", "x.json"], "--out is the file of one dataset, got 2 datasets"),
        (["verbs", "--only", "parabel"], "expected some of xr-linear, "),
        (["verbs", "--out", "broken.json"], "broken.json must hold a comparison on verbs"),
    ],
)
def test_what_the_user_can_fix_is_one_sentence(verbs: Path, tmp_path: Path, args: list[str], sentence: str):
    (tmp_path / "broken.json").write_text("{}")
    only = [] if "--only" in args else ["--only", "lean"]
    program = ROOT / "benchmarks" / "compare.py"
    done = run_python(tmp_path, program, *args, *only, "--data-dir", verbs)
    assert done.returncode == 2
    assert sentence in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_missing_tool_is_one_sentence(
    verbs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "omikuji" else found(name))
    with pytest.raises(SystemExit, match="2"):
        call(monkeypatch, "verbs", "--data-dir", verbs)
    assert capsys.readouterr().err == (
        "error: omikuji-parabel needs omikuji, which is not installed: pip install --no-deps -r "
        "benchmarks/requirements-compare.txt, or leave it out with --only\n"
    )


def test_a_process_that_fails_says_so_in_its_last_words(tmp_path: Path):
    task = compare.Task("verbs", tmp_path, 1, tmp_path)
    with pytest.raises(compare.DisentangleError, match=r"^training x ended with status 3; .*: no more$"):
        compare.run_process(task, "training x", "-c", "print('no more\\n'); raise SystemExit(3)")


def test_few_labels_are_filled_up():
    labels = methods.padded([[3, 1], [], list(range(20))])
    assert labels[0].tolist() == [3, 1] + [-1] * 8
    assert labels[1].tolist() == [-1] * 10
    assert labels[2].tolist() == list(range(10))


def test_omikujis_own_word_on_its_training():
    log = "INFO Loaded 6157 examples; it took 0.06s\nINFO Model training complete; it took 1234.71s\n"
    assert methods.training_seconds_in(log) == 1234.71
    with pytest.raises(RuntimeError, match="does not say"):
        methods.training_seconds_in("INFO Loaded 6157 examples; it took 0.06s")


def test_text_has_no_trailing_blanks_and_all_values(tmp_path: Path):
    X = sp.csr_matrix(np.array([[0.5, 0, 0.1], [0, 0, 0], [0, 1, 0], [0, 0, 0]], dtype=np.float32))
    Y = sp.csr_matrix(np.array([[1, 1], [0, 1], [0, 0], [0, 0]], dtype=np.float32))
    path = methods.write_text(tmp_path, X, Y)
    lines = path.read_text().split("\n")
    assert lines[:2] == ["4 3 2", "0,1 0:0.5 2:0.1000000014901161"]
    assert lines[2:] == ["1", " 1:1", "", ""]
    assert [file.name for file in tmp_path.iterdir()] == ["trn.txt"]


def check(task: compare.Task, measured: dict[str, Any], method: str) -> None:
    """What any run must have measured."""
    assert measured["method"] == method
    assert measured["training_seconds"] == pytest.approx(sum(measured["training_parts"].values()), abs=0.002)
    assert measured["P@1"] > 40
    assert 0 < measured["latency_ms_median"] <= measured["latency_ms_p99"]
    assert measured["model_mb"] > 0.01
    assert min(measured["training_peak_mib"], measured["prediction_peak_mib"]) > 20
    loaded = measured["predict_seconds_loaded"]
    assert loaded is None or 0 < loaded < measured["predict_seconds"]
    assert not (task.temporary / "model").exists()


@pytest.mark.parametrize("method", methods.RIVALS)
def test_a_rival_trains_and_predicts(
    verbs: Path, tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
):
    needs(method)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    task = compare.Task("verbs", verbs, 2, tmp_path)
    check(task, compare.measure(task, method, 0), method)


@pytest.mark.parametrize(
    "method", [pytest.param(name, marks=[pytest.mark.slow] * (name != "lean")) for name in compare.OURS]
)
def test_ours_trains_and_predicts_what_its_report_says(
    verbs: Path, tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    task = compare.Task("verbs", verbs, 2, tmp_path)
    reports: list[dict[str, Any]] = []
    remove = compare.shutil.rmtree

    def keep_report(folder: Path, **how: Any) -> None:
        if (report := Path(folder) / "verbs" / "base" / "report.json").exists():
            reports.append(json.loads(report.read_text()))
        remove(folder, **how)

    monkeypatch.setattr(compare.shutil, "rmtree", keep_report)
    measured = compare.measure(task, method, 0)
    check(task, measured, method)
    reported = reports[0]["runs"][0 if method == "xr-linear" else -1]
    assert [measured["P@1"], measured["P@5"]] == [reported["precision"][0], reported["precision"][4]]
    assert [measured["R@10"], measured["PSP@5"]] == [reported["recall"][9], reported["psp"][4]]
    assert measured["training_peak_mib"] <= reported["peak_rss_mib"]


def test_test_instances_are_those_that_are_scored(verbs: Path, tmp_path: Path):
    folder = tmp_path / "some"
    folder.mkdir()
    (folder / "tfidf-attnxml").symlink_to(verbs / "verbs" / "tfidf-attnxml")
    for part in ("trn", "tst"):
        Y = sp.load_npz(verbs / "verbs" / f"Y.{part}.npz").tolil()
        Y[:3] = 0
        sp.save_npz(folder / f"Y.{part}.npz", Y.tocsr())
    X = method_process.load_test_instances(folder)
    assert (datasets.load_dataset(tmp_path, "some").X_tst != X).nnz == 0
