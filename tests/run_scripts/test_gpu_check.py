"""gpu_check.sh without a GPU: right first, then timed, and not twice."""

import pytest

from tests.run_scripts.helpers import run_script

SMALL = {"DEVICE": "cpu", "TESTS": "tests/kernels/test_imports.py", "ARCHS": ""}
SMALL |= {"BENCHMARKS": "attention", "CONTENDERS": "ofa_mi"}


@pytest.mark.slow
def test_each_step_is_done_once(tmp_path):
    done = run_script("gpu_check.sh", **SMALL, OUT=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "attention-cpu.csv").exists() and (tmp_path / "tests.log").exists()
    assert "| not measured |" in (tmp_path / "goals.md").read_text()
    again = run_script("gpu_check.sh", **SMALL, OUT=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "tests: done already" in again.stderr and "attention: done already" in again.stderr


@pytest.mark.slow
def test_wrong_kernels_are_not_timed(tmp_path):
    done = run_script("gpu_check.sh", **{**SMALL, "TESTS": "tests/kernels -k no_such_test"}, OUT=tmp_path)
    assert done.returncode == 1 and "tests failed" in done.stderr
    assert not (tmp_path / "attention-cpu.csv").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"MINUTES": "soon"}, "MINUTES=soon: set a whole number"), ({"DEVICE": "tpu"}, "DEVICE=tpu: set cuda or cpu")],
)
def test_a_setting_that_cannot_be_is_one_line(settings, message):
    done = run_script("gpu_check.sh", **settings)
    assert done.returncode == 1 and message in done.stderr and len(done.stderr.splitlines()) == 1
