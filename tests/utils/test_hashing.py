"""The bits of a hash stay what they are: hold-outs, indexes and choices of earlier versions hang on them."""

from ofa_mi.utils.hashing import hash64


def test_the_bits_are_those_of_every_version():
    assert hash64("valid", "coco/000000000139.jpg") == 1344517492239550275
    assert hash64(0, "x", 7) == 16729307580237711536
    assert hash64("\ud800") == 7497787021708494914  # half of a surrogate pair, which a file name may hold
