"""The binned job: labels made ambiguous on purpose, the paper's Figure 2."""

from __future__ import annotations

import logging
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import scipy.sparse as sp

from ..data import components, datasets, lines
from ..data.features import beside
from ..errors import DisentangleError
from ..params import MAX_K, BinParams
from ..presets import DEFAULT_PRESET
from ..runtime import provenance
from ..storage import atomic, matrices
from ..storage.saved import RECORD
from . import figures
from .differences import Comparison
from .job import Job
from .plan import BUILDING, Plan, runs
from .seeds import over_seeds
from .stages import Stage

logger = logging.getLogger(__name__)

# Figure 2 shows all of them.
_COLUMNS = tuple(f"{letter}@{k}" for letter in "PR" for k in range(1, MAX_K + 1))


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
        The report, as `report.json` has it.

    Raises
    ------
    DisentangleError
        As `run_base`, and if the tree has no such level.
    """
    variant = job.one_variant("binned")
    jobs = job.by_seed()
    grid = ways_to_bin(job, levels, bin_sizes, "s")
    ways = [Binned(one, one.base(), params) for one in jobs for params in grid]
    folder, data = job.folder("binned"), jobs[0].source().inputs
    with atomic.workspaces([folder, job.binned_dir / job.dataset], RECORD):
        comparison = Comparison(folder, _COLUMNS)
        made = [run for way in ways for run in comparison.added(way.runs())]
        bins, more = {"bins": [asdict(params) for params in grid]}, over_seeds(made, comparison)
        written = job.report(folder, "binned", made[-1], params=bins, data=data, runs=made, **more)
        shown = more.get("summary", made)
        ending = job.place_beside("" if variant.name == DEFAULT_PRESET else variant.name)
        drawn = figures.draw_figure_2(folder, job.title, shown, ending)
        if len(grid) > 1:
            drawn.append(figures.draw_sweep(folder, job.title, shown, ending))
        files = [folder / "report.json", *drawn, *(way.bins.folder for way in ways)]
        return written | {"runs": made, "files": files}


def ways_to_bin(job: Job, levels: list[int] | None, bin_sizes: list[int], plural: str) -> list[BinParams]:
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
    n_labels = datasets.sizes_in(job.data_dir / job.dataset, job.features)["n_labels"]
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
    base : Plan
        The job's base models. Only their tree is read, if it is there; nothing is made or changed.
    params : BinParams
    """

    def __init__(self, job: Job, base: Plan, params: BinParams) -> None:
        self.base = base
        self.params = params
        self.name = job.place_beside(params.name())
        self.data_folder = job.data_dir / job.dataset
        settings = job.settings
        stored = ("data.datasets", "storage.compressed", "storage.matrices")
        modules = ("evaluate.binning", *BUILDING, *stored)
        inputs = base.source.inputs | asdict(params) | asdict(settings.tree)
        # Names are written beside the binned labels, but nothing that is trained depends on them.
        named = inputs | {"names": components.digest_names(self.data_folder)}
        self.bins = Stage(
            "bin",
            job.binned_dir / job.dataset / beside(self.name, job.features),
            named,
            (*modules, "data.components"),
            self._bin,
            prepare=lambda: self.base.dataset,
            threads=settings.threads,
            force=settings.force,
        )
        binned_from = inputs | {"binned_by": provenance.code_of(modules, (Binned._bin,))}
        source = datasets.Source(job.dataset, binned_from, self._load)
        self.plan = Plan(job.folder("binned"), source, settings, self.name)

    def _bin(self, out: Path) -> dict[str, Any]:
        from ..evaluate import binning
        from ..model import tree

        dataset, settings = self.base.dataset, self.base.settings
        try:
            chain = tree.load_chain(self.base.tree.saved())
        except DisentangleError:  # there is none, or a base job is just making another: all are equal
            given = dataset.X_trn, dataset.labels_trn, settings.tree, settings.threads
            chain = tree.build_chain(*given, settings.budget(self.plan.root))
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
        lines.write_lines(out / components.LABEL_NAMES, binning.composite_names(names, bins))
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
        return [asdict(self.params) | {"n_bins": n_bins} | run for run in runs(self.plan)]
