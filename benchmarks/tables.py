"""The tables of the README, of docs/ and of the pages in results/, from what the other commands have left.

    PYTHONPATH=src .venv/bin/python benchmarks/tables.py [MODEL_DIR]

collects every report under MODEL_DIR (model/NAME/JOB/report.json) into benchmarks/results/reports/, if it
is given, and writes each table anew between its marks, `<!-- table: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import stage_costs
from ablation import columns, print_tables
from compare import print_comparison, print_summary
from growth import print_scale

from disentangle.jobs.tables import training_seconds
from disentangle.params import (DEFAULT_DATASET, EPS, HINGE, THRESHOLD, TreeParams)
from disentangle.presets import DEFAULT_PRESET, PRESETS

RESULTS = Path(__file__).with_name("results")
REPORTS = RESULTS / "reports"
ROOT = RESULTS.parents[1]
PAGES = tuple(
    page
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted(RESULTS.glob("*.md")))
    if "<!-- table: " in page.read_text(encoding="utf-8")
)
FIGURES = ("P@1", "P@3", "P@5", "R@10")
# What differs between the settings that are swept over.
SWEPT = (
    "overlap_splits",
    "n_copies",
    "split",
    "leaf_size",
    "predict_beam",
    "negatives",
    "spared",
    "eps",
    "matcher_eps",
    "hinge",
    "first_eps",
    "first_features",
    "features",
    "max_df",
    "threshold",
    "first_weight",
)
Run = dict[str, Any]


def collect(model_dir: Path) -> None:
    """Copy the reports of a model folder, named by job and dataset."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    for report in sorted(model_dir.glob("*/*/report.json")):
        job, dataset = report.parent.name, report.parent.parent.name
        shutil.copyfile(report, REPORTS / f"{job}-{dataset}.json")


def reports(job: str) -> Iterator[dict[str, Any]]:
    """The collected reports of a job, the embedded dataset's first."""
    paths = sorted(REPORTS.glob(f"{job}-*.json"), key=lambda path: ("wordnet" not in path.name, path.name))
    for path in paths:
        yield json.loads(path.read_text(encoding="utf-8"))


def cells(run: Run) -> list[str]:
    """P@1, 3, 5 and R@1, 5, 10."""
    p, r = run["precision"], run["recall"]
    return [f"{value:.2f}" for value in (p[0], p[2], p[4], r[0], r[4], r[9])]


def line(*parts: str) -> None:
    print("| " + " | ".join(parts) + " |")


def original_scripts() -> dict[str, Any]:
    """What the paper authors' scripts printed, by dataset and job."""
    return json.loads((RESULTS / "original-scripts.json").read_text(encoding="utf-8"))["datasets"]


def print_comparisons(job: str) -> None:
    """XR-Linear and overlap per dataset, each above the original scripts' row where there is one."""
    original = original_scripts()
    line(
        "dataset",
        "method",
        "P@1",
        "P@3",
        "P@5",
        "R@1",
        "R@5",
        "R@10",
        "PSP@5",
        "candidates",
        "train s",
        "predict s",
    )
    print("|---|---|" + "---:|" * 10)
    for report in reports(job):
        theirs = {run["method"]: run for run in original.get(report["dataset"], {}).get(job, [])}
        for run in report["runs"]:
            name = "XR-Linear" if run["method"] == "xr-linear" else f"**overlap, {run['preset']}**"
            costs = (training_seconds(run), run["seconds"]["predict"])
            line(
                report["dataset"],
                name,
                *cells(run),
                f"{run['psp'][4]:.2f}",
                f"{run['candidates_per_instance']:,.0f}",
                *(f"{value:,.1f}" for value in costs),
            )
            if reference := theirs.get(run["method"]):
                candidates = f"{reference['candidates_per_instance']:,.0f}"
                line(report["dataset"], "- original scripts", *cells(reference), "", candidates, "", "")
    print()


def print_embedded() -> None:
    """XR-Linear and each preset on the embedded dataset, one tree, from its base job's reports."""
    line("method", *FIGURES, "PSP@5", "candidates", "training, s")
    print("|---|" + "---:|" * 7)
    runs = {
        run["variant"] or "XR-Linear": run
        for job in ("trees-3", "base")
        for report in reports(job)
        if report["dataset"] == DEFAULT_DATASET
        for run in report["runs"]
        if run.get("n_trees", 1) == 1
    }
    for name in ("XR-Linear", *PRESETS):
        found = columns(runs[name])
        figures = (f"{found[figure]:.2f}" for figure in (*FIGURES, "PSP@5"))
        line(name, *figures, f"{found['candidates']:,.0f}", f"{training_seconds(runs[name]):.1f}")


def print_metrics() -> None:
    """The metric job's summaries."""
    original = original_scripts()
    header = ("dataset", "components", "labels", "VI", "random", "difference", "better", "random, same sizes")
    line(*header, "difference", "better", "adjusted Rand")
    print("|---|---|" + "---:|" * 9)
    for report in reports("metric"):
        same = report["same_sizes"]
        numbers = ("mean_random_baseline", "mean_difference")
        line(
            report["dataset"],
            report["components"],
            f"{report['n_labels_scored']:,}",
            f"{report['mean_vi']:.3f}",
            *(f"{report[name]:.3f}" for name in numbers),
            f"{report['fraction_better_than_random']:.1%}",
            *(f"{same[name]:.3f}" for name in numbers),
            f"{same['fraction_better_than_random']:.1%}",
            f"{report['mean_adjusted_rand']:.3f}",
        )
        theirs = original.get(report["dataset"], {}).get("metric")
        if theirs and report["components"] != "natural":
            line(
                report["dataset"],
                "- original scripts",
                f"{theirs['n_labels_scored']}",
                *(f"{theirs[name]:.3f}" for name in ("mean_vi", *numbers)),
                f"{theirs['fraction_better_than_random']:.1%}",
                *[""] * 4,
            )


def _swept(overlap: dict[str, Any]) -> dict[str, Any]:
    """The parts of `SWEPT` of a setting; none of XR-Linear."""
    if not overlap:
        return dict.fromkeys(SWEPT)
    # Reports that are older than a part have it as it was before it was one.
    before = {
        "overlap_splits": TreeParams().nr_splits,
        "matcher_eps": overlap["eps"],
        "hinge": HINGE,
        "first_eps": EPS,
        "spared": 0,
        "max_df": 1.0,
        "threshold": THRESHOLD,
    }
    return {name: before.get(name) if overlap.get(name) is None else overlap[name] for name in SWEPT}


def print_sweeps() -> None:
    """What each setting of the sweeps gives on validation instances, each once per dataset."""
    print()
    line("dataset", *SWEPT, *FIGURES, "candidates")
    print("|---|" + "---:|" * (len(SWEPT) + 5))
    seen = set()
    for report in reports("sweep"):
        for run in report["runs"]:
            overlap = run.get("overlap", {})
            which = (report["dataset"], run["variant"] == DEFAULT_PRESET, *_swept(overlap).values())
            if which not in seen:
                _print_swept(report["dataset"], run, overlap)
            seen.add(which)


def print_sweep_means() -> None:
    """Mean of P@1, P@3, P@5 and R@10 of each swept setting, by dataset, without and with the first model."""
    means: dict[tuple[Any, ...], dict[tuple[str, float], float]] = {}
    for report in reports("sweep"):
        for run in report["runs"]:
            overlap, found = run.get("overlap", {}), columns(run)
            setting = tuple(_swept(overlap)[name] for name in SWEPT[:-1])
            if run["variant"] in (None, "paper"):
                setting = (run["variant"] or "XR-Linear", *[None] * (len(SWEPT) - 2))
            where = (report["dataset"], overlap.get("first_weight", 0.0))
            mean = sum(found[name] for name in FIGURES) / len(FIGURES)
            means.setdefault(setting, {}).setdefault(where, mean)
    wheres = sorted({where for of_setting in means.values() for where in of_setting}, key=str)
    print()
    line(*SWEPT[:-1], *(f"{dataset}, first_weight {weight:g}" for dataset, weight in wheres))
    print("|---|" + "---:|" * (len(SWEPT) - 2 + len(wheres)))
    for setting, of_setting in sorted(means.items(), key=lambda item: [_order(part) for part in item[0]]):
        cells_of = (f"{of_setting[where]:.2f}" if where in of_setting else "" for where in wheres)
        line(*("" if part is None else str(part) for part in setting), *cells_of)


def _order(part: Any) -> tuple[str, float]:
    """Numbers by size, before words."""
    return ("", part) if isinstance(part, int | float) else (str(part), 0.0)


def _print_swept(dataset: str, run: Run, overlap: dict[str, Any]) -> None:
    parts = [str(value or "") for value in _swept(overlap).values()]
    if run["variant"] in (None, "paper"):
        parts = [run["variant"] or "XR-Linear"] + [""] * (len(SWEPT) - 1)
    found = columns(run)
    figures = (f"{found[name]:.2f}" for name in FIGURES)
    line(dataset, *parts, *figures, f"{found['candidates']:,.0f}")


def print_ensembles() -> None:
    """Several trees beside one: reports of base jobs with --n-trees 3."""
    print()
    line("dataset", "setting", "trees", *FIGURES, "PSP@5", "candidates", "all trainings, s")
    print("|---|---|" + "---:|" * 8)
    for report in reports("trees-3"):
        for run in report["runs"]:
            found = columns(run)
            figures = (f"{found[name]:.2f}" for name in (*FIGURES, "PSP@5"))
            costs = (f"{found['candidates']:,.0f}", f"{training_seconds(run):,.0f}")
            name = run["variant"] or "XR-Linear"
            line(report["dataset"], name, str(run["n_trees"]), *figures, *costs)


def print_gaps() -> None:
    """Greedy choices, the auction's and the best ones under a capacity."""
    print()
    line("dataset", "capacity", "choices", "share of the best gain", *FIGURES)
    print("|---|---:|---|" + "---:|" * 5)
    rows = json.loads((RESULTS / "capacity_gap.json").read_text(encoding="utf-8"))
    for row in sorted(rows, key=lambda row: (row["dataset"], row["capacity"])):
        shares = {name: row[f"{name}_share_of_best"] for name in ("greedy", "auction")} | {"exact": 1.0}
        for name, share in shares.items():
            figures = (f"{row[name][figure]:.2f}" for figure in FIGURES)
            line(row["dataset"], str(row["capacity"]), name, f"{100 * share:.2f} %", *figures)


def print_imports() -> None:
    """Imports of text: seconds and memory."""
    print()
    line("format", "lines", "text MB", "X MB", "seconds", "lines a second", "peak MiB")
    print("|---|" + "---:|" * 6)
    for run in json.loads((RESULTS / "import_speed.json").read_text(encoding="utf-8"))["runs"]:
        sizes = (f"{run['lines']:,}", f"{run['text_mb']:,.0f}", f"{run['matrix_mb']:,.0f}")
        costs = (f"{run['seconds']:,.0f}", f"{run['lines_per_second']:,}", f"{run['peak_rss_mib']:,}")
        line(run["format"], *sizes, *costs)


def results(name: str) -> Iterator[dict[str, Any]]:
    """What a command left for each dataset, the embedded one's first."""
    for path in sorted(RESULTS.glob(f"{name}-*.json"), key=lambda path: ("wordnet" not in path.name, path)):
        yield {"dataset": path.stem.removeprefix(f"{name}-")} | json.loads(path.read_text(encoding="utf-8"))


def print_ablations(only: tuple[str, ...] | None = None) -> None:
    """Each setting, or some, on each dataset, over seeds."""
    for result in results("ablation"):
        rows = [row for row in result["rows"] if only is None or row["setting"] in only]
        print_tables(result["dataset"], rows)


def print_rivals() -> None:
    """What users would pick instead, beside it."""
    for result in results("compare"):
        print_comparison(result)


def print_growth(name: str) -> None:
    """How costs grow, from the results of that name."""
    print_scale(json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8")))


TABLES: dict[str, Callable[[], None]] = {
    "base-embedded": print_embedded,
    "base": partial(print_comparisons, "base"),
    "binned": partial(print_comparisons, "binned"),
    "metric": print_metrics,
    "ablation": print_ablations,
    "presets": partial(print_ablations, ("XR-Linear", *PRESETS)),
    "ensembles": print_ensembles,
    "sweeps": print_sweeps,
    "sweep-means": print_sweep_means,
    "gaps": print_gaps,
    "imports": print_imports,
    "compare": print_rivals,
    "compare-summary": lambda: print_summary(results("compare")),
    "stage-costs": lambda: stage_costs.print_table(list(results("stage_costs"))),
    "scale": partial(print_growth, "scale"),
    "scale-amazon-670k": partial(print_growth, "scale-amazon-670k"),
}


def filled(text: str) -> str:
    """A text with each table between its marks as the results have it now."""

    def fill(found: re.Match[str]) -> str:
        with redirect_stdout(io.StringIO()) as printed:
            TABLES[found[2]]()
        return f"{found[1]}\n\n{printed.getvalue().strip()}\n\n{found[3]}"

    return re.sub(r"(<!-- table: (\S+) -->).*?(<!-- end -->)", fill, text, flags=re.DOTALL)


def main() -> None:
    if len(sys.argv) > 1:
        collect(Path(sys.argv[1]))
    for path in PAGES:
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
