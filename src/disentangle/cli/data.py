"""The command line of `data`: datasets listed, fetched, checked, described, imported, exported."""

from __future__ import annotations

import argparse
from dataclasses import fields, replace
from typing import Any

from ..data.columns import Columns
from ..data.text_settings import TEXT_SETTINGS, USUAL
from ..errors import DisentangleError
from ..params import FEATURES, X_TRANSFORMER, TfidfParams
from ..runtime.threads import limit_threads
from .arguments import add_features, add_mirror, add_places, add_threads, dataset_name, integer, number, place

# The formats' names, so that help need not import what reads them.
FORMATS = ("svmlight", "attentionxml", "pecos", "jsonl", "csv", "tsv", "annif", "npz")
EXPORT_FORMATS = FORMATS[:4]
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
    add_places(info, "model_dir")
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
    add = parser.add_argument
    files = (
        "TEXTS LABELS for attentionxml; FEATURES LABELS for npz; one FILE for svmlight and pecos, else "
        "one or several, and for annif folders"
    )
    add("--format", choices=FORMATS, required=True)
    add("--trn", type=place, nargs="+", required=True, metavar="FILE", help=f"training part: {files}")
    add("--tst", type=place, nargs="+", default=[], metavar="FILE", help="test part, likewise")
    add("--split", type=number, metavar="SHARE", help="draw so much of the training part as the test part")
    add("--seed", type=integer, default=0, help="of --split")
    add("--val", type=place, nargs="+", default=[], metavar="FILE", help="validation part, if there is one")
    add(
        "--output-items",
        type=place,
        help="label names, one a line, in the order of their ids; pecos needs it",
    )
    add("--replace", action="store_true", help="replace a dataset of this name that another import has made")
    _add_columns(parser)
    _add_vocabulary(parser)
    _add_tfidf(parser)


def _add_columns(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("columns, for csv and tsv, and keys, for jsonl and Annif's JSON")
    add = group.add_argument
    several: dict[str, Any] = {"nargs": "+", "default": (), "metavar": "NAME"}
    add("--text-column", **several, help="whose texts are an instance's, joined (default: text)")
    add("--label-column", **several, help="whose labels are an instance's (default: labels)")
    add("--separator", default=Columns.separator, help="what stands between the labels of a cell")
    add("--delimiter", help="what stands between cells (default: a comma, or for tsv a tab)")
    add("--no-quotes", dest="has_quotes", action="store_false", help="take quotes for letters")


def _add_vocabulary(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("vocabulary, for formats with names of labels")
    group.add_argument(
        "--vocabulary",
        type=place,
        metavar="FILE",
        help="URIs and names of the labels: TSV, CSV, or SKOS by rdflib",
    )
    group.add_argument("--language", metavar="TAG", help="of the names, if the vocabulary has several")


def _add_tfidf(parser: argparse.ArgumentParser) -> None:
    """Add settings that are only there if they are given, over those that a name stands for."""
    group = parser.add_argument_group(
        "tf-idf, for formats of text", "settings of scikit-learn's TfidfVectorizer"
    )
    default = TfidfParams()

    def add(option: str, words: str, **kwargs: Any) -> None:
        group.add_argument(option, default=argparse.SUPPRESS, help=words, **kwargs)

    named = "; ".join(f"{name}: {_in_words(params)}" for name, params in TEXT_SETTINGS.items())
    words = f"{named}; the options below override it"
    group.add_argument("--text-settings", choices=TEXT_SETTINGS, default=USUAL, help=words)
    add("--ngram-range", "fewest and most words of a term", type=integer, nargs=2, metavar=("MIN", "MAX"))
    add("--min-df", "training instances a term must be in", type=integer)
    share = f"share of the training instances it may be in (default: {default.max_df})"
    add("--max-df", share, type=number)
    add("--max-features", "only that many terms, the most frequent", type=integer)
    add("--sublinear-tf", "count n occurrences as 1 + ln(n)", action="store_true")
    add("--keep-case", "tell upper case from lower case", dest="lowercase", action="store_false")
    add("--token-pattern", f"regular expression of a word (default: {default.token_pattern})")


def _in_words(params: TfidfParams) -> str:
    return f"--ngram-range {params.ngram_range[0]} {params.ngram_range[1]} --min-df {params.min_df}"


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
    add_places(parser, "data_dir")
    return parser


def _list(args: argparse.Namespace) -> None:
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
        except OSError:
            rows[name] = {}, "cannot be read"
    printing.print_tables([tables.datasets_table(args.data_dir, rows)])


def _get(args: argparse.Namespace) -> None:
    from ..data import known_datasets
    from ..runtime import progress

    progress.set_up_logging()
    if args.features is None:
        if args.place is not None or args.files is not None:
            raise DisentangleError(f"--from and --files must come with --features {PUBLISHED}, got none")
        print(known_datasets.get(args.data_dir, args.name, args.mirror, args.any_size))
        return
    from ..jobs import published_features

    if known_datasets.is_missing(args.data_dir, args.name):
        known_datasets.get(args.data_dir, args.name, args.mirror, args.any_size)
    names = tuple(args.files or published_features.FILES)
    print(published_features.get(args.data_dir, args.name, args.place, names))


def _check(args: argparse.Namespace) -> int:
    from ..data import checks

    found = checks.check(args.data_dir, args.name, args.features)
    for finding in found:
        print(f"{finding.level}: {finding.text}")
    levels = {finding.level for finding in found}
    if not levels - {"note"}:
        print(f"{args.name}: nothing is wrong")
    return 2 if "error" in levels else 1 if "warning" in levels else 0


def _info(args: argparse.Namespace) -> None:
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


def _import(args: argparse.Namespace) -> None:
    from ..data import datasets, formats
    from ..jobs import importing
    from ..runtime import progress

    given = {field.name: getattr(args, field.name) for field in fields(TfidfParams) if field.name in args}
    if (given or args.text_settings != USUAL) and not formats.FORMATS[args.format].has_text:
        raise DisentangleError(f"settings of tf-idf must come with a format of text, got {args.format}")
    if "ngram_range" in given:
        given["ngram_range"] = tuple(given["ngram_range"])
    columns = Columns(
        tuple(args.text_column), tuple(args.label_column), args.separator, args.delimiter, args.has_quotes
    )
    job = importing.Import(
        args.name,
        args.format,
        tuple(args.trn),
        tuple(args.tst),
        args.output_items,
        replace(TEXT_SETTINGS[args.text_settings], **given),
        tuple(args.val),
        columns,
        args.vocabulary,
        args.language,
        args.split,
        args.seed,
    )
    progress.set_up_logging()
    made = importing.import_dataset(job, args.data_dir, args.replace)
    sizes = {name: n for name, n in made.items() if name.startswith("n_")}
    print(f"{args.data_dir / args.name}: {datasets.in_words(sizes)}")


def _export(args: argparse.Namespace) -> None:
    from ..jobs import exporting

    for path in exporting.export_dataset(args.data_dir, args.name, args.format, args.out, args.features):
        print(path)
