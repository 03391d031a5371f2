"""Names, dtypes, shapes and parameter counts of the released checkpoints."""

import json

import pytest
import torch

from tests.golden.cases import FOLDER, build_model
from tests.models.helpers import small_model, tokens

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


def test_nano_has_the_names_of_the_released_models_apart_from_its_image_tower():
    with torch.device("meta"):
        names = set(build_model("ofa_nano", 100).state_dict())
    assert {name for name in names if "embed_images" not in name} < set(RELEASED["ofa_base"]["state_dict"])
    assert all(".blocks." in name for name in names if "embed_images" in name)


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


@torch.no_grad()
def test_loading_gives_the_saved_model_and_leaves_the_dictionary_alone():
    saved, loaded = small_model().eval(), small_model().eval()
    for parameter in loaded.parameters():
        parameter.zero_()
    state = saved.state_dict()
    del state["encoder.layers.0.fc1.bias"]  # keeps its initialisation, zero in both
    names = list(state)
    loaded.load_state_dict(state)
    assert list(state) == names
    inputs = (tokens(2, 5), None, tokens(2, 3))
    assert loaded(*inputs)[0].equal(saved(*inputs)[0])


@torch.no_grad()
def test_a_longer_position_table_keeps_the_numbers_of_shorter_texts():
    saved, longer = small_model().eval(), small_model(max_source_positions=1200, max_target_positions=1100).eval()
    longer.load_state_dict(saved.state_dict())
    inputs = (tokens(2, 5), None, tokens(2, 3))
    torch.testing.assert_close(longer(*inputs)[0], saved(*inputs)[0])
    assert longer(tokens(1, 1150), None, tokens(1, 1050))[0].isfinite().all()
