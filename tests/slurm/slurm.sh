#!/usr/bin/env bash
# Starts a Slurm of two nodes on this machine, submits a fresh checkout's run.sbatch to it, checks what comes of it.
# Usage: bash tests/slurm/slurm.sh; as root, with Debian's slurm-wlm and munge, and a network for the set-up.
# What it last printed is in slurm.log beside it. Exit status 1 if a check fails.
set -euo pipefail
root=$(readlink -f "${BASH_SOURCE[0]}")
root=${root%/tests/*}
folder=$(mktemp -d)
project="$folder/my project"
# Less work than the defaults' for the same stages.
job=(--preset lean --without-xr-linear)
daemons=()

stop() {
    local pid
    # What a job has started outlives the daemons.
    if scancel --user root 2>/dev/null; then wait_for are_idle; fi
    for pid in "${daemons[@]}"; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" || true
    done
    rm -rf "${folder:?}"
}

check() {
    local what=$1
    shift
    if "$@"; then
        printf 'ok      %s\n' "$what"
    else
        printf 'FAILED  %s\n' "$what"
        tail -n 20 "$project"/model/*.log "$folder"/*.log
        exit 1
    fi
}

# Of a condition that comes about, or that a job or a daemon ends without.
wait_for() {
    until "$@"; do
        kill -0 "${daemons[@]}" || { tail -n 20 "$folder"/*.log && exit 1; }
        sleep 0.2
    done
}

start_daemon() {
    "$@" >>"$folder/daemons.log" 2>&1 &
    daemons=("$!" "${daemons[@]}")
}

# Slurm without a system around it: no cgroups, no accounting, two nodes that are this machine.
write_settings() {
    local name ports
    name=$(hostname -s)
    mapfile -t ports < <(python3 -c 'import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
print(*[one.getsockname()[1] for one in sockets], sep="\n")')
    cat >"$folder/slurm.conf" <<END
ClusterName=test
SlurmctldHost=$name(127.0.0.1)
SlurmctldPort=${ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# A requeued job waits until its old credentials have expired: two minutes, if nothing is said.
AuthInfo=socket=$folder/munge.sock,cred_expire=5
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool-%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
NodeName=a NodeHostname=$name NodeAddr=127.0.0.1 Port=${ports[1]} CPUs=2 RealMemory=4000
NodeName=b NodeHostname=$name NodeAddr=127.0.0.1 Port=${ports[2]} CPUs=2 RealMemory=4000
PartitionName=all Nodes=a,b Default=YES MaxTime=INFINITE State=UP
END
}

are_idle() {
    [[ $(sinfo --noheader --Node --format %T 2>/dev/null) == $'idle\nidle' ]]
}

start_slurm() {
    local node
    chmod 755 "$folder" # munged asks that all can reach it
    mkdir "$folder/state" "$folder/spool-a" "$folder/spool-b"
    head -c 1024 /dev/urandom >"$folder/munge.key"
    chmod 600 "$folder/munge.key"
    write_settings
    export SLURM_CONF=$folder/slurm.conf
    start_daemon munged --foreground --socket="$folder/munge.sock" --key-file="$folder/munge.key" \
        --log-file="$folder/munged.log" --pid-file="$folder/munged.pid" --seed-file="$folder/munged.seed"
    wait_for test -S "$folder/munge.sock"
    start_daemon slurmctld -D
    for node in a b; do start_daemon slurmd -D -N "$node"; done
    wait_for are_idle
}

copy_checkout() {
    mkdir "$project"
    cd "$root"
    git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents --target-directory "$project"
    cd "$project"
}

submit() {
    sbatch --parsable --cpus-per-task=2 --mem=2G "$@"
}

log_of() {
    printf 'model/slurm-%s.log' "$1"
}

has_ended() {
    local found
    found=$(scontrol --oneliner show job "$1")
    [[ $found =~ JobState=(COMPLETED|FAILED|CANCELLED|TIMEOUT|NODE_FAIL|OUT_OF_MEMORY)[[:space:]] ]]
}

# What stages left: digests of their files and their figures, without seconds.
results() {
    python3 -c 'import json, pathlib, sys
folder = pathlib.Path(sys.argv[1], "wordnet-hypernyms")
for path in sorted(folder.rglob("stage.json")):
    record = json.loads(path.read_text())
    print(path.relative_to(folder), json.dumps([record["files"], record["results"]], sort_keys=True))' "$1"
}

has_direct_results() {
    results model >"$folder/results"
    [[ -s $folder/direct-results ]] && cmp "$folder/results" "$folder/direct-results"
}

# Whether the matcher is trained, which takes a while after it, or never will be.
is_midway() {
    has_ended "$1" || compgen -G "model/wordnet-hypernyms/base/matcher*/stage.json" >/dev/null
}

