"""A cluster of dask.distributed: the same bytes as one process, whoever is lost, or a sentence."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import pickle
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from cluster_tasks import add, die, fail
from conftest import ROOT, files_of_stages, ok, refused, run_disentangle, save_dataset

from disentangle import LabelTreeClassifier
from disentangle.cli import arguments
from disentangle.data import datasets
from disentangle.errors import DisentangleError
from disentangle.jobs import cluster, worker
from disentangle.kernels import best_clusters
from disentangle.runtime.workers import Threads, most_rows, split

distributed = pytest.importorskip(
    "distributed", reason="distributed is not installed: requirements-cluster.txt"
)

TREE = ("--nr-splits", "8", "--max-leaf-size", "20")
PRESETS = "paper,lean,tuned"


def start(*args: str | Path, folder: Path) -> subprocess.Popen:
    """A scheduler or a worker, whose log is in a folder."""
    env = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{Path(__file__).parent}"}
    command = [sys.executable, "-m", "distributed.cli.dask_" + str(args[0]), *map(str, args[1:])]
    with (folder / f"{args[0]}.log").open("a") as log:
        return subprocess.Popen(command, env=env, cwd=folder, stdout=log, stderr=log)


class Cluster:
    """A scheduler and workers in processes of their own.

    Attributes
    ----------
    file : Path
        The scheduler's.
    """

    def __init__(self, folder: Path, n_workers: int, how: tuple[str, ...]) -> None:
        self.folder, self.file, self.how = folder, folder / "scheduler.json", how
        where = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--no-show")
        self.scheduler = start("scheduler", *where, "--scheduler-file", self.file, folder=folder)
        self.workers: list[subprocess.Popen] = []
        for _ in range(n_workers):
            self.add()

    def add(self) -> None:
        """One more worker of one thread."""
        how = ("--nthreads", "1", "--no-dashboard", "--scheduler-file", self.file)
        self.workers.append(start("worker", *how, *self.how, folder=self.folder))

    def client(self) -> Any:
        while not self.file.exists() or not self.file.read_text():
            assert self.scheduler.poll() is None, (self.folder / "scheduler.log").read_text()
            time.sleep(0.01)
        return distributed.Client(json.loads(self.file.read_text())["address"], set_as_default=False)

    def ready(self) -> Cluster:
        """It, with all workers there."""
        with self.client() as client:
            client.wait_for_workers(len(self.workers))
        return self

    def end(self) -> None:
        for process in (*self.workers, self.scheduler):
            # What starts workers again ends them with itself only if it is asked to.
            process.terminate() if "--nanny" in self.how else process.kill()
            process.wait()


@contextmanager
def running(folder: Path, n_workers: int = 2, how: tuple[str, ...] = ("--no-nanny",)) -> Iterator[Cluster]:
    folder.mkdir()
    found = Cluster(folder, n_workers, how)
    try:
        yield found.ready()
    finally:
        found.end()


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(tmp_path_factory.mktemp("two") / "cluster") as found:
        yield found


@pytest.fixture(scope="module")
def alone(verbs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the models that one process trains."""
    folder = tmp_path_factory.mktemp("alone")
    ok(run_disentangle(folder, "base", "verbs", "--data-dir", verbs, "--preset", PRESETS, *TREE))
    return folder / "model"


def test_presets_are_those_of_one_process(two: Cluster, verbs: Path, alone: Path, tmp_path: Path):
    args = ("base", "verbs", "--data-dir", verbs, "--preset", PRESETS, *TREE)
    result = ok(run_disentangle(tmp_path, *args, "--cluster", two.file))
    assert "cluster: 2 workers, 2 threads" in result.stderr
    assert "workers read data from" in result.stderr
    assert files_of_stages(tmp_path / "model") == files_of_stages(alone)
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["verbs"]
    # It has no part in what a stage depends on.
    again = run_disentangle(tmp_path, *args)
    assert (again.returncode, "done in" in again.stderr) == (0, False), again.stderr


