"""The jobs: base, sweep, binned, metric."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import scipy.sparse as sp

from ..data import catalog, components, datasets
from ..errors import DisentangleError
from ..params import ARCHIVE, DEFAULT_PRESET, BinParams, TreeParams
from ..runtime import provenance
from ..storage import atomic, files, matrices, places
from ..storage.saved import RECORD, read_record
from . import figures, tables
from .comparison import Comparison, Overlapped, Settings, Variant, load_matching
from .ensemble import Ensemble
from .stages import Stage

logger = logging.getLogger(__name__)

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
    mirror : str
        URL or folder that a known dataset is fetched from when it is not there.
    """

    dataset: str
    data_dir: Path
    model_dir: Path
    binned_dir: Path
    settings: Settings
    mirror: str = ARCHIVE

    def folder(self, name: str) -> Path:
        """Where the job of this name leaves its results."""
        return self.model_dir / self.dataset / name

    def place(self, settings: Settings | None = None) -> str:
        """The folder in there for the results of another seed than the dataset's own, else ""."""
        seed = (settings or self.settings).tree.seed
        return (
            "" if seed == catalog.settings_of(self.dataset).get("seed", TreeParams.seed) else f"seed-{seed}"
        )

    def place_beside(self, name: str) -> str:
        """The same for a folder, or file, that needs a name in any case."""
        return "-".join(filter(None, (name, self.place())))

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
        self.settings.validate()
        datasets.check_name(self.data_dir, self.dataset)
        folder = self.data_dir / self.dataset
        for option, results in (("--model-dir", self.model_dir), ("--binned-dir", self.binned_dir)):
            places.check_apart(option, results / self.dataset, [folder])
        if catalog.is_missing(self.data_dir, self.dataset):
            catalog.get(self.data_dir, self.dataset, self.mirror)
        source = datasets.source(self.data_dir, self.dataset)
        if self.settings.max_memory is not None:
            needed = datasets.memory_needed(self.data_dir / self.dataset)
            self.settings.budget.require(needed, f"jobs on {self.dataset}")
        return source

    def base(self) -> Comparison:
        """The base job's models, not made yet."""
        return Comparison(self.folder("base"), self.source(), self.settings, self.place())

    def report(
        self, folder: Path, name: str, made: dict[str, Any], place: str = "", **more: Any
    ) -> dict[str, Any]:
        """Write `tables.json` of a job into a folder, or into `place` in it, and return it.

        `made` says on which machine and with how many threads: a run or a stage's record. After the runs that
        it is given, which lie in the folder, the report has those of earlier calls that are still there, so
        that it only grows.
        """
        settings = self.settings
        params = settings.said() | {"threads": made["threads"]} | more.pop("params", {})
        report = {
            "job": name,
            "dataset": self.dataset,
            "params": params,
            "dataset_settings": catalog.settings_of(self.dataset),
            "seed": settings.tree.seed,
            "versions": provenance.versions(),
            "machine": made["machine"],
        } | more
        if "runs" in report:
            report["runs"] = [*report["runs"], *_earlier_runs(folder, place, report)]
        atomic.write_json(folder / place / "report.json", report)
        return report


def _earlier_runs(folder: Path, place: str, report: dict[str, Any]) -> list[dict[str, Any]]:
    """Runs in a folder that only the last report in `place` has, by the same versions on the same data."""
    asked = {run["evaluation"] for run in report["runs"]}
    try:
        before = json.loads(files.read(folder / place / "report.json", _MOST_BYTES))
        if any(before[what] != report[what] for what in ("versions", "data")):
            return []
        return [
            # The evaluation's own figures, which are checked.
            run | record["results"]
            for run in before["runs"]
            if run["evaluation"] not in asked
            and (record := read_record(folder / run["evaluation"])) is not None
            and record["key"] == run["key"]
            and (type(run["variant"]), type(run["n_trees"]), type(run["settings"])) in _TYPES
        ]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []  # none, or another version's


def _draw_frontier(folder: Path, title: str, report: dict[str, Any]) -> None:
    """What the report has with the settings of its first run."""
    runs = [run for run in report["runs"] if run["settings"] == report["runs"][0]["settings"]]
    figures.draw_frontier(folder, title, runs)


