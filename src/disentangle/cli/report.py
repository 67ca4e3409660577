"""The command line of `report`."""

from __future__ import annotations

import argparse

from .arguments import add_features, add_places, dataset_name, place

# Their names, so that help need not import what writes them.
FORMATS = ("latex", "markdown", "csv")


def add_report(commands: argparse._SubParsersAction) -> None:
    """Add `report` to the commands."""
    parser = commands.add_parser(
        "report",
        help="a job's tables again: here, for LaTeX, for Markdown, as CSV",
        description="Print the tables of a job that has ended; nothing is trained.",
    )
    parser.set_defaults(handler=_report)
    parser.add_argument(
        "report",
        type=dataset_name,
        metavar="PATH",
        help="a report.json or its folder, a runs.jsonl, or the name of a dataset with results",
    )
    parser.add_argument(
        "--job",
        choices=("base", "binned", "meanings", "metric", "sweep", "xr-transformer"),
        default="base",
        help="whose report of the dataset",
    )
    add_features(parser)
    parser.add_argument(
        "--table", choices=FORMATS, help="what to write; without it the table that the job printed"
    )
    parser.add_argument("--out", type=place, metavar="FILE", help="with --table: a file to write it to")
    add_places(parser, "model_dir")


def _report(args: argparse.Namespace) -> None:
    from ..errors import DisentangleError
    from ..jobs import export, printing, reports
    from ..runtime.terminal import standard_output
    from ..storage import atomic, places

    if args.out is not None and args.table is None:
        raise DisentangleError("--out must come with --table, got none")
    path = reports.find(args.report, args.model_dir, args.job, args.features)
    out = None if args.out is None else places.check_file("--out", args.out, [path])
    report, tables = reports.read(path)
    if args.table is None:
        printing.print_tables(tables)
        return
    with reports.trusted(path):
        text = export.text_of(args.table, report, tables)
    if out is None:
        with standard_output() as file:
            file.write(text)
        return
    with atomic.replacing(out) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="replace", newline="\n")
