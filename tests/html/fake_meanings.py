"""A report of meanings as the job writes it, made up: any number of labels, with whatever names may hold."""

from __future__ import annotations

import random
from typing import Any

HOSTILE = "</script><img src=x onerror=alert(1)><!--<script>\"'&amp;"
_NAMES = (
    "apple",
    HOSTILE,
    "تفاحة وشركة وأشياء أخرى",
    "שלום עולם",
    "🍎 apple 👩‍👩‍👧‍👦",
    "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft" * 2,
    "a name of many words " * 20,
    "\u202eturned round",
    "bad\x00\x07 and \ud800 half",
    "{{braces}} %s {policy} {0}",
    "",
)
_WORDS = (
    *("fruit", "tree", "juice", "orchard", "peel", "company", "phone", "market", "share", "profit", "river"),
    *("money", "loan", "water", "shore", "crane", "bird", "steel", "building", "feather", "port", "ship"),
    *(
        "wine",
        "sweet",
        "harbour",
        "left",
        "side",
        "red",
        "plant",
        "animal",
        "machine",
        "law",
        "court",
        "paper",
    ),
)


def _words(choice: random.Random, n: int) -> str:
    return " ".join(choice.choices(_WORDS, k=n))


def _copy(choice: random.Random, label: int, i: int, share: float, n: int, kind: str) -> dict[str, Any]:
    texts = [{"instance": choice.randrange(10**6), "text": _words(choice, 36)} for _ in range(3)]
    if kind == "no texts":
        texts = [{"instance": example["instance"]} for example in texts]
    if label % 50 == 1:
        texts[0]["text"] = HOSTILE
    return {
        "share": share,
        "n_instances": int(n * share),
        "cluster": choice.randrange(5000),
        "is_original": i == 0,
        "terms": [] if kind == "no terms" else [HOSTILE] * (label == 1) + choice.sample(_WORDS, 8),
        "companions": [
            {"label": other, "name": _name(other)} for other in choice.sample(range(100, 2000), 6)
        ],
        "neighbours": [{"label": other, "name": _name(other)} for other in choice.sample(range(2000), 6)],
        "examples": texts,
    }


def _name(label: int) -> str:
    return _NAMES[label] if label < len(_NAMES) else f"{_WORDS[label % len(_WORDS)]} {label}"


def _points(choice: random.Random, n_copies: int, n: int) -> dict[str, list[Any]]:
    kinds = range(-2, n_copies)  # each at least once
    copies = [*kinds, *choice.choices(kinds, weights=[1, 1, *[8] * n_copies], k=n - len(kinds))]
    places = {copy: (choice.uniform(-5, 5), choice.uniform(-2, 2)) for copy in range(-2, n_copies)}
    return {
        "x": [choice.gauss(places[copy][0], 1) for copy in copies],
        "y": [choice.gauss(places[copy][1], 0.7) for copy in copies],
        "copy": copies,
    }


def _label(choice: random.Random, label: int, n_labels: int) -> dict[str, Any]:
    n_copies = 2 + label % 3 if label else 9
    kind = ("plain", "plain", "no terms", "no texts")[label % 4]
    n = 20 + choice.randrange(2000)
    weights = [choice.random() + 0.1 for _ in range(n_copies)]
    components = [
        {
            "name": f"{_name(label)}: {_words(choice, 3)}",
            "n_instances": 60,
            "per_copy": [choice.randrange(50) for _ in weights],
        }
        for _ in range(3)
    ]
    return {
        "label": label,
        "name": _name(label),
        "rank": label + 1,
        "ambiguity": 2.5 * (1 - label / n_labels) ** 2,
        "p_value": None if label % 17 == 16 else label / n_labels,
        "is_significant": label < n_labels // 3,
        "n_instances": n,
        "separation": None if label % 11 == 10 else choice.uniform(-0.05, 1),
        "n_several": n // 20,
        "n_none": n // 25,
        "components": components if label % 5 < 2 else None,
        "copies": [
            _copy(choice, label, i, weight / sum(weights), n, kind) for i, weight in enumerate(weights)
        ],
        "points": _points(choice, n_copies, min(n, 80)),
    }


def fake_meanings(n_labels: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Labels 0 to `n_labels` - 1, the most ambiguous first."""
    choice = random.Random(seed)
    return {
        "job": "meanings",
        "dataset": "made-up",
        "variant": "paper",
        "n_labels": 21336,
        "n_with_copies": 5 * n_labels,
        "n_tested": 3 * n_labels,
        "n_significant": n_labels // 3,
        "false_discovery_rate": 0.05,
        "n_shown": n_labels,
        "labels": [_label(choice, label, n_labels) for label in range(n_labels)],
    }
