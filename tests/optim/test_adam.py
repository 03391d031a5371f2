"""Adam in one pass: the updates, norms and states of fairseq's, whose checkpoints it continues."""

import copy
from types import SimpleNamespace

import pytest
import torch
from fairseq import optim
from fairseq.optim.fp16_optimizer import FP16Optimizer, MemoryEfficientFP16Optimizer
from omegaconf import OmegaConf

from ofa_mi.optim.adam import FairseqAdam, FusedAdam

SHAPES = [(7, 5), (3,), (4, 2, 1, 1), (6, 3, 3, 3)]


def settings(**options):
    named = {"_name": "adam", "lr": [0.01], "adam_betas": "(0.9, 0.98)", "adam_eps": 1e-3, "weight_decay": 0.1}
    return OmegaConf.create({**named, "use_old_adam": False, "fp16_adam_stats": False, "tpu": False, **options})


def make(dtype=torch.float32, **options):
    generator = torch.Generator().manual_seed(0)
    weights = [torch.nn.Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in SHAPES]
    return weights, optim.build_optimizer(settings(**options), weights)


def update(weights, optimizer, number, *, clip=0.0, absent=()):
    """What fairseq's trainer does with the gradients of update ``number``."""
    generator = torch.Generator().manual_seed(number)
    optimizer.zero_grad()
    for index, weight in enumerate(weights):
        gradient = torch.randn(weight.shape, generator=generator).to(weight.dtype)
        if weight.dim() == 4:  # as convolutions in channels-last layout have it
            gradient = gradient.contiguous(memory_format=torch.channels_last)
        weight.grad = None if index in absent else gradient
    optimizer.multiply_grads(torch.tensor(0.5))
    optimizer.multiply_grads(1 / 3)
    norm = optimizer.clip_grad_norm(clip)
    optimizer.step()
    return norm


def assert_alike(ours, theirs):
    for (weights, optimizer), (expected, other) in ((ours, theirs),):
        torch.testing.assert_close(list(map(torch.Tensor.detach, weights)), list(map(torch.Tensor.detach, expected)))
        found, state = optimizer.state_dict(), other.state_dict()
        assert found["param_groups"] == state["param_groups"]
        assert found["state"].keys() == state["state"].keys()
        for index, values in found["state"].items():
            assert values["step"] == state["state"][index]["step"] and type(values["step"]) is int
            for name in ("exp_avg", "exp_avg_sq"):
                torch.testing.assert_close(values[name], state["state"][index][name])


@pytest.mark.parametrize("clip", [0.0, 1.0, 1e6])
def test_updates_and_states_are_fairseqs(clip):
    ours, theirs = make(), make(use_old_adam=True)
    assert type(ours[1].optimizer) is FusedAdam and type(theirs[1].optimizer) is not FusedAdam
    for number in range(4):
        absent = (0,) if number == 1 else ()  # a batch of texts has no gradient of the image tower
        norms = [update(*one, number, clip=clip, absent=absent) for one in (ours, theirs)]
        torch.testing.assert_close(*norms)
    assert_alike(ours, theirs)


@pytest.mark.parametrize("direction", ["on", "back"])
def test_either_continues_the_others_checkpoint(direction):
    first, second = make(use_old_adam=direction == "on"), make(use_old_adam=direction == "back")
    expected = make(use_old_adam=True)
    for number in range(2):
        update(*first, number)
        update(*expected, number)
    for mine, weight in zip(second[0], first[0], strict=True):
        mine.data.copy_(weight)
    second[1].load_state_dict(copy.deepcopy(first[1].state_dict()))
    update(*second, 2)
    update(*expected, 2)
    assert_alike(second, expected)


def test_the_checkpoint_calls_it_as_before():
    assert FairseqAdam.__name__ == "FairseqAdam" and optim.OPTIMIZER_REGISTRY["adam"] is FairseqAdam


def test_weights_of_16_bits_go_fairseqs_way():
    ours, theirs = make(torch.bfloat16), make(torch.bfloat16, use_old_adam=True)
    for number in range(3):
        update(*ours, number, clip=1.0)
        update(*theirs, number, clip=1.0)
    for found, expected in zip(ours[0], theirs[0], strict=True):
        torch.testing.assert_close(found, expected, rtol=2e-2, atol=2e-3)


def test_a_step_left_out_leaves_no_factor():
    """As mixed precision does where a gradient is infinite; nobody clears the gradients by this optimiser then."""
    weights, optimizer = make()
    for weight in weights:
        weight.grad = torch.full_like(weight, torch.inf)
    assert optimizer.clip_grad_norm(1.0).isinf()
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    other, old = make(use_old_adam=True)
    for weight in other:
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    old.step()
    assert_alike((weights, optimizer), (other, old))


@pytest.mark.parametrize("kind", [FP16Optimizer, MemoryEfficientFP16Optimizer])
def test_half_precision_optimisers_work_with_it(kind):
    results = []
    for old in (False, True):
        common = SimpleNamespace(bf16=True, fp16_scale_window=None, model_parallel_size=1, fp16_no_flatten_grads=True)
        cfg = SimpleNamespace(
            common=common,
            optimizer=settings(use_old_adam=old),
            optimization=SimpleNamespace(update_freq=[1]),
            distributed_training=SimpleNamespace(distributed_world_size=1),
        )
        weights, _ = make(torch.bfloat16)
        optimizer = kind.build_optimizer(cfg, weights)
        norms = [update(weights, optimizer, number, clip=1.0) for number in range(3)]
        results.append((weights, torch.stack(norms)))
    (found, norms), (expected, other) = results
    torch.testing.assert_close(norms, other)
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs)
