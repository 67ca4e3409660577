"""Which results are current, and the commands that make those that are not.

    PYTHONPATH=src .venv/bin/python benchmarks/reproduce.py --list          # current, stale or missing
    PYTHONPATH=src .venv/bin/python benchmarks/reproduce.py --run [NAME ...]    # those that are not current
    PYTHONPATH=src .venv/bin/python benchmarks/reproduce.py --check         # figures against the expected
        [--data-dir FOLDER] [--models FOLDER]

A result records under "made" its command, versions, machine and seconds, and digests of the code and of the
data that it depends on: it is stale once one of them is another, or if it was made before there were digests.
Datasets are looked for in the folder given, then among those that the project has; what is not there is
skipped with a sentence. --check ends with status 1 after a line for each figure that differs by more than its
tolerance. Each call writes the index in benchmarks/README.md anew.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from claims import FIGURES, HERE, Claim, claims, code_digest

from disentangle.data import datasets
from disentangle.jobs.tables import setting_name
from disentangle.runtime import provenance
from disentangle.storage.atomic import write_json

ROOT = HERE.parent
RESULTS = HERE / "results"
INDEX = HERE / "README.md"
EMBEDDED = ROOT / "dataset" / "xmc-base"


def path_of(claim: Claim) -> Path:
    """The file of a result."""
    return RESULTS / f"{claim.name}.json"


def read(claim: Claim) -> dict[str, Any] | None:
    """What there is of a result."""
    path = path_of(claim)
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def folder_of(dataset: str, data_dir: Path) -> Path | None:
    """The folder that holds a dataset, or None."""
    return next((one for one in (data_dir, EMBEDDED) if (one / dataset / "Y.trn.npz").exists()), None)


def data_digest(dataset: str, data_dir: Path) -> dict[str, str] | None:
    """Sha256 of each of a dataset's matrices; None where it is not there."""
    folder = folder_of(dataset, data_dir)
    return None if folder is None else datasets.digest(folder / dataset)


def state(claim: Claim, data_dir: Path) -> str:
    """ "current", "missing", or "stale" with the reason."""
    if (found := read(claim)) is None:
        return "missing"
    if (made := found.get("made")) is None:
        return f"stale: of version {version_of(found)}, without digests"
    if made["code"] != code_digest(claim.code, claim.files):
        return "stale: other code"
    data = data_digest(claim.dataset, data_dir)
    if data is None:
        return "current, but for its data, which are not here"
    return "current" if made["data"] == data else "stale: other data"


def version_of(found: dict[str, Any]) -> str:
    """The version that made a result."""
    return found["versions"]["disentangle"]


def digests(claim: Claim, data_dir: Path) -> dict[str, Any]:
    """Of all that a result depends on."""
    return {
        "code": code_digest(claim.code, claim.files),
        "data": data_digest(claim.dataset, data_dir),
    }


def run(claim: Claim, data_dir: Path, models: Path) -> str | None:
    """Make a result; a sentence if it could not be made."""
    folder = folder_of(claim.dataset, data_dir)
    if folder is None:
        return f"skipped {claim.name}: no dataset {claim.dataset} in {data_dir}"
    # A comparison goes on from what is there.
    place = models / "results" / claim.name
    place.mkdir(parents=True, exist_ok=True)
    places = {"data": folder, "models": models, "out": place / "out.json"}
    places["embeddings"] = data_dir.parent / "embeddings"
    command = [part.format(**places) for part in shlex.split(claim.command)]
    made_of, start = digests(claim, data_dir), time.perf_counter()
    status = subprocess.run([sys.executable, *command], cwd=ROOT, stdout=2, check=False).returncode
    seconds = round(time.perf_counter() - start, 1)
    if status:
        return f"failed {claim.name}: its command ended with status {status}"
    if digests(claim, data_dir) != made_of:
        return f"failed {claim.name}: its code or its data have changed while its command ran"
    found = json.loads(Path(claim.report.format(**places)).read_text(encoding="utf-8"))
    for figure in place.glob("*.svg"):
        (RESULTS / figure.name).write_bytes(figure.read_bytes())
    made = {
        "command": f"python {spoken(claim)}",
        "seconds": seconds,
        "versions": provenance.versions(),
        "machine": provenance.machine(),
        **made_of,
    }
    write_json(path_of(claim), {"made": made} | asked(found))
    return None


def asked(found: dict[str, Any]) -> dict[str, Any]:
    """A report without the runs of earlier calls, which the job has added."""
    return found | {"runs": found["runs"][: found["n_asked"]]} if "n_asked" in found else found


