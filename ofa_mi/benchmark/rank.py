"""Ranking of options: phrases, which begin alike, and regions, which share nothing."""

from __future__ import annotations

from ofa_mi.benchmark import setting as settings
from ofa_mi.benchmark.case import Case
from ofa_mi.benchmark.setting import Setting
from ofa_mi.decoding.ranking import rank_options

GOALS = {20: 4, 100: 8}


def cases(setting: Setting) -> list[Case]:
    """Both kinds of options, 20 and 100 of them."""
    kinds = {"phrases": settings.phrases, "regions": settings.regions}
    return [ranking(setting.but(options=n), kind, kinds[kind](setting.but(options=n))) for n in GOALS for kind in kinds]


def growth(setting: Setting) -> list[Case]:
    """More options."""
    return [ranking(s, "phrases", settings.phrases(s)) for s in (setting.but(options=n) for n in (5, 300))]


def ranking(setting: Setting, kind: str, options: list[list[int]]) -> Case:
    """Every option of every sentence, the encoder included."""
    inputs = settings.batch(setting)
    return Case(
        f"rank {setting.options} {kind}",
        setting,
        inputs,
        ours=lambda model: rank_options(model, inputs, [options] * len(inputs["src_tokens"])),
        baseline=lambda baseline: baseline.rank(inputs, options=options),
        released=("rank", {"options": options}),
        goal=GOALS.get(setting.options),
    )
