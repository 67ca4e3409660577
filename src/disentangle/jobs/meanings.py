"""The meanings job: labels whose copies are likely to be meanings, and what each of these stands for."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data import components, datasets, lines
from ..data.datasets import Dataset
from ..data.tfidf import Vectorizer
from ..errors import DisentangleError
from ..html import meanings_page, page
from ..limits import at_least
from ..storage import atomic
from ..storage.files import sha256
from ..storage.saved import RECORD, Saved
from . import steps, tables
from .base import report_base
from .job import Job
from .plan import Overlapped, Plan, runs
from .stages import Stage

if TYPE_CHECKING:
    from ..evaluate.ambiguity import Ambiguity
    from ..evaluate.meanings import Meanings
    from ..overlap.copies import Overlap

logger = logging.getLogger(__name__)

TEXTS = "X.trn.txt"
_AMBIGUITY_FILE = "ambiguity.npz"
_LONGEST_TEXT = 240  # characters of an example


@dataclass(frozen=True)
class Words:
    """What features, labels and instances are called; only what a dataset has.

    Attributes
    ----------
    labels : list of str
    terms : list of str or None
    columns : slice
        Which features these are.
    texts : Path or None
        A line an instance.
    texts_sha : str
        Sha256 of these when they were checked.
    parts : components.Components or None
        What the labels are made of.
    """

    labels: list[str]
    terms: list[str] | None
    columns: slice
    texts: Path | None
    texts_sha: str
    parts: components.Components | None


def run_meanings(job: Job, wanted: Sequence[str], limit: int) -> dict[str, Any]:
    """What the copies of labels stand for, most ambiguous labels first.

    Parameters
    ----------
    job : Job
    wanted : sequence of str
        Labels to show, by name or id; none for the most ambiguous.
    limit : int
        How many of these.

    Returns
    -------
    dict
        The report, as `report.json` has it.

    Raises
    ------
    DisentangleError
        As `run_base`, and if there is no such label, or names, texts or components do not fit the data.
    """
    variant = job.one_variant("meanings")
    if variant.params.assignment.n_copies < 2:
        raise DisentangleError("--n-copies must be at least 2 to have copies to look at, got 1")
    if job.seeds:
        raise DisentangleError(f"meanings are those of one seed, got --seeds {','.join(map(str, job.seeds))}")
    at_least("--limit", limit, 1)
    from ..model.saved_model import load_overlap

    base = job.base()
    folder, where = job.folder("meanings"), job.data_dir / job.dataset
    with atomic.workspaces([folder, base.root], RECORD):
        words = _words(where, base.load.ensure()["results"], job.features)
        chosen = _named(wanted, words.labels)
        report_base(job, [[base]], [runs(base)])
        (overlapped,) = base.overlaps
        stage = _ambiguity_stage(job, base, overlapped, folder)
        record, name = stage.ensure(), job.place_beside(variant.name)
        overlap = load_overlap(overlapped.model.saved())
        found = _load_ambiguity(stage.saved(), overlap)
        rows = list(_rows(found, _ranked(found, overlap), words.labels))
        counts = _counts(found, rows)
        if chosen:
            name, limit, rows = f"{name}-labels", len(chosen), _only(rows, chosen, words.labels)
        if not rows:
            raise DisentangleError(
                f"no label of {job.dataset} has copies to look at with --preset {variant.name}"
            )
        details = _details(base, overlapped, overlap, rows[:limit], words)
        of_variant: dict[str, Any] = {
            "variant": variant.name,
            "preset": variant.preset,
            "overlap": variant.params.parts(),
        }
        counts |= {"n_shown": len(details)}
        written = job.report(folder, "meanings", record, **of_variant, **counts, labels=details)
        atomic.write_json(folder / f"{name}.json", written)
        tables.write_csv(folder / f"{name}.csv", rows)
        page.save(folder / f"{name}.html", meanings_page.build(written))
    return written | {"files": [folder / f"{name}.{ending}" for ending in ("html", "csv", "json")]}


def _words(where: Path, sizes: dict[str, int], features: str) -> Words:
    """Names and texts of a dataset, checked before anything is trained."""
    terms, path = None, datasets.vocabulary(where, features)
    columns = datasets.feature_set(where, features).terms(sizes["n_features"])
    if os.path.lexists(path):  # be it by a link to nothing
        terms, n = Vectorizer.load(path).terms, columns.stop - columns.start
        if len(terms) != n:
            raise DisentangleError(f"{path} must have {n} terms, as there are features, got {len(terms)}")
    texts = where / TEXTS if os.path.lexists(where / TEXTS) else None
    texts_sha = "" if texts is None else sha256(texts)
    if texts is not None and (n := sum(1 for _ in lines.read_lines(texts))) != sizes["n_train_instances"]:
        raise DisentangleError(
            f"{texts} must have {sizes['n_train_instances']} lines, one an instance, got {n}"
        )
    parts = None
    if components.has_components(where):
        parts = components.load_components(where, sizes["n_train_instances"], sizes["n_labels"])
    names = components.label_names(where, sizes["n_labels"])
    return Words(names, terms, columns, texts, texts_sha, parts)


def _named(wanted: Sequence[str], names: list[str]) -> set[int]:
    """Labels by their names, or ids where none is called so."""
    found = set()
    for name in wanted:
        same = [label for label, other in enumerate(names) if other == name]
        if not same and name.isascii() and name.isdecimal() and len(name) < 10 and int(name) < len(names):
            same = [int(name)]
        if not same:
            raise DisentangleError(
                f"--labels must be names or ids of labels, of which there are {len(names):,}, got {name!r}"
            )
        found.update(same)
    return found


def _only(rows: list[dict[str, Any]], chosen: set[int], names: list[str]) -> list[dict[str, Any]]:
    """Rows of the labels chosen, all of which must have copies."""
    kept = [row for row in rows if row["label"] in chosen]
    if missing := chosen - {row["label"] for row in kept}:
        raise DisentangleError(
            f"--labels must be labels with copies, got {names[min(missing)]!r}, which is in one cluster alone"
        )
    return kept


def _ambiguity_stage(job: Job, plan: Plan, overlapped: Overlapped, folder: Path) -> Stage:
    """How ambiguous each label is, by where the retrained model sends its instances."""
    return Stage(
        "ambiguity",
        folder / f"ambiguity-{job.place_beside(overlapped.variant.name)}",
        plan.source.inputs,
        (
            "evaluate.ambiguity",
            "overlap.copies",
            "model.saved_model",
            "storage.compressed",
            "storage.matrices",
        ),
        lambda out, model, matching: _score(out, model, matching, plan.dataset),
        (overlapped.model, overlapped.matching),
        prepare=lambda: plan.dataset,
        code=(_score, steps.load_matching),
        threads=job.settings.threads,
        force=job.settings.force,
    )


def _score(out: Path, model: Saved, matching: Saved, dataset: Dataset) -> dict[str, Any]:
    from ..evaluate.ambiguity import ambiguity
    from ..model.saved_model import load_overlap

    M = steps.load_matching(matching, dataset)
    found = ambiguity(dataset.labels_trn, load_overlap(model), M)
    np.savez_compressed(out / _AMBIGUITY_FILE, **vars(found))
    return {}


def _load_ambiguity(saved: Saved, overlap: Overlap) -> Ambiguity:
    from ..evaluate.ambiguity import Ambiguity

    read = saved.arrays(_AMBIGUITY_FILE, *(one.name for one in fields(Ambiguity)))
    for name, values in read.items():
        n = len(overlap.original) if name == "n_preferring" else overlap.n_labels
        expected = bool if name == "is_significant" else np.int64 if name.startswith("n_") else np.float64
        if values.dtype != expected or values.shape != (n,) or np.isinf(values).any():
            raise saved.damaged(
                _AMBIGUITY_FILE,
                f"expected {n} of {np.dtype(expected)} in {name}, found {values.shape} of {values.dtype}",
            )
    return Ambiguity(**read)


def _ranked(found: Ambiguity, overlap: Overlap) -> list[tuple[int, np.ndarray]]:
    """Labels with copies and what prefers each copy: most ambiguous first, those without a score last."""
    from ..evaluate.ambiguity import copies_by_label

    copies, first = copies_by_label(overlap)
    prefer = found.n_preferring[copies]
    order = np.argsort(-np.nan_to_num(found.score, nan=-1), kind="stable")
    several = order[np.diff(first)[order] > 1].tolist()
    return [(label, prefer[first[label] : first[label + 1]]) for label in several]


def _rows(
    found: Ambiguity, ranked: list[tuple[int, np.ndarray]], names: list[str]
) -> Iterator[dict[str, Any]]:
    """What is said of each label with copies, whether or not its copies are looked at."""
    for rank, (label, prefer) in enumerate(ranked, start=1):
        yield {
            "rank": rank,
            "label": label,
            "name": names[label],
            "ambiguity": _number(found.score[label]),
            "separation": _number(found.separation[label]),
            "p_value": _number(found.p_value[label]),
            "is_significant": bool(found.is_significant[label]),
            "n_instances": int(found.n_instances[label]),
            "n_copies": len(prefer),
            "n_preferring": " ".join(map(str, prefer.tolist())),
            "n_several": int(found.n_several[label]),
            "n_none": int(found.n_unreached[label]),
            "n_tied": int(found.n_tied[label]),
        }


def _number(value: float) -> float | None:
    """Four digits of a number; None for none."""
    return None if np.isnan(value) else float(f"{value:.4g}")


def _counts(found: Ambiguity, rows: list[dict[str, Any]]) -> dict[str, Any]:
    from ..evaluate.ambiguity import RATE

    return {
        "n_labels": len(found.score),
        "n_with_copies": len(rows),
        "n_tested": sum(row["p_value"] is not None for row in rows),
        "n_significant": sum(row["is_significant"] for row in rows),
        "false_discovery_rate": RATE,
    }


def _details(
    plan: Plan, overlapped: Overlapped, overlap: Overlap, shown: list[dict[str, Any]], words: Words
) -> list[dict[str, Any]]:
    """What the copies of each label stand for, in words."""
    from ..evaluate.meanings import Meanings
    from ..model import saved_model

    dataset, weights = plan.dataset, None
    if words.terms is not None:
        weights = saved_model.load_trained(overlapped.model.saved(), plan.settings.budget(plan.root))[-1].W
    meanings = Meanings(
        dataset.X_trn,
        dataset.Y_trn,
        overlap,
        steps.load_matching(overlapped.matching.saved(), dataset),
        weights,
        plan.settings.tree.seed,
        words.columns,
    )
    found = [_in_words(row, meanings, words) for row in shown]
    _add_texts(found, words.texts, words.texts_sha)
    return found


def _in_words(row: dict[str, Any], meanings: Meanings, words: Words) -> dict[str, Any]:
    """A label's row, its copies and its picture."""
    copies, picture = meanings.of(row["label"])
    n_told = sum(one.n_instances for one in copies)

    def named(labels: list[int]) -> list[dict[str, Any]]:
        return [{"label": label, "name": words.labels[label]} for label in labels]

    said = []
    for one in copies:
        said.append(
            asdict(one)
            | {
                "share": round(one.n_instances / n_told, 4) if n_told else 0.0,
                "terms": [words.terms[term] for term in one.terms] if words.terms else [],
                "companions": named(one.companions),
                "neighbours": named(one.neighbours),
                "examples": [{"instance": instance} for instance in one.examples],
            }
        )
    rounded = np.round(picture.points, 3) + 0.0
    points = {"x": rounded[:, 0].tolist(), "y": rounded[:, 1].tolist(), "copy": picture.copy.tolist()}
    parts = None if words.parts is None else _components(row["label"], meanings, len(copies), words.parts)
    return row | {"components": parts, "copies": said, "points": points}


