"""How seconds and memory grow with size: exponents on a log-log scale, as tables and as a figure.

What is read is what benchmarks/scale.py leaves: runs, each with the `part` of the benchmark that it belongs
to, the `value` of what grows there, and `seconds` and `peak_rss_mib` by stage; and `bare_rss_mib`, what a
process holds that has imported everything and loaded nothing, which memory is counted above in the exponents.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import numpy as np

from disentangle.jobs.figures import new_figure, save_figure

# What grows in each part that is fitted.
GROWING = {
    "instances": "training instances",
    "labels": "labels",
    "copies": "n_copies",
    "threads": "threads",
}
# All stages, in the order in which they run, by the folders whose records have their peak memory.
STAGES = {
    "train": ("label-tree", "matcher", "xr-linear"),
    "match": ("matching",),
    "assign": ("assignment",),
    "expand": (),  # in one with retraining
    "retrain": ("overlap",),
    "predict": ("evaluation",),
    "evaluate": (),  # in one with prediction
}
# Less is noise.
_LEAST = {"seconds": 0.02, "peak_rss_mib": 5}
_STYLES = (
    ("#0072B2", "o"),
    ("#E69F00", "v"),
    ("#009E73", "^"),
    ("#CC79A7", "<"),
    ("#D55E00", "s"),
    ("#56B4E9", "D"),
    ("#666666", "x"),
)
Run = dict[str, Any]


def fit_exponent(sizes: list[float], values: list[float]) -> tuple[float, float] | None:
    """Exponent of the power law nearest to some points on a log-log scale, and its standard error.

    Returns
    -------
    tuple of float, or None
        None unless there are three points of two sizes.
    """
    if len(sizes) < 3 or len(set(sizes)) < 2:
        return None
    (exponent, _), covariance = np.polyfit(np.log(sizes), np.log(values), 1, cov=True)
    return float(exponent), float(np.sqrt(max(0.0, covariance[0, 0])))


def grown(runs: list[Run]) -> list[str]:
    """Parts that were measured at two sizes at least."""
    return [part for part in GROWING if len({run["value"] for run in runs if run["part"] == part}) > 1]


def points(
    runs: list[Run], part: str, measure: str, stage: str, without: float = 0
) -> tuple[list[float], list[float]]:
    """Sizes, rising, and values of a stage in all runs of a part, less what it has without data."""
    found = [(run["value"], run[measure].get(stage, 0) - without) for run in runs if run["part"] == part]
    kept = sorted(point for point in found if point[1] > _LEAST[measure])
    return [size for size, _ in kept], [value for _, value in kept]


def print_scale(results: dict[str, Any]) -> None:
    """Print what was measured as Markdown: exponents, then seconds and memory at each size."""
    runs = results["runs"]
    if parts := grown(runs):
        print(f"Measured on {results['machine']['processor']}, {results['machine']['cores']} cores.")
        _print_exponents(runs, parts, results["bare_rss_mib"])
    for part in dict.fromkeys(run["part"] for run in runs):
        if part != "assignment":
            _print_sizes([run for run in runs if run["part"] == part], GROWING.get(part, "dataset"))
    if assignments := [run for run in runs if run["part"] == "assignment"]:
        _print_assignments(assignments)


def _row(*cells: str) -> None:
    print("| " + " | ".join(cells) + " |")


def _print_exponents(runs: list[Run], parts: list[str], bare_mib: float) -> None:
    print(f"\nexponents ± standard errors; memory above the {bare_mib} MiB of a process without data\n")
    _row("stage", *(f"{what}, {GROWING[part]}" for part in parts for what in ("seconds", "memory")))
    print("|---|" + "---:|" * 2 * len(parts))
    for stage in STAGES:
        cells = []
        for part in parts:
            for measure, without in (("seconds", 0), ("peak_rss_mib", bare_mib)):
                fitted = fit_exponent(*points(runs, part, measure, stage, without))
                cells.append("" if fitted is None else f"{fitted[0]:.2f} ± {fitted[1]:.2f}")
        _row(stage, *cells)


def _print_sizes(runs: list[Run], growing: str) -> None:
    """A row per size: medians over repeats, seconds of each stage and the memory of the one that has most."""
    print()
    _row(growing, "repeats", *(f"{stage} s" for stage in STAGES), "peak MiB")
    print("|---:|" + "---:|" * (len(STAGES) + 2))
    for value in sorted({run["value"] for run in runs}):
        same = [run for run in runs if run["value"] == value]
        seconds = [statistics.median(run["seconds"].get(stage, 0.0) for run in same) for stage in STAGES]
        peak = statistics.median(max(run["peak_rss_mib"].values()) for run in same)
        size = value if isinstance(value, str) else f"{value:,}"
        _row(size, f"{len(same)}", *(f"{one:,.2f}" for one in seconds), f"{peak:,.0f}")


def _print_assignments(runs: list[Run]) -> None:
    print()
    _row("assignment", "labels on instances", "threads", "repeats", "seconds", "peak MiB", "above its input")
    print("|---|" + "---:|" * 6)
    for value in dict.fromkeys(run["value"] for run in runs):
        same = [run for run in runs if run["value"] == value]
        seconds = statistics.median(run["seconds"]["assign"] for run in same)
        peak = statistics.median(run["peak_rss_mib"]["assign"] for run in same)
        above = statistics.median(run["peak_rss_mib"]["assign"] - run["rss_before_mib"] for run in same)
        sizes = (f"{same[0]['nnz']:,}", f"{same[0]['threads']}", f"{len(same)}")
        _row(value, *sizes, f"{seconds:,.1f}", f"{peak:,.0f}", f"{above:,.0f}")


def draw_scale(folder: Path, results: dict[str, Any]) -> None:
    """Seconds of each stage against what grows, a panel for each part: all repeats, medians as lines.

    Parameters
    ----------
    folder : Path
        Gets `scale.{png,svg}`, if anything has grown; the numbers are in the results.
    results : dict
    """
    runs = results["runs"]
    if not (parts := grown(runs)):
        return
    figure, panels = new_figure(len(parts), 1.5 + 3 * len(parts), 3.8)
    figure.suptitle("seconds of each stage of a base run, synthetic data")
    for panel, part in zip(panels, parts, strict=True):
        if panel is not panels[0]:
            panel.sharey(panels[0])
        for stage, (color, marker) in zip(STAGES, _STYLES, strict=True):
            sizes, seconds = points(runs, part, "seconds", stage)
            panel.plot(sizes, seconds, color=color, marker=marker, ls="", ms=4, alpha=0.5)
            distinct = sorted(set(sizes))
            pairs = list(zip(sizes, seconds, strict=True))
            medians = [statistics.median(s for size, s in pairs if size == one) for one in distinct]
            panel.plot(distinct, medians, color=color, marker=marker, ms=4, lw=1, label=stage)
        panel.set(xscale="log", yscale="log", xlabel=GROWING[part])
        ticks = sorted({run["value"] for run in runs if run["part"] == part})
        panel.set_xticks(ticks, [f"{tick:,}" for tick in ticks], rotation=30)
        panel.minorticks_off()
    panels[0].set_ylabel("seconds")
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right center")
    save_figure(figure, folder, "scale")
