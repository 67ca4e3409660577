"""Setting up the Python environment, with stand-ins for Python, pip and platform: nothing is downloaded."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).resolve().parents[2]
LOCKS = [PROJECT / f"requirements{name}.txt" for name in ("", "-pecos", "-dev")]
# All that the scripts may use besides bash's own commands; PATH holds nothing else, no real Python above all.
TOOLS = ["bash", "cat", "chmod", "cp", "flock", "grep", "mkdir", "mv", "readlink", "rm", "sha256sum"]
# What a set-up asks for without a uv: pip brings one, and it installs the rest.
SIZE = "# size: 7 MB on disk, 2 MB to download\n"
INSTALLED = ["pip requirements-uv.txt", "uv requirements.txt", "uv requirements-pecos.txt as 3.11"]

# Answers the calls that environment.sh and the drivers make. A venv that it makes holds a copy of itself.
FAKE_INSTALL = r"""
install_file() {
    local tool=$1 file="" version=""
    while (($#)); do
        case $1 in -r) file=${2##*/} ;; --python-version) version=" as $2" ;; esac
        shift
    done
    echo "$tool $file$version" >>"$CALLS"
    eval "${DURING_PIP:-}"
}
"""
FAKE_UV = (
    FAKE_INSTALL
    + r"""
case "$1" in
    pip) install_file uv "$@" ;;
    venv)
        echo "uv venv $6" >>"$CALLS"
        [[ ! ${NO_PYTHON:-} ]] || exit 1
        mkdir -p "$7/bin" "$7/site"
        cp "$UV_PYTHON" "$7/bin/python" ;;
esac
"""
)
FAKE_PYTHON = (
    FAKE_INSTALL
    + r"""
case "$*" in
    "-E -S -c "*) echo "@VERSION@"; exit @UNSUITABLE@ ;;
    "-I -c import ensurepip, venv") exit @WITHOUT_VENV@ ;;
    "-I -m venv "*)
        echo "venv of ${0##*/}" >>"$CALLS"
        mkdir -p "$4/bin" "$4/site"
        cp "$0" "$4/bin/python" ;;
    "-I -m pip --version" | "-I -m ensurepip") ;;
    "-I -m pip config list") printf '%s\n' "${PIP_CONFIG:-}" ;;
    *"print(sysconfig"*) echo "${0%/bin/python}/site" ;;
    *"print(\"3.%d\""*) echo "@PECOS@" ;;
    "-I -m pip install "*requirements-uv.txt)
        [[ ! ${NO_UV:-} ]] || exit 1
        echo "pip requirements-uv.txt" >>"$CALLS"
        printf '%s\n' "#!$BASH" "${UV_SCRIPT:?}" >"${0%/*}/uv"
        chmod +x "${0%/*}/uv" ;;
    "-I -m pip install "*) install_file pip "$@" ;;
    *check_lock.py*) exit "${LOCK_STATUS:-1}" ;;
    *"/src/run.py "*) printf '%s\n' "${@:2}" "$PWD" "$PYTHONPATH" "$XMC_DATA" "$XMC_MODEL" "$XMC_BINNED" ;;
    *) echo "unexpected: $*" >&2; exit 1 ;;
