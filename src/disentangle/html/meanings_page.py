"""The page of a dataset's meanings: labels with several, most ambiguous first, and a view of each."""

from __future__ import annotations

import math
from typing import Any

from ..data.components import look
from ..data.features import titled
from ..params import FEATURES
from . import page

MOST_BYTES = 5_000_000
_MOST_LETTERS = 200  # of a name
_COUNT = 20  # bytes of how many labels are listed, which is known last
_GRID = 999  # a picture's points lie on whole numbers from 0
_SCRIPTS = ["theme.js", "elements.js", "picture.js", "overview.js", "label_view.js", "meanings.js"]
_EXPLANATIONS = (
    (
        "Copy",
        "A label with several meanings is put into several clusters of the label tree. Its place in one of "
        "them is a copy. Here each copy stands for a meaning.",
    ),
    (
        "Prefer, reach",
        "The matcher sends an instance to some clusters, and scores each. An instance reaches a copy if it "
        "is sent to the copy's cluster, and prefers the copy whose cluster scores highest.",
    ),
    (
        "Ambiguity",
        "How unlike the label's instances are, two by two: 0 if the matcher sends all to the same clusters "
        "and all have the same other labels, 1 if no two have anything in common. That of few instances is "
        "drawn to the mean. A label of one broad meaning scores high, too.",
    ),
    (
        "Separation",
        "The same for two instances that prefer different copies. Where it is low, the copies share one "
        "meaning.",
    ),
    (
        "Significant",
        "The copies split the label more than those of most labels of its frequency are split. Of all labels "
        "that are called significant, about {rate} are expected to be false finds.",
    ),
    (
        "p-value",
        "How often a label like most of its frequency would have copies so far apart.",
    ),
    (
        "Share",
        "Which part of the instances that prefer a copy prefer this one.",
    ),
    (
        "Typical terms",
        "The features that the instances of a copy have more than those of the label's other copies, the "
        "more so if the ranker weighs them.",
    ),
    (
        "Comes with",
        "Other labels that the instances of a copy have more than those of the label's other copies.",
    ),
    (
        "Neighbouring labels",
        "Other labels in the same cluster, those most like the copy. They often tell which meaning it is.",
    ),
)
_BODY = """\
{top}
<main id="main" tabindex="-1">
<section id="overview" aria-labelledby="overview-title">
<h1 id="overview-title">Labels with several meanings</h1>
<p class="lead">{lead}</p>
{left_out}<noscript><p class="note">This page needs JavaScript to show its labels. It loads nothing from \
elsewhere.</p></noscript>
<form id="choice" class="choice" role="search" aria-label="Choose labels">
<label class="wide">Search names and words <input type="search" id="search" dir="auto" autocomplete="off" \
spellcheck="false"></label>
<label>Sort by <select id="sort"></select></label>
<label>Instances, at least <input type="number" id="least" min="0" step="1" value="0" \
inputmode="numeric"></label>
<label class="tick"><input type="checkbox" id="significant"> significant only</label>
<label class="tick"><input type="checkbox" id="known"> true meanings known</label>
</form>
<p id="count" role="status" aria-live="polite"></p>
<table id="labels" class="labels"></table>
<p><button type="button" id="more" hidden></button></p>
</section>
<section id="view" aria-labelledby="view-title" hidden></section>
<section aria-labelledby="words-title">
<details id="words"><summary><h2 id="words-title">What the words and figures mean</h2></summary>
<dl class="words">
{words}
</dl></details>
</section>
</main>
<footer class="quiet">{footer}</footer>"""


def build(meanings: dict[str, Any]) -> str:
    """The page; the same meanings give the same.

    Parameters
    ----------
    meanings : dict
        The report of the meanings job. A page has at most `MOST_BYTES`: it leaves out the least ambiguous
        labels that do not fit, and says how many.
    """
    room = MOST_BYTES - _COUNT - len(_assemble(meanings, [], len(meanings["labels"])).encode())
    shown = _fitting(sorted(meanings["labels"], key=lambda label: label["rank"]), room)
    return _assemble(meanings, shown, len(meanings["labels"]) - len(shown))


def _fitting(labels: list[dict[str, Any]], room: int) -> list[str]:
    """The labels as JSON, without the last if so many bytes do not hold all."""
    written: list[str] = []
    for label in labels:
        one = page.island(_told(label))
        room -= len(one.encode()) + 1
        if room < 0:
            break
        written.append(one)
    return written


