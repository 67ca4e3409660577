"""What `data info` estimates from is what was measured last."""

from __future__ import annotations

import json

import costs

from disentangle.jobs import cost_estimate


def test_data_info_estimates_from_the_committed_results():
    found = json.loads(cost_estimate.MEASURED.read_text(encoding="utf-8"))
    assert found == costs.collected(), "run benchmarks/costs.py"
