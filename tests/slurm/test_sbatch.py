"""run.sbatch: what it makes of an allocation, with stand-ins for srun and Python; and under a real Slurm."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT

# Each call is a line of `calls`. A process that is to go on does so until it is told to end.
STAND_IN = """#!/usr/bin/env bash
printf '%s\\n' "${0##*/} $*" >>"$CALLS"
case "$*" in
    *"dask scheduler"*) trap 'echo scheduler ends >>"$CALLS"; exit' TERM; read -r _ <>"$FIFO" ;;
    *"dask worker"*)
        [[ ! ${NO_WORKERS:-} ]] || exit 1
        trap 'echo workers end >>"$CALLS"; exit' TERM
        read -r _ <>"$FIFO" ;;
    *"/src/run.py base"*) ${JOB:-true} ;;
esac
"""
ENVIRONMENT = """
fail() { printf '%s\\n' "$1" >&2; exit 2; }
prepare_environment() {
    XMC_MODEL=$root/model PYTHON=$root/python
    printf 'prepare %s\\n' "${*##*/}" >>"$CALLS"
}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder, with a space in its name, of the script and of stand-ins."""
    project = tmp_path / "my project"
    (project / "src").mkdir(parents=True)
    (project / "src" / "environment.sh").write_text(ENVIRONMENT)
    shutil.copy(ROOT / "run.sbatch", project)
    for name in ("python", "srun"):
        (project / name).write_text(STAND_IN)
        (project / name).chmod(0o755)
    os.mkfifo(project / "fifo")
    return project


def start(project: Path, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    """As Slurm does: from a copy elsewhere, in the folder that it was submitted from."""
    script = shutil.copy(project / "run.sbatch", project.parent / "slurm_script")
    env = {
        "PATH": f"{project}:{os.environ['PATH']}",
        "CALLS": str(project / "calls"),
        "FIFO": str(project / "fifo"),
        "SLURM_SUBMIT_DIR": str(project),
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NUM_NODES": "1",
        "SLURM_TASKS_PER_NODE": "1",
        "SLURM_CPUS_PER_TASK": "4",
    }
    return subprocess.Popen(
        ["bash", script, *arguments],
        cwd=project,
        env=env | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(project: Path, *arguments: str, **variables: str) -> tuple[int, list[str], str]:
    """Status, calls, stderr."""
    process = start(project, *arguments, **variables)
    errors = process.communicate()[1]
    calls = project / "calls"
    return process.returncode, calls.read_text().splitlines() if calls.exists() else [], errors


def test_one_task_is_the_job_with_what_it_was_given(project: Path):
    status, calls, errors = run(
        project, "my set", "--threads", "2", "$(x)", SLURM_MEM_PER_NODE="16384", JOB="exit 7"
    )
    assert (status, errors) == (7, "")
    assert calls == [
        "prepare requirements.txt requirements-pecos.txt",
        f"python {project}/src/run.py base --threads 4 --max-memory 14.40 my set --threads 2 $(x)",
    ]


def test_where_slurm_does_not_count_memory_there_is_no_limit(project: Path):
    assert run(project)[1][-1] == f"python {project}/src/run.py base --threads 4"
    assert run(project, SLURM_MEM_PER_NODE="0")[1][-1] == f"python {project}/src/run.py base --threads 4"


def test_memory_that_was_asked_for_by_processor_is_a_limit_too(project: Path):
    given = "base --threads 4 --max-memory 14.40"
    assert run(project, SLURM_MEM_PER_CPU="4096")[1][-1] == f"python {project}/src/run.py {given}"
    calls = run(project, **(TASKS | {"SLURM_MEM_PER_NODE": "", "SLURM_MEM_PER_CPU": "384"}))[1]
    assert any(" --threads 4 --max-memory 0.90" in call for call in calls)


def test_outside_a_job_or_another_folder_it_says_how_to_submit(project: Path):
    for variables in ({"SLURM_JOB_ID": ""}, {"SLURM_SUBMIT_DIR": str(project.parent)}):
        status, calls, errors = run(project, **variables)
        assert (status, calls) == (2, [])
        assert errors == "Submit it from the project's folder: sbatch run.sbatch [DATASET] [options].\n"


TASKS = {
    "SLURM_JOB_NUM_NODES": "2",
    "SLURM_TASKS_PER_NODE": "2,1",
    "SLURM_NTASKS": "3",
    "SLURM_MEM_PER_NODE": "3072",
}


@pytest.mark.parametrize("status", [0, 2])
def test_of_several_tasks_each_is_a_worker_beside_the_job(project: Path, status: int):
    found, calls, errors = run(project, "x", JOB=f"exit {status}", **TASKS)
    assert (found, errors) == (status, "")
    address = project / "model" / ".slurm-7" / "scheduler.json"
    assert calls[0] == "prepare requirements.txt requirements-pecos.txt requirements-cluster.txt"
    assert f"python -m dask scheduler --scheduler-file {address} --protocol tls" in "\n".join(calls)
    (workers,) = (call for call in calls if call.startswith("srun"))
    assert workers.startswith("srun --ntasks=3 --cpus-per-task=4 ")
    assert f" -m dask worker --scheduler-file {address} --nworkers 1 --nthreads 4 " in workers
    job = f"python {project}/src/run.py base --cluster {address} --threads 4 --max-memory 0.90 x"
    assert calls[-3:] == [job, "workers end", "scheduler ends"]
    assert not address.parent.exists()


def test_nodes_are_tasks_where_tasks_are_not_named(project: Path):
    calls = run(project, SLURM_JOB_NUM_NODES="2", SLURM_TASKS_PER_NODE="1(x2)")[1]
    assert any(call.startswith("srun --ntasks=2 ") for call in calls)
    # Of nodes that are given whole Slurm counts as many tasks as they have room for.
    whole = {"SLURM_TASKS_PER_NODE": "8(x2)", "SLURM_MEM_PER_NODE": "3072"}
    calls = run(project, SLURM_JOB_NUM_NODES="2", **whole)[1]
    assert any(" --threads 4 --max-memory 1.35" in call for call in calls)


def test_a_job_whose_workers_have_gone_ends(project: Path):
    status, calls, errors = run(project, NO_WORKERS="1", JOB='eval read -r _ <>"$FIFO"', **TASKS)
    assert status == 1
    assert errors == (
        f"The scheduler or the workers have ended: the cause is in {project}/model/slurm-7-dask.log.\n"
    )
    assert calls[-1] == "scheduler ends"


def test_a_signal_ends_the_job_before_the_cluster(project: Path):
    # The pipe gets its other end, and the job its line, when the job is there.
    os.mkfifo(project / "begun")
    job = project / "job"
    job.write_text(
        'trap \'echo job ends >>"$CALLS"; exit 143\' TERM\necho >"${CALLS%calls}begun"\nread -r _ <>"$FIFO"\n'
    )
    process = start(project, JOB='eval source "${CALLS%calls}job"', **TASKS)
    (project / "begun").read_text()
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == 143
    assert (project / "calls").read_text().splitlines()[-3:] == ["job ends", "workers end", "scheduler ends"]
    assert not (project / "model" / ".slurm-7").exists()


@pytest.mark.slow
def test_under_a_real_slurm():
    if missing := [
        name for name in ("slurmctld", "slurmd", "munged", "sbatch") if shutil.which(name) is None
    ]:
        pytest.skip(f"no {missing[0]} on this machine")
    if os.geteuid():
        pytest.skip("a Slurm of one's own takes root")
    script = ROOT / "tests" / "slurm" / "slurm.sh"
    done = subprocess.run(
        ["bash", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
