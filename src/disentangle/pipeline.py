"""The three jobs: base, binned, metric."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import scipy.sparse as sp

from . import components, data, figures, report, stages
from .comparison import Comparison, Settings, load_overlap
from .errors import DisentangleError
from .params import BinParams, propensity_of
from .stages import Stage

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """What all three jobs are told.

    Attributes
    ----------
    dataset : str
        Name of a folder in `data_dir`.
    data_dir, model_dir, binned_dir : Path
        Datasets; results; binned label sets.
    settings : Settings
    """

    dataset: str
    data_dir: Path
    model_dir: Path
    binned_dir: Path
    settings: Settings

    def folder(self, name: str) -> Path:
        """Where the job of this name leaves its results."""
        return self.model_dir / self.dataset / name

    def base(self) -> Comparison:
        """The base job's two models; nothing is made yet."""
        self.settings.validate()
        return Comparison(self.folder("base"), data.source(self.data_dir, self.dataset), self.settings)

    def report(self, name: str, **more: Any) -> dict[str, Any]:
        """Write `report.json` of the job of this name and return it."""
        settings = self.settings
        params = {"preset": settings.preset, "propensity": asdict(propensity_of(self.dataset))}
        for part in (settings.tree, settings.predict, settings.overlap):
            params |= asdict(part)
        params |= {"threads": settings.threads} | more.pop("params", {})
        report = {
            "job": name,
            "dataset": self.dataset,
            "params": params,
            "seed": settings.tree.seed,
            "versions": stages.versions(),
            "machine": stages.machine(),
        } | more
        stages.write_json(self.folder(name) / "report.json", report)
        return report


def run_base(job: Job) -> dict[str, Any]:
    """XR-Linear beside its overlap on a dataset.

    Returns
    -------
    dict
        The report, as `report.json` has it.

    Raises
    ------
    DisentangleError
        If settings are out of range, the data are wrong, or results cannot be written.
    """
    base = job.base()
    with stages.workspace(base.folder):
        return job.report("base", runs=base.runs())


class Binned:
    """The comparison on binned labels, for one way to bin.

    Parameters
    ----------
    job : Job
    base : Comparison
        The job's base models. Only the tree of its XR-Linear is read, if it is there; nothing of it is
        made or changed.
    params : BinParams
    """

    def __init__(self, job: Job, base: Comparison, params: BinParams) -> None:
        params.validate()
        self.base = base
        self.params = params
        self.data_folder = job.data_dir / job.dataset
        settings = job.settings
        inputs = base.source.inputs | asdict(params) | asdict(settings.tree)
        inputs["names"] = components.digest_names(self.data_folder)
        modules = ("binning", "tree", "components", "data")
        folder = job.binned_dir / job.dataset / params.name()
        self.bins = Stage("bin", folder, inputs, modules, self._bin, (), settings.force)
        source = data.Source(job.dataset, {"bins": self.bins.key}, self._load)
        self.comparison = Comparison(job.folder("binned") / params.name(), source, settings)

    def _bin(self, out: Path) -> dict[str, Any]:
        from . import binning, tree

        dataset, settings = self.base.dataset, self.base.settings
        if self.base.xr_linear.record():
            chain = tree.load_chain(self.base.xr_linear.folder)
        else:
            # The same tree: training begins with building it.
            chain = tree.build_chain(dataset.X_trn, dataset.Y_trn.tocsc(), settings.tree, settings.threads)
        clusters = tree.clusters_at_level(chain, self.params.level_from_leaf)
        bins = binning.make_bins(clusters, self.params.bin_size, settings.tree.seed)
        names = components.label_names(self.data_folder, len(bins))
        for part, Y in (("trn", dataset.Y_trn), ("tst", dataset.Y_tst)):
            sp.save_npz(out / f"Y.{part}.npz", binning.bin_labels(Y, bins))
        components.write_lines(out / components.LABEL_NAMES, binning.composite_names(names, bins))
        components.save_components(out, components.Components(dataset.Y_trn, bins, names), dataset.Y_tst)
        members = [labels.tolist() for labels in binning.members(bins)]
        mapping = asdict(self.params) | {"seed": settings.tree.seed, "labels_of_bin": members}
        stages.write_json(out / "bins.json", mapping)
        return {"n_labels": len(bins), "n_bins": len(members)}

    def _load(self) -> data.Dataset:
        Y_trn, Y_tst = (data.load_labels(self.bins.folder / f"Y.{part}.npz") for part in ("trn", "tst"))
        return replace(self.base.dataset, Y_trn=Y_trn, Y_tst=Y_tst, notes=())

    def runs(self) -> list[dict[str, Any]]:
        """Make all that is not done; return what the report says of the two methods."""
        n_bins = self.bins.ensure()["results"]["n_bins"]
        logger.info("%s: %d binned labels", self.params.name(), n_bins)
        return [asdict(self.params) | {"n_bins": n_bins} | run for run in self.comparison.runs()]


