"""The command line: its table, its exit statuses, and errors that become one line."""

import errno
import sys
from types import SimpleNamespace

import pytest
from torch._utils import ExceptionWrapper

import ofa_mi
from ofa_mi import cli
from ofa_mi.errors import CheckpointError, ConfigError, DataError, OfaMiError, root_error
from ofa_mi.fairseq_compat import errors


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
