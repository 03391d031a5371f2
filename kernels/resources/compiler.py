"""Compiling one configuration of a kernel, and reading the machine code."""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from ofa_mi.errors import ConfigError

from .. import dispatch

SHARED_MEMORY_LIMIT = {80: 163, 86: 99, 89: 99, 90: 227, 100: 227}  # KiB of a program, by compute capability
FORMATS = {torch.float16: "fp16", torch.bfloat16: "bf16", torch.float32: "fp32"}
FLOATS = ("scale", "keep_scale", "limit", "eps")  # of the kernels' numbers, the others are integers


class Configuration(NamedTuple):
    """A kernel as it is launched.

    Attributes:
        name: What tells it from the others.
        kernel: The ``@triton.jit`` function.
        signature: Type of every argument that is not a constant, such as ``*bf16`` or ``i32``.
        constants: Compile-time arguments, None for pointers that are not there.
        num_warps: Warps of a program.
        num_stages: Default number of loads in flight.
        aligned: Arguments, by name, that are multiples of 16.
    """

    name: str
    kernel: Any
    signature: dict[str, str]
    constants: dict[str, Any]
    num_warps: int
    num_stages: int
    aligned: frozenset[str]


def configuration(
    name: str,
    kernel: Any,
    dtype: torch.dtype,
    constants: Mapping[str, Any],
    pointers: Mapping[str, str],
    *,
    num_warps: int,
    num_stages: int,
) -> Configuration:
    """A configuration by the names of the kernel's arguments.

    Args:
        name: What tells it from the others.
        kernel: The ``@triton.jit`` function.
        dtype: Of the tensors.
        constants: Name -> compile-time argument, None for pointers that are not there; each kernel takes its own.
        pointers: Name -> element type where it is not that of ``dtype``.
        num_warps: Warps of a program.
        num_stages: Default number of loads in flight.
    """
    constants = {argument: value for argument, value in constants.items() if argument in kernel.arg_names}
    types = {n: "*" + pointers.get(n, FORMATS[dtype]) if n.endswith("_ptr") else "i32" for n in kernel.arg_names}
    types |= dict.fromkeys(FLOATS, "fp32")
    signature = {n: types[n] for n in kernel.arg_names if n not in constants}
    # Lengths are no multiples of 16 in the model: 1028 with patches of 480 pixels and 128 tokens.
    aligned = {n for n in signature if n.endswith("_ptr") or n.startswith("stride_") or n in ("head_dim", "channels")}
    return Configuration(name, kernel, signature, dict(constants), num_warps, num_stages, frozenset(aligned))


class Resources(NamedTuple):
    """What a configuration needs.

    Attributes:
        registers: Of a thread.
        local: Bytes of local memory of a thread: spilled registers.
        shared: Bytes of shared memory of a program.
        hgmma: Warp-group tensor-core instructions in the code.
        hmma: Tensor-core instructions of one warp.
        instructions: All instructions.
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
        ConfigError: Under ``TRITON_INTERPRET=1``, when there is nothing to compile.
    """
    if dispatch.interpreting():
        raise ConfigError("kernels are interpreted, not compiled: unset TRITON_INTERPRET")
    names = configuration.kernel.arg_names
    source = ASTSource(
        configuration.kernel,
        signature={name: configuration.signature.get(name, "constexpr") for name in names},
        constexprs={(names.index(name),): value for name, value in configuration.constants.items()},
        attrs={(names.index(name),): [["tt.divisibility", 16]] for name in configuration.aligned},
    )
    options = {"num_warps": configuration.num_warps, "num_stages": configuration.num_stages, "enable_fp_fusion": True}
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
