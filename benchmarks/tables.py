"""The tables of the README and of other pages, from the results.

    PYTHONPATH=src .venv/bin/python benchmarks/tables.py

writes each table anew between its marks, `<!-- table: NAME -->` and `<!-- end -->`. A table has results of
one version only, the newest that there is; what is of another is named below it.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import ambiguity
import annif_omikuji
import latency
import learned_features
import leave_one_out
import mean_of_trees
import presets
import scale
import scaling
from compare import print_comparison, print_differences, print_summary
from presets import FIGURES, SECONDS, columns
from reproduce import version_of

from disentangle.jobs.differences import excludes_zero
from disentangle.jobs.tables import setting_name, training_seconds
from disentangle.params import DEFAULT_DATASET
from disentangle.presets import PRESETS

RESULTS = Path(__file__).with_name("results")
ROOT = RESULTS.parents[1]
PAGES = tuple(
    path
    for folder in (ROOT, ROOT / "docs", RESULTS)
    for path in sorted(folder.glob("*.md"))
    if "<!-- table: " in path.read_text(encoding="utf-8")
)
Result = dict[str, Any]


def results(name: str) -> dict[str, Result]:
    """What a command left for each dataset, the embedded one's first."""
    paths = sorted(RESULTS.glob(f"{name}-*.json"), key=lambda path: (DEFAULT_DATASET not in path.name, path))
    return {
        path.stem.removeprefix(f"{name}-"): json.loads(path.read_text(encoding="utf-8")) for path in paths
    }


def of_one_version(found: dict[str, Result]) -> tuple[dict[str, Result], dict[str, str]]:
    """The results of the newest version, and the versions of the others, by dataset."""
    versions = {name: version_of(result) for name, result in found.items()}
    newest = max(versions.values(), key=lambda text: [int(part) for part in text.split(".")], default="")
    others = {name: version for name, version in versions.items() if version != newest}
    return {name: result for name, result in found.items() if name not in others}, others


def line(*parts: str) -> None:
    print("| " + " | ".join(parts) + " |")


def original_scripts() -> dict[str, Any]:
    """What the paper authors' scripts printed, by dataset and job."""
    return json.loads((RESULTS / "original-scripts.json").read_text(encoding="utf-8"))["datasets"]


def cells(run: Result) -> list[str]:
    """P@1, 3, 5 and R@1, 5, 10."""
    p, r = run["precision"], run["recall"]
    return [f"{value:.2f}" for value in (p[0], p[2], p[4], r[0], r[4], r[9])]


def print_reports(job: str, found: dict[str, Result]) -> None:
    """XR-Linear and overlap per dataset, each above the original scripts' row where there is one."""
    original = original_scripts()
    header = ("P@1", "P@3", "P@5", "R@1", "R@5", "R@10", "PSP@5", "candidates", "train s", "predict s")
    line("dataset", "method", *header)
    print("|---|---|" + "---:|" * len(header))
    for dataset, report in found.items():
        theirs = {run["method"]: run for run in original.get(dataset, {}).get(job, [])}
        for run in report["runs"]:
            name = "XR-Linear" if run["method"] == "xr-linear" else f"**overlap, {run['preset']}**"
            costs = (f"{value:,.1f}" for value in (training_seconds(run), run["seconds"]["predict"]))
            candidates = f"{run['candidates_per_instance']:,.0f}"
            line(dataset, name, *cells(run), f"{run['psp'][4]:.2f}", candidates, *costs)
            if reference := theirs.get(run["method"]):
                candidates = f"{reference['candidates_per_instance']:,.0f}"
                line(dataset, "- original scripts", *cells(reference), "", candidates, "", "")


def print_metrics(found: dict[str, Result]) -> None:
    """The metric job's summaries."""
    original = original_scripts()
    header = ("dataset", "components", "labels", "VI", "random", "difference", "better", "random, same sizes")
    line(*header, "difference", "better", "adjusted Rand")
    print("|---|---|" + "---:|" * 9)
    numbers = ("mean_random_baseline", "mean_difference")
    for dataset, report in found.items():
        same = report["same_sizes"]
        line(
            dataset,
            report["components"],
            f"{report['n_labels_scored']:,}",
            f"{report['mean_vi']:.3f}",
            *(f"{report[name]:.3f}" for name in numbers),
            f"{report['fraction_better_than_random']:.1%}",
            *(f"{same[name]:.3f}" for name in numbers),
            f"{same['fraction_better_than_random']:.1%}",
            f"{report['mean_adjusted_rand']:.3f}",
        )
        theirs = original.get(dataset, {}).get("metric")
        if theirs and report["components"] != "natural":
            figures = (f"{theirs[name]:.3f}" for name in ("mean_vi", *numbers))
            share = f"{theirs['fraction_better_than_random']:.1%}"
            line(dataset, "- original scripts", f"{theirs['n_labels_scored']}", *figures, share, *[""] * 4)


