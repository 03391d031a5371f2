"""What processes have imported that have done one thing each, from a list of JSON on standard input.

    echo '[["ofa-mi", "lint"], ["import", "ofa_mi", "fairseq"]]' | python tests/fresh.py [MODULE …]

A thing is a command line of ofa-mi, modules to import one after the other, or `["user-dir", DIR]`, which is fairseq's
way to import a folder. Each is done in a fork of this process, which has imported the MODULEs and a little of Python's
own library, so that they are paid for once. Printed is the :func:`state` of each fork, and what it wrote on standard
error.
"""

import argparse
import importlib
import json
import logging
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence

REGISTRIES = {
    "fairseq.tasks": "TASK_REGISTRY",
    "fairseq.criterions": "CRITERION_REGISTRY",
    "fairseq.models": "ARCH_MODEL_REGISTRY",
    "fairseq.optim.lr_scheduler": "LR_SCHEDULER_REGISTRY",
}


def do(kind: str, *arguments: str) -> None:
    """Do one thing."""
    if kind == "ofa-mi":
        status = importlib.import_module("ofa_mi.cli").main(arguments)
        assert status == 0, f"exit status {status}"
    elif kind == "user-dir":
        utils = importlib.import_module("fairseq.utils")
        utils.import_user_module(argparse.Namespace(user_dir=arguments[0]))
    else:
        for name in arguments:
            importlib.import_module(name)


def state() -> dict:
    """What this process has imported and registered with fairseq, and what became of the root logger."""
    registries = [vars(sys.modules[module])[name] for module, name in REGISTRIES.items() if module in sys.modules]
    return {
        "modules": sorted(sys.modules),
        "registered": sorted(name for registry in registries for name in registry),
        "level": logging.getLogger().level,
        "handlers": len(logging.getLogger().handlers),
    }


def in_a_fork(thing: Sequence[str]) -> dict:
    """Do one thing in a fork; its :func:`state` afterwards, and as ``stderr`` what it wrote there."""
    with tempfile.TemporaryFile() as result, tempfile.TemporaryFile() as stderr:
        child = os.fork()
        if child == 0:
            os.dup2(stderr.fileno(), 2)
            os.dup2(stderr.fileno(), 1)  # what a command prints does not matter here
            try:
                try:
                    do(*thing)
                except SystemExit as end:  # --help
                    assert not end.code, f"exit status {end.code}"
                result.write(json.dumps(state()).encode())
                result.flush()
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(0)
        os.waitpid(child, 0)
        result.seek(0)
        stderr.seek(0)
        written = stderr.read().decode()
        content = result.read()
    if not content:
        raise RuntimeError(f"{thing}:\n{written}")
    return {**json.loads(content), "stderr": written}


if __name__ == "__main__":
    for module in sys.argv[1:]:
        importlib.import_module(module)
    print(json.dumps([in_a_fork(thing) for thing in json.load(sys.stdin)]))
