"""What all commands' arguments have in common: how they are read, refused and explained."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, NoReturn

from ..errors import printable
from ..limits import option
from ..params import ARCHIVE, DEFAULT_DATASET, FEATURES
from ..runtime.threads import cores

_SHOWN = 1000  # characters of a refusal
# Of a parameter that a dataset may have a value of its own of.
DATASETS_OWN = "{}, or the dataset's own"
# Folders: the environment variable that can name each, where it is by default, and what is there.
PLACES = {
    "data_dir": ("XMC_DATA", "dataset/xmc-base", "folder of the datasets"),
    "model_dir": ("XMC_MODEL", "model", "folder of the results"),
    "binned_dir": ("XMC_BINNED", "dataset-binned", "folder of binned label sets"),
}


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Defaults in the help, where it does not tell them and they say something: not of switches."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        says_nothing = action.default in (None, []) or isinstance(action.default, bool)
        if says_nothing or "(default" in (action.help or ""):
            return action.help
        return super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """A parser that refuses in one line, with exit status 2; the usage is in the help."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"formatter_class": HelpFormatter, **kwargs})

    def error(self, message: str) -> NoReturn:
        # What was typed may hold anything, and be of any length.
        line = printable(message)
        if len(line) > _SHOWN:
            line = f"{line[: _SHOWN - 3]}..."
        if sys.stderr is not None:
            print(f"error: {line}; see {self.prog} --help", file=sys.stderr)
        sys.exit(2)


def integer(text: str) -> int:
    """A number without a fraction."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected an integer, got {text!r}") from None


def number(text: str) -> float:
    """A number; a negative zero is none, as variants are named after what they are given."""
    try:
        return float(text) + 0.0
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number, got {text!r}") from None


READERS: dict[type, Callable[[str], Any]] = {int: integer, float: number, str: str}


def place(text: str) -> Path:
    """A file or folder; nothing would be the working folder."""
    if not text:
        raise argparse.ArgumentTypeError("expected a path, got ''")
    return Path(text)


def dataset_name(text: str) -> str:
    """The name of a dataset; a trailing slash is what a shell's completion leaves behind a folder's name."""
    return text.rstrip("/")


def add_places(parser: argparse._ActionsContainer, *names: str) -> None:
    """Add folders by their names in `PLACES`."""
    for name in names:
        variable, default, words = PLACES[name]
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=place,
            default=os.environ.get(variable) or default,
            help=f"{words} (environment: {variable})",
        )


def add_dataset(parser: argparse.ArgumentParser, words: str) -> None:
    """Add which dataset is meant; the embedded one where none is named."""
    parser.add_argument("dataset", nargs="?", type=dataset_name, default=DEFAULT_DATASET, help=words)


def add_features(parser: argparse._ActionsContainer) -> None:
    """Add which of a dataset's feature sets is meant."""
    parser.add_argument(
        "--features",
        metavar="NAME",
        type=dataset_name,
        default=FEATURES,
        help="which of the dataset's feature sets: a folder in the dataset's",
    )


def reader_of(one: Field[Any]) -> Callable[[str], Any]:
    """How a value of a parameter is read, by its declared type."""
    return READERS[next(kind for kind in READERS if str(one.type).startswith(kind.__name__))]


def add_declared(group: argparse._ActionsContainer, params: type, *names: str, usual: str = "") -> None:
    """Add fields of a parameter class; left out unless given where `usual` says what else they may be."""
    declared = {one.name: one for one in fields(params)}
    for name in names:
        one = declared[name]
        group.add_argument(
            option(name),
            dest=name,
            type=reader_of(one),
            default=argparse.SUPPRESS if usual else one.default,
            metavar=name.upper(),
            help=one.metadata["words"] + (f" (default: {usual.format(one.default)})" if usual else ""),
        )


def add_mirror(parser: argparse._ActionsContainer) -> None:
    """Add where known datasets are fetched from."""
    # Set before the option is there, so that help does not show the environment's, which may hold a password.
    parser.set_defaults(mirror=os.environ.get("XMC_MIRROR") or ARCHIVE)
    parser.add_argument(
        "--mirror",
        default=argparse.SUPPRESS,
        help=f"URL or folder to fetch known datasets from (environment: XMC_MIRROR; default: {ARCHIVE})",
    )


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Add how many threads there may be."""
    parser.add_argument("--threads", type=integer, default=cores(), help="threads; no effect on results")


def add_cluster(parser: argparse.ArgumentParser) -> None:
    """Add who else there may be."""
    parser.add_argument(
        "--cluster",
        metavar="ADDRESS|FILE",
        help="the scheduler of a dask.distributed cluster that runs, or the file that it writes, to share "
        "work out to its workers; no effect on results; it needs the package distributed",
    )


def workers_of(args: argparse.Namespace) -> Any:
    """The workers of the cluster that is meant, until the command ends; None if none is."""
    if args.cluster is None:
        return None
    from ..jobs import cluster

    # A bundle has no results folder beside it.
    place = None if getattr(args, "bundle", None) else args.model_dir
    return args.opened.enter_context(cluster.opened(args.cluster, args.threads, place))


def add_max_memory(parser: argparse.ArgumentParser) -> None:
    """Add how much memory there may be."""
    parser.add_argument(
        "--max-memory",
        type=number,
        metavar="GIB",
        help="most memory to hold; what is too large lies in files meanwhile; no effect on results",
    )
