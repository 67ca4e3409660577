"""Texts of a dataset to a feature set: its tf-idf, and beside it what an encoder makes of them."""

from __future__ import annotations

import re
import shutil
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..data import datasets, known_datasets
from ..data.features import DENSE, EMBEDDING, FEATURES_FILE, SPARSE, Block, FeatureSet
from ..data.lines import read_texts
from ..data.tfidf import VECTORIZER_FILE
from ..encoder import packages
from ..encoder.pretrained import Pretrained, find
from ..errors import DisentangleError
from ..params import ARCHIVE, FEATURES, EncoderParams, TreeParams, TuningParams
from ..storage import atomic
from ..storage.files import sha256
from ..storage.matrices import read_shape
from ..storage.saved import RECORD, Saved, read_record
from . import encode_steps
from .job import Job
from .settings import Settings
from .stages import Stage

PARTS = datasets.PARTS
TFIDF = "tfidf"
# Of the stage that makes a feature set, in its record.
MADE_BY = "encode"
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,99}", re.ASCII)
_TAKEN = (FEATURES, "components")


@dataclass(frozen=True)
class Encode:
    """A feature set to be made.

    Attributes
    ----------
    dataset : str
    data_dir, model_dir : Path
    encoder : str
        A folder, or a name on the Hugging Face hub.
    name : str or None
        Of the feature set; None for the encoder's.
    params : EncoderParams
    tuning : TuningParams or None
        None for the encoder as it is.
    tree : TreeParams
        Of the tree whose leaf clusters fine-tuning learns to tell.
    device : str
    threads : int
        Neither is part of what results are known by.
    force : bool
        Make it anew.
    mirror : str
        URL or folder that a known dataset is fetched from when it is not there.
    """

    dataset: str
    data_dir: Path
    model_dir: Path
    encoder: str
    name: str | None
    params: EncoderParams
    tuning: TuningParams | None
    tree: TreeParams
    device: str
    threads: int
    force: bool = False
    mirror: str = ARCHIVE


def check_name(name: str) -> str:
    """Raise DisentangleError unless a feature set may be called so."""
    if not _NAME.fullmatch(name) or name in _TAKEN:
        raise DisentangleError(
            f"--name must be at most 100 letters, digits, '.', '_' and '-', the first a letter or digit, and "
            f"not {' or '.join(_TAKEN)}, got {name!r}"
        )
    return name


def run_encode(job: Encode) -> dict[str, Any]:
    """Make a feature set of a dataset; one that is there and made alike stays.

    Returns
    -------
    dict
        "folder", "name", "sizes" and, after fine-tuning, "tuning".

    Raises
    ------
    DisentangleError
        If texts are not there or not as many as instances, the encoder is none, the folder is there and not
        this command's, or a GPU is asked for and there is none.
    """
    from ..encoder import device

    job.params.validate()
    if job.tuning is not None:
        job.tuning.validate()
    chosen = device.choose(job.device)
    device.limit_threads(job.threads)
    folder = known_datasets.folder_of(job.data_dir, job.dataset, job.mirror)
    source = find(job.encoder)
    usual = re.sub(r"[^\w.-]+", "-", source.name.rpartition("/")[2], flags=re.ASCII).lower()
    if not job.name and not (usual := usual.strip("-._")):
        raise DisentangleError(f"--name must be given: {source.name!r} has no letter or digit of ASCII")
    name = check_name(job.name or usual + ("" if job.tuning is None else "-tuned"))
    datasets.sizes_in(folder)  # its matrices must be there
    check_texts(folder, datasets.parts_in(folder))
    work = job.model_dir / job.dataset / f"encode-{name}"
    tuned = None if job.tuning is None else _tuned(job, job.tuning, work, source, folder, chosen)
    made = _features(job, folder, name, source, chosen, tuned)
    with atomic.claim(folder / name, RECORD):
        if (record := made.record()) is None:
            check_place(folder / name, MADE_BY)
            if tuned is not None:
                _tune(job, work, tuned)
            record = made.ensure()
    return record["results"] | {"folder": folder / name, "name": name}


def check_texts(folder: Path, parts: tuple[str, ...] = PARTS) -> None:
    """Refuse a dataset without a text for each instance of these parts, or with other features than terms."""
    _usual(folder)
    for part in parts:
        for _ in read_texts(folder / f"X.{part}.txt", read_shape(folder / f"Y.{part}.npz")[0]):
            pass


def check_place(folder: Path, made_by: str) -> None:
    """Refuse a folder that is there and was not made by this command."""
    if folder.exists():
        record = read_record(folder)
        if record is None or record["inputs"].get("made_by") != made_by:
            raise DisentangleError(
                f"{folder} exists, and was not made by `{made_by}`, or is damaged: choose another --name, "
                "or remove it"
            )


def _tuned(
    job: Encode, tuning: TuningParams, work: Path, source: Pretrained, folder: Path, device: Any
) -> Stage:
    """The stage that fine-tunes the encoder on the leaf clusters of the base job's tree."""
    settings = Settings(threads=job.threads, tree=job.tree)
    plan = Job(job.dataset, job.data_dir, job.model_dir, job.model_dir, settings).base()
    inputs: dict[str, Any] = {
        "encoder": source.digests,
        "texts": sha256(folder / "X.trn.txt"),
        "Y_trn": sha256(folder / "Y.trn.npz"),
        "params": asdict(job.params),
        "tuning": asdict(tuning),
        "packages": packages.versions(),
    }
    build = partial(
        encode_steps.fine_tune,
        source=source,
        params=job.params,
        tuning=tuning,
        labels=folder / "Y.trn.npz",
        texts=folder / "X.trn.txt",
        place=work / "checkpoint",
        device=device,
        digests={folder / "X.trn.txt": inputs["texts"], folder / "Y.trn.npz": inputs["Y_trn"]},
    )
    key: list[str] = []
    stage = Stage(
        "fine-tune",
        work / "fine-tuned",
        inputs,
        ("encoder.fine_tune", "encoder.text_encoder", "encoder.device"),
        lambda out, saved: build(out, saved, key=key[0]),
        (plan.tree,),
        code=(encode_steps.fine_tune,),
        threads=job.threads,
        force=job.force,
        title=f"fine-tune {source.name}",
    )
    key.append(stage.key)
    return stage


