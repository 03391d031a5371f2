"""Runs of `ofa-mi train` within the test's process: a model of one layer, on instances without images."""

import copy
import json
import logging
import sys
from argparse import Namespace

import pytest
from fairseq import checkpoint_utils, options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf

from ofa_mi import cli
from ofa_mi.data.vocabulary import build_compact

ANSWERS = ("white", "light green", "white", "green as grass")  # of different lengths, so that targets are padded


@pytest.fixture(scope="package")
def bpe_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bpe")
    build_compact([" what colour is snow? is it white, light green, or green as grass?"], folder)
    return folder


@pytest.fixture(scope="package")
def data(tmp_path_factory):
    """16 instances to train on in batches of 4, and 4 to validate on."""
    return write_data(tmp_path_factory.mktemp("data"))


def write_data(folder, train=16):
    for split, count in (("train", train), ("valid", 4)):
        records = (
            {
                "unique_id": str(i),
                "task_name": "easy_vqa",
                "question": f"what colour is it? {'is it white? ' * (i % 3)}",
                "target_txt": ANSWERS[i % 4],
            }
            for i in range(count)
        )
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, records)) + "\n")
    return folder


@pytest.fixture
def run(data, bpe_dir, tmp_path, monkeypatch, capsys, caplog):
    """Call as `run(*options, save_dir=…, data=…)`; returns exit status, the last line of stderr, and the log."""
    loggers = {name: logging.getLogger(name).level for name in ("", "ofa_mi")}
    best = vars(checkpoint_utils.save_checkpoint)
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(sys, "argv", [])

    def start(*extra, save_dir=tmp_path / "out", data=data):
        best.pop("best", None)  # fairseq keeps it on the function, for the process
        caplog.clear()
        arguments = [
            *(str(data), "--task", "multiinstruct", "--arch", "ofa_nano", "--bpe-dir", str(bpe_dir), "--cpu"),
            *("--encoder-layers", "1", "--decoder-layers", "1", "--patch-image-size", "64", "--batch-size", "4"),
            *("--optimizer", "adam", "--lr", "1e-3", "--clip-norm", "1.0", "--save-dir", str(save_dir)),
            *("--num-workers", "0", "--log-format", "simple", "--no-epoch-checkpoints", "--valid-max-len", "2"),
            *extra,
        ]
        status = cli.main(["train", *arguments])
        return Namespace(status=status, error=capsys.readouterr().err.strip(), log=caplog.text, out=save_dir)

    yield start
    best.pop("best", None)
    for name, level in loggers.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture(scope="package")
def parsed(data):
    """fairseq's settings of a command line."""
    arguments = [str(data), "--task", "multiinstruct", "--arch", "ofa_nano", "--optimizer", "adam", "--batch-size", "4"]
    return convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_training_parser(), arguments))


@pytest.fixture
def settings(parsed):
    """A copy of these settings to change."""
    return copy.deepcopy(parsed)
