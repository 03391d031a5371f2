#!/usr/bin/env bash
# Sets up the environment, then checks style and runs the tests.
#
#   bash run_scripts/test.sh [PYTEST ARGUMENTS]     e.g. tests/models -k decoder  (paths as seen from the repository)
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

set_up
cd "$ROOT"
say "ruff"
ruff check .
ruff format --check .
say "pytest"
pytest "$@"
