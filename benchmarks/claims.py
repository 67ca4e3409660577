"""What this project claims: for each result the command that makes it, and the figures that are expected.

`reproduce.py` runs the commands and checks the figures. In a command {data} is the folder of the datasets,
{models} one for models that are used again, {embeddings} that of embeddings made elsewhere, beside the
folder of the datasets, and {out} the file that the command leaves.
"""

from __future__ import annotations

import ast
import hashlib
import io
import tokenize
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
PACKAGE = HERE.parent / "src" / "disentangle"
# Rooms, or modules, of the package that make the figures; not how they are asked for, nor said.
MODELS = (
    "data.datasets",
    "data.validation",
    "data.features",
    "storage.compressed",
    "storage.matrices",
    "storage.npz",
    "model",
    "overlap",
    "kernels",
    "evaluate.metrics",
)
JOB = (*MODELS, "params", "presets", "rules", "jobs.plan", "jobs.steps")
BINNED = (*JOB, "evaluate.binning", "jobs.binned")
METRIC = (*BINNED, "evaluate.variation_of_information", "data.components", "jobs.metric")
CALIBRATION = (*JOB, "evaluate.calibration", "jobs.calibrate")
LATENCY = (*JOB, "data.tfidf", "api.bundle", "jobs.predict")
AMBIGUITY = (*JOB, "evaluate.ambiguity", "data.components")
SETS = ("wordnet-hypernyms", "vullib", "eurlex-57k", "tibkat-all", "yso-finna-en")
# What is expected of P@1, P@5 and R@10, in this order.
FIGURES = ("P@1", "P@5", "R@10")
Figures = dict[str, tuple[float, ...]]


@dataclass(frozen=True)
class Claim:
    """One result.

    Attributes
    ----------
    name : str
        Of its file, results/NAME.json.
    words : str
        What it shows.
    dataset : str
    command : str
        Arguments of Python.
    code : tuple of str
        Rooms and modules of the package that the figures depend on.
    files : tuple of str
        Files of this folder that they depend on.
    report : str
        The file that the command leaves, if it cannot be told which.
    expected : dict of str to tuple of float
        `FIGURES` of each method; of the metric VI and its differences from both baselines; of a score of
        ambiguity its ROC-AUC, P@100 and P@500, in percent.
    tolerance : float
        By which a figure may differ.
    """

    name: str
    words: str
    dataset: str
    command: str
    code: tuple[str, ...]
    files: tuple[str, ...]
    report: str
    expected: Figures
    tolerance: float


def code_digest(code: tuple[str, ...], files: tuple[str, ...]) -> str:
    """Sha256 of modules of the package, rooms whole, and of files of this folder, as far as they run."""
    paths = []
    for name in code:
        place = PACKAGE / name.replace(".", "/")
        paths += sorted(place.glob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
    sha = hashlib.sha256()
    for path in (*paths, *(HERE / file for file in files)):
        sha.update(what_runs(path.read_text(encoding="utf-8")).encode())
    return sha.hexdigest()


def what_runs(source: str) -> str:
    """A module's lines without comments and docstrings, which change no figure.

    Not the syntax tree, as another Python may tell it otherwise.
    """
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(source)):
        kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        if isinstance(node, kinds) and ast.get_docstring(node, clean=False) is not None:
            docstring = node.body[0]
            for row in range(docstring.lineno, (docstring.end_lineno or 0) + 1):
                lines[row - 1] = ""
    return "\n".join(line.rstrip() for line in lines if line.strip())


