"""The command line: arguments to one call. Heavy imports wait inside the handlers, so that help is quick."""

from __future__ import annotations

import argparse
import io
import itertools
import math
import os
import shlex
import sys
import sysconfig
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from .. import __version__
from ..errors import DisentangleError, printable
from ..params import (
    CHOICES,
    DEFAULT_DATASET,
    DEFAULT_PRESET,
    MAX_REPEATS,
    PRESETS,
    SCORING,
    BinParams,
    OverlapParams,
    PredictParams,
    Propensity,
    TreeParams,
)
from ..runtime import interrupt
from ..runtime.threads import limit_threads
from ..storage.places import check_apart
from .arguments import (
    READERS,
    Parser,
    add_max_memory,
    add_mirror,
    add_place,
    add_threads,
    dataset_name,
    integer,
    place,
)
from .data import add_data
from .predict import add_predict

if TYPE_CHECKING:
    from ..jobs.comparison import Variant
    from ..jobs.pipeline import Job


_CANNOT_LOAD = "error: cannot load what is installed (too little memory, or a damaged installation?)"


def main() -> None:
    """Run one command; exit status 2 for what the user can fix, 128 + the signal's number when stopped."""
    _plug_closed_streams()
    args = _parser().parse_args()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names of labels may not be writable in the terminal's encoding; that must not cost the table.
        sys.stdout.reconfigure(errors="replace")
    try:
        status = interrupt.run(lambda: args.handler(args))
        if sys.stdout is not None:
            sys.stdout.flush()
        sys.exit(status)
    except DisentangleError as error:
        _leave(f"error: {error}")
    except ModuleNotFoundError as error:
        _leave(f"error: {_how_to_install(error)}")
    except ImportError as error:
        _leave(f"{_CANNOT_LOAD}: {error}")
    except MemoryError:
        _leave("error: out of memory; run again on a larger machine, what is finished is kept")
    except BrokenPipeError:
        # Whoever read the table has seen enough; the results are on disk.
        os._exit(0)
    except OSError as error:
        if error.errno is None:  # llvmlite's way to say it
            _leave(f"{_CANNOT_LOAD}: {error}")
        # Whatever has a file reads and writes it where its name is known.
        _leave(f"error: cannot write {error.filename or 'standard output'}: {error.strerror or error}")


def _how_to_install(missing: ModuleNotFoundError) -> str:
    """libpecos is not declared, for it would bring torch, and has packages up to Python 3.12 alone."""
    if missing.name not in ("pecos", "libpecos"):
        return f"{missing}; requirements.txt lists what must be installed"
    command = [sys.executable, "-m", "pip", "install", "--no-deps"]
    if sys.version_info >= (3, 13):
        folder = sysconfig.get_path("purelib")
        command += ["--only-binary=:all:", "--python-version", "3.12", "--target", folder]
    return f"libpecos is missing, install it without torch: {shlex.join([*command, 'libpecos==1.2.8'])}"