def test_predictions_are_those_of_one_process(two: Cluster, verbs: Path, alone: Path, tmp_path: Path):
    place = ("--data-dir", verbs, "--model-dir", alone, "--variant", "lean")
    X = verbs / "verbs" / "tfidf-attnxml" / "X.tst.npz"
    for name, more in (("one", ()), ("two", ("--cluster", two.file))):
        out = tmp_path / f"{name}.npz"
        ok(run_disentangle(tmp_path, "predict", "verbs", *place, "--input", X, "--out", out, *more))
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


def test_the_classifier_is_that_of_one_process(two: Cluster, verbs: Path):
    parts = datasets.load_parts(verbs / "verbs")
    X, Y = parts["X_trn"][:400], parts["Y_trn"][:400]
    fitted = [
        LabelTreeClassifier(nr_splits=8, max_leaf_size=10, cluster=where).fit(X, Y)
        for where in (None, str(two.file))
    ]
    one, other = (model.decision_function(parts["X_tst"]) for model in fitted)
    assert (one != other).nnz == 0


@pytest.fixture
def shared() -> dict[str, Any]:
    values = np.arange(5000, dtype=np.float32)
    return {"values": values, "M": sp.identity(5000, np.float32, "csr"), "name": "small"}


@pytest.mark.parametrize("is_seen", [True, False])
def test_results_come_in_order_with_a_folder_and_without(two: Cluster, shared: dict[str, Any], is_seen: bool):
    with cluster.opened(str(two.file), 1) as workers:
        assert workers.slots == 2
        folder = workers._folder
        if not is_seen:
            workers._folder = None
        for n_items in (0, 1, 5, 1000):
            expected = [(float(i + 1), 1) for i in range(n_items)]
            assert list(workers.map(add, shared, range(n_items))) == expected
            assert list(workers.in_turn(add, shared, range(n_items))) == expected
        # One array is the whole of the other: equal contents are one file.
        assert len(list(folder.iterdir())) == (4 if is_seen else 0)
    assert not folder.exists()


def test_what_a_task_refuses_is_raised_here(two: Cluster):
    with (
        cluster.opened(str(two.file), 1) as workers,
        pytest.raises(DisentangleError, match="no 7"),
    ):
        list(workers.map(fail, "no", [7, 8]))


@pytest.mark.parametrize("is_seen", [True, False])
def test_a_lost_workers_parts_are_done_again(tmp_path: Path, is_seen: bool):
    once = tmp_path / "once"
    once.touch()
    with running(tmp_path / "cluster", 3) as three, cluster.opened(str(three.file), 1) as workers:
        if not is_seen:
            workers._folder = None
        assert list(workers.map(die, once, range(50))) == list(range(50))


# Where parts are shared out, and how often. PECOS's solver has a level at a time. Matching is for the
# overlap, for negatives, of which paper has none, and for how many labels are ranked.
PECOS = {"train_levels._train": 5, "beam_search._search": 2, "assign._choose": 1, "predictor._best": 1}
MIXED = PECOS | {"side_by_side._train": 3, "beam_search._search": 3, "tree._halve": 1}
del MIXED["train_levels._train"]


