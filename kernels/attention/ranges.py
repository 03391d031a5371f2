"""Where the visible keys of every sample lie, so that the kernels skip padding and mask only at its edges."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .. import switch


@triton.jit
def _visible_ranges(padding_ptr, ranges_ptr, keys, BLOCK: tl.constexpr):
    sample = tl.program_id(0)
    key = tl.arange(0, BLOCK)
    hidden = tl.load(padding_ptr + sample.to(tl.int64) * keys + key, mask=key < keys, other=1) != 0
    first = tl.min(tl.where(hidden, keys, key), 0)
    last = tl.max(tl.where(hidden, 0, key + 1), 0)
    first = tl.minimum(first, last)  # all hidden: nothing from 0 to 0
    hole = tl.minimum(tl.min(tl.where(hidden & (key > first), key, keys), 0), last)
    tl.store(ranges_ptr + 3 * sample, first)
    tl.store(ranges_ptr + 3 * sample + 1, hole)
    tl.store(ranges_ptr + 3 * sample + 2, last)


def visible_ranges(padding: Tensor) -> Tensor:
    """Padding (B, Lk) uint8, not 0 where it is -> (B, 3) int32.

    These are the first visible key, the first hidden key after it, and the end of the last visible one.
    """
    ranges = torch.empty(len(padding), 3, dtype=torch.int32, device=padding.device)
    keys = padding.shape[1]
    with switch.on_device(padding):
        _visible_ranges[(len(padding),)](padding, ranges, keys, BLOCK=triton.next_power_of_2(keys), num_warps=4)
    return ranges
