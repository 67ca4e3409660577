"""Differences are of runs on the same test instances."""

import json
from pathlib import Path

import numpy as np
import pytest

from disentangle.errors import DisentangleError
from disentangle.evaluate.outcomes import Outcomes
from disentangle.jobs.differences import Comparison
from disentangle.storage import files
from disentangle.storage.saved import sealed


def evaluation(folder: Path, n: int, k: int = 10, n_true: int = 1) -> dict[str, str]:
    folder.mkdir()
    Outcomes(np.zeros((n, k), bool), np.full(n, n_true, np.int32)).save(folder)
    record = {"key": "", "inputs": {}, "results": {}, "seconds": {}, "peak_rss_mib": 0, "threads": 1}
    digests = {"outcomes.npz": files.sha256(folder / "outcomes.npz")}
    record = sealed(record | {"machine": {}, "files": digests})
    (folder / "stage.json").write_text(json.dumps(record))
    return {"evaluation": folder.name}


@pytest.mark.parametrize("other", [{"n": 1}, {"n": 4}, {"n": 5, "k": 4}, {"n": 5, "n_true": 2}])
def test_runs_on_other_instances_are_refused(tmp_path: Path, other: dict[str, int]):
    one, same = (evaluation(tmp_path / name, 5) for name in ("one", "same"))
    comparison = Comparison(tmp_path)
    assert comparison.between([one], [same])["P@1"]["difference"] == 0
    with pytest.raises(DisentangleError, match=r"other must be of the same test instances as .*one, found"):
        comparison.between([one], [evaluation(tmp_path / "other", **other)])
