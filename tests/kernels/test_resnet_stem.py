"""The stem: plain PyTorch against its layers, the Triton kernels against both."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ofa_mi.errors import ConfigError
from ofa_mi.kernels import resnet_stem
from ofa_mi.kernels.resnet_stem import reference
from ofa_mi.models.image_tower import ImageTower

GPU = torch.cuda.is_available()
EPS = 1e-5


def inputs(device, dtype, samples, height, width, channels, seed=0):
    """x, weight, bn_weight, bn_bias, running_mean, running_var; one BatchNorm weight is negative, one is 0."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=generator)

    norm = [normal(channels) + 0.5, normal(channels), normal(channels), normal(channels).exp()]
    norm[0][0], norm[0][1] = -1.0, 0.0
    tensors = [normal(samples, 3, height, width), normal(channels, 3, 7, 7) * 0.1, *norm]
    return [t.to(device, dtype) for t in tensors]


def results(function, tensors, training, trained, weights):
    """Output, gradients of the first ``trained`` inputs, and the running statistics afterwards."""
    leaves = [t.detach().clone().requires_grad_(n < trained) for n, t in enumerate(tensors[:4])]
    statistics = [t.clone() for t in tensors[4:]]
    out = function(*leaves, *statistics, EPS, training)
    gradients = torch.autograd.grad(out, leaves[:trained], weights.to(out.dtype)) if trained else ()
    return [out.detach(), *gradients, *(statistics if training else ())]


def loss_weights(tensors, training):
    """(N, C, Hp, Wp): 0 where the largest value of a window is 0 up to rounding, which cuts it off or not by chance."""
    x, weight, bn_weight, bn_bias, mean, var = (t.double().clone() for t in tensors)
    y = F.batch_norm(F.conv2d(x, weight, stride=2, padding=3), mean, var, bn_weight, bn_bias, training, 0.1, EPS)
    largest = F.max_pool2d(y, 3, 2, 1)
    weights = torch.randn(largest.shape, generator=torch.Generator().manual_seed(9)).to(x.device)
    return weights * (largest.abs() > (1e-4 if tensors[0].dtype == torch.float32 else 0.05))


def compare(tensors, training, trained):
    """Errors against fp64 at most twice (gradients: three times) those of plain PyTorch, and two runs equal."""
    x, weights = tensors[0], loss_weights(tensors, training)
    exact = results(reference.resnet_stem, [t.double() for t in tensors], training, trained, weights)
    plain = results(reference.resnet_stem, tensors, training, trained, weights)
    actual = results(resnet_stem, tensors, training, trained, weights)
    again = results(resnet_stem, tensors, training, trained, weights)
    assert all(ours.equal(second) for ours, second in zip(actual, again, strict=True)), "two runs differ"
    for index, (ours, theirs, true) in enumerate(zip(actual, plain, exact, strict=True)):
        assert ours.isfinite().all()
        error, their_error = ((t.double() - true).square().mean().sqrt() for t in (ours, theirs))
        # of fp32 sums that cancel: a channel's gradients add up to 0 under BatchNorm's own statistics
        rounding = 4 * torch.finfo(torch.float32).eps * max(1.0, true.abs().max().item())
        # the interpreter cuts bf16 off where a GPU rounds, which is twice the error
        interpreted = 2 if x.dtype == torch.bfloat16 and not x.is_cuda else 1
        assert error <= max((2 if index == 0 else 3) * interpreted * their_error, rounding), index


