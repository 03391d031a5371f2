"""Attention against a definition in fp64: values, gradients of every input, masks, precision."""

import importlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ofa_mi.errors import ConfigError
from ofa_mi.kernels import attention

# Its functions; in ofa_mi.kernels the name of the module is that of the function.
interface = importlib.import_module("ofa_mi.kernels.attention")


def definition(q, k, v, bias, padding, causal, scale):
    """Row by row with -inf, zero where a query sees nothing."""
    scores = torch.einsum("bhid,bhjd->bhij", q, k) * scale + bias
    queries, keys = scores.shape[-2:]
    hidden = padding[:, None, None, :].expand(scores.shape)
    if causal:
        later = torch.arange(keys)[None, :] > torch.arange(queries)[:, None] + keys - queries
        hidden = hidden | later
    weights = scores.masked_fill(hidden, -torch.inf).exp()
    total = weights.sum(-1, keepdim=True)
    return torch.einsum("bhij,bhjd->bhid", weights / torch.where(total == 0, 1.0, total), v)


def inputs(seed, batch, heads, queries, keys, width, dtype=torch.float64, shared=True):
    generator = torch.Generator().manual_seed(seed)
    shapes = [(batch, heads, n, width) for n in (queries, keys, keys)]
    shapes.append((heads, queries, keys) if shared else (batch, heads, queries, keys))
    return [torch.randn(s, generator=generator, dtype=torch.float64).to(dtype).requires_grad_() for s in shapes]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    batch=st.integers(1, 3),
    queries=st.integers(1, 7),
    more_keys=st.integers(0, 5),
    causal=st.booleans(),
    shared=st.booleans(),
    padded=st.floats(0, 1),
)
def test_values_and_gradients_equal_the_definition(seed, batch, queries, more_keys, causal, shared, padded):
    tensors = inputs(seed, batch, 2, queries, queries + more_keys, 4, shared=shared)
    padding = torch.rand(batch, queries + more_keys, generator=torch.Generator().manual_seed(seed)) < padded
    actual = attention(*tensors[:3], bias=tensors[3], key_padding_mask=padding, causal=causal, scale=0.3)
    expected = definition(*tensors, padding, causal, 0.3)
    torch.testing.assert_close(actual, expected)
    weights = torch.randn_like(expected)
    for a, b in zip(
        torch.autograd.grad(actual, tensors, weights), torch.autograd.grad(expected, tensors, weights), strict=True
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_row_without_keys_gives_zero_and_finite_gradients(dtype, causal):
    tensors = inputs(0, 2, 2, 5, 5, 8, dtype)
    padding = torch.zeros(2, 5, dtype=torch.bool)
    padding[0] = True
    padding[1, :2] = True  # causal: the first two queries of sample 1 see nothing either
    out = attention(*tensors[:3], bias=tensors[3], key_padding_mask=padding, causal=causal, scale=0.3)
    assert out[0].eq(0).all()
    assert out[1, :, :2].eq(0).all() == causal
    gradients = torch.autograd.grad(out.float().square().sum(), tensors)
    assert all(g.isfinite().all() for g in gradients)
    assert all(g[0].eq(0).all() for g in gradients[:3])


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("shared", [False, True])
def test_the_fused_path_equals_the_reference(causal, shared, monkeypatch):
    tensors = inputs(1, 2, 3, 4, 9, 8, torch.float32, shared)
    arguments = {"bias": tensors[3], "causal": causal, "scale": 0.25}
    calls = []
    fused = interface._fused
    monkeypatch.setattr(interface, "_fused", lambda *a: calls.append(1) or fused(*a))
    with torch.no_grad():
        fast = attention(*tensors[:3], **arguments)
        assert calls
        monkeypatch.setenv("OFA_MI_KERNELS", "reference")
        torch.testing.assert_close(fast, attention(*tensors[:3], **arguments), rtol=1e-5, atol=1e-6)
    assert len(calls) == 1


def test_a_bias_gradient_never_takes_the_fused_path(monkeypatch):
    q, k, v, bias = inputs(1, 2, 3, 4, 4, 8, torch.float32)
    monkeypatch.setattr(interface, "_fused", None)
    out = attention(q.detach(), k.detach(), v.detach(), bias=bias, scale=0.25)
    assert torch.autograd.grad(out.sum(), bias)[0].shape == (3, 4, 4)


def test_softmax_is_computed_in_fp32():
    """In bf16 the error must be that of rounding the inputs and the output, whatever the length."""
    tensors = inputs(2, 1, 2, 3, 300, 16, torch.bfloat16)
    with torch.no_grad():
        exact = definition(*(t.double() for t in tensors), torch.zeros(1, 300, dtype=torch.bool), False, 0.2)
        error = (attention(*tensors[:3], bias=tensors[3], scale=0.2).double() - exact).abs().max()
    assert error < 0.02 * exact.abs().max()


def test_dropout_is_seeded_and_keeps_the_mean():
    tensors = [t.detach() for t in inputs(3, 2, 2, 4, 50, 8, torch.float32)]

    def run(seed):
        return attention(*tensors[:3], bias=tensors[3], scale=0.3, dropout_p=0.4, seed=seed)

    torch.testing.assert_close(run(5), run(5), rtol=0, atol=0)
    assert not run(5).equal(run(6))
    mean = torch.stack([run(seed) for seed in range(400)]).mean(0)
    torch.testing.assert_close(mean, attention(*tensors[:3], bias=tensors[3], scale=0.3), atol=0.15, rtol=0)


def test_dropout_without_a_seed_follows_the_global_generator():
    tensors = [t.detach() for t in inputs(3, 2, 2, 4, 50, 8, torch.float32)]
    torch.manual_seed(1)
    first = attention(*tensors[:3], scale=0.3, dropout_p=0.4)
    torch.manual_seed(1)
    assert first.equal(attention(*tensors[:3], scale=0.3, dropout_p=0.4))


def test_causal_needs_a_key_for_every_query():
    q, k, v, _ = inputs(0, 1, 1, 3, 2, 4)
    with pytest.raises(ValueError, match="3 queries and only 2 keys"):
        attention(q, k, v, causal=True, scale=1.0)


def test_an_unknown_switch_is_an_error(monkeypatch):
    monkeypatch.setenv("OFA_MI_KERNELS", "fast")
    with pytest.raises(ConfigError, match="OFA_MI_KERNELS='fast' is not one of auto, reference"):
        attention(*inputs(0, 1, 1, 2, 2, 4)[:3], scale=1.0)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), batch=st.integers(1, 3), queries=st.integers(1, 40), shared=st.booleans())
def test_padded_samples_without_gradients(seed, batch, queries, shared):
    """Padding before, behind, all over and, in some examples, in between."""
    tensors = inputs(seed, batch, 2, queries, 9, 4, shared=shared)
    generator = torch.Generator().manual_seed(seed)
    first, last = torch.randint(0, 10, (2, batch, 1), generator=generator)
    place = torch.arange(9)
    padding = (place < first) | (place >= last)
    if seed % 3 == 0:
        padding |= place == 4
    with torch.no_grad():
        actual = attention(*tensors[:3], bias=tensors[3], key_padding_mask=padding, scale=0.3)
    torch.testing.assert_close(actual, definition(*tensors, padding, False, 0.3).detach())
