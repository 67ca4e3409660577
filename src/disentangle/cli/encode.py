"""The command line of `encode`."""

from __future__ import annotations

import argparse

from ..errors import DisentangleError
from ..limits import option
from ..params import EncoderParams, TreeParams, TuningParams
from ..runtime.threads import limit_threads
from .arguments import DATASETS_OWN, add_declared, add_mirror, add_places, add_threads, dataset_name
from .jobs import of_dataset

DEVICES = ("auto", "cpu", "cuda")
# What has no effect on an encoder as it is.
_OF_TUNING = ("epochs", "seed", "max_leaf_size")


def add_encode(commands: argparse._SubParsersAction) -> None:
    """Add `encode` to the commands."""
    parser = commands.add_parser(
        "encode",
        help="a feature set of a dataset's texts by a pretrained encoder, beside its tf-idf",
        description="Make a feature set of two blocks: the dataset's tf-idf, and the mean of the tokens' "
        "vectors that an encoder gives each text. Jobs and predict take it with --features. It is reused "
        "while data, encoder, parameters, code and versions match.",
    )
    parser.set_defaults(handler=_encode)
    add = parser.add_argument
    add("dataset", type=dataset_name, help="name of a folder in the data folder that has texts")
    add(
        "--encoder",
        required=True,
        metavar="FOLDER|NAME",
        help="a Hugging Face encoder: its folder, or its name on the hub, from which it is then fetched",
    )
    add(
        "--finetune",
        action="store_true",
        help="teach it the leaf clusters of the label tree first",
    )
    add(
        "--name",
        type=dataset_name,
        metavar="FEATURES",
        help="of the feature set (default: the encoder's, with -tuned after --finetune)",
    )
    add_declared(parser, EncoderParams, "max_length", "batch_size")
    add_declared(parser, TuningParams, "epochs", "seed", usual="{}")
    add_declared(parser, TreeParams, "max_leaf_size", usual=DATASETS_OWN)
    add(
        "--device",
        choices=DEVICES,
        default="auto",
        help="where it runs; auto is a GPU if there is one",
    )
    add("--force", action="store_true", help="make it anew")
    add_threads(parser)
    add_places(parser, "data_dir", "model_dir")
    add_mirror(parser)


def _encode(args: argparse.Namespace) -> None:
    limit_threads(args.threads)
    from ..encoder import packages

    # Before anything else: they may be missing.
    packages.require(args.threads)
    from ..data import known_datasets
    from ..jobs import encode, printing
    from ..jobs.settings import filled
    from ..runtime import progress

    progress.set_up_logging()
    # The tree is the base job's, whatever the seed of the tuning.
    of_tree = {name: value for name, value in vars(args).items() if name != "seed"}
    tuning = filled(TuningParams, vars(args))
    tuning.validate()
    if not args.finetune and (without := [name for name in _OF_TUNING if name in vars(args)]):
        raise DisentangleError(f"{option(without[0])} must come with --finetune, which is not there")
    made = encode.run_encode(
        encode.Encode(
            args.dataset,
            args.data_dir,
            args.model_dir,
            args.encoder,
            args.name,
            EncoderParams(args.max_length, args.batch_size),
            tuning if args.finetune else None,
            filled(TreeParams, known_datasets.settings_of(args.dataset) | of_tree),
            args.device,
            args.threads,
            args.force,
            args.mirror,
        )
    )
    columns = ", ".join(f"{n:,} of {block}" for block, n in made["sizes"].items())
    print(f"{made['folder']}: {columns}")
    places = ["--data-dir", str(args.data_dir), "--model-dir", str(args.model_dir)]
    following = of_dataset("base", args.dataset, "--features", made["name"], *places)
    printing.print_end([], following)
