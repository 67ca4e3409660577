"""The card of a bundle: what its model was made from and how, and how good it is, for whoever finds it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .columns import threshold

_USE = """\
```python
import disentangle

model = disentangle.load("FOLDER")
{call}
```

or `python -m disentangle predict --bundle FOLDER {argument}`. {scores}"""
_NO_PROBABILITIES = "Scores lie in [0, 1] and are no probabilities."
_PROBABILITIES = """\
Scores lie in [0, 1], and `calibration.json` makes probabilities of them. Labels of a probability of at least
{shown} had the highest micro-averaged F1, {F1:.2f} %, on validation data that were kept out.
It is a `threshold`, and a `--min-probability`."""
_WHAT = """\
A label tree in which labels may be in several clusters
([Liu et al., NeurIPS 2021](https://arxiv.org/abs/2106.12751)), on PECOS's XR-Linear."""


def card(said: Mapping[str, Any]) -> str:
    """A page in Markdown.

    Parameters
    ----------
    said : Mapping
        "title"; "is_of_texts"; "data", "figures", "parameters" and "versions", values by name; "licence", a
        sentence. Of a calibrated model "calibration": its "threshold" and "F1".
    """
    kind = "probabilities" if "calibration" in said else "scores"
    call, argument = f"model.predict(X)  # {kind}: a sparse matrix, instances x labels", "--input X.npz"
    if said["is_of_texts"]:
        call, argument = 'model.suggest(["a text"], limit=5)', '--text "a text"'
    scores = _NO_PROBABILITIES
    if "calibration" in said:
        scores = _PROBABILITIES.format(
            shown=threshold(said["calibration"]["threshold"]), **said["calibration"]
        )
    parts = {
        "Use": _USE.format(call=call, argument=argument, scores=scores),
        "Data": _table(said["data"]),
        "Figures": _table(said["figures"]) if said["figures"] else "None: there was no test data.",
        "Parameters": _table(said["parameters"]),
        "Versions": _table(said["versions"]),
        "Licence": f"{said['licence']} The software is under Apache-2.0.",
    }
    sections = [f"## {name}\n\n{text}" for name, text in parts.items()]
    return "\n\n".join([f"# {said['title']}", _WHAT, *sections]) + "\n"


def _table(rows: Mapping[str, Any]) -> str:
    lines = (f"| {_cell(name)} | {_cell(value)} |" for name, value in rows.items())
    return "\n".join(["| | |", "|---|---|", *lines])


def _cell(value: Any) -> str:
    text = f"{value:,}" if type(value) is int else "-" if value is None else str(value)
    return " ".join(text.replace("|", "\\|").split())
