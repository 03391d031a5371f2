"""A small model with a real vocabulary, as the predictor needs it."""

import pytest
import torch
from PIL import Image, ImageDraw

from ofa_mi.data.encoding import PromptEncoder
from ofa_mi.data.regions import RegionCodec
from ofa_mi.data.transform import ImageTransform
from ofa_mi.data.vocabulary import Vocabulary, build_compact
from ofa_mi.decoding.beam import GenerationConfig
from ofa_mi.decoding.predictor import Predictor
from tests.golden.cases import RELEASED_FORM, build_model

IMAGE_SIZE = 64


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bpe")
    build_compact([" what is in the region? a red circle blue square green triangle none [options]: yes no"], folder)
    return Vocabulary.load(folder, num_codes=4)


@pytest.fixture(scope="session")
def model(vocabulary):
    torch.manual_seed(2)
    model = build_model("ofa_nano", len(vocabulary), init_std=0.02, **RELEASED_FORM)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 and "image" not in name:
                parameter.mul_(8 if "embed_tokens" in name else 6)
    return model


@pytest.fixture(scope="session")
def predictor(model, vocabulary):
    encoder = PromptEncoder(vocabulary, RegionCodec(patch_image_size=IMAGE_SIZE))
    generation = GenerationConfig(beam=3, max_len=12)
    return Predictor(model, encoder, ImageTransform(IMAGE_SIZE), generation=generation)


@pytest.fixture(scope="session")
def image():
    picture = Image.new("RGB", (100, 80), "#dddddd")
    ImageDraw.Draw(picture).ellipse((10, 10, 40, 40), fill="#cc0000")
    return picture
