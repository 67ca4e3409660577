#!/usr/bin/env bash
# Scores how well the copies of composite labels separate their components, by variation of information.
# Usage: bash run_metric.sh [DATASET] [options]; --help lists them.
# Runs from any folder. The first run sets up a Python environment in .venv, finished stages are never redone.
set -euo pipefail
root=$(readlink -f "${BASH_SOURCE[0]}")
root=${root%/*}
# shellcheck source=src/environment.sh
source "$root/src/environment.sh"
prepare_environment "$root"/requirements{,-pecos}.txt
exec "$PYTHON" "$root/src/run.py" metric "$@"
