"""A model for inference gives the numbers of the model that it was made of."""

import pytest
import torch

from ofa_mi.models import inference, products
from ofa_mi.models.image_tower import RESNETS, build_image_tower
from ofa_mi.models.inference import for_inference
from ofa_mi.precision import cpu_has_bf16
from tests.golden.cases import load_case
from tests.models.helpers import images, small_model, tokens

needs_bf16 = pytest.mark.skipif(not cpu_has_bf16(), reason="this processor does not compute in bf16")


@pytest.fixture(params=[True, False], ids=["oneDNN", "plain"])
def either(request, monkeypatch):
    """With oneDNN's products of packed matrices, and with PyTorch's usual operations."""
    if request.param and not inference.onednn():
        pytest.skip("this PyTorch has no products of matrices that oneDNN has packed")
    if not request.param:
        monkeypatch.setattr(inference, "onednn", lambda: False)


def outputs(model, inputs):
    with torch.no_grad():
        logits, extra = model(**inputs)
    return logits.float(), extra["encoder_out"]["encoder_out"][0].float()


@pytest.mark.parametrize("name", ["image_text", "mixed_modality", "text_only", "medium_128px"])
def test_golden_outputs_in_fp32(either, name):
    case = load_case(name)
    logits, _ = outputs(for_inference(case.model), case.inputs)
    expected = torch.from_numpy(case.expected["logits"])
    assert (logits[..., : expected.shape[-1]] - expected).abs().max() <= 1e-4 * expected.abs().max()


@needs_bf16
def test_bf16_is_as_close_as_autocast(either):
    case = load_case("image_text")
    exact = outputs(case.model, case.inputs)
    with torch.autocast("cpu", torch.bfloat16):
        cast = outputs(case.model, case.inputs)
    found = outputs(for_inference(case.model, "bf16"), case.inputs)
    for true, autocast, value in zip(exact, cast, found, strict=True):
        assert 0 < (value - true).norm() <= 1.3 * (autocast - true).norm()


@pytest.mark.parametrize("name", ["resnet_nano", "conv_nano"])
@pytest.mark.parametrize("side", [32, 48, 80])
def test_towers_with_their_batchnorm_folded(either, name, side):
    tower = build_image_tower(name).eval()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for norm in (m for m in tower.modules() if isinstance(m, torch.nn.BatchNorm2d)):
            for values in (norm.weight, norm.bias, norm.running_mean):
                values.copy_(torch.randn(values.shape, generator=generator))
            norm.running_var.copy_(0.2 + torch.rand(norm.running_var.shape, generator=generator))
        folded = inference.FoldedResNet if name in RESNETS else inference.FoldedConvTower
        pixels = torch.randn(3, 3, side, side, generator=generator)
        before = pixels.clone()
        found, expected = folded(tower, torch.float32)(pixels), tower(pixels)
    assert found.shape == expected.shape and pixels.equal(before)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


def test_the_model_itself_stays_as_it_is():
    model = small_model().eval()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    made = for_inference(model)
    assert for_inference(made) is made
    assert made.encoder.embed_tokens.weight is model.encoder.embed_tokens.weight, "the table is not held twice"
    outputs(made, {"src_tokens": tokens(2, 5), "src_lengths": None, "prev_output_tokens": tokens(2, 3)})
    after = model.state_dict()
    assert after.keys() == state.keys() and all(after[name].equal(value) for name, value in state.items())
    loss = model(tokens(2, 5), None, tokens(2, 3), patch_images=images(2))[0].sum()
    loss.backward()
    assert model.decoder.layers[0].fc1.weight.grad is not None


def test_without_oneDNN_it_is_not_asked(monkeypatch):
    """Another version of PyTorch may lack the operations, which are not part of its public interface."""
    inference.onednn.cache_clear()
    monkeypatch.setattr(products, "_onednn_agrees", lambda: torch.ops.mkldnn._no_such_operation())
    assert not inference.onednn()
    inference.onednn.cache_clear()
