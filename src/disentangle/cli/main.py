"""The command line: one command, what it prints when it fails, and its exit status."""

from __future__ import annotations

import argparse
import io
import os
import shlex
import sys
import sysconfig
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from typing import NoReturn

from .. import __version__
from ..errors import DisentangleError, printable
from ..runtime import interrupt
from .arguments import Parser
from .bundle import add_bundle
from .data import add_data
from .encode import add_encode
from .jobs import add_jobs
from .meanings import add_meanings
from .predict import add_predict
from .report import add_report
from .serve import add_serve
from .xr_transformer import add_xr_transformer

_CANNOT_LOAD = "error: cannot load what is installed (too little memory, or a damaged installation?)"


def main() -> None:
    """Run the command that the arguments ask for."""
    _plug_closed_streams()
    run(partial(_handle, _parser().parse_args()))


def _handle(args: argparse.Namespace) -> int | None:
    with ExitStack() as args.opened:  # for what is to be closed when the command ends
        status: int | None = args.handler(args)
    return status


def run(command: Callable[[], int | None]) -> NoReturn:
    """Run a command; exit status 2 for what the user can fix, 128 + the signal's number when stopped."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names of labels may not be writable in the terminal's encoding; that must not cost the table.
        sys.stdout.reconfigure(errors="replace")
    try:
        status = interrupt.run(command)
        if sys.stdout is not None:
            sys.stdout.flush()
        sys.exit(status)
    except DisentangleError as error:
        _leave(f"error: {error}")
    except ModuleNotFoundError as error:
        _leave(f"error: {_how_to_install(error)}")
    except ImportError as error:
        _leave(f"{_CANNOT_LOAD}: {error}")
    except MemoryError:
        _leave("error: out of memory; run again on a larger machine, what is finished is kept")
    except BrokenPipeError:
        # Whoever read the table has seen enough; the results are on disk.
        os._exit(0)
    except OSError as error:
        if error.errno is None:  # llvmlite's way to say it
            _leave(f"{_CANNOT_LOAD}: {error}")
        # Whatever has a file reads and writes it where its name is known.
        what = f"read or write {error.filename}" if error.filename else "write standard output"
        _leave(f"error: cannot {what}: {error.strerror or error}")


def _how_to_install(missing: ModuleNotFoundError) -> str:
    """libpecos is not declared, as it would bring torch; from Python 3.13 on it has no packages."""
    if missing.name not in ("pecos", "libpecos"):
        return f"{missing}; requirements.txt lists what must be installed"
    command = [sys.executable, "-m", "pip", "install", "--no-deps"]
    if sys.version_info >= (3, 13):
        folder = sysconfig.get_path("purelib")
        command += ["--only-binary=:all:", "--python-version", "3.12", "--target", folder]
    return f"libpecos is missing, install it without torch: {shlex.join([*command, 'libpecos==1.2.8'])}"


def _plug_closed_streams() -> None:
    """Keep files from taking the numbers of standard streams that are closed, to which libraries write."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


def _leave(sentence: str) -> NoReturn:
    if sys.stderr is not None:  # it was closed before Python began; print would take standard output
        with suppress(OSError):  # nobody may be there to read it
            print(printable(sentence), file=sys.stderr, flush=True)
    # A PECOS call may still run in its thread: an ordinary exit could wait for it or crash.
    os._exit(2)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m disentangle",
        description="Label disentanglement in extreme multi-label classification.",
    )
    parser.add_argument("--version", action="version", version=f"disentangle {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    add_jobs(commands)
    add_meanings(commands)
    add_predict(commands)
    add_bundle(commands)
    add_serve(commands)
    add_report(commands)
    add_data(commands)
    add_encode(commands)
    add_xr_transformer(commands)
    return parser
