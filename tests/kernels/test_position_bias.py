"""Position-bias planes against loops, and their gradients against finite differences and counting."""

import torch

from ofa_mi.kernels import RelativeTable, absolute_bias, position_bias


def test_plane_is_the_sum_of_its_parts():
    heads, length = 2, 6
    pos_q, pos_k = torch.randn(heads, length, 4), torch.randn(heads, length, 4)
    text, image = torch.randn(9, heads), torch.randn(7, heads)
    text_buckets, image_buckets = torch.randint(9, (4, 4)), torch.randint(7, (2, 2))
    plane = position_bias(
        absolute_bias(pos_q, pos_k, scale=0.5),
        RelativeTable(text, text_buckets, (2, 2)),
        RelativeTable(image, image_buckets),
    )
    for h in range(heads):
        for i in range(length):
            for j in range(length):
                value = 0.5 * pos_q[h, i] @ pos_k[h, j]
                if min(i, j) >= 2:
                    value = value + text[text_buckets[i - 2, j - 2], h]
                if max(i, j) < 2:
                    value = value + image[image_buckets[i, j], h]
                torch.testing.assert_close(plane[h, i, j], value)


def test_the_absolute_part_is_left_as_it_is():
    absolute = torch.randn(2, 3, 3)
    before = absolute.clone()
    position_bias(absolute, RelativeTable(torch.ones(1, 2), torch.zeros(3, 3, dtype=torch.long)))
    assert absolute.equal(before)


def test_gradients():
    torch.manual_seed(0)
    pos_q, pos_k = (torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    table = torch.randn(6, 2, dtype=torch.float64, requires_grad=True)
    buckets = torch.randint(6, (3, 3))

    def plane(pos_q, pos_k, table):
        return position_bias(absolute_bias(pos_q, pos_k, scale=0.7), RelativeTable(table, buckets, (2, 2)))

    assert torch.autograd.gradcheck(plane, (pos_q, pos_k, table))


def test_table_gradient_is_bit_equal_between_runs():
    table = torch.randn(50, 4, requires_grad=True)
    buckets = torch.randint(50, (200, 200))
    weights = torch.randn(4, 200, 200)

    def gradient():
        plane = position_bias(torch.zeros(4, 200, 200), RelativeTable(table, buckets))
        return torch.autograd.grad(plane, table, weights)[0]

    first = gradient()
    assert first.equal(gradient())
    expected = torch.stack([weights[:, buckets == row].double().sum(1) for row in range(50)])
    torch.testing.assert_close(first.double(), expected, rtol=1e-4, atol=1e-3)
