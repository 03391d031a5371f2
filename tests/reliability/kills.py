"""Random kills of training, evaluation, building and downloading: each must end as if nothing had happened.

    python -m tests.reliability.kills --kills 100 --seed 1 --out docs/results/reliability

Each job is run once without a kill. Then it is started in a new folder, and its processes are killed with SIGKILL
at random moments, four times at most; it is started again each time, and at last left to finish. What the folder
then holds must be what the undisturbed one holds: checkpoints and losses equal in every bit, predictions, scores, built
data and downloads equal in every byte, and no temporary file may be left. The moments follow from the seed, what is
under way at a moment from the machine.

Jobs are forks of this process, so that a start takes no second; `ofa-mi train` is the command itself.
"""

import argparse
import contextlib
import csv
import hashlib
import json
import os
import random
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ofa_mi import checkpoint, cli
from ofa_mi.data.vocabulary import build_compact
from ofa_mi.data_prep.building import build as build_module
from ofa_mi.data_prep.building import shards
from ofa_mi.data_prep.building.build import BuildOptions, build
from ofa_mi.data_prep.download import transfer
from ofa_mi.evaluation.asking.plan import EvaluationOptions
from ofa_mi.evaluation.asking.run import evaluate
from tests.data_prep.building.test_build import Toys
from tests.data_prep.sources.raw_tree import Picture, write_raw
from tests.data_prep.web import Page, Web
from tests.evaluation.fake import FakePredictor, make_data
from tests.fairseq_compat.conftest import write_data

KILLS_PER_RUN = 4
DEADLINE = 300  # seconds after which a job counts as hanging
LEFTOVERS = ("*.tmp", "*.part", "*.part.json", ".train.lock")
BODY = random.Random(0).randbytes(1 << 20)
Outcome = dict[str, str]  # what is compared: name → digest of the content


@dataclass
class Job:
    """Something that is killed.

    Attributes:
        name: Its name in the table.
        work: Does it, in a folder; returns the exit status.
        outcome: What the folder holds in the end, from the folder and the log of each start.
        begun: Whether the work proper has begun, from the folder and the current log.
    """

    name: str
    work: Callable[[Path], int]
    outcome: Callable[[Path, list[Path]], Outcome]
    begun: Callable[[Path, Path], bool]


@dataclass
class Tally:
    """What became of a job."""

    kills: int = 0
    runs: int = 0
    failures: list[str] = field(default_factory=list)


# -- the jobs


def jobs(folder: Path, address: str) -> list[Job]:
    """The four jobs, their inputs made in ``folder``; ``address`` is where the download comes from."""
    return [training(folder), evaluation(folder), building(folder), downloading(address)]


def training(folder: Path) -> Job:
    """`ofa-mi train` over two epochs with validation, a data-loader worker, and a checkpoint every second update."""
    data, bpe_dir = folder / "instances", folder / "bpe"
    data.mkdir()
    write_data(data, train=24)
    build_compact([" what colour is snow? is it white, light green, or green as grass?"], bpe_dir)

    def work(out: Path) -> int:
        return cli.main(
            [
                *("train", str(data), "--task", "multiinstruct", "--arch", "ofa_nano", "--bpe-dir", str(bpe_dir)),
                *("--encoder-layers", "1", "--decoder-layers", "1", "--patch-image-size", "64", "--batch-size", "4"),
                *("--optimizer", "adam", "--lr", "1e-3", "--clip-norm", "1.0", "--save-dir", str(out), "--cpu"),
                *("--num-workers", "1", "--log-format", "json", "--log-interval", "1", "--valid-max-len", "2"),
                *(
                    "--max-epoch",
                    "2",
                    "--save-interval-updates",
                    "2",
                    "--keep-interval-updates",
                    "2",
                    "--dropout",
                    "0.1",
                ),
            ]
        )

    def outcome(out: Path, logs: list[Path]) -> Outcome:
        state = checkpoint.read(out / "checkpoint_last.pt")
        found = {f"weights {name}": digest(weight) for name, weight in state["model"].items()}
        for number, values in state["last_optimizer_state"]["state"].items():
            found |= {f"optimizer {number} {name}": digest(value) for name, value in values.items()}
        for log in logs:
            for line in log.read_text().splitlines():
                if "| train_inner |" in line and line.endswith("}"):
                    values = json.loads(line[line.index("{") :])
                    loss = found.setdefault(f"loss {values['num_updates']}", values["loss"])
                    if loss != values["loss"]:  # two starts disagree about the same update
                        found[f"loss {values['num_updates']}"] = f"{loss} and {values['loss']}"
        return found

    return Job("training", work, outcome, lambda out, log: "Start iterating over samples" in log.read_text())


