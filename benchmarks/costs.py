"""Collect what `data info` estimates from: the committed reports of base runs.

    PYTHONPATH=src .venv/bin/python benchmarks/costs.py

reads benchmarks/results/base-*.json, writes src/disentangle/jobs/costs.json, and prints by how much the
estimates of the same runs are off.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from disentangle.jobs import cost_estimate
from disentangle.storage import atomic

REPORTS = Path(__file__).with_name("results")


def collected() -> dict[str, Any]:
    """What `data info` estimates from."""
    reports = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(REPORTS.glob("base-*.json"))]
    runs = [cost_estimate.run_of(one, cost_estimate.Size(**one["sizes"]["costs"])) for one in reports]
    return {"versions": reports[0]["versions"], "runs": runs}


def main() -> None:
    """Collect, write and print."""
    found = collected()
    atomic.write_json(cost_estimate.MEASURED, found)
    for run in found["runs"]:
        guess = cost_estimate.estimate(cost_estimate.Size(**run["size"]), run["threads"], {}, Path("nowhere"))
        print(
            f"{run['dataset']}: {run['seconds']:.0f} s, estimated {guess.seconds:.0f} s; "
            f"{run['peak_rss_mib']} MiB, estimated {guess.mebibytes:.0f} MiB"
        )
    print(f"off by a factor of at most {guess.seconds_factor:.2f} and {guess.mebibytes_factor:.2f}")


if __name__ == "__main__":
    main()
