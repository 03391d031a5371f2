"""Reading images: every mode and orientation, and what is refused."""

import io
import os
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ofa_mi.errors import ConfigError, DataError
from ofa_mi.instances import images
from ofa_mi.instances.images import exif_orientation, load_image, open_image
from ofa_mi.instances.instance import PIXELS_OPTION, max_pixels

NAME = "train.jsonl:3: instance 'a'"


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


SMOOTH = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)  # 16-bit grey from black to white


def tiff(samples, *, bits, photometric=1, sample_format=1, order="<"):
    """A TIFF file of one uncompressed grey strip."""
    data = samples if isinstance(samples, bytes) else samples.astype(samples.dtype.newbyteorder(order)).tobytes()
    tags = [(256, 8), (257, 8), (258, bits), (259, 1), (262, photometric), (273, 8), (277, 1), (278, 8)]
    tags += [(279, len(data)), (339, sample_format)]
    entries = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in tags)
    header = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8 + len(data))
    return header + data + struct.pack(f"{order}H", len(tags)) + entries + bytes(4)


def packed_12_bits(samples):
    pairs = (samples >> 4).astype(int).reshape(-1, 2).tolist()
    return b"".join(bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for a, b in pairs)


def png_or_other(samples, form, mode=None):
    file = io.BytesIO()
    image = Image.fromarray(samples)
    (image.convert(mode) if mode else image).save(file, form)
    return file.getvalue()


def pgm(samples, greatest=65535):
    scaled = (samples.astype(int) * greatest // 65535).astype(">u2")
    return b"P5 8 8 %d\n" % greatest + scaled.tobytes()


GREY = {
    "16-bit PNG": png_or_other(SMOOTH, "PNG"),
    "16-bit PGM": pgm(SMOOTH),
    "10-bit PGM": pgm(SMOOTH, 1023),
    "16-bit plain PGM": b"P2 8 8 65535\n" + b" ".join(b"%d" % level for level in SMOOTH.ravel().tolist()),
    "16-bit TIFF": tiff(SMOOTH, bits=16),
    "16-bit TIFF, high byte first": tiff(SMOOTH, bits=16, order=">"),
    "16-bit TIFF, white is zero": tiff(65535 - SMOOTH, bits=16, photometric=0),
    "12-bit TIFF": tiff(packed_12_bits(SMOOTH), bits=12),
    "8-bit PNG": png_or_other((SMOOTH >> 8).astype(np.uint8), "PNG"),
    "8-bit TIFF": tiff((SMOOTH >> 8).astype(np.uint8), bits=8),
    "8-bit TIFF, white is zero": tiff(255 - (SMOOTH >> 8).astype(np.uint8), bits=8, photometric=0),
}


@pytest.mark.parametrize("content", GREY.values(), ids=GREY)
def test_grey_levels_of_any_depth_reach_from_black_to_white(content):
    rgb = np.array(load_image(io.BytesIO(content), name=NAME)).astype(int)
    assert (rgb[..., 0] == rgb[..., 1]).all() and (rgb[..., 1] == rgb[..., 2]).all()
    assert np.abs(rgb[..., 0] - (SMOOTH >> 8)).max() <= 1


UNDEFINED = {
    "32-bit TIFF": (tiff(SMOOTH.astype(np.uint32), bits=32), "signed or 32-bit"),
    "32-bit signed TIFF": (tiff(SMOOTH.astype(np.int32), bits=32, sample_format=2), "signed or 32-bit"),
    "32-bit signed TIFF, high byte first": (
        tiff(SMOOTH.astype(np.int32), bits=32, sample_format=2, order=">"),
        "signed or 32-bit",
    ),
    "16-bit signed TIFF": (tiff((SMOOTH >> 1).astype(np.int16), bits=16, sample_format=2), "signed or 32-bit"),
    "float TIFF": (tiff((SMOOTH / 65535).astype(np.float32), bits=32, sample_format=3), "floating-point"),
    "float PFM": (b"Pf\n8 8\n-1.0\n" + (SMOOTH / 65535).astype("<f4").tobytes(), "floating-point"),
}


@pytest.mark.parametrize(("content", "kind"), UNDEFINED.values(), ids=UNDEFINED)
def test_grey_levels_without_black_and_white_are_refused_from_the_header(content, kind):
    message = f"holds {kind} grey levels, and does not say which are black and white; save it with 8 or 16 bits"
    with pytest.raises(DataError, match=f"{NAME}: image {message}"):
        load_image(io.BytesIO(content), name=NAME)
    with pytest.raises(images.UnusableImageError, match=message):
        images.open_image(io.BytesIO(content))


def of_mode(mode, form):
    """A file of four colours, half transparent where the mode can be, and the colours."""
    colours = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)
    colours = colours.repeat(16, 0).repeat(16, 1)
    image = Image.fromarray(colours)
    if mode in ("L", "LA", "La"):
        colours = np.repeat(np.array(image.convert("L"))[..., None], 3, 2)
    if mode in ("RGBA", "LA", "PA"):
        image = image.convert("L" if mode == "LA" else "P" if mode == "PA" else "RGB").convert(mode)
        image.putalpha(128)
    file = io.BytesIO()
    options = (
        {"transparency": 0} if mode == "P" and form in ("PNG", "GIF") else {"quality": 95} if form == "JPEG" else {}
    )
    (image if image.mode == mode else image.convert(mode)).save(file, form, **options)
    return file, colours.astype(int)


