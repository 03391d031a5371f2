"""The benchmarks, at the smallest sizes: values before times, tables that can be continued, plots."""

import csv
import xml.etree.ElementTree as ElementTree

import pytest
import torch

from ofa_mi.kernels.benchmarks import attention, goals, measure, stem, step
from ofa_mi.kernels.benchmarks import run as runner
from ofa_mi.kernels.benchmarks.__main__ import main
from ofa_mi.kernels.benchmarks.table import Table

CPU = torch.device("cpu")
CEILINGS = {"tflops": 1.0, "gbps": 1.0}
HERE = {"device": "this one", "torch": "1", "triton": "2", "code": "abc", "date": "2026-01-01"}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """The smallest sizes, and the shortest measurements, as on a CPU."""
    monkeypatch.setattr(attention, "CPU_SIZES", [(2, 16, 2)])
    monkeypatch.setattr(stem, "CPU_SIZES", [(2, 32)])
    monkeypatch.setattr(step, "CPU_SIZES", [("ofa_nano", 2, 32)])
    monkeypatch.setattr(measure, "CPU_SECONDS", 0.0)
    monkeypatch.setattr(measure, "CPU_REPEATS", 1)


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", ["attention", "stem", "step"])
def test_a_benchmark_writes_its_table_and_its_plot(name, tmp_path, capsys):
    arguments = [name, "--out", str(tmp_path), "--device", "cpu", "--contenders", "ofa_mi,sdpa-math,sdpa-cudnn"]
    assert main(arguments) == 0
    assert "figures of a CPU" in capsys.readouterr().err
    table = rows(tmp_path / f"{name}-cpu.csv")
    assert {row["contender"] for row in table} >= {"eager", "ofa_mi"}
    for row in table:
        if row["contender"] == "sdpa-cudnn":
            assert row["note"] and not row["ms"]
        else:
            assert float(row["ms"]) > 0 and float(row["tflops"]) > 0 and 0 <= float(row["error"]) < 1e-3
        assert row["device"].endswith("(CPU)") and row["torch"] == torch.__version__ and row["date"]
    for path in {f"{name}-cpu-{row['pass'].replace(' ', '-')}.svg" for row in table}:
        assert "eager" in ElementTree.parse(tmp_path / path).getroot().find("{*}desc").text
    assert main(arguments) == 0  # everything is there
    assert rows(tmp_path / f"{name}-cpu.csv") == table and "contender" not in capsys.readouterr().err


@pytest.mark.parametrize("benchmark", [attention, stem, step])
def test_contenders_are_those_that_can_be_chosen(benchmark):
    assert tuple(next(benchmark.cases(CPU)).contenders()) == benchmark.CONTENDERS


class FakeCase:
    """A case whose contenders give the numbers that they are made with."""

    dtype = torch.float32
    pass_names = ("forward",)

    def __init__(self, **values):
        self.key = {"batch": 1}
        self.values = values
        self.calls = dict.fromkeys(values, 0)

    def passes(self):
        return {"forward": runner.Pass([torch.ones(3)], 1.0, 1.0)}

    def contenders(self):
        def make(name):
            def function():
                self.calls[name] += 1
                if isinstance(self.values[name], Exception):
                    raise self.values[name]
                return [torch.ones(3) * self.values[name]]

            return {"forward": function}

        return {name: lambda name=name: make(name) for name in self.values}


def measured(case, path, environment=HERE):
    table = Table(path, ("batch", "contender", "pass"), environment)
    runner.run(iter([case]), table, CEILINGS, CPU)
    return {row["contender"]: row for row in table.rows}


def test_wrong_values_are_not_timed_and_refusals_keep_their_reason(tmp_path):
    refusal = RuntimeError("not on this device\nand more")
    case = FakeCase(eager=1.01, close=0.98, wrong=1.04, nan=float("nan"), refuses=refusal)
    found = measured(case, tmp_path / "t.csv")
    assert found["close"]["ms"] and not found["close"]["note"]
    assert found["wrong"]["note"] == found["nan"]["note"] == "wrong values, not timed"
    assert case.calls["wrong"] == 1 and not found["wrong"]["ms"]
    assert found["refuses"]["note"] == "RuntimeError: not on this device"


