#!/usr/bin/env bash
# Groups labels into composite ones, compares XR-Linear and its overlap on them, and draws Figure 2.
# Usage: bash run_binned.sh [DATASET] [options]; --help lists them.
# Runs from any folder. The first run sets up a Python environment in .venv, finished stages are never redone.
set -euo pipefail
root=$(readlink -f "${BASH_SOURCE[0]}")
root=${root%/*}
# shellcheck source=src/environment.sh
source "$root/src/environment.sh"
prepare_environment "$root"/requirements{,-pecos}.txt
exec "$PYTHON" "$root/src/run.py" binned "$@"