def evaluation(folder: Path) -> Job:
    """An evaluation, batch by batch, and its scores."""
    data = make_data(folder / "questions", per_task=12)

    class Slow(FakePredictor):
        def predict(self, queries, mode):
            time.sleep(0.02)
            return super().predict(queries, mode)

    def work(out: Path) -> int:
        evaluate(Slow(), [data], out, EvaluationOptions(tasks=("all",), batch_size=4), progress=False)
        return 0

    return Job("evaluation", work, files, lambda out, log: (out / "predictions.jsonl").exists())


def building(folder: Path) -> Job:
    """A build of two worker processes that copies its images."""
    number = 120
    records = [{"id": n, "caption": f"toy {n}"} for n in range(number)]
    pictures = {f"toys/photos/{n}.png": Picture(30 + n, 20) for n in range(number)}
    raw = write_raw(folder / "raw", {"toys/toys.json": records, **pictures})

    class Slow(Toys):
        def convert(self, unit):
            time.sleep(0.005)
            return super().convert(unit)

    def work(out: Path) -> int:
        build_module.all_sources = lambda: {"toys": Slow}
        shards.CHUNK, build_module.IMAGE_CHUNK = 7, 4
        copy = build_module.copy_atomic

        def slow_copy(*args, **named):
            time.sleep(0.005)
            copy(*args, **named)

        build_module.copy_atomic = slow_copy
        build(raw, out, BuildOptions(workers=2, copy_images=True))
        return 0

    return Job("building", work, files, lambda out, log: (out / "manifest.json").exists())


def downloading(address: str) -> Job:
    """A download of a megabyte whose checksum is known."""
    expected = transfer.Expected(size=len(BODY), sha256=hashlib.sha256(BODY).hexdigest())

    def work(out: Path) -> int:
        write = transfer._Part.write

        def slow_write(self, data):
            time.sleep(0.003)
            write(self, data)

        transfer.CHUNK, transfer._Part.write = 1 << 12, slow_write
        transfer.fetch(address, out / "file.bin", expected=expected)
        return 0

    return Job("downloading", work, files, lambda out, log: (out / ".file.bin.part").exists())


def files(out: Path, logs: list[Path]) -> Outcome:
    """Every file of a folder."""
    return {str(path.relative_to(out)): digest(path.read_bytes()) for path in out.rglob("*") if path.is_file()}


def digest(value: torch.Tensor | bytes | float) -> str:
    """Of every bit of a value."""
    if isinstance(value, torch.Tensor):
        value = value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return hashlib.sha256(value).hexdigest() if isinstance(value, bytes) else repr(value)


# -- killing


def start(job: Job, out: Path, log: Path) -> int:
    """Start a job in a process, and a process group, of its own; the number of the process."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        # As the child does: whoever comes first, a kill finds the group from the beginning.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.setpgid(child, child)
        return child
    status = 1
    with contextlib.suppress(BaseException):
        os.setpgid(0, 0)
        number = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(number, 1)
        os.dup2(number, 2)
        sys.argv = ["ofa-mi"]
        try:
            status = job.work(out)
        except BaseException as error:
            print(repr(error), file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def wait(child: int, until: Callable[[], bool], seconds: float = DEADLINE) -> int | None:
    """Wait for the end of a process; its exit status, or None if ``until`` came first, or the seconds have passed."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if until():
            return None
        time.sleep(0.002)
    return None


def kill(child: int) -> None:
    """Kill a process and all that it started, for good."""
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)


def undisturbed(job: Job, folder: Path) -> tuple[Outcome, float]:
    """What a job makes, and how many seconds it works once it has begun."""
    log, out = folder / "log", folder / "out"
    log.touch()
    child = start(job, out, log)
    status = wait(child, lambda: job.begun(out, log))
    begun = time.monotonic()
    if status is None:
        status = wait(child, lambda: False)
    if status != 0:
        raise SystemExit(f"{job.name} fails by itself (status {status}):\n{log.read_text()[-2000:]}")
    return job.outcome(out, [log]), time.monotonic() - begun