def run_base(job: Job) -> dict[str, Any]:
    """XR-Linear beside its overlap on a dataset.

    Returns
    -------
    dict
        The report, as `tables.json` has it but for the runs of earlier calls.

    Raises
    ------
    DisentangleError
        If settings are out of range, the data are wrong, or results cannot be written.
    """
    folder = job.folder("base")
    trees = Ensemble(folder, job.source(), job.settings, job.place)
    with atomic.workspace(folder, RECORD):
        return _report_base(job, trees.first, trees.runs())


def run_sweep(job: Job) -> dict[str, Any]:
    """XR-Linear beside many ways to overlap, on a part of the training data: to choose among them.

    Returns
    -------
    dict
        As of `run_base`.

    Raises
    ------
    DisentangleError
        As `run_base`.
    """
    seed = job.settings.tree.seed
    folder = job.folder("sweep")
    source = datasets.validation(job.source(), seed)
    sweep = Comparison(folder, source, job.settings, f"seed-{seed}")
    with atomic.workspace(folder, RECORD):
        runs = sweep.runs()
        written = job.report(folder, "sweep", runs[-1], sweep.place, data=source.inputs, runs=runs)
        # The last one asked for; that of each seed stays.
        atomic.write_json(folder / "report.json", written)
        _draw_frontier(sweep.folder, f"{job.dataset}, validation", written)
        return written | {"runs": runs}


def _report_base(job: Job, base: Comparison, runs: list[dict[str, Any]]) -> dict[str, Any]:
    sizes = base.load.ensure()["results"]
    written = job.report(base.root, "base", runs[-1], data=base.source.inputs, sizes=sizes, runs=runs)
    _draw_frontier(base.folder, job.dataset, written)
    return written | {"runs": runs}


def _ways_to_bin(job: Job, levels: list[int] | None, bin_sizes: list[int], plural: str) -> list[BinParams]:
    """All combinations; without levels, the default one or the highest of a tree that has not as many.

    `plural` ends the names of the options that set them.

    Raises
    ------
    DisentangleError
        If the tree has no such level, or would be a single cluster.
    """
    default = BinParams().level_from_leaf
    ways = [BinParams(level, size) for level in levels or [default] for size in bin_sizes]
    for params in ways:
        params.validate(plural)
    n_labels = datasets.sizes_in(job.data_dir / job.dataset)["n_labels"]
    highest = job.settings.tree.n_levels(n_labels) - 1
    if levels is None and highest < default:
        logger.info("labels are binned at level %d, the highest of this tree, not at %d", highest, default)
        return [replace(params, level_from_leaf=highest) for params in ways]
    for params in ways:
        if params.level_from_leaf > highest:
            raise DisentangleError(
                f"--level{plural} must be at most {highest}, the highest level of this tree, "
                f"got {params.level_from_leaf}"
            )
    return ways