EXPECTED: dict[str, Figures] = {
    "base-wordnet-hypernyms": {"xr-linear": (62.24, 52.50, 62.01), "paper": (63.42, 53.61, 63.52)},
    "base-vullib": {"xr-linear": (85.54, 33.86, 88.69), "paper": (85.85, 34.03, 88.76)},
    "base-eurlex-57k": {"xr-linear": (90.78, 67.91, 84.79), "paper": (91.57, 68.67, 85.80)},
    "base-tibkat-all": {"xr-linear": (49.13, 22.05, 53.74), "paper": (51.70, 23.81, 58.20)},
    "base-yso-finna-en": {"xr-linear": (36.22, 16.21, 47.49), "paper": (37.78, 16.74, 49.13)},
    "presets-wordnet-hypernyms": {"tuned": (65.01, 54.60, 64.68), "lean": (64.52, 54.17, 64.16)},
    "presets-vullib": {"tuned": (86.38, 34.26, 89.70), "lean": (86.41, 34.22, 89.62)},
    "presets-eurlex-57k": {"tuned": (91.36, 68.53, 85.79), "lean": (90.96, 68.43, 85.85)},
    "presets-tibkat-all": {"tuned": (53.75, 24.43, 59.79), "lean": (52.53, 24.11, 59.25)},
    "presets-yso-finna-en": {"tuned": (39.01, 17.59, 51.31), "lean": (38.63, 17.48, 51.25)},
    "binned-wordnet-hypernyms": {"xr-linear": (62.55, 52.28, 61.49), "paper": (63.26, 53.19, 62.70)},
    "binned-vullib": {"xr-linear": (85.77, 34.23, 88.91), "paper": (85.62, 34.18, 89.00)},
    "metric-wordnet-hypernyms": {"copies": (1.258, 0.133, 0.063)},
    "metric-vullib": {"copies": (0.942, 0.368, 0.259)},
    "separation-tuned-wordnet-hypernyms": {"copies": (1.301, 0.466, 0.313)},
    "separation-lean-wordnet-hypernyms": {"copies": (1.120, 0.270, 0.186)},
    "compare-wordnet-hypernyms": {"tuned": (64.84, 54.58, 64.74), "omikuji-bonsai": (63.88, 54.08, 63.97)},
    "compare-vullib": {"tuned": (86.15, 34.25, 89.78), "omikuji-bonsai": (86.00, 34.32, 89.44)},
    "compare-eurlex-57k": {"tuned": (91.38, 68.53, 85.72), "omikuji-bonsai": (91.08, 68.15, 85.29)},
    "compare-tibkat-all": {"tuned": (53.70, 24.39, 59.71), "omikuji-bonsai": (51.51, 23.10, 56.93)},
    "compare-yso-finna-en": {"tuned": (39.01, 17.59, 51.31), "omikuji-bonsai": (38.65, 17.40, 50.98)},
    "ambiguity-wordnet-hypernyms": {
        "frequency": (63.01, 52.0, 45.6),
        "score paper": (90.59, 93.0, 92.4),
        "score tuned": (90.02, 99.0, 92.0),
        "score lean": (90.17, 94.0, 92.0),
    },
    "learned-features-wordnet-hypernyms": {
        "XR-Linear on fine-tuned": (75.11, 63.84, 73.35),
        "paper on fine-tuned": (75.98, 64.56, 74.41),
        "tuned on fine-tuned": (77.08, 65.63, 75.63),
        "lean on fine-tuned": (76.37, 65.23, 75.38),
    },
    "learned-features-vullib": {
        "tuned on frozen": (87.59, 34.90, 91.01),
        "tuned on fine-tuned": (87.77, 35.05, 91.27),
    },
    "ensembles-wordnet-hypernyms": {
        "tuned": (64.84, 54.58, 64.74),
        "xr-linear, 3 trees": (63.85, 53.89, 63.76),
        "tuned, 3 trees": (65.77, 55.31, 65.59),
        "lean, 3 trees": (65.36, 54.98, 65.14),
    },
}