def disturbed(job: Job, folder: Path, kills: int, seconds: float, rng: random.Random, tally: Tally) -> Outcome | None:
    """Kill a job so many times, then let it finish; what it makes, or None if it failed, which the tally then says."""
    out, logs = folder / "out", []
    while True:
        log = folder / f"log{len(logs)}"
        log.touch()
        logs.append(log)
        child = start(job, out, log)
        if len(logs) <= kills:
            # One kill in five falls anywhere, into the start for instance; the others into the work proper.
            anywhere, moment = rng.random() < 0.2, rng.random() * seconds
            status = None if anywhere else wait(child, lambda log=log: job.begun(out, log))
            if status is None:
                status = wait(child, lambda: False, moment)
            if status is None:
                kill(child)
                tally.kills += 1
                continue
        else:
            status = wait(child, lambda: False)
        if status is None:
            kill(child)
        if status != 0:
            text = re.sub(r"\s+", " ", log.read_text()[-500:])
            tally.failures.append(f"start {len(logs)} ended with {'a hang' if status is None else status}: {text}")
            return None
        return job.outcome(out, logs)


def compare(expected: Outcome, found: Outcome, folder: Path, tally: Tally) -> None:
    """Add to the tally what differs, and what should not be there."""
    differing = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
    if differing:
        tally.failures.append(f"{len(differing)} of {len(expected)} differ, such as {differing[0]}")
    left = sorted(path.name for pattern in LEFTOVERS for path in folder.rglob(pattern))
    if left:
        tally.failures.append(f"left behind: {', '.join(left)}")


def run(job: Job, kills: int, seed: int, folder: Path) -> Tally:
    """Kill a job ``kills`` times in all."""
    rng, tally = random.Random(f"{seed} {job.name}"), Tally()
    (folder / "undisturbed").mkdir(parents=True)
    expected, seconds = undisturbed(job, folder / "undisturbed")
    while tally.kills < kills and tally.runs < 3 * kills:
        tally.runs += 1
        place = folder / str(tally.runs)
        place.mkdir()
        times = min(rng.randint(1, KILLS_PER_RUN), kills - tally.kills)
        found = disturbed(job, place, times, seconds, rng, tally)
        if found is not None:
            compare(expected, found, place / "out", tally)
    return tally


def serve() -> tuple[str, int]:
    """A web server in a process of its own; the address of the download, and the number of the process."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # it complains of every connection that a kill breaks
        web = Web()
        web.pages["/file.bin"] = Page(BODY)
        os.write(writing, web.url("/file.bin").encode())
        os.close(writing)
        signal.pause()
    os.close(writing)
    with os.fdopen(reading) as file:
        return file.read(), child


def shares(kills: int, number: int) -> list[int]:
    """``kills`` dealt to so many jobs."""
    return [kills // number + (place < kills % number) for place in range(number)]


def main() -> int:
    """Run all jobs; 1 if anything differed."""
    parser = argparse.ArgumentParser(description="kill training, evaluation, building and downloading at random")
    parser.add_argument("--kills", type=int, default=100, help="kills in all (100)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the moments (1)")
    parser.add_argument("--out", type=Path, help="folder to write kills.csv to")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        os.environ.pop(name, None)
    address, server = serve()
    rows = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            found = jobs(Path(folder), address)
            for job, kills in zip(found, shares(args.kills, len(found)), strict=True):
                tally = run(job, kills, args.seed, Path(folder, job.name))
                rows.append((job.name, tally.kills, tally.runs, len(tally.failures)))
                print(
                    f"{job.name}: {tally.kills} kills in {tally.runs} runs, {len(tally.failures)} failures", flush=True
                )
                print(*(f"  {failure}" for failure in tally.failures), sep="\n", end="")
    finally:
        os.kill(server, signal.SIGKILL)
        os.waitpid(server, 0)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        with (args.out / "kills.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("job", "kills", "runs", "failures", "seed"))
            writer.writerows((*row, args.seed) for row in rows)
    return int(any(failures for *_, failures in rows))


if __name__ == "__main__":
    sys.exit(main())
