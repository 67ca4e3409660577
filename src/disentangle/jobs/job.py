"""What all jobs are told, where each leaves its results, and the report that it writes."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any

from ..data import datasets, known_datasets
from ..data.features import beside, titled
from ..errors import DisentangleError
from ..params import ARCHIVE, FEATURES, TreeParams
from ..runtime import provenance
from ..storage import atomic, files, journal, places
from ..storage.saved import read_record
from .plan import Plan
from .settings import Settings, Variant

logger = logging.getLogger(__name__)

# Of a dataset's results: a line for each call of a job.
JOURNAL = "runs.jsonl"
# What a line leaves to the report.
_LEFT_OUT = ("settings", "overlap", "machine", "key", "labels", "calibration")
# A run has some kilobytes.
_MOST_BYTES = 1 << 28
# Of a run's variant, number of trees and settings.
_TYPES = ((str, int, dict), (type(None), int, dict))


@dataclass(frozen=True)
class Job:
    """What all jobs are told.

    Attributes
    ----------
    dataset : str
        Name of a folder in `data_dir`.
    data_dir, model_dir, binned_dir : Path
        Datasets; results; binned label sets.
    settings : Settings
    features : str
        Name of the dataset's feature set, a folder in the dataset's.
    mirror : str
        URL or folder that a known dataset is fetched from when it is not there.
    seeds : tuple of int
        Several, to be run beside each other; none for that of the settings.
    given : datasets.Source or None
        The dataset, where jobs of several seeds share it.
    started : float
        When, by the monotonic clock.
    """

    dataset: str
    data_dir: Path
    model_dir: Path
    binned_dir: Path
    settings: Settings
    features: str = FEATURES
    mirror: str = ARCHIVE
    seeds: tuple[int, ...] = ()
    given: datasets.Source | None = None
    started: float = field(default_factory=time.monotonic)

    @property
    def title(self) -> str:
        """What titles of figures call it."""
        return titled(self.dataset, self.features)

    def folder(self, name: str) -> Path:
        """Where the job of this name leaves its results with these features."""
        return self.model_dir / self.dataset / beside(name, self.features)

    def place(self, settings: Settings | None = None) -> str:
        """The folder in there for the results of another seed than the dataset's own, else ""."""
        seed = (settings or self.settings).tree.seed
        own = known_datasets.settings_of(self.dataset).get("seed", TreeParams.seed)
        return "" if seed == own else f"seed-{seed}"

    def place_beside(self, name: str) -> str:
        """The same for a folder, or file, that needs a name in any case; of several seeds it is "seeds"."""
        return "-".join(filter(None, (name, "seeds" if self.seeds else self.place())))

    def by_seed(self) -> list[Job]:
        """The job of each seed, on data that are loaded once."""
        source = self.source()
        if not self.seeds:
            return [replace(self, given=source)]
        given, settings = replace(source, load=cache(source.load)), self.settings
        jobs = []
        for seed in self.seeds:
            of_seed = replace(settings, tree=replace(settings.tree, seed=seed))
            of_seed.validate()
            jobs.append(replace(self, settings=of_seed, seeds=(), given=given))
        return jobs

    def one_variant(self, job: str) -> Variant:
        """The way to overlap, for a job that takes just one.

        Raises
        ------
        DisentangleError
            If there are several.
        """
        if len(self.settings.variants) > 1:
            names = ", ".join(variant.name for variant in self.settings.variants)
            raise DisentangleError(f"{job} takes one preset, got {names}")
        return self.settings.variants[0]

    def source(self) -> datasets.Source:
        """The dataset, not loaded yet; a known one that is not there is fetched."""
        if self.given is not None:
            return self.given
        self.settings.validate()
        datasets.check_name(self.data_dir, self.dataset)
        folder = self.data_dir / self.dataset
        for option, results in (("--model-dir", self.model_dir), ("--binned-dir", self.binned_dir)):
            places.check_apart(option, results / self.dataset, [folder])
        known_datasets.folder_of(self.data_dir, self.dataset, self.mirror)
        source = datasets.source(self.data_dir, self.dataset, self.features)
        if self.settings.max_memory is not None:
            needed = datasets.memory_needed(self.data_dir / self.dataset, self.features)
            self.settings.budget().require(needed, f"jobs on {self.dataset}")
        return source

    def base(self) -> Plan:
        """The base job's models, not made yet."""
        return Plan(self.folder("base"), self.source(), self.settings, self.place())

    def report(
        self, folder: Path, name: str, made: dict[str, Any], place: str = "", **more: Any
    ) -> dict[str, Any]:
        """Write `report.json` of a job into a folder, or into `place` in it, and return it.

        `made` says on which machine and with how many threads: a run or a stage's record. After the runs that
        it is given, which lie in the folder, the report has those of earlier calls that are still there, so
        that it only grows; "n_asked" says how many it was given. The dataset's `runs.jsonl` gets a line.
        """
        settings = self.settings
        params = settings.said() | {"threads": made["threads"]} | more.pop("params", {})
        report = {
            "job": name,
            "dataset": self.dataset,
            "features": self.features,
            "params": params,
            "dataset_settings": known_datasets.settings_of(self.dataset),
            "seed": settings.tree.seed,
            "versions": provenance.versions(),
            "machine": made["machine"],
        } | more
        asked = report.get("runs", [more | {"seconds": made["seconds"]}])
        if "runs" in report:
            report["n_asked"] = len(asked)
            own = {run["evaluation"] for run in asked}
            earlier = _reported(folder, place, report["versions"], report["data"])
            report["runs"] = [*asked, *(run for run in earlier if run["evaluation"] not in own)]
        path = folder / place / "report.json"
        atomic.write_json(path, report)
        self._note(path, report, asked)
        return report

    def _note(self, path: Path, report: dict[str, Any], asked: list[dict[str, Any]]) -> None:
        """Add a line on this call to the dataset's journal; without one the results are as good."""
        said = ("job", "dataset", "features", "seed", "versions", "machine")
        entry = {
            "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            **{name: report[name] for name in said},
            "threads": report["params"]["threads"],
            "seconds": round(time.monotonic() - self.started, 3),
            "report": str(path.relative_to(self.model_dir / self.dataset)),
            "runs": [{name: run[name] for name in run if name not in _LEFT_OUT} for run in asked],
        }
        try:
            journal.append(self.model_dir / self.dataset / JOURNAL, entry)
        except DisentangleError as error:
            logger.warning("note: %s; the report is whole", error)


def has_reported(folder: Path, runs: list[dict[str, Any]], data: dict[str, str]) -> bool:
    """Whether a job's last report in a folder has these runs."""
    reported = _reported(folder, "", provenance.versions(), data)
    keys = {run["evaluation"]: run["key"] for run in reported}
    return all(keys.get(run["evaluation"]) == run["key"] for run in runs)


def _reported(
    folder: Path, place: str, versions: dict[str, Any], data: dict[str, Any]
) -> list[dict[str, Any]]:
    """Runs in a folder that the last report in `place` has and that are still there, if by these versions."""
    try:
        before = json.loads(files.read(folder / place / "report.json", _MOST_BYTES))
        if (before["versions"], before["data"]) != (versions, data):
            return []
        return [
            # The evaluation's own figures, which are checked.
            run | record["results"]
            for run in before["runs"]
            if (record := read_record(folder / run["evaluation"])) is not None
            and record["key"] == run["key"]
            and (type(run["variant"]), type(run["n_trees"]), type(run["settings"])) in _TYPES
        ]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []  # none, or another version's
