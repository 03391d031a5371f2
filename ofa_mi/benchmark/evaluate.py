"""A task under its five instructions, from files of images to answers."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ofa_mi.benchmark.baseline import Baseline
from ofa_mi.benchmark.case import Case, plain
from ofa_mi.benchmark.setting import FIRST_TOKEN, SEED, Setting
from ofa_mi.data.collation import pad_right
from ofa_mi.data.transform import ImageTransform
from ofa_mi.decoding.beam import GenerationConfig, generate
from ofa_mi.instances.images import load_image

INSTRUCTIONS = 5
IMAGES = 3  # with five questions each: a batch
PHOTO = (640, 480)  # pixels of an image's file
ANSWER = 6  # tokens
FOLDER = tempfile.TemporaryDirectory(prefix="ofa-mi-benchmark-images-")

Question = tuple[int, list[int]]  # number of the image, tokens of the source


def cases(setting: Setting) -> list[Case]:
    """In this setting, whose batch is that of all questions."""
    setting = setting.but(batch=IMAGES * INSTRUCTIONS, length=ANSWER)
    images, questions = photos(), ask(setting)
    work = {"size": setting.image_size, "beam": setting.beam, "length": setting.length, "batch": setting.batch}
    return [
        Case(
            f"{IMAGES} images under {INSTRUCTIONS} instructions",
            setting,
            {},
            ours=lambda model: _ours(model, images, questions, setting),
            baseline=lambda baseline: _baseline(baseline, images, questions, setting),
            released=("evaluate", {"images": images, "questions": questions} | work),
            goal=8,
        )
    ]


def growth(setting: Setting) -> list[Case]:
    """Nothing beyond: what grows is decoding and encoding."""
    return []


def photos() -> list[str]:
    """Files of images, made of smooth noise; JPEG of a photo's size."""
    rng = np.random.default_rng(SEED)
    files = []
    for number in range(IMAGES):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        path = Path(FOLDER.name) / f"{number}.jpg"
        coarse.resize(PHOTO, Image.Resampling.BICUBIC).save(path, quality=90)
        files.append(str(path))
    return files


def ask(setting: Setting) -> list[Question]:
    """Questions about each image under each instruction, of different lengths."""
    generator = torch.Generator().manual_seed(SEED)
    lengths = [setting.source + 2 * number for number in range(INSTRUCTIONS)]
    return [
        (image, torch.randint(FIRST_TOKEN, setting.vocabulary, (length,), generator=generator).tolist())
        for image in range(IMAGES)
        for length in lengths
    ]


def _inputs(questions: Sequence[Question], device: str) -> dict[str, torch.Tensor]:
    return {
        "src_tokens": pad_right([tokens for _, tokens in questions]).to(device),
        "src_lengths": torch.tensor([len(tokens) for _, tokens in questions], device=device),
        "patch_masks": torch.ones(len(questions), dtype=torch.bool, device=device),
    }


def _ours(model, images: Sequence[str], questions: Sequence[Question], setting: Setting) -> list:
    """Every image is read, and goes through the image tower, once."""
    transform = ImageTransform(setting.image_size)
    pixels = torch.stack([transform(load_image(file, name=file)) for file in images])
    inputs = _inputs(questions, setting.device) | {
        "patch_images": pixels.to(setting.device),
        "patch_index": torch.tensor([image for image, _ in questions], device=setting.device),
    }
    config = GenerationConfig(beam=setting.beam, min_len=setting.length, max_len=setting.length)
    return list(plain(generate(model, inputs, config)))


def _baseline(baseline: Baseline, images: Sequence[str], questions: Sequence[Question], setting: Setting) -> list:
    """Every question reads its image, and has its own row of pixels."""
    transform = ImageTransform(setting.image_size)
    pixels = torch.stack([transform(load_image(images[image], name=images[image])) for image, _ in questions])
    inputs = _inputs(questions, setting.device) | {"patch_images": pixels.to(setting.device)}
    return baseline.generate(inputs, beam=setting.beam, length=setting.length)
