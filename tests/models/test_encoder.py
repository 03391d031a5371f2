"""The encoder: which samples the image tower sees, padding, positions, fairseq's interface."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from ofa_mi.errors import ConfigError, DataError
from tests.models.helpers import gradients, images, small_model, tokens

MODEL = small_model().eval()


def outputs(encoder_out):
    """Encoder output (B, L, C) without padding: one (L_i, C) per sample."""
    x, padding = encoder_out["encoder_out"][0].transpose(0, 1), encoder_out["encoder_padding_mask"][0]
    return [row[~mask] for row, mask in zip(x, padding, strict=True)]


@settings(max_examples=15, deadline=None)
@given(masks=st.lists(st.booleans(), min_size=1, max_size=4), padded=st.integers(0, 2))
@torch.no_grad()
def test_a_sample_does_not_depend_on_its_batch(masks, padded):
    """Mixed with others or alone, padded or not, with or without a neighbour's image: the same output."""
    batch = len(masks)
    text, pictures, masks = tokens(batch, 9, padded=padded), images(batch), torch.tensor(masks)
    together = outputs(MODEL.encoder(text, patch_images=pictures, patch_masks=masks))
    for index in range(batch):
        alone = text[index : index + 1, : 9 - index * padded]
        picture = pictures[index : index + 1] if masks[index] else None
        torch.testing.assert_close(
            together[index], outputs(MODEL.encoder(alone, patch_images=picture))[0], rtol=1e-4, atol=1e-5
        )


@torch.no_grad()
def test_rows_without_an_image_may_be_left_out():
    text, pictures, masks = tokens(3, 6), images(3), torch.tensor([True, False, True])
    full = MODEL.encoder(text, patch_images=pictures, patch_masks=masks)["encoder_out"][0]
    assert full.equal(MODEL.encoder(text, patch_images=pictures[masks], patch_masks=masks)["encoder_out"][0])


@torch.no_grad()
def test_samples_may_share_images():
    text, masks, pictures = tokens(4, 6), torch.tensor([True, False, True, True]), images(2)
    index = torch.tensor([1, 0, 1])
    shared = MODEL.encoder(text, patch_images=pictures, patch_masks=masks, patch_index=index)["encoder_out"][0]
    apart = MODEL.encoder(text, patch_images=pictures[index], patch_masks=masks)["encoder_out"][0]
    torch.testing.assert_close(shared, apart)


@torch.no_grad()
def test_pixels_of_a_sample_without_an_image_are_never_read():
    text, pictures, masks = tokens(2, 6), images(2), torch.tensor([True, False])
    expected = MODEL.encoder(text, patch_images=pictures, patch_masks=masks)["encoder_out"][0]
    pictures[1] = torch.nan
    assert MODEL.encoder(text, patch_images=pictures, patch_masks=masks)["encoder_out"][0].equal(expected)


@pytest.mark.parametrize(
    ("pictures", "masks"),
    [(None, None), (None, [False, False]), (images(2), [False, False]), (images(0), [False, False])],
)
def test_a_batch_without_images_never_touches_the_resnet(pictures, masks, monkeypatch):
    model = small_model()
    monkeypatch.setattr(model.encoder.embed_images, "forward", None)
    masks = None if masks is None else torch.tensor(masks)
    encoder_out = model.encoder(tokens(2, 6), patch_images=pictures, patch_masks=masks)
    assert encoder_out["encoder_out"][0].shape[0] == 6  # no patches in front
    encoder_out["encoder_out"][0].sum().backward()
    assert not any("embed_images" in name for name in gradients(model))


def test_the_statistics_of_batch_norm_come_from_images_only():
    one, two = small_model(), small_model()
    one(tokens(1, 5), None, tokens(1, 3), images(1))
    pictures = torch.cat([images(1), torch.full((2, 3, 32, 32), 100.0)])
    two(tokens(3, 5), None, tokens(3, 3), pictures, torch.tensor([True, False, False]))
    for (name, a), b in zip(one.named_buffers(), two.buffers(), strict=True):
        torch.testing.assert_close(a, b, msg=name)


def test_a_sample_that_is_all_padding_gives_finite_outputs_and_gradients():
    model = small_model()
    text = tokens(3, 5)
    text[1] = 1  # neither text nor image
    logits, _ = model(text, None, tokens(3, 4), images(3), torch.tensor([True, False, False]))
    assert logits.isfinite().all()
    logits.square().sum().backward()
    assert all(g.isfinite().all() for g in gradients(model).values())