esac
"""
)


class Sandbox:
    """A copy of the scripts in a folder with a space in its name, and a PATH of stand-ins."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "my project"
        self.bin = folder / "bin"
        self.calls_file = folder / "calls"
        self.venv = self.root / ".venv"
        self.bin.mkdir()
        (self.root / "src").mkdir(parents=True)
        for name in ("run_base.sh", "requirements-uv.txt", "src/environment.sh", "src/check_lock.py"):
            shutil.copy(PROJECT / name, self.root / name)
        self.write_requirements("requirements.txt", f"package==1\n{SIZE}")
        self.write_requirements("requirements-pecos.txt", f"pecos==1\n{SIZE}")
        self.write_requirements("requirements-dev.txt", "tool==1\n")
        for tool in TOOLS:
            if found := shutil.which(tool):
                (self.bin / tool).symlink_to(found)
        self.fake("uname", 'case "$1" in -s) echo Linux ;; *) echo x86_64 ;; esac')
        self.fake("getconf", "echo glibc 2.36")
        self.fake_python("python3")

    def write_requirements(self, name: str, text: str) -> None:
        (self.root / name).write_text(text)

    def fake(self, name: str, script: str) -> Path:
        path = self.bin / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!{shutil.which('bash')}\n{script}\n")
        path.chmod(0o755)
        return path

    def fake_python(self, name: str, version: str = "3.11.7", suits: bool = True, venv: bool = True) -> Path:
        script = FAKE_PYTHON.replace("@VERSION@", version)
        script = script.replace("@UNSUITABLE@", "0" if suits else "1")
        script = script.replace("@PECOS@", "3.12" if version > "3.12" else version.rpartition(".")[0])
        return self.fake(name, script.replace("@WITHOUT_VENV@", "0" if venv else "1"))

    def start(self, *command: str, **variables: str) -> subprocess.Popen[str]:
        variables = {"PATH": str(self.bin), "CALLS": str(self.calls_file), "UV_SCRIPT": FAKE_UV, **variables}
        return subprocess.Popen(
            [self.bin / "bash", *command],
            env=variables,
            cwd=self.root.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *command: str, **variables: str) -> tuple[int, list[str], str]:
        """Status, lines of stdout, stderr."""
        process = self.start(*command, **variables)
        output, errors = process.communicate()
        return process.returncode, output.splitlines(), errors

    def run_base(self, *arguments: str, **variables: str) -> tuple[int, list[str], str]:
        return self.run(str(self.root / "run_base.sh"), *arguments, **variables)

    def prepare(self, **variables: str) -> tuple[int, list[str], str]:
        """Prepare all requirements files as run_tests.sh does, print PYTHON."""
        script = """set -euo pipefail
        source "$root/src/environment.sh"
        prepare_environment "$root"/requirements{,-pecos,-dev}.txt
        echo "$PYTHON" """
        return self.run("-c", script, root=str(self.root), **variables)

    def calls(self) -> list[str]:
        """What was asked of venv and pip since the last look."""
        lines = self.calls_file.read_text().splitlines() if self.calls_file.exists() else []
        self.calls_file.unlink(missing_ok=True)
        return lines


@pytest.fixture
def sandbox(tmp_path):
    return Sandbox(tmp_path)


def test_first_run_sets_up_in_one_line_and_the_second_is_silent(sandbox):
    status, _, errors = sandbox.run_base()
    assert status == 0
    size = "about 14 MB on disk, 4 MB to download"
    assert errors == f"Setting up {sandbox.venv} once ({size}) ...\n"
    assert sandbox.calls() == ["venv of python3", *INSTALLED]
    status, _, errors = sandbox.run_base()
    assert (status, errors, sandbox.calls()) == (0, "", [])


def test_driver_passes_arguments_and_stays_in_the_callers_folder(sandbox):
    status, output, _ = sandbox.run_base("my data", "--seed", "1")
    root = sandbox.root
    folders = [root / "src", root / "dataset/xmc-base", root / "model", root / "dataset-binned"]
    assert (status, output[:4]) == (0, ["base", "my data", "--seed", "1"])
    assert output[4:] == [str(path) for path in [root.parent, *folders]]


def test_driver_finds_its_project_through_a_link(sandbox, tmp_path):
    link = tmp_path / "link.sh"
    link.symlink_to(sandbox.root / "run_base.sh")
    assert sandbox.run(str(link))[0] == 0
    assert sandbox.venv.is_dir()


def test_folders_that_the_user_set_are_kept(sandbox):
    _, output, _ = sandbox.run_base(XMC_DATA="data", XMC_MODEL="/results", XMC_BINNED="b")
    assert output[-3:] == ["data", "/results", "b"]


