"""Collect what `data info` estimates from: the committed reports of base runs, and the sizes of their data.

    PYTHONPATH=src python benchmarks/costs.py DATA_DIR [DATA_DIR ...]

reads benchmarks/results/base-*.json, looks each dataset up in the folders given, and writes
src/disentangle/costs.json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from disentangle.data import datasets
from disentangle.jobs import cost_estimate
from disentangle.storage import atomic

REPORTS = Path(__file__).with_name("results")


def main(data_dirs: list[Path]) -> None:
    reports = [json.loads(path.read_text()) for path in sorted(REPORTS.glob("base-*.json"))]
    runs = []
    for report in reports:
        name = report["dataset"]
        data_dir = next((folder for folder in data_dirs if (folder / name).is_dir()), data_dirs[0])
        dataset = datasets.load_dataset(data_dir, name)
        runs.append(cost_estimate.run_of(report, cost_estimate.size_of(dataset.X_trn, dataset.Y_trn)))
    collected = {"machine": reports[0]["machine"], "versions": reports[0]["versions"], "runs": runs}
    atomic.write_json(cost_estimate.MEASURED, collected)
    for run in runs:
        guess = cost_estimate.estimate(cost_estimate.Size(**run["size"]), run["threads"], {}, Path("nowhere"))
        print(
            f"{run['dataset']}: {run['seconds']:.0f} s, estimated {guess.seconds:.0f} s; "
            f"{run['peak_rss_mib']} MiB, estimated {guess.mebibytes:.0f} MiB"
        )
    print(f"off by a factor of at most {guess.seconds_factor:.2f} and {guess.mebibytes_factor:.2f}")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main([Path(arg) for arg in sys.argv[1:]])