class Binned:
    """The comparison on binned labels, for one way to bin.

    Parameters
    ----------
    job : Job
    base : Comparison
        The job's base models. Only their tree is read, if it is there; nothing is made or changed.
    params : BinParams
    """

    def __init__(self, job: Job, base: Comparison, params: BinParams) -> None:
        self.base = base
        self.params = params
        self.name = job.place_beside(params.name())
        self.data_folder = job.data_dir / job.dataset
        settings = job.settings
        modules = ("evaluate.binning", "model.tree", "data.datasets", "storage.matrices")
        inputs = base.source.inputs | asdict(params) | asdict(settings.tree)
        # Names are written beside the binned labels, but nothing that is trained depends on them.
        named = inputs | {"names": components.digest_names(self.data_folder)}
        self.bins = Stage(
            "bin",
            job.binned_dir / job.dataset / self.name,
            named,
            (*modules, "data.components"),
            self._bin,
            prepare=lambda: self.base.dataset,
            threads=settings.threads,
            force=settings.force,
        )
        binned_from = inputs | {"code": provenance.code_of(modules, (Binned._bin,))}
        source = datasets.Source(job.dataset, binned_from, self._load)
        self.comparison = Comparison(job.folder("binned"), source, settings, self.name)

    def _bin(self, out: Path) -> dict[str, Any]:
        from ..evaluate import binning
        from ..model import tree

        dataset, settings = self.base.dataset, self.base.settings
        try:
            chain = tree.load_chain(self.base.tree.saved())
        except DisentangleError:  # there is none, or a base job is just making another: all are equal
            chain = tree.build_chain(dataset.X_trn, dataset.Y_trn.tocsc(), settings.tree, settings.threads)
        clusters = tree.clusters_at_level(chain, self.params.level_from_leaf)
        bins = binning.make_bins(clusters, self.params.bin_size, settings.tree.seed)
        n_bins, most = int(bins.max()) + 1, settings.tree.max_leaf_size
        if n_bins <= most:
            raise DisentangleError(
                f"too few binned labels for a tree: expected more than --max-leaf-size ({most}), got "
                f"{n_bins} of {self.params.bin_size} labels; less of either, down to 2 each, gives more "
                "clusters"
            )
        names = components.label_names(self.data_folder, len(bins))
        for part, Y in (("trn", dataset.Y_trn), ("tst", dataset.Y_tst)):
            sp.save_npz(out / f"Y.{part}.npz", binning.bin_labels(Y, bins))
        components.write_lines(out / components.LABEL_NAMES, binning.composite_names(names, bins))
        components.save_components(out, components.Components(dataset.Y_trn, bins, names), dataset.Y_tst)
        members = [labels.tolist() for labels in binning.members(bins)]
        mapping = asdict(self.params) | {"seed": settings.tree.seed, "labels_of_bin": members}
        atomic.write_json(out / "bins.json", mapping)
        return {"n_labels": len(bins), "n_bins": len(members)}

    def _load(self) -> datasets.Dataset:
        Y_trn, Y_tst = (matrices.load_labels(self.bins.folder / f"Y.{part}.npz") for part in ("trn", "tst"))
        return replace(self.base.dataset, Y_trn=Y_trn, Y_tst=Y_tst, notes=())

    def runs(self) -> list[dict[str, Any]]:
        """Make all that is not done; return what the report says of the two methods."""
        n_bins = self.bins.ensure()["results"]["n_bins"]
        logger.info("%s: %d binned labels", self.name, n_bins)
        return [asdict(self.params) | {"n_bins": n_bins} | run for run in self.comparison.runs()]


@contextmanager
def _workspaces(*folders: Path) -> Iterator[None]:
    """Hold several results folders for one run."""
    with ExitStack() as stack:
        for folder in folders:
            stack.enter_context(atomic.workspace(folder, RECORD))
        yield


def run_binned(job: Job, levels: list[int] | None, bin_sizes: list[int]) -> dict[str, Any]:
    """XR-Linear beside its overlap on binned labels: the paper's Figure 2.

    Parameters
    ----------
    job : Job
    levels : list of int or None
        Levels above the leaves to bin at; None for the paper's, or the highest of a tree with fewer.
    bin_sizes : list of int
        Labels per bin. Each combination is compared and drawn; several are drawn against one another as well.

    Returns
    -------
    dict
        The report, as `tables.json` has it.

    Raises
    ------
    DisentangleError
        As `run_base`, and if the tree has no such level.
    """
    variant = job.one_variant("binned")
    base = job.base()
    grid = _ways_to_bin(job, levels, bin_sizes, "s")
    ways = [Binned(job, base, params) for params in grid]
    folder = job.folder("binned")
    with _workspaces(folder, job.binned_dir / job.dataset):
        runs = [run for way in ways for run in way.runs()]
        bins = {"bins": [asdict(params) for params in grid]}
        written = job.report(folder, "binned", runs[-1], params=bins, data=base.source.inputs, runs=runs)
        ending = job.place_beside("" if variant.name == DEFAULT_PRESET else variant.name)
        figures.draw_figure_2(folder, job.dataset, runs, ending)
        if len(grid) > 1:
            figures.draw_sweep(folder, job.dataset, runs, ending)
        return written | {"runs": runs}


