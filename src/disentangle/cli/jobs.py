"""The commands of the jobs: base, binned, metric, sweep. Heavy imports wait inside the handlers."""

from __future__ import annotations

import argparse
import itertools
import math
import os
import shlex
import sys
from collections.abc import Callable, Iterable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DisentangleError
from ..limits import option
from ..params import (
    FEATURES,
    MAX_REPEATS,
    BinParams,
    PredictParams,
    Propensity,
    TreeParams,
    overlap_fields,
)
from ..presets import DEFAULT_PRESET, PRESETS
from ..runtime.threads import limit_threads
from .arguments import (
    DATASETS_OWN,
    PLACES,
    add_cluster,
    add_dataset,
    add_declared,
    add_features,
    add_max_memory,
    add_mirror,
    add_places,
    add_threads,
    integer,
    reader_of,
    workers_of,
)

if TYPE_CHECKING:
    from ..jobs.job import Job


# Each is a training; more are a slip of the finger.
_MOST_SEEDS = 100
# What results depend on besides data and variant, as options; --seeds comes besides.
_SETTINGS = tuple(one.name for kind in (TreeParams, PredictParams, Propensity) for one in fields(kind))
_LEVEL = f"(default: {BinParams.level_from_leaf}, or the highest of a tree that has not as many)"


def add_jobs(commands: argparse._SubParsersAction) -> None:
    """Add the jobs to the commands."""
    _add_base(commands)
    _add_binned(commands)
    _add_metric(commands)
    _add_sweep(commands)


def _add_base(commands: argparse._SubParsersAction) -> None:
    base = add_job(
        commands,
        "base",
        _base,
        "XR-Linear beside overlapped XR-Linear on one dataset",
        "Train and evaluate XR-Linear, put labels into several clusters, retrain, evaluate.",
    )
    _add_grid(base, "compared besides the presets")
    base.add_argument(
        "--n-trees",
        type=integer,
        default=1,
        help="compare ensembles, too: scores of so many trees put together, whose seeds rise by one",
    )
    base.add_argument(
        "--without-xr-linear",
        action="store_true",
        help="leave out XR-Linear's own figures, and of its training what the presets do not need",
    )
    base.add_argument("--calibrate", action="store_true", help="probabilities of labels for predict, too")


def _add_binned(commands: argparse._SubParsersAction) -> None:
    binned = add_job(
        commands,
        "binned",
        _binned,
        "the same on binned labels: the paper's Figure 2",
        "Group labels at random into composite labels, compare XR-Linear and its overlap on them, draw it.",
    )
    binned.add_argument(
        "--levels",
        type=_int_list,
        help=f"levels above the leaves to bin at: 2 or 0,1,2 {_LEVEL}",
    )
    binned.add_argument(
        "--bin-sizes",
        type=_int_list,
        default=[BinParams.bin_size],
        help=f"labels per bin: 2 or 2,4,8 (default: {BinParams.bin_size})",
    )


