"""Files of tensors: read without running what they may bring, mapped instead of copied, and written as a whole.

Tensors stay in the file, and in its precision, until they are used: `torch.load` and safetensors map it. Writing takes
them from there one at a time, so that a checkpoint of gigabytes is never in memory as a whole.
"""

import json
import pickle
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import safetensors
import torch
from torch import Tensor

from ofa_mi.errors import CheckpointError, shown
from ofa_mi.utils.files import replacing

MOST_BYTES = 8  # of all tensors together, for each byte of the file: tied ones count several times
SAFETENSORS = ".safetensors"
# What safetensors calls the types that weights and tables can have.
DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
ALIGNMENT = 8  # of the first tensor, as the format asks for


# -- reading


@contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """Turn what reading a refused or damaged file raises into a `CheckpointError` of one line."""
    try:
        yield
    except CheckpointError:
        raise
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise CheckpointError(f"{path}: is a folder, not a checkpoint") from None
    except Exception as error:  # a damaged file may end in any of them
        reason = shown(ValueError((str(error).strip().splitlines() or [type(error).__name__])[0]))
        if isinstance(error, pickle.UnpicklingError):
            asked = re.search(r"(?:GLOBAL|class|function) ([\w.]*\.[\w.]+)", str(error))
            if asked:
                name = shown(ValueError(asked[1]))
                raise CheckpointError(
                    f"{path}: refused: it asks for {name}, no weight and no setting, which could run code"
                ) from None
            reason = "its pickle is malformed"
        raise CheckpointError(f"{path}: not a checkpoint, or damaged: {reason}") from None


def read_torch(path: Path) -> Any:
    """What a file of PyTorch holds: tensors, plain containers, and the types that fairseq's settings are made of."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError as error:
        if "mmap" not in str(error):
            raise
        return torch.load(path, map_location="cpu", weights_only=True)  # a file from before PyTorch 1.6


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a file of safetensors."""
    with safetensors.safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        return tensors, file.metadata() or {}


def check_weights(weights: Mapping[Any, Any], what: str, path: str | Path, files: Sequence[Path] | None = None) -> None:
    """Refuse weights that are no plain tensors, or that would take far more memory than their files have bytes.

    Args:
        weights: By name.
        what: What the error calls them.
        path: Where they come from.
        files: That they come from, if ``path`` is not the only one.

    Raises:
        CheckpointError: They are refused.
    """
    for name, tensor in weights.items():
        if not isinstance(name, str):
            raise CheckpointError(f"{path}: its {what} has an entry without a name, {shown(name)}")
        if not isinstance(tensor, Tensor):
            raise CheckpointError(f"{path}: its {what} holds something that is no tensor")
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized or tensor.is_complex():
            raise CheckpointError(f"{path}: its {what} holds a tensor that is no table of real numbers, {shown(name)}")
    size = sum(tensor.numel() * tensor.element_size() for tensor in weights.values())
    if size > MOST_BYTES * sum(file.stat().st_size for file in files or [Path(path)]):
        raise CheckpointError(f"{path}: its {what} would take {size:,} bytes, far more than the file has")


# -- writing


@contextmanager
def writing(path: str | Path) -> Iterator[BinaryIO]:
    """A temporary file that becomes `path` if the block ends without an error (:func:`~ofa_mi.utils.files.replacing`).

    Raises:
        CheckpointError: The system refuses to write, because the disk is full for instance.
    """
    try:
        with replacing(Path(path)) as file:
            yield file
    except Exception as error:
        if reason := _why_not_written(error):
            raise CheckpointError(f"{path}: cannot be written ({reason})") from None
        raise


def _why_not_written(error: BaseException) -> str | None:
    """The system's reason, which PyTorch wraps; None for another error."""
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, OSError):
        seen = seen.__cause__ or seen.__context__
    return None if seen is None else seen.strerror or str(seen)


def write_safetensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], file: BinaryIO) -> None:
    """Write tensors one after the other: the library's own function holds all of them in memory, twice.

    The format is https://huggingface.co/docs/safetensors: the header's length in 8 bytes, the header in JSON, the
    tensors' bytes. Those of wider numbers come first, as the library has it, so that each is aligned.

    Raises:
        ValueError: A tensor has a type that weights and tables do not have.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    end = 0
    for name in order:
        tensor = tensors[name]
        if tensor.dtype not in DTYPES:
            raise ValueError(f"{name} is of the type {tensor.dtype}, which safetensors does not hold here")
        begin, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    file.write(struct.pack("<Q", len(text)))
    file.write(text)
    for name in order:
        numbers = tensors[name].detach().contiguous().reshape(-1)
        file.write(memoryview(numbers.view(torch.uint8).numpy()))
