"""`report`, the journal of runs and MLflow, as a user has them after a job."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from conftest import ROOT, SMALL_TREE, ok, run_disentangle

from disentangle.jobs import reports

# Stands in for mlflow: what is called is written to a file, and one call may fail.
FAKE = """
import json, os
from types import SimpleNamespace

def note(name, *args):
    if os.environ.get("FAIL") == name:
        raise RuntimeError(f"{name} failed at {os.environ['URI']}\\nand more")
    with open(os.environ["CALLS"], "a") as file:
        file.write(json.dumps([name, *args], default=vars) + "\\n")

class MlflowClient:
    def __init__(self, tracking_uri): note("client", tracking_uri)
    def get_experiment_by_name(self, name): note("find", name)
    def create_experiment(self, name): note("experiment", name); return "7"
    def create_run(self, experiment, tags, run_name):
        note("run", experiment, tags, run_name)
        return SimpleNamespace(info=SimpleNamespace(run_id=run_name, start_time=5))
    def log_batch(self, run, metrics, params): note("batch", run, metrics, params)
    def log_artifact(self, run, path): note("artifact", run, os.path.basename(path))
    def set_terminated(self, run, status="FINISHED"): note("end", run, status)
"""
ENTITIES = """
class Metric:
    def __init__(self, key, value, timestamp, step): self.key, self.value, self.step = key, value, step
class Param:
    def __init__(self, key, value): self.key, self.value = key, value
"""


@pytest.fixture(scope="module")
def finished(verbs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a base run and a metric run of `verbs`, and what they printed."""
    folder = tmp_path_factory.mktemp("reports")
    for job in ("base", "metric"):
        result = ok(run_disentangle(folder, job, "verbs", "--data-dir", verbs, *SMALL_TREE))
        (folder / f"{job}.txt").write_text(result.stdout)
    return folder


@pytest.fixture
def place(finished: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(finished, tmp_path / "place")


Report = Callable[..., subprocess.CompletedProcess]


@pytest.fixture
def report(finished: Path) -> Report:
    return lambda *args, **kwargs: run_disentangle(kwargs.get("folder", finished), "report", *args)


@pytest.mark.parametrize("job", ["base", "metric"])
def test_the_tables_are_those_that_the_job_printed(finished: Path, report: Report, job: str):
    printed = (finished / f"{job}.txt").read_text().partition("wrote ")[0]
    for name in (("verbs", "--job", job), (f"model/verbs/{job}",), (f"model/verbs/{job}/report.json",)):
        result = report(*name)
        assert (result.returncode, result.stdout, result.stderr) == (0, printed, "")


def test_each_form_is_written_to_a_file_or_shown(finished: Path, report: Report, tmp_path: Path):
    for form, start in (
        ("latex", "% \\usepackage{booktabs}"),
        ("markdown", "**verbs"),
        ("csv", "dataset,job,"),
    ):
        shown = ok(report("verbs", "--table", form))
        assert shown.stdout.startswith(start)
        assert form != "latex" or "\\label{tab:base-verbs-1}" in shown.stdout
        assert report("verbs", "--table", form, "--out", tmp_path / form).stdout == ""
        assert (tmp_path / form).read_text(encoding="utf-8") == shown.stdout
    rows = list(csv.DictReader(io.StringIO(shown.stdout)))
    runs = json.loads((finished / "model/verbs/base/report.json").read_text())["runs"]
    assert [float(row["P@1"]) for row in rows] == [run["precision"][0] for run in runs]
    assert report("verbs", "--job", "metric", "--table", "csv").stdout.count("\n") == 3


@pytest.mark.parametrize(
    ("job", "features", "folder"),
    [
        ("xr-transformer", "xr-transformer", "xr-transformer"),
        ("xr-transformer", "mine", "xr-transformer-mine"),
        ("base", "xr-transformer", "base-xr-transformer"),
        ("base", "base", "base-base"),
    ],
)
def test_a_report_is_found_by_job_and_features(tmp_path: Path, job: str, features: str, folder: str):
    for name in ("xr-transformer", "xr-transformer-mine", "base", "base-xr-transformer", "base-base"):
        (tmp_path / "set" / name).mkdir(parents=True)
        (tmp_path / "set" / name / "report.json").touch()
    assert reports.find("set", tmp_path, job, features) == tmp_path / "set" / folder / "report.json"


def test_mistakes_are_one_sentence(report: Report, place: Path):
    path = "model/verbs/base/report.json"
    for args, message in (
        (
            ("no-such",),
            "expected a report.json, its folder, or a dataset with results in model, got 'no-such'",
        ),
        (("model/no.json",), "cannot read model/no.json: No such file or directory"),
        (("verbs", "--out", "x"), "--out must come with --table"),
        (("verbs", "--table", "csv", "--out", path), f"--out must be another place than {path}"),
        (("verbs", "--table", "csv", "--out", "model"), "--out must be a file or not there yet"),
    ):
        result = report(*args, folder=place)
        assert (result.returncode, result.stdout) == (2, "")
        assert result.stderr.startswith(f"error: {message}"), result.stderr
        assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"job": "base", "dataset": "x", "runs": []}',
        b'{"job": "base", "dataset": "x", "n_asked": 0, "runs": [{}]}',
        b'{"job": "base", "dataset": "x", "runs": [1]}',
        b'{"job": "base", "dataset": "x", "runs": {"a": 1}}',
        b'{"job": "metric", "components": "../x", "dataset": "\\u001b[31m"}',
        b'{"job": ["base"]}',
    ],
    ids=range(12),
)
def test_what_is_no_report_is_one_sentence(place: Path, report: Report, content: bytes):
    (place / "model/verbs/base/report.json").write_bytes(content)
    for more in ((), ("--table", "latex"), ("--table", "csv", "--out", "table.csv")):
        result = report("verbs", *more, folder=place)
        assert result.returncode == 2, result
        assert result.stderr.startswith(
            "error: model/verbs/base/report.json must be the report of a job, found"
        )
        assert (result.stderr.count("\n"), "\x1b" in result.stderr) == (1, False)
        assert not (place / "table.csv").exists()


