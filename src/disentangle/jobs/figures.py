"""Figures, as PNG, SVG and PDF, with their numbers beside them as CSV."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..params import MAX_K
from ..storage import files
from ..storage.atomic import replacing
from .columns import figure as figure_of
from .columns import setting_name
from .tables import write_csv

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_BYTES = 1 << 26
# Formats, with what makes the same figure the same bytes; PDF is for LaTeX.
_FORMATS: dict[str, dict[str, Any]] = {
    "png": {"dpi": 200},
    "svg": {"metadata": {"Date": None}},
    "pdf": {"metadata": {"CreationDate": None}},
}
# Okabe and Ito's colours, told apart by colour-blind readers; markers and dashes tell them apart in grey.
_BLUE, _ORANGE, _GREEN, _GREY = "#0072B2", "#D55E00", "#009E73", "#666666"
_STYLES = ((_BLUE, "o"), (_ORANGE, "s"), (_GREEN, "^"), (_GREY, "D"))
_DASHES = ("-", "--", ":", "-.")
_KEY_COLUMNS = 3
_CURVES = ("precision", "recall")
_BINS = 40  # of a histogram
_MARKS = {
    "XR-Linear": (_BLUE, "o"),
    "paper": (_ORANGE, "s"),
    "tuned": (_GREEN, "p"),
    "lean": (_GREEN, "D"),
}


def _style(i: int) -> tuple[str, str, str]:
    """Colour, marker and dashes of a line: of sixteen, no two have the same."""
    return *_STYLES[i % len(_STYLES)], _DASHES[(i + i // len(_STYLES)) % len(_DASHES)]


def _is_drawn(figure: Path, rows: list[dict[str, Any]]) -> bool:
    """Whether all files of a figure are there, and its numbers, which are written last, are these rows."""
    paths = [figure.with_name(f"{figure.name}.{ending}") for ending in (*_FORMATS, "csv")]
    if not all(path.exists() for path in paths):
        return False
    try:
        text = files.read(paths[-1], _MOST_BYTES).decode()
        drawn = list(csv.DictReader(io.StringIO(text, newline="")))
    except (ValueError, csv.Error):
        return False
    return drawn == [{key: str(value) for key, value in row.items()} for row in rows]


def new_figure(n_panels: int, width: float, height: float) -> tuple[Figure, Any]:
    """A figure of so many panels side by side, sizes in inches, and the array of its panels."""
    import matplotlib
    from matplotlib.figure import Figure

    # The same figure gives the same bytes: no dates, no random ids.
    matplotlib.rcParams.update({"svg.hashsalt": "disentangle", "font.size": 10, "axes.grid": True})
    # Letters of a PDF are text in an ordinary font: publishers refuse matplotlib's usual kind.
    matplotlib.rcParams["pdf.fonttype"] = 42
    matplotlib.rcParams.update({"grid.alpha": 0.3, "axes.spines.top": False, "axes.spines.right": False})
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(1, n_panels, squeeze=False)[0]


def save_figure(figure: Figure, folder: Path, name: str) -> None:
    """Write `name.png`, `name.svg` and `name.pdf`, each whole or not at all."""
    for ending, options in _FORMATS.items():
        with replacing(folder / f"{name}.{ending}") as temporary:
            figure.savefig(temporary, format=ending, **options)


def _save(figure: Figure, folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    """Write a figure, and last its numbers."""
    save_figure(figure, folder, name)
    write_csv(folder / f"{name}.csv", rows)


def _legend_below(figure: Figure, handles: list[Any], names: list[str]) -> None:
    legend = figure.legend(handles, names, loc="outside lower center", ncols=_KEY_COLUMNS, fontsize=8)
    for text in legend.get_texts():
        text.set_parse_math(False)


def draw_figure_2(folder: Path, dataset: str, runs: list[dict[str, Any]], ending: str = "") -> list[Path]:
    """Precision and recall at 1 to 10 of both methods, and their difference: a figure for each way to bin.

    Bands are of one standard deviation over seeds to each side; of a single seed the difference has its 95 %
    interval.

    Parameters
    ----------
    folder : Path
        Gets `figure-2-level-L-size-B.{png,svg,pdf,csv}`.
    dataset : str
    runs : list of dict
        Of the report, or its summary over seeds: XR-Linear and the overlap by turns.
    ending : str
        Of the names, if these runs are of others than the usual settings.

    Returns
    -------
    list of Path
        The PNG files.
    """
    drawn = []
    for xr_linear, overlap in zip(runs[::2], runs[1::2], strict=True):
        level, size = xr_linear["level_from_leaf"], xr_linear["bin_size"]
        name = _named(f"figure-2-level-{level}-size-{size}", ending)
        drawn.append(folder / f"{name}.png")
        rows = _curve("XR-Linear", xr_linear) + _curve("overlap", overlap)
        rows += _difference(xr_linear, overlap)
        if _is_drawn(folder / name, rows):
            continue
        figure, panels = new_figure(3, 12, 3.6)
        figure.suptitle(
            f"{dataset}: labels binned by {size}, {level} levels above the leaves", parse_math=False
        )
        label = f"overlap, n_copies {overlap['n_copies']}"
        # The curves often meet: a ring around a dot shows both.
        ring = {"marker": "o", "ms": 8, "mfc": "none", "ls": "--", "color": _BLUE, "label": "XR-Linear"}
        dot = {"marker": "s", "ms": 4, "color": _ORANGE, "label": label}
        for panel, metric in zip(panels, _CURVES, strict=False):
            _draw_curve(panel, rows, "XR-Linear", metric, ring)
            _draw_curve(panel, rows, "overlap", metric, dot)
            panel.set_ylabel(f"{metric}@k (%)")
        for metric, color, marker in zip(_CURVES, (_GREEN, _GREY), ("^", "D"), strict=True):
            style = {"marker": marker, "ms": 5, "color": color, "label": metric}
            _draw_curve(panels[-1], rows, "difference", metric, style)
        panels[-1].axhline(0, color="black", lw=0.8)
        bands = "one standard deviation over seeds" if "sd" in overlap else "95 % intervals"
        if "differences" in overlap:
            panels[-1].set_title(f"bands: {bands}", fontsize=10)
        panels[-1].set_ylabel("overlap minus XR-Linear (points)")
        for panel in panels:
            panel.set(xlabel="k (labels predicted)", xticks=[row["k"] for row in rows[:MAX_K]])
            panel.legend()
        _save(figure, folder, name, rows)
    return drawn


def _draw_curve(panel: Any, rows: list[dict[str, Any]], method: str, metric: str, style: dict) -> None:
    """A curve, and its band where it has one."""
    own = [row for row in rows if row["method"] == method]
    ks = [row["k"] for row in own]
    panel.plot(ks, [row[metric] for row in own], **style)
    if own[0][f"{metric}_low"] != "":
        low, high = ([row[f"{metric}_{end}"] for row in own] for end in ("low", "high"))
        panel.fill_between(ks, low, high, color=style["color"], alpha=0.2, lw=0)


def _curve(method: str, run: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of a method: figures and, of several seeds, one standard deviation to each side."""
    rows = []
    for k in range(1, MAX_K + 1):
        row: dict[str, Any] = {"method": method, "k": k}
        for metric in _CURVES:
            value, low, high = run.get("mean", run)[metric][k - 1], "", ""
            if "sd" in run:
                low, high = (round(value + sign * run["sd"][metric][k - 1], 4) for sign in (-1, 1))
            row |= {metric: value, f"{metric}_low": low, f"{metric}_high": high}
        rows.append(row)
    return rows


