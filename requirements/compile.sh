#!/usr/bin/env bash
# Resolve each environment of the project into a hash-pinned file. No file names an index or a path.
set -euo pipefail
cd "$(dirname "$0")/.."
compile() { # NAME, options of uv pip compile
  local name=$1
  shift
  "${UV:-uv}" pip compile pyproject.toml "$@" --quiet --python-version 3.11 --generate-hashes --no-emit-index-url \
    --no-header --no-annotate --override requirements/overrides.txt --output-file "requirements/$name.txt"
}
compile dev --extra operator --extra train --extra cpu --group dev # development and tests, without a GPU
compile operator --extra operator
compile train --extra train
compile generate --extra generate
compile jobs # a worker of role cpu