def _components(
    label: int, meanings: Meanings, n_copies: int, parts: components.Components
) -> list[dict[str, Any]]:
    """How many instances of each true component prefer each copy."""
    own = np.flatnonzero(parts.of_label == label)
    members, copy = parts.Y_trn[meanings.instances(label)][:, own].tocsc(), meanings.prefer(label)
    found = []
    for i, component in enumerate(own.tolist()):
        prefer = copy[members.indices[members.indptr[i] : members.indptr[i + 1]]]
        if len(prefer):
            counts = np.bincount(prefer[prefer >= 0], minlength=n_copies).tolist()
            found.append({"name": parts.names[component], "n_instances": len(prefer), "per_copy": counts})
    return found


def _add_texts(found: list[dict[str, Any]], texts: Path | None, sha: str) -> None:
    """The texts of all examples, read once."""
    if texts is None:
        return
    examples = [example for one in found for copy in one["copies"] for example in copy["examples"]]
    wanted = {example["instance"] for example in examples}
    read = {line.number - 1: line.text for line in lines.read_lines(texts) if line.number - 1 in wanted}
    if sha256(texts) != sha:
        raise DisentangleError(f"{texts} has changed meanwhile: run the same command again")
    for example in examples:
        text = read[example["instance"]]
        example["text"] = text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1]}…"
