"""Which precisions a device has."""

import pytest
import torch

from ofa_mi import precision
from ofa_mi.errors import ConfigError

CPU = torch.device("cpu")


def test_what_a_device_lacks_is_one_line(monkeypatch):
    precision.check_precision("fp32", CPU, "--precision fp32")
    with pytest.raises(ConfigError, match=r"^--precision fp16 needs a GPU; on a CPU take bf16"):
        precision.check_precision("fp16", CPU, "--precision fp16")
    with pytest.raises(ConfigError, match=r"^--precision int8: must be one of fp32, bf16, fp16"):
        precision.check_precision("int8", CPU, "--precision int8")
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: False)
    with pytest.raises(ConfigError, match=r"^--bf16: this processor does not compute in bf16"):
        precision.check_precision("bf16", CPU, "--bf16")
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: True)
    precision.check_precision("bf16", CPU, "--bf16")


@pytest.mark.parametrize("instructions", [("avx512_bf16",), ("amx_bf16",), ("bf16",), ("avx512_f",), ()])
def test_a_processor_has_bf16_by_its_instructions(monkeypatch, instructions):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(instructions, True), raising=False)
    assert precision.cpu_has_bf16() == any("bf16" in name for name in instructions)


def test_autocast_is_for_the_precision():
    layer, x = torch.nn.Linear(4, 4), torch.randn(2, 4)
    with precision.autocast("bf16", CPU):
        assert layer(x).dtype == torch.bfloat16
    with precision.autocast("fp32", CPU):
        assert layer(x).dtype == torch.float32
