"""Progress of long work: a bar on a terminal, a few whole lines elsewhere."""

import io
import sys

import pytest
from fairseq.dataclass.configs import CommonConfig
from fairseq.logging import progress_bar as fairseq_progress
from tqdm import tqdm

from ofa_mi.utils import progress
from ofa_mi.utils.progress import INTERVAL, progress_bar
from tests.conftest import REPOSITORY


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still: a list of one number of seconds."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_file_gets_a_whole_line_for_every_tenth(clock, capsys):
    for _ in progress_bar(range(1000), desc="read", unit="lines"):
        clock[0] += 60
    lines = capsys.readouterr().err.split("\n")
    assert lines.pop() == ""  # the last one is complete, too
    assert [line.split(" after ")[0] for line in lines] == [
        f"read: {percent}% ({10 * percent}/1000 lines)" for percent in range(10, 101, 10)
    ]
    assert not any("\r" in line for line in lines)


def test_quick_work_writes_nothing_to_a_file(clock, capsys):
    with progress_bar(desc="read", total=100, unit="lines") as bar:
        bar.update(50)
        clock[0] = INTERVAL - 1
        bar.update(50)
    assert capsys.readouterr().err == ""


def test_lines_keep_a_distance_in_time(clock, capsys):
    with progress_bar(desc="unpack", total=100, unit="B", initial=10) as bar:
        for seconds, number in ((INTERVAL, 20), (INTERVAL + 5, 20), (2 * INTERVAL, 5), (2 * INTERVAL + 1, 45)):
            clock[0] = seconds
            bar.update(number)
    shown = [line.split(" after ")[0] for line in capsys.readouterr().err.splitlines()]
    assert shown == ["unpack: 30% (30/100B)", "unpack: 55% (55/100B)"]


def test_work_of_unknown_length_writes_ever_less(clock, capsys):
    with progress_bar(desc="read", unit="lines") as bar:
        for seconds in range(24 * 3600):
            clock[0] = seconds
            bar.update()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "read: 31 lines after 00:30" and len(lines) < 14


def test_a_terminal_gets_a_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert list(progress_bar(iter("abc"), desc="read", total=3, unit="lines")) == ["a", "b", "c"]
    assert "\r" in (shown := sys.stderr.getvalue()) and "3/3" in shown


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_nothing_is_shown_where_nothing_is_wanted(monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", stream())
    monkeypatch.setattr(progress, "INTERVAL", 0)
    bar = progress_bar(range(3), desc="read", unit="lines", show=False)
    assert isinstance(bar, tqdm) and list(bar) == [0, 1, 2] and sys.stderr.getvalue() == ""


def test_a_description_may_change(monkeypatch, capsys):
    monkeypatch.setattr(progress, "INTERVAL", 0)
    with progress_bar(desc="one", total=1, unit="answers") as bar:
        bar.set_description("two")
        bar.update()
    assert capsys.readouterr().err.startswith("two: 100% (1/1 answers) after ")


def test_training_draws_no_bar_into_a_file():
    """fairseq's own progress: without a terminal a line for every --log-interval batches, a hundred by default."""
    assert isinstance(fairseq_progress.progress_bar([]), fairseq_progress.SimpleProgressBar)
    assert CommonConfig().log_interval == 100


def test_all_progress_of_the_project_goes_this_way():
    """No module but this one draws bars of its own."""
    users = [
        path
        for folder in ("ofa_mi", "data_prep", "kernels", "run_scripts")
        for path in (REPOSITORY / folder).rglob("*.py")
        if "tqdm" in path.read_text(encoding="utf-8")
    ]
    assert users == [REPOSITORY / "ofa_mi" / "utils" / "progress.py"]
