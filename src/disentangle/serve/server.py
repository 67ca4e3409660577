"""The server: a socket, uvicorn over it, and an end that answers what has begun."""

from __future__ import annotations

import logging
import socket
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path

from ..errors import DisentangleError
from ..limits import check_limits
from ..runtime import interrupt
from .app import App
from .params import ServeParams
from .project import Project, name_of

logger = logging.getLogger(__name__)


def require() -> None:
    """Raise DisentangleError unless what serves HTTP is installed."""
    if find_spec("uvicorn") is None:
        raise DisentangleError(
            "serve needs the package uvicorn, found none: python -m pip install -r requirements-serve.txt"
        )


def run_serve(folders: list[Path], host: str, language: str, params: ServeParams, threads: int) -> None:
    """Serve bundles until a signal asks for the end; what has begun is answered then.

    Raises
    ------
    DisentangleError
        If a folder is no bundle of a model of texts, two have one name, or nothing can listen there.
    """
    import uvicorn

    check_limits(params)
    listening = _listen(host, params.port)
    is_local = ip_address(listening.getsockname()[0]).is_loopback
    app = App(_projects(folders, language), params, threads, is_local)
    config = uvicorn.Config(
        app,
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        # Of a request that is no HTTP it would warn, and advise what to install.
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        # A request may take as long for its body, and again for the answer.
        timeout_graceful_shutdown=2 * params.timeout + 1,
    )
    server = uvicorn.Server(config)

    def end() -> None:
        logger.info("ending: what has begun is answered first")
        server.should_exit = True

    with interrupt.heeding(end), listening:
        address, port = listening.getsockname()[:2]
        shown = f"[{address}]" if ":" in address else address
        logger.info("serving at http://%s:%d/", shown, port)
        server.run([listening])
        app.close()
    logger.info("ended")


def _projects(folders: list[Path], language: str) -> list[Project]:
    names = [name_of(folder) for folder in folders]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise DisentangleError(f"bundles must have folders of different names, got {repeated[0]} twice")
    projects: list[Project] = []
    for folder in folders:
        projects.append(Project(folder, language))
        logger.info("%s: /v1/projects/%s", folder, projects[-1].name)
    return projects


def _listen(host: str, port: int) -> socket.socket:
    if not host:  # would be every address
        raise DisentangleError("--host must be an address, got ''")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=1024)
    except (OSError, UnicodeError) as error:
        why = str(getattr(error, "strerror", None) or error).partition(" (while")[0]  # which address, again
        raise DisentangleError(f"cannot listen at {host}, port {port}: {why}") from error
    # Connections have it of the socket. Else the body of an answer would wait until the client has confirmed
    # its head, which clients put off for 40 ms.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening
