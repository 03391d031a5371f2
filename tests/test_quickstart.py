"""The main job at its smallest: every stage runs, the report is written, and a second run repeats nothing."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "run_scripts" / "quickstart.sh"


@pytest.mark.skipif(importlib.util.find_spec("easy_vqa") is None, reason="needs the package easy-vqa")
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("from_scratch", ["0", "1"])
def test_quickstart_runs_and_resumes(tmp_path, from_scratch):
    def run():
        settings = {"SCENES": "60", "PRETRAIN_SCENES": "60", "PRETRAIN_UPDATES": "2", "TUNE_UPDATES": "2"}
        settings |= {"EVAL_INSTANCES": "2", "FROM_SCRATCH": from_scratch}
        environment = {**os.environ, **settings, "OUT": str(tmp_path), "OFA_MI_PYTHON": sys.executable}
        done = subprocess.run(["bash", str(SCRIPT)], env=environment, capture_output=True, text=True, cwd="/")
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        return done

    run()
    page = (tmp_path / "index.html").read_text()
    assert "visual spatial reasoning" in page and "easy vqa" in page and "sensitivity" in page.lower()
    assert (tmp_path / "pretrained").exists() == (from_scratch == "1")
    predictions = (tmp_path / "evaluation" / "tuned" / "predictions.jsonl").read_bytes()

    second = run()
    assert "tuned: already done" in second.stderr and "untuned: already evaluated" in second.stderr
    assert (tmp_path / "evaluation" / "tuned" / "predictions.jsonl").read_bytes() == predictions
