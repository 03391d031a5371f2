"""Position-bias planes against loops, and their gradients against finite differences and counting."""

import pytest
import torch

from ofa_mi.kernels import PositionBias, RelativePositions, RelativeTable, absolute_positions, position_bias
from ofa_mi.models.position_bias import (
    image_buckets,
    image_table_rows,
    patch_offsets,
    patch_position_ids,
    token_buckets,
)

SIDE = 5  # of the grid that the image table knows


def parts(heads, height, width, text, depth, dtype=torch.float64, seed=0):
    """Leaves of a bias over height x width patches and then ``text`` tokens: pos_q, pos_k and the two tables."""
    generator = torch.Generator().manual_seed(seed)
    length = height * width + text
    shapes = [(heads, length, depth), (heads, length, depth), (15, heads), (image_table_rows(SIDE), heads)]
    return [torch.randn(s, generator=generator, dtype=torch.float64).to(dtype).requires_grad_() for s in shapes]


def structure(leaves, height, width, text, scale=0.5):
    pos_q, pos_k, text_table, image_table = leaves
    patches = height * width
    of_text = RelativePositions.toeplitz(token_buckets(8, max(text, 2))[:text, :text].to(pos_q.device))
    tables = [RelativeTable(text_table, of_text, (patches, patches))]
    if patches:
        ids = patch_position_ids(height, width, SIDE).to(pos_q.device)
        tables.append(RelativeTable(image_table, patch_offsets(image_buckets(SIDE).to(pos_q.device), ids)))
    return PositionBias(absolute_positions(pos_q, pos_k, scale=scale), tuple(tables))


def loops(leaves, height, width, text, scale=0.5):
    pos_q, pos_k, text_table, image_table = leaves
    patches, buckets = height * width, token_buckets(8, max(text, 2))
    ids, patch_buckets = patch_position_ids(height, width, SIDE), image_buckets(SIDE)
    plane = torch.zeros(len(pos_q), pos_q.shape[1], pos_k.shape[1], dtype=pos_q.dtype)
    for i in range(plane.shape[1]):
        for j in range(plane.shape[2]):
            value = scale * (pos_q[:, i] * pos_k[:, j]).sum(-1)
            if min(i, j) >= patches:
                value = value + text_table[buckets[i - patches, j - patches]]
            if max(i, j) < patches:
                value = value + image_table[patch_buckets[ids[i], ids[j]]]
            plane[:, i, j] = value.detach()
    return plane


@pytest.mark.parametrize("grid", [(0, 0), (2, 3), (5, 4)])
def test_plane_is_the_sum_of_its_parts(grid):
    leaves = parts(2, *grid, 6, 4)
    torch.testing.assert_close(position_bias(structure(leaves, *grid, 6)).detach(), loops(leaves, *grid, 6))


def test_gradients():
    leaves = parts(2, 2, 2, 3, 3)
    assert torch.autograd.gradcheck(lambda *leaves: position_bias(structure(leaves, 2, 2, 3)), leaves)


def test_the_shared_absolute_part_is_left_as_it_is():
    bias = structure(parts(2, 1, 2, 3, 4), 1, 2, 3)
    before = bias.absolute.products.clone()
    position_bias(bias)
    assert bias.absolute.products.equal(before)


def test_table_gradient_is_bit_equal_between_runs():
    leaves = parts(4, 5, 5, 40, 8, torch.float32)
    weights = torch.randn(4, 65, 65)

    def gradients():
        return torch.autograd.grad(position_bias(structure(leaves, 5, 5, 40)), leaves[2:], weights)

    for first, second in zip(gradients(), gradients(), strict=True):
        assert first.equal(second)


@pytest.mark.parametrize("grid, text, depth", [((5, 4), 50, 16), ((0, 0), 70, 64), ((3, 5), 1, 80)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_triton_plane_and_its_gradients(grid, text, depth, dtype, device, triton_kernels, monkeypatch):
    leaves = [t.detach().to(device).requires_grad_() for t in parts(2, *grid, text, depth, dtype)]
    plane = position_bias(structure(leaves, *grid, text))
    used = leaves if grid[0] else leaves[:3]
    weights = torch.randn(plane.shape, generator=torch.Generator().manual_seed(1)).to(device)
    gradients = torch.autograd.grad(plane, used, weights.to(plane.dtype))
    monkeypatch.setenv("OFA_MI_KERNELS", "reference")
    exact = [t.detach().double().cpu().requires_grad_() for t in leaves]
    expected = position_bias(structure(exact, *grid, text))
    expected_gradients = torch.autograd.grad(expected, exact[: len(used)], weights.cpu().double())
    # The plane is rounded to fp16 at most, its gradient arrives so, and products of two roundings add up.
    tolerance = {torch.float32: 1e-5, torch.float16: 3e-3, torch.bfloat16: 2e-2}[dtype]
    for actual, value in zip((plane, *gradients), (expected, *expected_gradients), strict=True):
        assert (actual.cpu().double() - value).abs().max() <= tolerance * value.abs().max()


def test_a_value_beyond_fp16_is_cut_off_and_nan_stays(device, triton_kernels):
    pos_q, pos_k, *_ = parts(1, 0, 0, 4, 16, torch.bfloat16)
    pos_q, pos_k = (pos_q.detach().clone().to(device), pos_k.detach().clone().to(device))
    pos_q[0, 0] = pos_k[0, 0] = 1e4
    pos_q[0, 1] = torch.nan
    plane = position_bias(PositionBias(absolute_positions(pos_q, pos_k, scale=1.0)))
    assert plane.dtype == torch.float16
    assert plane[0, 0, 0] == torch.finfo(torch.float16).max
    assert plane[0, 1].isnan().all() and plane[0, 2:].isfinite().all()