# Whether the logs have each stage done once: none that was finished has been made again.
made_once() {
    sed -n 's/^[0-9:]* \(.*\): done in .*/\1/p' "$@" | sort >"$folder/made"
    [[ ! $(uniq --repeated "$folder/made") ]] && (($(wc -l <"$folder/made") == $(wc -l <"$folder/results")))
}

# Of a job that is midway.
is_part_done() {
    results model >"$folder/before"
    printf 'midway: %d stages of %d are done\n' "$(wc -l <"$folder/before")" "$(wc -l <"$folder/direct-results")"
    (($(wc -l <"$folder/before") < $(wc -l <"$folder/direct-results")))
}

two_at_once_set_up_one_environment() {
    local first second
    # Held, so that they begin together.
    first=$(sbatch --parsable --hold --cpus-per-task=1 --mem=1G run.sbatch --help)
    second=$(sbatch --parsable --hold --cpus-per-task=1 --mem=1G run.sbatch --help)
    scontrol release "$first" "$second"
    wait_for has_ended "$first"
    wait_for has_ended "$second"
    grep -h 'once\|Waiting' "$(log_of "$first")" "$(log_of "$second")"
    [[ $(grep -ch '^Setting up' "$(log_of "$first")" "$(log_of "$second")" | sort | xargs) == "0 1" ]] &&
        grep -q '^usage: ' "$(log_of "$first")" && grep -q '^usage: ' "$(log_of "$second")"
}

completes_with_direct_results() {
    local id
    bash run_base.sh "${job[@]}" --threads 2 --model-dir direct >"$folder/direct.log" 2>&1 || return
    results direct >"$folder/direct-results"
    id=$(submit --wait run.sbatch "${job[@]}") && cat "$(log_of "$id")" && has_direct_results
}

passes_status_2() {
    local status=0 id
    # shellcheck disable=SC2016 # nobody is to expand it
    id=$(submit --wait run.sbatch '$(touch evaluated)' "--mirror=$folder") || status=$?
    cat "$(log_of "$id")"
    ((status == 2)) && [[ ! -e evaluated ]] && scontrol show job "$id" | grep -o 'JobState=FAILED\|ExitCode=2:0' | xargs
}

goes_on_after_being_cancelled() {
    local first second
    rm -rf model/wordnet-hypernyms
    first=$(submit run.sbatch "${job[@]}")
    wait_for is_midway "$first"
    scancel "$first"
    wait_for has_ended "$first"
    wait_for are_idle
    is_part_done || return
    second=$(submit --wait run.sbatch "${job[@]}") || return
    cat "$(log_of "$first")" "$(log_of "$second")"
    has_direct_results && made_once "$(log_of "$first")" "$(log_of "$second")"
}

goes_on_after_being_requeued() {
    local id
    rm -rf model/wordnet-hypernyms
    id=$(submit run.sbatch "${job[@]}")
    wait_for is_midway "$id"
    scontrol requeue "$id"
    is_part_done || return
    wait_for has_ended "$id"
    cat "$(log_of "$id")"
    has_direct_results && made_once "$(log_of "$id")" &&
        scontrol --oneliner show job "$id" | grep -o 'JobState=COMPLETED\|Restarts=1' | xargs
}

# Tasks on both nodes.
spreads_over_nodes() {
    local id
    rm -rf model/wordnet-hypernyms
    id=$(submit --wait --nodes=2 run.sbatch "${job[@]}") && has_direct_results || return
    cat "$(log_of "$id")"
    grep -c 'Registered to:' "model/slurm-$id-dask.log" && [[ ! -e model/.slurm-$id ]]
}

trap stop EXIT
unset VIRTUAL_ENV CONDA_PREFIX XMC_DATA XMC_MODEL XMC_BINNED
start_slurm
sinfo --version
copy_checkout
check "two jobs at once on a fresh checkout set up one environment" two_at_once_set_up_one_environment
check "a job completes with the results of run_base.sh" completes_with_direct_results
check "bad input: its sentence, its status, nothing evaluated" passes_status_2
check "submitted again after scancel, finished stages are reused" goes_on_after_being_cancelled
check "after scontrol requeue, finished stages are reused" goes_on_after_being_requeued
check "a task on each of two nodes has the same results" spreads_over_nodes
