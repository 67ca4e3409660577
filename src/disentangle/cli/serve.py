"""The command line of `serve`."""

from __future__ import annotations

import argparse
from dataclasses import fields

from ..runtime.threads import check_threads, limit_threads
from ..serve.params import ServeParams
from .arguments import add_declared, add_threads, place


def add_serve(commands: argparse._SubParsersAction) -> None:
    """Add `serve` to the commands."""
    parser = commands.add_parser(
        "serve",
        help="bundles behind Annif's REST API, with a page to try them",
        description="Answer Annif's REST API with bundles, each a project named after its folder, or the "
        "link to it. SIGTERM ends it when what has begun is answered.",
    )
    parser.set_defaults(handler=_serve)
    add = parser.add_argument
    add("bundles", nargs="+", type=place, metavar="BUNDLE", help="a folder that bundle or save has made")
    add("--host", default="127.0.0.1", help="address to listen at; 0.0.0.0 is open to other machines")
    add_declared(parser, ServeParams, *(one.name for one in fields(ServeParams)))
    add("--language", default="und", metavar="CODE", help="of texts and labels; und says nothing of it")
    add_threads(parser)


def _serve(args: argparse.Namespace) -> None:
    check_threads(args.threads)
    limit_threads(1)  # of one request; there are as many at a time as there are threads
    from ..jobs.settings import filled
    from ..runtime import progress
    from ..serve import server

    server.require()
    progress.set_up_logging()
    params = filled(ServeParams, vars(args))
    server.run_serve(args.bundles, args.host, args.language, params, args.threads)