def test_values_are_judged_even_where_plain_pytorch_refuses(tmp_path):
    case = FakeCase(eager=MemoryError("too large"), right=1.0, wrong=1.01)
    found = measured(case, tmp_path / "t.csv")
    assert found["right"]["ms"] and found["wrong"]["note"] == "wrong values, not timed"


def test_a_table_is_continued_and_measured_anew_with_other_code(tmp_path):
    path = tmp_path / "t.csv"
    measured(FakeCase(eager=1.0), path)
    case = FakeCase(eager=1.0, ours=1.0)
    assert set(measured(case, path)) == {"eager", "ours"}
    assert case.calls["eager"] == 1 and case.calls["ours"] > 1  # its values are needed, its time is there
    again = FakeCase(eager=1.0, ours=1.0)
    measured(again, path)
    assert set(again.calls.values()) == {0}
    measured(again, path, HERE | {"code": "def"})
    assert all(row["code"] == "def" for row in rows(path)) and min(again.calls.values()) > 1


def test_bad_input(tmp_path, capsys):
    (tmp_path / "attention-cpu.csv").write_text("something,else\n1,2\n")
    assert main(["attention", "--out", str(tmp_path), "--device", "cpu"]) == 2
    assert "is no table of this benchmark; remove it or choose another --out" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["atention"])
    assert "atention: there is no such benchmark; take attention, stem, step" in capsys.readouterr().err
    assert main(["stem", "--out", str(tmp_path), "--device", "cpu", "--contenders", "flash"]) == 2
    assert "--contenders flash: there are eager, ofa_mi, sdpa-efficient," in capsys.readouterr().err
    assert main(["stem", "--out", str(tmp_path), "--device", "tpu"]) == 2
    assert "--device tpu: take cpu or cuda" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(tmp_path, capsys):
    assert main(["stem", "--out", str(tmp_path), "--device", "cuda"]) == 2
    assert "--device cuda: PyTorch finds no GPU; take cpu" in capsys.readouterr().err


def attention_row(contender, *, ms, batch=16, length=1028, pass_name="forward and backward", tflops=300):
    key = {"batch": str(batch), "length": str(length), "heads": "12", "contender": contender, "pass": pass_name}
    return {**key, "ms": str(ms), "tflops": str(tflops), "device": "a GPU"}


def test_goals_are_held_against_the_worst_case_that_counts():
    rows = [
        attention_row("ofa_mi", ms=2),
        attention_row("flex", ms=4),
        attention_row("ofa_mi", ms=2, batch=1),
        attention_row("flex", ms=2.8, batch=1),
        attention_row("compile", ms=2.6),
        attention_row("ofa_mi", ms=1, pass_name="forward", tflops=360),
        attention_row("ofa_mi", ms=1, pass_name="forward", batch=4, tflops=100),  # too small to count
        attention_row("sdpa-efficient", ms=""),  # refused
    ]
    lines = {line[0]: line[2:] for line in goals.table({"attention": rows})}
    assert lines["attention forward, TFLOP/s at B >= 16, L = 1028"] == ("360", "batch 16, length 1028, heads 12", "yes")
    assert lines["attention with gradients, times FlexAttention"] == ("1.4", "batch 1, length 1028, heads 12", "no")
    assert lines["attention with gradients, times torch.compile"][2] == "yes"
    assert lines["attention with gradients, times SDPA mem-efficient"] == ("", "", "not measured")
    assert lines["stem for inference, times eager"][2] == "not measured"


def test_goals_of_the_stem_count_both_memory_formats(tmp_path, capsys):
    header = "batch,pixels,contender,pass,ms,tflops,device\n"
    text = "8,480,ofa_mi,inference,1,1,H\n8,480,eager,inference,4,1,H\n8,480,eager-last,inference,2.5,1,H\n"
    (tmp_path / "stem-h.csv").write_text(header + text)
    (tmp_path / "stem-cpu.csv").write_text(header + "8,480,ofa_mi,inference,1,1,C\n8,480,eager,inference,1,1,C\n")
    assert goals.main([str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "Measured on H;" in printed
    assert "| stem for inference, times eager | 3 | 2.5 | batch 8, pixels 480 | no |" in printed
