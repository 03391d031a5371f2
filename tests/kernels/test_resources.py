"""What the kernels compile to for Hopper, which needs no GPU."""

import os
import re
import subprocess
import sys

import pytest

from ofa_mi.errors import ConfigError

pytest.importorskip("triton")
pytestmark = pytest.mark.timeout(900)  # a second or two for each of 60 compilations, more on a busy machine

SHARED_KIB = 227  # of a program on Hopper


def compiled(*arguments: str) -> dict[str, list[float]]:
    """Name of a configuration -> registers, spilled bytes, shared KiB, HGMMA, HMMA, instructions.

    In a process of its own: here the kernels are interpreted.
    """
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "ofa_mi.kernels.resources", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines()[2:]]
    return {name: [float(figure) for figure in figures] for name, *figures in rows}


@pytest.fixture(scope="module")
def table() -> dict[str, list[float]]:
    return compiled()


def check_fit(table):
    for name, (_, spilled, shared, *_) in table.items():
        assert spilled == 0, f"{name} spills {spilled} bytes"
        assert shared <= SHARED_KIB, f"{name} needs {shared} KiB"


def test_a_kernel_fits():
    table = compiled("stem affine_gradient")
    assert len(table) == 3
    check_fit(table)


@pytest.mark.slow
def test_every_configuration_fits(table):
    assert len(table) > 50
    check_fit(table)


@pytest.mark.slow
def test_every_16_bit_product_runs_on_tensor_cores(table):
    without_product = r"^stem (pool|affine_gradient|convolution_gradient) "
    sixteen = {
        n: figures for n, figures in table.items() if re.search("fp16|bf16", n) and not re.search(without_product, n)
    }
    assert sixteen
    for name, (*_, hgmma, hmma, _) in sixteen.items():
        small = re.search(
            r"(forward|d_q|d_bias|fused|convolve) .* (16|32)x", name
        )  # tiles of fewer rows than a warp group takes
        assert hmma > 0 if small else hgmma > 0, name


def test_an_interpreted_kernel_cannot_be_compiled(monkeypatch):
    from ofa_mi.kernels.resources.compiler import compile_for

    monkeypatch.setenv("TRITON_INTERPRET", "1")
    with pytest.raises(ConfigError, match="unset TRITON_INTERPRET"):
        compile_for(None)
