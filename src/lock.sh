#!/usr/bin/env bash
# Makes the locks, requirements*.txt, of what pyproject.toml asks for: CPython 3.10 to 3.14 on Linux, with hashes.
# Usage: bash src/lock.sh [--upgrade]; what is pinned already stays, but for --upgrade. It needs uv.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

lock() {
    local file=$1 size=$2
    shift 2
    uv pip compile --quiet --universal --python-version 3.10 --fork-strategy fewest --generate-hashes \
        --no-emit-index-url --custom-compile-command "bash src/lock.sh" --output-file "$file" "$@"
    printf '# size: about %s\n' "$size" >>"$file" # of all up to it, as environment.sh tells the user
}

wheels=(--only-binary :all: --emit-build-options) # so that no package runs code of its own as it is installed
lock requirements.txt "480 MB on disk, 130 MB to download" pyproject.toml --group generations "${wheels[@]}" "$@"
lock requirements-pecos.txt "500 MB on disk, 140 MB to download" --group pecos --no-deps "${wheels[@]}" "$@"
lock requirements-uv.txt "60 MB on disk, 25 MB to download" --group uv "${wheels[@]}" "$@"
lock requirements-dev.txt "620 MB on disk, 175 MB to download" --group dev --constraints requirements.txt "$@"
lock requirements-mlflow.txt "65 MB on disk, 17 MB to download" --group mlflow --constraints requirements.txt "${wheels[@]}" "$@"
lock requirements-skos.txt "4 MB on disk, 1 MB to download" --group skos --constraints requirements.txt "${wheels[@]}" "$@"
lock requirements-serve.txt "2 MB on disk, 1 MB to download" --group serve --constraints requirements.txt "${wheels[@]}" "$@"
lock requirements-cluster.txt "22 MB on disk, 6 MB to download" --group cluster --constraints requirements.txt "${wheels[@]}" "$@"
