"""Batches: padding, images only where there are images, allowed tokens."""

import torch

from ofa_mi.data.collation import Example, allowed_tokens, collate


def example(index, source, target, **fields):
    return Example(index=index, source=source, target=target, **fields)


def test_batch_is_padded_on_the_right_and_the_decoder_input_shifted():
    batch = collate([example(4, [0, 9, 8, 2], [7, 2]), example(5, [0, 2], [5, 6, 2])])
    assert batch["id"].tolist() == [4, 5] and batch["nsentences"] == 2 and batch["ntokens"] == 5
    inputs = batch["net_input"]
    assert inputs["src_tokens"].tolist() == [[0, 9, 8, 2], [0, 2, 1, 1]]
    assert inputs["src_lengths"].tolist() == [4, 2]
    assert inputs["prev_output_tokens"].tolist() == [[0, 7, 1], [0, 5, 6]]
    assert batch["target"].tolist() == [[7, 2, 1], [5, 6, 2]]
    assert inputs["output_mask"].tolist() == [[True, True, False], [True, True, True]]


def test_only_examples_with_an_image_send_one():
    image = torch.rand(3, 16, 16)
    inputs = collate([example(0, [0, 2], [2]), example(1, [0, 2], [2], image=image)])["net_input"]
    assert inputs["patch_masks"].tolist() == [False, True]
    assert torch.equal(inputs["patch_images"], image[None])
    assert collate([example(0, [0, 2], [2])])["net_input"]["patch_images"] is None


def test_allowed_tokens_follow_the_options_that_agree_so_far():
    options = [[5, 6, 2], [5, 7, 2], [8, 2]]
    allowed = allowed_tokens([example(0, [0, 2], [5, 7, 2], options=options), example(1, [0, 2], [4, 2])], 3)
    assert allowed.tolist() == [[[5, 8], [6, 7], [2, -1]], [[-1, -1]] * 3]


def test_no_options_need_no_table():
    assert collate([example(0, [0, 2], [2])])["allowed_tokens"] is None


def test_confidence_is_sent_only_when_it_matters():
    assert collate([example(0, [0, 2], [2])])["confidence"] is None
    batch = collate([example(0, [0, 2], [2], confidence=0.5), example(1, [0, 2], [2])])
    assert batch["confidence"].tolist() == [0.5, 1.0]
