"""What a job has found, on an MLflow server: for those who ask for it, and have mlflow installed."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from typing import Any

from ..data.urls import shown
from ..errors import DisentangleError, excerpt
from .columns import METRICS, setting_name

logger = logging.getLogger(__name__)

EXPERIMENT = "label-disentanglement"
# Unless the user has said otherwise. A file store is MLflow's older kind, which it takes only so.
_USUAL = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_ALLOW_FILE_STORE": "true",
}
# Of a run, or of a report without runs: what was given, and where.
_NO_METRIC = ("settings", "overlap", "params", "dataset_settings", "machine", "seed", "n_trees", "threads")


class Log:
    """An experiment on a server, or in a store of another kind.

    Parameters
    ----------
    uri : str
        As MLflow takes it, such as `http://localhost:5000`.

    Raises
    ------
    DisentangleError
        If mlflow is not installed, or nothing answers there.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        for name, value in _USUAL.items():
            os.environ.setdefault(name, value)
        try:
            self._client = import_module("mlflow").MlflowClient(tracking_uri=uri)
        except ImportError as error:
            raise DisentangleError(
                "--mlflow needs the package mlflow-skinny: python -m pip install mlflow-skinny "
                f"({excerpt(str(error))})"
            ) from error
        except Exception as error:
            raise DisentangleError(self._said("use", error)) from error
        try:
            self._client.get_experiment_by_name(EXPERIMENT)
        except Exception as error:  # those of whatever lies between here and there
            raise DisentangleError(self._said("reach", error)) from error

    def _said(self, what: str, error: Exception) -> str:
        reason = excerpt(str(error).replace(self._uri, shown(self._uri)) or type(error).__name__)
        return f"--mlflow cannot {what} {shown(self._uri)}: {reason}"

    def add(self, report: dict[str, Any]) -> None:
        """Log a job's report, a run for each method; a failure is a warning, as the results are kept."""
        try:
            experiment = self._client.get_experiment_by_name(EXPERIMENT)
            number = experiment.experiment_id if experiment else self._client.create_experiment(EXPERIMENT)
            of_all = {name: report[name] for name in ("variant", "preset", "overlap") if name in report}
            for run in report.get("runs", [report]):
                self._add(number, of_all | run, report)
        except Exception as error:
            logger.warning("note: %s; the results are in %s", self._said("reach", error), report["files"][0])

    def _add(self, experiment: str, run: dict[str, Any], report: dict[str, Any]) -> None:
        entities = import_module("mlflow.entities")
        settings = run.get("settings", report["params"])
        tags = {name: str(report[name]) for name in ("dataset", "features", "job")}
        seed = run["settings"]["seed"] if "settings" in run else run["seed"]
        tags |= {"seed": str(seed), "version": report["versions"]["disentangle"]}
        made = self._client.create_run(experiment, tags=tags, run_name=setting_name(run)).info
        known = {name: run.get(name) for name in ("method", "variant", "preset", "n_trees")}
        given = _flat(settings | run.get("overlap", {}) | {k: v for k, v in known.items() if v is not None})
        metrics = [
            entities.Metric(name, value, made.start_time, step) for name, value, step in metrics_of(run)
        ]
        params = [entities.Param(name, str(value)) for name, value in given]
        try:
            self._client.log_batch(made.run_id, metrics, params)
            self._client.log_artifact(made.run_id, str(report["files"][0]))
        except Exception:
            with suppress(Exception):  # the first one says why
                self._client.set_terminated(made.run_id, "FAILED")
            raise
        self._client.set_terminated(made.run_id)


def _flat(values: dict[str, Any], start: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        yield from _flat(value, f"{start}{name}.") if isinstance(value, dict) else [(start + name, value)]


def metrics_of(run: dict[str, Any]) -> Iterator[tuple[str, float, int]]:
    """Names, values and steps of a run's numbers; `precision_at_5` is at step 5, what has no k at 0."""
    for name, value in _flat({name: run[name] for name in run if name not in _NO_METRIC}):
        if name in METRICS.values():
            yield from ((f"{name}_at_{k}", float(one), k) for k, one in enumerate(value, start=1))
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield name, float(value), 0
