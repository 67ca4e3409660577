"""A job's report as a page for a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..html import run_page
from .tables import tables_of


def write(report: dict[str, Any]) -> Path:
    """Write a page beside the JSON that a job has left, of its tables and figures.

    Parameters
    ----------
    report : dict
        As a job returns it: the first of its "files" is the JSON, those that end in .png are figures.

    Raises
    ------
    DisentangleError
        If the page cannot be written, or a figure is not there any more.
    """
    path = report["files"][0].with_suffix(".html")
    tables = [vars(table) for table in tables_of(report)]
    figures = [file.with_suffix(".svg") for file in report["files"] if file.suffix == ".png"]
    run_page.write(path, report, tables, figures)
    return path
