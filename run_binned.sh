#!/usr/bin/env bash
# Joins labels of a dataset into composite ones, and trains on those as run_base.sh does.
# Usage: bash run_binned.sh [DATASET] [options]; --help lists them.
# Runs from any folder. The first run sets up a Python environment in .venv, finished stages are never redone.
set -euo pipefail
root=$(readlink -f "${BASH_SOURCE[0]}")
root=${root%/*}
# shellcheck source=src/environment.sh
source "$root/src/environment.sh"
prepare_environment "$root/requirements.txt"
exec "$PYTHON" -m disentangle binned "$@"
