"""What each part of a preset is worth: the preset without it, on validation parts.

    PYTHONPATH=src .venv/bin/python benchmarks/leave_one_out.py DATASET [--seeds 0,1,2] [--data-dir FOLDER]
        [--models FOLDER] [--presets tuned,lean] [--out FILE.json]

sets each part in which a preset differs from the paper's rule to the paper's value, alone, and has the job
`sweep` compare it with the whole preset on a fifth of the training instances. Each seed draws another fifth.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from presets import FIGURES, RESULTS, arguments, columns, disentangle

from disentangle.jobs.tables import training_seconds
from disentangle.params import PredictParams, TreeParams
from disentangle.presets import DEFAULT_PRESET, PRESETS
from disentangle.runtime import provenance
from disentangle.storage.atomic import write_json

_NO_LIMIT = 1_000_000
# What the paper's rule does where it has no value of its own: as XR-Linear, or no limit at all.
WITHOUT = {
    "cost": _NO_LIMIT,
    "leaf_size": _NO_LIMIT,
    "overlap_splits": TreeParams.nr_splits,
    "terms": _NO_LIMIT,
    "predict_beam": PredictParams.beam_size,
}
Row = dict[str, Any]


def parts(preset: str) -> dict[str, Any]:
    """The parts in which a preset differs from the paper's rule, with the value that takes each out."""
    paper, own = PRESETS[DEFAULT_PRESET].parts(), PRESETS[preset].parts()
    differing = (name for name in own if own[name] != paper[name])
    return {name: WITHOUT[name] if paper[name] is None else paper[name] for name in differing}


def measure(dataset: str, seed: int, preset: str, models: Path, data_dir: Path) -> list[Row]:
    """A row for the whole preset, whose part is None, and for each part taken out."""
    where = ("--data-dir", str(data_dir), "--model-dir", str(models), "--seed", str(seed))
    rows = []
    taken_out: list[tuple[str | None, Any]] = [(None, None), *parts(preset).items()]
    for part, value in taken_out:
        grid = () if part is None else ("--grid", f"{part}={value}")
        disentangle("sweep", dataset, *where, "--preset", preset, *grid)
        path = models / dataset / "sweep" / f"seed-{seed}" / "report.json"
        # The runs of this call come first, XR-Linear before the others.
        run = json.loads(path.read_text(encoding="utf-8"))["runs"][1]
        found = columns(run)
        rows.append(
            {"preset": preset, "part": part, "value": value, "seed": seed, "variant": run["variant"]}
            | {name: found[name] for name in (*FIGURES, "candidates")}
            | {"training_seconds": round(training_seconds(run), 3)}
        )
    return rows


def effects(rows: list[Row], preset: str) -> dict[str, dict[str, float]]:
    """How a preset changes without each part, over seeds.

    Returns
    -------
    dict of dict
        By part: "mean" and "sd" of the change of the mean of `FIGURES` in percentage points, and
        "candidates" and "seconds", ratios of means.
    """
    own = [row for row in rows if row["preset"] == preset]
    whole = {row["seed"]: row for row in own if row["part"] is None}
    found = {}
    for part in dict.fromkeys(row["part"] for row in own if row["part"] is not None):
        without = [row for row in own if row["part"] == part]
        pairs = [(row, whole[row["seed"]]) for row in without]
        changes = [float(np.mean([a[name] - b[name] for name in FIGURES])) for a, b in pairs]
        ratios = (
            sum(a[name] for a, _ in pairs) / sum(b[name] for _, b in pairs)
            for name in ("candidates", "training_seconds")
        )
        spread = float(np.std(changes, ddof=1)) if len(changes) > 1 else 0.0
        found[part] = {"mean": float(np.mean(changes)), "sd": spread} | dict(
            zip(("candidates", "seconds"), ratios, strict=True)
        )
    return found


def print_table(results: dict[str, list[Row]]) -> None:
    """For each preset a row per part: on each dataset the change and the seconds' ratio, as Markdown.

    The last column is the median of the candidates' ratios.
    """
    for preset in dict.fromkeys(row["preset"] for rows in results.values() for row in rows):
        of_dataset = {name: effects(rows, preset) for name, rows in results.items()}
        print(f"\n`{preset}` without each part\n")
        print("| part | value | " + " | ".join(of_dataset) + " | candidates |")
        print("|---|---|" + "---:|" * (len(of_dataset) + 1))
        for part, value in parts(preset).items():
            own = [found.get(part) for found in of_dataset.values()]
            candidates = [one["candidates"] for one in own if one is not None]
            last = f"x {np.median(candidates):.2f}" if candidates else ""
            said = "none" if value == _NO_LIMIT else str(value)
            print("| " + " | ".join([part, said, *map(_cell, own), last]) + " |")


def _cell(effect: dict[str, float] | None) -> str:
    if effect is None:
        return ""
    spread = f" ± {effect['sd']:.2f}" if effect["sd"] else ""
    return f"{effect['mean']:+.2f}{spread}, x {effect['seconds']:.2f}"


def main() -> None:
    """Measure what the arguments ask for."""
    parser = arguments(__doc__)
    parser.add_argument("--presets", type=lambda text: text.split(","), default=["tuned", "lean"])
    args = parser.parse_args()
    rows: list[Row] = []
    for seed in args.seeds:
        for preset in args.presets:
            rows += measure(args.dataset, seed, preset, args.models, args.data_dir)
    made = {"versions": provenance.versions(), "machine": provenance.machine()}
    write_json(args.out or RESULTS / f"leave-one-out-{args.dataset}.json", made | {"rows": rows})
    print_table({args.dataset: rows})


if __name__ == "__main__":
    main()