def print_separation(found: dict[str, Result]) -> None:
    """The metric job's summaries of the presets on the embedded set, beside the paper's."""
    line("preset", "VI", "random, same sizes", "difference", "better", "adjusted Rand")
    print("|---|" + "---:|" * 5)
    reports = {report["preset"]: report for report in (results("metric")[DEFAULT_DATASET], *found.values())}
    for report in (reports[preset] for preset in PRESETS if preset in reports):
        same = report["same_sizes"]
        line(
            report["preset"],
            f"{report['mean_vi']:.3f}",
            *(f"{same[name]:.3f}" for name in ("mean_random_baseline", "mean_difference")),
            f"{same['fraction_better_than_random']:.1%}",
            f"{report['mean_adjusted_rand']:.3f}",
        )


def print_ensembles(found: dict[str, Result]) -> None:
    """Several trees beside one: reports of base jobs with --n-trees 3."""
    line("dataset", "setting", "trees", *FIGURES, "PSP@5", "candidates", "all trainings, s")
    print("|---|---|" + "---:|" * 8)
    for dataset, report in found.items():
        for run in report["runs"]:
            own = columns(run)
            figures = (f"{own[name]:.2f}" for name in (*FIGURES, "PSP@5"))
            costs = (f"{own['candidates']:,.0f}", f"{training_seconds(run):,.0f}")
            line(dataset, run["variant"] or "XR-Linear", str(run["n_trees"]), *figures, *costs)


def print_seeds(found: dict[str, Result]) -> None:
    """Chance by seeds, and by instances that are drawn anew: base jobs with --seeds."""
    line(
        "dataset", "difference", "column", "mean ± sd", "error of one", "of all", "interval of all", "marked"
    )
    print("|---|---|---|" + "---:|" * 5)
    for dataset, report in found.items():
        for row in report["summary"]:
            own = [run.get("differences") for run in report["runs"] if run["variant"] == row["variant"]]
            for i, together in enumerate(row["differences"]):
                for column in ("P@1", "R@10", "mean"):
                    one, alone = together[column], [differences[i][column] for differences in own]
                    error = sum(single["standard_error"] for single in alone) / len(alone)
                    line(
                        *(dataset, f"{row['variant']} to {together['to']}", column),
                        f"{one['difference']:+.2f} ± {one['sd']:.2f}",
                        *(f"{value:.2f}" for value in (error, one["standard_error"])),
                        f"{one['low']:+.2f} to {one['high']:+.2f}{'*' if excludes_zero(one) else ''}",
                        f"{sum(map(excludes_zero, alone))} of {len(alone)}",
                    )


def print_calibration(found: dict[str, Result]) -> None:
    """Calibration errors of scores and of probabilities: reports of base jobs with --calibrate."""
    errors = ("@1 scores", "@1 probabilities", "@5 scores", "@5 probabilities")
    line("dataset", "method", *errors, "threshold", "F1")
    print("|---|---|" + "---:|" * 6)
    for dataset, report in found.items():
        for run in report["runs"]:
            own = run["calibration"]
            cells = [f"{own['ece'][of][k]:.1f}" for k in "15" for of in ("scores", "probabilities")]
            line(dataset, setting_name(run), *cells, f"{own['threshold']:.2f}", f"{own['f1']:.1f}")


def print_rows(found: dict[str, Result], write: Callable[[str, list[Result]], None]) -> None:
    for dataset, result in found.items():
        write(dataset, result["rows"])