@pytest.mark.parametrize(
    ("mode", "form", "tolerance"),
    [
        ("P", "PNG", 0),
        ("P", "GIF", 0),
        ("P", "TIFF", 0),
        ("PA", "TIFF", 0),
        ("RGBA", "PNG", 0),
        ("RGBA", "TIFF", 0),
        ("LA", "PNG", 0),
        ("LA", "TIFF", 0),
        ("L", "JPEG", 8),
        ("CMYK", "JPEG", 16),
        ("CMYK", "TIFF", 0),
        ("YCbCr", "JPEG", 16),
        ("LAB", "TIFF", 8),
    ],
)
def test_colours_are_those_that_were_saved(mode, form, tolerance):
    file, colours = of_mode(mode, form)
    image = load_image(file, name=NAME)
    difference = np.abs(np.array(image).astype(int) - colours)[4:12, 4:12]  # where no edge is near
    assert difference.max() <= tolerance


def test_grey_that_was_multiplied_by_its_opacity_is_divided_again():
    image = Image.merge("LA", [Image.new("L", (8, 8), 200), Image.new("L", (8, 8), 128)]).convert("La")  # as in TIFF
    assert np.abs(np.array(images._to_rgb(image)).astype(int) - 200).max() <= 1


def test_sixteen_bits_of_colour_are_scaled(tmp_path):
    colours = np.stack([SMOOTH, SMOOTH[::-1], SMOOTH.T], axis=-1)
    ppm = b"P6 8 8 65535\n" + colours.astype(">u2").tobytes()
    assert np.abs(np.array(load_image(io.BytesIO(ppm), name=NAME)).astype(int) - (colours >> 8)).max() <= 1


# -- orientation

CORNERS = np.zeros((20, 30, 3), np.uint8)  # the picture as it was taken: red at the top left, blue at the bottom left
CORNERS[:10, :10], CORNERS[10:, :10] = (255, 0, 0), (0, 0, 255)
STORED = {  # how a camera stores it, by its orientation
    1: CORNERS,
    2: CORNERS[:, ::-1],
    3: CORNERS[::-1, ::-1],
    4: CORNERS[::-1],
    5: CORNERS.transpose(1, 0, 2),
    6: CORNERS.transpose(1, 0, 2)[::-1],
    7: CORNERS.transpose(1, 0, 2)[::-1, ::-1],
    8: CORNERS.transpose(1, 0, 2)[:, ::-1],
}


