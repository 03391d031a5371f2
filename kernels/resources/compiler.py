"""What the Triton kernels compile to, for a GPU that need not be there.

    python -m ofa_mi.kernels.resources                 # everything that ships, for Hopper
    python -m ofa_mi.kernels.resources forward --arch 80

For every kernel and configuration: registers and local memory (spills) of a thread, shared memory of a program, and the
number of tensor-core instructions: HGMMA, Hopper's asynchronous ones, need tiles of 64 rows; smaller ones take HMMA.
Tile sizes are chosen by these figures where no GPU can measure them.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from ofa_mi.errors import ConfigError

from . import switch

SHARED_MEMORY_LIMIT = {80: 163, 86: 99, 89: 99, 90: 227, 100: 227}  # KiB of a program, by compute capability


class Configuration(NamedTuple):
    """A kernel as it is launched.

    Attributes:
        name: what tells it from the others.
        kernel: the ``@triton.jit`` function.
        signature: type of every argument that is not a constant, such as ``*bf16`` or ``i32``.
        constants: compile-time arguments, None for pointers that are not there.
        warps: warps of a program.
        stages: default number of loads in flight.
        aligned: arguments, by name, that are multiples of 16.
    """

    name: str
    kernel: Any
    signature: dict[str, str]
    constants: dict[str, Any]
    warps: int
    stages: int
    aligned: frozenset[str]


class Resources(NamedTuple):
    """What a configuration needs.

    Attributes:
        registers: of a thread.
        local: bytes of local memory of a thread: spilled registers.
        shared: bytes of shared memory of a program.
        hgmma: warp-group tensor-core instructions in the code.
        hmma: tensor-core instructions of one warp.
        instructions: all instructions.
    """

    registers: int
    local: int
    shared: int
    hgmma: int
    hmma: int
    instructions: int


def compile_for(configuration: Configuration, arch: int = 90) -> Resources:
    """Compile for compute capability ``arch`` (90: Hopper) and read the machine code.

    Raises:
        ConfigError: under ``TRITON_INTERPRET=1``, when there is nothing to compile.
    """
    if switch.interpreting():
        raise ConfigError("kernels are interpreted, not compiled: unset TRITON_INTERPRET")
    names = configuration.kernel.arg_names
    source = ASTSource(
        configuration.kernel,
        signature={name: configuration.signature.get(name, "constexpr") for name in names},
        constexprs={(names.index(name),): value for name, value in configuration.constants.items()},
        attrs={(names.index(name),): [["tt.divisibility", 16]] for name in configuration.aligned},
    )
    options = {"num_warps": configuration.warps, "num_stages": configuration.stages, "enable_fp_fusion": True}
    compiled = triton.compile(source, target=GPUTarget("cuda", arch, 32), options=options)
    with TemporaryDirectory() as folder:
        cubin = Path(folder) / "kernel.cubin"
        cubin.write_bytes(compiled.asm["cubin"])
        usage = _tool("cuobjdump", "-res-usage", cubin)
        code = _tool("nvdisasm", "-c", cubin)
    registers, local = (int(re.search(rf"\b{name}:(\d+)", usage).group(1)) for name in ("REG", "LOCAL"))
    stack = int(re.search(r"\bSTACK:(\d+)", usage).group(1))
    instructions = re.findall(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?(\w+)", code, re.MULTILINE)
    tensor_core = (instructions.count("HGMMA"), instructions.count("HMMA"))
    return Resources(registers, local + stack, compiled.metadata.shared, *tensor_core, len(instructions))


def _tool(name: str, *arguments) -> str:
    path = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / name
    return subprocess.run([path, *arguments], check=True, capture_output=True, text=True).stdout


def shipped() -> Iterator[Configuration]:
    """Every configuration that the operations choose for the head widths and formats that they support."""
    from .attention import catalogue as attention
    from .position_bias import catalogue as position_bias
    from .resnet_stem import catalogue as resnet_stem

    yield from attention.configurations()
    yield from position_bias.configurations()
    yield from resnet_stem.configurations()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ofa_mi.kernels.resources", description=__doc__.split("\n")[0])
    parser.add_argument("filter", nargs="?", default="", help="only configurations with this in their name")
    parser.add_argument("--arch", type=int, default=90, choices=sorted(SHARED_MEMORY_LIMIT), help="compute capability")
    options = parser.parse_args(arguments)
    print(
        f"| configuration (sm_{options.arch}) | registers | spilled bytes | shared KiB | HGMMA | HMMA | instructions |"
    )
    print("|---|---|---|---|---|---|---|")
    for configuration in shipped():
        if options.filter in configuration.name:
            found = compile_for(configuration, options.arch)._asdict()
            figures = [f"{value / 1024:.1f}" if name == "shared" else str(value) for name, value in found.items()]
            print(f"| {configuration.name} | {' | '.join(figures)} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