def _tune(job: Encode, work: Path, tuned: Stage) -> None:
    with atomic.workspace(job.model_dir / job.dataset / "base", RECORD):
        for need in tuned.needs:
            need.ensure()
    with atomic.workspace(work, RECORD):
        if job.force:
            shutil.rmtree(work / "checkpoint", ignore_errors=True)
        tuned.ensure()
        # It has done its service.
        shutil.rmtree(work / "checkpoint", ignore_errors=True)


def _features(
    job: Encode, folder: Path, name: str, source: Pretrained, device: Any, tuned: Stage | None
) -> Stage:
    """The stage that makes the feature set's folder."""
    parts = datasets.parts_in(folder)
    read = read_from(folder, parts)
    inputs = {
        "made_by": MADE_BY,
        "encoder": source.digests,
        **read,
        "params": asdict(job.params),
        "packages": packages.versions(),
    }
    build = partial(_build, job=job, folder=folder, source=source, parts=parts, read=read, device=device)
    return Stage(
        MADE_BY,
        folder / name,
        inputs,
        ("encoder.text_encoder", "encoder.device", "data.features", "storage.npz"),
        build,
        () if tuned is None else (tuned,),
        code=(_build, tfidf_block, encode_steps.write_embeddings),
        threads=job.threads,
        force=job.force,
        title=f"encode {job.dataset} as {name}",
    )


def read_from(folder: Path, parts: tuple[str, ...] = PARTS) -> dict[str, Any]:
    """Digests of what a feature set is made of."""
    vectorizer = folder / VECTORIZER_FILE
    return {
        "texts": [sha256(folder / f"X.{part}.txt") for part in parts],
        "data": datasets.digest(folder, parts=parts),
        "vectorizer": sha256(vectorizer) if vectorizer.exists() else None,
    }


def check_same(folder: Path, read: dict[str, Any], parts: tuple[str, ...] = PARTS) -> None:
    """Raise DisentangleError if what has been read is not what `read_from` found at first."""
    if changed := [name for name, sha in read_from(folder, parts).items() if sha != read[name]]:
        raise DisentangleError(
            f"{folder} has changed meanwhile ({', '.join(changed)}): run the same command again"
        )


def _build(
    out: Path,
    *saved: Saved,
    job: Encode,
    folder: Path,
    source: Pretrained,
    parts: tuple[str, ...],
    read: dict[str, Any],
    device: Any,
) -> dict[str, Any]:
    """Both blocks, the encoder and all that new texts need."""
    said: dict[str, Any] = {"max_length": job.params.max_length, "pooling": "mean"}
    results: dict[str, Any] = {}
    encoder = source
    for tuned in saved:
        encoder = Pretrained.at(tuned.folder / encode_steps.ENCODER, source.name, source.revision)
        for file, sha in encoder.digests.items():
            recorded = (tuned.digests or {}).get(f"{encode_steps.ENCODER}/{file}")
            tuned.check_fit(f"{file} of sha256", sha, recorded)
        results["tuning"] = tuned.read_json(encode_steps.LOSSES)
        params = {} if job.tuning is None else asdict(job.tuning)
        said["fine_tuned"] = {"from": source.digests} | params | results["tuning"]
    encoder.copy(out / encode_steps.ENCODER)
    own = Pretrained.at(out / encode_steps.ENCODER, encoder.name, encoder.revision)
    paths = {part: folder / f"X.{part}.txt" for part in parts}
    tfidf = tfidf_block(out, folder, parts)
    width = encode_steps.write_embeddings(out, paths, own, job.params, device)
    made = FeatureSet(
        out, (tfidf, Block(EMBEDDING, DENSE, width, True, own.said() | said)), is_normalised=True
    )
    made.save()
    check_same(folder, read, parts)
    return results | {"sizes": {block.name: block.n_columns for block in made.blocks}}


def _usual(folder: Path) -> FeatureSet:
    """The dataset's own features; refused unless they are terms."""
    usual = FeatureSet.at(folder / FEATURES)
    if usual.blocks:
        raise DisentangleError(f"{folder / FEATURES} must be one sparse matrix, found {FEATURES_FILE}")
    return usual


def tfidf_block(out: Path, folder: Path, parts: tuple[str, ...] = PARTS) -> Block:
    """The dataset's own features, and what makes them of new texts, where there is that."""
    usual = _usual(folder)
    for part in parts:
        (path,) = usual.paths(part)
        shutil.copyfile(path, out / f"{TFIDF}.{part}.npz")
    made_from: dict[str, Any] = {"features": FEATURES}
    if (folder / VECTORIZER_FILE).exists():
        shutil.copyfile(folder / VECTORIZER_FILE, out / VECTORIZER_FILE)
        made_from["vectorizer"] = sha256(out / VECTORIZER_FILE)
    return Block(TFIDF, SPARSE, usual.shape("trn")[1], True, made_from)
