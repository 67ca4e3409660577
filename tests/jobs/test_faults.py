"""Damage by the hundred: tampered results, kills, fuzzed inputs, extreme arguments, all counted.

A case ends well in one of three ways: the answer of untouched results, one sentence with exit status 2, or,
for a signal, the status that tells it. Each command runs in a fork of this process, which has imported
everything and started no thread of OpenMP's; whatever takes a minute of the processor counts as a hang.
"""

from __future__ import annotations

import io
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy.sparse as sp
from conftest import ROOT, digests, reseal
from hypothesis import given, settings
from hypothesis import strategies as st

from disentangle.cli import main
from disentangle.data import formats
from disentangle.errors import DisentangleError
from disentangle.jobs import predict
from disentangle.storage import matrices
from disentangle.storage.saved import RECORD

pytestmark = pytest.mark.slow

N_TAMPERED, N_KILLS, N_FUZZED = 480, 96, 5000
HANG_SECONDS = 60  # of the processor, not of the clock
COMPARED = (".npz", ".csv", ".tsv")  # everything that is trained or computed, and the figures
TREE = ("--nr-splits", "4", "--max-leaf-size", "5", "--threads", "1")
JOBS: dict[str, tuple[str, ...]] = {
    "base": ("base", "shop", *TREE, "--preset", "paper,lean"),
    "binned": ("binned", "shop", *TREE),
    "metric": ("metric", "shop", *TREE, "--preset", "tuned", "--components", "binned"),
    "sweep": ("sweep", "shop", *TREE, "--grid", "merge=mean,noisy-or"),
    "meanings": ("meanings", "shop", *TREE, "--preset", "tuned"),
    "bundle": ("bundle", "shop", "--variant", "lean", "--out", "made", "--force"),
    "predict": ("predict", "shop", "--variant", "lean", "--input", "tst.txt", "--out", "labels.tsv"),
    "import": (
        *("data", "import", "again", "--format", "jsonl", "--trn", "trn.jsonl", "--tst", "tst.jsonl"),
        "--replace",
    ),
}


class Outcome(NamedTuple):
    status: int  # negative: the signal that ended it
    stdout: bytes
    stderr: str


@pytest.fixture(scope="module")
def counts() -> Iterator[Counter[str]]:
    counted: Counter[str] = Counter()
    yield counted
    report = json.dumps(dict(sorted(counted.items())), indent=1)
    (ROOT / "build").mkdir(exist_ok=True)
    (ROOT / "build" / "faults.json").write_text(f"{report}\n")
    print(f"\nfaults tried, and how they ended (build/faults.json): {report}", file=sys.__stderr__)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set of texts, imported, and the results of all jobs on it."""
    folder = tmp_path_factory.mktemp("shop")
    rng = np.random.default_rng(0)
    for part, n in (("trn", 400), ("tst", 60)):
        rows = []
        for _ in range(n):
            labels = rng.choice(40, size=int(rng.integers(1, 4)), replace=False).tolist()
            words = [f"w{label}x{rng.integers(3)}" for label in labels for _ in range(4)]
            rows.append({"text": " ".join([*words, "the", "of"]), "labels": [f"item {i}" for i in labels]})
        (folder / f"{part}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        (folder / f"{part}.txt").write_text("".join(f"{row['text']}\n" for row in rows))
    named = [*JOBS["import"], "--min-df", "1"]
    named[2] = "shop"
    for command in (tuple(named), *(JOBS[name] for name in JOBS if name not in ("import", "predict"))):
        ended = in_fork(folder, command)
        assert ended.status == 0, ended.stderr
    return folder


def in_fork(folder: Path, args: tuple[str, ...], prepare: Callable[[], object] = lambda: None) -> Outcome:
    """Run the command line in a folder."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        sys.stdout.flush()
        if (child := os.fork()) == 0:
            try:
                os.chdir(folder)
                os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
                os.dup2(out.fileno(), 1)
                os.dup2(err.fileno(), 2)
                sys.stdout, sys.stderr = (os.fdopen(os.dup(n), "w") for n in (1, 2))
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                    signal.signal(number, signal.SIG_DFL)
                resource.setrlimit(resource.RLIMIT_CPU, (HANG_SECONDS, HANG_SECONDS))
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
                sys.argv = ["disentangle", *args]
                prepare()
                main.main()
            except SystemExit as ended:
                sys.stdout.flush()
                os._exit(int(ended.code or 0))
            except BaseException:
                sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
                sys.stderr.flush()
            os._exit(1)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        out.seek(0)
        err.seek(0)
        return Outcome(status, out.read(), err.read().decode(errors="replace"))


