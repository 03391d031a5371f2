"""Registration with fairseq: architectures, command line, settings that no released model has."""

import argparse
from argparse import Namespace

import pytest
from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_REGISTRY

from ofa_mi.errors import ConfigError
from ofa_mi.models import SIZES, Config, OFAModel
from tests.models.helpers import small_model


def parse(arch, *command):
    """Settings of ``fairseq-train --arch ARCH COMMAND``, parsed as fairseq does."""
    parser = argparse.ArgumentParser(argument_default=argparse.SUPPRESS)
    OFAModel.add_args(parser.add_argument_group(argument_default=argparse.SUPPRESS))
    args = parser.parse_args(command)
    ARCH_CONFIG_REGISTRY[arch](args)
    return Config.from_args(args)


@pytest.mark.parametrize("arch", ["ofa_nano", "ofa_tiny", "ofa_medium", "ofa_base", "ofa_large", "ofa_huge"])
def test_architectures(arch):
    assert ARCH_MODEL_REGISTRY[arch] is OFAModel
    assert parse(arch) == Config(**SIZES[arch])


def test_a_flag_wins_over_the_architecture():
    config = parse(
        "ofa_large", "--encoder-layers", "3", "--no-scale-attn", "--scale-resids", "--relu-dropout", "0.1",
        "--freeze-resnet", "--encoder-drop-path-rate", "0.2", "--interpolate-position",
    )  # fmt: skip
    assert config.encoder_layers == 3 and config.decoder_layers == 12
    assert not config.scale_attn and config.scale_fc and config.scale_resids
    assert config.activation_dropout == 0.1 and config.encoder_drop_path_rate == 0.2
    assert config.freeze_resnet and config.interpolate_position


def test_ofas_own_command_lines_are_understood():
    command = """--share-decoder-input-output-embed --share-all-embeddings --layernorm-embedding
        --patch-layernorm-embedding --code-layernorm-embedding --resnet-drop-path-rate 0.0 --encoder-drop-path-rate 0.2
        --decoder-drop-path-rate 0.2 --dropout 0.1 --attention-dropout 0.0 --add-type-embedding --scale-attn --scale-fc
        --scale-heads --disable-entangle --encoder-normalize-before --decoder-normalize-before"""
    assert parse("ofa_base", *command.split()).dropout == 0.1


def test_missing_and_none_both_mean_the_architectures_value():
    args = Namespace(dropout=None, encoder_layers=None, unrelated="x")
    ARCH_CONFIG_REGISTRY["ofa_tiny"](args)
    assert args.dropout == 0.0 and args.encoder_layers == 4 and args.scale_heads is True


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"share_all_embeddings": False}, "--share-all-embeddings is part of every OFA model"),
        ({"encoder_prompt": True}, "--encoder-prompt is not part of any released OFA model"),
        ({"lora_rank": 129}, "--lora-rank must lie between 0 and the width 128"),
        ({"lora_rank": 4, "lora_dropout": 1.0}, r"--lora-dropout must lie in \[0, 1\), found 1.0"),
        ({"lora_rank": 4, "lora_modules": "attention,mlp"}, "--lora-modules 'mlp' is none of attention, feed-forward"),
        ({"adapter": True, "adapter_dim": 0}, "--adapter-dim must lie between 1 and the width 512"),
        ({"encoder_layers_to_keep": "0,1"}, "--encoder-layers-to-keep"),
        ({"decoder_embed_dim": 64}, "--decoder-embed-dim 64 must equal --encoder-embed-dim 128"),
        ({"activation_fn": "relu"}, "--activation-fn relu"),
        ({"encoder_attention_heads": 3}, "128 is not a multiple of 3 heads"),
        ({"resnet_type": "resnet18"}, "--resnet-type 'resnet18' is not one of conv_nano, resnet_nano"),
    ],
)
def test_settings_that_cannot_work_are_named(setting, message):
    args = Namespace(**setting)
    ARCH_CONFIG_REGISTRY["ofa_nano"](args)
    with pytest.raises(ConfigError, match=message):
        config = Config.from_args(args)
        small_model(**{"resnet_type": config.resnet_type})


def test_every_option_has_a_help_text():
    parser = argparse.ArgumentParser(argument_default=argparse.SUPPRESS)
    OFAModel.add_args(parser)
    assert all(action.help for action in parser._actions)
    parser.format_help()
