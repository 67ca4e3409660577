"""What the stages of a base run cost, and how much faster than plainly made those without training are.

    PYTHONPATH=src .venv/bin/python benchmarks/stage_costs.py DATASET ... [--repeats 5] [--base-runs 5]
        [--threads N] [--data-dir FOLDER] [--models MODEL_DIR] [--out FILE.json]

runs the base job of each dataset from nothing, in a process of its own, once for all datasets before the next
time; on a large dataset it takes minutes, so it may be run less often than the rest is repeated. With the
models that the last run left it times, alternately and in one process, what the plain recipe
(benchmarks/plain.py) and what this project take for

- the overlap step: from the trained model to the label matrix for the second training;
- the evaluation: from the retrained model to P@k, R@k and candidates per instance on test data;
- XR-Linear's training on its tree: PECOS's call for all of it, and this project's, in groups of clusters.

Both ways load the model, have the data in memory and their kernels compiled, and must come to equal results.
With --models no base job is run: MODEL_DIR has the models that one left. All of it goes to
benchmarks/results/stage-costs-DATASET.json, and a table to standard output, as Markdown.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from disentangle.data import datasets
from disentangle.errors import DisentangleError
from disentangle.limits import at_least
from disentangle.params import MAX_K, PredictParams
from disentangle.presets import DEFAULT_PRESET, PRESETS
from disentangle.runtime import provenance
from disentangle.runtime.threads import limit_threads
from disentangle.storage import atomic
from disentangle.storage.saved import Saved

if TYPE_CHECKING:
    import scipy.sparse as sp
    from pecos.xmc.xlinear import XLinearModel
    from plain import Evaluation

    from disentangle.overlap.copies import Overlap

# What predicts is imported when the number of threads has been set, which numba and OpenMP read only once.

RESULTS = Path(__file__).with_name("results")
TRAININGS = ("train", "retrain")
TREE = "label-tree"
OF_MODELS = ("xr-linear", f"{DEFAULT_PRESET}/overlap")
# Both ways go through so many instances before the clock starts: compiled, and the model's files in memory.
WARM_UP = 64
T = TypeVar("T")


def run_base(dataset: str, data_dir: Path, model_dir: Path, threads: int) -> dict[str, Any]:
    """Seconds of a whole base run and of its stages, and the share of all that is neither training."""
    shutil.rmtree(model_dir / dataset, ignore_errors=True)
    command = [sys.executable, "-m", "disentangle", "base", dataset, "--preset", DEFAULT_PRESET]
    command += ["--data-dir", str(data_dir), "--model-dir", str(model_dir), "--threads", str(threads)]
    start = time.perf_counter()
    if status := subprocess.run(command, stdout=sys.stderr, check=False).returncode:
        sys.exit(status)
    wall = time.perf_counter() - start
    report = json.loads((model_dir / dataset / "base" / "report.json").read_text(encoding="utf-8"))
    first, overlapped = (run["seconds"] for run in report["runs"])
    of_stages = overlapped | {f"first {name}": first[name] for name in ("predict", "evaluate")}
    # The overlap needs a part of it only, but the run trains XR-Linear whole.
    of_stages["train"] = first["train"]
    trainings = sum(of_stages[name] for name in TRAININGS)
    return {
        "wall_seconds": wall,
        "stage_seconds": of_stages,
        "seconds_outside_stages": wall - sum(of_stages.values()),
        "share_besides_trainings": 1 - trainings / wall,
    }


def overlap_fast(
    folder: Path, X: sp.csr_matrix, Y: sp.csr_matrix, threads: int
) -> tuple[Overlap, sp.csc_matrix]:
    """The package's overlap step, as its stages match, assign and retrain do it."""
    from disentangle.model import beam_search, saved_model
    from disentangle.overlap import assign, copies

    params = PRESETS[DEFAULT_PRESET]

    Y = Y.tocsc()
    M = beam_search.match(saved_model.load_matcher(Saved(folder)), X, PredictParams().beam_size, threads)
    own = saved_model.load_overlap(Saved(folder)).clusters
    assigned = assign.assign(Y, M, own, params.assignment, threads)
    return assigned, copies.expand_labels(Y, assigned, M)


def overlap_plain(
    folder: Path, X: sp.csr_matrix, Y: sp.csr_matrix, threads: int
) -> tuple[Overlap, sp.csc_matrix]:
    """The plain recipe's overlap step."""
    import plain

    return plain.overlap_step(
        folder, X, Y, PRESETS[DEFAULT_PRESET].assignment.n_copies, PredictParams().beam_size, threads
    )