def test_a_terminal_obeys_no_name(place: Path, report: Report):
    path = place / "model/verbs/base/report.json"
    found = json.loads(path.read_text())
    found["dataset"] = found["runs"][1]["variant"] = "\x1b[31m\nred"
    path.write_text(json.dumps(found))
    for more in ((), ("--table", "latex"), ("--table", "markdown")):
        result = report("verbs", *more, folder=place)
        assert (result.returncode, "\x1b" in result.stdout) == (0, False), result.stderr
        assert not any(line.startswith("red") for line in result.stdout.splitlines())


def test_each_call_of_a_job_adds_a_line_to_the_journal(place: Path, verbs: Path, report: Report):
    path = place / "model/verbs/runs.jsonl"
    before = path.read_bytes()
    base, metric = map(json.loads, before.splitlines())
    assert (base["job"], metric["job"], base["dataset"], base["seed"]) == ("base", "metric", "verbs", 0)
    assert datetime.fromisoformat(base["time"]).utcoffset().total_seconds() == 0
    assert (base["report"], metric["report"]) == ("base/report.json", "metric/report.json")
    assert set(base["versions"]) >= {"disentangle", "python", "libpecos"}
    reported = json.loads((place / "model/verbs/base/report.json").read_text())["runs"]
    for noted, run in zip(base["runs"], reported, strict=True):
        assert all(noted[name] == run[name] for name in ("variant", "precision", "recall", "seconds"))
    assert metric["runs"][0]["mean_vi"] > 0
    assert 0 < metric["seconds"] < 10_000
    # A kill has left half a line; the next call keeps all others.
    path.write_bytes(before + b'{"time": "20')
    ok(run_disentangle(place, "base", "verbs", "--data-dir", verbs, *SMALL_TREE))
    assert path.read_bytes().startswith(before)
    shown = report("model/verbs/runs.jsonl", folder=place)
    assert [line.split()[1] for line in shown.stdout.splitlines() if ":" in line[:20] and line[0] == "2"] == [
        *["base"] * 2,
        "metric",
        *["base"] * 2,
    ]
    assert report("model/verbs/runs.jsonl", "--table", "csv", folder=place).stdout.count("\n") == 6


def test_a_journal_that_cannot_be_written_costs_a_note(place: Path, verbs: Path):
    path = place / "model/verbs/runs.jsonl"
    path.unlink()
    path.mkdir()
    result = run_disentangle(place, "base", "verbs", "--data-dir", verbs, *SMALL_TREE)
    assert (result.returncode, "note: cannot write model/verbs/runs.jsonl" in result.stderr) == (0, True)


URI = "http://me:secret@localhost/x"


def logged(place: Path, verbs: Path, monkeypatch: pytest.MonkeyPatch, init: str, **variables: str):
    """A base job with `--mlflow`, a stand-in for the package before all others, and what was called of it."""
    fake = place / "fake" / "mlflow"
    fake.mkdir(parents=True)
    (fake / "__init__.py").write_text(init)
    (fake / "entities.py").write_text(ENTITIES)
    for name, value in ({"CALLS": str(place / "calls"), "URI": URI} | variables).items():
        monkeypatch.setenv(name, value)
    package = f"{fake.parent}{os.pathsep}{ROOT / 'src'}"
    args = ("base", "verbs", "--data-dir", verbs, *SMALL_TREE, "--mlflow", URI)
    result = run_disentangle(place, *args, package=package)  # type: ignore[arg-type]
    calls = place / "calls"
    return result, [json.loads(line) for line in calls.read_text().splitlines()] if calls.exists() else []