def test_a_changed_file_is_installed_into_what_is_there(sandbox):
    status, output, _ = sandbox.prepare()
    assert (status, output) == (0, [f"{sandbox.venv}/bin/python"])
    assert sandbox.calls() == ["venv of python3", *INSTALLED, "uv requirements-dev.txt"]
    before = (sandbox.root / "requirements.txt").read_text()
    for name, text, installed in (
        ("requirements-dev.txt", "tool==2\n", "uv requirements-dev.txt"),
        ("requirements.txt", "package==2\n", "uv requirements.txt"),
        ("requirements.txt", before, "uv requirements.txt"),
    ):
        sandbox.write_requirements(name, text)
        assert sandbox.prepare()[0] == 0
        assert sandbox.calls() == [INSTALLED[0], installed]
    # What another driver has installed is there for this one, too.
    assert sandbox.run_base()[0] == 0
    assert sandbox.calls() == []


def test_another_release_of_the_same_python_is_the_same(sandbox):
    sandbox.run_base()
    sandbox.calls()
    other = sandbox.fake_python("other", "3.11.9")
    shutil.copy(other, sandbox.venv / "bin/python")
    assert (sandbox.run_base()[0], sandbox.calls()) == (0, [])
    shutil.copy(sandbox.fake_python("other", "3.12.1"), sandbox.venv / "bin/python")
    assert sandbox.run_base()[0] == 0
    assert sandbox.calls() == [*INSTALLED[:2], "uv requirements-pecos.txt as 3.12"]


def test_the_environment_may_be_elsewhere(sandbox, tmp_path):
    assert sandbox.run_base(DISENTANGLE_VENV="else where")[0] == 0
    assert (tmp_path / "else where" / "bin" / "python").exists()
    assert not sandbox.venv.exists()
    (tmp_path / "file").touch()
    status, _, errors = sandbox.run_base(DISENTANGLE_VENV="file/.venv")
    expected = f"Cannot write to {tmp_path}/file/.venv: DISENTANGLE_VENV may name another folder.\n"
    assert (status, errors) == (2, expected)


def test_a_disk_without_locks_is_named(sandbox):
    (sandbox.bin / "flock").unlink(missing_ok=True)
    sandbox.fake("flock", "echo 'flock: 9: No locks available' >&2; exit 71")
    status, _, errors = sandbox.run_base()
    assert (status, errors.splitlines()[-1].startswith(f"Cannot lock {sandbox.venv}")) == (2, True)


def test_stand_in_that_does_not_run_is_passed_over(sandbox):
    # pyenv puts such scripts in PATH for versions that are not switched on.
    sandbox.fake("python3", "echo 'pyenv: python3: command not found' >&2; exit 127")
    sandbox.fake_python("python3.12", "3.12.1")
    assert sandbox.run_base()[0] == 0
    assert sandbox.calls()[0] == "venv of python3.12"


def test_no_usable_python_lists_what_was_found(sandbox):
    sandbox.fake_python("python3", "3.15.0", suits=False)
    sandbox.fake("python", "exit 127")
    status, _, errors = sandbox.run_base()
    assert status == 2
    assert errors == (
        "No usable Python: needs 64-bit CPython 3.10 to 3.14, or uv, which brings one; "
        f"found 3.15.0 ({sandbox.bin}/python3), nothing that runs ({sandbox.bin}/python).\n"
    )


def test_no_python_at_all(sandbox):
    (sandbox.bin / "python3").unlink()
    status, _, errors = sandbox.run_base()
    assert (status, errors.endswith("; found none.\n")) == (2, True)


def test_disentangle_python_overrides_the_search(sandbox):
    other = sandbox.fake_python("elsewhere/my-python", "3.10.2")
    assert sandbox.run_base(DISENTANGLE_PYTHON=str(other))[0] == 0
    assert sandbox.calls()[0] == "venv of my-python"


def test_python_without_venv_gives_way_to_the_next(sandbox):
    # Debian's python3 without python3-venv.
    sandbox.fake_python("python3", venv=False)
    sandbox.fake_python("python3.10", "3.10.2")
    assert sandbox.run_base()[0] == 0
    assert sandbox.calls()[0] == "venv of python3.10"


