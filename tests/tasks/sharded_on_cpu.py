"""`ofa-mi` with fairscale's sharding on a CPU, which fairscale itself does on NVIDIA GPUs only.

What it needs of CUDA is the order of streams: on a CPU everything happens in order, and a stream does nothing.
"""

import contextlib
import sys
from collections import defaultdict

import torch
import torch.distributed
from fairscale.nn.data_parallel import fully_sharded_data_parallel as fairscale

from ofa_mi.cli import main


class Stream:
    """The only one there is."""

    def __eq__(self, other):
        return isinstance(other, Stream)

    __hash__ = None

    def wait_stream(self, other):
        pass

    def synchronize(self):
        pass


def share_reducer(root):
    """The part of fairscale's _setup_streams that is not about streams."""
    if root._is_root and root._reducer is None:
        root._reducer = fairscale.ReduceScatterBucketer(root.bucket_cap_mb)
        for module in root.modules():
            if isinstance(module, fairscale.FullyShardedDataParallel):
                module._reducer = root._reducer


def reset(self, reset_lazily=fairscale.FullyShardedDataParallel._reset_lazy_init):
    reset_lazily(self)
    self._streams = defaultdict(Stream)


def reduce_scatter(output, input, scatter=torch.distributed._reduce_scatter_base, **options):
    """gloo wants both flat."""
    return scatter(output.view(-1), input.view(-1), **options)


fairscale.FullyShardedDataParallel._reset_lazy_init = reset
fairscale.FullyShardedDataParallel._setup_streams = share_reducer
fairscale._get_default_cuda_device = lambda module: torch.device("cpu")
torch.distributed._reduce_scatter_base = reduce_scatter
torch.cuda.current_stream = Stream
torch.cuda.synchronize = lambda: None
torch.cuda.stream = lambda stream: contextlib.nullcontext()
torch.Tensor.record_stream = lambda self, stream: None
torch.Tensor.cuda = lambda self: self
torch.Tensor.cpu = torch.Tensor.clone  # fairscale gathers into one buffer time and again, and counts on a copy

if __name__ == "__main__":
    sys.exit(main())
