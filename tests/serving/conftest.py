"""A served model: the small one of the package, with generated examples."""

import base64
import io

import pytest
from PIL import Image, ImageDraw

pytest.importorskip("starlette", reason="needs the extra demo")

from ofa_mi.decoding.beam import GenerationConfig
from ofa_mi.decoding.predictor import Predictor
from ofa_mi.instructions.registry import default_registry
from ofa_mi.packaged import checkpoint_path
from ofa_mi.serving.answering import Answerer
from ofa_mi.serving.app import application
from ofa_mi.serving.examples import Examples, scenes


@pytest.fixture(scope="session")
def predictor():
    generation = GenerationConfig(beam=2, max_len=16)
    return Predictor.from_checkpoint(checkpoint_path("nano"), device="cpu", generation=generation)


@pytest.fixture(scope="session")
def examples(tmp_path_factory):
    directory = scenes(tmp_path_factory.mktemp("examples") / "scenes")
    return Examples([directory], list(default_registry()))


@pytest.fixture
def app(predictor, examples):
    answerer = Answerer(predictor)
    return application(answerer, default_registry(), examples, model="small", hosts=["testserver", "127.0.0.1"])


def picture(size=(128, 96)):
    """A red square on grey, in base64."""
    image = Image.new("RGB", size, "grey")
    ImageDraw.Draw(image).rectangle((20, 20, 60, 60), fill="red")
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()