def _difference(xr_linear: dict[str, Any], overlap: dict[str, Any]) -> list[dict[str, Any]]:
    """The same of the overlap's difference to XR-Linear; of a single seed with its interval."""
    differences = overlap.get("differences", ())
    found: dict[str, Any] = next((one for one in differences if one["to"] == "XR-Linear"), {})
    rows = []
    for k in range(1, MAX_K + 1):
        row: dict[str, Any] = {"method": "difference", "k": k}
        for metric in _CURVES:
            column = f"{metric[0].upper()}@{k}"
            value, low, high = _gain(xr_linear, overlap, column), "", ""
            if one := found.get(column):
                sd = one.get("sd")
                low, high = one["low"], one["high"]
                if sd is not None:
                    low, high = round(value - sd, 4), round(value + sd, 4)
            row |= {metric: value, f"{metric}_low": low, f"{metric}_high": high}
        rows.append(row)
    return rows


def _named(name: str, ending: str) -> str:
    return f"{name}-{ending}" if ending else name


def draw_sweep(folder: Path, dataset: str, runs: list[dict[str, Any]], ending: str = "") -> Path:
    """What overlapping gains against bin size, a line for each level.

    Parameters
    ----------
    folder : Path
        Gets `sweep.{png,svg,pdf,csv}`.
    dataset : str
    runs : list of dict
    ending : str
        As for `draw_figure_2`.

    Returns
    -------
    Path
        The PNG file.
    """
    rows = [_gains(*pair) for pair in zip(runs[::2], runs[1::2], strict=True)]
    metrics = ("P@1", "P@5", "R@10")
    figure, panels = new_figure(len(metrics), 10, 3.6)
    figure.suptitle(f"{dataset}: what overlapping gains on binned labels", parse_math=False)
    sizes = sorted({row["bin_size"] for row in rows})
    for panel, metric in zip(panels, metrics, strict=True):
        for i, level in enumerate(sorted({row["level_from_leaf"] for row in rows})):
            line = sorted(
                (row for row in rows if row["level_from_leaf"] == level), key=lambda r: r["bin_size"]
            )
            color, marker, dashes = _style(i)
            x, y = [row["bin_size"] for row in line], [row[metric] for row in line]
            panel.plot(x, y, color=color, marker=marker, ls=dashes, label=f"level {level}")
        panel.axhline(0, color=_GREY, lw=0.8)
        panel.set(
            xlabel="bin size (labels per bin)", ylabel=f"gain in {metric} (percentage points)", xticks=sizes
        )
    figure.legend(*panels[0].get_legend_handles_labels(), title="above the leaves", loc="outside right upper")
    name = _named("sweep", ending)
    _save(figure, folder, name, rows)
    return folder / f"{name}.png"


