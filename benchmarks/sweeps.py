"""The sweeps over settings, on validation instances, that the presets were chosen by.

    PYTHONPATH=src .venv/bin/python benchmarks/sweeps.py MODEL_DIR NAME DATASET ... [--data-dir FOLDER]

runs the sweep of that name (a key of SWEEPS) on each dataset and copies its report to
benchmarks/results/reports/sweep-NAME-DATASET.json. What is finished in MODEL_DIR is not run again.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from ablation import RESULTS, disentangle

# What all but the paper's have in common.
COMMON = "--gain scores --positives frequent --merge noisy-or --first-beam 3 --grid first_weight=0,0.2 "
TOLERANCES = COMMON + "--n-copies 3 --leaf-size 50 --split nested --predict-beam 20 "
LEAVES = COMMON + "--eps 0.3 --n-copies 3 --grid split=flat,nested --grid negatives=0,0.3,0.6 "
NESTED = COMMON + "--eps 0.3 --leaf-size 50 --split nested --grid n_copies=2,3 "
# As it was before there was `threshold`, before that `max_df`, `overlap_splits`, `features`.
FEW = "--threshold 0.1 "
COMMON_TOO = FEW + "--max-df 1 "
WIDE = COMMON_TOO + "--overlap-splits 32 "
ALL = WIDE + "--first-features 100000 --features 100000 "
SWEEPS = {
    "paper": "--preset paper",
    "leaf-50": LEAVES + "--leaf-size 50 --predict-beam 20",
    "leaf-100": LEAVES + "--leaf-size 100 --predict-beam 10",
    "copies": NESTED + "--predict-beam 20 --grid negatives=0.3,0.6",
    "matcher-eps": TOLERANCES + "--eps 0.3 --grid matcher_eps=0.3,1,3 --grid negatives=0,0.3,0.6",
    "eps": TOLERANCES + "--matcher-eps 1 --grid eps=0.3,1 --grid negatives=0,0.3",
    "leaf-size": TOLERANCES + "--eps 0.3 --matcher-eps 1 --negatives 0.6 --grid leaf_size=50,70,100",
    "hinge": ALL + "--preset tuned --spared 0 --eps 0.3 --first-eps 0.1 --grid hinge=3,4",
    "lean": NESTED + "--predict-beam 16 --grid negatives=0,0.1,0.15",
    # As `lean` was then.
    "lean-hinge": ALL + "--preset lean --n-copies 3 --eps 1 --first-eps 0.1 "
    "--grid negatives=0,0.2 --grid hinge=3,4",
    # `tuned` had --spared 0 --eps 0.3 then.
    "first-eps": ALL + "--preset tuned,lean --grid first_eps=0.1,1,3,10",
    "lean-copies": ALL + "--preset lean --grid n_copies=2,3 --grid negatives=0.2,0.3 --grid eps=0.5,1",
    "tuned-copies": ALL + "--preset tuned --spared 0 --eps 0.3 --grid n_copies=2,3",
    "spared": ALL + "--preset tuned --grid spared=0,3,5,10",
    # 1000 is all of them, or nearly.
    "features": WIDE + "--preset tuned,lean --grid features=50,100,200,1000",
    "first-features": WIDE + "--preset lean --features 100 --grid first_features=16,32,64,1000",
    "overlap-splits": COMMON_TOO + "--preset lean --grid overlap_splits=4,8,16,32",
    "max-df": FEW + "--preset tuned,lean --grid max_df=0.2,0.3,0.5,1",
    "threshold": "--preset tuned,lean --grid threshold=0.02,0.05,0.1",
}


def main() -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("models", type=Path, metavar="MODEL_DIR")
    parser.add_argument("name", choices=SWEEPS)
    parser.add_argument("datasets", nargs="+", metavar="DATASET")
    parser.add_argument("--data-dir", type=Path, default=Path("dataset/xmc-base"))
    args = parser.parse_args()
    for dataset in args.datasets:
        where = ("--data-dir", str(args.data_dir), "--model-dir", str(args.models))
        disentangle("sweep", dataset, *where, *SWEEPS[args.name].split())
        report = args.models / dataset / "sweep" / "seed-0" / "report.json"
        shutil.copyfile(report, RESULTS / "reports" / f"sweep-{args.name}-{dataset}.json")


if __name__ == "__main__":
    main()