def spoken(claim: Claim) -> str:
    """A command as a reader may copy it."""
    return claim.command.format(
        data="DATA_DIR",
        models="MODEL_DIR",
        embeddings="EMBEDDINGS",
        out=f"benchmarks/results/{claim.name}.json",
    )


def figures(found: dict[str, Any]) -> dict[str, dict[str, float]]:
    """The figures of a result that claims are checked by, by method."""
    if "mean_vi" in found:
        differences = (found["mean_difference"], found["same_sizes"]["mean_difference"])
        return {
            "copies": dict(
                zip(("VI", "even odds", "same sizes"), (found["mean_vi"], *differences), strict=True)
            )
        }
    if any("repeat" in run for run in found.get("runs", ())):  # a comparison
        return _by_name(found["runs"], "method", statistics.median)
    if "rows" in found and "AUC" in found["rows"][0]:
        names = ("AUC", "P@100", "P@500")
        return {
            f"{r['score']} {r['preset']}".strip(): {name: r[name] for name in names} for r in found["rows"]
        }
    if "rows" in found and "setting" in found["rows"][0]:
        return _by_name(found["rows"], "setting", np.mean)
    if found.get("job") in ("base", "binned"):
        return {
            setting_name(run).replace("XR-Linear", "xr-linear"): dict(
                zip(FIGURES, (run["precision"][0], run["precision"][4], run["recall"][9]), strict=True)
            )
            for run in found["runs"]
        }
    return {}


def _by_name(rows: list[dict[str, Any]], key: str, mean: Any) -> dict[str, dict[str, float]]:
    names = dict.fromkeys(row[key] for row in rows)
    return {n: {f: float(mean([row[f] for row in rows if row[key] == n])) for f in FIGURES} for n in names}


def differences(claim: Claim) -> Iterator[str]:
    """A line for each figure of a result that is not as expected."""
    if (found := read(claim)) is None:
        if claim.expected:
            yield f"{claim.name}: no result, expected figures of {', '.join(claim.expected)}"
        return
    have = figures(found)
    for method, values in claim.expected.items():
        if method not in have:
            yield f"{claim.name}: no figures of {method}"
            continue
        for (figure, value), expected in zip(have[method].items(), values, strict=True):
            if not abs(value - expected) <= claim.tolerance + 0.005:  # rounded to two digits
                yield (
                    f"{claim.name}: {method} {figure} must be {expected:g} within {claim.tolerance:g}, "
                    f"got {value:.2f}"
                )


def index() -> str:
    """The table of all results, as Markdown."""
    lines = ["| result | claim | command | made by | seconds |", "|---|---|---|---|---:|"]
    for claim in claims():
        found = read(claim)
        name, version, seconds = claim.name, "", ""
        if found is not None:
            name = f"[{claim.name}](results/{claim.name}.json)"
            version = version_of(found)
            seconds = f"{found['made']['seconds']:,.0f}" if "made" in found else ""
        lines.append(f"| {name} | {claim.words} | `python {spoken(claim)}` | {version} | {seconds} |")
    return "\n".join(lines)


def indexed(text: str) -> str:
    """The text of the index's page with its table as it is now."""
    begin, end = "<!-- index -->", "<!-- end -->"
    before, after = text.split(begin)[0], text.split(end)[-1]
    return f"{before}{begin}\n\n{index()}\n\n{end}{after}"


def main() -> None:
    """Do what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--list", action="store_true")
    what.add_argument("--run", nargs="*", metavar="NAME")
    what.add_argument("--check", action="store_true")
    parser.add_argument("--data-dir", type=Path, default=EMBEDDED)
    parser.add_argument("--models", type=Path, default=ROOT / "build" / "benchmarks")
    args = parser.parse_args()
    known = {claim.name: claim for claim in claims()}
    if unknown := [name for name in args.run or () if name not in known]:
        parser.exit(2, f"error: --run takes names that --list has, got {unknown[0]!r}\n")
    said: list[str] = []
    if args.list:
        for claim in known.values():
            print(f"{claim.name:32} {state(claim, args.data_dir)}")
    elif args.check:
        said = [line for claim in known.values() for line in differences(claim)]
    else:
        for name in args.run or known:
            if not state(known[name], args.data_dir).startswith("current"):
                reason = run(known[name], args.data_dir.resolve(), args.models.resolve())
                said += [reason] if reason else []
    INDEX.write_text(indexed(INDEX.read_text(encoding="utf-8")), encoding="utf-8")
    for line in said:
        print(line)
    sys.exit(any(not line.startswith("skipped") for line in said))


if __name__ == "__main__":
    main()