def test_python_without_venv_names_the_fix(sandbox):
    sandbox.fake_python("python3", venv=False)
    status, _, errors = sandbox.run_base()
    assert status == 2
    assert errors == (
        f"{sandbox.bin}/python3 has no venv module: install it "
        "(Debian, Ubuntu: apt-get install python3.11-venv) or uv, "
        "or name another Python in DISENTANGLE_PYTHON.\n"
    )


@pytest.mark.parametrize(
    ("system", "machine", "libc"),
    [
        ("Darwin", "arm64", "exit 1"),
        ("Linux", "armv7l", "echo glibc 2.36"),
        ("Linux", "x86_64", "echo glibc 2.17"),
        ("Linux", "x86_64", "exit 1"),  # musl: getconf does not know the name, ldd says whose it is
    ],
)
def test_unsupported_platform(sandbox, system, machine, libc):
    sandbox.fake("uname", f'case "$1" in -s) echo {system} ;; *) echo {machine} ;; esac')
    sandbox.fake("getconf", libc)
    sandbox.fake("ldd", "echo 'musl libc (x86_64)' >&2; echo 'Version 1.2.4' >&2; exit 1")
    status, _, errors = sandbox.run_base()
    assert (status, errors.count("\n"), sandbox.venv.exists()) == (2, 1, False)
    assert errors.startswith("Unsupported platform: needs Linux on x86_64 or aarch64 with glibc 2.28")
    assert f"{system}-{machine}" in errors


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("NewConnectionError: [Errno 111] Connection refused", "the package index cannot be reached"),
        ("Temporary failure in name resolution", "the package index cannot be reached"),
        ("ERROR: [Errno 28] No space left on device", "no space left on the disk"),
        ("ERROR: No matching distribution found for package==1", "the package index lacks one of the pinned"),
        ("ERROR: unheard of", "the cause is at the end of the log"),
    ],
)
def test_failing_pip_tells_cause_and_log_and_the_next_run_goes_on(sandbox, line, cause):
    status, _, errors = sandbox.run_base(DURING_PIP=f"echo '{line}'; exit 1")
    _, message = errors.splitlines()
    log = sandbox.venv / ".setup.log"
    assert status == 2
    assert message.startswith(f"Cannot install requirements.txt: {cause}")
    assert message.endswith(f"; log in {log}.")
    assert line in log.read_text()
    sandbox.calls()
    assert sandbox.run_base()[0] == 0
    # Nothing had touched the environment yet, so that it needs no rebuilding.
    assert sandbox.calls() == INSTALLED


@pytest.mark.parametrize(
    "accident",
    [
        "kill -9 $PPID; exit 1",
        ': >"${0%/bin/*}/site/package"; echo "No space left on device"; exit 1',
    ],
)
def test_half_made_environment_is_built_anew(sandbox, accident):
    assert sandbox.run_base(DURING_PIP=accident)[0] != 0
    (sandbox.venv / "leftover").touch()
    sandbox.calls()
    assert sandbox.run_base()[0] == 0
    assert sandbox.calls() == ["venv of python3", *INSTALLED]
    assert not (sandbox.venv / "leftover").exists()


def test_what_was_killed_passes_for_nothing_that_was_there_before(sandbox):
    sandbox.run_base()
    before = (sandbox.root / "requirements.txt").read_text()
    sandbox.write_requirements("requirements.txt", "package==2\n")
    assert sandbox.run_base(DURING_PIP="kill -9 $PPID; exit 1")[0] != 0
    sandbox.write_requirements("requirements.txt", before)
    sandbox.calls()
    assert sandbox.run_base()[0] == 0
    assert sandbox.calls() == ["venv of python3", *INSTALLED]


def test_half_made_environment_is_not_built_from_itself(sandbox):
    sandbox.run_base(DURING_PIP="kill -9 $PPID; exit 1")
    shutil.copy(sandbox.venv / "bin/python", sandbox.venv / "bin/python3")
    sandbox.calls()
    # An activated environment is first in PATH.
    path = f"{sandbox.venv}/bin:{sandbox.bin}"
    assert sandbox.run_base(PATH=path, VIRTUAL_ENV=str(sandbox.venv), LOCK_STATUS="0")[0] == 0
    assert sandbox.calls() == ["venv of python3", *INSTALLED]


