"""Hateful Memes: the text on the meme is the answer."""

from tests.data_prep.sources.raw_tree import Lines, Picture, build_instances, write_raw

MEMES = Lines(
    [
        {"id": 1243, "img": "img/01243.png", "label": 0, "text": "when  someone tells\nyou how to bbq"},
        {"id": 5, "img": "img/00005.png", "label": 1, "text": " "},
    ]
)


def raw_folder(root):
    pictures = {f"hateful_memes/{meme['img']}": Picture(320, 240) for meme in MEMES}
    return write_raw(root, {"hateful_memes/test_unseen.jsonl": MEMES, **pictures})


def example_raw(root):
    """A raw folder from which every task is made."""
    return raw_folder(root)


def test_texts_are_on_one_line_and_empty_ones_are_counted(tmp_path):
    built = build_instances(raw_folder(tmp_path / "raw"), tmp_path / "out", "hateful_memes")
    (meme,) = built["test"]
    assert meme.target == ("when someone tells you how to bbq",)
    assert meme.image_path == "images/hateful_memes/01243.png" and meme.image_size == (320, 240)
    assert not built["train"] and not built["valid"]