def test_masks_and_images_must_agree():
    text = tokens(3, 5)
    with pytest.raises(DataError, match="2 images for 1 samples"):
        MODEL.encoder(text, patch_images=images(2), patch_masks=torch.tensor([True, False, False]))
    with pytest.raises(DataError, match="2 images for 3 samples"):
        MODEL.encoder(text, patch_images=images(2))
    with pytest.raises(DataError, match="patch_images is missing"):
        MODEL.encoder(text, patch_masks=torch.tensor([True, False, False]))
    with pytest.raises(DataError, match="shape"):
        MODEL.encoder(text, patch_images=images(2), patch_masks=torch.tensor([True, True]))
    with pytest.raises(DataError, match="patch_index has 3 entries for 2 samples with an image"):
        masks = torch.tensor([True, True, False])
        MODEL.encoder(text, patch_images=images(2), patch_masks=masks, patch_index=torch.tensor([0, 1, 1]))


def test_lengths_beyond_the_tables_are_errors():
    with pytest.raises(ConfigError, match="1025 tokens exceeds --max-source-positions 1024"):
        MODEL.encoder(tokens(1, 1025))
    with pytest.raises(ConfigError, match=r"43 x 43 patches .* --patch-image-size 672"):
        MODEL.encoder(tokens(1, 3), patch_images=images(1, 688))


@torch.no_grad()
def test_longer_tables_than_released():
    model = small_model(max_source_positions=1100).eval()
    assert model.encoder(tokens(1, 1100))["encoder_out"][0].isfinite().all()


def bilinear(grid, height, width):
    """Bilinear resize of (h, w, C) with half-pixel centres, written out."""

    def weights(size, new):
        centre = ((torch.arange(new) + 0.5) * size / new - 0.5).clamp(0, size - 1)
        low = centre.floor().long()
        high = (low + 1).clamp(max=size - 1)
        share = centre - low
        matrix = torch.zeros(new, size)
        matrix[torch.arange(new), low] += 1 - share
        matrix[torch.arange(new), high] += share
        return matrix

    rows, columns = weights(grid.shape[0], height), weights(grid.shape[1], width)
    return torch.einsum("ri,cj,ijd->rcd", rows, columns, grid).flatten(0, 1)


def test_interpolate_position_resizes_the_original_grid():
    encoder = small_model(interpolate_position=True, orig_patch_image_size=64).encoder
    table = encoder.embed_image_positions.weight
    original = torch.stack([table[row * 42 + 1 : row * 42 + 5] for row in range(4)])  # 4 x 4 patches of 64 px
    ids, positions = encoder._patch_positions(6, 5)
    torch.testing.assert_close(positions, bilinear(original, 6, 5))
    assert ids[:6].tolist() == [1, 2, 3, 4, 5, 43]  # the relative bias knows the real grid
    ids, positions = encoder._patch_positions(4, 3)  # not more patches than in the original grid
    assert positions.equal(table[ids])


@torch.no_grad()
def test_fairseqs_interface():
    text, masks = tokens(3, 6, padded=1), torch.tensor([True, False, True])
    encoder_out = MODEL.encoder(text, patch_images=images(3), patch_masks=masks, return_all_hiddens=True)
    assert encoder_out["encoder_out"][0].shape == (4 + 6, 3, 32)
    assert encoder_out["encoder_padding_mask"][0].shape == (3, 10)
    assert encoder_out["encoder_padding_mask"][0][1, :4].all()
    assert [s.shape for s in encoder_out["encoder_states"]] == [(10, 3, 32)] * 3
    assert encoder_out["position_embeddings"][0].shape == (1, 10, 32)

    reordered = MODEL.encoder.reorder_encoder_out(encoder_out, torch.tensor([2, 0, 0, 1]))
    assert reordered.keys() == encoder_out.keys()
    assert reordered["encoder_out"][0][:, 1].equal(encoder_out["encoder_out"][0][:, 0])
    assert reordered["encoder_padding_mask"][0][0].equal(encoder_out["encoder_padding_mask"][0][2])
    assert reordered["position_embeddings"][0].equal(encoder_out["position_embeddings"][0])
    assert MODEL.max_positions() == (1024, 1024)


def test_the_tower_is_a_resnet_of_stride_16_with_the_stride_in_the_3x3_convolution():
    tower = MODEL.encoder.embed_images
    assert tower(images(2, 64)).shape == (2, tower.out_channels, 4, 4)
    for stage in (tower.layer2, tower.layer3):
        assert stage[0].conv1.stride == (1, 1) and stage[0].conv2.stride == (2, 2)


@torch.no_grad()
def test_images_are_cast_to_the_dtype_of_the_weights():
    model = small_model().eval().to(torch.bfloat16)
    out = model.encoder(tokens(1, 4), patch_images=images(1))["encoder_out"][0]
    reference = MODEL.encoder(tokens(1, 4), patch_images=images(1))["encoder_out"][0]
    assert out.dtype == torch.bfloat16
    assert F.cosine_similarity(out.float().flatten(), reference.flatten(), dim=0) > 0.99
