"""Flickr8k: every caption is trained on, and a caption is right for one photo and wrong for its partner."""

from collections import Counter

from tests.data_prep.sources.raw_tree import Picture, build_instances, of_task, write_raw

TRAIN = {
    "11_a.jpg": ["A dog runs .", "The brown dog jumps high ."],
    "22_b.jpg": ["Two children swim .", "Kids play in water happily ."],
    "33_c.jpg": ["A red car .", "Wheels ."],
    "44_d.jpg": ["A dog sits in red water .", "Dog ."],
}
TEST = {"55_e.jpg": ["A man climbs .", "Someone on rock ."], "66_f.jpg": ["Birds fly ."]}


def raw_folder(root):
    tokens = "".join(f"{n}#{i}\t{c}\n" for n, cs in (TRAIN | TEST).items() for i, c in enumerate(cs))
    return write_raw(
        root,
        {
            "flickr8k/Flickr8k.token.txt": tokens,
            "flickr8k/Flickr_8k.trainImages.txt": "\n".join(TRAIN) + "\n",
            "flickr8k/Flickr_8k.testImages.txt": "\n".join(TEST),
            **{f"flickr8k/Flicker8k_Dataset/{name}": Picture(40, 30) for name in TRAIN | TEST},
        },
    )


def example_raw(root):
    """A raw folder from which every task is made."""
    return raw_folder(root)


def test_captions(tmp_path):
    built = build_instances(raw_folder(tmp_path / "raw"), tmp_path / "out", "flickr8k")
    trained = of_task(built, "flickr8k_captioning", "train", "valid")
    assert sorted(i.target[0] for i in trained) == sorted(caption for cs in TRAIN.values() for caption in cs)
    assert {i.image_path for i in trained} == {f"images/flickr30k/{n}.jpg" for n in (11, 22, 33, 44)}
    tested = of_task(built, "flickr8k_captioning", "test")
    assert [(i.target[0], i.references) for i in tested] == [
        ("A man climbs .", ("Someone on rock .",)),
        ("Birds fly .", ()),
    ]


def test_a_wrong_caption_is_of_another_photo_and_as_often_right(tmp_path):
    built = build_instances(raw_folder(tmp_path / "raw"), tmp_path / "out", "flickr8k")
    matching = of_task(built, "flickr8k_image_text_matching", "train", "valid")
    assert matching
    owner = {caption: name for name, captions in TRAIN.items() for caption in captions}
    answers = Counter()
    for instance in matching:
        caption, photo = instance.text[0], instance.image_path.split("/")[-1].removesuffix(".jpg")
        assert (owner[caption].split("_")[0] == photo) == (instance.target == ("yes",))
        answers[caption, instance.target[0]] += 1
    for caption in {caption for caption, _ in answers}:
        assert answers[caption, "yes"] == answers[caption, "no"] == 1


def test_the_real_photos(real_raw, tmp_path):
    built = build_instances(real_raw, tmp_path / "out", "flickr8k", workers=2)
    assert len(of_task(built, "flickr8k_captioning", "train", "valid")) == 4500
    assert len(of_task(built, "flickr8k_captioning", "test")) == 100
    assert len(of_task(built, "flickr8k_image_text_matching")) > 1500
