"""A model and a batch that every contender gets."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass, replace
from types import SimpleNamespace

import torch
from fairseq.data import Dictionary
from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_REGISTRY
from torch import Tensor, nn

import ofa_mi.models  # noqa: F401, registers the architectures

FIRST_TOKEN = 4  # after the special ones
SEED = 1
# What training draws by chance, so that all contenders train alike.
RANDOM = ("dropout", "attention_dropout", "activation_dropout")
RANDOM += ("encoder_drop_path_rate", "decoder_drop_path_rate", "resnet_drop_path_rate")


@dataclass(frozen=True)
class Setting:
    """Sizes of what is timed.

    Attributes:
        arch: Architecture.
        device: Where to compute.
        batch: Sentences B.
        source: Text tokens of each.
        image_size: Side of their images in pixels.
        beam: Beams of the search.
        length: Tokens of an output, or of a target.
        options: Number of options.
        vocabulary: Entries; the default is OFA's.
    """

    arch: str = "ofa_tiny"
    device: str = "cpu"
    batch: int = 4
    source: int = 32
    image_size: int = 256
    beam: int = 5
    length: int = 20
    options: int = 20
    vocabulary: int = 59457

    def but(self, **changes) -> Setting:
        """The same with something else."""
        return replace(self, **changes)


def build(setting: Setting) -> tuple[nn.Module, Dictionary]:
    """A random model in evaluation mode, whose statistics of BatchNorm are not those of a start, and its dictionary."""
    torch.manual_seed(SEED)
    dictionary = Dictionary()
    for index in range(setting.vocabulary - len(dictionary)):
        dictionary.add_symbol(str(index))
    args = Namespace(**dict.fromkeys(RANDOM, 0.0))
    ARCH_CONFIG_REGISTRY[setting.arch](args)
    task = SimpleNamespace(source_dictionary=dictionary, target_dictionary=dictionary)
    model = ARCH_MODEL_REGISTRY[setting.arch].build_model(args, task).eval()
    with torch.no_grad():
        # Initial weights make all tokens alike; sharper logits make the comparison of outputs mean something.
        model.encoder.embed_tokens.weight.mul_(10)
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(std=0.1)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.0  # training steps leave the statistics
    return model.to(setting.device), dictionary


def batch(setting: Setting) -> dict[str, Tensor]:
    """Full sources, each with an image: the encoder's inputs."""
    generator = torch.Generator().manual_seed(SEED)
    size, side = setting.batch, setting.image_size
    tokens = torch.randint(FIRST_TOKEN, setting.vocabulary, (size, setting.source), generator=generator)
    inputs = {
        "src_tokens": tokens,
        "src_lengths": torch.full((size,), setting.source),
        "patch_images": torch.randn(size, 3, side, side, generator=generator),
        "patch_masks": torch.ones(size, dtype=torch.bool),
    }
    return {name: value.to(setting.device) for name, value in inputs.items()}


def phrases(setting: Setting) -> list[list[int]]:
    """Options like "a red circle": one to three words, each of ten that may stand at its place, and ``</s>``."""
    generator = torch.Generator().manual_seed(SEED)
    words = torch.randint(FIRST_TOKEN, setting.vocabulary, (3, 10), generator=generator).tolist()
    found: dict[tuple[int, ...], None] = {}
    while len(found) < setting.options:
        length = int(torch.randint(1, 4, (1,), generator=generator))
        picks = torch.randint(10, (length,), generator=generator).tolist()
        found[tuple(words[place][pick] for place, pick in enumerate(picks))] = None
    return [[*option, 2] for option in found]


def regions(setting: Setting) -> list[list[int]]:
    """Options like regions: four tokens of a thousand, which share nothing, and ``</s>``."""
    generator = torch.Generator().manual_seed(SEED)
    first = max(FIRST_TOKEN, setting.vocabulary - 1000)
    bins = torch.randint(first, setting.vocabulary, (setting.options, 4), generator=generator)
    return [[*option, 2] for option in bins.tolist()]