def _plug_closed_streams() -> None:
    """Keep files from taking the numbers of standard streams that are closed, to which libraries write."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


def _leave(sentence: str) -> NoReturn:
    with suppress(OSError):  # nobody may be there to read it
        print(printable(sentence), file=sys.stderr, flush=True)
    # A PECOS call may still run in its thread: an ordinary exit could wait for it or crash.
    os._exit(2)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m disentangle",
        description="Label disentanglement in extreme multi-label classification.",
    )
    parser.add_argument("--version", action="version", version=f"disentangle {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    base = _add_job(
        commands,
        "base",
        _base,
        "XR-Linear beside overlapped XR-Linear on one dataset",
        "Train and evaluate XR-Linear, put labels into several clusters, retrain, evaluate.",
    )
    base.add_argument(
        "--n-trees",
        type=integer,
        default=1,
        help="compare ensembles, too: averaged scores of so many trees, whose seeds rise by one",
    )
    base.add_argument(
        "--without-xr-linear",
        action="store_true",
        help="leave out XR-Linear's own figures, and of its training what the presets do not need",
    )
    binned = _add_job(
        commands,
        "binned",
        _binned,
        "the same on binned labels: the paper's Figure 2",
        "Group labels at random into composite labels, compare XR-Linear and its overlap on them, draw it.",
    )
    bins = BinParams()
    level = f"(default: {bins.level_from_leaf}, or the highest of a tree that has not as many)"
    binned.add_argument(
        "--levels",
        type=_int_list,
        help=f"levels above the leaves to bin at: 2 or 0,1,2 {level}",
    )
    binned.add_argument(
        "--bin-sizes",
        type=_int_list,
        default=[bins.bin_size],
        help=f"labels per bin: 2 or 2,4,8 (default: {bins.bin_size})",
    )
    metric = _add_job(
        commands,
        "metric",
        _metric,
        "how well copies separate a label's components, by variation of information",
        "Score the split that an overlap's copies make of each composite label against the true one.",
    )
    metric.add_argument(
        "--components",
        choices=("natural", "binned"),
        default=argparse.SUPPRESS,
        help="the dataset's own, or those of binned labels (default: natural where the dataset has them)",
    )
    metric.add_argument("--level", type=integer, help=f"level above the leaves to bin at {level}")
    metric.add_argument("--bin-size", type=integer, default=bins.bin_size, help="labels per bin")
    sweep = _add_job(
        commands,
        "sweep",
        _sweep,
        "many ways to overlap, compared on a part of the training data",
        "Compare ways to overlap on a fifth of the training data, drawn with the seed, so as to choose one.",
    )
    sweep.add_argument(
        "--grid",
        type=_grid,
        action="append",
        default=[],
        metavar="PART=VALUE,VALUE",
        help="values of a part of the preset, as it is called below, such as budget=1.5,2; given several "
        "times, all combinations are compared",
    )
    add_predict(commands)
    add_data(commands)
    _add_build_wordnet(commands)
    return parser


def _grid(text: str) -> tuple[str, list[str]]:
    name, _, values = text.partition("=")
    known = [field.name for field in fields(OverlapParams)]
    if name.replace("-", "_") not in known or not values:
        raise argparse.ArgumentTypeError(
            f"expected PART=VALUE,VALUE, PART one of {', '.join(known)}, got {text!r}"
        )
    return name.replace("-", "_"), values.split(",")


def _int_list(text: str) -> list[int]:
    """Numbers in the order given, each once."""
    try:
        return list(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected numbers separated by commas, got {text!r}") from None


def _add_job(
    commands: argparse._SubParsersAction, name: str, handler: Callable, summary: str, description: str
) -> argparse.ArgumentParser:
    reuse = "Finished stages are reused while data, parameters, code and versions match."
    parser = commands.add_parser(
        name,
        help=summary,
        description=f"{description} {reuse}",
    )
    parser.set_defaults(handler=handler)
    add = parser.add_argument
    add(
        "dataset",
        nargs="?",
        type=dataset_name,
        default=DEFAULT_DATASET,
        help="name of a folder in the data folder",
    )
    for option, variable, default, words in (
        ("--data-dir", "XMC_DATA", "dataset/xmc-base", "folder of the datasets"),
        ("--model-dir", "XMC_MODEL", "model", "folder of the results"),
        ("--binned-dir", "XMC_BINNED", "dataset-binned", "folder of binned label sets"),
    ):
        add_place(parser, option, variable, default, words)
    add_mirror(parser)
    presets = ", ".join(PRESETS)
    add(
        "--preset",
        type=_presets,
        default=DEFAULT_PRESET,
        help=f"how labels are duplicated: {presets}; base and sweep take several, separated by commas",
    )
    settings = (
        ("beam_size", PredictParams, "clusters kept per level and instance"),
        ("top_k", PredictParams, "labels, copies counted, that a model returns"),
        ("nr_splits", TreeParams, "children per inner node of the tree"),
        ("max_leaf_size", TreeParams, "most labels per cluster of the first tree"),
        ("seed", TreeParams, "seed of all that is random"),
        ("A", Propensity, "a constant of the propensities in PSP@k"),
        ("B", Propensity, "the other constant of the propensities"),
    )
    for setting, source, words in settings:
        option = f"propensity-{setting.lower()}" if source is Propensity else setting.replace("_", "-")
        value = getattr(source(), setting)
        # Left out unless it is given: what is given overrides a preset and a dataset's settings.
        add(
            f"--{option}",
            dest=setting,
            type=READERS[type(value)],
            default=argparse.SUPPRESS,
            metavar=setting.upper(),
            help=f"{words} (default: {value}, or the dataset's own)",
        )
    _add_overlap(parser)
    add_threads(parser)
    add_max_memory(parser)
    add("--force", action="store_true", help="redo stages that are done")
    return parser


_PARTS: tuple[tuple[str, type, str], ...] = (
    ("n_copies", int, "most clusters per label, the first included"),
    ("gain", str, "what an instance of the label that matches a cluster gains it: 1, or its score"),
    (
        "coverage",
        float,
        "share of an instance's best score so far that a further copy gets no credit for",
    ),
    ("capacity", float, "most labels per cluster, times n_copies * labels / clusters"),
    ("budget", float, "most candidates per instance, times those without overlap"),
    ("positives", str, "which instances of its label a copy is trained on"),
    ("leaf_size", int, "most labels per cluster, copies counted: larger ones are split before retraining"),
    ("split", str, "where the parts of a cluster go: to its parent, or under it, as a level more"),
    (
        "negatives",
        float,
        "share of the instances that labels are trained against wherever the retrained matcher sends them, "
        "besides all in their own labels' clusters",
    ),
    ("spared", int, "clusters that each of these matches best, to whose labels it is no negative after all"),
    ("overlap_splits", int, "children per inner node of the tree that is overlapped, if not --nr-splits"),
    ("first_features", int, "features of an instance, the largest, that the choices' matcher learns from"),
    ("features", int, "features of an instance, the largest, that retraining learns from"),
    (
        "max_df",
        float,
        "share of the instances that a feature of long texts may be in for retraining to learn from it",
    ),
    ("first_eps", float, "tolerance of the solver in training the matcher that choices are made by"),
    ("eps", float, "tolerance of the solver in retraining"),
    ("matcher_eps", float, "the same for the levels above the leaves, if not --eps"),
    ("threshold", float, "weights of a smaller absolute value are dropped from the retrained ranker"),
    ("hinge", int, "power in the retrained ranker's scores, exp(-max(0, 1 - z)^hinge)"),
    ("predict_beam", int, "clusters that the retrained model keeps, if not --beam-size"),
    ("merge", str, "a label's score from those of its copies"),
    ("first_weight", float, "weight of XR-Linear's score in a label's, 0 to 1"),
    ("first_beam", int, "clusters that XR-Linear keeps for that, if not --beam-size"),
    ("rounds", int, "rounds of match, assign, retrain"),
)


def _add_overlap(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the parts of a preset", "each overrides the preset")
    for setting, kind, words in _PARTS:
        group.add_argument(
            f"--{setting.replace('_', '-')}",
            type=READERS[kind],
            choices=CHOICES.get(setting),
            default=argparse.SUPPRESS,
            help=words,
        )


def _presets(text: str) -> list[str]:
    """Names of presets in the order given, each once."""
    names = list(dict.fromkeys(text.split(",")))
    if unknown := [name for name in names if name not in PRESETS]:
        raise argparse.ArgumentTypeError(f"expected some of {', '.join(PRESETS)}, got {unknown[0]!r}")
    return names


def _job(args: argparse.Namespace, combinations: tuple[dict[str, Any], ...] = ({},)) -> Job:
    limit_threads(args.threads)
    from ..data import catalog
    from ..jobs import pipeline
    from ..jobs.comparison import Settings
    from ..runtime import progress

    layers = (catalog.settings_of(args.dataset), vars(args))
    settings = Settings(
        threads=args.threads,
        variants=tuple(
            _variant(preset, (*layers, combination)) for preset in args.preset for combination in combinations
        ),
        tree=_filled(TreeParams, layers),
        n_trees=getattr(args, "n_trees", 1),
        predict=_filled(PredictParams, layers),
        propensity=_filled(Propensity, layers),
        max_memory=args.max_memory,
        force=args.force,
        xr_linear=not getattr(args, "without_xr_linear", False),
    )
    progress.set_up_logging()
    return pipeline.Job(args.dataset, args.data_dir, args.model_dir, args.binned_dir, settings, args.mirror)


def _variant(preset: str, layers: tuple[dict[str, Any], ...]) -> Variant:
    """A preset, with what is changed of it in its name."""
    from ..jobs.comparison import Variant

    before = asdict(PRESETS[preset])
    params = _filled(OverlapParams, (before, *layers))
    params.validate()
    if params.first_weight == 0:
        params = replace(params, first_beam=None)
    # More rounds go on from the first, in the same folder.
    after = {name: value for name, value in asdict(params).items() if name != "rounds" and value is not None}
    changed = [name for name in after if after[name] != before[name]]

    def said(names: Iterable[str]) -> str:
        return "".join(f"-{name}-{after[name]}" for name in names).replace("_", "-")

    folder = preset + said(name for name in changed if name not in SCORING)
    last = f"-round-{params.rounds}" if params.rounds > 1 else ""
    name = folder + last + said(name for name in changed if name in SCORING)
    return Variant(name, folder, preset, params)


P = TypeVar("P")


def _filled(params: type[P], layers: tuple[dict[str, Any], ...]) -> P:
    """Parameters of one kind, of which the last layer that has them counts."""
    names = [field.name for field in fields(params)]  # type: ignore[arg-type]
    return params(**{name: layer[name] for layer in layers for name in names if name in layer})


def _base(args: argparse.Namespace) -> None:
    job = _job(args)
    from ..jobs import pipeline, tables

    tables.print_base(pipeline.run_base(job))


def _sweep(args: argparse.Namespace) -> None:
    """Each combination of the grid is a variant: what it changes is given as if by its own options."""
    from ..jobs import pipeline, tables

    n = math.prod(len(values) for _, values in args.grid) * len(args.preset)
    if n > MAX_REPEATS:
        raise DisentangleError(
            f"--grid must make at most {MAX_REPEATS} combinations with the presets, got {n}"
        )
    layers = []
    for values in itertools.product(*(values for _, values in args.grid)):
        given = dict(zip((name for name, _ in args.grid), values, strict=True))
        layers.append({name: _parse_part(name, value) for name, value in given.items()})
    tables.print_sweep(pipeline.run_sweep(_job(args, tuple(layers))))


def _parse_part(name: str, value: str) -> Any:
    kind = next(kind for setting, kind, _ in _PARTS if setting == name)
    try:
        return READERS[kind](value)
    except argparse.ArgumentTypeError as error:
        raise DisentangleError(f"--grid {name}: {error}") from None


def _binned(args: argparse.Namespace) -> None:
    job = _job(args)
    from ..jobs import pipeline, tables

    tables.print_binned(pipeline.run_binned(job, args.levels, args.bin_sizes))


def _metric(args: argparse.Namespace) -> None:
    job = _job(args)
    from ..jobs import pipeline, tables

    kind = getattr(args, "components", None)
    tables.print_metric(pipeline.run_metric(job, kind, args.level, args.bin_size))


def _add_build_wordnet(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "build-wordnet",
        help="rebuild the embedded dataset from WordNet's files",
        description="Rebuild the dataset wordnet-hypernyms, byte for byte, from the files of WordNet 3.0.",
    )
    parser.add_argument("--wordnet", type=place, required=True, help="folder of data.noun and data.verb")
    parser.add_argument(
        "--out",
        type=place,
        default=Path(os.environ.get("XMC_DATA", "dataset/xmc-base")) / DEFAULT_DATASET,
        help="folder to write",
    )
    parser.set_defaults(handler=_build_wordnet)


def _build_wordnet(args: argparse.Namespace) -> None:
    from ..runtime import progress
    from ..wordnet import build_wordnet

    check_apart("--out", args.out, [args.wordnet])
    progress.set_up_logging()
    with progress.stage("build-wordnet"):
        counts = build_wordnet(args.wordnet, args.out)
    for name, count in counts.items():
        print(f"{name}: {count}")
