"""What a second training costs and what it gains, as a figure made of the ablation's results.

    PYTHONPATH=src .venv/bin/python benchmarks/trade_offs.py

writes benchmarks/results/trade-offs.{png,svg}: a panel for each dataset of DATASETS, a point for each setting
of SHOWN that was run there.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np
from ablation import RESULTS

from disentangle.jobs.figures import new_figure, save_figure

DATASETS = ("wordnet-hypernyms", "eurlex-57k", "tibkat-all", "vullib")
SHOWN = ("paper", "lean", "tuned n_copies 2", "tuned")
SECONDS = "second training, s"
# Which gains are drawn, and how.
GAINS = {"P@5": ("#0072B2", "o"), "R@10": ("#D55E00", "s")}
# What `lean` is to be: of XR-Linear's seconds at most, of the paper preset's gain at least.
MOST_SECONDS, LEAST_GAIN = 1.3, 0.6


def trade_off(rows: list[dict[str, Any]], setting: str) -> dict[str, float]:
    """How much longer than XR-Linear's only training a setting's second one is, and its gains over it.

    Gains are means over the setting's seeds. Seconds are the least of any seed, because other work on the
    machine only ever adds to them.

    Parameters
    ----------
    rows : list of dict
        Of `ablation.measure`, one dataset's.
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


def main() -> None:
    """Draw all datasets."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter).parse_args()
    figure, panels = new_figure(len(DATASETS), 14, 3.8)
    figure.suptitle("gain over XR-Linear against the seconds of the second training (test data)")
    for panel, dataset in zip(panels, DATASETS, strict=True):
        path = RESULTS / f"ablation-{dataset}.json"
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
        found = {name: trade_off(rows, name) for name in SHOWN if any(row["setting"] == name for row in rows)}
        for gain, (color, marker) in GAINS.items():
            for setting, point in found.items():
                panel.plot([point["seconds"]], [point[gain]], color=color, marker=marker, ls="")
                panel.annotate(
                    setting,
                    (point["seconds"], point[gain]),
                    xytext=(4, 4),
                    textcoords="offset points",
                    fontsize=6,
                )
            panel.axhline(LEAST_GAIN * found["paper"][gain], color=color, ls="--", lw=0.8)
            panel.plot([], [], color=color, marker=marker, ls="", label=gain)
        panel.axvline(MOST_SECONDS, color="#666666", ls=":", lw=1)
        panel.set(xscale="log", xlabel="times XR-Linear's training", title=dataset)
        ticks = (0.5, 1, 2, 4, 8)
        panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        panel.minorticks_off()
        panel.margins(0.25, 0.15)
    panels[0].set_ylabel("gain (percentage points)")
    panels[0].legend()
    save_figure(figure, RESULTS, "trade-offs")


if __name__ == "__main__":
    main()
