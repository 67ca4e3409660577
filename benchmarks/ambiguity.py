"""Which labels are ambiguous: the score against simple ones, on a dataset that knows its labels' components.

    PYTHONPATH=src .venv/bin/python benchmarks/ambiguity.py DATASET [--data-dir FOLDER] [--models FOLDER]
        [--out FILE.json]

ranks the labels with at least 10 training instances. Ambiguous are those of which two components have at
least 3. Of the test it says how many labels have a p-value of at most 0.05, of one component and of several.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import scipy.sparse as sp
from presets import RESULTS, arguments
from sklearn.cluster import KMeans
from sklearn.metrics import roc_auc_score

from disentangle.data import components
from disentangle.evaluate.ambiguity import ambiguity
from disentangle.jobs import steps
from disentangle.jobs.job import Job
from disentangle.jobs.settings import Settings, variant_of
from disentangle.model.saved_model import load_overlap
from disentangle.presets import PRESETS
from disentangle.runtime import provenance
from disentangle.storage.atomic import write_json

MIN_INSTANCES, MIN_OF_COMPONENT, LEVEL = 10, 3, 0.05
MOST = 100  # instances of a label, for 2-means
Row = dict[str, Any]


def dispersion(X: sp.csr_matrix, Y: sp.csc_matrix) -> np.ndarray:
    """1 minus the squared length of the mean of a label's instances, which have length 1."""
    mean = sp.diags(1 / np.maximum(np.diff(Y.indptr), 1)) @ Y.T @ X
    return 1 - np.asarray(mean.multiply(mean).sum(axis=1)).ravel()


def two_means(X: sp.csr_matrix, Y: sp.csc_matrix, labels: np.ndarray) -> np.ndarray:
    """How much of the squared distances to the mean of a label's instances two means take away."""
    gains = np.zeros(Y.shape[1])
    rng = np.random.default_rng(0)
    for label in labels:
        rows = rng.permutation(Y.indices[Y.indptr[label] : Y.indptr[label + 1]])[:MOST]
        Z = X[rows]
        Z = Z[:, np.unique(Z.indices)].toarray()
        whole = ((Z - Z.mean(axis=0)) ** 2).sum()
        found = KMeans(2, n_init=1, max_iter=20, random_state=0).fit(Z)
        gains[label] = 1 - found.inertia_ / max(whole, 1e-9)
    return gains


def row(preset: str, name: str, score: np.ndarray, truth: np.ndarray) -> Row:
    """How well a score of labels ranks the ambiguous ones first."""
    order = np.argsort(-score, kind="stable")
    auc = {"AUC": round(100 * float(roc_auc_score(truth, score)), 2)}
    figures = {f"P@{k}": round(float(100 * truth[order[:k]].mean()), 2) for k in (100, 500)}
    return {"preset": preset, "score": name} | auc | figures


def measure(args: Any) -> tuple[list[Row], list[Row]]:
    """A row for each preset and score; a row for each preset's test."""
    variants = tuple(variant_of(name, {}) for name in PRESETS)
    job = Job(args.dataset, args.data_dir, args.models, args.models / "binned", Settings(1, variants))
    plan = job.base()
    X, Y = plan.dataset.X_trn, plan.dataset.Y_trn.tocsc()
    parts, n = components.load_components(args.data_dir / args.dataset, *Y.shape), np.diff(Y.indptr)
    of_component = np.bincount(parts.Y_trn.indices, minlength=len(parts.of_label))
    n_large = np.bincount(parts.of_label[of_component >= MIN_OF_COMPONENT], minlength=len(n))
    n_all = np.bincount(parts.of_label[of_component > 0], minlength=len(n))
    kept = np.flatnonzero(n >= MIN_INSTANCES)
    truth = n_large[kept] >= 2
    simple = {"frequency": n, "2-means": two_means(X, Y, kept), "dispersion": dispersion(X, Y)}
    rows = [row("", name, score[kept], truth) for name, score in simple.items()]
    tests = []
    for one in plan.overlaps:
        one.matching.ensure()
        overlap, M = load_overlap(one.model.saved()), steps.load_matching(one.matching.saved(), plan.dataset)
        start = time.perf_counter()
        found, seconds = ambiguity(Y, overlap, M), round(time.perf_counter() - start, 2)
        told = np.bincount(overlap.original, found.n_preferring)[overlap.original]
        share = found.n_preferring / told.clip(1)
        scores = {
            "copies": np.bincount(overlap.original),
            "entropy over copies": np.bincount(overlap.original, -share * np.log(share.clip(1e-12))),
            "separation": np.nan_to_num(found.separation),
            "score": found.score,
        }
        rows += [row(one.variant.name, name, score[kept], truth) for name, score in scores.items()]
        p, test = found.p_value[kept], Row(preset=one.variant.name)
        for name, which in (("one component", n_all[kept] == 1), ("several", truth)):
            test[name] = round(100 * float((p[which & np.isfinite(p)] <= LEVEL).mean()), 2)
        tests.append(test | {"significant": int(found.is_significant.sum()), "seconds": seconds})
    return rows, tests


def print_table(dataset: str, result: Row) -> None:
    """Scores, then tests, as Markdown."""
    titles = {"rows": f"{dataset}: scores", "tests": "p-values of at most 0.05, % of labels"}
    for name, title in titles.items():
        rows = result[name]
        print(f"\n{title}\n\n| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]))
        for own in rows:
            print("| " + " | ".join(str(value) for value in own.values()) + " |")


def main() -> None:
    """Measure what the arguments ask for."""
    args = arguments(__doc__).parse_args()
    result: Row = dict(zip(("rows", "tests"), measure(args), strict=True))
    result |= {"versions": provenance.versions(), "machine": provenance.machine()}
    write_json(args.out or RESULTS / f"ambiguity-{args.dataset}.json", result)
    print_table(args.dataset, result)


if __name__ == "__main__":
    main()
