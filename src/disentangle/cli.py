"""The command line: arguments to one call. Heavy imports wait inside the handlers, so that help is quick."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from .errors import DisentangleError
from .params import DEFAULT_DATASET, PRESETS, PredictParams, TreeParams


def main() -> None:
    """Run one command; exit status 2 for what the user can fix, 128 + the signal's number when stopped."""
    signal.signal(signal.SIGTERM, _stop)
    args = _parser().parse_args()
    try:
        args.handler(args)
        sys.stdout.flush()
    except DisentangleError as error:
        _leave(f"error: {error}", 2)
    except MemoryError:
        _leave("error: out of memory; run again on a larger machine, finished stages are kept", 2)
    except BrokenPipeError:
        # Whoever read the table has seen enough; the results are on disk.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt as stopped:
        number = signal.SIGTERM if stopped.args else signal.SIGINT
        _leave("stopped; finished stages are kept, the same command continues", 128 + number)


def _stop(number: int, frame: object) -> NoReturn:
    """Treat a scheduler's SIGTERM like Ctrl-C, so that nothing half-written stays."""
    raise KeyboardInterrupt(number)


def _leave(sentence: str, status: int) -> NoReturn:
    print(sentence, file=sys.stderr, flush=True)
    # A PECOS call may still run in its thread: an ordinary exit could wait for it or crash.
    os._exit(status)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m disentangle",
        description="Label disentanglement in extreme multi-label classification.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    base = commands.add_parser(
        "base",
        help="XR-Linear beside overlapped XR-Linear on one dataset",
        description="Train and evaluate XR-Linear, put labels into several clusters, retrain, evaluate. "
        "Finished stages are reused while data, parameters, code and versions match.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    _add_job_arguments(base)
    base.set_defaults(handler=_base)
    _add_build_wordnet(commands)
    return parser


def _add_job_arguments(parser: argparse.ArgumentParser) -> None:
    tree, predict = TreeParams(), PredictParams()
    parser.add_argument(
        "dataset", nargs="?", default=DEFAULT_DATASET, help="name of a folder in the data folder"
    )
    parser.add_argument(
        "--data-dir",
        type=Path,
        default=os.environ.get("XMC_DATA", "dataset/xmc-base"),
        help="folder of the datasets (environment: XMC_DATA)",
    )
    parser.add_argument(
        "--model-dir",
        type=Path,
        default=os.environ.get("XMC_MODEL", "model"),
        help="folder of the results (environment: XMC_MODEL)",
    )
    parser.add_argument(
        "--preset", choices=sorted(PRESETS), default="paper", help="how labels are duplicated"
    )
    parser.add_argument(
        "--n-copies",
        type=int,
        default=argparse.SUPPRESS,
        help="most clusters per label, the first included (default: the preset's)",
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=argparse.SUPPRESS,
        help="rounds of match, assign, retrain (default: the preset's)",
    )
    parser.add_argument(
        "--beam-size", type=int, default=predict.beam_size, help="clusters kept per level and instance"
    )
    parser.add_argument(
        "--top-k", type=int, default=predict.top_k, help="labels, copies counted, that a model returns"
    )
    parser.add_argument(
        "--nr-splits", type=int, default=tree.nr_splits, help="children per inner node of the tree"
    )
    parser.add_argument(
        "--max-leaf-size",
        type=int,
        default=tree.max_leaf_size,
        help="most labels per cluster of the first tree",
    )
    parser.add_argument("--seed", type=int, default=tree.seed, help="seed of the clustering")
    parser.add_argument(
        "--threads", type=int, default=len(os.sched_getaffinity(0)), help="threads; no effect on results"
    )
    parser.add_argument("--force", action="store_true", help="redo stages that are done")


def _limit_threads(threads: int) -> None:
    """Tell BLAS and numba, which read it when they are imported; PECOS is told call by call."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = str(threads)
    # On a machine shared with other work, threads that spin while they wait hold each other up.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def _base(args: argparse.Namespace) -> None:
    _limit_threads(args.threads)
    from . import pipeline, progress, report

    changes = {name: value for name, value in vars(args).items() if name in ("n_copies", "rounds")}
    settings = pipeline.Settings(
        threads=args.threads,
        preset=args.preset,
        tree=TreeParams(args.nr_splits, args.max_leaf_size, args.seed),
        predict=PredictParams(args.beam_size, args.top_k),
        overlap=replace(PRESETS[args.preset], **changes),
        force=args.force,
    )
    progress.set_up_logging()
    # A trailing slash is what a shell's completion leaves behind a folder's name.
    dataset = args.dataset.rstrip("/")
    report.print_base(pipeline.run_base(dataset, args.data_dir, args.model_dir, settings))


def _add_build_wordnet(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "build-wordnet",
        help="rebuild the embedded dataset from WordNet's files",
        description="Rebuild the dataset wordnet-hypernyms, byte for byte, from the files of WordNet 3.0.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--wordnet", type=Path, required=True, help="folder of data.noun and data.verb")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(os.environ.get("XMC_DATA", "dataset/xmc-base")) / DEFAULT_DATASET,
        help="folder to write",
    )
    parser.set_defaults(handler=_build_wordnet)


def _build_wordnet(args: argparse.Namespace) -> None:
    from . import progress
    from .wordnet import build_wordnet

    progress.set_up_logging()
    with progress.stage("build-wordnet"):
        counts = build_wordnet(args.wordnet, args.out)
    for name, count in counts.items():
        print(f"{name}: {count}")
