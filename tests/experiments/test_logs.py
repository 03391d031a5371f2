"""What is shown of fairseq's log, and why a command stopped."""

import pytest

from ofa_mi.experiments.logs import last_error, progress_line

TRAIN = '2026-01-02 03:04:05 | INFO | train_inner | {"epoch": 1, "loss": "2.91", "ups": "3.1", "num_updates": "100"}\n'
VALID = '2026-01-02 03:04:05 | INFO | valid | {"epoch": 1, "valid_loss": "2.5", "valid_score": "33.1", "a": "b | {"}\n'


def test_progress():
    assert progress_line(TRAIN) == "update 100, loss 2.91, 3.1 updates/s"
    assert progress_line(TRAIN, 350) == "update 100 of 350, loss 2.91, 3.1 updates/s"
    assert progress_line(VALID) == "validation: loss 2.5, mean score of the tasks 33.1"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "train_inner\n",
        TRAIN[:-20],
        TRAIN.replace('"ups"', '"wps"'),
        TRAIN.replace("train_inner", "train"),
        VALID.replace("valid_score", "score"),
        "2026-01-02 | INFO | fairseq_cli.train | {'_name': None}\n",
    ],
)
def test_other_lines_are_not_shown(line):
    assert progress_line(line) is None


def test_last_error(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"RuntimeError: old\nofa-mi train: error: b.jsonl: line 3: \xff\r\nChildFailedError: \n")
    assert last_error(log) == "ofa-mi train: error: b.jsonl: line 3: �"  # rather than what the launcher says after it
    before = log.stat().st_size
    assert last_error(log, before) is None
    with open(log, "a") as file:
        file.write("all errors are fine\nValueError: new\nkilled\n")
    assert last_error(log, before) == "ValueError: new", "of this attempt"
