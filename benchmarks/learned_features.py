"""XR-Linear and the presets on each of a dataset's feature sets, over several seeds.

    PYTHONPATH=src .venv/bin/python benchmarks/learned_features.py DATASET [--seeds 0,1,2] [--data-dir FOLDER]
        [--embeddings FILE.npz] [--models FOLDER] [--out FILE.json]

runs the base job for every feature set that lies in the dataset's folder and every seed. The embeddings are
two more sets, where the file has them: `fta` and `ftb` of a fine-tuned encoder, `fza` and `fzb` of the frozen
one, training and test instances, int8 rows that `ftsa` and so on scale. Each set is these beside tf-idf.
Where the file has no frozen ones, `encode DATASET --encoder all-MiniLM-L6-v2 --name frozen` makes them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from presets import FIGURES, RESULTS, arguments, columns, disentangle, runs_in

from disentangle.data.datasets import PARTS, feature_sets
from disentangle.data.features import DENSE, SPARSE, Block, FeatureSet, beside
from disentangle.jobs.tables import training_seconds
from disentangle.params import FEATURES
from disentangle.presets import PRESETS
from disentangle.runtime import provenance
from disentangle.storage import matrices
from disentangle.storage.atomic import write_json

SECONDS = "training, s"
COLUMNS = (*FIGURES, "candidates", SECONDS)
_KEYS = {"frozen": "fz", "fine-tuned": "ft"}
Row = dict[str, Any]


def with_embeddings(folder: Path, embeddings: Path, out: Path) -> None:
    """A dataset's folder made of links to the files of another, and the feature sets of a file beside."""
    out.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if not (out / path.name).exists():
            (out / path.name).symlink_to(path.resolve())
    stored = np.load(embeddings)
    for name, key in _KEYS.items():
        if f"{key}a" not in stored or (out / name / "features.json").exists():
            continue
        (out / name).mkdir(exist_ok=True)
        for part, end in zip(PARTS, "ab", strict=True):
            terms_of_part = out / name / f"tf-idf.{part}.npz"
            terms_of_part.unlink(missing_ok=True)  # of one who was killed before all was there
            terms_of_part.symlink_to((folder / FEATURES / f"X.{part}.npz").resolve())
            rows = stored[f"{key}{end}"].astype(np.float32) * stored[f"{key}s{end}"].reshape(-1, 1)
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            np.save(out / name / f"embedding.{part}.npy", rows.astype(np.float16))
        n_terms = matrices.read_shape(folder / FEATURES / "X.trn.npz")[1]
        terms = Block("tf-idf", SPARSE, n_terms, True, {})
        embedding = Block("embedding", DENSE, rows.shape[1], True, {})
        FeatureSet(out / name, (terms, embedding), True).save()


def measure(dataset: str, features: str, seed: int, models: Path, data_dir: Path) -> list[Row]:
    """Run one seed: a row for XR-Linear and for each preset."""
    where = ("--data-dir", str(data_dir), "--model-dir", str(models / f"seed-{seed}"), "--seed", str(seed))
    disentangle("base", dataset, *where, "--preset", ",".join(PRESETS), "--features", features)
    folder = models / f"seed-{seed}" / dataset / beside("base", features)
    rows = []
    for run in runs_in(folder, seed):
        known = columns(run) | {SECONDS: training_seconds(run)}
        method, name = run["variant"] or "XR-Linear", "tf-idf" if features == FEATURES else features
        said = {"features": name, "method": method, "setting": f"{method} on {name}", "seed": seed}
        rows.append(said | {column: known[column] for column in COLUMNS})
    return rows


def print_table(dataset: str, rows: list[Row]) -> None:
    """A row for each feature set and setting, as Markdown: means and standard deviations over seeds."""
    print(f"\n{dataset}\n\n| features | method | " + " | ".join(COLUMNS) + " |")
    print("|---|---|" + "---:|" * len(COLUMNS))
    for setting in dict.fromkeys(row["setting"] for row in rows):
        own = [row for row in rows if row["setting"] == setting]
        cells = (own[0]["features"], own[0]["method"], *(_cell(own, column) for column in COLUMNS))
        print("| " + " | ".join(cells) + " |")


def _cell(rows: list[Row], column: str) -> str:
    values, digits = [row[column] for row in rows], {"candidates": 0, SECONDS: 1}.get(column, 2)
    spread = f" ± {np.std(values, ddof=1):,.{digits}f}" if len(values) > 1 and digits == 2 else ""
    return f"{np.mean(values):,.{digits}f}{spread}"


def main() -> None:
    """Measure what the arguments ask for."""
    parser = arguments(__doc__)
    parser.add_argument("--embeddings", type=Path)
    args = parser.parse_args()
    data_dir = args.data_dir
    if args.embeddings is not None:
        data_dir = args.models / "data"
        with_embeddings(args.data_dir / args.dataset, args.embeddings, data_dir / args.dataset)
    known = feature_sets(data_dir / args.dataset)
    rows = [
        row
        for features in sorted(known, key=lambda name: (name != FEATURES, "tuned" in name, name))
        for seed in args.seeds
        for row in measure(args.dataset, features, seed, args.models, data_dir)
    ]
    made = {"versions": provenance.versions(), "machine": provenance.machine()}
    write_json(args.out or RESULTS / f"learned-features-{args.dataset}.json", made | {"rows": rows})
    print_table(args.dataset, rows)


if __name__ == "__main__":
    main()
