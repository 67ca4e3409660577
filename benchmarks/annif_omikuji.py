"""`tuned` against Annif's Omikuji with Finto AI's settings, on the same texts; Annif itself evaluates both.

    PYTHONPATH=src python benchmarks/annif_omikuji.py wordnet-hypernyms --annif ANNIF/bin/annif \
        --data-dir DATA_DIR --folder FOLDER --out FILE.json

Annif is installed in an environment of its own, as `annif[omikuji]`. Its analyzer needs NLTK's `punkt_tab`,
which it downloads, or finds by the variable NLTK_DATA. Trainings take turns. The seconds and the memory are
those of whole commands: of `annif train`, and of `data import` and `base`, which evaluates as well.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import scipy.sparse as sp
from serve_annif import annif
from serving import SOURCE, serving

from disentangle.data import components, datasets
from disentangle.runtime import provenance
from disentangle.storage.atomic import write_json

OURS, THEIRS = "tuned", "annif-omikuji"
FIGURES = ("F1@5", "NDCG", "NDCG@5", "Precision@1", "Precision@5")
# As Finto AI has them for yso-bonsai-en, but for the vocabulary.
_SETTINGS = {
    "analyzer": "simple",
    "cluster_balanced": "False",
    "cluster_k": "100",
    "max_depth": "3",
    "min_df": "5",
    "ngram": "2",
    "limit": "1000",
    "transform": "limit(5000)",
}
_COMMON = {"language": "en", "vocab": "labels"}
_TEXTS = ("--format", "annif", "--vocabulary", "labels.tsv", "--text-settings", "finto-ai")


def prepare(folder: Path, dataset: Path) -> None:
    """Write both parts of a dataset with texts as Annif's corpora, and its labels as a vocabulary."""
    names = components.label_names(dataset, datasets.load_part("Y_trn", dataset).shape[1])
    uris = [f"<urn:x-label:{i}>" for i in range(len(names))]
    lines = [f"{uri}\t{name}\n" for uri, name in zip(uris, names, strict=True)]
    (folder / "labels.tsv").write_text("".join(lines), encoding="utf-8")
    for part in datasets.PARTS:
        Y: sp.csr_matrix = datasets.load_part(f"Y_{part}", dataset)
        texts = (dataset / f"X.{part}.txt").read_text(encoding="utf-8").split("\n")[: Y.shape[0]]
        rows = [
            f"{' '.join(text.split())}\t{' '.join(uris[i] for i in row.indices)}\n"
            for text, row in zip(texts, Y, strict=True)
        ]
        (folder / f"{part}.tsv").write_text("".join(rows), encoding="utf-8")


def configure(folder: Path, endpoint: str = "http://127.0.0.1/") -> None:
    """Write Annif's two projects: Omikuji's, and that which asks a server."""
    projects = {
        THEIRS: _COMMON | {"name": "Omikuji Bonsai", "backend": "omikuji"} | _SETTINGS,
        OURS: _COMMON | {"name": "Ours", "backend": "http", "endpoint": endpoint, "limit": "10"},
    }
    text = "".join(
        f"[{name}]\n" + "".join(f"{key}={value}\n" for key, value in said.items()) + "\n"
        for name, said in projects.items()
    )
    (folder / "projects.cfg").write_text(text)


def measured(folder: Path, *commands: list[str]) -> dict[str, float]:
    """Seconds, those of the processor and the most memory that commands take, one after the other."""
    env, cost = (
        os.environ | {"PYTHONPATH": str(SOURCE)},
        {"seconds": 0.0, "cpu_seconds": 0.0, "peak_mib": 0.0},
    )
    for command in commands:
        start = time.perf_counter()
        with (folder / "log.txt").open("a") as log:
            process = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log)
            _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"{' '.join(command)}: {(folder / 'log.txt').read_text()[-2000:]}")
        cost["seconds"] += time.perf_counter() - start
        cost["cpu_seconds"] += usage.ru_utime + usage.ru_stime
        cost["peak_mib"] = max(cost["peak_mib"], usage.ru_maxrss / 1024)
    return {name: round(value, 1) for name, value in cost.items()}