def test_environment_whose_python_has_gone_is_built_anew(sandbox):
    sandbox.run_base()
    sandbox.calls()
    (sandbox.venv / "bin/python").unlink()
    (sandbox.venv / "bin/python").symlink_to("/no/such/python")
    assert sandbox.run_base()[0] == 0
    assert sandbox.calls() == ["venv of python3", *INSTALLED]


def test_environment_whose_python_does_not_run_here_stays(sandbox):
    sandbox.run_base()
    sandbox.calls()
    python = sandbox.venv / "bin/python"
    python.write_text(f"#!{shutil.which('bash')}\nexit 127\n")
    status, _, errors = sandbox.run_base()
    assert status == 2
    assert errors.startswith(f"{python} does not run here, or is no Python that suits")
    assert (sandbox.venv / "site").exists()
    assert sandbox.calls() == []


def test_environment_of_another_kind_of_machine_stays(sandbox):
    sandbox.run_base()
    sandbox.calls()
    sandbox.fake("uname", 'case "$1" in -s) echo Linux ;; *) echo aarch64 ;; esac')
    status, _, errors = sandbox.run_base()
    assert status == 2
    assert errors == f"{sandbox.venv} is of x86_64: name another folder in DISENTANGLE_VENV on aarch64.\n"
    assert sandbox.calls() == []


def test_what_is_put_where_no_environment_came_to_be_is_left_alone(sandbox, tmp_path):
    mine = tmp_path / "mine"
    (sandbox.bin / "python3").unlink()
    assert sandbox.run_base(DISENTANGLE_VENV=str(mine))[2].startswith("No usable Python")
    (mine / "thesis").touch()
    sandbox.fake_python("python3", "3.11.7")
    status, _, errors = sandbox.run_base(DISENTANGLE_VENV=str(mine))
    assert status == 2
    assert errors == f"{mine} holds other files: DISENTANGLE_VENV must name a new or empty folder.\n"
    assert (mine / "thesis").exists()


@pytest.mark.parametrize("name", ["mine", "[lab] *"])
def test_a_folder_with_other_files_is_left_alone(sandbox, tmp_path, name):
    mine = tmp_path / name
    mine.mkdir()
    (mine / "thesis").touch()
    for _ in range(2):
        status, _, errors = sandbox.run_base(DISENTANGLE_VENV=str(mine))
        assert status == 2
        assert errors == (f"{mine} holds other files: DISENTANGLE_VENV must name a new or empty folder.\n")
        assert (mine / "thesis").exists()
    assert sandbox.calls() == []


def test_an_environment_of_somebody_else_is_left_alone(sandbox, tmp_path):
    mine = tmp_path / "mine"
    (mine / "bin").mkdir(parents=True)
    (mine / "site").mkdir()
    shutil.copy(sandbox.bin / "python3", mine / "bin/python")
    assert sandbox.run_base(DISENTANGLE_VENV=str(mine))[0] == 2
    assert sandbox.calls() == []
    assert sorted(path.name for path in mine.iterdir()) == ["bin", "site"]


def test_an_environment_stays_where_no_other_can_be_made(sandbox):
    sandbox.run_base()
    sandbox.calls()
    (sandbox.bin / "python3").unlink()
    # One without pip, which a uv has made.
    python = sandbox.venv / "bin/python"
    python.write_text(python.read_text().replace('"-I -m pip --version" | ', ""))
    sandbox.write_requirements("requirements.txt", "package==2\n")
    assert sandbox.run_base()[0] == 2
    assert python.exists()


