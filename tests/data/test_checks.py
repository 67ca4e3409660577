"""`data check`, `data info` and `data list`, on a small set that goes wrong in one way at a time."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from conftest import EMBEDDED, SHARED, Command, ok, refused, save_dataset

from disentangle.data import checks, datasets, statistics
from disentangle.data.features import DENSE, Block, FeatureSet
from disentangle.jobs import cost_estimate

X = sp.csr_matrix(np.array([[0.5, 0, 1], [0, 2, 0], [1, 1, 0]], dtype=np.float32))
Y = sp.csr_matrix(np.array([[1, 0], [1, 1], [0, 1]], dtype=np.float32))
X_TST, Y_TST = sp.csr_matrix([[0, 0, 3.0], [0, 1, 1]], dtype=np.float32), sp.csr_matrix([[1.0, 0], [0, 1]])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_dataset(
        tmp_path / "dataset" / "xmc-base" / "tiny", X_trn=X, Y_trn=Y, X_tst=X_TST, Y_tst=Y_TST
    )


def found(folder: Path) -> list[tuple[str, str]]:
    return [(finding.level, finding.text) for finding in checks.check(folder.parent, folder.name)]


def put(file: str, matrix: sp.spmatrix) -> Callable[[Path], None]:
    return lambda folder: sp.save_npz(folder / file, matrix)


def write(file: str, content: str) -> Callable[[Path], None]:
    return lambda folder: (folder / file).write_text(content) and None


def components(folder: Path) -> None:
    (folder / "components").mkdir()
    sp.save_npz(folder / "components" / "labels.npz", sp.identity(2, format="csr"))
    sp.save_npz(folder / "components" / "Y.trn.npz", Y[:2])


def rows(*values: list[float]) -> sp.csr_matrix:
    return sp.csr_matrix(np.array(values, dtype=np.float32))


def stored(values: list[float], columns: list[int]) -> sp.csr_matrix:
    """Three rows of two, one and one values, as they are given."""
    return sp.csr_matrix((np.array(values, np.float32), columns, [0, 2, 3, 4]), shape=(3, 3))


X_TRN_FILE, X_TST_FILE = "tfidf-attnxml/X.trn.npz", "tfidf-attnxml/X.tst.npz"
ODD = [
    (
        put(X_TRN_FILE, rows([0, 0, 0], [0, 2, 1], [1, 1, 0])),
        "warning",
        "features in X.trn: 1; they are kept",
    ),
    (put(X_TST_FILE, rows([0, 0, 0], [0, 1, 1])), "warning", "features in X.tst: 1; they are kept"),
    (
        put(X_TRN_FILE, rows([1, 0, 0], [0, 2, 0], [1, 1, 0])),
        "warning",
        "features without training instances: 1",
    ),
    (put("Y.trn.npz", rows([0, 0], [1, 1], [0, 1])), "warning", "labels in Y.trn: 1; they are kept"),
    (put("Y.trn.npz", rows([1, 0], [1, 0], [1, 0])), "warning", "labels without training instances: 1"),
    (put("Y.tst.npz", rows([1, 0], [0, 0])), "warning", "labels in Y.tst: 1; they cannot be scored"),
    (put(X_TST_FILE, X[:2]), "warning", "of a training instance: 2 (100.0%), 1 of them its labels, too"),
    (
        write("output-items.txt", "one\n"),
        "warning",
        "output-items.txt must have 2 lines, one a name, got 1; predicting",
    ),
    (write("output-uris.txt", "u:1\n"), "warning", "must have 2 lines, one a URI, got 1; a bundle needs it"),
    (components, "warning", "must be of shape (3, 2), got (2, 2); the metric needs it"),
    (put("Y.trn.npz", Y.astype(np.int64)), "note", "Y.trn.npz: values of type int64 become float32"),
    (put("Y.trn.npz", Y.tocsc()), "note", "Y.trn.npz: csc becomes csr"),
    (
        put(X_TRN_FILE, stored([1, 2, 3, 4], [1, 0, 2, 1])),
        "note",
        "X.trn.npz: indices are not sorted, they will be",
    ),
    (
        put(X_TRN_FILE, stored([1, 2, 0, 4], [0, 1, 2, 2])),
        "note",
        "X.trn.npz: zeros that are stored: 1; they are dropped",
    ),
    (
        put(X_TRN_FILE, sp.coo_matrix(([1, 2, 3, 4, 5.0], ([0, 0, 1, 2, 2], [0, 0, 1, 1, 2])), shape=(3, 3))),
        "note",
        "X.trn.npz: values given again for the same row and column: 1; they are added up",
    ),
    (write(X_TST_FILE, "no matrix"), "error", "X.tst.npz is damaged or no sparse matrix"),
    (put("Y.tst.npz", Y_TST * 2), "error", "Y.tst.npz must hold only 0 and 1, got 2 in row 0, column 0"),
    (put("Y.trn.npz", Y[:2]), "error", "Y.trn.npz must have as many instances as X.trn.npz (3), got 2"),
    (put("Y.tst.npz", sp.csr_matrix((2, 2))), "error", "Y.tst.npz holds no values"),
]


@pytest.mark.parametrize(("spoil", "level", "text"), ODD, ids=[case[2][:40] for case in ODD])
def test_what_is_odd_is_found(folder: Path, spoil: Callable[[Path], None], level: str, text: str):
    assert found(folder) in ([], [("note", "Y.tst.npz: values of type float64 become float32")])
    spoil(folder)
    assert any(found_level == level and text in found_text for found_level, found_text in found(folder))


def test_every_error_is_listed(folder: Path):
    (folder / "Y.tst.npz").unlink()
    sp.save_npz(folder / "Y.trn.npz", Y[:2])
    sp.save_npz(folder / "tfidf-attnxml" / "X.tst.npz", X_TST[:, :2])
    texts = [text for level, text in found(folder) if level == "error"]
    assert ["missing" in texts[0], "instances" in texts[1], "features" in texts[2]] == [True] * 3
    assert len(texts) == 3


def test_leakage_is_that_of_instances_with_features():
    read = {
        "X_trn": rows([1, 2], [0, 0], [1, 2], [3, 0]),
        "Y_trn": rows([1, 0], [1, 0], [0, 1], [1, 1]),
        "X_tst": rows([1, 2], [0, 0], [2, 1], [1, 2], [3, 0]),
        "Y_tst": rows([0, 1], [1, 0], [1, 0], [1, 1], [0, 1]),
    }
    (text,) = checks._leakage(read)
    assert text.startswith(
        "test instances that have the features of a training instance: 3 (60.0%), 1 of them"
    )


def test_a_change_since_the_download_is_told(folder: Path):
    (folder / "source.json").write_text(json.dumps({"files": datasets.digest(folder)}))
    assert not [text for level, text in found(folder) if level == "warning"]
    sp.save_npz(folder / "Y.tst.npz", Y_TST[::-1])
    assert ("warning", "changed since it was downloaded: Y_tst") in found(folder)
    (folder / "source.json").write_text("{}")
    assert "cannot be compared" in found(folder)[-2][1]


def test_the_command_says_it_by_its_exit_status(folder: Path, disentangle: Command):
    sp.save_npz(folder / "Y.tst.npz", Y_TST.astype(np.float32))
    result = disentangle("data", "check", "tiny")
    assert (result.returncode, result.stdout) == (0, "tiny: nothing is wrong\n")
    sp.save_npz(folder / "tfidf-attnxml" / "X.tst.npz", X[:2])
    result = disentangle("data", "check", "tiny")
    assert (result.returncode, result.stdout.count("\n")) == (1, 1)
    sp.save_npz(folder / "Y.tst.npz", Y_TST[:1])
    result = disentangle("data", "check", "tiny")
    assert result.returncode == 2
    assert result.stdout.startswith("error: ")
    result = disentangle("data", "check", "tny")
    assert result.returncode == 2
    assert result.stderr.startswith("error: no dataset 'tny' in dataset/xmc-base: it holds tiny;")


def test_the_list_has_what_is_here_and_what_can_be_fetched(folder: Path, disentangle: Command):
    (folder.parent / "broken").mkdir()
    (folder.parent / "broken" / "Y.trn.npz").write_text("")
    result = ok(disentangle("data", "list"))
    lines = {line.split()[0]: line for line in result.stdout.splitlines() if line}
    assert lines["tiny"].split() == ["tiny", "3", "2", "2", "here"]
    assert "damaged" in lines["broken"]
    assert "2,812,281" in lines["amazon-3m"]
    assert "to fetch" in lines["amazon-3m"]


def test_describe(folder: Path):
    described = statistics.describe(datasets.load_dataset(folder.parent, "tiny"))
    assert described["density_of_X"] == pytest.approx(5 / 9)
    assert described["labels_per_instance"] == pytest.approx(4 / 3)
    assert described["instances_per_label_max"] == 2
    assert described["share_of_the_most_frequent_percent_of_labels"] == 0.5
    assert described["n_labels_with_instances"] == {
        "0": 0, "1": 0, "2 to 5": 2, "6 to 100": 0, "more than 100": 0,
    }  # fmt: skip


def test_info(folder: Path, disentangle: Command):
    result = ok(disentangle("data", "info", "tiny", "--threads", "1"))
    assert "Estimate, not a promise" in result.stdout
    assert "at the pace of the measured runs" in result.stdout
    assert "labels with 2 to 5 training instances" in result.stdout


def test_the_estimate_grows_with_the_data_and_follows_runs_made_here(tmp_path: Path):
    small, machine = cost_estimate.Size(10_000, 1_000, 500_000, 8_000_000), {"cores": 9}
    large = cost_estimate.Size(40_000, 4_000, 2_000_000, 32_000_000)
    first, second = (cost_estimate.estimate(size, 2, machine, tmp_path) for size in (small, large))
    assert second.seconds == pytest.approx(first.seconds * 4 * 2)
    assert second.mebibytes > first.mebibytes
    assert cost_estimate.estimate(small, 1, machine, tmp_path).seconds == pytest.approx(2 * first.seconds)
    run: dict[str, Any] = {"seconds": {"train": 40.0, "predict": 5.0, "evaluate": 5.0}, "peak_rss_mib": 100}
    run |= {"threads": 2, "machine": machine}
    overlap = run | {"method": "overlap", "seconds": run["seconds"] | {"train": 25.0, "retrain": 10.0}}
    report = {
        "dataset": "small",
        # Of the call before, which these are not of.
        "machine": {"cores": 8},
        "params": {"preset": "tuned", "threads": 16},
        "sizes": {"costs": vars(small)},
        "runs": [
            run | {"method": "xr-linear", "variant": None},
            overlap | {"variant": "paper-leaf-size-20"},
            overlap | {"variant": "paper"},
        ],
    }
    (tmp_path / "small" / "base").mkdir(parents=True)
    (tmp_path / "small" / "base" / "report.json").write_text(json.dumps(report))
    # Without XR-Linear it is not the whole of a run.
    (tmp_path / "less" / "base").mkdir(parents=True)
    (tmp_path / "less" / "base" / "report.json").write_text(json.dumps(report | {"runs": report["runs"][1:]}))
    (tmp_path / "damaged" / "base").mkdir(parents=True)
    (tmp_path / "damaged" / "base" / "report.json").write_text("{}")
    (tmp_path / "deep" / "base").mkdir(parents=True)
    (tmp_path / "deep" / "base" / "report.json").write_text("[" * 100_000)
    (tmp_path / "odd" / "base").mkdir(parents=True)
    (tmp_path / "odd" / "base" / "report.json").write_text(json.dumps(report | {"runs": [1, 2]}))
    # Nor is one whose parts are of different threads.
    mixed = [report["runs"][0] | {"threads": 1}, *report["runs"][1:]]
    (tmp_path / "mixed" / "base").mkdir(parents=True)
    (tmp_path / "mixed" / "base" / "report.json").write_text(json.dumps(report | {"runs": mixed}))
    # One that is start-up for the most part says nothing of longer ones.
    tiny = report | {"sizes": {"costs": vars(small) | {"n_instances": 300, "work": 6000}}}
    (tmp_path / "tiny" / "base").mkdir(parents=True)
    (tmp_path / "tiny" / "base" / "report.json").write_text(json.dumps(tiny))
    here = cost_estimate.estimate(small, 2, machine, tmp_path)
    assert (here.n_local_runs, here.seconds) == (1, pytest.approx(70))
    assert cost_estimate.estimate(small, 2, {"cores": 8}, tmp_path).n_local_runs == 0


def test_a_shape_that_claims_billions_costs_nothing(folder: Path, disentangle: Command):
    huge = 2**30
    for part, matrix in (("trn", Y), ("tst", Y_TST)):
        wide = sp.csr_matrix((matrix.data, matrix.indices, matrix.indptr), shape=(matrix.shape[0], huge))
        sp.save_npz(folder / f"Y.{part}.npz", wide)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, 4 * 2**30))

    result = disentangle("data", "check", "tiny", preexec_fn=limit)
    assert result.returncode == 1, result.stderr
    assert "labels without training instances: 1,073,741,822" in result.stdout
    ok(disentangle("data", "info", "tiny", preexec_fn=limit))


def test_wrong_options(folder: Path, disentangle: Command):
    result = disentangle("data", "info", "tiny", "--threads", "0")
    assert (result.returncode, result.stderr) == (2, "error: --threads must be at least 1, got 0\n")
    result = disentangle("data", "export", "tiny", "--format", "svmlight", "--out", ".")
    refused(result, r"--out must name a folder to make, got '\.'")
    ok(disentangle("data", "check", "tiny/"))


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the development data beside the checkout")
@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("eurlex-57k", []),
        ("tibkat-all", []),
        ("vullib", ["without features in X.trn: 21", "without features in X.tst: 7"]),
        ("yso-finna-en", ["without features in X.trn: 26", "without features in X.tst: 4"]),
    ],
)
def test_real_sets_pass_and_what_is_odd_about_them_is_told(name: str, texts: list[str]):
    findings = checks.check(SHARED / "data" / "xmc-base", name)
    assert {finding.level for finding in findings} == {"warning"}
    told = "\n".join(finding.text for finding in findings)
    assert all(text in told for text in [*texts, "have the features of a training instance"])


def test_the_embedded_set_passes():
    assert [finding.text.partition(":")[0] for finding in checks.check(EMBEDDED.parent, EMBEDDED.name)] == [
        "instances without features in X.tst",
        "labels without training instances",
        "test instances that have the features of a training instance",
        "label names that differ from another one in blanks, case or invisible characters alone",
    ]


def test_other_features_of_a_dataset(folder: Path, disentangle: Command):
    (folder / "mini").mkdir()
    for part, n in (("trn", 3), ("tst", 2)):
        np.save(folder / "mini" / f"a.{part}.npy", np.full((n, 2), 0.5, np.float16))
    FeatureSet(folder / "mini", (Block("a", DENSE, 2, False, {}),)).save()
    given = ("tiny", "--features", "mini")
    assert "mini" in disentangle("data", "list").stdout
    described = disentangle("data", "info", *given).stdout.splitlines()
    assert ["dense", "features", "2"] in [line.split() for line in described]
    ok(disentangle("data", "export", *given, "--format", "svmlight", "--out", "out"))
    assert (folder.parents[2] / "out" / "trn.txt").read_text().splitlines()[1].endswith(" 0:0.5 1:0.5")
    assert "have the features of a training instance: 2" in disentangle("data", "check", *given).stdout
    values = np.full((3, 2), np.nan, np.float16)
    np.save(folder / "mini" / "a.trn.npy", values)
    ended = disentangle("data", "check", *given)
    assert ended.returncode == 2
    assert "a.trn.npy must hold finite values, got nan in row 0, column 0" in ended.stdout
    ok(disentangle("data", "check", "tiny"))
    ended = disentangle("data", "check", "tiny", "--features", "none")
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
