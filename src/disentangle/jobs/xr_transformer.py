"""XR-Transformer itself beside the base job's methods, and what its encoder has learnt as a feature set."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from ..data import datasets, known_datasets
from ..data.features import DENSE, EMBEDDING, Block, FeatureSet, beside
from ..data.lines import read_lines
from ..encoder import packages
from ..encoder.pretrained import Pretrained
from ..errors import DisentangleError
from ..params import ARCHIVE, MAX_K, Propensity
from ..runtime import provenance
from ..storage import atomic, files, places
from ..storage.saved import RECORD, Saved
from ..xr_transformer.settings import XrSettings
from . import reports
from .encode import check_name, check_place, check_same, check_texts, read_from, tfidf_block
from .settings import filled
from .stages import Stage

logger = logging.getLogger(__name__)

# Of the job, of the feature set that it makes, and of what made that, in its record.
NAME = reports.XR_TRANSFORMER
_METHOD = "XR-Transformer"
_SCORES = "scores.npz"


@dataclass(frozen=True)
class XrTransformerJob:
    """What is to be trained on what.

    Attributes
    ----------
    dataset : str
    data_dir, model_dir : Path
    encoder : Path
        A folder.
    name : str
        Of the feature set.
    settings : XrSettings
    settings_name : str
    seed : int
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
    encoder: Path
    name: str
    settings: XrSettings
    settings_name: str
    seed: int
    device: str
    threads: int
    force: bool = False
    mirror: str = ARCHIVE

    @property
    def folder(self) -> Path:
        """Where its results go."""
        return self.model_dir / self.dataset / reports.place_of(NAME, self.name)


def run_xr_transformer(job: XrTransformerJob) -> dict[str, Any]:
    """Train XR-Transformer, and make a feature set of what its encoder has learnt; what is there stays.

    Returns
    -------
    dict
        The report, as `report.json` has it: its own run, and those of base jobs with its features. "files"
        are where to look next.

    Raises
    ------
    DisentangleError
        If texts are not there or not as many as instances, the encoder is none that PECOS can take, the
        settings do not fit the dataset, or a folder is there and not this command's.
    """
    from ..encoder import device

    check_name(job.name)
    chosen = device.choose(job.device)
    device.limit_threads(job.threads)
    datasets.check_name(job.data_dir, job.dataset)
    if not job.encoder.is_dir():
        raise DisentangleError(f"--encoder must be a folder, found none at {job.encoder}")
    places.check_apart("--model-dir", job.model_dir / job.dataset, [job.data_dir / job.dataset])
    folder = known_datasets.folder_of(job.data_dir, job.dataset, job.mirror)
    sizes = datasets.sizes_in(folder)
    job.settings.learnt(sizes["n_labels"])
    job.settings.tree.sizes(sizes["n_labels"])
    check_texts(folder)
    data = read_from(folder)
    trained = _training(job, folder, data, Pretrained.at(job.encoder), chosen)
    made = _features(job, folder, data, trained)
    with atomic.claim(folder / job.name, RECORD), atomic.workspace(job.folder, RECORD):
        if made.record() is None:
            check_place(folder / job.name, NAME)
        record = trained.ensure()
        made.ensure()
        return _report(job, sizes, trained, record | {"results": _run(job, folder, data, trained, record)})


def _training(
    job: XrTransformerJob, folder: Path, data: dict[str, Any], source: Pretrained, device: Any
) -> Stage:
    """The stage that trains, predicts and encodes."""
    inputs = {
        "encoder": source.digests,
        "texts": data["texts"],
        "data": data["data"],
        "settings": asdict(job.settings),
        "seed": job.seed,
        "packages": packages.versions(),
    }
    build = partial(_train, job=job, folder=folder, data=data, source=source, device=device)
    return Stage(
        "train",
        job.folder / "trained",
        inputs,
        ("xr_transformer.training", "xr_transformer.settings"),
        build,
        threads=job.threads,
        force=job.force,
        title=f"train {_METHOD} on {job.dataset}",
    )


def _train(
    out: Path, *, job: XrTransformerJob, folder: Path, data: dict[str, Any], source: Pretrained, device: Any
) -> dict[str, Any]:
    """The encoder, the embeddings of both parts, and the scores of XR-Transformer's own prediction."""
    from ..xr_transformer.training import XrTransformer, temporaries

    read = datasets.load_parts(folder)
    texts = {part: [line.text for line in read_lines(folder / f"X.{part}.txt")] for part in datasets.PARTS}
    X = {part: read[f"X_{part}"] for part in datasets.PARTS}
    check_same(folder, data)
    with temporaries() as place:
        # A copy that nobody else writes to, of the files that were looked at, and without any pickle.
        source.copy(place / "given")
        model = XrTransformer(place / "given", job.settings, job.seed, device, job.threads)
        made = model.run(out, texts, X, read["Y_trn"].astype(np.float32))
    for part, rows in made.embeddings.items():
        np.save(out / _file(part), rows)
    scores = made.scores.tocsr()
    scores.sort_indices()
    sp.save_npz(out / _SCORES, scores, compressed=False)
    return {"candidates_per_instance": made.candidates, "seconds": made.seconds}