def test_mlflow_gets_a_run_for_each_method(place: Path, verbs: Path, monkeypatch: pytest.MonkeyPatch):
    result, calls = logged(place, verbs, monkeypatch, FAKE)
    assert result.returncode == 0, result.stderr
    assert calls[0] == ["client", URI]
    runs = [call for call in calls if call[0] == "run"]
    assert [(run[1], run[3]) for run in runs] == [("7", "XR-Linear"), ("7", "paper")]
    said = {"dataset": "verbs", "features": "tfidf-attnxml", "job": "base", "seed": "0", "version": ""}
    assert runs[0][2] | {"version": ""} == said
    reported = json.loads((place / "model/verbs/base/report.json").read_text())["runs"]
    for batch, run in zip((call for call in calls if call[0] == "batch"), reported, strict=True):
        metrics = {one["key"]: (one["value"], one["step"]) for one in batch[2]}
        assert metrics["precision_at_1"] == (run["precision"][0], 1)
        assert metrics["recall_at_10"] == (run["recall"][9], 10)
        assert metrics["seconds.predict"] == (run["seconds"]["predict"], 0)
        assert {"ndcg_at_5", "psp_at_5", "candidates_per_instance"} < set(metrics)
        params = {one["key"]: one["value"] for one in batch[3]}
        assert (params["max_leaf_size"], params["propensity.A"]) == ("10", "0.55")
    assert params["n_copies"] == "2"
    assert [call[2] for call in calls if call[0] == "artifact"] == ["report.json"] * 2
    assert [call[1] for call in calls if call[0] == "end"] == ["XR-Linear", "paper"]


@pytest.mark.parametrize("call", ["experiment", "batch", "artifact"])
def test_a_server_that_fails_after_training_costs_a_note(
    place: Path, verbs: Path, monkeypatch: pytest.MonkeyPatch, call: str
):
    result, calls = logged(place, verbs, monkeypatch, FAKE, FAIL=call)
    assert result.returncode == 0
    # A run that was begun does not stay one that goes on.
    assert [of[1:] for of in calls if of[0] == "end"] == [["XR-Linear", "FAILED"]] * (call != "experiment")
    assert "XR-Linear" in result.stdout
    (note,) = [line for line in result.stderr.splitlines() if "--mlflow" in line]
    assert f"note: --mlflow cannot reach http://localhost/x: {call} failed at http://localhost/x" in note
    assert "results are in model/verbs/base/report.json" in note
    assert "secret" not in result.stderr


@pytest.mark.parametrize(
    ("init", "fail", "message"),
    [
        ("raise ModuleNotFoundError('no mlflow')", "", "--mlflow needs the package mlflow-skinny"),
        ("raise OSError('no such library')", "", "--mlflow cannot use http://localhost/x: no such library"),
        (FAKE, "client", "--mlflow cannot use http://localhost/x: client failed at"),
        (FAKE, "find", "--mlflow cannot reach http://localhost/x: find failed at"),
    ],
)
def test_without_mlflow_nothing_is_trained(
    tmp_path: Path, verbs: Path, monkeypatch: pytest.MonkeyPatch, init: str, fail: str, message: str
):
    result, _ = logged(tmp_path, verbs, monkeypatch, init, FAIL=fail)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert result.stderr.startswith(f"error: {message}")
    assert "secret" not in result.stderr
    assert not (tmp_path / "model").exists()


def test_a_real_mlflow_keeps_what_was_logged(place: Path, verbs: Path):
    mlflow = pytest.importorskip("mlflow", reason="mlflow-skinny is not installed: requirements-mlflow.txt")
    uri = f"file:{place / 'store'}"
    args = ("base", "verbs", "--data-dir", verbs, *SMALL_TREE, "--mlflow", uri)
    result = run_disentangle(place, *args)
    assert (result.returncode, "--mlflow" in result.stderr) == (0, False), result.stderr
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    client = mlflow.MlflowClient(tracking_uri=uri)
    found = client.search_runs([client.get_experiment_by_name("label-disentanglement").experiment_id])
    reported = json.loads((place / "model/verbs/base/report.json").read_text())["runs"]
    p1 = {run.info.run_name: run.data.metrics["precision_at_1"] for run in found}
    assert p1 == {(run["variant"] or "XR-Linear"): run["precision"][0] for run in reported}
    assert {run.info.status for run in found} == {"FINISHED"}
    for run in found:
        assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["report.json"]