def orientation_tag(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def photographed(orientation, suffix, tmp_path):
    image = Image.fromarray(np.ascontiguousarray(STORED.get(orientation, CORNERS)))
    options = {"quality": 100, "subsampling": 0} if suffix == "jpg" else {"lossless": True} if suffix == "webp" else {}
    return saved(image, tmp_path / f"photo.{suffix}", exif=orientation_tag(orientation), **options)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", [*STORED, 0, 9])
def test_a_photo_is_turned_upright_where_that_is_asked_for(tmp_path, orientation, suffix):
    image = load_image(photographed(orientation, suffix, tmp_path), name=NAME, upright=True)
    assert np.abs(np.array(image).astype(int) - CORNERS).max() <= 4


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", [*STORED, 0, 9])
def test_the_orientation_is_known_from_the_header(tmp_path, monkeypatch, orientation, suffix):
    path = photographed(orientation, suffix, tmp_path)
    with open_image(path) as image:
        monkeypatch.setattr(type(image), "load", no_pixels)
        assert exif_orientation(image) == (orientation if orientation in STORED and suffix != "tif" else 1)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp"])
def test_an_image_that_says_no_orientation_has_none(photo, tmp_path, monkeypatch, suffix):
    with open_image(saved(photo, tmp_path / f"plain.{suffix}")) as image:
        monkeypatch.setattr(type(image), "load", no_pixels)
        assert exif_orientation(image) == 1


def no_pixels(image):
    raise AssertionError("reads the pixels")


def test_an_orientation_behind_the_pixels_turns_the_photo(tmp_path):
    """ExifTool puts EXIF data there."""
    path = photographed(6, "png", tmp_path)
    content = path.read_bytes()
    start = content.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(content[start : start + 4], "big")
    last = content.index(b"IEND") - 4
    path.write_bytes(content[:start] + content[end:last] + content[start:end] + content[last:])
    assert np.array_equal(load_image(path, name=NAME, upright=True), CORNERS)


@pytest.mark.parametrize("orientation", STORED)
def test_orientation_is_not_applied_unless_asked_for(tmp_path, orientation):
    stored = load_image(photographed(orientation, "png", tmp_path), name=NAME)
    assert np.array_equal(stored, STORED[orientation])


def test_another_size_by_orientation_says_so(tmp_path):
    path = photographed(6, "jpg", tmp_path)
    assert load_image(path, name=NAME, size=(20, 30)).size == (20, 30)
    with pytest.raises(DataError, match=r"is 20x30, but image_size says 30x20; .*\(its EXIF orientation, 6, would"):
        load_image(path, name=NAME, size=(30, 20))
    with pytest.raises(DataError, match=r"image_size says 20x31; regions would be wrong$"):
        load_image(path, name=NAME, size=(20, 31))
    path = saved(Image.new("RGB", (20, 30)), tmp_path / "upside_down.jpg", exif=orientation_tag(3))
    with pytest.raises(DataError, match=r"image_size says 30x20; regions would be wrong$"):
        load_image(path, name=NAME, size=(30, 20))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF", "ignore:Tag data larger")
def test_damaged_orientation_turns_nothing(photo, tmp_path):
    data = orientation_tag(6).tobytes()
    rng = np.random.default_rng(2)
    for position in range(6, len(data)):
        damaged = data[:position] + bytes([data[position] ^ int(rng.integers(1, 256))]) + data[position + 1 :]
        for content in (damaged, data[:position]):
            path = saved(photo, tmp_path / "photo.jpg", exif=content)
            assert load_image(path, name=NAME, upright=True).size in ((70, 50), (50, 70))


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
@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "webp", "tif", "bmp"])
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
    monkeypatch.setenv(PIXELS_OPTION, "3499")
    with pytest.raises(DataError, match=f"{path} is too large: 70x50 is more than the limit of 3,499 pixels; make it"):
        load_image(path, name=NAME)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow's own guard
    with pytest.raises(DataError, match=f"{path} is too large: its size is more than the limit of 200 pixels"):
        load_image(path, name=NAME)


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 30 20\n%%EndComments\n(ran) print\nshowpage\n%%EOF\n"


def test_no_image_starts_another_program(tmp_path, monkeypatch):
    """Pillow reads EPS with Ghostscript, whatever the file is called."""
    path = tmp_path / "photo.jpg"
    path.write_bytes(EPS)
    monkeypatch.setattr(subprocess, "Popen", no_program)
    monkeypatch.setattr(os, "system", no_program)
    for read in (open_image, lambda path: load_image(path, name=NAME)):
        with pytest.raises((DataError, images.UnusableImageError), match="is not an image that can be read"):
            read(path)


def no_program(*args, **kwargs):
    raise AssertionError("starts a program")


@pytest.mark.parametrize("suffix", ["dds", "eps", "ico", "icns", "jp2", "msp", "pcx", "pdf", "sgi", "tga", "xbm"])
def test_other_formats_of_pillow_are_not_read(photo, tmp_path, suffix):
    path = tmp_path / f"image.{suffix}"
    (photo.convert("1") if suffix in ("msp", "xbm") else photo).save(path)
    with pytest.raises(DataError, match=r"is not an image that can be read \(BMP, GIF, JPEG, PNG, PPM, TIFF, WEBP\)"):
        load_image(path, name=NAME)


# -- memory