def evaluate_fast(folder: Path, X: sp.csr_matrix, Y: sp.csr_matrix, threads: int) -> Evaluation:
    """The package's evaluation, as its stage does it."""
    import numpy as np
    from plain import Evaluation

    from disentangle.evaluate import metrics
    from disentangle.model.predictor import Predictor, Voice

    merge = PRESETS[DEFAULT_PRESET].scoring.merge
    predictor = Predictor((Voice(Saved(folder), PredictParams()),), merge)
    candidates = predictor.candidates(X, threads)
    ranked = np.vstack([labels for labels, _ in predictor.best(X, MAX_K, threads)])
    return Evaluation(ranked, metrics.precision(Y, ranked), metrics.recall(Y, ranked), candidates.mean())


def evaluate_plain(folder: Path, X: sp.csr_matrix, Y: sp.csr_matrix, threads: int) -> Evaluation:
    """The plain recipe's evaluation."""
    import plain

    return plain.evaluate(folder, X, Y, MAX_K, PredictParams().beam_size, threads)


def train_fast(tree_folder: Path, X: sp.csr_matrix, Y: sp.csr_matrix, threads: int) -> XLinearModel:
    """The package's training of XR-Linear, as its two stages do it."""
    from disentangle.model import train_levels, tree

    chain, Y, params = tree.load_chain(Saved(tree_folder)), Y.tocsc(), PredictParams()
    matcher = train_levels.train_matcher(X, Y, chain, params, threads)
    return train_levels.train_ranker(X, Y, chain, matcher, params, threads)


def train_plain(tree_folder: Path, X: sp.csr_matrix, Y: sp.csr_matrix, threads: int) -> XLinearModel:
    """PECOS's training of XR-Linear at once."""
    import plain

    from disentangle.model import tree

    return plain.train(tree.load_chain(Saved(tree_folder)), X, Y, threads)


def same_model(one: XLinearModel, other: XLinearModel) -> bool:
    """Whether two models have the same weights, to the last bit."""
    levels = (model.model.model_chain for model in (one, other))
    return all((a.W != b.W).nnz == 0 for a, b in zip(*levels, strict=True))


def same_overlap(one: tuple[Overlap, sp.csc_matrix], other: tuple[Overlap, sp.csc_matrix]) -> bool:
    """Whether two overlap steps came to the same copies and the same label matrix."""
    import numpy as np

    (a, Y_a), (b, Y_b) = one, other
    same_copies = np.array_equal(a.clusters, b.clusters) and np.array_equal(a.original, b.original)
    return same_copies and Y_a.shape == Y_b.shape and (Y_a != Y_b).nnz == 0


def same_evaluation(a: Evaluation, b: Evaluation) -> bool:
    """Whether two evaluations rank alike and have, but for the last bits of a mean, the same figures."""
    import numpy as np

    figures_a, figures_b = ([*one.precision, *one.recall, one.candidates] for one in (a, b))
    return np.array_equal(a.ranked, b.ranked) and np.allclose(figures_a, figures_b, rtol=1e-9, atol=0)


def alternate(
    what: str,
    plain: Callable[[], T],
    package: Callable[[], T],
    same: Callable[[T, T], bool],
    repeats: int,
) -> dict[str, Any]:
    """Seconds of both ways of doing the same, alternately; exits if their results differ."""
    ways = {"plain": plain, "package": package}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        found = {}
        for name, way in ways.items():
            start = time.perf_counter()
            found[name] = way()
            seconds[name].append(time.perf_counter() - start)
        if not same(found["plain"], found["package"]):
            sys.exit(f"{what}: the plain recipe and the package come to different results")
    ratios = [a / b for a, b in zip(seconds["plain"], seconds["package"], strict=True)]
    return {
        "seconds": seconds,
        "times_faster": ratios,
        "times_faster_median": statistics.median(ratios),
        "times_faster_range": [min(ratios), max(ratios)],
    }


def compare(dataset: datasets.Dataset, base: Path, threads: int, repeats: int) -> dict[str, Any]:
    """All comparisons with the models of a base job."""
    first, overlapped = (base / name for name in OF_MODELS)
    X_trn, Y_trn, X_tst, Y_tst = dataset.X_trn, dataset.Y_trn, dataset.X_tst, dataset.Y_tst

    def overlap_step(n: int | None, repeats: int) -> dict[str, Any]:
        given = (first, X_trn[:n], Y_trn[:n], threads)
        ways = (lambda: overlap_plain(*given), lambda: overlap_fast(*given))
        return alternate(f"overlap step of {dataset.name}", *ways, same_overlap, repeats)

    def evaluation(n: int | None, repeats: int) -> dict[str, Any]:
        given = (overlapped, X_tst[:n], Y_tst[:n], threads)
        ways = (lambda: evaluate_plain(*given), lambda: evaluate_fast(*given))
        return alternate(f"evaluation of {dataset.name}", *ways, same_evaluation, repeats)

    def training() -> dict[str, Any]:
        given = (base / TREE, X_trn, Y_trn, threads)
        ways = (lambda: train_plain(*given), lambda: train_fast(*given))
        return alternate(f"training of {dataset.name}", *ways, same_model, repeats)

    for part in (overlap_step, evaluation):
        part(WARM_UP, 1)
    return {
        "overlap_step": overlap_step(None, repeats),
        "evaluation": evaluation(None, repeats),
        "training": training(),
    }


