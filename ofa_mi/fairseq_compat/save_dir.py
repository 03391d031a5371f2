"""``--save-dir``, the folder of a run's checkpoints: one run at a time, and the last checkpoint is the newest."""

import fcntl
import logging
import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ofa_mi import checkpoint
from ofa_mi.errors import CheckpointError, ConfigError
from ofa_mi.tensor_files import writing
from ofa_mi.utils.files import remove_abandoned

logger = logging.getLogger(__name__)

LAST = "checkpoint_last.pt"  # fairseq's default of --restore-file, which a first start may lack
LOCK = ".train.lock"
DAMAGED = ".damaged"  # what is added to the name of a last checkpoint that cannot be read
OLD_TEMPORARY = "checkpoint*.pt.tmp"  # of versions whose runs shared the names of their temporary files


@contextmanager
def owned(cfg: Any, last: str) -> Iterator[None]:
    """Let no other run write to ``--save-dir`` meanwhile, and put in order first what a killed run has left there.

    Args:
        cfg: fairseq's settings of a training, of its first process.
        last: Path of its last checkpoint.

    Raises:
        ConfigError: Another run writes to it, or it cannot be written.
        CheckpointError: An interrupted copy of a checkpoint cannot be completed.
    """
    folder = Path(cfg.checkpoint.save_dir)
    if cfg.checkpoint.no_save or "://" in cfg.checkpoint.save_dir:
        yield
        return
    file = _lock(folder)
    try:
        remove_abandoned(folder)
        for path in folder.glob(OLD_TEMPORARY):
            path.unlink(missing_ok=True)
        # A run whose every process saves its part has no single file that could be completed.
        sharded = cfg.distributed_training.ddp_backend == "fully_sharded" and cfg.distributed_training.use_sharded_state
        if not sharded and not cfg.checkpoint.no_last_checkpoints and cfg.checkpoint.restore_file == LAST:
            complete_last(Path(last), cfg.checkpoint.checkpoint_suffix or "")
        yield
    finally:
        (folder / LOCK).unlink(missing_ok=True)
        file.close()


def _lock(folder: Path) -> IO[str]:
    """The locked file, which is in its place. Processes that this one forks have no part in the lock.

    That is why it is none of :func:`ofa_mi.utils.files.lock`: data-loader workers outlive a killed run by seconds, in
    which it could not be started again.
    """
    path = folder / LOCK
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = path.open("a+")
        except OSError as error:
            raise ConfigError(f"--save-dir {folder}: cannot be written ({error.strerror})") from None
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = file.read().strip()
            file.close()
            raise ConfigError(
                f"--save-dir {folder}: another training writes its checkpoints there ({owner}); wait for it, or choose "
                "another --save-dir"
            ) from None
        except OSError:
            logger.warning("--save-dir %s: its file system has no locks; start no second run in it", folder)
        if os.fstat(file.fileno()).st_nlink:  # otherwise its last owner has removed it just now
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}")
            file.flush()
            return file
        file.close()


def complete_last(last: Path, suffix: str) -> None:
    """Make the newest checkpoint that can be read the last one.

    fairseq writes a checkpoint under its own name and copies it: a run killed in between leaves the last one old. One
    that cannot be read, after a power failure for instance, is put aside.

    Args:
        last: Path of the last checkpoint, which may not exist.
        suffix: ``--checkpoint-suffix``.

    Raises:
        CheckpointError: The copy cannot be written.
    """
    names = re.compile(rf"checkpoint(\d+|_\d+_\d+|_best|\.best_.+){re.escape(suffix)}\.pt")
    others = [path for path in last.parent.iterdir() if names.fullmatch(path.name) and path.is_file()]
    reached = -1
    if last.is_file():
        if (found := _updates(last)) is not None:
            reached, written = found, last.stat().st_mtime_ns
            others = [path for path in others if path.stat().st_mtime_ns > written]
        elif others:
            logger.warning("%s cannot be read", last)
    newer = [(updates, path) for path in others if (updates := _updates(path)) is not None and updates > reached]
    if not newer:
        return
    updates, newest = max(newer)
    logger.warning("%s is the newest whole checkpoint (after update %d): the run goes on from it", newest, updates)
    if last.is_file() and reached < 0:
        last.rename(last.with_name(last.name + DAMAGED))
    with writing(last) as file:
        shutil.copyfile(newest, file.name)


def _updates(path: Path) -> int | None:
    """Updates of the run that wrote a checkpoint; None if it cannot be read, or is none that a run can go on from."""
    try:
        state = checkpoint.read(path)
        if "train_iterator" not in state["extra_state"]:
            return None
        return int(state["optimizer_history"][-1]["num_updates"])
    except (CheckpointError, KeyError, IndexError, TypeError, ValueError):
        return None
