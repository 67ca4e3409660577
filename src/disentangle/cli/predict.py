"""The command line of `predict`."""

from __future__ import annotations

import argparse

from ..errors import DisentangleError
from ..limits import Limits, at_least
from ..params import DEFAULT_DATASET, FEATURES, MAX_K
from ..presets import DEFAULT_PRESET
from ..runtime.threads import limit_threads
from .arguments import (
    add_cluster,
    add_dataset,
    add_features,
    add_max_memory,
    add_places,
    add_threads,
    integer,
    number,
    place,
    workers_of,
)


def add_predict(commands: argparse._SubParsersAction) -> None:
    """Add `predict` to the commands."""
    parser = commands.add_parser(
        "predict",
        help="labels for new instances, from a base job's model",
        description="Predict original labels with a model that a base job has left.",
    )
    parser.set_defaults(handler=_predict)
    add = parser.add_argument
    add_dataset(parser, "name of the base job's dataset")
    add("--bundle", type=place, metavar="FOLDER", help="a bundle instead of a base job's model")
    add(
        "--variant",
        default=argparse.SUPPRESS,
        help="which model: xr-linear, or a preset with what was changed of it; a wrong name lists them "
        f"(default: {DEFAULT_PRESET}, or the only one that overlaps)",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--input",
        type=place,
        metavar="FILE",
        help='features (.npz, .npy), texts, one a line (.txt), or objects with a "text" (.jsonl)',
    )
    source.add_argument("--text", action="append", help="a text itself; may be given several times")
    add(
        "--out",
        type=place,
        metavar="FILE",
        help="scores (.npz), objects (.jsonl) or tab-separated lines (.tsv), as they go to standard "
        "output: names with tabs or quotes are quoted as in CSV",
    )
    add(
        "--min-probability",
        type=number,
        metavar="P",
        help="leave out labels that are less probable; it takes a model that base --calibrate has "
        "calibrated, whose report has the value of the highest F1",
    )
    add("--k", type=integer, default=MAX_K, help="labels per instance")
    add_places(parser, "data_dir", "model_dir")
    add_features(parser)
    add_threads(parser)
    add_cluster(parser)
    add_max_memory(parser)


def _predict(args: argparse.Namespace) -> None:
    limit_threads(args.threads)
    at_least("--k", args.k, 1)
    if args.min_probability is not None:
        Limits(0.0, 1.0).check("--min-probability", args.min_probability)
    from ..data import datasets
    from ..data.features import beside
    from ..jobs import predict
    from ..runtime import progress
    from ..runtime.memory import Budget

    progress.set_up_logging()
    datasets.check_name(args.data_dir, args.dataset)
    base = args.model_dir / args.dataset / beside("base", args.features)
    if args.bundle is not None and (
        "variant" in args or (args.dataset, args.features) != (DEFAULT_DATASET, FEATURES)
    ):
        raise DisentangleError(
            "--bundle has one model: expected no DATASET, --variant or --features beside it"
        )
    predict.run_predict(
        base if args.bundle is None else args.bundle,
        getattr(args, "variant", None),
        args.text or args.input,
        args.data_dir / args.dataset if args.bundle is None else None,
        args.out,
        args.k,
        workers_of(args) or args.threads,
        Budget.of(args.max_memory),
        args.features,
        args.min_probability,
    )