@pytest.mark.parametrize(
    ("preset", "steps"),
    [
        ("lean", MIXED),
        pytest.param("paper", PECOS, marks=pytest.mark.slow),
        pytest.param("tuned", MIXED, marks=pytest.mark.slow),
    ],
)
def test_a_worker_killed_in_each_step_changes_nothing(
    preset: str,
    steps: dict[str, int],
    verbs: Path,
    alone: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    killed = tmp_path / "killed"
    killed.mkdir()
    monkeypatch.setenv("KILLED_IN", str(killed))
    args = ("base", "verbs", "--data-dir", verbs, "--preset", preset, *TREE, "--without-xr-linear")
    with running(tmp_path / "cluster", 2, ("--nanny", "--preload", "cluster_kill_once")) as two:
        ok(run_disentangle(tmp_path, *args, "--cluster", two.file))
    assert Counter(path.name.split()[0] for path in killed.iterdir()) == steps
    mine, whole = files_of_stages(tmp_path / "model"), files_of_stages(alone)
    assert mine == {name: whole[name] for name in mine}


def few(n_instances: int) -> dict[str, sp.csr_matrix]:
    """So many instances of a label each, of three."""
    rows = np.arange(n_instances)
    Y = sp.csr_matrix((np.ones(n_instances, np.float32), (rows, rows % 3)), shape=(n_instances, 3))
    return {"X_trn": Y + Y, "Y_trn": Y, "X_tst": Y[:1], "Y_tst": Y[:1]}


def uneven() -> dict[str, sp.csr_matrix]:
    """One label that all instances have, one instance that has all labels, and else one of each."""
    Y = sp.identity(200, np.float32, "lil")
    Y[:, 0] = Y[0] = 1
    X = sp.csr_matrix(Y, dtype=np.float32)
    return {"X_trn": X, "Y_trn": X, "X_tst": X[:3], "Y_tst": X[:3]}


@pytest.mark.parametrize(
    ("parts", "leaf_size"), [(few(3), "2"), (few(4), "2"), (uneven(), "10")], ids=["three", "four", "uneven"]
)
def test_tiny_and_uneven_inputs_are_those_of_one_process(
    two: Cluster, parts: dict[str, Any], leaf_size: str, tmp_path: Path
):
    save_dataset(tmp_path / "data" / "own", **parts)
    for name, more in (("one", ()), ("two", ("--cluster", two.file))):
        args = (
            "base",
            "own",
            "--data-dir",
            tmp_path / "data",
            "--preset",
            "paper,lean",
            "--model-dir",
            tmp_path / name,
        )
        ok(run_disentangle(tmp_path, *args, "--max-leaf-size", leaf_size, *more))
    assert files_of_stages(tmp_path / "one") == files_of_stages(tmp_path / "two") != {}


@pytest.mark.parametrize("is_seen", [True, False])
def test_data_that_all_workers_have_lost_are_there_again(
    shared: dict[str, Any], tmp_path: Path, is_seen: bool
):
    with running(tmp_path / "cluster", 1) as one, cluster.opened(str(one.file), 1) as workers:
        if not is_seen:
            workers._folder = None
        for _ in range(2):
            assert list(workers.in_turn(add, shared, range(3))) == [(1.0, 1), (2.0, 1), (3.0, 1)]
            one.workers[-1].kill()
            one.add()


def test_what_ends_every_worker_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "1")
    with running(tmp_path / "cluster", 3) as many, cluster.opened(str(many.file), 1) as workers:
        with pytest.raises(DisentangleError, match="workers ended again and again in the same part"):
            list(workers.in_turn(die, tmp_path / "always", [1, 3]))
        assert list(workers.in_turn(die, tmp_path / "always", [1, 2])) == [1, 2]


def test_without_workers_it_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cluster, "_LOOK", 0.2)
    with running(tmp_path / "cluster", 1) as one, cluster.opened(str(one.file), 1) as workers:
        monkeypatch.setattr(cluster, "_PATIENCE", 1.0)
        one.workers[0].kill()
        with pytest.raises(DisentangleError, match="the cluster has no workers for 1 seconds"):
            list(workers.in_turn(die, tmp_path / "always", [1, 2]))


class Client:
    """One whose calls fail, as told, until it has been looked at so often; each look finds these workers."""

    status = "running"

    def __init__(self, error: BaseException, *looks: dict[str, Any]) -> None:
        self.error, self.looks = error, list(looks)

    def submit(self, *_: Any, **__: Any) -> Client:
        return self

    def result(self, timeout: float) -> list[str]:
        if not self.looks:
            return ["done"]
        raise self.error

    def scatter(self, *_: Any, **__: Any) -> None:
        raise self.error

    def scheduler_info(self, n_workers: int) -> dict[str, Any]:
        return {"workers": self.looks.pop(0)}


BUSY, PAUSED = ({"tcp://a": {"status": status}} for status in ("running", "paused"))


@pytest.fixture
def slow_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """200 seconds go by from look to look."""
    monkeypatch.setattr(cluster, "time", SimpleNamespace(monotonic=itertools.count(1, 200).__next__))


