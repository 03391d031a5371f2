"""Training through a stock `fairseq-train`, as a user starts it: it runs, validates, and resumes exactly."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

REPOSITORY = Path(__file__).resolve().parents[2]
COLOURS = ("red", "green", "blue", "white")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data directory with images of one coloured box, and text-only instances among them."""
    root = tmp_path_factory.mktemp("data")
    (root / "images").mkdir()
    for split, count in (("train", 48), ("valid", 8)):
        lines = [json.dumps(record(root, split, i)) for i in range(count)]
        (root / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    return root


def record(root, split, number):
    """Instance ``number`` of a split; every fourth has no image."""
    colour = COLOURS[number % 4]
    if number % 4 == 3:
        return {
            "unique_id": f"{split}-{number}",
            "task_name": "easy_vqa",
            "question": f"what colour is {colour} paint?",
            "target_txt": colour,
        }
    box = [number % 20, 10, number % 20 + 20, 40]
    image = Image.new("RGB", (60, 50), "black")
    ImageDraw.Draw(image).rectangle(box, fill=colour)
    path = f"images/{split}-{number}.png"
    image.save(root / path)
    common = {"unique_id": f"{split}-{number}", "image_path": path, "image_size": [60, 50]}
    if number % 4 == 0:
        return {**common, "task_name": "visual_grounding", "text": f"the {colour} box", "target_txt": box}
    question = {"question": "what colour is the box?", "options": list(COLOURS), "target_txt": colour}
    return {**common, "task_name": "color_understanding", **question}


def command(data, save_dir, *extra):
    """A `fairseq-train` command line for a model that trains in seconds."""
    return [
        *(sys.executable, "-m", "fairseq_cli.train", str(data), "--user-dir", str(REPOSITORY / "ofa_mi")),
        *("--task", "multiinstruct", "--arch", "ofa_nano", "--criterion", "adjust_label_smoothed_cross_entropy"),
        *("--label-smoothing", "0.1", "--patch-image-size", "64", "--batch-size", "8", "--num-workers", "1"),
        *("--optimizer", "adam", "--lr", "1e-3", "--clip-norm", "1.0", "--seed", "3", "--save-dir", str(save_dir)),
        *("--log-format", "json", "--log-interval", "1", "--save-interval-updates", "2", "--max-update", "9"),
        *("--max-epoch", "2", "--cpu", *extra),
    ]


def environment():
    """Two threads at most, whatever the machine."""
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def train(data, save_dir, *extra):
    """Run to the end; returns the output."""
    done = subprocess.run(
        command(data, save_dir, *extra), env=environment(), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


def losses(output):
    """Loss of each update, by its number, from JSON log lines."""
    found = {}
    for line in output.splitlines():
        start = line.find("{")
        if "| train_inner |" in line and start >= 0:
            values = json.loads(line[start:])
            found[int(values["num_updates"])] = values["loss"]
    return found


@pytest.fixture(scope="module")
def uninterrupted(data, tmp_path_factory):
    return train(data, tmp_path_factory.mktemp("whole"))


def test_trains_and_reports_task_metrics(uninterrupted):
    assert sorted(losses(uninterrupted)) == list(range(1, 10))
    valid = [json.loads(line[line.find("{") :]) for line in uninterrupted.splitlines() if "| valid |" in line]
    assert {"valid_loss", "valid_score", "valid_color_understanding", "valid_visual_grounding"} <= set(valid[-1])


@pytest.mark.slow
def test_killed_run_continues_with_the_same_batches(data, uninterrupted, tmp_path):
    log = tmp_path / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            command(data, tmp_path), env=environment(), stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        deadline = time.monotonic() + 240
        while max(losses(log.read_text()), default=0) < 3 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)  # in the middle of an epoch, worker processes too
        process.wait()
    before = losses(log.read_text())
    assert before and max(before) < 9, "the run ended before it could be killed"
    after = losses(train(data, tmp_path))
    assert min(after) > 1, "the run started anew instead of resuming"
    whole = losses(uninterrupted)
    assert before | after == whole


@pytest.mark.slow
def test_result_does_not_depend_on_the_number_of_workers(data, uninterrupted, tmp_path):
    assert losses(train(data, tmp_path, "--num-workers", "0")) == losses(uninterrupted)


@pytest.mark.slow
def test_bad_option_is_one_line(data, tmp_path):
    done = subprocess.run(
        command(data, tmp_path, "--tasks", "visual_groundin"), env=environment(), capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "visual_grounding" in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