def _assemble(meanings: dict[str, Any], shown: list[str], n_left_out: int) -> str:
    about = f"{titled(meanings['dataset'], meanings.get('features', FEATURES))}, {meanings['variant']}"
    rate = f"{meanings['false_discovery_rate']:.0%}"
    lead = (
        f"Of {meanings['n_labels']:,} labels of {meanings['dataset']}, {meanings['n_with_copies']:,} have "
        f"copies in several clusters. {meanings['n_tested']:,} were tested, and "
        f"{meanings['n_significant']:,} of these are split more than labels of their frequency. "
        f"{_listed(meanings, len(meanings['labels']) - n_left_out)}"
        "Choose a label to see its meanings side by side."
    )
    left_out = "1 label that is" if n_left_out == 1 else f"{n_left_out:,} labels that are"
    note = f'<p class="note">Left out to keep the page small: {left_out} less ambiguous than these.</p>\n'
    words = "\n".join(
        f"<div><dt>{page.text(word)}</dt><dd>{page.text(words.format(rate=rate))}</dd></div>"
        for word, words in _EXPLANATIONS
    )
    body = _BODY.format(
        top=page.top('<a href="#">Meanings of labels</a>', about),
        lead=page.text(lead),
        left_out=note if n_left_out else "",
        words=words,
        footer=page.text(f"Made of {about}. This page is one file and loads nothing."),
    )
    data = f'{{"labels":[{",".join(shown)}]}}'
    return page.document(f"Meanings of labels: {about}", body, ["page.css", "meanings.css"], _SCRIPTS, data)


def _listed(meanings: dict[str, Any], n: int) -> str:
    """A sentence where not all labels with copies are listed: `--labels` names others than the first."""
    if n >= meanings["n_with_copies"]:
        return ""
    is_first = max((label["rank"] for label in meanings["labels"]), default=0) == len(meanings["labels"])
    return f"The {n:,} most ambiguous are listed. " if is_first else f"{n:,} of them are listed. "


def _told(label: dict[str, Any]) -> dict[str, Any]:
    """What the page tells of a label; the names are the report's, and what is missing is left out."""
    same = ("label", "rank", "is_significant", "n_instances", "n_several", "n_none")
    n_told = sum(copy["n_instances"] for copy in label["copies"])
    told = {name: label[name] for name in same} | {
        "name": _name(label),
        "ambiguity": _rounded(label["ambiguity"], 4),
        "p_value": _rounded(label["p_value"], 6),
        "separation": _rounded(label["separation"], 3),
        "components": [
            component | {"name": page.shortened(component["name"], _MOST_LETTERS)}
            for component in label["components"] or []
        ],
        "copies": [_told_copy(copy, n_told) for copy in label["copies"]],
        "points": _told_points(label["points"]),
    }
    return {name: value for name, value in told.items() if value not in (None, [])}


def _told_copy(copy: dict[str, Any], n_told: int) -> dict[str, Any]:
    same = {name: copy[name] for name in ("n_instances", "cluster", "is_original")}
    return same | {
        "share": round(copy["n_instances"] / max(n_told, 1), 6),
        "terms": [page.shortened(term, _MOST_LETTERS) for term in copy["terms"]],
        "companions": _told_labels(copy["companions"]),
        "neighbours": _told_labels(copy["neighbours"]),
        "examples": [
            {name: page.clean(value) if name == "text" else value for name, value in example.items()}
            for example in copy["examples"]
        ],
    }


def _told_labels(labels: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"label": other["label"], "name": _name(other)} for other in labels]


def _name(label: dict[str, Any]) -> str:
    """A label's name, or its number if it has none: a link needs words."""
    shown = page.shortened(label["name"], _MOST_LETTERS).strip()
    return shown if look(shown) else f"label {label['label']}"


def _told_points(points: dict[str, list[Any]] | None) -> dict[str, Any] | None:
    """Points on whole numbers from 0 to `_GRID`; both axes have one scale."""
    if not points:
        return None
    rows = [
        (x, y, copy)
        for x, y, copy in zip(points["x"], points["y"], points["copy"], strict=True)
        if math.isfinite(x) and math.isfinite(y)
    ]
    if not rows:
        return None
    left, low = min(row[0] for row in rows), min(row[1] for row in rows)
    width = max(max(row[0] for row in rows) - left, max(row[1] for row in rows) - low) or 1.0
    return {
        "x": [round((row[0] - left) / width * _GRID) for row in rows],
        "y": [round((row[1] - low) / width * _GRID) for row in rows],
        "copy": [row[2] for row in rows],
    }


def _rounded(value: float | None, digits: int) -> float | None:
    """The value in few characters; None for what JSON has no number for."""
    return None if value is None or not math.isfinite(value) else round(value, digits)
