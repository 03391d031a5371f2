"""The encoder alone, beam search over the vocabulary, and beam search within options."""

from __future__ import annotations

from ofa_mi.benchmark import setting as settings
from ofa_mi.benchmark.case import Case, plain
from ofa_mi.benchmark.setting import Setting
from ofa_mi.decoding.beam import GenerationConfig, encode, generate
from ofa_mi.decoding.trie import Trie

GROWTH = {"batch": (0.25, 2), "source": (0.5, 4), "image_size": (0.5, 1.5), "beam": (0.2, 2)}  # of the usual size


def cases(setting: Setting) -> list[Case]:
    """In this setting."""
    return [encoding(setting), beams(setting), tries(setting)]


def growth(setting: Setting) -> list[Case]:
    """Beam search in settings of which one size differs."""
    sizes = ((name, round(factor * getattr(setting, name))) for name, factors in GROWTH.items() for factor in factors)
    return [beams(setting.but(**{name: size})) for name, size in sizes if size]


def encoding(setting: Setting) -> Case:
    """The encoder, image tower included."""
    inputs = settings.batch(setting)
    return Case(
        "encoder",
        setting,
        inputs,
        ours=lambda model: encode(model, inputs)["encoder_out"][0][..., 0].t().tolist(),
        baseline=lambda baseline: baseline.encode(inputs)["x"][..., 0].tolist(),
        released=("encode", {}),
    )


def beams(setting: Setting) -> Case:
    """Outputs of a fixed length, the encoder included."""
    inputs = settings.batch(setting)
    search = {"beam": setting.beam, "length": setting.length}
    config = GenerationConfig(beam=setting.beam, min_len=setting.length, max_len=setting.length)
    return Case(
        f"beam {setting.beam} x {setting.length} tokens",
        setting,
        inputs,
        ours=lambda model: list(plain(generate(model, inputs, config))),
        baseline=lambda baseline: baseline.generate(inputs, **search),
        released=("generate", search),
        goal=4,
    )


def tries(setting: Setting) -> Case:
    """One of the options, the encoder included."""
    inputs, options = settings.batch(setting), settings.phrases(setting)
    search = {"beam": setting.beam, "length": setting.length, "options": options}
    config = GenerationConfig(beam=setting.beam)
    return Case(
        f"trie of {setting.options} options",
        setting,
        inputs,
        ours=lambda model: list(
            plain(generate(model, inputs, config, allowed=[Trie(options)] * len(inputs["src_tokens"])))
        ),
        baseline=lambda baseline: baseline.generate(inputs, **search),
        released=("generate", search),
        goal=4,
    )
