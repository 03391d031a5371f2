"""What a process imports before its own work begins, and when the package registers with fairseq."""

import importlib
import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec

import pytest

from ofa_mi import plugin
from ofa_mi.cli import COMMANDS
from ofa_mi.commands.data import SUBCOMMANDS
from tests.conftest import REPOSITORY
from tests.data_prep.sources.examples import example_raw
from tests.evaluation.fake_study import write_run

# What a model needs and nothing else may import.
OF_A_MODEL = {"torch", "torchvision", "timm", "triton", "fairseq", "fairscale", "omegaconf", "hydra", "safetensors"}
# What takes long to import and is imported where it is used.
SLOW = {"scipy", "sklearn", "matplotlib", "nltk", "rouge_score", "sacrebleu", "pandas"}


def in_fresh_processes(things, *imported):
    """The state of a process after each thing, all forked from one that has imported some modules (`fresh`)."""
    command = [sys.executable, "-P", str(REPOSITORY / "tests" / "fresh.py"), *imported]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        command, input=json.dumps(things), env=environment, capture_output=True, text=True, timeout=250
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(map(tuple, things), json.loads(done.stdout), strict=True))


def forbidden(states, names):
    """What some processes have imported of what they must not."""
    found = {
        thing: sorted(names & {name.split(".")[0] for name in state["modules"]}) for thing, state in states.items()
    }
    return {thing: names for thing, names in found.items() if names}


# -- commands without a model


def test_no_help_page_imports_a_model():
    """`train --help` excepted, which shows fairseq's own options."""
    commands = [[name] for name in COMMANDS if name != "train"] + [["data", name] for name in SUBCOMMANDS]
    commands.append(["instructions", "augment"])
    states = in_fresh_processes([["ofa-mi", *command, "--help"] for command in [[], *commands]])
    assert forbidden(states, OF_A_MODEL | SLOW) == {}


def test_no_command_without_a_model_imports_one(tmp_path):
    """From the first import to the last line written."""
    runs = [str(write_run(tmp_path / name, tmp_path, name, per_task=2, instructions=2)) for name in ("OFA", "TaskName")]
    scenes, texts = str(tmp_path / "scenes"), str(tmp_path / "texts")
    raw = str(example_raw("nlvr", tmp_path / "raw"))
    numbers = ["--train-scenes", "3", "--valid-scenes", "2", "--test-scenes", "2"]
    commands = (
        ["tasks"],
        ["lint"],
        ["instructions", "augment", "--per-task", "1", "--tasks", "image_captioning", "--out", str(tmp_path / "more")],
        ["data", "download", "--list"],
        ["data", "scenes", "--out", scenes, "--workers", "2", *numbers],
        ["data", "text-tasks", "--out", texts, "--instances", "2"],
        ["data", "natural-instructions", "--raw", texts, "--out", str(tmp_path / "ni"), "--workers", "2"],
        ["data", "check", scenes, "--out", str(tmp_path / "card")],
        ["vocabulary", scenes, "--out", str(tmp_path / "vocabulary")],
        ["data", "build", "--raw", raw, "--out", str(tmp_path / "built"), "--sources", "nlvr"],
        ["score", *runs],
        ["compare", runs[0], runs[0]],
        ["report", *runs, "--out", str(tmp_path / "report")],
    )
    states = in_fresh_processes([["ofa-mi", *command] for command in commands])
    assert forbidden(states, OF_A_MODEL) == {}


def test_nothing_slow_is_imported_before_it_is_used():
    """What commands without a model import before they begin, and every worker process of theirs that is spawned."""
    imports = ("imports.easy_vqa", "imports.natural_instructions", "imports.release", "imports.text_tasks")
    data = ("building.build", "download.downloading", *imports, "scenes")
    evaluation = ("report", "scoring.comparison", "scoring.scores", "scoring.tables")
    modules = [*(f"ofa_mi.data_prep.{name}" for name in data), *(f"ofa_mi.evaluation.{name}" for name in evaluation)]
    states = in_fresh_processes([["import", name] for name in modules])
    assert forbidden(states, OF_A_MODEL | SLOW) == {}


# -- registration


def modules_that_import_fairseq():
    """Import names of our modules that import fairseq when they are imported."""
    pattern = re.compile(r"^(from|import) fairseq\b", re.MULTILINE)
    for folder, prefix in ((REPOSITORY / "ofa_mi", "ofa_mi"), (REPOSITORY / "kernels", "ofa_mi.kernels")):
        for path in sorted(folder.rglob("*.py")):
            if pattern.search(path.read_text(encoding="utf-8")):
                yield ".".join((prefix, *path.relative_to(folder).with_suffix("").parts)).removesuffix(".__init__")


@pytest.mark.slow
def test_everything_is_registered_whatever_is_imported_first():
    """A user directory, a script in either order, and each of our modules as the first one that needs fairseq."""
    own = list(modules_that_import_fairseq())
    assert "ofa_mi.data.dataset" in own
    things = [
        ["user-dir", str(REPOSITORY / "ofa_mi")],
        ["import", "fairseq", "ofa_mi"],
        ["import", "ofa_mi", "fairseq.tasks"],
        ["import", "ofa_mi.checkpoint", "fairseq"],
        ["import", "ofa_mi.fairseq_compat", "fairseq.trainer"],
        *(["import", name] for name in own),
    ]
    heavy = ("torch", "timm.models.resnet", "torchvision", "omegaconf", "hydra.experimental", "sacrebleu", "sklearn")
    names = {"multiinstruct", "adjust_label_smoothed_cross_entropy", "ofa_base", "linear_decay"}
    for thing, state in in_fresh_processes(things, *heavy).items():
        assert names <= set(state["registered"]), thing
        if thing[1].startswith("ofa_mi"):  # otherwise fairseq has come alone and in its own way
            assert (state["stderr"], state["level"], state["handlers"]) == ("", 30, 0), thing


@pytest.fixture
def registered(tmp_path, monkeypatch):
    """A list that grows with every registration, and a module `stand_in` for fairseq."""
    (tmp_path / "stand_in.py").write_text("executed = True")
    monkeypatch.syspath_prepend(tmp_path)
    others = [finder for finder in sys.meta_path if not isinstance(finder, plugin.FairseqFinder)]
    monkeypatch.setattr(sys, "meta_path", others)
    monkeypatch.setattr(plugin, "FAIRSEQ", "stand_in")
    found = []
    monkeypatch.setattr(plugin, "register", lambda: found.append(vars(sys.modules["stand_in"])["executed"]))
    yield found
    sys.modules.pop("stand_in", None)


def test_registration_is_the_end_of_the_import(registered, tmp_path):
    """Looking for fairseq, as programs do to see what is installed, is no import."""
    before = sys.meta_path[:]
    plugin.install()
    assert find_spec("stand_in").origin == str(tmp_path / "stand_in.py") and find_spec("stand_in_2") is None
    assert registered == []
    importlib.import_module("stand_in")
    assert registered == [True] and sys.meta_path == before
    plugin.install()
    assert registered == [True, True] and sys.meta_path == before, "it is there already"


def test_two_copies_in_one_process_both_register(registered):
    plugin.install()
    plugin.install()
    importlib.import_module("stand_in")
    assert registered == [True, True]


def test_a_mere_folder_of_that_name_is_no_fairseq(registered, tmp_path):
    """Such as a clone of its repository that nobody has installed."""
    (tmp_path / "stand_in.py").unlink()
    (tmp_path / "stand_in").mkdir()
    plugin.install()
    assert importlib.import_module("stand_in").__file__ is None
    assert registered == []