@pytest.mark.parametrize("variable", ["VIRTUAL_ENV", "CONDA_PREFIX"])
def test_active_environment_is_used_if_it_has_the_packages(sandbox, variable):
    sandbox.fake_python("active/bin/python")
    active = sandbox.bin / "active"
    status, output, errors = sandbox.prepare(LOCK_STATUS="0", **{variable: str(active)})
    assert (status, output, errors) == (0, [f"{active}/bin/python"], "")
    assert not sandbox.venv.exists()
    python3 = str(sandbox.bin / "python3")
    for other in ({"LOCK_STATUS": "1"}, {"LOCK_STATUS": "0", "DISENTANGLE_PYTHON": python3}):
        _, output, _ = sandbox.prepare(**other, **{variable: str(active)})
        assert output == [f"{sandbox.venv}/bin/python"]


@pytest.mark.skipif(shutil.which("flock") is None, reason="needs flock")
def test_two_runs_at_once_set_up_once(sandbox, tmp_path):
    command, pipe = str(sandbox.root / "run_base.sh"), tmp_path / "pipe"
    os.mkfifo(pipe)
    # Open on both sides, so that pip waits for a line and nobody waits for the other to open it.
    with open(os.open(pipe, os.O_RDWR), "wb", buffering=0) as held:
        first = sandbox.start(command, DURING_PIP='read -r line <"$PIPE"', PIPE=str(pipe))
        assert first.stderr.readline().startswith("Setting up")
        second = sandbox.start(command)
        assert second.stderr.readline() == f"Waiting for another run to set up {sandbox.venv} ...\n"
        held.write(b"go on\n" * 2)
        assert [run.communicate()[1] for run in (first, second)] == ["", ""]
    assert [run.returncode for run in (first, second)] == [0, 0]
    assert sandbox.calls() == ["venv of python3", *INSTALLED]


def test_probe_accepts_the_python_that_runs_these_tests(sandbox):
    script = 'source "$root/src/environment.sh"; probe_python "$0"'
    status, output, _ = sandbox.run("-c", script, sys.executable, root=str(sandbox.root))
    assert (status, output) == (0, [".".join(map(str, sys.version_info[:3]))])


