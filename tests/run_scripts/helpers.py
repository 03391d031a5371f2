"""Running a script of run_scripts/ as a user does."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

from tests.conftest import REPOSITORY

FOLDER = REPOSITORY / "run_scripts"
# Every script that stands for an experiment, as reproduce.sh calls them.
SCRIPTS = (
    "data/prepare.sh",
    "pretrain/small.sh",
    "finetune/multiinstruct.sh",
    "transfer/natural_instructions.sh",
    "transfer/mixed.sh",
    "transfer/sequential.sh",
    "transfer/task_name.sh",
    "evaluate/untuned.sh",
    "evaluate/zero_shot.sh",
    "evaluate/natural_instructions.sh",
    "evaluate/robustness.sh",
    "ablation/num_instructions.sh",
    "ablation/task_groups.sh",
    "ablation/presentations.sh",
    "analysis/attention.sh",
    "report.sh",
)
# Those of experiments beyond the paper, which reproduce.sh does not run.
BEYOND = ("beyond/instructions.sh",)
# The user's own settings must not change what the tests see.
KEPT = ("PATH", "HOME", "TMPDIR", "LANG", "OFA_MI_CACHE")


def run_script(name: str, cwd: str | Path = "/", **settings: object) -> subprocess.CompletedProcess:
    """Run a script with nothing but these settings."""
    environment = {key: os.environ[key] for key in KEPT if key in os.environ}
    environment |= {"OFA_MI_PYTHON": sys.executable, **{key: str(value) for key, value in settings.items()}}
    return subprocess.run(
        ["bash", str(FOLDER / name)], env=environment, capture_output=True, text=True, cwd=cwd, timeout=600
    )


def dry_run(name: str, **settings: object) -> list[list[str]]:
    """Words of each command that a script would run."""
    done = run_script(name, DRY_RUN=1, **settings)
    assert done.returncode == 0, done.stderr
    return [shlex.split(line) for line in done.stdout.splitlines()]


def printed_commands(name: str, profile: str, out: str | Path) -> str:
    """What a dry run prints on two GPUs or on a CPU with bf16, with `OUT` and `ROOT` for paths."""
    settings: dict = {"PRETRAIN_UPDATES": 5} if name == "pretrain/small.sh" else {}
    settings |= {"paper": {"GPUS": 2}, "cpu": {"SEEDS": 1, "PRECISION": "bf16"}}[profile]
    done = run_script(name, DRY_RUN=1, PROFILE=profile, OUT=out, **settings)
    assert done.returncode == 0, done.stderr
    return done.stdout.replace(str(out), "OUT").replace(str(REPOSITORY), "ROOT")


def error_of(name: str, **settings: object) -> str:
    """The one line that a script ends with."""
    done = run_script(name, **settings)
    assert done.returncode == 1 and done.stdout == ""
    (line,) = (line for line in done.stderr.splitlines() if "using that of" not in line)
    return line.removeprefix("[ofa-mi] error: ")


def option(command: list[str], name: str) -> str:
    """Value of an option; it must be given once."""
    assert command.count(name) == 1, f"{name} in {command}"
    return command[command.index(name) + 1]


def options(command: list[str], *names: str) -> dict[str, str]:
    """Values of several options."""
    return {name: option(command, name) for name in names}


if (
    __name__ == "__main__"
):  # python -m tests.run_scripts.helpers: write commands/*.txt again, after a change that is meant
    for profile in ("paper", "cpu"):
        lines = [f"# {name}\n{printed_commands(name, profile, '/OUTPUT')}" for name in (*SCRIPTS, *BEYOND)]
        (Path(__file__).parent / f"commands/{profile}.txt").write_text("".join(lines))