def left_behind(folder: Path) -> list[Path]:
    return [*folder.rglob(".tmp-*"), *folder.glob("disentangle-*"), *folder.glob("pwned*")]


def ended_well(ended: Outcome, statuses: tuple[int, ...] = (0, 2)) -> None:
    assert ended.status in statuses, ended
    assert "Traceback" not in ended.stderr, ended.stderr
    if ended.status == 2:
        assert ended.stderr.splitlines()[-1].startswith("error: "), ended.stderr


# Damage to a file: takes it, all files, and a random generator; says whether its record vouches for it anew.
def flip(path: Path, others: list[Path], rng: np.random.Generator) -> bool:
    content = bytearray(path.read_bytes())
    content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
    path.write_bytes(content)
    return False


def cut(path: Path, others: list[Path], rng: np.random.Generator) -> bool:
    path.write_bytes(path.read_bytes()[: int(rng.integers(path.stat().st_size))])
    return False


def zero(path: Path, others: list[Path], rng: np.random.Generator) -> bool:
    content = bytearray(path.read_bytes())
    start = int(rng.integers(len(content)))
    content[start : start + 64] = bytes(len(content[start : start + 64]))
    path.write_bytes(content)
    return False


def lose(path: Path, others: list[Path], rng: np.random.Generator) -> bool:
    path.unlink()
    return False


def become(path: Path, others: list[Path], rng: np.random.Generator) -> bool:
    """Something that is no file, or has no end."""
    path.unlink()
    kinds: list[Callable[[], object]] = [
        path.mkdir,
        lambda: os.mkfifo(path),
        lambda: path.symlink_to("/dev/zero"),
        lambda: path.symlink_to("/dev/full"),
        lambda: path.symlink_to(path.name),
        lambda: path.symlink_to("nothing"),
    ]
    kinds[rng.integers(len(kinds))]()
    return False


def swap(path: Path, others: list[Path], rng: np.random.Generator) -> bool:
    """The same file of another stage, or any."""
    alike = [other for other in others if other.name == path.name and other != path] or others
    path.write_bytes(alike[rng.integers(len(alike))].read_bytes())
    return False


def link(path: Path, others: list[Path], rng: np.random.Generator) -> bool:
    other = others[rng.integers(len(others))]
    path.unlink()
    path.symlink_to(other.resolve())
    return False


VALUES: list[Any] = [
    None,
    -1,
    0,
    2**31,
    2**63,
    10**400,
    1e308,
    float("nan"),
    "x",
    "",
    [],
    {},
    [None],
    True,
    "../..",
    "\0",
]


def mistype(path: Path, others: list[Path], rng: np.random.Generator) -> bool:
    """A value of another type somewhere in a JSON file, vouched for anew; bits in any other."""
    if path.suffix != ".json":
        return flip(path, others, rng)
    content = json.loads(path.read_text())
    places = [(content, key) for key in content] if isinstance(content, dict) else []
    for value in list(content.values()) if isinstance(content, dict) else []:
        inner = value[0] if isinstance(value, list) and value else value
        places += [(inner, key) for key in inner] if isinstance(inner, dict) else []
    if not places:
        return lose(path, others, rng)
    place, key = places[rng.integers(len(places))]
    place[key] = VALUES[rng.integers(len(VALUES))]
    path.write_text(json.dumps(content))
    if path.name != RECORD and (path.parent / RECORD).exists():
        reseal(path.parent)
        return True
    return False


