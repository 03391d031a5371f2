"""Tuning a small part: what is trained, that it begins as the model it is of, and that it can be merged."""

import re

import pytest
import torch

from ofa_mi.models import SIZES, inference, tuning
from ofa_mi.models.inference import for_inference
from tests.conftest import REPOSITORY
from tests.golden.cases import build_model
from tests.models.helpers import images, small_model, tokens

LORA = {"lora_rank": 3, "lora_alpha": 6.0, "lora_modules": "attention,feed-forward"}


def inputs():
    return {
        "src_tokens": tokens(2, 5),
        "src_lengths": None,
        "prev_output_tokens": tokens(2, 4, seed=1),
        "patch_images": images(2),
        "patch_masks": torch.tensor([True, True]),
    }


def logits(model):
    with torch.no_grad():
        return model.eval()(**inputs())[0].float()


def tuned(**flags):
    """A model whose small part is no longer as it began."""
    model = small_model(**flags)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


def test_low_rank_begins_as_the_model_and_keeps_its_initial_weights():
    torch.manual_seed(0)
    plain = build_model("ofa_nano", 50)
    torch.manual_seed(0)
    lora = build_model("ofa_nano", 50, **LORA)
    own = lora.state_dict()
    assert all(torch.equal(weight, own[name]) for name, weight in plain.state_dict().items())
    assert torch.equal(logits(plain), logits(lora))


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"lora_rank": 3}, r"layers\.\d\.(self|encoder)_attn\.(q|k|v|out)_proj\.lora_[AB]"),
        ({"lora_rank": 3, "lora_modules": "feed-forward"}, r"layers\.\d\.fc[12]\.lora_[AB]"),
        ({"adapter": True, "adapter_dim": 5}, r"layers\.\d\.adapter\.(down|up)_proj\.(weight|bias)"),
        ({"bitfit": True}, r"layers\.\d\.(fc[12]|\w+_layer_norm)\.bias|layer_norm\.bias"),
        ({"lora_rank": 3, "bitfit": True}, r".*\.lora_[AB]|.*fc[12]\.bias|.*layer_norm\.bias"),
    ],
)
def test_only_the_small_part_is_trained(flags, expected):
    model = small_model(**flags).train()
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    everything = {name for name, _ in model.named_parameters()}
    assert trained == {name for name in everything if re.fullmatch(rf"(encoder|decoder)\.({expected})", name)} != set()
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model(**inputs())[0].sum().backward()
    assert {name for name, parameter in model.named_parameters() if parameter.grad is not None} == trained
    # Statistics of the image tower are saved with the base only: they must not move.
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in model.named_buffers())


@pytest.mark.parametrize(
    "flags", [LORA, {"adapter": True, "adapter_dim": 5}, {**LORA, "adapter": True, "adapter_dim": 5}]
)
@pytest.mark.parametrize("packed", [True, False])
def test_inference_gives_the_tuned_models_numbers(flags, packed, monkeypatch):
    if not packed:
        monkeypatch.setattr(inference, "onednn", lambda: False)
    model = tuned(**flags)
    before, expected = {name: weight.clone() for name, weight in model.state_dict().items()}, logits(model)
    plain = logits(small_model(**flags))
    found = logits(for_inference(model))
    assert (expected - plain).abs().max() > 0.1 * plain.abs().max()  # the small part shows
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


def test_dropout_of_low_rank_changes_only_the_change():
    model = small_model(**LORA, lora_dropout=0.5).train()
    changes = [parameter for name, parameter in model.named_parameters() if name.endswith("lora_B")]
    for change in changes:
        torch.nn.init.zeros_(change)
    assert torch.equal(model(**inputs())[0], model(**inputs())[0])
    for change in changes:
        torch.nn.init.ones_(change)
    assert not torch.equal(model(**inputs())[0], model(**inputs())[0])


def test_an_adapter_is_ofas():
    adapter = tuning.Adapter(4, 3)
    x = torch.randn(2, 5, 4)
    down = torch.relu(x @ adapter.down_proj.weight.T + adapter.down_proj.bias)
    torch.testing.assert_close(adapter(x), x + down @ adapter.up_proj.weight.T + adapter.up_proj.bias)


KINDS = {
    "all weights": {},
    "`--lora-rank 8`": {"lora_rank": 8},
    "`--lora-rank 8 --lora-modules attention,feed-forward`": {"lora_rank": 8, "lora_modules": "attention,feed-forward"},
    "`--adapter`": {"adapter": True},
    "`--bitfit`": {"bitfit": True},
}
VOCABULARY = 59457  # of the released models


def table():
    """Rows of docs/training.md: trained parameters in millions, GiB of weights, gradients and Adam's state in fp32."""
    rows = []
    for kind, flags in KINDS.items():
        cells = []
        for arch in ("ofa_tiny", "ofa_base", "ofa_large"):
            assert arch in SIZES
            with torch.device("meta"):
                sizes = [(p.numel(), p.requires_grad) for p in build_model(arch, VOCABULARY, **flags).parameters()]
            every, some = sum(n for n, _ in sizes), sum(n for n, trained in sizes if trained)
            cells.append(f"{some / 1e6:.2f} M, {(4 * every + 12 * some) / 2**30:.2f} GiB")
        rows.append(f"| {kind} | {' | '.join(cells)} |")
    return rows


def test_the_table_of_the_docs_is_what_the_models_have():
    text = (REPOSITORY / "docs/training.md").read_text(encoding="utf-8")
    assert [row for row in table() if row not in text.splitlines()] == []