def _faster(compared: dict[str, Any]) -> list[str]:
    """Cells of a comparison: median seconds of both ways, and how many times faster the package is."""
    low, high = compared["times_faster_range"]
    medians = (statistics.median(compared["seconds"][name]) for name in ("plain", "package"))
    return [
        *(f"{value:.2f}" for value in medians),
        f"{compared['times_faster_median']:.1f} ({low:.1f} to {high:.1f})",
    ]


def _whole(runs: list[dict[str, Any]]) -> list[str]:
    """Cells of the base runs: how many, and medians, which are empty if there were none."""
    if not runs:
        return ["0", *[""] * 3]
    trainings = (sum(run["stage_seconds"][name] for name in TRAININGS) for run in runs)
    seconds = (statistics.median(values) for values in ((run["wall_seconds"] for run in runs), trainings))
    share = statistics.median(run["share_besides_trainings"] for run in runs)
    return [str(len(runs)), *(f"{value:,.1f}" for value in seconds), f"{share:.0%}"]


def print_table(results: list[dict[str, Any]]) -> None:
    """A row per dataset, as Markdown: medians over repeats, in brackets the range."""
    header = ["dataset", "base runs", "a base run, s", "both trainings, s", "share besides them"]
    for part in ("overlap step", "evaluation", "training XR-Linear"):
        header += [f"{part}: plain, s", "here, s", "times faster"]
    header += ["processor", "threads"]
    print("\n| " + " | ".join(header) + " |\n|---|" + "---:|" * (len(header) - 1))
    for result in results:
        names = ("overlap_step", "evaluation", "training")
        parts = (cell for name in names for cell in _faster(result[name]))
        where = (result["machine"]["processor"], str(result["threads"]))
        print("| " + " | ".join([result["dataset"], *_whole(result["base_runs"]), *parts, *where]) + " |")


def check(args: argparse.Namespace) -> None:
    """Raise DisentangleError for a number out of range, or a dataset or model that is not there."""
    if args.out and len(args.datasets) > 1:
        raise DisentangleError(f"--out is the file of one dataset, got {len(args.datasets)} datasets")
    at_least("repeats", args.repeats, 1)
    at_least("base runs", args.base_runs, 1)
    at_least("threads", args.threads, 1)
    for dataset in args.datasets:
        datasets.dataset_folder(args.data_dir, dataset)
        if args.models is not None:
            for name, file in ((TREE, "level-0.npz"), *((name, "param.json") for name in OF_MODELS)):
                folder = args.models / dataset / "base" / name
                if not (folder / file).is_file():
                    raise DisentangleError(f"{folder} must be a base job's, found no {file} there")


def measure(args: argparse.Namespace, models: Path) -> list[dict[str, Any]]:
    """Measure what the arguments ask for, write it, and return it."""
    runs: dict[str, list[dict[str, Any]]] = {dataset: [] for dataset in args.datasets}
    if args.models is None:
        for _ in range(args.base_runs):
            for dataset in args.datasets:
                runs[dataset].append(run_base(dataset, args.data_dir, models, args.threads))
    results = []
    for name in args.datasets:
        dataset = datasets.load_dataset(args.data_dir, name)
        note = {"note": "base runs were not timed: --models named finished models"} if args.models else {}
        result = {
            "dataset": name,
            "command": shlex.join(["python", *sys.argv]),
            "threads": args.threads,
            "machine": provenance.machine(),
            "versions": provenance.versions(),
            "base_runs": runs[name],
            **note,
            **compare(dataset, models / name / "base", args.threads, args.repeats),
        }
        RESULTS.mkdir(exist_ok=True)
        atomic.write_json(args.out or RESULTS / f"stage-costs-{name}.json", result)
        results.append(result)
    return results


def main() -> None:
    """Measure what the arguments ask for; status 2 and one sentence for what the user can fix."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("datasets", nargs="+", metavar="DATASET")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--base-runs", type=int, metavar="N", help="default: as many as --repeats")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--data-dir", type=Path, default=Path(os.environ.get("XMC_DATA", "dataset/xmc-base")))
    parser.add_argument("--models", type=Path, metavar="MODEL_DIR")
    parser.add_argument(
        "--out", type=Path, help="of one dataset; default: benchmarks/results/stage-costs-DATASET.json"
    )
    args = parser.parse_args()
    if args.base_runs is None:
        args.base_runs = args.repeats
    try:
        check(args)
        # As the package's command line does it, for both ways alike.
        limit_threads(args.threads)
        # Compiles the kernels where that has not been done, before any clock starts.
        for kernel in ("best_clusters", "matched_positives", "largest_features", "merge_and_rank"):
            importlib.import_module(f"disentangle.kernels.{kernel}")
        with tempfile.TemporaryDirectory() as temporary:
            print_table(measure(args, args.models or Path(temporary)))
    except DisentangleError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()