# A folder for each seed, as presets.py has them, so that no result trains what another one has.
_JOB = "-m disentangle {kind} {dataset} --data-dir {{data}} --model-dir {{models}}/seed-0"
# Of kinds that are not called like their job.
_JOBS = {"ensembles": "base", "seeds": "base", "calibration": "base"}
_JOBS |= {"separation-tuned": "metric", "separation-lean": "metric"}
_SHARED = " --models {models}/seed-0"
_SCRIPT = "benchmarks/{file} {dataset} --data-dir {{data}} --out {{out}}"
_PEERS = ("compare.py", "methods.py", "method_process.py")
_COMPARED = "xr-linear,paper,lean,tuned,tuned-3,omikuji-parabel,omikuji-bonsai"
_PEERED, _ALL_PEERS = "against other tools", f"{_COMPARED},libmultilabel-tree"
_AMBIGUITY = ("ambiguity.py", "presets.py")
_MEAN, _OF_TREES = "the power mean of trees' scores", ("mean_of_trees.py", "presets.py")
_TEN = " --preset paper,lean --seeds 0,1,2,3,4,5,6,7,8,9"
_PROBABILITIES = "probabilities are near the shares that are right"
_CALIBRATE = " --calibrate --preset"
_WORTH = "what each part is worth"
_BETTER = "copies separate meanings better than the paper's"
_LOO = ("leave_one_out.py", "presets.py")
_BESIDE, _LEARNED = "an embedding beside tf-idf", ("learned_features.py", "presets.py")
_EMBEDDED = " --models {models} --embeddings {embeddings}/DATASET-minilm.npz"
# Kind, what it shows, datasets, options, code, files of this folder (none for a job), tolerance.
# Omikuji's own figures move by half a point from run to run.
_KINDS: tuple[tuple[str, str, tuple[str, ...], str, tuple[str, ...], tuple[str, ...], float], ...] = (
    ("base", "the overlap beats XR-Linear, as in the original scripts", SETS, "", JOB, (), 0.02),
    ("presets", "tuned and lean, over seeds", SETS[:4], " --models {models}", METRIC, ("presets.py",), 0.02),
    ("presets", "tuned and lean", SETS[4:], " --models {models} --seeds 0", METRIC, ("presets.py",), 0.02),
    ("seeds", "chance by trees, and by test instances", SETS[:2], _TEN, JOB, (), 0.02),
    ("ensembles", "three trees beat one", SETS[:1], " --preset tuned,lean --n-trees 3", JOB, (), 0.02),
    ("mean-of-trees", _MEAN, SETS[:4], _SHARED, (*JOB, "jobs.calibrate"), _OF_TREES, 0.02),
    ("mean-of-trees", _MEAN, SETS[4:], f"{_SHARED} --seeds 0", (*JOB, "jobs.calibrate"), _OF_TREES, 0.02),
    ("calibration", _PROBABILITIES, SETS[:2], f"{_CALIBRATE} paper,tuned,lean", CALIBRATION, (), 0.02),
    ("calibration", _PROBABILITIES, SETS[3:4], f"{_CALIBRATE} tuned,lean", CALIBRATION, (), 0.02),
    (
        "binned",
        "Figure 2: binned labels",
        SETS[:2],
        " --binned-dir {models}/binned",
        BINNED,
        (),
        0.02,
    ),
    ("metric", "copies separate meanings", SETS[:2], " --binned-dir {models}/binned", METRIC, (), 0.01),
    ("separation-tuned", _BETTER, SETS[:1], " --preset tuned", METRIC, (), 0.01),
    ("separation-lean", _BETTER, SETS[:1], " --preset lean", METRIC, (), 0.01),
    ("leave-one-out", _WORTH, SETS[1:2], " --models {models}", JOB, _LOO, 0.02),
    ("leave-one-out", _WORTH, (*SETS[:1], *SETS[2:]), " --models {models} --seeds 0", JOB, _LOO, 0.02),
    ("compare", _PEERED, SETS[:1], f" --repeats 1 --only {_ALL_PEERS}", MODELS, _PEERS, 0.5),
    ("compare", _PEERED, SETS[1:2], f" --repeats 3 --only {_ALL_PEERS}", MODELS, _PEERS, 0.5),
    ("compare", _PEERED, SETS[2:], f" --repeats 1 --only {_COMPARED}", MODELS, _PEERS, 0.5),
    ("ambiguity", "ambiguous labels come first", SETS[:1], _SHARED, AMBIGUITY, _AMBIGUITY, 0.5),
    ("learned-features", _BESIDE, SETS[:2], _EMBEDDED, JOB, _LEARNED, 0.02),
    ("scaling", "how seconds fall with threads", SETS, "", JOB, ("scaling.py", "scaling_process.py"), 0.02),
    (
        "latency",
        "what one instance takes, beside Omikuji",
        SETS[:2],
        f"{_SHARED} --only lean,tuned,omikuji-parabel,omikuji-bonsai",
        LATENCY,
        ("latency.py", *_PEERS),
        0.0,
    ),
    ("scale", "how seconds grow", SETS[:1], "", JOB, ("scale.py", "presets.py"), 0.02),
)


def claims() -> tuple[Claim, ...]:
    """All results."""
    found = []
    for kind, words, names, options, code, files, tolerance in _KINDS:
        for dataset in names:
            name, report = f"{kind}-{dataset}", "{out}"
            template = _SCRIPT if files else _JOB
            job = _JOBS.get(kind, kind)
            if not files:
                report = f"{{models}}/seed-0/{dataset}/{job}/report.json"
            command = template.format(kind=job, dataset=dataset, file=files[0] if files else "")
            command += options.replace("DATASET", dataset)
            expected = EXPECTED.get(name, {})
            found.append(Claim(name, words, dataset, command, code, files, report, expected, tolerance))
    return tuple(found)