@pytest.mark.parametrize(
    ("requirements", "holds"),
    [
        ("# a comment\n\npytest=={pytest}  # runs the tests\n", True),
        ("pytest=={pytest}\npluggy==0.0.1\n", False),
        ("no-such-package==1\n", False),
        ('no-such-package==1 ; python_version < "3.11"  # why\n', sys.version_info >= (3, 11)),
        (
            "--only-binary :all:\npytest=={pytest} \\\n    --hash=sha256:0 \\\n    --hash=sha256:1\n",
            True,
        ),
    ],
)
def test_check_lock(tmp_path, requirements, holds):
    file = tmp_path / "requirements.txt"
    file.write_text(requirements.format(pytest=metadata.version("pytest")))
    command = [sys.executable, PROJECT / "src/check_lock.py", file]
    result = subprocess.run(command, capture_output=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (int(not holds), b"", b"")


def read_pins(path):
    """Name to version, for the lines that apply to this Python."""
    lines = (line.partition("#")[0].strip(" \\") for line in path.read_text().splitlines())
    pins = [Requirement(line) for line in lines if line and not line.startswith("-")]
    return {
        canonicalize_name(pin.name): str(pin.specifier).removeprefix("==")
        for pin in pins
        if pin.marker is None or pin.marker.evaluate()
    }


@pytest.fixture
def uv(sandbox):
    """The user's own."""
    return sandbox.fake("uv", FAKE_UV)


def test_the_users_uv_makes_the_environment_without_a_venv_module(sandbox, uv):
    python = sandbox.fake_python("python3", venv=False)
    assert sandbox.run_base(UV_PYTHON=str(python))[0] == 0
    assert sandbox.calls() == ["uv venv cpython>=3.10,<3.15", *INSTALLED[1:]]
    assert sandbox.run_base(UV_PYTHON=str(python))[::2] == (0, "")


def test_uv_brings_a_python_where_none_suits(sandbox, uv):
    (sandbox.bin / "python3").unlink()
    brought = sandbox.fake_python("elsewhere/python", "3.14.2")
    assert sandbox.run_base(UV_PYTHON=str(brought))[0] == 0
    assert sandbox.calls()[-1] == "uv requirements-pecos.txt as 3.12"


def test_uv_that_can_bring_none_leaves_the_search_to_us(sandbox, uv):
    assert sandbox.run_base(NO_PYTHON="1")[0] == 0
    assert sandbox.calls() == ["uv venv cpython>=3.10,<3.15", "venv of python3", *INSTALLED[1:]]
    (sandbox.bin / "python3").unlink()
    shutil.rmtree(sandbox.venv)
    status, _, errors = sandbox.run_base(NO_PYTHON="1")
    assert (status, errors.splitlines()[-1].startswith("No usable Python: needs")) == (2, True)
    assert "found none; uv brought none: " in errors


def test_an_unsuitable_python_that_the_user_names_is_refused_with_uv_too(sandbox, uv):
    old = sandbox.fake_python("elsewhere/python3.9", "3.9.1", suits=False)
    status, _, errors = sandbox.run_base(DISENTANGLE_PYTHON=str(old), UV_PYTHON=str(old))
    assert (status, errors.splitlines()[-1].endswith(f"found 3.9.1 ({old}).")) == (2, True)


@pytest.mark.parametrize(
    "variables",
    [
        {"NO_UV": "1"},
        {"PIP_CONFIG": "global.index-url='https://example.org/simple'"},
        {"PIP_CONFIG": ":env:.find-links='/wheels'"},
        {"PIP_CONFIG": "global.proxy='http://proxy:3128'"},
    ],
)
def test_pip_installs_where_uv_cannot_be_had_or_does_not_know_where(sandbox, variables):
    sandbox.fake_python("python3", "3.13.5")
    assert sandbox.run_base(**variables)[0] == 0
    assert sandbox.calls() == [
        "venv of python3",
        "pip requirements.txt",
        "pip requirements-pecos.txt as 3.12",
    ]


def test_pip_goes_on_where_uv_fails(sandbox):
    assert sandbox.run_base(DURING_PIP="[[ $tool == pip ]]")[0] == 0
    expected = [call for line in INSTALLED[1:] for call in (line, line.replace("uv", "pip", 1))]
    assert sandbox.calls() == ["venv of python3", INSTALLED[0], *expected]


def test_locks_carry_hashes_of_files_and_name_no_index():
    for path in [
        *LOCKS,
        *(PROJECT / f"requirements-{name}.txt" for name in ("uv", "mlflow", "skos", "serve", "cluster")),
    ]:
        text = path.read_text()
        assert "bash src/lock.sh" in text.splitlines()[1]
        assert "://" not in text
        pins = re.findall(r"^[a-z].*(?:\n +--hash=sha256:[0-9a-f]{64}.*)+", text, re.MULTILINE)
        assert len(pins) == len(re.findall("^[a-z]", text, re.MULTILINE)) > 0


def test_both_locks_pin_shared_packages_alike():
    runtime, dev = read_pins(LOCKS[0]), read_pins(LOCKS[2])
    assert runtime | dev == dev | runtime


def test_locks_hold_all_that_their_packages_need():
    # --no-deps would not notice a gap. libpecos has a lock of its own: most of its needs are left out.
    pins = read_pins(LOCKS[0]) | read_pins(LOCKS[2])
    needs = [Requirement(need) for name in pins for need in metadata.requires(name) or []]
    unmet = {
        str(need)
        for need in needs
        if (need.marker is None or need.marker.evaluate({"extra": ""}))
        and not (
            (pin := pins.get(canonicalize_name(need.name))) and need.specifier.contains(pin, prereleases=True)
        )
    }
    assert unmet == set()


def test_the_drivers_start_no_module_of_the_folder_that_they_are_called_from(tmp_path):
    for name in ("disentangle", "numpy", "argparse"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('this is not what was asked for')\n")
    command = [sys.executable, str(PROJECT / "src" / "run.py"), "--version"]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    ended = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout[:11]) == (0, "disentangle"), ended