def forge(path: Path, others: list[Path], rng: np.random.Generator) -> bool:
    """Arrays that make no sense in an npz file, vouched for anew."""
    stage = next((parent for parent in path.parents if (parent / RECORD).exists()), None)
    if path.suffix != ".npz" or stage is None:
        return mistype(path, others, rng)
    with np.load(path) as read:
        arrays = {name: read[name] for name in read.files}
    name = [*arrays][rng.integers(len(arrays))]
    array = arrays[name]
    if array.dtype.kind in "iuf" and array.size:
        array = array.copy()
        worst = (
            [-1, -(2**30), 2**30, 2**31 - 1] if array.dtype.kind in "iu" else [np.nan, np.inf, -np.inf, 3e38]
        )
        changes: list[Callable[[], Any]] = [
            lambda: np.put(array, rng.integers(array.size), worst[rng.integers(len(worst))]),
            lambda: array.ravel()[:-1],
            lambda: np.concatenate([array.ravel(), array.ravel()]),
            lambda: array.astype("U4"),
            lambda: array.astype(np.int8 if array.dtype.kind == "f" else np.float64),
            lambda: array.ravel()[::-1].copy(),
            lambda: array.reshape(-1, 1, 1),
            lambda: np.zeros(0, array.dtype),
        ]
        changed = changes[rng.integers(len(changes))]()
        arrays[name] = array if changed is None else changed
    else:
        arrays[name] = np.array([b"coo", b"dia", b"csr", b"xyz"][rng.integers(4)])
    np.savez(path, **arrays)
    reseal(stage)
    return True


DAMAGES = (flip, flip, cut, zero, lose, become, swap, link, mistype, forge, forge, forge)


def test_tampered_results_give_the_same_answer_or_a_sentence(shop: Path, counts: Counter[str]):
    bench = shop / "bench"
    (bench / "dataset").mkdir(parents=True)
    shutil.copytree(shop / "dataset", bench / "dataset", dirs_exist_ok=True)
    expected = {}
    shutil.copytree(shop / "model", bench / "model")
    questions = {
        name: ("predict", "shop", "--variant", name, "--input", "../tst.txt", "--k", "3")
        for name in ("paper", "lean")
    }
    for name, question in questions.items():
        expected[name] = in_fork(bench, question).stdout
        assert expected[name].count(b"\n") > 60
    rng = np.random.default_rng(1)
    for i in range(N_TAMPERED):
        shutil.rmtree(bench / "model")
        shutil.copytree(shop / "model", bench / "model")
        files = [
            path
            for path in sorted((bench / "model" / "shop" / "base").rglob("*"))
            if path.is_file() and path.stat().st_size
        ]
        name = ("paper", "lean")[i % 2]
        # Half of them where the answer comes from.
        near = [path for path in files if f"/{name}/" in str(path)]
        choice = near if rng.random() < 0.7 else files
        victim = choice[rng.integers(len(choice))]
        damage = DAMAGES[rng.integers(len(DAMAGES))]
        is_forged = damage(victim, files, rng)
        ended = in_fork(bench, questions[name])
        where = f"{damage.__name__} of {victim.relative_to(bench)}: {ended}"
        ended_well(ended)
        assert ended.status == 2 or is_forged or ended.stdout == expected[name], where
        counts["tampered results"] += 1
        how = "refused" if ended.status else "forged answer" if is_forged else "same answer"
        counts[f"tampered results: {how}"] += 1
        assert not left_behind(bench), where
        if i % 6 == 0 and not is_forged:
            # The job makes anew what is damaged, and nothing else is lost.
            ended = in_fork(bench, JOBS["base"])
            ended_well(ended, (0,))
            again = in_fork(bench, questions[name])
            assert (again.status, again.stdout) == (0, expected[name]), where
            counts["tampered results: mended by the job"] += 1