def asked(client: Client) -> list[Any]:
    return list(cluster.Cluster(client, 1, 1, None).in_turn(add, "x", [0]))


@pytest.mark.usefixtures("slow_clock")
@pytest.mark.parametrize(
    ("workers", "why"),
    [({}, "the cluster has no workers"), (PAUSED, "all workers are at their memory limits")],
)
def test_a_call_that_no_worker_can_do_is_given_up(workers: dict[str, Any], why: str):
    with pytest.raises(DisentangleError, match=f"{why} for 300 seconds: run the same command again"):
        asked(Client(TimeoutError(), *[workers] * 9))


@pytest.mark.usefixtures("slow_clock")
def test_patience_begins_anew_once_a_worker_is_there():
    assert asked(Client(TimeoutError(), *[{}, BUSY] * 4)) == ["done"]


def test_workers_that_are_lost_again_and_again_are_a_sentence():
    with pytest.raises(DisentangleError, match="lost all its workers 5 times"):
        asked(Client(distributed.CancelledError("lost"), BUSY))


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (TimeoutError(), "no worker has come in 300 seconds"),
        (OSError("gone"), "the cluster's scheduler is lost"),
    ],
)
def test_data_that_no_worker_takes_are_given_up(error: OSError, message: str):
    client = Client(error)
    client.status = "closed"
    with pytest.raises(DisentangleError, match=message):
        cluster.Cluster(client, 1, 1, None).packed(np.zeros(5000))


@pytest.mark.usefixtures("slow_clock")
def test_workers_that_never_answer_are_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    client = Client(OSError())
    client.wait_for_workers = lambda n, timeout: None
    client.run = lambda *_, **__: {"tcp://a": OSError("no route to host")}
    monkeypatch.setattr(cluster, "_AGAIN_AFTER", 0)
    cluster.time.sleep = lambda seconds: None
    message = "--cluster: tcp://a has not answered in 300 seconds: OSError: no route to host"
    with pytest.raises(DisentangleError, match=message):
        cluster._checked(client, 1, tmp_path)


def test_a_lost_scheduler_is_a_sentence_and_costs_no_finished_stage(verbs: Path, alone: Path, tmp_path: Path):
    args = ("base", "verbs", "--data-dir", verbs, "--preset", "paper", *TREE)
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    with running(tmp_path / "cluster") as lost:
        command = [sys.executable, "-m", "disentangle", *map(str, args), "--cluster", str(lost.file)]
        process = subprocess.Popen(command, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True)
        said = ""
        while "matcher: done" not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        lost.scheduler.kill()
        said += process.communicate()[1]
    assert process.returncode == 2, said
    assert "error: the cluster's scheduler is lost" in said.splitlines()[-1]
    assert "Traceback" not in said
    again = run_disentangle(tmp_path, *args)
    assert (again.returncode, " matcher: done" in again.stderr) == (0, False), again.stderr
    mine, whole = files_of_stages(tmp_path / "model"), files_of_stages(alone)
    assert mine != {}
    assert mine == {name: whole[name] for name in mine}


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.mark.parametrize(("bundle", "place"), [(None, Path("results")), (Path("bundle"), None)])
def test_data_of_a_bundle_lie_in_no_results_folder(
    bundle: Path | None, place: Path | None, monkeypatch: pytest.MonkeyPatch
):
    asked = []

    @contextmanager
    def opened(*args: Any) -> Iterator[None]:
        asked.append(args)
        yield

    monkeypatch.setattr(cluster, "opened", opened)
    with ExitStack() as stack:
        given = {"cluster": "one.json", "threads": 2, "model_dir": Path("results"), "opened": stack}
        arguments.workers_of(argparse.Namespace(**given, bundle=bundle))
    assert asked == [("one.json", 2, place)]


