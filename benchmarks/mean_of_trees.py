"""How the scores of several trees are put together: power means, on a part of the training data held out.

    PYTHONPATH=src .venv/bin/python benchmarks/mean_of_trees.py DATASET [--seeds 0,1,2] [--data-dir FOLDER]
        [--models FOLDER] [--out FILE.json]

trains three trees of `tuned` on four fifths of the training data, drawn anew for every seed, and writes a row
for each exponent: means over seeds.
"""

from __future__ import annotations

from statistics import fmean
from typing import Any

import numpy as np
from presets import FIGURES, RESULTS, arguments

from disentangle.evaluate import metrics
from disentangle.jobs.calibrate import validation_trees
from disentangle.jobs.job import Job
from disentangle.jobs.plan import Plan
from disentangle.jobs.settings import Settings, variant_of
from disentangle.model.predictor import Predictor, Voice
from disentangle.params import MAX_K, TreeParams
from disentangle.runtime import provenance
from disentangle.runtime.threads import allowed
from disentangle.storage.atomic import write_json

PRESET, N_TREES, ROOTS = "tuned", 3, range(4)
Row = dict[str, Any]


def row(plan: Plan, voices: tuple[Voice, ...], merge: str, roots: int) -> Row:
    """The figures of a power mean on the part held out."""
    found = Predictor(voices, merge, roots=roots).best(plan.dataset.X_tst, MAX_K, plan.settings.threads)
    Y_pred = np.vstack([labels for labels, _ in found])
    precision, recall = (of(plan.dataset.Y_tst, Y_pred) for of in (metrics.precision, metrics.recall))
    figures = (precision[0], precision[2], precision[4], recall[9])
    return dict(zip(FIGURES, map(float, figures), strict=True))


def measure(args: Any, seed: int) -> list[Row]:
    """A row for each exponent."""
    variant = variant_of(PRESET, {})
    settings = Settings(allowed(), (variant,), TreeParams(seed=seed), n_trees=N_TREES, xr_linear=False)
    job = Job(args.dataset, args.data_dir, args.models, args.models / "binned", settings)
    trees = validation_trees(job.folder("sweep"), job.source(), settings)
    models = [tree.overlaps[0].model for tree in trees]
    for model in models:
        model.ensure()
    predict = settings.prediction(variant)
    voices = tuple(Voice(model.saved(), predict) for model in models)
    return [row(trees[0], voices, variant.params.scoring.merge, roots) for roots in ROOTS]


def print_table(found: dict[str, dict[str, Any]]) -> None:
    """Figures of the ordinary mean, and what the others gain on it, as Markdown."""
    print("| dataset | exponent | " + " | ".join(FIGURES) + " |\n|---|---:|" + "---:|" * len(FIGURES))
    for dataset, result in found.items():
        first, *others = result["rows"]
        rows = [[f"{first[name]:.2f}" for name in FIGURES]]
        rows += [[f"{own[name] - first[name]:+.2f}" for name in FIGURES] for own in others]
        for own, cells in zip(result["rows"], rows, strict=True):
            print(f"| {dataset} | {own['exponent']:g} | " + " | ".join(cells) + " |")


def main() -> None:
    """Measure what the arguments ask for."""
    args = arguments(__doc__).parse_args()
    of_seeds = zip(*(measure(args, seed) for seed in args.seeds), strict=True)
    rows = [{name: fmean(one[name] for one in own) for name in FIGURES} for own in of_seeds]
    rows = [{"exponent": 2.0**-roots} | own for roots, own in zip(ROOTS, rows, strict=True)]
    result = {
        "seeds": args.seeds,
        "rows": rows,
        "versions": provenance.versions(),
        "machine": provenance.machine(),
    }
    write_json(args.out or RESULTS / f"mean-of-trees-{args.dataset}.json", result)
    print_table({args.dataset: result})


if __name__ == "__main__":
    main()
