#!/usr/bin/env bash
# Writes scripts/lock/*.txt anew from pyproject.toml: versions and hashes, never addresses. Needs pip-tools.
set -euo pipefail
cd "$(dirname "$0")/.."
compile() { pip-compile --quiet --generate-hashes --allow-unsafe --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --strip-extras --no-header "$@"; }
compile --extra build -o scripts/lock/runtime.txt scripts/lock/base.in pyproject.toml
compile --extra build --extra dev -o scripts/lock/dev.txt scripts/lock/base.in pyproject.toml
