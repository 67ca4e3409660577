"""The command line of `data`: datasets listed, fetched, checked, described, imported, exported."""

from __future__ import annotations

import argparse
from dataclasses import fields

from ..errors import DisentangleError
from ..params import FEATURES, X_TRANSFORMER, TfidfParams
from ..runtime.threads import limit_threads
from .arguments import add_features, add_mirror, add_place, add_threads, dataset_name, integer, number, place

# The formats' names, so that help need not import what reads them.
FORMATS = ("svmlight", "attentionxml", "pecos", "jsonl", "npz")
EXPORT_FORMATS = FORMATS[:-1]
PUBLISHED = "x-transformer"


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
    _add_features(get)
    check = "exit status 0 for nothing, 1 for warnings, 2 for errors"
    checked = _add(
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
    export.add_argument("--out", type=place, required=True, help="folder to make")
    for command in (checked, info, export):
        add_features(command)


def _add_features(get: argparse.ArgumentParser) -> None:
    group = get.add_argument_group(
        "features", "matrices that the paper's authors have published for a set, as one of its feature sets"
    )
    group.add_argument("--features", choices=(PUBLISHED,), help="fetch these, and the set if it is not there")
    group.add_argument(
        "--from",
        dest="place",
        metavar="PLACE",
        help=f"URL or folder that holds the files (default: {X_TRANSFORMER}/NAME)",
    )
    words = "their names: sparse (.npz) or dense (.npy) (default: X.trn.npz X.tst.npz)"
    group.add_argument("--files", nargs=2, metavar=("TRN", "TST"), help=words)


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
    add("--trn", type=place, nargs="+", required=True, metavar="FILE", help=f"training part: {files}")
    add("--tst", type=place, nargs="+", required=True, metavar="FILE", help="test part, likewise")
    add(
        "--output-items",
        type=place,
        help="label names, one a line, in the order of their ids; pecos needs it",
    )
    group = parser.add_argument_group(
        "tf-idf, for formats of text", "settings of scikit-learn's TfidfVectorizer"
    )
    add = group.add_argument
    add(
        "--ngram-range",
        type=integer,
        nargs=2,
        default=default.ngram_range,
        metavar=("MIN", "MAX"),
        help="words per term",
    )
    add("--min-df", type=integer, default=default.min_df, help="training instances a term must be in")
    add("--max-df", type=number, default=default.max_df, help="share of the training instances it may be in")
    add(
        "--max-features",
        type=integer,
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
    )
    parser.set_defaults(handler=handler)
    for argument, words in name.items():
        parser.add_argument(argument, type=dataset_name, help=words)
    add_place(parser, "--data-dir", "XMC_DATA", "dataset/xmc-base", "folder of the datasets")
    return parser


def _list(args: argparse.Namespace) -> int:
    from ..data import datasets, known_datasets
    from ..jobs import printing, tables

    rows = {name: (entry.published[0], "to fetch") for name, entry in known_datasets.entries().items()}
    for name in datasets.datasets_in(args.data_dir):
        folder = args.data_dir / name
        others = [features for features in datasets.feature_sets(folder) if features != FEATURES]
        features = others[0] if others and not (folder / FEATURES).exists() else FEATURES
        try:
            rows[name] = datasets.sizes_in(folder, features), ", ".join(["here", *others])
        except DisentangleError:
            rows[name] = {}, "damaged"
    printing.print_tables([tables.datasets_table(args.data_dir, rows)])
    return 0


def _get(args: argparse.Namespace) -> int:
    from ..data import known_datasets
    from ..runtime import progress

    progress.set_up_logging()
    if args.features is None:
        if args.place is not None or args.files is not None:
            raise DisentangleError(f"--from and --files must come with --features {PUBLISHED}, got none")
        print(known_datasets.get(args.data_dir, args.name, args.mirror, args.any_size))
        return 0
    from ..jobs import published_features

    if known_datasets.is_missing(args.data_dir, args.name):
        known_datasets.get(args.data_dir, args.name, args.mirror, args.any_size)
    names = tuple(args.files or published_features.FILES)
    print(published_features.get(args.data_dir, args.name, args.place, names))
    return 0


def _check(args: argparse.Namespace) -> int:
    from ..data import checks

    found = checks.check(args.data_dir, args.name, args.features)
    for finding in found:
        print(f"{finding.level}: {finding.text}")
    levels = {finding.level for finding in found}
    if not levels - {"note"}:
        print(f"{args.name}: nothing is wrong")
    return 2 if "error" in levels else 1 if "warning" in levels else 0


def _info(args: argparse.Namespace) -> int:
    limit_threads(args.threads)
    from ..data import datasets, statistics
    from ..data.features import titled
    from ..jobs import cost_estimate, printing, tables
    from ..runtime import provenance

    loaded = datasets.load_dataset(args.data_dir, args.name, args.features)
    size = cost_estimate.size_of(loaded.X_trn, loaded.Y_trn)
    machine = provenance.machine()
    costs = cost_estimate.estimate(size, args.threads, machine, args.model_dir)
    described, title = statistics.describe(loaded), titled(args.name, args.features)
    printing.print_tables([tables.info_table(title, described, costs, args.threads, machine)])
    return 0


def _import(args: argparse.Namespace) -> int:
    from ..data import datasets
    from ..jobs import importing
    from ..runtime import progress

    settings = {field.name: getattr(args, field.name) for field in fields(TfidfParams)}
    settings["ngram_range"] = tuple(settings["ngram_range"])
    job = importing.Import(
        args.name, args.format, tuple(args.trn), tuple(args.tst), args.output_items, TfidfParams(**settings)
    )
    progress.set_up_logging()
    made = importing.import_dataset(job, args.data_dir)
    sizes = {name: n for name, n in made.items() if name.startswith("n_")}
    print(f"{args.data_dir / args.name}: {datasets.in_words(sizes)}")
    return 0


def _export(args: argparse.Namespace) -> int:
    from ..jobs import exporting

    for path in exporting.export_dataset(args.data_dir, args.name, args.format, args.out, args.features):
        print(path)
    return 0
