"""The command line of `bundle`."""

from __future__ import annotations

import argparse

from ..presets import DEFAULT_PRESET
from .arguments import add_dataset, add_features, add_places, place
from .jobs import from_here


def add_bundle(commands: argparse._SubParsersAction) -> None:
    """Add `bundle` to the commands."""
    parser = commands.add_parser(
        "bundle",
        help="one folder with all that a base job's model needs to predict, anywhere",
        description="Put a model that a base job has left, what makes features of texts, names of labels "
        "and a card into one folder, for predict, serve and Python.",
    )
    parser.set_defaults(handler=_bundle)
    add = parser.add_argument
    add_dataset(parser, "name of the base job's dataset")
    add(
        "--preset",
        "--variant",
        dest="variant",
        help="which model: a preset with what was changed of it, or xr-linear; a wrong name lists them "
        f"(default: {DEFAULT_PRESET}, or the only one that overlaps)",
    )
    add("--out", type=place, required=True, metavar="FOLDER", help="the folder to make")
    add("--force", action="store_true", help="replace a bundle that is there")
    add_places(parser, "data_dir", "model_dir")
    add_features(parser)


def _bundle(args: argparse.Namespace) -> None:
    from ..data import datasets
    from ..data.features import beside
    from ..jobs import bundle, printing
    from ..runtime import progress

    progress.set_up_logging()
    datasets.check_name(args.data_dir, args.dataset)
    bundle.run_bundle(
        args.model_dir / args.dataset / beside("base", args.features),
        args.variant,
        args.data_dir / args.dataset,
        args.features,
        args.out,
        args.force,
    )
    following = from_here("predict", "--bundle", str(args.out), "--input", "FILE")
    printing.print_end([args.out], following)