@contextmanager
def _workspaces(*folders: Path) -> Iterator[None]:
    """Hold several results folders for one run."""
    with ExitStack() as stack:
        for folder in folders:
            stack.enter_context(stages.workspace(folder))
        yield


def run_binned(job: Job, grid: list[BinParams]) -> dict[str, Any]:
    """XR-Linear beside its overlap on binned labels: the paper's Figure 2.

    Parameters
    ----------
    job : Job
    grid : list of BinParams
        Ways to bin, each compared and drawn; several are drawn against one another as well.

    Returns
    -------
    dict
        The report, as `report.json` has it.

    Raises
    ------
    DisentangleError
        As `run_base`, and if the tree has no such level.
    """
    base = job.base()
    ways = [Binned(job, base, params) for params in grid]
    folder = job.folder("binned")
    with _workspaces(folder, job.binned_dir / job.dataset):
        runs = [run for way in ways for run in way.runs()]
        figures.draw_figure_2(folder, job.dataset, runs)
        if len(grid) > 1:
            figures.draw_sweep(folder, job.dataset, runs)
        return job.report("binned", params={"bins": [asdict(params) for params in grid]}, runs=runs)


def run_metric(job: Job, kind: str, params: BinParams) -> dict[str, Any]:
    """How well the overlap's copies of a label separate its components.

    Parameters
    ----------
    job : Job
    kind : {"natural", "binned"}
        The dataset's own components and the base job's overlap, or binned labels and theirs.
    params : BinParams
        How to bin; ignored for natural components.

    Returns
    -------
    dict
        The report, as `report.json` has it; under "labels" it has more than the file, a row per label.

    Raises
    ------
    DisentangleError
        As `run_binned`, and if the dataset has no components or none of its labels can be scored.
    """
    base = job.base()
    folder = job.folder("metric")
    if kind == "natural":
        comparison, where, name = base, job.data_dir / job.dataset, "natural"
        held = [base.folder]
        components.require_components(where)
    else:
        binned = Binned(job, base, params)
        comparison, where, name = binned.comparison, binned.bins.folder, params.name()
        held = [job.folder("binned"), where.parent]
    with _workspaces(folder, *held):
        if kind == "binned":
            binned.bins.ensure()
        separation = Stage(
            "separate",
            folder / f"separation-{name}",
            components.digest_components(where) | {"seed": job.settings.tree.seed},
            ("separation", "components", "data"),
            lambda out: _separate(comparison, where, job.settings.tree.seed),
            (comparison.overlap_matching,),
            job.settings.force,
        )
        results = separation.ensure()["results"]
        rows = results["labels"]
        components.add_names(where, comparison.n_labels(), rows)
        report.write_csv(folder / f"labels-{name}.csv", rows)
        figures.draw_differences(folder, job.dataset, name, rows, results["summary"])
        more = {"components": name, "preset": job.settings.preset} | results["summary"]
        bins = asdict(params) if kind == "binned" else {}
        return job.report("metric", params=bins, **more) | {"labels": rows}


def _separate(comparison: Comparison, folder: Path, seed: int) -> dict[str, Any]:
    from . import separation

    dataset = comparison.dataset
    parts = components.load_components(folder, dataset.X_trn.shape[0], dataset.Y_trn.shape[1])
    overlap = load_overlap(comparison.overlap.folder)
    scored = separation.separate(parts.Y_trn, parts.of_label, overlap, comparison.matching(), seed)
    if not scored:
        raise DisentangleError(
            f"no label of {folder} can be scored: expected two components of more than "
            f"{separation.MIN_INSTANCES} training instances and two copies, found no such label"
        )
    return {"summary": separation.summarise(scored, seed), "labels": [asdict(one) for one in scored]}