def _add_metric(commands: argparse._SubParsersAction) -> None:
    metric = add_job(
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
    metric.add_argument("--level", type=integer, help=f"level above the leaves to bin at {_LEVEL}")
    metric.add_argument("--bin-size", type=integer, default=BinParams.bin_size, help="labels per bin")


def _add_sweep(commands: argparse._SubParsersAction) -> None:
    sweep = add_job(
        commands,
        "sweep",
        _sweep,
        "many ways to overlap, compared on validation data",
        "Compare ways to overlap so as to choose one: on the dataset's validation part, or on a fifth of the "
        "training data, drawn with the seed.",
    )
    _add_grid(sweep, "compared")


def _add_grid(parser: argparse.ArgumentParser, words: str) -> None:
    parser.add_argument(
        "--grid",
        type=_grid,
        action="append",
        default=[],
        metavar="PART=VALUE,VALUE",
        help="values of a part of the preset, as it is called below, such as leaf_size=20,50; given several "
        f"times, all combinations are {words}",
    )


def _grid(text: str) -> tuple[str, list[str]]:
    name, _, values = text.partition("=")
    known = list(overlap_fields())
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


def add_job(
    commands: argparse._SubParsersAction, name: str, handler: Callable, summary: str, description: str
) -> argparse.ArgumentParser:
    reuse = "Finished stages are reused while data, parameters, code and versions match."
    usage = f"python -m disentangle {name} [DATASET] [options]"
    parser = commands.add_parser(name, help=summary, usage=usage, description=f"{description} {reuse}")
    parser.set_defaults(handler=handler)
    add_dataset(parser, "name of a folder in the data folder")
    parser.add_argument(
        "--preset",
        type=_presets,
        default=DEFAULT_PRESET,
        help=f"how labels are duplicated: {', '.join(PRESETS)}; base and sweep take several, separated by "
        "commas",
    )
    add_features(parser)
    seeds = parser.add_mutually_exclusive_group()
    add_declared(seeds, TreeParams, "seed", usual=DATASETS_OWN)
    seeds.add_argument(
        "--seeds",
        type=_seeds,
        default=(),
        metavar="SEED,SEED",
        help="several, each with results of its own as with --seed: means and deviations; with --n-trees, "
        "each ensemble begins at its own seed",
    )
    add_threads(parser)
    add_cluster(parser)
    add_max_memory(parser)
    add_places(parser, "data_dir", "model_dir")
    parser.add_argument("--force", action="store_true", help="redo stages that are done")
    _add_rest(parser)
    _add_parts(parser)
    return parser


def _add_rest(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the first tree, prediction, figures, other places")
    add_declared(group, TreeParams, "nr_splits", "max_leaf_size", usual=DATASETS_OWN)
    add_declared(group, PredictParams, "beam_size", "top_k", usual=DATASETS_OWN)
    add_declared(group, Propensity, "A", "B", usual=DATASETS_OWN)
    add_places(group, "binned_dir")
    add_mirror(group)
    group.add_argument(
        "--mlflow",
        metavar="URI",
        help="log each method's parameters and figures there, too; it needs the package mlflow-skinny",
    )


def _add_parts(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the parts of a preset", f"In brackets: {', '.join(PRESETS)}.")
    values = [params.parts() for params in PRESETS.values()]
    for name, one in overlap_fields().items():
        said = ", ".join("-" if preset[name] is None else str(preset[name]) for preset in values)
        group.add_argument(
            option(name),
            type=reader_of(one),
            choices=one.metadata.get("choices"),
            default=argparse.SUPPRESS,
            metavar="|".join(one.metadata["choices"]) if "choices" in one.metadata else name.upper(),
            help=f"{one.metadata['words']} ({said})",
        )


def _seeds(text: str) -> tuple[int, ...]:
    """Seeds in rising order, so that the order they are given in makes no difference."""
    found = sorted(_int_list(text))
    if len(found) <= text.count(",") or len(found) > _MOST_SEEDS:
        expected = f"up to {_MOST_SEEDS} different numbers separated by commas"
        raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}")
    return tuple(found)


def _presets(text: str) -> list[str]:
    """Names of presets in the order given, each once."""
    names = list(dict.fromkeys(text.split(",")))
    if unknown := [name for name in names if name not in PRESETS]:
        raise argparse.ArgumentTypeError(f"expected some of {', '.join(PRESETS)}, got {unknown[0]!r}")
    return names


def job_of(args: argparse.Namespace, combinations: tuple[dict[str, Any], ...] = ({},)) -> Job:
    """What a job is told; each combination of parts is a variant, as if given by its own options."""
    limit_threads(args.threads)
    from ..data import known_datasets
    from ..jobs.job import Job
    from ..jobs.settings import Settings, distinct, filled, variant_of
    from ..runtime import progress

    given = known_datasets.settings_of(args.dataset) | vars(args)
    if args.seeds:
        given["seed"] = args.seeds[0]
    seeds = args.seeds if len(args.seeds) > 1 else ()
    progress.set_up_logging()
    settings = Settings(
        threads=args.threads,
        workers=workers_of(args),
        variants=distinct(
            variant_of(preset, given | combination) for preset in args.preset for combination in combinations
        ),
        tree=filled(TreeParams, given),
        n_trees=getattr(args, "n_trees", 1),
        predict=filled(PredictParams, given),
        propensity=filled(Propensity, given),
        max_memory=args.max_memory,
        force=args.force,
        xr_linear=not getattr(args, "without_xr_linear", False),
    )
    if args.mlflow is not None:
        from ..jobs import mlflow_log

        # Before anything is trained.
        args.log = mlflow_log.Log(args.mlflow)
    places = args.data_dir, args.model_dir, args.binned_dir
    return Job(args.dataset, *places, settings, args.features, args.mirror, seeds)


def from_here(*words: str) -> str:
    """A command that can be run from here: the drivers' users have installed nothing."""
    path = os.environ.get("PYTHONPATH")
    where = f"PYTHONPATH={shlex.quote(path)} " if path else ""
    return f"{where}{shlex.join([sys.executable, '-m', 'disentangle', *words])}"


def of_dataset(command: str, dataset: str, *options: str) -> str:
    """The same of a command on a dataset, whose name comes last where it would be an option."""
    if dataset.startswith("-"):
        return from_here(command, *options, "--", dataset)
    return from_here(command, dataset, *options)


def next_command(command: str, args: argparse.Namespace, *options: str) -> str:
    """A command that one may want to run now.

    A job's comes with the settings that were given, as with others it would train anew; predict has none.
    """
    called: list[str] = []
    for name, (_, usual, _) in PLACES.items():
        folder: Path = getattr(args, name)
        is_read = name != "binned_dir" or command == "metric"
        if is_read and folder.resolve() != Path(usual).resolve():
            called += [option(name), str(folder)]
    if args.features != FEATURES:
        called += ["--features", args.features]
    given = [] if command == "predict" else _given_options(args)
    return of_dataset(command, args.dataset, *called, *options, *given)


def _said(args: argparse.Namespace, report: dict[str, Any], following: str) -> None:
    """Print the tables of a report, write its page, and end."""
    from ..html import page, run_page
    from ..jobs import printing, tables

    found = tables.tables_of(report)
    printing.print_tables(found)
    path = report["files"][0].with_suffix(".html")
    figures = [file.with_suffix(".svg") for file in report["files"] if file.suffix == ".png"]
    page.save(path, run_page.build(report, [vars(table) for table in found], figures))
    end(args, report, [path, *report["files"]], following)


def end(args: argparse.Namespace, report: dict[str, Any], files: Iterable[Path], following: str) -> None:
    """Log a report where that is asked for; print its files, and what one may run next."""
    from ..jobs import printing

    if args.mlflow is not None:
        args.log.add(report)
    printing.print_end(files, following)


def _base(args: argparse.Namespace) -> None:
    job = job_of(args, ({}, *_combinations(args)) if args.grid else ({},))
    from ..jobs import base, columns

    report = base.run_base(job, args.calibrate)
    model = columns.model_name(report["runs"][-1]["evaluation"])
    chosen = [] if model == DEFAULT_PRESET else ["--variant", model]
    _said(args, report, next_command("predict", args, *chosen, "--input", "FILE"))


def _sweep(args: argparse.Namespace) -> None:
    job = job_of(args, _combinations(args))
    from ..jobs import sweep

    report = sweep.run_sweep(job)
    _said(args, report, next_command("base", args, *_winner_options(report["winner"])))


def _combinations(args: argparse.Namespace) -> tuple[dict[str, Any], ...]:
    """Parts and their values in each combination of the grid."""
    names = [name for name, _ in args.grid]
    if len(set(names)) < len(names):
        raise DisentangleError(f"--grid must name each part once, got {', '.join(names)}")
    n = math.prod(len(values) for _, values in args.grid) * len(args.preset)
    if n > MAX_REPEATS:
        raise DisentangleError(
            f"--grid must make at most {MAX_REPEATS} combinations with the presets, got {n}"
        )
    layers = []
    for values in itertools.product(*(values for _, values in args.grid)):
        given = dict(zip(names, values, strict=True))
        layers.append({name: _parse_part(name, value) for name, value in given.items()})
    return tuple(layers)


def _winner_options(winner: dict[str, Any]) -> list[str]:
    """What makes the winner of a sweep: its preset, and the parts that are others than the preset's."""
    before = PRESETS[winner["preset"]].parts()
    changed = {name: value for name, value in winner["overlap"].items() if value != before[name]}
    parts = [text for name, value in changed.items() for text in (option(name), str(value))]
    return ["--preset", winner["preset"], *parts]


def preset_options(args: argparse.Namespace) -> list[str]:
    """The preset of a job that takes one, and the parts of it that were given."""
    given = [name for name in overlap_fields() if name in args]
    parts = [text for name in given for text in (option(name), str(getattr(args, name)))]
    return ["--preset", *args.preset, *parts]


def _given_options(args: argparse.Namespace) -> list[str]:
    """Settings of the tree, of prediction and of figures that were given, as they were given."""
    given = [name for name in _SETTINGS if name in args]
    options = [text for name in given for text in (option(name), str(getattr(args, name)))]
    return [*options, "--seeds", ",".join(map(str, args.seeds))] if args.seeds else options


def _parse_part(name: str, value: str) -> Any:
    try:
        return reader_of(overlap_fields()[name])(value)
    except argparse.ArgumentTypeError as error:
        raise DisentangleError(f"--grid {name}: {error}") from None


def _check_apart(args: argparse.Namespace) -> None:
    """Refuse one folder for both: a run that holds the one would clear what another is at work on."""
    from ..storage import places

    if places.real(args.binned_dir) == places.real(args.model_dir):
        raise DisentangleError(f"--binned-dir must be another folder than --model-dir, got {args.binned_dir}")


def _binned(args: argparse.Namespace) -> None:
    _check_apart(args)
    job = job_of(args)
    from ..jobs import binned

    report = binned.run_binned(job, args.levels, args.bin_sizes)
    level = [] if args.levels is None else ["--level", str(args.levels[0])]
    size = [] if args.bin_sizes[0] == BinParams.bin_size else ["--bin-size", str(args.bin_sizes[0])]
    _said(
        args,
        report,
        next_command("metric", args, "--components", "binned", *preset_options(args), *level, *size),
    )


def _metric(args: argparse.Namespace) -> None:
    _check_apart(args)
    job = job_of(args)
    from ..jobs import metric

    report = metric.run_metric(job, getattr(args, "components", None), args.level, args.bin_size)
    _said(args, report, next_command("base", args, "--preset", "paper,tuned,lean"))
