"""A bundle as Annif shows a project."""

from __future__ import annotations

import os
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..api.bundle import Bundle, Suggestion, load
from ..errors import DisentangleError
from ..storage.saved import RECORD
from .asked import Asked


def name_of(folder: Path) -> str:
    """What a project is called: its folder's name, a link's own, as what it leads to may change."""
    return Path(os.path.abspath(folder)).name


class Project:
    """A bundle that suggests, by the name of its folder or of the link to it.

    Parameters
    ----------
    folder : Path
        Of a bundle of a model of texts.
    language : str
        Of texts and labels, by its BCP 47 code.

    Raises
    ------
    DisentangleError
        If it is no such bundle.
    """

    def __init__(self, folder: Path, language: str) -> None:
        self.name, self._language = name_of(folder), language
        self._bundle = load(folder, n_jobs=1)
        self._made = datetime.fromtimestamp((folder / RECORD).stat().st_mtime, timezone.utc)
        self._uris = uris_of(self._bundle)
        try:
            self._bundle.suggest([""])  # loads what is loaded late, and tells now if it is not there
        except DisentangleError as error:
            raise DisentangleError(f"{folder}: {error}") from error

    def shown(self) -> dict[str, Any]:
        """What Annif tells of a project."""
        return {
            "project_id": self.name,
            "name": self._bundle.card["title"],
            "language": self._language,
            "backend": {"backend_id": "disentangle"},
            "vocab": {
                "vocab_id": self.name,
                "languages": [self._language],
                "size": self._bundle.n_labels,
                "loaded": True,
            },
            "vocab_language": self._language,
            "is_trained": True,
            "modification_time": self._made.isoformat(timespec="seconds").replace("+00:00", "Z"),
        }

    def check(self, asked: Asked) -> None:
        """Raise DisentangleError unless labels have the language that is asked for."""
        if asked.language not in (None, self._language):
            raise DisentangleError(f"language must be {self._language}, got {asked.language:.40}")

    def suggest(self, asked: Asked) -> list[dict[str, Any]]:
        """Labels of each text, as Annif lists them."""
        limit = max(1, min(asked.limit, self._bundle.most))
        found = self._bundle.suggest(asked.texts, limit, asked.threshold)
        return [{"results": [self._shown(one) for one in labels[: asked.limit]]} for labels in found]

    def _shown(self, one: Suggestion) -> dict[str, Any]:
        score = one.score if one.probability is None else one.probability
        return {"uri": self._uris[one.label], "label": one.name, "notation": None, "score": score}


def uris_of(bundle: Bundle) -> list[str]:
    """Labels' URIs, or such as are made of their names: Annif knows subjects by theirs.

    Of a name that several have, the label's number is in it, too.
    """
    n_of_name = Counter(bundle.names)
    made = [
        f"urn:x-label:{quote(name)}" + f":{i}" * (n_of_name[name] > 1) for i, name in enumerate(bundle.names)
    ]
    return [uri or own for uri, own in zip(bundle.uris, made, strict=True)]
