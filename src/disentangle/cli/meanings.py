"""The command that shows what the copies of labels stand for."""

from __future__ import annotations

import argparse

from .arguments import integer
from .jobs import _add_job, _job, _next, _preset


def add_meanings(commands: argparse._SubParsersAction) -> None:
    """Add the command."""
    meanings = _add_job(
        commands,
        "meanings",
        _meanings,
        "what the copies of labels stand for, the most ambiguous labels first",
        "Rank labels by how unlike their instances are, and show what each of their copies stands for.",
    )
    meanings.add_argument(
        "--labels", nargs="+", default=[], metavar="LABEL", help="only these, by their names or ids"
    )
    meanings.add_argument(
        "--limit", type=integer, default=1000, help="most labels whose copies are looked at"
    )


def _meanings(args: argparse.Namespace) -> None:
    job = _job(args)
    from ..jobs import meanings, printing

    report = meanings.run_meanings(job, args.labels, args.limit)
    printing.print_meanings(report)
    if args.mlflow is not None:
        args.log.add(report)
    printing.print_end(report["files"], _next("meanings", args, *_preset(args), "--labels", "NAME"))
