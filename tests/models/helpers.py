"""Small models and batches for the tests of the model."""

import torch

from tests.golden.cases import RELEASED_FORM, build_model

VOCABULARY = 50
PAD = 1
SMALL = {"encoder_layers": 2, "decoder_layers": 2, "encoder_embed_dim": 32, "encoder_ffn_embed_dim": 48}


def small_model(**flags):
    """A two-layer ofa_nano of the released form, with weights large enough that every part shows in the output."""
    torch.manual_seed(0)
    model = build_model("ofa_nano", VOCABULARY, **{**RELEASED_FORM, **SMALL, **flags})
    for name, parameter in model.named_parameters():
        if "embed_images" not in name and parameter.dim() == 2:
            torch.nn.init.normal_(parameter, std=0.3)
    return model


def tokens(batch, length, *, padded=0, seed=0):
    """(batch, length) int64 text tokens; sample i ends with i * padded padding tokens."""
    ids = torch.randint(4, VOCABULARY, (batch, length), generator=torch.Generator().manual_seed(seed))
    for index in range(batch):
        ids[index, length - index * padded :] = PAD
    return ids


def images(batch, size=32, *, seed=0):
    """(batch, 3, size, size)."""
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(seed))


def gradients(model):
    """Gradients by name, of the parameters that have one."""
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
