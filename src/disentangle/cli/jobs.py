"""The commands of the jobs: base, binned, metric, sweep. Heavy imports wait inside the handlers."""

from __future__ import annotations

import argparse
import itertools
import math
import os
import shlex
import sys
from collections.abc import Callable
from dataclasses import Field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import DisentangleError
from ..limits import option
from ..params import (
    DEFAULT_DATASET,
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
    READERS,
    add_max_memory,
    add_mirror,
    add_place,
    add_threads,
    dataset_name,
    integer,
)

if TYPE_CHECKING:
    from ..jobs.job import Job


_LEVEL = f"(default: {BinParams.level_from_leaf}, or the highest of a tree that has not as many)"


def add_jobs(commands: argparse._SubParsersAction) -> None:
    """Add the jobs to the commands."""
    _add_base(commands)
    _add_binned(commands)
    _add_metric(commands)
    _add_sweep(commands)


def _add_base(commands: argparse._SubParsersAction) -> None:
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


def _add_binned(commands: argparse._SubParsersAction) -> None:
    binned = _add_job(
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
    metric.add_argument("--level", type=integer, help=f"level above the leaves to bin at {_LEVEL}")
    metric.add_argument("--bin-size", type=integer, default=BinParams.bin_size, help="labels per bin")


def _add_sweep(commands: argparse._SubParsersAction) -> None:
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
        help="values of a part of the preset, as it is called below, such as leaf_size=20,50; given several "
        "times, all combinations are compared",
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


def _add_job(
    commands: argparse._SubParsersAction, name: str, handler: Callable, summary: str, description: str
) -> argparse.ArgumentParser:
    reuse = "Finished stages are reused while data, parameters, code and versions match."
    usage = f"python -m disentangle {name} [DATASET] [options]"
    parser = commands.add_parser(name, help=summary, usage=usage, description=f"{description} {reuse}")
    parser.set_defaults(handler=handler)
    parser.add_argument(
        "dataset",
        nargs="?",
        type=dataset_name,
        default=DEFAULT_DATASET,
        help="name of a folder in the data folder",
    )
    parser.add_argument(
        "--preset",
        type=_presets,
        default=DEFAULT_PRESET,
        help=f"how labels are duplicated: {', '.join(PRESETS)}; base and sweep take several, separated by "
        "commas",
    )
    _add_declared(parser, TreeParams, "seed")
    add_threads(parser)
    add_max_memory(parser)
    for name, variable, default, words in (
        ("--data-dir", "XMC_DATA", "dataset/xmc-base", "folder of the datasets"),
        ("--model-dir", "XMC_MODEL", "model", "folder of the results"),
    ):
        add_place(parser, name, variable, default, words)
    parser.add_argument("--force", action="store_true", help="redo stages that are done")
    _add_rest(parser)
    _add_parts(parser)
    return parser


def _add_rest(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the first tree, prediction, figures, other places")
    _add_declared(group, TreeParams, "nr_splits", "max_leaf_size")
    _add_declared(group, PredictParams, "beam_size", "top_k")
    _add_declared(group, Propensity, "A", "B")
    add_place(group, "--binned-dir", "XMC_BINNED", "dataset-binned", "folder of binned label sets")
    add_mirror(group)
    group.add_argument(
        "--mlflow",
        metavar="URI",
        help="log each method's parameters and figures there, too; it needs the package mlflow-skinny",
    )


def _add_declared(group: argparse._ActionsContainer, params: type, *names: str) -> None:
    """Add fields of a parameter class; left out unless given, as a preset and a dataset have their own."""
    declared = {one.name: one for one in fields(params)}
    for name in names:
        one = declared[name]
        group.add_argument(
            option(name),
            dest=name,
            type=_reader(one),
            default=argparse.SUPPRESS,
            metavar=name.upper(),
            help=f"{one.metadata['words']} (default: {one.default}, or the dataset's own)",
        )


def _add_parts(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the parts of a preset", f"In brackets: {', '.join(PRESETS)}.")
    values = [params.parts() for params in PRESETS.values()]
    for name, one in overlap_fields().items():
        said = ", ".join("-" if preset[name] is None else str(preset[name]) for preset in values)
        group.add_argument(
            option(name),
            type=_reader(one),
            choices=one.metadata.get("choices"),
            default=argparse.SUPPRESS,
            metavar="|".join(one.metadata["choices"]) if "choices" in one.metadata else name.upper(),
            help=f"{one.metadata['words']} ({said})",
        )


def _reader(one: Field[Any]) -> Callable[[str], Any]:
    """How a value of a parameter is read, by its declared type."""
    return READERS[next(kind for kind in READERS if str(one.type).startswith(kind.__name__))]


def _presets(text: str) -> list[str]:
    """Names of presets in the order given, each once."""
    names = list(dict.fromkeys(text.split(",")))
    if unknown := [name for name in names if name not in PRESETS]:
        raise argparse.ArgumentTypeError(f"expected some of {', '.join(PRESETS)}, got {unknown[0]!r}")
    return names


def _job(args: argparse.Namespace, combinations: tuple[dict[str, Any], ...] = ({},)) -> Job:
    limit_threads(args.threads)
    from ..data import known_datasets
    from ..jobs.job import Job
    from ..jobs.settings import Settings, variant_of
    from ..runtime import progress

    given = known_datasets.settings_of(args.dataset) | vars(args)
    settings = Settings(
        threads=args.threads,
        variants=tuple(
            variant_of(preset, given | combination) for preset in args.preset for combination in combinations
        ),
        tree=_filled(TreeParams, given),
        n_trees=getattr(args, "n_trees", 1),
        predict=_filled(PredictParams, given),
        propensity=_filled(Propensity, given),
        max_memory=args.max_memory,
        force=args.force,
        xr_linear=not getattr(args, "without_xr_linear", False),
    )
    progress.set_up_logging()
    if args.mlflow is not None:
        from ..jobs import mlflow_log

        # Before anything is trained.
        args.log = mlflow_log.Log(args.mlflow)
    return Job(args.dataset, args.data_dir, args.model_dir, args.binned_dir, settings, args.mirror)


P = TypeVar("P")


def _filled(params: type[P], given: dict[str, Any]) -> P:
    """Parameters of one kind, of which those that are given are not the defaults."""
    names = [one.name for one in fields(params)]  # type: ignore[arg-type]
    return params(**{name: given[name] for name in names if name in given})


def _next(command: str, args: argparse.Namespace, more: str) -> str:
    """A command that one may want to run now, from here: the drivers' users have installed nothing."""
    path = os.environ.get("PYTHONPATH")
    where = f"PYTHONPATH={shlex.quote(path)} " if path else ""
    called = [sys.executable, "-m", "disentangle", command, args.dataset]
    for name, folder, usual in (
        ("--data-dir", args.data_dir, "dataset/xmc-base"),
        ("--model-dir", args.model_dir, "model"),
    ):
        if folder.resolve() != Path(usual).resolve():
            called += [name, str(folder)]
    return f"{where}{shlex.join(called)} {more}"


def _finish(args: argparse.Namespace, report: dict[str, Any], following: str) -> None:
    from ..jobs import printing, tables

    printing.print_tables(tables.tables_of(report))
    if args.mlflow is not None:
        args.log.add(report)
    printing.print_end(report, following)


def _base(args: argparse.Namespace) -> None:
    job = _job(args)
    from ..jobs import base

    report = base.run_base(job)
    _finish(args, report, _next("predict", args, "--input FILE"))


def _sweep(args: argparse.Namespace) -> None:
    """Each combination of the grid is a variant: what it changes is given as if by its own options."""
    from ..jobs import sweep

    n = math.prod(len(values) for _, values in args.grid) * len(args.preset)
    if n > MAX_REPEATS:
        raise DisentangleError(
            f"--grid must make at most {MAX_REPEATS} combinations with the presets, got {n}"
        )
    layers = []
    for values in itertools.product(*(values for _, values in args.grid)):
        given = dict(zip((name for name, _ in args.grid), values, strict=True))
        layers.append({name: _parse_part(name, value) for name, value in given.items()})
    report = sweep.run_sweep(_job(args, tuple(layers)))
    _finish(args, report, _next("base", args, f"--preset {','.join(args.preset)}"))


def _parse_part(name: str, value: str) -> Any:
    try:
        return _reader(overlap_fields()[name])(value)
    except argparse.ArgumentTypeError as error:
        raise DisentangleError(f"--grid {name}: {error}") from None


def _binned(args: argparse.Namespace) -> None:
    job = _job(args)
    from ..jobs import binned

    report = binned.run_binned(job, args.levels, args.bin_sizes)
    _finish(args, report, _next("metric", args, "--components binned"))


def _metric(args: argparse.Namespace) -> None:
    job = _job(args)
    from ..jobs import metric

    kind = getattr(args, "components", None)
    report = metric.run_metric(job, kind, args.level, args.bin_size)
    _finish(args, report, _next("base", args, "--preset paper,tuned,lean"))
