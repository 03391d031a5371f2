#!/usr/bin/env bash
# Sets up the environment, then checks style and runs the tests.
#
#   bash run_scripts/test.sh [PYTEST ARGUMENTS]     e.g. tests/models -k decoder  (paths as seen from the repository)
#
# The files of tests are shared out over the cores, up to eight; `-n 0` runs them in one process.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

set_up dev
cd "$ROOT"
say "ruff"
ruff check .
ruff format --check .
say "pytest"
pytest --numprocesses auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder "$@"
