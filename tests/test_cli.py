"""The command line: its table, its exit statuses, training from released weights, and the checkpoint commands."""

import errno
import json
import logging
import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_REGISTRY
from torch._utils import ExceptionWrapper

import ofa_mi
from ofa_mi import checkpoint, cli
from ofa_mi.data.vocabulary import Vocabulary, build_compact
from ofa_mi.errors import CheckpointError, ConfigError, DataError, OfaMiError, root_error
from ofa_mi.fairseq_compat import errors


@pytest.fixture(autouse=True)
def quiet_logging():
    """`main` sets up logging for its process; put back what it found."""
    logger = logging.getLogger("ofa_mi")
    level = logger.level
    yield
    logger.setLevel(level)


@pytest.fixture
def fake_command(monkeypatch):
    """Let the command `score` do what the test sets as its `run`."""
    module = SimpleNamespace(HELP="help", add_arguments=lambda parser: parser.add_argument("--number", type=int))
    real = cli.importlib.import_module
    monkeypatch.setattr(
        cli.importlib, "import_module", lambda name: module if name == "ofa_mi.commands.score" else real(name)
    )
    return module


def test_version_and_overview(capsys, monkeypatch):
    with pytest.raises(SystemExit) as end:
        cli.main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"ofa-mi {ofa_mi.__version__}\n"
    monkeypatch.setattr(sys, "argv", ["ofa-mi"])
    for argv in (None, ["--help"]):
        with pytest.raises(SystemExit) as end:
            cli.main(argv)
        assert end.value.code == 0
        out = capsys.readouterr().out
        assert all(f"\n  {name} " in out for name in cli.COMMANDS)


@pytest.mark.parametrize("name", [name for name in cli.COMMANDS if name != "train"])
def test_every_command_explains_itself(name, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main([name, "--help"])
    assert end.value.code == 0
    assert f"usage: ofa-mi {name}" in capsys.readouterr().out


@pytest.mark.parametrize("argv", [["nonsense"], ["tasks", "--nonsense"], ["nonsense", "--help"]])
def test_unknown_command_or_option(argv, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(argv)
    assert end.value.code == cli.BAD_INPUT
    assert "nonsense" in capsys.readouterr().err


def test_exit_statuses(fake_command, capsys):
    def fail(error):
        raise error

    fake_command.run = lambda args: args.number
    assert cli.main(["score", "--number", "7"]) == 7
    fake_command.run = lambda args: fail(ConfigError("--number is odd"))
    assert cli.main(["score"]) == 2
    assert capsys.readouterr().err == "ofa-mi score: error: --number is odd\n"
    fake_command.run = lambda args: fail(KeyboardInterrupt())
    assert cli.main(["score"]) == 130
    fake_command.run = lambda args: fail(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):  # a bug keeps its traceback
        cli.main(["score"])


def test_the_error_below_fairseqs_wrapping_is_found():
    try:
        try:
            raise CheckpointError("a.pt: refused")
        except CheckpointError:
            raise Exception("Cannot load model parameters")  # noqa: B904 (as fairseq's trainer does)
    except Exception as error:
        assert str(root_error(error)) == "a.pt: refused"
    assert root_error(ValueError("a bug")) is None


def test_an_error_of_a_worker_process_is_its_one_line():
    try:
        raise DataError("train.jsonl:3: instance 'x': image is corrupt")
    except DataError:
        wrapped = ExceptionWrapper(where="in DataLoader worker process 0")
    with pytest.raises(OfaMiError) as error:
        wrapped.reraise()
    assert "Traceback" in str(error.value)
    assert str(root_error(error.value)) == "train.jsonl:3: instance 'x': image is corrupt"


def test_an_error_of_a_launched_process_is_its_one_line():
    """As torch.multiprocessing.spawn reports it, with fairseq's wrapping."""
    text = (
        "\n\n-- Process 0 terminated with the following error:\nTraceback (most recent call last):\n  File x\n"
        "ofa_mi.errors.CheckpointError: a.pt: refused\n\nDuring handling of the above exception, another exception "
        "occurred:\n\nTraceback (most recent call last):\n  File y\nException: Cannot load model parameters\n"
    )
    assert str(root_error(Exception(text))) == "a.pt: refused"
    image = text.replace("ofa_mi.errors.CheckpointError", "ofa_mi.instances.store.MissingImageError")
    assert str(root_error(RuntimeError(image))) == "a.pt: refused"
    assert root_error(Exception(text.replace("ofa_mi.errors.Check", "their.Check"))) is None


def test_a_file_that_the_system_refuses_is_one_line(fake_command, capsys, tmp_path):
    fake_command.run = lambda args: (tmp_path / "absent" / "x").write_text("")
    assert cli.main(["score"]) == 2
    assert capsys.readouterr().err == f"ofa-mi score: error: {tmp_path / 'absent' / 'x'}: No such file or directory\n"
    assert root_error(OSError("a bug")) is None
    full = OSError(errno.ENOSPC, "No space left on device")  # of a write, which knows no name
    assert str(root_error(full)) == "No space left on device; make room and run the command again"


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("/bin/fairseq-train", True),
        ("/lib/fairseq_cli/train.py", True),
        ("ofa-mi train", True),
        ("/bin/ofa-mi", False),
        ("/fairseq/run.py", False),
        ("", False),
    ],
)
def test_only_fairseqs_own_commands_lose_the_traceback(program, expected):
    assert errors.runs_fairseq(program) is expected


