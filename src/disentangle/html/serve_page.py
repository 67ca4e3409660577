"""The page of a server: a field for a text, and what is suggested for it. It asks no other server."""

from __future__ import annotations

from . import page

# Nothing runs or is applied but the page's own files, and nothing is asked but its own server.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_STYLES, _SCRIPTS = ["page.css", "serve.css"], ["theme.js", "elements.js", "serve.js"]


def files() -> dict[str, tuple[bytes, str]]:
    """Contents of its files, and their media types, by the paths that they have on the server."""
    return {
        "/": (page.static("serve.html").encode(), "text/html; charset=utf-8"),
        "/serve.css": (page.style(_STYLES).encode(), "text/css; charset=utf-8"),
        "/serve.js": (page.script(_SCRIPTS).encode(), "text/javascript; charset=utf-8"),
    }
