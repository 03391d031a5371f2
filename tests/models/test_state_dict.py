"""Names, dtypes, shapes and parameter counts of the released checkpoints."""

import json

import pytest
import torch

from tests.golden.cases import FOLDER, build_model
from tests.models.helpers import small_model

RELEASED = json.loads((FOLDER / "state_dict_keys.json").read_text())


@pytest.mark.parametrize("arch", RELEASED)
def test_a_bare_architecture_has_the_released_entries(arch):
    with torch.device("meta"):
        model = build_model(arch, 59457)
    entries = {
        name: " ".join([str(tensor.dtype).removeprefix("torch."), *map(str, tensor.shape)])
        for name, tensor in model.state_dict().items()
    }
    assert entries == RELEASED[arch]["state_dict"]
    assert sum(p.numel() for p in model.parameters()) == RELEASED[arch]["parameters"]


def test_nano_has_the_names_of_the_released_models_apart_from_its_missing_blocks():
    with torch.device("meta"):
        names = set(build_model("ofa_nano", 100).state_dict())
    assert names < set(RELEASED["ofa_base"]["state_dict"])


def test_freezing_the_resnet_and_interpolation_keep_the_names():
    with torch.device("meta"):
        bare = build_model("ofa_nano", 100).state_dict()
        flagged = build_model(
            "ofa_nano", 100, freeze_resnet=True, interpolate_position=True, checkpoint_activations=True
        ).state_dict()
    assert {n: t.shape for n, t in bare.items()} == {n: t.shape for n, t in flagged.items()}


@pytest.mark.parametrize(
    ("flag", "part", "value"),
    [
        ("scale_attn", ("attn_ln",), False),
        ("scale_fc", ("ffn_layernorm",), False),
        ("scale_heads", ("c_attn",), False),
        ("scale_resids", ("w_resid",), True),
    ],
)
def test_scale_switches_add_and_remove_their_parameters(flag, part, value):
    with torch.device("meta"):
        bare = set(build_model("ofa_nano", 100).state_dict())
        other = set(build_model("ofa_nano", 100, **{flag: value}).state_dict())
    difference = bare ^ other
    assert difference and all(any(p in name for p in part) for name in difference)
    assert (other > bare) == value


def test_embeddings_and_output_projection_are_one_parameter():
    model = small_model()
    assert model.decoder.output_projection.weight is model.encoder.embed_tokens.weight
    assert model.decoder.embed_tokens is model.encoder.embed_tokens