@pytest.mark.parametrize(
    ("where", "content", "expected"),
    [
        (
            "nowhere",
            None,
            "must be a scheduler's address, such as tcp://host:8786, or its file, got 'nowhere'",
        ),
        ("file.json", "{", "file.json: expected a scheduler's file, which has its address"),
        ("file.json", '{"address": "x y"}', "file.json: expected a scheduler's address, found x y"),
        ("file.json", '{"address": "tcp://127.0.0.1:PORT"}', "no scheduler answers at tcp://127.0.0.1:"),
        ("tcp://127.0.0.1:PORT", None, "no scheduler answers at tcp://127.0.0.1:"),
    ],
)
def test_no_cluster_is_a_sentence(
    where: str, content: str | None, expected: str, verbs: Path, tmp_path: Path
):
    port = str(free_port())
    if content is not None:
        (tmp_path / where).write_text(content.replace("PORT", port))
    os.environ["DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT"] = "1s"
    try:
        place = ("--data-dir", verbs, "--cluster", where.replace("PORT", port))
        result = run_disentangle(tmp_path, "base", "verbs", *place)
    finally:
        del os.environ["DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT"]
    refused(result, re.escape(expected))
    assert not (tmp_path / "model").exists()


def test_it_is_known_which_workers_can_be_reached():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        assert cluster._is_reachable(address)
    assert not cluster._is_reachable(address)
    assert not cluster._is_reachable("inproc://here/1")


def test_other_versions_are_a_sentence(two: Cluster, monkeypatch: pytest.MonkeyPatch):
    other = worker.made_by() | {"numpy": "0.1"}
    monkeypatch.setattr(worker, "made_by", lambda: other)
    with (
        pytest.raises(DisentangleError, match=r"tcp://.* must have numpy 0\.1, as is here, found"),
        cluster.opened(str(two.file), 1),
    ):
        pass


def test_a_worker_that_comes_late_is_checked_too():
    other = worker.made_by() | {"scipy": "0.1"}
    with pytest.raises(DisentangleError, match=r"a worker that came last must have scipy 0\.1"):
        worker.run(other, b"", [], [], add, [])


def test_nothing_is_read_from_a_file_but_arrays(tmp_path: Path, shared: dict[str, Any]):
    head, buffers = worker.packed(shared)
    assert sum(buffer.nbytes for buffer in buffers) > 8 * len(head)
    names = [f"{i}" for i in range(len(buffers))]
    for name, buffer in zip(names, buffers, strict=True):
        (tmp_path / name).write_bytes(buffer)
    found = pickle.loads(head, buffers=[worker._mapped(str(tmp_path / name)) for name in names])
    assert np.array_equal(found["values"], shared["values"])
    assert (found["M"] != shared["M"]).nnz == 0
    found["values"][0] = 7  # kernels take what can be written to; the file stays as it is
    assert (tmp_path / names[0]).read_bytes() == bytes(buffers[0])


@pytest.mark.parametrize("n_items", [0, 1, 2, 3, 63, 64, 65, 10_000])
def test_chunks_have_all_items_in_order(n_items: int):
    found = cluster.chunks(list(range(n_items)), 64)
    assert [item for chunk in found for item in chunk] == list(range(n_items))
    assert len(found) <= 64
    assert all(len(chunk) for chunk in found)
    assert n_items < 2 or len(found[0]) == 1 or n_items > 64**2


def test_parts_are_those_of_the_whole():
    rng = np.random.default_rng(0)
    Y = sp.random(300, 90, 0.1, "csc", np.float32, random_state=rng)
    M = sp.random(300, 8, 0.3, "csr", np.float32, random_state=rng)
    given = (Y.indptr.astype(np.int64), Y.indices, M.indptr.astype(np.int64), M.indices, M.data, 8, 3, 1)
    whole = best_clusters.best_clusters(*given)
    parts = [best_clusters.best_clusters(*given, first, first + 30) for first in (0, 30, 60)]
    assert np.array_equal(np.vstack(parts), whole)


def test_few_ids_make_few_parts():
    workers = Threads(3)
    workers.parts = 8
    assert [part.tolist() for part in split(np.arange(3), workers)] == [[0], [1], [2]]
    assert split(np.arange(0), workers) == []
    assert [most_rows(n, 100, workers) for n in (0, 1, 80, 81, 10_000)] == [1, 1, 10, 11, 100]