def _run(
    job: XrTransformerJob, folder: Path, data: dict[str, Any], trained: Stage, record: dict[str, Any]
) -> dict[str, Any]:
    """What was found by training, and metrics of the test instances that have labels; they need no GPU."""
    from ..evaluate import metrics

    Y_trn, Y_tst = (datasets.load_part(f"Y_{part}", folder).tocsr() for part in datasets.PARTS)
    check_same(folder, data)
    saved = trained.saved()
    scores = saved.matrix(_SCORES).tocsr()
    saved.check_fit("scores of shape", scores.shape, Y_tst.shape)
    scored = np.diff(Y_tst.indptr) > 0
    propensity = filled(Propensity, known_datasets.settings_of(job.dataset))
    inverse = metrics.inverse_propensity(Y_trn, propensity)
    figures = metrics.figures(Y_tst[scored], metrics.rank(scores[scored], MAX_K), inverse)
    rounded = {name: [round(v, 4) for v in values.tolist()] for name, values in figures.items()}
    return rounded | record["results"]


def _file(part: str) -> str:
    return f"{EMBEDDING}.{part}.npy"


def _features(job: XrTransformerJob, folder: Path, data: dict[str, Any], trained: Stage) -> Stage:
    """The stage that makes the feature set's folder."""
    return Stage(
        NAME,
        folder / job.name,
        {"made_by": NAME, "data": data["data"]},
        ("data.features",),
        partial(_build, job=job, folder=folder, data=data),
        (trained,),
        code=(_build, tfidf_block),
        threads=job.threads,
        force=job.force,
        title=f"features {job.name} of {job.dataset}",
    )


def _build(
    out: Path, trained: Saved, *, job: XrTransformerJob, folder: Path, data: dict[str, Any]
) -> dict[str, Any]:
    """Both blocks, side by side as XR-Transformer has them: tf-idf as it is, embeddings of length 1."""
    tfidf = replace(tfidf_block(out, folder), is_normalised=False)
    check_same(folder, data)
    for part in datasets.PARTS:
        with trained.open(_file(part)) as file:
            files.copy(file, out / _file(part))
    width = int(np.load(out / _file("tst"), mmap_mode="r", allow_pickle=False).shape[1])
    made_from = {"method": _METHOD, "settings": job.settings_name, "seed": job.seed}
    made = FeatureSet(out, (tfidf, Block(EMBEDDING, DENSE, width, True, made_from)))
    made.save()
    return {"sizes": {block.name: block.n_columns for block in made.blocks}}


def _report(
    job: XrTransformerJob, sizes: dict[str, int], trained: Stage, record: dict[str, Any]
) -> dict[str, Any]:
    """Write and return the report."""
    run = record["results"] | {
        "variant": _METHOD,
        "n_trees": 1,
        "settings": {"settings": job.settings_name, "seed": job.seed},
        "seconds": record["seconds"],
    }
    report = {
        "job": NAME,
        "dataset": job.dataset,
        "features": job.name,
        "params": {"settings": job.settings_name, **asdict(job.settings), "threads": record["threads"]},
        "seed": job.seed,
        "sizes": sizes,
        "encoder": record["inputs"]["encoder"],
        "versions": provenance.versions() | packages.versions(),
        "machine": record["machine"],
        "peak_rss_mib": record["peak_rss_mib"],
        "runs": [run, *_base_runs(job)],
    }
    path = job.folder / "report.json"
    atomic.write_json(path, report)
    return report | {"files": [path, trained.folder / "encoder", job.data_dir / job.dataset / job.name]}


def _base_runs(job: XrTransformerJob) -> list[dict[str, Any]]:
    """Runs of the base job on the features as they are now."""
    path = job.model_dir / job.dataset / beside("base", job.name) / "report.json"
    if not path.exists():
        return []
    try:
        report, _ = reports.read(path)
        is_of_these = report["data"] == datasets.source(job.data_dir, job.dataset, job.name).inputs
    except (DisentangleError, KeyError) as error:
        logger.warning("note: base runs are left out: %s", error)
        return []
    seeds = {"settings": {"seed": " ".join(map(str, report.get("seeds", [])))}}
    rows = [seeds | row for row in report.get("summary", report["runs"])]
    return [row for row in rows if is_of_these and row["n_trees"] == 1]
