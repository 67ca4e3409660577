#!/usr/bin/env bash
# Checks style, types and shell scripts, then runs the tests: all of it, even after a failure.
# Usage: bash run_tests.sh [--all] [pytest arguments]; --all adds the tests marked slow.
# The first run sets up a Python environment in .venv.
set -euo pipefail
root=$(readlink -f "${BASH_SOURCE[0]}")
root=${root%/*}
# shellcheck source=src/environment.sh
source "$root/src/environment.sh"
prepare_environment "$root"/requirements{,-pecos,-cluster,-skos,-dev}.txt
cd "$root"

selection=(-m "not slow")
if [[ ${1:-} == --all ]]; then
    selection=()
    shift
fi
failed=""

step() {
    local name=$1
    shift
    printf '== %s\n' "$name"
    "$@" || failed+="${failed:+, }$name"
}

step "ruff check" "$PYTHON" -m ruff check --quiet .
step "ruff format" "$PYTHON" -m ruff format --quiet --check .
step mypy "$PYTHON" -m mypy --no-error-summary
step shellcheck "${PYTHON%/*}/shellcheck" --external-sources ./*.sh run.sbatch src/*.sh tests/*/*.sh .ci/run
# Files apart, as the tests of one share what is trained for them.
step pytest "$PYTHON" -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile "${selection[@]}" "$@"

if [[ $failed ]]; then
    printf 'Failed: %s.\n' "$failed"
    exit 1
fi
