"""The seeded dropout mask in plain PyTorch: the random numbers of the Triton kernels, bit by bit."""

import torch
from torch import Tensor

ROUNDS, BITS = 7, 24
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)  # of Philox 4x32 (Salmon et al., SC 2011)
INCREMENTS = (0x9E3779B9, 0xBB67AE85)
WORD = 0xFFFFFFFF


def threshold(p: float) -> int:
    """The number below which the BITS random bits of a weight drop it, for a probability ``p``."""
    return round(p * 2**BITS)


def mask(seed: int, shape: tuple[int, int, int, int], p: float, device: torch.device) -> Tensor:
    """The dropout mask of the attention weights.

    The random bits of sample b, head h, query i and key j are word ``j % 4`` of Philox's block for the counter
    ``(j // 4, i, b * H + h, 0)`` under the key ``seed``: the same for every tiling.

    Args:
        seed: 64 bits.
        shape: (B, H, Lq, Lk).
        p: Probability with which a weight is dropped.
        device: Of the mask.

    Returns:
        (B, H, Lq, Lk) bool: False where a weight is dropped.
    """
    batch, heads, seqlen_q, seqlen_k = shape
    groups = torch.arange(-(-seqlen_k // 4), device=device)
    query = torch.arange(seqlen_q, device=device)[:, None]
    stream = torch.arange(batch * heads, device=device)[:, None, None]
    words = _philox(torch.broadcast_tensors(groups, query, stream, groups.new_zeros(())), seed)
    bits = torch.stack(words, dim=-1).flatten(-2)[..., :seqlen_k] >> 32 - BITS  # B * H, Lq, Lk
    return (bits >= threshold(p)).unflatten(0, (batch, heads))


def _philox(counter: tuple[Tensor, ...], seed: int) -> tuple[Tensor, ...]:
    """Four words, 0 to 2^32 - 1 as int64, for every counter of four."""
    c0, c1, c2, c3 = counter
    key = [seed & WORD, seed >> 32 & WORD]
    for _ in range(ROUNDS):
        low0, high0 = _multiply(c0, MULTIPLIERS[0])
        low2, high2 = _multiply(c2, MULTIPLIERS[1])
        c0, c1, c2, c3 = high2 ^ c1 ^ key[0], low2, high0 ^ c3 ^ key[1], low0
        key = [(k + increment) & WORD for k, increment in zip(key, INCREMENTS, strict=True)]
    return c0, c1, c2, c3


def _multiply(word: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """Lower and upper word of a 64-bit product, which would overflow int64."""
    low = word * (factor & 0xFFFF)  # 48 bits
    high = word * (factor >> 16) + (low >> 16)
    return (high << 16 | low & 0xFFFF) & WORD, high >> 16
