#!/usr/bin/env bash
# Trains and evaluates XR-Linear on a dataset, then the same with labels in several clusters.
# Usage: bash run_base.sh [DATASET] [options]; --help lists them.
# Runs from any folder. The first run sets up a Python environment in .venv, finished stages are never redone.
set -euo pipefail
root=$(readlink -f "${BASH_SOURCE[0]}")
root=${root%/*}
# shellcheck source=src/environment.sh
source "$root/src/environment.sh"
prepare_environment "$root"/requirements{,-pecos}.txt
exec "$PYTHON" "$root/src/run.py" base "$@"