def _gains(xr_linear: dict[str, Any], overlap: dict[str, Any]) -> dict[str, Any]:
    where = {name: xr_linear[name] for name in ("level_from_leaf", "bin_size")}
    where["n_bins"] = xr_linear.get("mean", xr_linear)["n_bins"]
    columns = [f"{letter}@{k}" for letter in "PR" for k in (1, 3, 5, 10)]
    return where | {column: _gain(xr_linear, overlap, column) for column in columns}


def _gain(xr_linear: dict[str, Any], overlap: dict[str, Any], column: str) -> float:
    before, after = (figure_of(run, column) or 0.0 for run in (xr_linear, overlap))
    return round(after - before, 4)


def draw_frontier(folder: Path, dataset: str, runs: list[dict[str, Any]]) -> None:
    """Quality against cost, a point for each setting that was run.

    Parameters
    ----------
    folder : Path
        Gets `frontier.{png,svg,pdf,csv}`.
    dataset : str
    runs : list of dict
        Of the report, and what earlier calls left.
    """
    metrics = (("P@1", "precision", 1), ("P@5", "precision", 5), ("R@10", "recall", 10))
    rows = [
        {"setting": setting_name(run), "candidates_per_instance": run["candidates_per_instance"]}
        | {name: run[metric][k - 1] for name, metric, k in metrics}
        for run in runs
    ]
    # Drawing takes seconds, which a run that finds everything done should not.
    if _is_drawn(folder / "frontier", rows):
        return
    names = [setting_name(run) for run in runs]
    figure, panels = new_figure(len(metrics), 11, 3.8 + 0.2 * -(-len(runs) // _KEY_COLUMNS))
    figure.suptitle(f"{dataset}: quality against candidates per instance", parse_math=False)
    for panel, (metric_name, metric, k) in zip(panels, metrics, strict=True):
        for number, (name, run) in enumerate(zip(names, runs, strict=True), start=1):
            place = (run["candidates_per_instance"], run[metric][k - 1])
            color, marker = _MARKS.get(name, (_GREY, "o"))
            panel.plot(*place, color=color, marker=marker, ls="", ms=12)
            inside = {"color": "white", "ha": "center", "va": "center", "fontsize": 8, "weight": "bold"}
            panel.annotate(f"{number}", place, **inside)
        panel.set(xlabel="candidates per instance (labels ranked)", ylabel=f"{metric_name} (%)")
        panel.margins(0.15)
    # A key, because names would lie over one another where points crowd.
    numbers = range(1, len(names) + 1)
    key = [panels[0].plot([], [], marker=f"${i}$", color="black", ls="", ms=7)[0] for i in numbers]
    _legend_below(figure, key, names)
    _save(figure, folder, "frontier", rows)


def draw_reliability(folder: Path, dataset: str, runs: list[dict[str, Any]]) -> list[Path]:
    """How often predicted labels are right, by their scores and by their probabilities.

    Parameters
    ----------
    folder : Path
        Gets `reliability.{png,svg,pdf,csv}`.
    dataset : str
    runs : list of dict
        Of the report, all with a calibration; without any there is no figure.

    Returns
    -------
    list of Path
        The PNG file.
    """
    rows = [
        {"method": setting_name(run), "of": name, "k": int(k)} | own
        for run in runs
        for name, of_k in run["calibration"]["reliability"].items()
        for k, bins in of_k.items()
        for own in bins
    ]
    if not rows:
        return []
    drawn = [folder / "reliability.png"]
    if _is_drawn(folder / "reliability", rows):
        return drawn
    names = list(dict.fromkeys(setting_name(run) for run in runs))
    panels_of = list(dict.fromkeys((row["k"], row["of"]) for row in sorted(rows, key=lambda row: row["k"])))
    figure, panels = new_figure(len(panels_of), 13, 3.8 + 0.2 * -(-len(names) // _KEY_COLUMNS))
    figure.suptitle(f"{dataset}: how often predicted labels are right", parse_math=False)
    for panel, (k, of) in zip(panels, panels_of, strict=True):
        panel.plot([0, 1], [0, 1], color="black", lw=0.8)
        for i, name in enumerate(names):
            own = [row for row in rows if (row["method"], row["k"], row["of"]) == (name, k, of)]
            color, marker, dashes = _style(i)
            means, right = ([row[column] for row in own] for column in ("mean", "right"))
            panel.plot(means, right, color=color, marker=marker, ls=dashes, ms=4, label=name)
        panel.set_title("the first label" if k == 1 else f"the first {k} labels", fontsize=10)
        panel.set(xlabel=f"mean of {of} in a bin", ylabel="share that is right", xlim=(0, 1), ylim=(0, 1))
    _legend_below(figure, *panels[0].get_legend_handles_labels())
    _save(figure, folder, "reliability", rows)
    return drawn


def draw_differences(
    folder: Path, dataset: str, components: str, rows: list[dict[str, Any]], summary: dict[str, Any]
) -> None:
    """Histogram over labels: how much smaller the variation of information is than a random split's.

    Parameters
    ----------
    folder : Path
        Gets `differences-COMPONENTS.{png,svg,pdf}`; the numbers are in the table of labels.
    dataset, components : str
    rows : list of dict
        A row per label.
    summary : dict
        As `separation.summarise` makes it.
    """
    figure, (panel, strict) = new_figure(2, 9, 3.6)
    figure.suptitle(
        f"{dataset}, {components} components: VI of random splits minus VI of the copies", parse_math=False
    )
    baselines = (
        (panel, "random_even_odds", "even odds", summary),
        (strict, "random_same_sizes", "same sizes", summary["same_sizes"]),
    )
    for axes, name, words, numbers in baselines:
        differences = [round(row[name] - row["vi"], 9) for row in rows]
        # Of "auto", where quartiles are nearly one, numpy 1 makes more bins than there is memory for.
        axes.hist(differences, bins=_BINS, color=_BLUE, edgecolor="white", lw=0.3)
        axes.axvline(0, color="black", lw=1)
        mean = numbers["mean_difference"]
        axes.axvline(mean, color=_ORANGE, ls="--", label=f"mean {mean:.3f}")
        better = numbers["fraction_better_than_random"]
        axes.set_title(f"random split with {words}: {better:.1%} better", fontsize=10)
        axes.set(xlabel="difference (nats); right of 0 is better", ylabel="labels")
        axes.legend()
    save_figure(figure, folder, f"differences-{components}")
