"""What the tests of commands borrow from those of the packages that the commands call."""

import logging
from argparse import Namespace
from types import SimpleNamespace

import pytest
import torch
from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_REGISTRY

from ofa_mi.data.vocabulary import Vocabulary, build_compact
from tests.data.conftest import gpt2  # noqa: F401
from tests.data_prep.check.conftest import make_directory, records  # noqa: F401
from tests.decoding.conftest import image, model, predictor, vocabulary  # noqa: F401
from tests.evaluation.conftest import data_dir  # noqa: F401


@pytest.fixture(autouse=True)
def quiet_logging():
    """A command sets up logging for its process; put back what it found."""
    logger = logging.getLogger("ofa_mi")
    level = logger.level
    yield
    logger.setLevel(level)


@pytest.fixture(scope="session")
def bpe_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bpe")
    build_compact([" what colour is snow? is it white or green?"], folder)
    return folder


@pytest.fixture(scope="session")
def released(tmp_path_factory, bpe_dir):
    """A checkpoint of weights and OFA's settings only, as models are released."""
    dictionary = Vocabulary.load(bpe_dir).dictionary
    args = Namespace(arch="ofa_nano")
    ARCH_CONFIG_REGISTRY["ofa_nano"](args)
    task = SimpleNamespace(source_dictionary=dictionary, target_dictionary=dictionary)
    built = ARCH_MODEL_REGISTRY["ofa_nano"].build_model(args, task)
    path = tmp_path_factory.mktemp("released") / "ofa_nano.pt"
    torch.save({"model": built.state_dict(), "args": Namespace(**vars(args), task="refcoco")}, path)
    return path
