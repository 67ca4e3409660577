"""The command line of `xr-transformer`."""

from __future__ import annotations

import argparse
from typing import Any

from ..limits import Limits
from ..runtime.threads import limit_threads
from ..xr_transformer.settings import XrSettings
from .arguments import READERS, add_declared, add_mirror, add_places, add_threads, dataset_name, place
from .encode import DEVICES
from .jobs import of_dataset

_CHANGED = ("max_length", "batch_size")


def add_xr_transformer(commands: argparse._SubParsersAction) -> None:
    """Add `xr-transformer` to the commands."""
    parser = commands.add_parser(
        "xr-transformer",
        help="PECOS's XR-Transformer on a dataset's texts, and its embeddings as a feature set",
        description="Train PECOS's XR-Transformer from an encoder, print the figures of its own prediction, "
        "and make a feature set of what it concatenates: the dataset's tf-idf, and the trained encoder's "
        "embeddings. Once base was run with --features, its rows stand beside. What is there stays.",
    )
    parser.set_defaults(handler=_xr_transformer)
    add = parser.add_argument
    add("dataset", type=dataset_name, help="name of a folder in the data folder that has texts")
    add("--encoder", required=True, type=place, metavar="FOLDER", help="of a Hugging Face encoder")
    add(
        "--settings",
        metavar="NAME",
        help="small, or a benchmark set's as published (default: the dataset's own, else small)",
    )
    words = "of each level, or one for all (default: the settings')"
    add("--steps", type=READERS[int], nargs="+", metavar="N", help=words)
    add_declared(parser, XrSettings, *_CHANGED, usual="the settings'")
    add("--name", type=dataset_name, default="xr-transformer", metavar="FEATURES", help="of the feature set")
    add("--seed", type=READERS[int], default=0, help="seed of all that is random")
    add("--device", choices=DEVICES, default="auto", help="where it runs; auto is a GPU if there is one")
    add("--force", action="store_true", help="make it anew")
    add_threads(parser)
    add_places(parser, "data_dir", "model_dir")
    add_mirror(parser)


def _xr_transformer(args: argparse.Namespace) -> None:
    limit_threads(args.threads)
    from ..xr_transformer import packages, settings

    # Before anything else: they may be missing.
    packages.require(args.threads)
    from ..jobs import printing, tables
    from ..jobs.xr_transformer import XrTransformerJob, run_xr_transformer
    from ..runtime import progress

    progress.set_up_logging()
    Limits(0, 2**31).check("--seed", args.seed)
    name, chosen = settings.of(args.settings, args.dataset)
    given: dict[str, Any] = {one: value for one, value in vars(args).items() if one in _CHANGED}
    if args.steps:
        given["steps"] = tuple(args.steps)
    job = XrTransformerJob(
        args.dataset,
        args.data_dir,
        args.model_dir,
        args.encoder,
        args.name,
        chosen.changed(given),
        name,
        args.seed,
        args.device,
        args.threads,
        args.force,
        args.mirror,
    )
    report = run_xr_transformer(job)
    printing.print_tables(tables.tables_of(report))
    places = ["--data-dir", str(args.data_dir), "--model-dir", str(args.model_dir)]
    following = of_dataset("base", args.dataset, "--features", args.name, *places)
    printing.print_end(report["files"], following)
