"""The loss functions against formulas written out token by token, and their gradients against autograd's."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ofa_mi.criterions import loss as loss_module
from ofa_mi.criterions.loss import allowed_mask, keep_lowest, token_loss
from tests.criterions.plain import plain_loss


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


def test_divergence_equals_torch_and_is_zero_for_equal_passes():
    logits = torch.randn(6, 7)
    log_p, log_q = logits.log_softmax(-1).chunk(2)
    expected = sum(
        torch.nn.functional.kl_div(a, b, reduction="none", log_target=True).sum(1)
        for a, b in ((log_p, log_q), (log_q, log_p))
    )
    target = torch.zeros(6, dtype=torch.long)
    torch.testing.assert_close(token_loss(logits, target, epsilon=0.0, pairs=True).divergence, expected / 2)
    same = torch.cat([logits[:3], logits[:3]])
    assert token_loss(same, target, epsilon=0.0, pairs=True).divergence.eq(0).all()


ROWS, WORDS = 6, 11


@pytest.mark.parametrize("at_once", [1, 2 * WORDS, 10**6])
@pytest.mark.parametrize("restricted", [None, "mask", "allowed"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("epsilon", [0.0, 0.1])
@pytest.mark.parametrize("pairs", [False, True])
def test_losses_and_gradients_are_autograds(at_once, restricted, weighted, epsilon, pairs, monkeypatch):
    """In chunks of any size, of the loss of every token and of the divergence, as drop-worst weights them."""
    monkeypatch.setattr(loss_module, "AT_ONCE", {"cpu": at_once})
    torch.manual_seed(0)
    values, target = torch.randn(ROWS, WORDS) * 3, torch.tensor([3, 4, 2, 3, 4, 2])
    allowed = torch.tensor([[3, 5, 7], [4, -1, -1], [-1, -1, -1]] * 2)
    options = {"confidence": torch.rand(ROWS) + 0.5} if weighted else {}
    mask = allowed_mask(allowed, WORDS) if restricted else None
    given = {} if restricted is None else {"mask": mask} if restricted == "mask" else {"allowed": allowed}
    of_loss, of_divergence = torch.randn(ROWS), torch.randn(ROWS // 2)
    results = []
    for function, masks in ((token_loss, given), (plain_loss, {"mask": mask})):
        leaf = values.clone().requires_grad_()
        found = function(leaf * 1, target, epsilon=epsilon, pairs=pairs, **masks, **options)
        total = (found.loss * of_loss).sum()
        if pairs:
            total = total + (found.divergence * of_divergence).sum()
        total.backward()
        results.append([found.loss, found.nll, found.best, leaf.grad, *([found.divergence] if pairs else [])])
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_logits_of_16_bits_are_computed_in_fp32(dtype):
    logits, target = torch.randn(4, 9).to(dtype), torch.tensor([1, 2, 3, 4])
    results = []
    for function, values in ((token_loss, logits.clone()), (plain_loss, logits.float())):
        values.requires_grad_()
        found = function(values * 1, target, epsilon=0.1).loss
        assert found.dtype == torch.float32
        found.sum().backward()
        results.append((found, values.grad.float()))
    torch.testing.assert_close(results[0][0], results[1][0])
    torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-2, atol=1e-3)


def test_the_gradient_lies_where_the_logits_were():
    """There is no second tensor of their size; whoever differentiates twice is told."""
    leaf = torch.randn(3, 5, requires_grad=True)
    logits = leaf * 1
    before = logits.detach().clone()
    gradient = torch.autograd.grad(
        loss := token_loss(logits, torch.tensor([1, 2, 3]), epsilon=0.1).loss.sum(), logits, retain_graph=True
    )[0]
    assert gradient.data_ptr() == logits.data_ptr() and not logits.equal(before)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
    token_loss(leaf, torch.tensor([1, 2, 3]), epsilon=0.1).loss.sum().backward()
    assert leaf.equal(before) and leaf.grad.data_ptr() != leaf.data_ptr()
