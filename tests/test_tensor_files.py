"""Tensors stay in their file, and in its precision, until they are used; writing holds one of them at a time."""

import tracemalloc
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.utils._python_dispatch import TorchDispatchMode

from ofa_mi import checkpoint
from ofa_mi.commands.checkpoint import convert
from ofa_mi.errors import CheckpointError
from ofa_mi.packaged import checkpoint_path
from ofa_mi.tensor_files import DTYPES, write_safetensors

NANO = checkpoint_path("nano")


class Allocated(TorchDispatchMode):
    """Bytes of the tensors that operations make, other than views of what is there."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        given = {a.untyped_storage().data_ptr() for a in args if isinstance(a, torch.Tensor)}
        for tensor in made if isinstance(made, list | tuple) else [made]:
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage().data_ptr() not in given:
                self.bytes += tensor.untyped_storage().nbytes()
        return made


def mapped(path):
    """Address ranges at which a file is mapped."""
    lines = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    return [tuple(int(end, 16) for end in line[0].split("-")) for line in lines if line[-1] == str(path.resolve())]


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """A checkpoint of 16 MiB in half precision, in each format that can hold it; of what model does not matter."""
    folder = tmp_path_factory.mktemp("half")
    torch.manual_seed(0)
    model = {f"encoder.layers.{i}.fc1.weight": torch.randn(1024, 1024).half() for i in range(8)}
    state = {"model": model, "args": Namespace(arch="another"), "task_state": {}}
    for ending in ("pt", "safetensors"):
        checkpoint.save(state, folder / f"half.{ending}")
    hub = folder / "hub"
    hub.mkdir()
    (hub / "config.json").write_text("{}")
    torch.save(model, hub / "pytorch_model.bin")
    return folder


SIZE = 16 << 20
LAYOUTS = {"half.pt": "half.pt", "half.safetensors": "half.safetensors", "hub": "hub/pytorch_model.bin"}


@pytest.mark.parametrize("name", LAYOUTS)
def test_reading_takes_no_memory(half, name):
    with Allocated() as allocated:
        state = checkpoint.read(half / name)
    assert allocated.bytes < 1 << 10
    ranges = mapped(half / LAYOUTS[name])
    weights = [tensor for entry, tensor in state["model"].items() if entry.endswith("weight")]
    assert len(weights) == 8 and {tensor.dtype for tensor in weights} == {torch.float16}
    assert all(any(low <= tensor.data_ptr() < high for low, high in ranges) for tensor in weights)


@pytest.mark.parametrize(("name", "output"), [("half.pt", "a.safetensors"), ("half.safetensors", "a.pt")])
def test_converting_holds_one_tensor_at_a_time(half, tmp_path, name, output):
    tracemalloc.start()  # counts bytes of Python's and NumPy's, the mode those of PyTorch's
    try:
        with Allocated() as allocated:
            convert(half / name, tmp_path / output)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak + allocated.bytes < SIZE / 4
    assert {tensor.dtype for tensor in checkpoint.read(tmp_path / output)["model"].values()} == {torch.float16}


def test_loading_takes_the_models_memory_and_no_more():
    checkpoint.load(NANO)  # what is made once
    with Allocated() as allocated:
        loaded = checkpoint.load(NANO)
    own = {tensor.data_ptr(): tensor for tensor in loaded.model.state_dict().values()}
    of_parameters = sum(tensor.nbytes for tensor in own.values() if tensor.is_floating_point())
    tables = sum(tensor.nbytes for tensor in own.values() if not tensor.is_floating_point())
    assert allocated.bytes < 1.5 * of_parameters + 20 * tables


def test_every_type_is_written_as_the_library_reads_it(tmp_path):
    path = tmp_path / "a.safetensors"
    tensors = {str(dtype): torch.tensor([[0, 1], [2, 3], [1, 0]]).to(dtype) for dtype in DTYPES}
    tensors |= {"empty": torch.zeros(0, 3), "number": torch.tensor(2.5), "turned": torch.randn(3, 5).T}
    with path.open("wb") as file:
        write_safetensors(tensors, {"a": "ü"}, file)
    read = load_file(path)
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert read[name].dtype == tensor.dtype and torch.equal(read[name], tensor), name
    with pytest.raises(CheckpointError, match="complex64, which safetensors does not hold"):
        checkpoint.save(
            {"model": {"a": torch.zeros(1, dtype=torch.complex64)}, "args": Namespace(arch="ofa_nano")}, path
        )
