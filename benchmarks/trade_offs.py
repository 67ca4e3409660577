"""What a second training costs and what it gains, as a figure made of the results of presets.py.

    PYTHONPATH=src .venv/bin/python benchmarks/trade_offs.py

writes benchmarks/results/trade-offs.{png,svg,pdf}: a panel for each dataset that has all presets, by the
newest version that any has. Points are
numbered, and the numbers explained beside the panels, so that no label lies over another.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from presets import RESULTS, SECONDS
from tables import of_one_version, results

from disentangle.jobs.figures import draw_point, new_figure, number_key, save_figure
from disentangle.presets import PRESETS

# Which gains are drawn, and how.
GAINS = {"P@5": ("#0072B2", "o"), "R@10": ("#D55E00", "s")}


def trade_off(rows: list[dict[str, Any]], setting: str) -> dict[str, float]:
    """How much longer than XR-Linear's only training a setting's second one is, and its gains over it.

    Gains are means over the setting's seeds. Seconds are the least of any seed, because other work on the
    machine only ever adds to them.

    Parameters
    ----------
    rows : list of dict
        Of `presets.measure`, one dataset's.
    setting : str

    Returns
    -------
    dict
        "seconds", a ratio, and a gain in percentage points for each name in `GAINS`.
    """
    first = {row["seed"]: row for row in rows if row["setting"] == "XR-Linear"}
    own = [row for row in rows if row["setting"] == setting]
    gains = {name: float(np.mean([row[name] - first[row["seed"]][name] for row in own])) for name in GAINS}
    least = min(row[SECONDS] for row in own) / min(row[SECONDS] for row in first.values())
    return {"seconds": least} | gains


def draw(panel: Any, title: str, points: dict[str, dict[str, float]]) -> None:
    """One dataset's panel: a marker for each gain and setting, with the setting's number in it."""
    for gain, (color, marker) in GAINS.items():
        for number, point in enumerate(points.values(), start=1):
            place = (point["seconds"], point[gain])
            draw_point(panel, number, place, color, marker)
    panel.axhline(0, color="#666666", lw=0.8)
    panel.axvline(1, color="#666666", ls=":", lw=1)
    panel.set(xscale="log", xlabel="times XR-Linear's training", title=title)
    ticks = (0.5, 1, 2, 4, 8)
    panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    panel.set_xlim(0.5, 8)
    panel.minorticks_off()
    panel.margins(y=0.15)


def main() -> None:
    """Draw all datasets."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter).parse_args()
    shown, _ = of_one_version(results("presets"))
    found = {
        dataset: {name: trade_off(result["rows"], name) for name in PRESETS}
        for dataset, result in shown.items()
        if set(PRESETS) <= {row["setting"] for row in result["rows"]}
    }
    figure, panels = new_figure(len(found), 2 + 3.2 * len(found), 3.8)
    figure.suptitle("gain over XR-Linear against the seconds of the second training (test data)")
    for panel, (dataset, points) in zip(panels, found.items(), strict=True):
        draw(panel, dataset, points)
    panels[0].set_ylabel("gain (percentage points)")
    key = [panels[0].plot([], [], color=c, marker=m, ls="", ms=9)[0] for c, m in GAINS.values()]
    key += number_key(panels[0], len(PRESETS))
    figure.legend(key, [*GAINS, *PRESETS], loc="outside right center")
    save_figure(figure, RESULTS, "trade-offs")


if __name__ == "__main__":
    main()
