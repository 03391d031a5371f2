"""The photos of Flickr30k, which SNLI-VE annotates; those of Flickr8k are among them."""

from __future__ import annotations

from ofa_mi.data_prep.raw import RawFile
from ofa_mi.data_prep.source import ImageFile

PAGE = "https://shannon.cs.illinois.edu/DenotationGraph/"
LICENCE = "each photo has its own licence on Flickr; non-commercial research and education"

FLICKR30K_IMAGES = RawFile(
    path="flickr30k/flickr30k-images/",
    page=PAGE,
    note="the page has a form to fill in; unpack flickr30k-images.tar.gz in flickr30k/",
    alternatives=("flickr30k/flickr30k_images/",),
)


def flickr_image(photo_id: int | str, *files: str) -> ImageFile:
    """The photo with this number on Flickr.

    Args:
        photo_id: The number that its name in Flickr30k is, and its name in Flickr8k begins with.
        files: Where it may lie below the raw folder, besides the folders of Flickr30k.
    """
    name = f"{photo_id}.jpg"
    folders = ("flickr30k/flickr30k-images", "flickr30k/flickr30k_images")
    return ImageFile(f"flickr30k/{name}", (*files, *(f"{folder}/{name}" for folder in folders)))
