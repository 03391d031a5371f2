"""The notebook docs/tour.ipynb runs from its first to its last cell, and is committed without what it printed."""

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

NOTEBOOK = json.loads((REPOSITORY / "docs/tour.ipynb").read_text(encoding="utf-8"))
CODE = ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


def test_it_is_a_notebook_without_output():
    assert NOTEBOOK["nbformat"] == 4 and len({cell["id"] for cell in NOTEBOOK["cells"]}) == len(NOTEBOOK["cells"])
    assert all(
        not cell["outputs"] and cell["execution_count"] is None for cell in NOTEBOOK["cells"] if "outputs" in cell
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_cell_runs(tmp_path):
    """With few updates, in a process of its own, as a kernel would."""
    (tmp_path / "tour.py").write_text("\n\n".join(CODE), encoding="utf-8")
    environment = {**os.environ, "TOUR_UPDATES": "3", "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "tour.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=840
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "grounded_vqa" in done.stdout and "right:" in done.stdout and "num_updates" in done.stdout
    assert (tmp_path / "tour/run/tuned/checkpoint_last.pt").exists()
