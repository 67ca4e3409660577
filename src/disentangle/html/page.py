"""A page of one file: its style, its code and its data in it, and nothing else may run in it or be loaded.

Texts of a dataset may say anything. They reach a page by `text`, or within its data, which its code shows as
text. What a browser runs or applies is named in the page's policy by digest, so nothing else could be.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from pathlib import Path
from typing import Any

from ..storage.atomic import replacing

_STATIC = Path(__file__).with_name("static")
# No browser shows them, and a NUL, a lone surrogate or one of C1 is not even allowed.
_UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_PAGE = """\
<!DOCTYPE html>
<html lang="en-GB">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
{island}<script>{script}</script>
</body>
</html>
"""


def clean(words: object) -> str:
    """Words as any page may hold them: what cannot be shown is shown as a replacement character."""
    return _UNSEEN.sub("\ufffd", str(words))


def shortened(words: object, most: int) -> str:
    """`clean` words of at most so many characters; three dots stand for the rest."""
    cleaned = clean(words)
    return cleaned if len(cleaned) <= most else cleaned[: most - 1].rstrip() + "…"


def text(words: object) -> str:
    """Words as they stand between tags or in quotes of an attribute."""
    return html.escape(clean(words))


def island(data: Any) -> str:
    """JSON as a script element holds it: no `<` in it, so neither its end nor a comment can begin.

    Raises
    ------
    ValueError
        If there is a number in it that JSON has not.
    """
    written = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return written.replace("<", "\\u003c")


def document(title: str, body: str, styles: list[str], scripts: list[str], data: str = "") -> str:
    """The whole page.

    Parameters
    ----------
    title : str
        In plain words.
    body : str
        HTML.
    styles, scripts : list of str
        Names of files in `static`, in the order in which they apply.
    data : str
        As `island` makes it.
    """
    styled, run = style(styles), script(scripts)
    policy = (
        f"default-src 'none'; script-src '{digest(run)}'; style-src '{digest(styled)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    held = f'<script type="application/json" id="data">{data}</script>\n' if data else ""
    return _PAGE.format(policy=policy, title=text(title), style=styled, body=body, island=held, script=run)


def style(names: list[str]) -> str:
    """Styles of files in `static`, as one."""
    return "".join(map(static, names))


def script(names: list[str]) -> str:
    """Scripts of files in `static`, in one block: names of one file are no others', nor the page's."""
    return '"use strict";\n{\n' + style(names) + "}\n"


def digest(content: str) -> str:
    """How a page's policy names a script or a style that may be in it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def save(path: Path, page: str) -> None:
    """Write a page, whole or not at all.

    Raises
    ------
    DisentangleError
        If it cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n")


def top(name: str, about: str) -> str:
    """What stands above every page: what it is, of what, and the button for its theme.

    Parameters
    ----------
    name : str
        HTML.
    about : str
        In plain words.
    """
    return (
        '<a class="skip" href="#main">Skip to the content</a>\n'
        f'<header class="top"><p>{name} <span class="quiet">{text(about)}</span></p>'
        '<button type="button" id="theme" aria-pressed="false" hidden>Dark theme</button></header>'
    )


def static(name: str) -> str:
    """A file in `static`."""
    return (_STATIC / name).read_text(encoding="utf-8")
