"""The Triton attention against the reference in fp64, beside the reference in the same format."""

import gc
import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ofa_mi.errors import ConfigError
from ofa_mi.kernels import PositionBias, attention
from ofa_mi.kernels.attention import dropout, reference
from tests.kernels.test_position_bias import parts, structure

pytest.importorskip("triton")
# Rows of hidden keys overflow before they are dropped.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
GPU = torch.cuda.is_available()


@pytest.fixture(autouse=True)
def poisoned(triton_kernels):
    """Every tensor that is not initialised holds NaN."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)


def inputs(device, dtype, batch, heads, queries, keys, width, bias="shared", seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = [(batch, n, heads, width) for n in (queries, keys, keys)]
    tensors = [torch.randn(s, generator=generator).to(device, dtype).transpose(1, 2) for s in shapes]
    if bias is not None:
        shape = (heads, queries, keys) if bias == "shared" else (batch, heads, queries, keys)
        tensors.append(torch.randn(shape, generator=generator).to(device, dtype))
    return [t.requires_grad_() for t in tensors]


def padding_mask(device, batch, keys):
    """Padding in front of the first sample, behind and inside the second; every further one is all padding."""
    mask = torch.zeros(batch, keys, dtype=torch.bool, device=device)
    mask[0, : keys // 3] = True
    if batch > 1:
        mask[1, keys - keys // 4 :] = True
        mask[1, keys // 2 : keys // 2 + 1] = True
    mask[2:] = True
    return mask


def results(function, tensors, weights, **options):
    """Output and gradients of every input."""
    bias = tensors[3] if len(tensors) > 3 else None
    out = function(*tensors[:3], bias=bias, **options)
    return [out, *torch.autograd.grad(out, tensors, weights.to(out.dtype))]


def compare(tensors, **options):
    """Two runs are equal bit by bit, and as exact as :func:`assert_as_exact` says."""
    weights = torch.randn(tensors[0].shape, generator=torch.Generator().manual_seed(9)).to(tensors[0].device)
    exact = results(reference.attention, [t.detach().double().requires_grad_() for t in tensors], weights, **options)
    plain = results(reference.attention, tensors, weights, **options)
    actual = results(attention, tensors, weights, **options)
    again = results(attention, tensors, weights, **options)
    assert all(ours.equal(second) for ours, second in zip(actual, again, strict=True)), "two runs differ"
    assert_as_exact(actual, plain, exact, weights, tensors[2])


def assert_as_exact(actual, plain, exact, weights, v):
    """Output and gradients: errors against fp64 at most twice (gradients: three times) those of plain PyTorch.

    As a root mean square, since the largest of thousands of errors is chance; no element may be off by more than ten
    times that. Where plain PyTorch is exact by chance, two roundings in fp32 are allowed of what is summed up: v in the
    output; its products with the output's gradient, which cancel in the gradient of the scores, for one key to 0.
    """
    v = v.detach().double()
    products = torch.matmul(weights.double(), v.transpose(-2, -1)).abs().max().item()
    for index, (ours, theirs, true) in enumerate(zip(actual, plain, exact, strict=True)):
        assert ours.isfinite().all()
        error, their_error = (t.double() - true for t in (ours, theirs))
        summed = products if index else v.abs().max().item()
        rounding = 2 * torch.finfo(torch.float32).eps * max(true.abs().max().item(), summed)
        allowed = max((2 if index == 0 else 3) * their_error.square().mean().sqrt().item(), rounding)
        assert error.square().mean().sqrt() <= allowed, index
        assert error.abs().max() <= 10 * allowed, index


SIZES = [(1, 1), (1, 63), (63, 63), pytest.param(70, 130, marks=pytest.mark.slow)]
SIZES += [pytest.param(*size, marks=pytest.mark.gpu) for size in ((928, 1028), (1028, 1028))]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("queries, keys", SIZES)
def test_lengths_with_padding(queries, keys, causal, device):
    compare(
        inputs(device, torch.float32, 3, 2, queries, keys, 32),
        key_padding_mask=padding_mask(device, 3, keys),
        causal=causal,
        scale=0.2,
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("width", [24, 64, *(pytest.param(width, marks=pytest.mark.slow) for width in (32, 80, 128))])
def test_head_widths_and_formats(width, dtype, device):
    compare(
        inputs(device, dtype, 2, 2, 40, 150, width), key_padding_mask=padding_mask(device, 2, 150), scale=width**-0.5
    )


@pytest.mark.parametrize("bias", [None, "shared", "each"])
@pytest.mark.parametrize("padded", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize("dropout_p", [0.0, 0.3])
def test_bias_padding_and_dropout(bias, padded, dropout_p, device):
    mask = padding_mask(device, 3, 90) if padded else None
    tensors = inputs(device, torch.float32, 3, 2, 33, 90, 32, bias)
    compare(tensors, key_padding_mask=mask, scale=0.3, dropout_p=dropout_p, seed=2**40 + 5)


def test_causal_dropout(device):
    compare(inputs(device, torch.float32, 2, 2, 70, 90, 32), causal=True, scale=0.3, dropout_p=0.5, seed=1)


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(
    batch=st.integers(1, 2),
    heads=st.integers(1, 2),
    queries=st.integers(1, 80),
    more_keys=st.integers(0, 80),
    width=st.integers(1, 40),
    causal=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_any_size(batch, heads, queries, more_keys, width, causal, seed):
    device = torch.device("cuda" if GPU else "cpu")
    keys = queries + more_keys
    tensors = inputs(device, torch.float32, batch, heads, queries, keys, width, seed=seed)
    mask = torch.rand(batch, keys, generator=torch.Generator().manual_seed(seed)).to(device) < 0.5
    compare(tensors, key_padding_mask=mask, causal=causal, scale=width**-0.5)


def test_a_row_without_keys_gives_zero_and_zero_gradients(device):
    tensors = inputs(device, torch.float32, 3, 2, 20, 40, 32)
    out, *gradients = results(
        attention, tensors, torch.ones_like(tensors[0]), key_padding_mask=padding_mask(device, 3, 40), scale=0.3
    )
    assert out[2].eq(0).all() and all(g[2].eq(0).all() for g in gradients[:3])
    assert gradients[3].isfinite().all()


def test_strides_of_any_kind(device):
    """Columns apart, rows of a bias at odd addresses, one bias for all heads."""
    q, k, v, bias = (t.detach() for t in inputs(device, torch.float32, 2, 2, 20, 37, 32))
    q = q.transpose(-1, -2).contiguous().transpose(-1, -2)
    expected = reference.attention(q, k, v, bias=bias, scale=0.3)
    for layout in (bias, bias.transpose(1, 2).contiguous().transpose(1, 2), torch.cat([bias, bias], -1)[..., :37]):
        torch.testing.assert_close(attention(q, k, v, bias=layout, scale=0.3), expected)
    one = bias[:1].expand(2, -1, -1)
    torch.testing.assert_close(
        attention(q, k, v, bias=one, scale=0.3), reference.attention(q, k, v, bias=one, scale=0.3)
    )


def test_seeded_dropout_keeps_the_promised_part():
    kept = dropout.mask(7, (2, 3, 50, 41), 0.25, torch.device("cpu"))
    assert kept.shape == (2, 3, 50, 41)
    assert kept.float().mean() == pytest.approx(0.75, abs=0.01)
    assert not kept[0, 0].equal(kept[0, 1]) and not kept.equal(dropout.mask(8, kept.shape, 0.25, kept.device))


def test_dropout_without_a_seed_follows_the_global_generator(device):
    tensors = [t.detach() for t in inputs(device, torch.float32, 1, 1, 20, 30, 32)]

    def run():
        return attention(*tensors[:3], scale=0.3, dropout_p=0.4)

    torch.manual_seed(3)
    first, second = run(), run()
    torch.manual_seed(3)
    assert first.equal(run()) and not first.equal(second)


# -- the bias as parts


def position_inputs(device, dtype, grid=(3, 4), text=21, width=32, batch=3):
    leaves = [t.detach().to(device).requires_grad_() for t in parts(2, *grid, text, width, dtype)]
    length = grid[0] * grid[1] + text
    return inputs(device, dtype, batch, 2, length, length, width, None), leaves, grid, text


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_bias_as_parts(dtype, device, monkeypatch):
    tensors, leaves, grid, text = position_inputs(device, dtype)
    length = tensors[0].shape[2]
    options = {"key_padding_mask": padding_mask(device, 3, length), "scale": 0.2}
    weights = torch.randn(tensors[0].shape, generator=torch.Generator().manual_seed(1)).to(device)

    def run(function, tensors, leaves):
        out = function(*tensors, bias=structure(leaves, *grid, text), **options)
        return [out, *torch.autograd.grad(out, [*tensors, *leaves], weights.to(out.dtype))]

    exact = [[t.detach().double().requires_grad_() for t in group] for group in (tensors, leaves)]
    actual = run(attention, tensors, leaves)
    monkeypatch.setenv("OFA_MI_KERNELS", "reference")
    expected = run(reference.attention, *exact)
    plain = run(reference.attention, tensors, leaves)
    assert_as_exact(actual, plain, expected, weights, tensors[2])


def test_no_plane_is_kept_for_backward(device):
    tensors, leaves, grid, text = position_inputs(device, torch.float32)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.shape) or t, lambda t: t):
        attention(*tensors, bias=structure(leaves, *grid, text), scale=0.2)
    length = tensors[0].shape[2]
    assert kept and not any(shape[-2:] == (length, length) for shape in kept if len(shape) > 1)


def test_a_frozen_bias_costs_no_bias_gradient(device, monkeypatch):
    from ofa_mi.kernels.attention import op

    monkeypatch.setattr(op, "_bias_gradient", None)
    tensors, leaves, grid, text = position_inputs(device, torch.float32)
    frozen = structure([t.detach() for t in leaves], *grid, text)
    out = attention(*tensors, bias=frozen, scale=0.2)
    assert all(g.isfinite().all() for g in torch.autograd.grad(out.sum(), tensors))


# -- as a part of PyTorch


def test_operators_are_well_behaved(device):
    from ofa_mi.kernels.attention import op

    q, k, v, bias = inputs(device, torch.float32, 2, 2, 20, 20, 16)
    mask = padding_mask(device, 2, 20)
    seed = torch.tensor([3], device=device)
    torch.library.opcheck(op.attention, (q, k, v, bias, mask, seed, True, 0.3, 0.2))
    torch.library.opcheck(op.attention, (q, k, v, None, None, None, False, 0.3, 0.0))
    tensors, leaves, grid, text = position_inputs(device, torch.float32, (2, 2), 5, 16, 2)
    parts_of_bias = op.position_op.parts(structure(leaves, *grid, text))
    torch.library.opcheck(op.position_attention, (*tensors, *parts_of_bias, None, None, False, 0.3, 0.0))
    torch.library.opcheck(op.position_op.position_bias, parts_of_bias)


@pytest.mark.filterwarnings("ignore")
def test_compiled_and_checkpointed(device):
    tensors, leaves, grid, text = position_inputs(device, torch.float32)

    def layer(*tensors):
        bias = structure(tensors[3:], *grid, text)
        return attention(*tensors[:3], bias=bias, scale=0.2).square()

    every = [*tensors, *leaves]
    expected = [layer(*every), *torch.autograd.grad(layer(*every).sum(), every)]
    compiled = torch.compile(layer, backend="aot_eager")
    checkpointed = torch.utils.checkpoint.checkpoint
    for run in (compiled, lambda *t: checkpointed(layer, *t, use_reentrant=False)):
        out = run(*every)
        for a, b in zip([out, *torch.autograd.grad(out.sum(), every)], expected, strict=True):
            torch.testing.assert_close(a, b)


# -- choice


def test_what_the_kernels_cannot_do(device, monkeypatch):
    q, k, v = (t.detach() for t in inputs(device, torch.float32, 1, 1, 3, 3, 129, None))
    with pytest.raises(ConfigError, match="a head width of 129 exceeds 128: use OFA_MI_KERNELS=auto"):
        attention(q, k, v, scale=1.0)
    with pytest.raises(ConfigError, match="there is no attention of"):
        attention(q.double(), k.double(), v.double(), scale=1.0)
    monkeypatch.setenv("OFA_MI_KERNELS", "auto")
    assert attention(q, k, v, scale=1.0).shape == q.shape


@pytest.mark.parametrize(
    "change, message",
    [
        ({"k": (1, 1, 3, 16)}, "do not fit together"),
        ({"bias": (2, 3, 4)}, r"a bias \(2, 3, 4\) is neither \(1, 3, 4\) nor"),
        ({"key_padding_mask": (1, 3)}, "a padding mask"),
    ],
)
def test_shapes_that_do_not_fit(change, message, device):
    q, k, v = (t.detach() for t in inputs(device, torch.float32, 1, 1, 3, 4, 32, None))
    arguments = {"q": q, "k": k, "v": v} | {name: torch.zeros(shape, device=device) for name, shape in change.items()}
    with pytest.raises(ValueError, match=message):
        attention(**arguments, scale=1.0)


def test_positions_that_do_not_fit(device):
    tensors, leaves, grid, text = position_inputs(device, torch.float32)
    bias = structure(leaves, *grid, text)
    with pytest.raises(ValueError, match="positions of a plane"):
        attention(tensors[0][:, :, 1:], *tensors[1:], bias=PositionBias(bias.absolute), scale=0.2)


def test_on_a_cpu_the_kernels_need_the_interpreter(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    tensors = inputs("cpu", torch.float32, 1, 1, 3, 3, 32)
    with pytest.raises(ConfigError, match="the tensors are on a CPU and TRITON_INTERPRET=1 is not set"):
        attention(*tensors[:3], scale=1.0)


def test_importing_the_package_does_not_need_triton():
    """A finder that hides Triton; PyTorch itself does without it."""
    code = (
        "import sys, importlib.util, importlib.abc\n"
        "class Hide(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name.split('.')[0] == 'triton': raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Hide())\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *a: None if name == 'triton' else find(name, *a)\n"
        "import torch, ofa_mi\n"
        "from ofa_mi.kernels import attention\n"
        "x = torch.ones(1, 1, 2, 32)\n"
        "assert attention(x, x, x, scale=1.0).equal(x)\n"
        "assert 'triton' not in sys.modules\n"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("OFA_MI_KERNELS", "TRITON_INTERPRET")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


@pytest.mark.gpu
def test_memory_does_not_grow_with_the_batch_times_length_squared():
    device = torch.device("cuda")
    tensors, leaves, grid, text = position_inputs(device, torch.bfloat16, (4, 5), 1004, 64, 8)
    gc.collect()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    out = attention(*tensors, bias=structure(leaves, *grid, text), scale=0.1)
    torch.autograd.grad(out.sum(), [*tensors, *leaves])
    expanded = 8 * 2 * 1024**2 * 2  # bytes of one (B, H, L, L) in 16 bits
    assert torch.cuda.max_memory_allocated() - before < expanded