def print_preset_differences(found: dict[str, Result]) -> None:
    """Each preset beside the paper's rule and XR-Linear: means over seeds."""
    line("dataset", "preset", "seeds", *FIGURES, "candidates", "/ paper's", "/ XR-Linear's")
    print("|---|---|" + "---:|" * 8)
    for dataset, result in found.items():
        of: dict[str, list[Result]] = {}
        for row in result["rows"]:
            of.setdefault(row["setting"], []).append(row)

        def mean(setting: str, column: str, of: dict[str, list[Result]] = of) -> float:
            return sum(row[column] for row in of[setting]) / len(of[setting])

        for preset in [name for name in of if name not in ("XR-Linear", "paper")]:
            seconds = (mean(preset, SECONDS) / mean(than, SECONDS) for than in ("paper", "XR-Linear"))
            line(
                *(dataset, preset, str(len(of[preset]))),
                *(f"{mean(preset, column) - mean('paper', column):+.2f}" for column in FIGURES),
                f"x {mean(preset, 'candidates') / mean('paper', 'candidates'):.2f}",
                *(f"x {ratio:.2f}" for ratio in seconds),
            )


def print_ambiguity(found: dict[str, Result]) -> None:
    for dataset, result in found.items():
        ambiguity.print_table(dataset, result)


def print_each(found: dict[str, Result], write: Callable[[Result], None]) -> None:
    for result in found.values():
        write(result)


def print_scalings(found: dict[str, Result]) -> None:
    for name, result in found.items():
        print(f"\n{name}\n")
        scaling.print_scaling(result)


def print_embedded(found: dict[str, Result]) -> None:
    """XR-Linear, the paper's overlap and the presets on the embedded set, one tree each."""
    (report,) = found.values()
    presets = [run for run in results("ensembles")[DEFAULT_DATASET]["runs"] if run["variant"]]
    runs = [*report["runs"], *(run for run in presets if run["n_trees"] == 1)]
    print_reports("base", {DEFAULT_DATASET: report | {"runs": runs}})


# The results that a table is made of, and what prints it.
TABLES: dict[str, tuple[str, Callable[[dict[str, Result]], None]]] = {
    "base-embedded": (f"base-{DEFAULT_DATASET}", print_embedded),
    "base": ("base", partial(print_reports, "base")),
    "binned": ("binned", partial(print_reports, "binned")),
    "metric": ("metric", print_metrics),
    "separation": ("separation", print_separation),
    "presets": ("presets", partial(print_rows, write=presets.print_table)),
    "preset-differences": ("presets", print_preset_differences),
    "ensembles": ("ensembles", print_ensembles),
    "mean-of-trees": ("mean-of-trees", mean_of_trees.print_table),
    "calibration": ("calibration", print_calibration),
    "seeds": ("seeds", print_seeds),
    "leave-one-out": (
        "leave-one-out",
        lambda found: leave_one_out.print_table({name: one["rows"] for name, one in found.items()}),
    ),
    "compare": ("compare", partial(print_each, write=print_comparison)),
    "compare-summary": ("compare", lambda found: print_summary(found.values())),
    "compare-differences": ("compare", lambda found: print_differences(found.values())),
    "annif-omikuji": ("annif-omikuji", annif_omikuji.print_table),
    "ambiguity": ("ambiguity", print_ambiguity),
    "learned-features": ("learned-features", partial(print_rows, write=learned_features.print_table)),
    "scaling": ("scaling", print_scalings),
    "latency": ("latency", partial(print_rows, write=latency.print_table)),
    "scale": ("scale", partial(print_each, write=scale.print_scale)),
}


def table(name: str) -> str:
    """A table, and below it which results are left out."""
    kind, write = TABLES[name]
    found = results(kind)
    if not found and (path := RESULTS / f"{kind}.json").exists():
        found = {kind.partition("-")[2]: json.loads(path.read_text(encoding="utf-8"))}
    shown, others = of_one_version(found)
    with redirect_stdout(io.StringIO()) as printed:
        write(shown)
    text = printed.getvalue().strip()
    if others:
        names = ", ".join(f"{one} ({version})" for one, version in others.items())
        text += f"\n\nLeft out, being of other versions: {names}."
    return text


def filled(text: str) -> str:
    """A text with each table between its marks as the results have it now."""

    def fill(found: re.Match[str]) -> str:
        return f"{found[1]}\n\n{table(found[2])}\n\n{found[3]}"

    return re.sub(r"(<!-- table: (\S+) -->).*?(<!-- end -->)", fill, text, flags=re.DOTALL)


def main() -> None:
    for path in PAGES:
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
