"""Runs under several conditions in one, by hand."""

import copy
import math

import pytest

from ofa_mi.errors import ConfigError
from ofa_mi.evaluation.scoring.protocol import TaskScores
from ofa_mi.evaluation.scoring.scores import summarise
from ofa_mi.evaluation.scoring.summaries import robustness_summary


def entry(*scores, **changes):
    summary = TaskScores.of(scores)
    numbers = {"scores": list(scores), "mean": summary.mean, "max": summary.max, "deviation": summary.deviation}
    task = {"group": "g", "split": "eval", "version": 1, "language": "en", "mode": "generate", "metric": "accuracy"}
    task |= {"instances": 9}
    return task | {"instructions": list(range(len(scores))), "metrics": {"accuracy": numbers}} | changes


def scores(perturb="none", **tasks):
    sections = {}
    for split, section in (("eval", "zero_shot"), ("train", "trained")):
        chosen = {name: task for name, task in tasks.items() if task["split"] == split}
        sections |= {section: summarise(chosen)} if chosen else {}
    conditions = {"prompt_style": "instruction", "perturb": perturb, "image": "given"}
    return {"conditions": conditions, "tasks": tasks, **sections}


def test_robustness_by_hand():
    reference = scores(a=entry(40, 60), b=entry(10, 30), c=entry(5, 5), old=entry(50, 50, split="train"))
    variant = scores("typos", a=entry(20, 40), b=entry(20, 20), old=entry(25, 25, split="train"))
    before = copy.deepcopy((reference, variant))
    result = robustness_summary(reference, {"typos": variant})["typos"]
    assert result["conditions"]["perturb"] == "typos"
    section = result["zero_shot"]
    assert section["tasks"] == {
        "a": {"metric": "accuracy", "reference": 50, "score": 30, "difference": -20, "relative": pytest.approx(-40)},
        "b": {"metric": "accuracy", "reference": 20, "score": 20, "difference": 0, "relative": 0},
    }
    # Over the tasks of both runs only: c is in the reference alone.
    assert section["aggregated"] == {"reference": 35, "score": 25, "difference": -10}
    own, typos = math.sqrt(200) * (1 / 50 + 1 / 20) / 2, math.sqrt(200) * (1 / 30 + 0) / 2
    assert section["sensitivity"] == pytest.approx(
        {"reference": 100 * own, "score": 100 * typos, "difference": 100 * (typos - own)}
    )
    assert section["inter_task_sensitivity"] is None and section["left_out"] == {}
    assert result["trained"]["tasks"]["old"]["relative"] == -50
    assert (reference, variant) == before


def test_inter_task_sensitivity_comes_from_the_run_under_another_tasks_instructions():
    reference = scores(a=entry(40, 60), b=entry(20, 20), zero=entry(0, 0), more=entry(10, 10, group="extra"))
    variant = scores("other-task", a=entry(0, 0), b=entry(10, 20), zero=entry(5, 5), more=entry(0, 0))
    section = robustness_summary(reference, {"x": variant})["x"]["zero_shot"]
    assert section["inter_task_sensitivity"] == pytest.approx((100 + 25) / 2)
    assert section["left_out"] == {"zero": "its mean is 0"}
    assert section["tasks"]["zero"]["relative"] is None
    assert section["aggregated"]["reference"] == pytest.approx(70 / 3)


def test_a_task_scored_by_another_metric_is_an_error():
    other = entry(1, 2, metric="rouge_l")
    other["metrics"] = {"rouge_l": other["metrics"]["accuracy"]}
    with pytest.raises(ConfigError, match="typos: a is scored by rouge_l, not by accuracy"):
        robustness_summary(scores(a=entry(1, 2)), {"typos": scores("typos", a=other)})
