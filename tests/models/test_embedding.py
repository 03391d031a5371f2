"""One gradient of the token embedding, for lookups and output layer together; equal to autograd's."""

from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F

from ofa_mi.models import embedding, products
from ofa_mi.models.embedding import TokenEmbedding
from tests.models.helpers import PAD, VOCABULARY, gradients, images, small_model, tokens

TABLE = "encoder.embed_tokens.weight"


def make(dtype=torch.float32):
    torch.manual_seed(0)
    return TokenEmbedding(VOCABULARY, 8, padding_idx=PAD).to(dtype)


@contextmanager
def as_autograd_does_it(monkeypatch):
    """Several gradients."""
    with monkeypatch.context() as patch:
        patch.setattr(TokenEmbedding, "one_gradient", contextmanager(lambda self: (yield)))
        yield


def backward(table, *, features_only=False):
    """Two lookups, with repeated and padded tokens, and a product."""
    generator = torch.Generator().manual_seed(1)
    source, target = tokens(3, 7, padded=2), tokens(3, 5, padded=1, seed=2)
    with table.one_gradient():
        shared = table.weight if table.shared is None else table.shared
        x = table(source).cumsum(1)[:, -1] + table(target).square().sum(1)
        out = x if features_only else F.linear(x, shared)
    out.backward(torch.randn(out.shape, generator=generator).to(out.dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("features_only", [False, True])
def test_gradient_is_autograds(dtype, features_only, monkeypatch):
    table, expected = make(dtype), make(dtype)
    backward(table, features_only=features_only)
    with as_autograd_does_it(monkeypatch):
        backward(expected, features_only=features_only)
    torch.testing.assert_close(table.weight.grad, expected.weight.grad, rtol=0, atol=0)


def test_gradients_add_up_over_backward_passes(monkeypatch):
    table, expected = make(), make()
    for _ in range(2):
        backward(table)
    with as_autograd_does_it(monkeypatch):
        for _ in range(2):
            backward(expected)
    assert table.weight.grad.equal(expected.weight.grad)


def test_there_is_one_dense_gradient(monkeypatch):
    """What has all rows is made by the product alone."""
    made = []
    dense = torch.ops.aten.embedding_dense_backward

    def count(grad, indices, rows, *rest):
        made.append(rows)
        return dense(grad, indices, rows, *rest)

    monkeypatch.setattr(embedding.torch.ops.aten, "embedding_dense_backward", count)
    table, arrived = make(), []
    table.weight.register_hook(lambda grad: arrived.append(grad.shape))
    backward(table)
    assert made == [15, 21]  # of the target's tokens, then of the source's
    assert arrived == [(VOCABULARY, 8)]


def test_forward_passes_that_fail_or_are_not_differentiated_leave_nothing():
    table = make()
    with pytest.raises(ValueError, match="out of memory"), table.one_gradient():
        table(tokens(1, 2))
        raise ValueError("out of memory")
    assert table.shared is None
    with torch.no_grad(), table.one_gradient():
        assert table.shared is None
    table.weight.requires_grad_(False)
    with table.one_gradient():
        assert table.shared is None and not table(tokens(1, 2)).requires_grad


def run(model, precision=None):
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision is not None):
        logits, _ = model(tokens(3, 6, padded=1), None, tokens(3, 4, seed=1), images(3))
    logits.float().log_softmax(-1)[..., 7].sum().backward()
    return gradients(model)


@pytest.mark.parametrize("flags", [{}, {"checkpoint_activations": True}, {"freeze_decoder_embedding": True}], ids=str)
@pytest.mark.parametrize("precision", [None, "bf16"])
def test_gradients_of_the_model_are_autograds(flags, precision, monkeypatch):
    model = small_model(freeze_resnet=True, **flags)
    found = run(model, precision)
    with as_autograd_does_it(monkeypatch):
        expected = run(model, precision)
    assert found.keys() == expected.keys() and (TABLE in found) != bool(flags.get("freeze_decoder_embedding"))
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-6, atol=1e-6, msg=name)


def test_gradients_of_parallel_processes_are_autograds(tmp_path, monkeypatch):
    """One process of gloo, in which DistributedDataParallel reduces gradients by the hooks that it sets on them."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        model = small_model(freeze_resnet=True)
        parallel = torch.nn.parallel.DistributedDataParallel(model, find_unused_parameters=True)
        for _ in range(2):  # the second pass meets buckets in another order
            found = run(parallel)
    finally:
        torch.distributed.destroy_process_group()
    with as_autograd_does_it(monkeypatch):
        expected = run(small_model(freeze_resnet=True))
    torch.testing.assert_close(found[f"module.{TABLE}"], expected[TABLE], rtol=1e-6, atol=1e-6)


@pytest.mark.skipif(not products.onednn(), reason="PyTorch has no oneDNN products on this processor")
@pytest.mark.parametrize("shape", [(6,), (2, 3)], ids=str)
def test_products_of_training_are_pytorchs(shape):
    torch.manual_seed(0)
    layer = products.Linear(5, 7)
    x, weights = torch.randn(*shape, 5).requires_grad_(), torch.randn(*shape, 7)
    results = []
    for training in (True, False):
        out = layer.train(training)(x)
        assert (type(out.grad_fn).__name__ == "_ProductBackward") == training
        results.append((out, *torch.autograd.grad((out * weights).sum(), (x, layer.weight, layer.bias))))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
        assert found.stride() == expected.stride()


@pytest.mark.skipif(not products.onednn(), reason="PyTorch has no oneDNN products on this processor")
@pytest.mark.parametrize("stride", [1, 2])
def test_pointwise_convolutions_of_training_are_pytorchs(stride):
    torch.manual_seed(0)
    layer = products.PointwiseConv2d(5, 7, 1, stride, bias=False)
    x = torch.randn(2, 5, 5, 4).contiguous(memory_format=torch.channels_last).requires_grad_()
    results = []
    for training in (True, False):
        out = layer.train(training)(x)
        assert out.is_contiguous(memory_format=torch.channels_last)
        results.append((out, *torch.autograd.grad(out.square().sum(), (x, layer.weight))))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