@pytest.fixture
def poisoned(triton_kernels):
    """Triton everywhere, and every tensor that is not initialised holds NaN."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)


# -- plain PyTorch


@pytest.mark.parametrize("training", [False, True])
def test_reference_is_the_four_layers(training, device):
    tensors = inputs(device, torch.float64, 2, 11, 14, 5)
    norm = nn.BatchNorm2d(5).to(device, torch.float64).train(training)
    for parameter, value in zip(
        (norm.weight, norm.bias, norm.running_mean, norm.running_var), tensors[2:], strict=True
    ):
        parameter.data.copy_(value)
    expected = F.max_pool2d(norm(F.conv2d(*tensors[:2], stride=2, padding=3)).relu(), 3, 2, 1)
    actual = reference.resnet_stem(*tensors, EPS, training)
    torch.testing.assert_close(actual, expected)
    assert tensors[4].equal(norm.running_mean) and tensors[5].equal(norm.running_var)


# -- Triton

# (training, how many of x, weight, bn_weight, bn_bias are trained): the last two are a frozen BatchNorm and inference
MODES = {"training": (True, 4), "evaluation": (False, 4), "frozen": (False, 2), "inference": (False, 0)}
SIZES = [(3, 1, 2, 16), *(pytest.param(size, marks=pytest.mark.slow) for size in ((2, 21, 30, 20), (1, 40, 5, 33)))]
SIZES += [pytest.param(size, marks=pytest.mark.gpu) for size in ((4, 480, 480, 64), (2, 384, 500, 64))]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", SIZES)
def test_sizes(size, mode, device, poisoned):
    compare(inputs(device, torch.float32, *size), *MODES[mode])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, pytest.param(torch.float16, marks=pytest.mark.slow)])
def test_16_bit_formats(dtype, mode, device, poisoned):
    compare(inputs(device, dtype, 2, 18, 26, 24), *MODES[mode])


@pytest.mark.slow
@settings(max_examples=4, deadline=None)
@given(
    samples=st.integers(1, 3),
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    channels=st.integers(2, 20),
    mode=st.sampled_from(sorted(MODES)),
    seed=st.integers(0, 2**31),
)
def test_any_size(samples, height, width, channels, mode, seed):
    training, trained = MODES[mode]
    if samples * -(-height // 2) * -(-width // 2) < 2:
        training = False
    device = torch.device("cuda" if GPU else "cpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OFA_MI_KERNELS", "triton")
        compare(inputs(device, torch.float32, samples, height, width, channels, seed), training, trained)


@pytest.mark.parametrize("training", [False, True])
def test_memory_formats(training, device, triton_kernels):
    x, *rest = inputs(device, torch.float32, 2, 17, 13, 16)
    wide = torch.zeros(2, 4, 20, 13, device=device)[:, 1:, 3:]
    layouts = (x, x.contiguous(memory_format=torch.channels_last), wide.copy_(x))
    outputs = [resnet_stem(layout, *(t.clone() for t in rest), EPS, training) for layout in layouts]
    assert all(out.equal(outputs[0]) for out in outputs)
    assert all(out.is_contiguous(memory_format=torch.channels_last) for out in outputs)


def test_equal_values_pass_their_gradient_to_the_first(device, triton_kernels, monkeypatch):
    """Small whole numbers: everything is exact, and windows are full of ties."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 2, (2, 3, 16, 19), generator=generator).float().to(device)
    weight = torch.zeros(16, 3, 7, 7, device=device)
    weight[:, :, 3, 3] = torch.randint(0, 2, (16, 3), generator=generator).float().to(device)
    ones, zeros = torch.ones(16, device=device), torch.zeros(16, device=device)
    tensors = [x, weight, ones, zeros, zeros, ones]
    weights = torch.randint(1, 9, (2, 16, 4, 5), generator=generator).float().to(device)

    def run():
        leaves = [t.clone().requires_grad_() for t in tensors[:2]]
        return torch.autograd.grad(resnet_stem(*leaves, *tensors[2:], 0.0, False), leaves, weights)

    actual = run()
    monkeypatch.setenv("OFA_MI_KERNELS", "reference")
    assert all(ours.equal(theirs) for ours, theirs in zip(actual, run(), strict=True))


def test_nan_is_passed_on(device, triton_kernels):
    tensors = inputs(device, torch.float32, 1, 40, 40, 16)
    tensors[0][0, 0, 20, 20] = torch.nan
    expected = reference.resnet_stem(*tensors, EPS, False)
    actual = resnet_stem(*tensors, EPS, False)
    assert 0 < actual.isnan().sum() < actual.numel()
    torch.testing.assert_close(actual, expected, equal_nan=True)


def test_a_variance_far_from_zero(device, triton_kernels):
    """A mean of 1000 deviations: squares would lose the variance in fp32."""
    tensors = inputs(device, torch.float32, 2, 33, 33, 16)
    tensors[0] = tensors[0] * 1e-3 + 1
    tensors[1] = tensors[1].abs()
    tensors[4], tensors[5] = torch.zeros_like(tensors[4]), torch.zeros_like(tensors[5])
    exact = [t.double() for t in tensors]
    resnet_stem(*tensors, EPS, True, momentum=1.0)
    reference.resnet_stem(*exact, EPS, True, momentum=1.0)
    torch.testing.assert_close(tensors[4].double(), exact[4], rtol=1e-5, atol=0)
    torch.testing.assert_close(tensors[5].double(), exact[5], rtol=1e-4, atol=0)


def test_running_statistics_of_several_steps_in_16_bits(device, triton_kernels, monkeypatch):
    ours = inputs(device, torch.float16, 2, 20, 20, 16)
    theirs = [t.clone() for t in ours]
    for step in range(3):
        monkeypatch.setenv("OFA_MI_KERNELS", "triton")
        resnet_stem(ours[0] + step, *ours[1:], EPS, True, momentum=0.3)
        monkeypatch.setenv("OFA_MI_KERNELS", "reference")
        resnet_stem(theirs[0] + step, *theirs[1:], EPS, True, momentum=0.3)
    for mine, other in zip(ours[4:], theirs[4:], strict=True):
        torch.testing.assert_close(mine, other, rtol=2e-3, atol=2e-3)


# -- as a part of PyTorch


