"""Parts of a batch that are decoded with settings of their own."""

import pytest
import torch

from ofa_mi.decoding.kinds import select


def batch(index=None):
    """Five sentences; the second one has no image."""
    inputs = {
        "src_tokens": torch.arange(20).view(5, 4),
        "src_lengths": torch.tensor([2, 4, 3, 1, 2]),
        "patch_images": torch.arange(4 if index is None else 2).view(-1, 1),
        "patch_masks": torch.tensor([True, False, True, True, True]),
    }
    return inputs if index is None else inputs | {"patch_index": torch.tensor(index)}


@pytest.mark.parametrize("index", [None, [0, 1, 1, 0]])
@pytest.mark.parametrize("rows", [[0], [1], [0, 2], [1, 3, 4], [2, 3], [0, 1, 2, 3, 4]])
def test_a_part_of_a_batch_is_as_if_it_were_alone(index, rows):
    whole = batch(index)
    part = select(whole, rows)
    lengths = whole["src_lengths"][rows]
    assert part["src_lengths"].equal(lengths)
    assert part["src_tokens"].equal(whole["src_tokens"][rows, : max(lengths.tolist())])
    assert part["patch_masks"].equal(whole["patch_masks"][rows])
    of_sentence = dict(zip([0, 2, 3, 4], index or range(4), strict=True))
    wanted = [of_sentence[row] for row in rows if row != 1]
    if not wanted:
        assert part["patch_images"] is None and "patch_index" not in part
    else:
        places = part.get("patch_index", torch.arange(len(part["patch_images"])))
        assert part["patch_images"][places][:, 0].tolist() == wanted
        assert len(part["patch_images"]) == len(set(wanted)), "no image goes through the model for nothing"


def test_a_part_of_a_batch_without_images():
    part = select({"src_tokens": torch.ones(3, 2), "src_lengths": torch.tensor([2, 1, 1])}, [1, 2])
    assert part["src_tokens"].shape == (2, 1) and part.get("patch_images") is None
