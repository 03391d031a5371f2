"""Reading images and the model's pixels."""

import io
import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from ofa_mi.data import images
from ofa_mi.data.images import ImageTransform, exif_orientation, load_image, open_image
from ofa_mi.errors import ConfigError, DataError

NAME = "train.jsonl:3: instance 'a'"


@pytest.fixture(scope="module")
def photo():
    """A smooth picture with some noise, 70x50."""
    rng = np.random.default_rng(0)
    x, y = np.meshgrid(np.linspace(0, 255, 70), np.linspace(0, 255, 50))
    pixels = np.stack([x, y, 255 - x], axis=-1) + rng.normal(0, 20, (50, 70, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def saved(image, path, **options):
    image.save(path, **options)
    return path


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [
        ("RGB", "png"),
        ("L", "png"),
        ("RGBA", "png"),
        ("P", "png"),
        ("LA", "png"),
        ("1", "png"),
        ("CMYK", "jpg"),
        ("L", "jpg"),
        ("RGB", "webp"),
        ("P", "gif"),
    ],
)
def test_every_mode_becomes_rgb(photo, tmp_path, mode, suffix):
    path = saved(photo.convert(mode), tmp_path / f"image.{suffix}")
    image = load_image(path, name=NAME, size=(70, 50))
    assert image.mode == "RGB" and image.size == (70, 50)
    if mode in ("RGB", "RGBA") and suffix == "png":
        assert np.array_equal(image, photo)


def test_sixteen_bits_of_grey_are_scaled_not_clipped(tmp_path):
    grey = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    path = saved(Image.fromarray(grey), tmp_path / "grey.png")
    assert np.array_equal(np.array(load_image(path, name=NAME))[..., 0], grey >> 8)


def test_orientation_is_as_stored(photo, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees for display
    assert load_image(saved(photo, tmp_path / "turned.jpg", exif=exif), name=NAME).size == (70, 50)


def test_a_missing_image_is_named(tmp_path):
    with pytest.raises(DataError, match=rf"{NAME}: image .*no\.png does not exist"):
        load_image(tmp_path / "no.png", name=NAME)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "webp", "bmp", "tif"])
def test_truncated_and_corrupt_images_are_named(photo, tmp_path, suffix):
    whole = saved(photo, tmp_path / f"whole.{suffix}").read_bytes()
    path = tmp_path / f"cut.{suffix}"
    for kept in (0, 10, len(whole) // 2):
        path.write_bytes(whole[:kept])
        with pytest.raises(DataError, match=rf"{NAME}: image {path} is (truncated or corrupt|not an image)"):
            load_image(path, name=NAME)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "webp", "tif", "dds"])
def test_damage_anywhere_is_an_image_or_a_data_error(photo, tmp_path, suffix):
    whole = saved(photo, tmp_path / f"whole.{suffix}").read_bytes()
    rng = np.random.default_rng(1)
    for position in np.concatenate([rng.integers(0, 100, 40), rng.integers(0, len(whole), 20)]):
        damaged = whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :]
        try:
            load_image(io.BytesIO(damaged), name=NAME)
        except DataError as error:
            assert str(error).startswith(NAME)


def test_other_size_than_stated_is_an_error(photo, tmp_path):
    with pytest.raises(DataError, match="is 70x50, but image_size says 50x70"):
        load_image(saved(photo, tmp_path / "image.png"), name=NAME, size=(50, 70))


@pytest.mark.filterwarnings("error")
def test_a_file_that_claims_a_huge_size_is_refused_before_it_is_decoded(photo, tmp_path, monkeypatch):
    path = saved(photo, tmp_path / "image.png")
    monkeypatch.setattr(images, "MAX_PIXELS", 70 * 50 - 1)
    with pytest.raises(DataError, match="70x50 is more than 3499 pixels"):
        load_image(path, name=NAME)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow's own guard
    with pytest.raises(DataError, match="truncated or corrupt"):
        load_image(path, name=NAME)


@pytest.mark.parametrize("side", [16, 48, 96])
def test_pixels_equal_torchvisions(photo, side):
    transforms = pytest.importorskip("torchvision.transforms")
    reference = transforms.Compose(
        [
            transforms.Resize((side, side), interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.ToTensor(),
            transforms.Normalize([0.5] * 3, [0.5] * 3),
        ]
    )
    pixels = ImageTransform(side)(photo)
    assert pixels.shape == (3, side, side) and pixels.dtype == torch.float32 and pixels.is_contiguous()
    assert torch.equal(pixels, reference(photo))
    assert pixels.min() >= -1 and pixels.max() <= 1


def test_flip_mirrors_left_and_right(photo):
    transform = ImageTransform(32)
    assert torch.equal(transform(photo, flip=True), transform(photo).flip(-1))


def test_number_of_patches():
    assert ImageTransform(480).num_patches == 900
    for side in (0, -16, 40):
        with pytest.raises(ConfigError, match="multiple of 16"):
            ImageTransform(side)


def test_real_photos_equal_torchvisions(shared_data):
    transforms = pytest.importorskip("torchvision.transforms.functional")
    for path in itertools.islice(sorted((shared_data / "coco/images").iterdir()), 0, 50, 10):
        image = load_image(path, name=NAME)
        resized = transforms.resize(image, [224, 224], interpolation=transforms.InterpolationMode.BICUBIC)
        assert torch.equal(ImageTransform(224)(image), (transforms.to_tensor(resized) - 0.5) / 0.5)


def turned(photo, path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(photo, path, exif=exif)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_orientation_is_known_and_not_applied(photo, tmp_path, suffix):
    for orientation in range(1, 9):
        path = turned(photo, tmp_path / f"{orientation}.{suffix}", orientation)
        with open_image(path) as image:
            assert exif_orientation(image) == orientation
        assert load_image(path, name=NAME, size=(70, 50)).size == (70, 50)
    with open_image(saved(photo, tmp_path / f"plain.{suffix}")) as image:
        assert exif_orientation(image) == 1


def test_an_orientation_that_makes_no_sense_is_none(photo, tmp_path):
    path = turned(photo, tmp_path / "9.jpg", 9)
    with open_image(path) as image:
        assert exif_orientation(image) == 1
    content = turned(photo, tmp_path / "6.jpg", 6).read_bytes()
    path.write_bytes(content.replace(b"Exif\0\0MM", b"Exif\0\0??").replace(b"Exif\0\0II", b"Exif\0\0??"))
    with open_image(path) as image:
        assert exif_orientation(image) == 1


def test_a_wrong_size_is_explained_by_the_orientation(photo, tmp_path):
    path = turned(photo, tmp_path / "6.jpg", 6)
    with pytest.raises(DataError, match=r"is 70x50, but image_size says 50x70; .*\(its EXIF orientation, 6, would"):
        load_image(path, name=NAME, size=(50, 70))
    for other, size in ((path, (50, 71)), (turned(photo, tmp_path / "3.jpg", 3), (50, 70))):
        with pytest.raises(DataError, match=r"regions would be wrong$"):
            load_image(other, name=NAME, size=size)