SIDE = 1500  # pixels of a square that is large enough to show what a pixel takes
LARGE = {
    "png": ("RGB", "PNG", {"compress_level": 1}),
    "png with transparency": ("RGBA", "PNG", {"compress_level": 1}),
    "png with 16 bits": ("I;16", "PNG", {"compress_level": 1}),
    "jpeg": ("RGB", "JPEG", {"subsampling": 0}),
    "progressive jpeg": ("RGB", "JPEG", {"subsampling": 0, "progressive": True}),
    "progressive jpeg of four colours": ("CMYK", "JPEG", {"subsampling": 0, "progressive": True}),
    "gif": ("P", "GIF", {}),
    "bmp": ("RGB", "BMP", {}),
    "ppm": ("RGB", "PPM", {}),
    "tiff of one strip": ("RGBA", "TIFF", {"compression": "tiff_lzw", "strip_size": 1 << 30}),
    "webp": ("RGBA", "WEBP", {"quality": 50, "method": 0}),
}


def large_image(mode):
    x = np.linspace(0, 255, SIDE).astype(np.uint8)
    if mode == "I;16":
        return Image.fromarray(np.broadcast_to(x.astype(np.uint16) << 8, (SIDE, SIDE)).copy())
    return Image.fromarray(np.stack(np.broadcast_arrays(x, x[:, None], 255 - x), axis=-1)).convert(mode)


@pytest.mark.parametrize(("mode", "form", "options"), LARGE.values(), ids=LARGE)
@pytest.mark.parametrize("upright", [False, True], ids=["as stored", "upright"])
def test_reading_takes_eight_bytes_per_pixel_of_the_limit(tmp_path, monkeypatch, mode, form, options, upright):
    """The format's limit is lower where its decoder takes more: the image is one that is just small enough."""
    path = saved(large_image(mode), tmp_path / "image", format=form, exif=orientation_tag(6), **options)
    limit = SIDE * SIDE
    while True:  # the least limit under which it is read
        monkeypatch.setenv(PIXELS_OPTION, str(limit))
        try:
            open_image(path).close()
            break
        except images.UnusableImageError:
            limit += SIDE * SIDE // 8
    assert limit <= 20 / 8 * SIDE * SIDE
    before = peak_memory(reset=True)
    load_image(path, name=NAME, upright=upright)
    assert peak_memory() - before <= 8 * limit + (2 << 20)


def peak_memory(reset=False):
    """Bytes of memory that the process has had at most since a reset."""
    try:
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        status = Path("/proc/self/status").read_text()
    except OSError as error:
        pytest.skip(f"the system does not measure memory ({error})")
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def test_a_jpeg_of_thousands_of_scans_is_refused(photo, tmp_path):
    """Each scan costs the time of a whole picture, and some bytes of the file."""
    whole = saved(photo, tmp_path / "photo.jpg", progressive=True).read_bytes()
    scan = whole[whole.rindex(b"\xff\xda") : -2]
    path = tmp_path / "many.jpg"
    path.write_bytes(whole[:-2] + scan * 1000 + whole[-2:])
    with pytest.raises(DataError, match=r"has 1,0\d\d scans, more than the limit of 100"):
        load_image(path, name=NAME)
    assert load_image(tmp_path / "photo.jpg", name=NAME).size == (70, 50)


def test_a_tiff_tile_larger_than_the_image_is_refused(tmp_path):
    entries = [(256, 8), (257, 8), (258, 8), (259, 5), (262, 1), (277, 1), (322, 1 << 16), (323, 1 << 16)]
    entries += [(324, 8), (325, 8)]
    content = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    file = b"II" + struct.pack("<HI", 42, 16) + bytes(8) + struct.pack("<H", len(entries)) + content + bytes(4)
    with pytest.raises(DataError, match="is too large: a tile of 65536x65536 is more than the limit"):
        load_image(io.BytesIO(file), name=NAME)


@pytest.mark.parametrize("value", ["0", "-1", "1e6", "", "\u0663", "3000000000", "9" * 5000])
def test_the_limit_of_pixels_must_be_a_number(monkeypatch, value):
    monkeypatch.setenv(PIXELS_OPTION, value)
    with pytest.raises(
        ConfigError, match=r"^OFA_MI_MAX_IMAGE_PIXELS: must be a number of pixels from 1 to 2147483647, "
    ):
        max_pixels()


def test_what_the_system_refuses_is_not_called_corrupt(tmp_path):
    with pytest.raises(DataError, match=r"cannot be read \(Is a directory\)"):
        load_image(tmp_path, name=NAME)
