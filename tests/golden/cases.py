"""Golden cases: a model with the recipe's weights, inputs, and the numbers that the released implementation gives.

case = load_case("image_text")
logits, _ = case.model(**case.inputs)
case.expected["logits"], case.info["beam"]
"""

import json
from argparse import Namespace
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from fairseq.data import Dictionary
from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_REGISTRY

from ofa_mi.models import SIZES, Config  # registers the architectures

from . import recipe

FOLDER = Path(__file__).parent
# What ofa_nano has of its own, as it is in the released models.
RELEASED_FORM = {
    name: Config.__dataclass_fields__[name].default
    for name in SIZES["ofa_nano"]
    if name.startswith(("image_", "code_", "max_", "token_")) or "entangle" in name or name == "sinusoidal_init"
} | {"resnet_type": "resnet_nano"}
NAMES = ("image_text", "mixed_modality", "text_only", "medium_128px")


@dataclass(frozen=True)
class Case:
    """One golden case.

    Attributes:
        model: in evaluation mode; shared by all tests of a session, so leave its weights alone.
        inputs: keyword arguments of the model's forward.
        target: (B, T) int64, padded with 1.
        expected: arrays of the .npz file, inputs left out.
        info: the .json file: architecture, flags, ``grad_l2_norms``, ``beam``.
    """

    model: torch.nn.Module
    inputs: dict[str, torch.Tensor | None]
    target: torch.Tensor
    expected: dict[str, np.ndarray]
    info: dict


def dictionary(size: int) -> Dictionary:
    """fairseq dictionary of ``size`` entries."""
    symbols = Dictionary()
    for index in range(size - len(symbols)):
        symbols.add_symbol(str(index))
    return symbols


def build_model(arch: str, vocabulary: int | Dictionary, **flags) -> torch.nn.Module:
    """The model through fairseq's registries, from a namespace that holds only ``flags``."""
    args = Namespace(**flags)
    symbols = dictionary(vocabulary) if isinstance(vocabulary, int) else vocabulary
    ARCH_CONFIG_REGISTRY[arch](args)
    task = SimpleNamespace(source_dictionary=symbols, target_dictionary=symbols)
    return ARCH_MODEL_REGISTRY[arch].build_model(args, task)


@cache
def load_case(name: str) -> Case:
    """The golden case ``name``, one of ``NAMES``."""
    info = json.loads((FOLDER / f"{name}.json").read_text())
    with np.load(FOLDER / f"{name}.npz") as file:
        arrays = dict(file)
    inputs = {key: torch.from_numpy(arrays.pop(key)) for key in ("src_tokens", "prev_output_tokens")}
    inputs["src_lengths"] = inputs["src_tokens"].ne(1).sum(1)
    inputs |= {"patch_images": None, "patch_masks": None}
    masks = arrays.pop("patch_masks")
    if info["image_size"]:
        inputs["patch_images"] = recipe.image(f"{name}/image", len(masks), info["image_size"])
        inputs["patch_masks"] = torch.from_numpy(masks)
    model = build_model(info["arch"], info["vocab"]["size"], **info["flags"]).eval()
    recipe.fill(model)
    return Case(model, inputs, torch.from_numpy(arrays.pop("target")), arrays, info)