def train(folder: Path, command: Path, repeats: int) -> list[dict[str, Any]]:
    """Train both, by turns and from the texts each time."""
    ours = [sys.executable, "-m", "disentangle"]
    imported = [*ours, "data", "import", "texts", *_TEXTS, "--trn", "trn.tsv", "--tst", "tst.tsv"]
    based = [*ours, "base", "texts", "--preset", OURS, "--without-xr-linear"]
    found = []
    for repeat in range(repeats):
        for place in ("dataset", "model", "data/projects"):
            shutil.rmtree(folder / place, ignore_errors=True)
        for name, commands in {
            OURS: ([*imported, "--data-dir", "dataset"], [*based, "--data-dir", "dataset"]),
            THEIRS: ([str(command), "train", THEIRS, "trn.tsv"],),
        }.items():
            found.append({"method": name, "repeat": repeat} | measured(folder, *commands))
            print(found[-1], file=sys.stderr)
    return found


def evaluate(folder: Path, command: Path) -> dict[str, dict[str, float]]:
    """What Annif's `eval` finds of both on the test part."""
    bundle = [sys.executable, "-m", "disentangle", "bundle", "texts", "--data-dir", "dataset"]
    measured(folder, [*bundle, "--preset", OURS, "--out", "bundle", "--force"])
    found = {}
    with serving(folder / "bundle", "--language", "en") as server:
        configure(folder, f"{server.url}/v1/projects/bundle/suggest")
        for name in (OURS, THEIRS):
            annif(command, folder, "eval", name, "tst.tsv", "--metrics-file", f"{name}.json")
            found[name] = json.loads((folder / f"{name}.json").read_text())
    return found


def print_table(results: dict[str, dict[str, Any]]) -> None:
    """A row for each method on each dataset: figures in percent, medians of costs with their ranges."""
    header = ("dataset", "method", *FIGURES, "train s", "processor s", "peak MiB")
    print(f"| {' | '.join(header)} |\n|---|---|" + "---:|" * (len(header) - 2))
    for dataset, result in results.items():
        for name, figures in result["figures"].items():
            own = [run for run in result["runs"] if run["method"] == name]
            values = [[run[cost] for run in own] for cost in ("seconds", "cpu_seconds", "peak_mib")]
            costs = [f"{median(one):,.0f} ({min(one):,.0f}-{max(one):,.0f})" for one in values]
            cells = (dataset, name, *(f"{100 * figures[figure]:.2f}" for figure in FIGURES), *costs)
            print(f"| {' | '.join(cells)} |")


def main() -> None:
    """Compare on one dataset, and leave the result in a file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("dataset", help="one with texts and names of labels")
    add("--annif", type=Path, required=True, help="the command, in its environment")
    add("--data-dir", type=Path, required=True)
    add(
        "--folder",
        type=Path,
        required=True,
        help="for all that is made; what is there of an earlier call goes",
    )
    add("--out", type=Path, required=True)
    add("--repeats", type=int, default=3)
    args = parser.parse_args()
    folder = args.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    prepare(folder, args.data_dir / args.dataset)
    configure(folder)
    annif(args.annif, folder, "load-vocab", "labels", "labels.tsv", "--language", "en", "--force")
    runs = train(folder, args.annif, args.repeats)
    result = {
        "dataset": args.dataset,
        "settings": _SETTINGS,
        "versions": provenance.versions() | {"annif": annif(args.annif, folder, "--version").strip()},
        "machine": provenance.machine(),
        "runs": runs,
        "figures": evaluate(folder, args.annif),
    }
    write_json(args.out, result)
    print_table({args.dataset: result})


if __name__ == "__main__":
    main()
