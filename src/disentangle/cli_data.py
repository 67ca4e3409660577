"""The command line of `data`: datasets listed, fetched, checked, described, imported, exported."""

from __future__ import annotations

import argparse
import os
from dataclasses import fields
from pathlib import Path

from .errors import DisentangleError
from .params import ARCHIVE, TfidfParams, at_least

# The formats' names, so that help need not import what reads them.
FORMATS = ("svmlight", "attentionxml", "pecos", "jsonl", "npz")
EXPORT_FORMATS = FORMATS[:-1]


def add_data(commands: argparse._SubParsersAction) -> None:
    """Add the command `data` and what it offers."""
    parser = commands.add_parser("data", help="list, fetch, check, describe, import, export datasets")
    actions = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add(actions, "list", _list, "datasets that are here, and those that can be fetched by name")
    get = _add(actions, "get", _get, "fetch a benchmark set", name="name of the dataset")
    add_mirror(get)
    get.add_argument(
        "--any-size", action="store_true", help="take other numbers of instances and labels than published"
    )
    check = "exit status 0 for nothing, 1 for warnings, 2 for errors"
    _add(
        actions,
        "check",
        _check,
        f"say what is wrong or odd about a dataset; {check}",
        name="name of the dataset",
    )
    info = _add(actions, "info", _info, "sizes, and what a base run will cost", name="name of the dataset")
    add_place(
        info, "--model-dir", "XMC_MODEL", "model", "folder of the results, for the pace of runs made here"
    )
    add_threads(info)
    _add_import(actions)
    export = _add(actions, "export", _export, "write a dataset in another format", name="name of the dataset")
    export.add_argument("--format", choices=EXPORT_FORMATS, required=True)
    export.add_argument("--out", type=Path, required=True, help="folder to make")


def _add_import(actions: argparse._SubParsersAction) -> None:
    parser = _add(
        actions,
        "import",
        _import,
        "make a dataset from files in another format",
        name="name of the dataset to make",
    )
    add, default = parser.add_argument, TfidfParams()
    files = "FILE for svmlight, pecos and jsonl; TEXTS LABELS for attentionxml; FEATURES LABELS for npz"
    add("--format", choices=FORMATS, required=True)
    add("--trn", type=Path, nargs="+", required=True, metavar="FILE", help=f"training part: {files}")
    add("--tst", type=Path, nargs="+", required=True, metavar="FILE", help="test part, likewise")
    add(
        "--output-items", type=Path, help="label names, one a line, in the order of their ids; pecos needs it"
    )
    group = parser.add_argument_group(
        "tf-idf, for formats of text", "settings of scikit-learn's TfidfVectorizer"
    )
    add = group.add_argument
    add(
        "--ngram-range",
        type=int,
        nargs=2,
        default=default.ngram_range,
        metavar=("MIN", "MAX"),
        help="words per term",
    )
    add("--min-df", type=int, default=default.min_df, help="training instances a term must be in")
    add("--max-df", type=float, default=default.max_df, help="share of the training instances it may be in")
    add(
        "--max-features",
        type=int,
        default=default.max_features,
        help="only that many terms, the most frequent",
    )
    add("--sublinear-tf", action="store_true", help="count n occurrences as 1 + ln(n)")
    add("--keep-case", dest="lowercase", action="store_false", help="tell upper case from lower case")
    add("--token-pattern", default=default.token_pattern, help="regular expression of a word")


def _add(
    actions: argparse._SubParsersAction, command: str, handler: object, summary: str, **name: str
) -> argparse.ArgumentParser:
    parser = actions.add_parser(
        command,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.set_defaults(handler=handler)
    for argument, words in name.items():
        # A trailing slash is what a shell's completion leaves behind a folder's name.
        parser.add_argument(argument, type=lambda text: text.rstrip("/"), help=words)
    add_place(parser, "--data-dir", "XMC_DATA", "dataset/xmc-base", "folder of the datasets")
    return parser


def add_place(parser: argparse.ArgumentParser, option: str, variable: str, default: str, words: str) -> None:
    """Add a folder that an environment variable can name."""
    place = os.environ.get(variable) or default
    parser.add_argument(option, type=Path, default=place, help=f"{words} (environment: {variable})")


def add_mirror(parser: argparse.ArgumentParser) -> None:
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
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--threads", type=int, default=cores, help="threads; no effect on results")


def add_max_memory(parser: argparse.ArgumentParser) -> None:
    """Add how much memory there may be."""
    parser.add_argument(
        "--max-memory",
        type=float,
        metavar="GIB",
        help="most memory to take while batches are matched and predicted; no effect on results",
    )


def _list(args: argparse.Namespace) -> int:
    from . import catalog, data, report

    rows = {
        name: (entry.published[0], "fetched on first use; published sizes")
        for name, entry in catalog.entries().items()
    }
    for name in data.datasets_in(args.data_dir):
        try:
            rows[name] = data.sizes_in(args.data_dir / name), "here"
        except DisentangleError:
            rows[name] = {}, f"here, but damaged: see `data check {name}`"
    report.print_datasets(args.data_dir, rows)
    return 0


def _get(args: argparse.Namespace) -> int:
    from . import catalog, progress

    progress.set_up_logging()
    print(catalog.get(args.data_dir, args.name, args.mirror, args.any_size))
    return 0


def _check(args: argparse.Namespace) -> int:
    from . import checks

    found = checks.check(args.data_dir, args.name)
    for finding in found:
        print(f"{finding.level}: {finding.text}")
    levels = {finding.level for finding in found}
    if not levels - {"note"}:
        print(f"{args.name}: nothing is wrong")
    return 2 if "error" in levels else 1 if "warning" in levels else 0


def _info(args: argparse.Namespace) -> int:
    from . import data, describe, estimate, report, stages

    at_least("threads", args.threads, 1)
    dataset = data.load_dataset(args.data_dir, args.name)
    size = estimate.size_of(dataset.X_trn, dataset.Y_trn)
    machine = stages.machine()
    costs = estimate.estimate(size, args.threads, machine, args.model_dir)
    report.print_info(dataset.name, describe.describe(dataset), costs, args.threads, machine)
    return 0


def _import(args: argparse.Namespace) -> int:
    from . import data, importing, progress

    settings = {field.name: getattr(args, field.name) for field in fields(TfidfParams)}
    settings["ngram_range"] = tuple(settings["ngram_range"])
    job = importing.Import(
        args.name, args.format, tuple(args.trn), tuple(args.tst), args.output_items, TfidfParams(**settings)
    )
    progress.set_up_logging()
    made = importing.import_dataset(job, args.data_dir)
    sizes = {name: n for name, n in made.items() if name.startswith("n_")}
    print(f"{args.data_dir / args.name}: {data.in_words(sizes)}")
    return 0


def _export(args: argparse.Namespace) -> int:
    from . import exporting

    for path in exporting.export_dataset(args.data_dir, args.name, args.format, args.out):
        print(path)
    return 0
