"""The one command: what makes a result stale, what differs from the expected, and the index."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import claims
import pytest
import reproduce
from conftest import ROOT

CLAIM = claims.Claim(
    "base-verbs",
    "it learns",
    "verbs",
    "-c 'import shutil, sys; shutil.copy(sys.argv[1], sys.argv[2])' {data}/made.json {out}",
    ("overlap", "params"),
    ("presets.py",),
    "{out}",
    {"xr-linear": (60.0, 40.0, 70.0)},
    0.02,
)


def report(p1: float, p5: float, r10: float) -> dict[str, Any]:
    run = {"method": "xr-linear", "variant": None, "n_trees": 1}
    run |= {"precision": [p1] * 4 + [p5], "recall": [0.0] * 9 + [r10]}
    return {"job": "base", "versions": {"disentangle": "1.2.3"}, "runs": [run]}


@pytest.fixture
def made(verbs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of data with what the claim's command copies; results and the index lie beside it."""
    results, data = tmp_path / "results", tmp_path / "data"
    results.mkdir()
    data.mkdir()
    (data / "verbs").symlink_to(verbs / "verbs")
    (data / "made.json").write_text(json.dumps(report(60.0, 40.0, 70.0)))
    monkeypatch.setattr(reproduce, "RESULTS", results)
    monkeypatch.setattr(reproduce, "claims", lambda: (CLAIM,))
    monkeypatch.setattr(reproduce, "INDEX", tmp_path / "README.md")
    reproduce.INDEX.write_text("before\n<!-- index -->\n<!-- end -->\nafter\n")
    return data


def call(monkeypatch: pytest.MonkeyPatch, data: Path, *args: str) -> int:
    places = "--data-dir", str(data), "--models", str(data.parent / "models")
    monkeypatch.setattr(sys, "argv", ["reproduce.py", *args, *places])
    with pytest.raises(SystemExit) as ended:
        reproduce.main()
    return int(ended.value.code or 0)


def test_a_result_is_missing_then_current_then_stale(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert reproduce.state(CLAIM, made) == "missing"
    assert call(monkeypatch, made, "--run") == 0
    assert reproduce.state(CLAIM, made) == "current"
    assert call(monkeypatch, made, "--list") == 0
    assert capsys.readouterr().out.split() == ["base-verbs", "current"]
    index = reproduce.INDEX.read_text()
    assert "| [base-verbs](results/base-verbs.json) | it learns |" in index
    assert index.startswith("before\n")
    assert index.endswith("after\n")

    found = reproduce.read(CLAIM)
    path = reproduce.path_of(CLAIM)
    assert found is not None
    for digest in ("code", "data"):
        path.write_text(json.dumps(found | {"made": found["made"] | {digest: "another"}}))
        assert reproduce.state(CLAIM, made) == f"stale: other {digest}"
    del found["made"]
    path.write_text(json.dumps(found))
    assert reproduce.state(CLAIM, made) == "stale: of version 1.2.3, without digests"


def test_what_is_current_is_not_run_again(made: Path, monkeypatch: pytest.MonkeyPatch):
    assert call(monkeypatch, made, "--run") == 0
    (made / "made.json").unlink()
    assert call(monkeypatch, made, "--run") == 0
    reproduce.path_of(CLAIM).unlink()
    assert call(monkeypatch, made, "--run", "base-verbs") == 1


def test_a_result_is_no_result_of_code_that_changed_meanwhile(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    edits = iter("abc")
    monkeypatch.setattr(reproduce, "code_digest", lambda *_: next(edits))
    assert call(monkeypatch, made, "--run") == 1
    assert "have changed while its command ran" in capsys.readouterr().out
    assert not reproduce.path_of(CLAIM).exists()


def test_a_dataset_that_is_not_there_is_skipped_with_a_sentence(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (made / "verbs").unlink()
    assert call(monkeypatch, made, "--run") == 0
    assert capsys.readouterr().out == f"skipped base-verbs: no dataset verbs in {made}\n"


def test_a_figure_that_differs_is_a_line_and_status_1(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert call(monkeypatch, made, "--check") == 1
    assert capsys.readouterr().out == "base-verbs: no result, expected figures of xr-linear\n"
    path = reproduce.path_of(CLAIM)
    path.write_text(json.dumps(report(60.024, 39.9, 70.0)))
    assert call(monkeypatch, made, "--check") == 1
    line = "base-verbs: xr-linear P@5 must be 40 within 0.02, got 39.90\n"
    assert capsys.readouterr().out == line
    path.write_text(json.dumps(report(60.02, 40.0, float("nan"))))
    assert [line.split(", ")[-1] for line in reproduce.differences(CLAIM)] == ["got nan"]


def test_the_digest_is_of_whole_rooms_and_own_files_alone():
    files, rooms, other = ("presets.py",), ("overlap", "params"), ("overlap.assign", "params")
    given = (rooms, files), (rooms, ()), (other, files)
    assert len({claims.code_digest(*one) for one in given}) == 3


def test_words_about_code_make_no_result_stale():
    source = '''"""A module."""

# A rule.
def gain(x):  # of one
    """Docs,

    of two paragraphs.
    """
    return f"# {x} is no comment", """nor

# is this""", 0.5
'''
    runs = 'def gain(x):\n    return f"# {x} is no comment", """nor\n# is this""", 0.5'
    assert claims.what_runs(source) == runs
    assert claims.what_runs(source.replace("0.5", "0.6")) != runs


def test_runs_of_earlier_calls_are_left_out():
    found = {"job": "base", "runs": [{"variant": name} for name in (None, "paper", "tuned")], "n_asked": 2}
    assert reproduce.asked(found)["runs"] == found["runs"][:2]
    assert reproduce.asked({"rows": []}) == {"rows": []}


def test_figures_by_kind_of_result():
    rows = [
        {"setting": "lean", "P@1": 1.0, "P@5": 2.0, "R@10": 3.0},
        {"setting": "lean", "P@1": 3.0, "P@5": 2.0, "R@10": 3.0},
    ]
    assert reproduce.figures({"rows": rows}) == {"lean": {"P@1": 2.0, "P@5": 2.0, "R@10": 3.0}}
    metric = {"mean_vi": 1.0, "mean_difference": 0.5, "same_sizes": {"mean_difference": 0.25}}
    assert reproduce.figures(metric) == {"copies": {"VI": 1.0, "even odds": 0.5, "same sizes": 0.25}}


def test_each_claim_has_a_name_of_its_own_and_code_that_is_there():
    found = claims.claims()
    assert len({claim.name for claim in found}) == len(found)
    for claim in found:
        assert len(claims.code_digest(claim.code, claim.files)) == 64
        assert reproduce.spoken(claim).count("{") == 0


def test_the_index_and_the_expected_figures_are_up_to_date():
    page = ROOT / "benchmarks" / "README.md"
    text = page.read_text(encoding="utf-8")
    assert reproduce.indexed(text) == text, "run benchmarks/reproduce.py --list"
    lines = [line for claim in claims.claims() for line in reproduce.differences(claim)]
    assert lines == []


def test_no_result_lies_there_without_a_claim():
    by_hand = {"original-scripts", *(f"annif-omikuji-{n}" for n in claims.SETS[:2])}
    by_hand |= {"cluster-tibkat-all", "cluster-yso-finna-en"}
    names = {claim.name for claim in claims.claims()} | by_hand
    assert {path.stem for path in (ROOT / "benchmarks" / "results").glob("*.json")} <= names