FILE_EVENTS = (
    "open",
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.symlink",
    "os.truncate",
    "shutil.rmtree",
)


def at_event(n: int, number: int) -> Callable[[], None]:
    """Have the process send itself a signal at the nth thing that it does to the file system; 0 for never."""

    def prepare() -> None:
        seen = 0

        def hook(event: str, args: tuple[Any, ...]) -> None:
            nonlocal seen
            if event not in FILE_EVENTS or (event == "open" and not writes(args)):
                return
            seen += 1
            if n == 0:
                os.pwrite(COUNT, seen.to_bytes(8, "little"), 0)
            elif seen == n:
                os.kill(os.getpid(), number)

        sys.addaudithook(hook)

    return prepare


def writes(args: tuple[Any, ...]) -> bool:
    path, _, flags = args
    return bool(flags and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)) and not str(path).startswith("/dev")


COUNT = os.memfd_create("count")


def test_kills_lose_nothing_and_leave_nothing(shop: Path, counts: Counter[str]):
    rng = np.random.default_rng(2)
    bench, undisturbed = shop / "killed", shop / "undisturbed"
    for name, job in JOBS.items():

        def begin(place: Path, name: str = name) -> None:
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            for file in ("trn.jsonl", "tst.jsonl", "tst.txt"):
                shutil.copy(shop / file, place)
            shutil.copytree(shop / "dataset", place / "dataset")
            if name in ("predict", "bundle"):
                shutil.copytree(shop / "model", place / "model")
            # What these replace.
            if name == "bundle":
                shutil.copytree(shop / "made", place / "made")
            if name == "import":
                data = place / "dataset" / "xmc-base"
                shutil.copytree(data / "shop", data / "again")

        begin(undisturbed)
        ended_well(in_fork(undisturbed, job, at_event(0, 0)), (0,))
        n_events = int.from_bytes(os.pread(COUNT, 8, 0), "little")
        assert n_events > 3, name
        expected = digests(undisturbed, *COMPARED)
        for k in range(N_KILLS // len(JOBS)):
            number = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)[k % 4]
            n = int(rng.integers(1, n_events + 1))
            begin(bench)
            ended = in_fork(bench, job, at_event(n, number))
            where = f"{name}, {number.name} at event {n} of {n_events}: {ended}"
            # Before a command begins, and after it has ended, a signal does what it does to every process.
            allowed = (-number,) if number == signal.SIGKILL else (128 + number, -number)
            assert ended.status in allowed, where
            assert "Traceback" not in ended.stderr, where
            if ended.status == 128 + number:
                assert ended.stderr.splitlines()[-1].startswith("stopped; what is finished is kept"), where
                assert not left_behind(bench), (where, left_behind(bench))
            counts[f"kills: {name}"] += 1
            ended = in_fork(bench, job)
            assert ended.status == 0, (where, ended)
            assert digests(bench, *COMPARED) == expected, where
            assert not left_behind(bench), (where, left_behind(bench))


STREAMS = st.one_of(
    st.binary(max_size=80),
    st.lists(
        st.sampled_from(
            [
                b"0",
                b"1",
                b",",
                b":",
                b" ",
                b"\t",
                b"\n",
                b"\r\n",
                b"2 3 4\n",
                b"1,2 0:1 1:2.5\n",
                b"nan",
                b"1e999",
                b"-1",
                b"2147483647",
                b'{"text": "a b", "labels": ["x"]}\n',
                b'{"text": 1}',
                b"\xff\xfe",
                b"\xef\xbb\xbf",
                b"\x00",
                b"words",
            ]
        ),
        max_size=14,
    ).map(b"".join),
)


def read_or_refuse(read: Callable[[], object], counts: Counter[str], what: str) -> None:
    """Read something fuzzed: with success, or with a sentence of one line."""
    try:
        read()
        counts[f"fuzzed {what}: read"] += 1
    except DisentangleError as error:
        counts[f"fuzzed {what}: refused"] += 1
        is_one_line = "\n" not in str(error)
        assert is_one_line


