"""What ofa_nano has and the released models have not: positions in the content, smooth beginnings, its image tower."""

import pytest
import torch
from fairseq.data import Dictionary

from ofa_mi.models.image_tower import CONVS, TOWERS, build_image_tower
from tests.golden.cases import build_model
from tests.models.helpers import images, small_model, tokens


@torch.no_grad()
def test_entangled_positions_are_added_before_the_layer_norm():
    """As in the released code: token + position + type, then LayerNorm; patches likewise; targets without a type."""
    model = small_model(entangle_position_embedding=True, disable_entangle=False).eval()
    encoder, decoder = model.encoder, model.decoder
    text = tokens(2, 5)
    x, _ = encoder._embed_text(text)
    added = encoder.embed_tokens(text) + encoder.embed_positions.weight[:5] + encoder.type_embedding.weight[0]
    torch.testing.assert_close(x, encoder.layernorm_embedding(added))

    patches = encoder._embed_images(images(2), None, None, 2)
    features = encoder.embed_images(images(2)).flatten(2).transpose(1, 2)
    ids = torch.tensor([1, 2, 43, 44])  # rows of 42 patches
    added = encoder.image_proj(features) + encoder.embed_image_positions.weight[ids] + encoder.type_embedding.weight[1]
    torch.testing.assert_close(patches.x, encoder.patch_layernorm_embedding(added), rtol=1e-4, atol=1e-5)

    target = tokens(2, 4)
    added = decoder.embed_tokens(target) + decoder.embed_positions.weight[:4]
    torch.testing.assert_close(decoder._embed(target, slice(4)), decoder.layernorm_embedding(added))


@torch.no_grad()
def test_without_entangled_positions_the_content_has_none():
    model = small_model().eval()
    x, _ = model.encoder._embed_text(torch.full((1, 4), 7))
    assert x[0, 0].equal(x[0, 3])
    x = model.decoder._embed(torch.full((1, 4), 7), slice(4))
    assert x[0, 0].equal(x[0, 3])


@torch.no_grad()
def test_a_step_has_the_positions_that_it_decodes():
    model = small_model(entangle_position_embedding=True, disable_entangle=False).eval()
    encoder_out = model.encoder(tokens(2, 5), patch_images=images(2))
    target = tokens(2, 4)
    whole, _ = model.decoder(target, encoder_out)
    state = model.decoder.start(encoder_out, max_length=4)
    parts = [model.decoder.step(target[:, None, i : i + 1], state)[:, 0] for i in range(4)]
    torch.testing.assert_close(model.decoder.output_layer(torch.cat(parts, dim=1)), whole, rtol=1e-4, atol=1e-4)


def nano_with_bins(bins):
    """An ofa_nano whose vocabulary ends in location bins, and the id of the first."""
    symbols = Dictionary()
    for name in ["a", "b", *(f"<bin_{k}>" for k in range(bins))]:
        symbols.add_symbol(name)
    model = build_model("ofa_nano", symbols)
    return model, symbols.index("<bin_0>")


def similarity(rows):
    rows = torch.nn.functional.normalize(rows - rows.mean(0), dim=1)
    return rows @ rows.T


@torch.no_grad()
def test_bins_and_patches_begin_alike_where_they_are_near():
    model, first = nano_with_bins(64)
    bins = similarity(model.encoder.embed_tokens.weight[first:])
    assert (bins[range(63), range(1, 64)] > 0.8).all() and bins[0, 40].abs() < 0.5
    patches = similarity(model.encoder.embed_image_positions.weight[1:])
    assert patches[0, 1] > patches[0, 2] > patches[0, 4] and patches[0, 8] > patches[0, 16] > patches[0, 32]


@torch.no_grad()
def test_a_bin_begins_like_the_patches_of_its_column_and_of_its_row():
    model, first = nano_with_bins(65)  # 65 bins: eight to a patch
    width = model.config.encoder_embed_dim
    patches = model.encoder.embed_image_positions.weight[1:].view(8, 8, width)
    for part, line in ((slice(0, width // 2), patches[0]), (slice(width // 2, width), patches[:, 0])):
        bins = model.encoder.embed_tokens.weight[first:, part]
        nearest = torch.cdist(line[:, part], bins).argmin(1)
        assert nearest.tolist() == [8 * place + 4 for place in range(8)]


@pytest.mark.parametrize("freeze", [False, True])
def test_the_tower_of_plain_convolutions(freeze):
    tower = build_image_tower("conv_nano", freeze=freeze, checkpoint_activations=True)
    assert tower(images(2, 64)).shape == (2, tower.out_channels, 4, 4) == (2, CONVS["conv_nano"][-1], 4, 4)
    statistics = [module.running_mean.clone() for module in tower.modules() if hasattr(module, "running_mean")]
    tower.train()
    tower(images(2, 64)).sum().backward()
    changed = [m for m in tower.modules() if hasattr(m, "running_mean")]
    assert all(m.running_mean.equal(before) == freeze for m, before in zip(changed, statistics, strict=True))
    assert all((m.weight.grad is None) == freeze for m in changed)


def test_recomputing_the_tower_changes_nothing():
    torch.manual_seed(0)
    plain = build_image_tower("conv_nano")
    recomputed = build_image_tower("conv_nano", checkpoint_activations=True)
    recomputed.load_state_dict(plain.state_dict())
    for tower in (plain, recomputed):
        tower(images(2, 32)).square().sum().backward()
    for (name, one), other in zip(plain.named_parameters(), recomputed.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, msg=name)
    for (name, one), other in zip(plain.named_buffers(), recomputed.buffers(), strict=True):
        torch.testing.assert_close(one, other, msg=name)


def test_every_tower_is_listed():
    assert TOWERS == ("conv_nano", "resnet_nano", "resnet50", "resnet101", "resnet152")
