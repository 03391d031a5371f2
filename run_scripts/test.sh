#!/usr/bin/env bash
# Sets up the environment, checks style and types, and runs the tests.
#
#   bash run_scripts/test.sh [PYTEST ARGUMENTS]     e.g. tests/models -k decoder  (paths as seen from the repository)
#   bash run_scripts/test.sh --all [PYTEST …]       slow tests, too, as continuous integration does (.ci/run)
#
# The files of tests are shared out over the cores, up to eight; `-n 0` runs them in one process.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

if [[ "${1:-}" == --all ]]; then
  shift
  set -- -m "" "$@"
fi
set_up dev
cd "$ROOT"
say "ruff"
ruff check .
ruff format --check .
say "codespell"
codespell
say "pyright"
basedpyright --project pyproject.toml --pythonpath "$PYTHON"
say "pytest"
pytest --numprocesses auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder "$@"