@pytest.mark.parametrize("name", [*formats.FORMATS])
def test_fuzzed_files_are_read_or_refused(tmp_path: Path, name: str, counts: Counter[str]):
    form = formats.FORMATS[name]
    paths = [tmp_path / f"file-{i}" for i in range(len(form.files))]
    more = {"n_labels": 3} if form.needs_names else {}

    @settings(max_examples=N_FUZZED)
    @given(st.lists(STREAMS, min_size=2, max_size=2))
    def fuzz(streams: list[bytes]) -> None:
        for path, content in zip(paths, streams, strict=False):
            path.write_bytes(content)
        read_or_refuse(lambda: list(form.read(*paths, **more)), counts, name)

    fuzz()
    assert counts[f"fuzzed {name}: refused"]


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "bsr", "dia"])
def test_fuzzed_matrices_are_read_or_refused(tmp_path: Path, form: str, counts: Counter[str]):
    path, whole = tmp_path / "X.npz", io.BytesIO()
    matrix = sp.random(12, 8, 0.3, random_state=0, dtype=np.float32)
    sp.save_npz(whole, matrix.asformat(form), compressed=False)
    content = whole.getvalue()

    def read() -> None:
        found = matrices.load_sparse(path)
        assert found.has_canonical_format
        assert np.isfinite(found.data).all()

    @settings(max_examples=N_FUZZED)
    @given(
        st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=4),
        st.integers(0, 60),
    )
    def fuzz(changes: list[tuple[int, int]], end: int) -> None:
        damaged = bytearray(content)
        for place, value in changes:
            damaged[place] = value
        path.write_bytes(damaged[: len(damaged) - end] if end > 50 else damaged)
        read_or_refuse(read, counts, f"npz, {form}")

    fuzz()
    assert counts[f"fuzzed npz, {form}: refused"]


NUMBERS = [
    "-1",
    "0",
    "1",
    "2147483647",
    "2147483648",
    "99999999999999999999",
    "1e308",
    "1e-308",
    "nan",
    "inf",
    "-inf",
    "",
    "x",
]
OPTIONS = [
    "--threads",
    "--seed",
    "--beam-size",
    "--top-k",
    "--nr-splits",
    "--max-leaf-size",
    "--n-trees",
    "--max-memory",
]
OPTIONS += [
    "--propensity-a",
    "--propensity-b",
    "--n-copies",
    "--eps",
    "--threshold",
    "--leaf-size",
    "--cost",
    "--negatives",
]
NAMES = [
    "",
    ".",
    "..",
    "a/b",
    "a\nb",
    "x" * 300,
    "\udcff",
    "a$(touch pwned)b",
    "-",
    "--",
    "\x1b[31m",
    "~",
    "shop/../shop",
]


def test_extreme_arguments_end_in_success_or_a_sentence(shop: Path, counts: Counter[str]):
    commands = [("base", "shop", *TREE, option, value) for option in OPTIONS for value in NUMBERS]
    commands += [
        ("predict", "shop", "--text", "w1x1", option, value)
        for option in ("--k", "--threads")
        for value in NUMBERS
    ]
    commands += [(command, name) for command in ("base", "binned") for name in NAMES]
    commands += [("predict", name, "--text", "a") for name in NAMES]
    commands += [("data", "import", name, *JOBS["import"][3:]) for name in NAMES]
    bench = shop / "extreme"
    bench.mkdir()
    for file in ("trn.jsonl", "tst.jsonl", "dataset", "model"):
        (bench / file).symlink_to(shop / file)
    for command in commands:
        ended = in_fork(bench, command)
        assert ended.status in (0, 2), (command, ended)
        assert "Traceback" not in ended.stderr, (command, ended)
        assert not left_behind(bench), command
        counts["extreme arguments"] += 1
        counts[f"extreme arguments: {'refused' if ended.status else 'done'}"] += 1
    assert predict.variants(shop / "model" / "shop" / "base")
