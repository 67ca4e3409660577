"""The command that shows what the copies of labels stand for."""

from __future__ import annotations

import argparse

from .arguments import integer
from .jobs import add_job, end, job_of, next_command, preset_options


def add_meanings(commands: argparse._SubParsersAction) -> None:
    """Add the command."""
    meanings = add_job(
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
    job = job_of(args)
    from ..jobs import meanings, printing

    report = meanings.run_meanings(job, args.labels, args.limit)
    printing.print_meanings(report)
    following = next_command("meanings", args, *preset_options(args), "--labels", "NAME")
    end(args, report, report["files"], following)
