"""The loss functions against formulas written out token by token."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ofa_mi.criterions.loss import allowed_mask, keep_lowest, symmetric_kl, token_loss


def smoothed_by_hand(logits, target, epsilon, allowed):
    """Label-smoothed loss of one row over the tokens in ``allowed``, in plain Python."""
    total = sum(math.exp(logits[i]) for i in allowed)
    log_probs = {i: logits[i] - math.log(total) for i in allowed}
    eps_i = epsilon / (len(allowed) - 1 + (1e-6 if len(allowed) < len(logits) else 0))
    return (1 - epsilon - eps_i) * -log_probs[target] - eps_i * sum(log_probs.values())


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), vocabulary=st.integers(3, 12), epsilon=st.floats(0, 0.5), data=st.data())
def test_token_loss_equals_the_formula(seed, vocabulary, epsilon, data):
    logits = torch.randn(4, vocabulary, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 3
    allowed = [
        data.draw(st.sets(st.integers(0, vocabulary - 1), min_size=2, max_size=vocabulary - 1)) for _ in range(3)
    ]
    target = torch.tensor([min(row) for row in allowed] + [0])
    table = torch.full((4, vocabulary), -1)
    for i, row in enumerate(allowed):
        table[i, : len(row)] = torch.tensor(sorted(row))
    losses = token_loss(logits, target, epsilon=epsilon, mask=allowed_mask(table, vocabulary))
    for i, row in enumerate([*allowed, set(range(vocabulary))]):
        expected = smoothed_by_hand(logits[i].tolist(), int(target[i]), epsilon, row)
        assert losses.loss[i].item() == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_single_allowed_token_costs_nothing_and_stays_finite():
    mask = allowed_mask(torch.tensor([[3]]), 5)
    logits = torch.randn(1, 5, requires_grad=True)
    losses = token_loss(logits, torch.tensor([3]), epsilon=0.1, mask=mask)
    losses.loss.sum().backward()
    assert losses.loss.item() == pytest.approx(0.0, abs=1e-6)
    assert torch.isfinite(logits.grad).all()


def test_allowed_mask_of_an_unused_row_allows_everything():
    mask = allowed_mask(torch.tensor([[-1, -1], [2, -1]]), 4)
    assert mask.tolist() == [[True] * 4, [False, False, True, False]]


def test_confidence_weights_the_loss():
    logits, target = torch.randn(2, 6), torch.tensor([1, 4])
    plain = token_loss(logits, target, epsilon=0.1)
    weighted = token_loss(logits, target, epsilon=0.1, confidence=torch.tensor([0.5, 1.0]))
    assert weighted.loss[0].item() == pytest.approx(plain.loss[0].item() / 2, rel=1e-5)
    assert weighted.loss[1].item() == pytest.approx(plain.loss[1].item(), rel=1e-6)


def test_keep_lowest_drops_the_largest_losses():
    rows = keep_lowest(torch.tensor([3.0, 1.0, 4.0, 2.0]), 0.5)
    assert sorted(rows.tolist()) == [1, 3]


def test_symmetric_kl_equals_torch_and_is_zero_for_equal_inputs():
    log_p, log_q = torch.randn(2, 3, 7).log_softmax(-1)
    expected = sum(
        torch.nn.functional.kl_div(a, b, reduction="sum", log_target=True) for a, b in ((log_p, log_q), (log_q, log_p))
    )
    assert symmetric_kl(log_p, log_q).item() == pytest.approx(expected.item() / 2, rel=1e-5)
    assert symmetric_kl(log_p, log_p).item() == 0


def test_symmetric_kl_ignores_tokens_that_are_not_allowed():
    logits = torch.randn(2, 1, 4)
    wide = torch.cat([logits, torch.full((2, 1, 2), -torch.inf)], dim=-1).requires_grad_()
    divergence = symmetric_kl(*wide.log_softmax(-1))
    divergence.backward()
    assert divergence.item() == pytest.approx(symmetric_kl(*logits.log_softmax(-1)).item(), rel=1e-5)
    assert torch.isfinite(wide.grad).all()
