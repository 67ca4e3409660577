"""The presets: named settings of everything that makes one overlap variant."""

from __future__ import annotations

from .params import Assignment, Copies, Effort, Leaves, OverlapParams, Scoring

# The paper's.
DEFAULT_PRESET = "paper"
_SPLIT = OverlapParams(
    assignment=Assignment(gain="scores"),
    copies=Copies(positives="frequent", cost=1.0),
    leaves=Leaves(leaf_size=50),
    effort=Effort(terms=150, eps=0.5, threshold=0.05),
    scoring=Scoring(hinge=4, predict_beam=20, merge="noisy-or"),
)
PRESETS = {
    DEFAULT_PRESET: OverlapParams(),
    "tuned": _SPLIT.changed({"n_copies": 3, "negatives": 0.6}),
    "lean": _SPLIT.changed({"overlap_splits": 8, "negatives": 0.3}),
}