def run_metric(
    job: Job, kind: str | None, level: int | None = None, bin_size: int = BinParams.bin_size
) -> dict[str, Any]:
    """How well the overlap's copies of a label separate its components.

    Parameters
    ----------
    job : Job
    kind : {"natural", "binned"} or None
        The dataset's own components and the base job's overlap, or binned labels and theirs; None takes
        the dataset's own where it has them.
    level : int or None
        As in `run_binned`; ignored for natural components, like `bin_size`.
    bin_size : int

    Returns
    -------
    dict
        The report, as `tables.json` has it; under "labels" it has more than the file, a row per label.

    Raises
    ------
    DisentangleError
        As `run_binned`, and if the dataset has no components or none of its labels can be scored.
    """
    variant = job.one_variant("metric")
    if variant.params.n_copies < 2:
        raise DisentangleError("--n-copies must be at least 2 to have copies to score, got 1")
    base = job.base()
    folder = job.folder("metric")
    if kind is None:
        kind = "natural" if components.has_components(job.data_dir / job.dataset) else "binned"
    if kind == "natural":
        comparison, where, name = base, job.data_dir / job.dataset, "natural"
        components.require_components(where)
        with _workspaces(folder, base.root):
            _check_components(base, where)
            # The whole base job, so that its report tells of the models that are scored.
            _report_base(job, base, base.runs())
            return _score(job, comparison, where, name, {})
    (params,) = _ways_to_bin(job, None if level is None else [level], [bin_size], "")
    binned = Binned(job, base, params)
    where = binned.bins.folder
    with _workspaces(folder, job.folder("binned"), where.parent):
        binned.bins.ensure()
        return _score(job, binned.comparison, where, params.name(), asdict(params))


def _check_components(comparison: Comparison, where: Path) -> None:
    """Refuse wrong components and names before anything is trained."""
    sizes = comparison.load.ensure()["results"]
    parts = components.load_components(where, sizes["n_train_instances"], sizes["n_labels"])
    components.label_names(where, sizes["n_labels"])
    logger.info("%d components of %d labels", len(parts.names), sizes["n_labels"])


def _score(
    job: Job, comparison: Comparison, where: Path, name: str, params: dict[str, Any]
) -> dict[str, Any]:
    """Score a comparison's overlap against the components in the dataset folder `where`, and report it."""
    folder, seed = job.folder("metric"), job.settings.tree.seed
    (overlapped,) = comparison.overlaps
    variant = overlapped.variant
    if variant.name != DEFAULT_PRESET:
        name = f"{name}-{variant.name}"
    name = job.place_beside(name)
    sizes = comparison.load.ensure()["results"]
    separation = Stage(
        "separate",
        folder / f"separation-{name}",
        components.digest_components(where) | {"seed": seed},
        (
            "evaluate.variation_of_information",
            "overlap.assign",
            "data.components",
            "data.datasets",
            "storage.matrices",
        ),
        partial(_separate, comparison=comparison, overlapped=overlapped, where=where, seed=seed),
        (overlapped.matching,),
        prepare=lambda: comparison.dataset,
        helpers=(load_matching,),
        threads=job.settings.threads,
        force=job.settings.force,
    )
    record = separation.ensure()
    summary, rows = record["results"]["summary"], record["results"]["labels"]
    components.add_names(where, sizes["n_labels"], rows)
    tables.write_csv(folder / f"labels-{name}.csv", rows)
    figures.draw_differences(folder, job.dataset, name, rows, summary)
    of_variant = {"variant": variant.name, "preset": variant.preset, "overlap": asdict(variant.params)}
    more = {"components": name} | of_variant | summary
    written = job.report(folder, "metric", record, params=params, **more)
    # tables.json is the last one asked for; this one stays when others are.
    atomic.write_json(folder / f"report-{name}.json", written)
    return written | {"labels": rows}


def _separate(
    out: Path, comparison: Comparison, overlapped: Overlapped, where: Path, seed: int
) -> dict[str, Any]:
    from ..evaluate import variation_of_information
    from ..overlap.assign import load_overlap

    dataset = comparison.dataset
    parts = components.load_components(where, dataset.X_trn.shape[0], dataset.Y_trn.shape[1])
    overlap, M = load_overlap(overlapped.model.saved()), load_matching(overlapped.matching.saved())
    scored = variation_of_information.separate(parts.Y_trn, parts.of_label, overlap, M, seed)
    if not scored:
        raise DisentangleError(
            f"no label of {where} can be scored: expected two components of more than "
            f"{variation_of_information.MIN_INSTANCES} training instances and two copies, found no such label"
        )
    return {
        "summary": variation_of_information.summarise(scored, seed),
        "labels": [asdict(one) for one in scored],
    }