@pytest.mark.parametrize("mode", ["training", "evaluation", "frozen"])
def test_the_operator_is_well_behaved(mode, device, triton_kernels):
    from ofa_mi.kernels.resnet_stem import op

    training, trained = MODES[mode]
    tensors = inputs(device, torch.float32, 2, 9, 10, 16)
    leaves = [t.requires_grad_(n < trained) for n, t in enumerate(tensors[:4])]
    torch.library.opcheck(op.stem, (*leaves, *tensors[4:], EPS, training, trained == 4, True))


@pytest.mark.filterwarnings("ignore")
def test_compiled_and_checkpointed(device, triton_kernels):
    tensors = inputs(device, torch.float32, 2, 12, 12, 16)
    leaves = [t.requires_grad_() for t in tensors[:4]]

    def layer(*leaves):
        return resnet_stem(*leaves, *(t.clone() for t in tensors[4:]), EPS, True).square()

    expected = [layer(*leaves), *torch.autograd.grad(layer(*leaves).sum(), leaves)]
    checkpointed = torch.utils.checkpoint.checkpoint
    for run in (torch.compile(layer, backend="aot_eager"), lambda *t: checkpointed(layer, *t, use_reentrant=False)):
        out = run(*leaves)
        for a, b in zip([out, *torch.autograd.grad(out.sum(), leaves)], expected, strict=True):
            torch.testing.assert_close(a, b)


def test_autocast_takes_the_convolutions_format(device, triton_kernels):
    tensors = inputs(device, torch.float32, 2, 9, 12, 16)
    expected = resnet_stem(*(t.bfloat16() for t in tensors[:2]), *tensors[2:], EPS, False)
    with torch.autocast(device.type, torch.bfloat16):
        actual = resnet_stem(*tensors, EPS, False)
    assert actual.dtype == torch.bfloat16 and actual.equal(expected)


def test_a_frozen_stem_never_holds_the_convolution(device, triton_kernels):
    tensors = inputs(device, torch.float32, 2, 40, 40, 16)
    tensors[1].requires_grad_()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        out = resnet_stem(*tensors, EPS, False)
    assert out.shape == (2, 16, 10, 10)
    assert not any(t.shape[2:] == (20, 20) for t in kept if t.dim() == 4)
    assert [t.dtype for t in kept if t.shape == out.shape] == [torch.uint8]  # where each value comes from


def test_the_image_tower_trains_the_same(device, triton_kernels, monkeypatch):
    torch.manual_seed(0)
    tower = ImageTower("resnet_nano").to(device)
    images = torch.randn(2, 3, 32, 48, device=device)
    state = {name: tensor.clone() for name, tensor in tower.state_dict().items()}

    def step(mode):
        monkeypatch.setenv("OFA_MI_KERNELS", mode)
        tower.load_state_dict(state)
        tower.zero_grad()
        out = tower(images)
        out.square().mean().backward()
        return out, [p.grad.clone() for p in tower.parameters()], [b.clone() for b in tower.buffers()]

    (ours, *our_lists), (theirs, *their_lists) = step("triton"), step("reference")
    for mine, other in zip([[ours], *our_lists], [[theirs], *their_lists], strict=True):
        for a, b in zip(mine, other, strict=True):
            assert (a.double() - b.double()).norm() <= 1e-4 * b.double().norm()
    assert tower.bn1.num_batches_tracked == 1


# -- what cannot be done


def test_what_the_kernels_cannot_do(device, triton_kernels, monkeypatch):
    tensors = [t.double() for t in inputs(device, torch.float32, 1, 8, 8, 4)]
    with pytest.raises(ConfigError, match=r"there is no stem of torch\.float64 images"):
        resnet_stem(*tensors, EPS, False)
    monkeypatch.setenv("OFA_MI_KERNELS", "auto")
    assert resnet_stem(*tensors, EPS, False).shape == (1, 4, 2, 2)


@pytest.mark.parametrize(
    "index, shape, message",
    [
        (0, (2, 4, 8, 8), r"images \(2, 4, 8, 8\): must be \(N, 3, H, W\)"),
        (1, (16, 3, 5, 5), r"a convolution's weight \(16, 3, 5, 5\): must be \(C, 3, 7, 7\)"),
        (4, (15,), r"BatchNorm of \(15,\) for a convolution of 16 channels"),
    ],
)
def test_shapes_that_do_not_fit(index, shape, message, device):
    tensors = inputs(device, torch.float32, 2, 8, 8, 16)
    tensors[index] = torch.zeros(shape, device=device)
    with pytest.raises(ValueError, match=message):
        resnet_stem(*tensors, EPS, False)


def test_one_value_has_no_variance(device):
    tensors = inputs(device, torch.float32, 1, 2, 2, 16)
    with pytest.raises(ValueError, match="one value per channel"):
        resnet_stem(*tensors, EPS, True)
