#!/usr/bin/env bash
# Makes the locks, requirements*.txt, of what pyproject.toml asks for: CPython 3.10 to 3.14 on Linux, with hashes.
# Usage: bash src/lock.sh [--upgrade]; what is pinned already stays, but for --upgrade. It needs uv.
set -euo pipefail
unset CDPATH # which cd would heed
cd "$(dirname "${BASH_SOURCE[0]}")/.."

lock() {
    local file=$1
    shift
    uv pip compile --quiet --universal --python-version 3.10 --fork-strategy fewest --generate-hashes \
        --no-emit-index-url --custom-compile-command "bash src/lock.sh" --output-file "$file" "$@"
}

# What it adds to those above, as environment.sh tells the user.
size() {
    printf '# size: %s MB on disk, %s MB to download\n' "$2" "$3" >>"$1"
}

wheels=(--only-binary :all: --emit-build-options) # so that no package runs code of its own as it is installed
lock requirements.txt pyproject.toml --group generations "${wheels[@]}" "$@"
lock requirements-pecos.txt --group pecos --no-deps "${wheels[@]}" "$@"
lock requirements-uv.txt --group uv "${wheels[@]}" "$@"
lock requirements-dev.txt --group dev --constraints requirements.txt "$@"
lock requirements-mlflow.txt --group mlflow --constraints requirements.txt "${wheels[@]}" "$@"
lock requirements-skos.txt --group skos --constraints requirements.txt "${wheels[@]}" "$@"
lock requirements-serve.txt --group serve --constraints requirements.txt "${wheels[@]}" "$@"
lock requirements-cluster.txt --group cluster --constraints requirements.txt "${wheels[@]}" "$@"
size requirements.txt 480 130
size requirements-pecos.txt 20 10
size requirements-dev.txt 120 35
size requirements-cluster.txt 22 6