def test_a_traceback_is_for_bugs_only(monkeypatch, capsys):
    shown = []
    monkeypatch.setattr(sys, "excepthook", lambda *details: shown.append(details))
    monkeypatch.setattr(sys, "argv", ["/bin/fairseq-train"])
    errors.wrap_excepthook()
    sys.excepthook(ConfigError, ConfigError("--tasks is odd"), None)
    assert not shown and capsys.readouterr().err == "fairseq-train: error: --tasks is odd\n"
    sys.excepthook(ZeroDivisionError, ZeroDivisionError(), None)
    assert len(shown) == 1


def test_help_of_train_has_the_options_of_task_criterion_and_model(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", sys.argv)
    assert cli.main(["train", "--task", "multiinstruct", "--help"]) == 0
    out = capsys.readouterr().out
    assert {"--skip-bad-instances", "--label-smoothing", "--max-epoch"} <= set(out.split())
    assert "the middle of longer text is cut" in " ".join(out.split())


def test_train_fills_in_the_user_directory(capsys):
    for arguments in (["--user-dir", "x"], ["--user-dir=x"]):
        assert cli.main(["train", "data", *arguments]) == 2
        assert "--user-dir is filled in" in capsys.readouterr().err


@pytest.fixture(scope="module")
def bpe_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bpe")
    build_compact([" what colour is snow? is it white or green?"], folder)
    return folder


@pytest.fixture(scope="module")
def released(tmp_path_factory, bpe_dir):
    """A checkpoint of weights and OFA's settings only, as models are released."""
    dictionary = Vocabulary.load(bpe_dir).dictionary
    args = Namespace(arch="ofa_nano")
    ARCH_CONFIG_REGISTRY["ofa_nano"](args)
    task = SimpleNamespace(source_dictionary=dictionary, target_dictionary=dictionary)
    model = ARCH_MODEL_REGISTRY["ofa_nano"].build_model(args, task)
    path = tmp_path_factory.mktemp("released") / "ofa_nano.pt"
    torch.save({"model": model.state_dict(), "args": Namespace(**vars(args), task="refcoco")}, path)
    return path


def train_arguments(directory, bpe_dir, *extra):
    """Arguments of `ofa-mi train` for one update at a learning rate of 0 on 4 instances without images."""
    data = directory / "data"
    data.mkdir()
    for split, count in (("train", 4), ("valid", 2)):
        lines = (
            json.dumps(
                {"unique_id": str(i), "task_name": "easy_vqa", "question": "what colour?", "target_txt": "white"}
            )
            for i in range(count)
        )
        (data / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    return [
        *(str(data), "--task", "multiinstruct", "--arch", "ofa_nano", "--bpe-dir", str(bpe_dir), "--cpu"),
        *("--criterion", "adjust_label_smoothed_cross_entropy", "--batch-size", "4", "--patch-image-size", "64"),
        *("--optimizer", "adam", "--lr", "0", "--max-update", "1", "--save-dir", str(directory / "out")),
        *("--num-workers", "0", "--log-format", "simple", "--valid-metrics", "off", *extra),
    ]


@pytest.mark.parametrize(
    "options",
    [
        ("--restore-file", "{}", "--reset-optimizer", "--reset-dataloader", "--reset-meters", "--reset-lr-scheduler"),
        ("--restore-file", "{}"),
        ("--finetune-from-model", "{}"),
    ],
    ids=["restore-reset", "restore", "finetune"],
)
def test_training_starts_from_released_weights(tmp_path, monkeypatch, caplog, bpe_dir, released, options):
    monkeypatch.setattr(sys, "argv", [])
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.INFO)
    options = [option.format(released) for option in options]
    assert cli.main(["train", *train_arguments(tmp_path, bpe_dir, *options)]) == 0
    assert f"Loaded checkpoint {released} (epoch 1 @ 0 updates)" in caplog.text
    before, after = (checkpoint.read(path)["model"] for path in (released, tmp_path / "out" / "checkpoint_last.pt"))
    weights = [name for name in before if before[name].is_floating_point() and "running_" not in name]
    assert all(torch.equal(before[name], after[name]) for name in weights)
    assert checkpoint.load(tmp_path / "out" / "checkpoint_last.pt").task_config["patch_image_size"] == 64


def test_training_on_with_another_vocabulary_is_refused(tmp_path, monkeypatch, capsys, bpe_dir, released):
    """Its table would fit, or grow, and every row of it would stand for another token."""
    monkeypatch.setattr(sys, "argv", [])
    build_compact([" words of quite another vocabulary"], tmp_path / "other")
    own = tmp_path / "own.pt"
    checkpoint.save(checkpoint.portable(checkpoint.read(released), Vocabulary.load(bpe_dir)), own)
    assert cli.main(["train", *train_arguments(tmp_path, tmp_path / "other", "--restore-file", str(own))]) == 2
    assert "own.pt: was trained with another vocabulary" in capsys.readouterr().err


class Payload:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def test_training_from_a_malicious_file_ends_in_one_line(tmp_path, bpe_dir):
    """In a process of its own, from another directory, with nothing else on stderr: no warning of fairseq's."""
    marker = tmp_path / "ran"
    torch.save({"model": {}, "args": Namespace(payload=Payload(marker))}, tmp_path / "evil.pt")
    command = [sys.executable, "-m", "ofa_mi.cli", "train"]
    command += train_arguments(tmp_path, bpe_dir, "--restore-file", str(tmp_path / "evil.pt"))
    environment = {**os.environ, "PYTHONPATH": str(Path(ofa_mi.__file__).parents[1])}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 2
    assert not marker.exists()
    assert "fairseq_cli.train" in done.stdout and "tensorboardX" not in done.stdout and "DEBUG" not in done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"ofa-mi train: error: {tmp_path / 'evil.pt'}: refused")


def test_checkpoint_commands(tmp_path, bpe_dir, released, capsys):
    there = tmp_path / "ofa.safetensors"
    assert cli.main(["checkpoint", "convert", str(released), str(there), "--bpe-dir", str(bpe_dir)]) == 0
    assert cli.main(["checkpoint", "info", str(there)]) == 0
    out = capsys.readouterr().out
    assert "ofa_nano" in out and f"{len(Vocabulary.load(bpe_dir)):,} entries" in out
    assert checkpoint.load(there).vocabulary.key == Vocabulary.load(bpe_dir).key
    for wrong in (["convert", str(released), str(tmp_path / "a.zip")], ["info", str(tmp_path / "absent.pt")]):
        assert cli.main(["checkpoint", *wrong]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    build_compact([" other words of a vocabulary that does not fit"], tmp_path / "other")
    assert cli.main(["checkpoint", "convert", str(released), str(there), "--bpe-dir", str(tmp_path / "other")]) == 2
    assert "entries" in capsys.readouterr().err
