"""Random kills at small size; `python -m tests.reliability.kills` is the same at full size."""

import csv
import os
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

KILLS = 5


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_random_kills_change_nothing(tmp_path):
    """In a process of its own: jobs are forks of it."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.reliability.kills", "--kills", str(KILLS), "--seed", "7", "--out", str(tmp_path)],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    rows = list(csv.DictReader((tmp_path / "kills.csv").open()))
    assert [row["job"] for row in rows] == ["training", "evaluation", "building", "downloading"]
    assert sum(int(row["kills"]) for row in rows) == KILLS and {row["failures"] for row in rows} == {"0"}
