"""Resumable stages: each leaves a folder, made whole or not at all, that is reused while it is valid."""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from tokenize import TokenError
from typing import Any

from ..errors import DisentangleError
from ..runtime import progress, provenance
from ..runtime.threads import allowed, in_threads
from ..storage import atomic, files
from ..storage.saved import RECORD, Saved, read_record, sealed

logger = logging.getLogger(__name__)


class Stage:
    """One step of a job, whose results lie in a folder of their own.

    It is keyed by what goes into it. Its key tells that nothing before it has changed either; where something
    has, and what it needs has come out as it was, it is kept all the same.

    Parameters
    ----------
    name : str
        What its seconds are booked under.
    folder : Path
        Where its results go, beside `stage.json`: the key, inputs, seconds, peak memory, results.
    inputs : dict
        Whatever the results depend on besides `needs`, versions and code, as JSON.
    modules : tuple of str
        Modules of this package whose code makes the results; imported before the clock starts.
    build : callable
        Takes an empty folder, and what each of `needs` that has files has saved; writes the stage's files to
        the folder and returns its results as JSON. A result named "seconds" splits the stage's time by name.
    needs : tuple of Stage
        Stages whose results `build` reads. They are made only when this one has to be.
    prepare : callable, optional
        Called before the clock starts, when the stage has to be made.
    code : tuple of callable, optional
        Functions whose code makes the results, outside `modules`; `build` itself if none is given.
    threads : int
        For the record; they have no effect on results.
    force : bool
        Make it anew, once, even when it is valid.
    title : str, optional
        What the log calls it, if not by its folder.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        inputs: dict[str, Any],
        modules: tuple[str, ...],
        build: Callable[..., dict[str, Any]],
        needs: tuple[Stage, ...] = (),
        prepare: Callable[[], object] = lambda: None,
        code: tuple[Callable, ...] = (),
        threads: int = 1,
        force: bool = False,
        title: str | None = None,
    ) -> None:
        self.name = name
        self.title = title or folder.name
        self.folder = folder
        self.needs = needs
        self._build = build
        self._prepare = prepare
        self._threads = threads
        self._force = force
        self._modules = modules
        self._code = modules, code or (build,)
        made_by = provenance.versions() | {"code": provenance.code_of(*self._code)}
        if lost := sorted(inputs.keys() & made_by.keys()):
            raise ValueError(f"inputs of the stage {name} must have other names than {', '.join(lost)}")
        self._own = inputs | made_by
        said = [self._own, [[need.folder.name, need.key] for need in needs]]
        self.key: str = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    def record(self) -> dict[str, Any] | None:
        """What `stage.json` says, or None if the stage is to be made."""
        return None if self._force else self.valid()

    def valid(self) -> dict[str, Any] | None:
        """What `stage.json` says, or None if the stage is not done, not whole, or out of date."""
        record = read_record(self.folder)
        if record is None or record["key"] != self.key or not self._is_of_needs(record):
            return None
        return record if Saved(self.folder, record["files"]).is_whole() else None

    def _is_of_needs(self, record: dict[str, Any]) -> bool:
        """Whether it was made from what is there: a GPU, for one, gives no stage the same twice."""
        found = [read_record(need.folder) for need in self.needs]
        saved = [
            Saved(need.folder, own["files"])
            for need, own in zip(self.needs, found, strict=True)
            if own is not None and own["key"] == need.key
        ]
        return len(saved) < len(self.needs) or self._inputs(saved) == record["inputs"]

    def saved(self) -> Saved:
        """What the stage has left, which must be done.

        Raises
        ------
        DisentangleError
            If it is not, or another by now.
        """
        saved, record = Saved.at(self.folder)
        if record["key"] != self.key:
            raise DisentangleError(f"{self.folder} has changed meanwhile: run the same command again")
        return saved

    def ensure(self) -> dict[str, Any]:
        """Make the stage, and before it what it needs, unless it is done; return its record."""
        if (record := self.record()) is not None:
            return record
        for need in self.needs:
            need.ensure()
        saved = [need.saved() for need in self.needs]
        inputs, before = self._inputs(saved), read_record(self.folder)
        if before is not None and (record := self._kept(before, inputs)) is not None:
            return record
        if before is not None:
            self._say_why(before["inputs"], inputs)
        with progress.stage(self.title):
            record = self._make(saved, inputs)
        self._force = False
        return record

    def _inputs(self, saved: list[Saved]) -> dict[str, Any]:
        """All that goes into the stage: for what it needs, the content of its files."""
        inputs = dict(self._own)
        for need, its in zip(self.needs, saved, strict=True):
            # Those of several trees have the same name. One without files says what it is by its key alone.
            content = its.content if its.digests else need.key
            inputs[need.folder.name] = inputs.get(need.folder.name, "") + content
        return dict(json.loads(json.dumps(inputs)))  # as a record has it

    def _kept(self, before: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any] | None:
        """The record of a stage that was made otherwise, but from the same inputs; it gets this one's key."""
        if self._force or before["inputs"] != inputs or not Saved(self.folder, before["files"]).is_whole():
            return None
        record = sealed(before | {"key": self.key})
        atomic.write_json(self.folder / RECORD, record)
        logger.info("%s is kept: what it needs has come out as it was", self.title)
        return record

    def _say_why(self, before: dict[str, Any], inputs: dict[str, Any]) -> None:
        changed = sorted(name for name, value in inputs.items() if before.get(name) != value)
        why = f"changed {', '.join(changed)}" if changed else "--force" if self._force else "damaged files"
        logger.info("%s is redone: %s", self.title, why)

    def _has_its_code(self) -> bool:
        try:
            return provenance.code_of(*self._code) == self._own["code"]
        except (OSError, SyntaxError, TokenError):  # of what is no longer there, or half-written
            return False

    def _make(self, saved: list[Saved], inputs: dict[str, Any]) -> dict[str, Any]:
        for module in self._modules:
            importlib.import_module(f"disentangle.{module}")
        # They are loaded only now, which may be long after their digest was taken.
        if not self._has_its_code():
            raise DisentangleError(
                f"the code of {self.title} has changed meanwhile: run the same command again"
            )
        self._prepare()
        try:
            with atomic.making(self.folder, RECORD) as temporary:
                provenance.reset_peak_rss()
                start = time.perf_counter()
                results = self._build(temporary, *(one for one in saved if one.digests))
                seconds = results.pop("seconds", {self.name: time.perf_counter() - start})
                record = sealed(
                    {
                        "key": self.key,
                        "inputs": inputs,
                        "results": results,
                        "seconds": {name: round(value, 3) for name, value in seconds.items()},
                        "peak_rss_mib": provenance.peak_rss_mib(),
                        "threads": self._threads,
                        "machine": provenance.machine(),
                        "files": digests(temporary),
                    }
                )
                text = json.dumps(record, indent=1) + "\n"
                # The record says that all is there, also after a power cut.
                atomic.sync_tree(temporary)
                with atomic.replacing(temporary / RECORD) as new:
                    new.write_text(text, encoding="utf-8")
                return record
        except OSError as error:
            raise files.unwritten(error, self.folder) from error


def digests(folder: Path) -> dict[str, str]:
    """Sha256 of each file in a folder, by its path there."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    found = in_threads(files.sha256, paths, allowed())
    return {str(path.relative_to(folder)): sha256 for path, sha256 in zip(paths, found, strict=True)}
