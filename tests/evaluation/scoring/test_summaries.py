"""Runs of several seeds, and runs under several conditions, in one; by hand."""

import copy
import math

import pytest

from ofa_mi.errors import ConfigError
from ofa_mi.evaluation.scoring.protocol import TaskScores
from ofa_mi.evaluation.scoring.scores import summarise
from ofa_mi.evaluation.scoring.summaries import robustness_summary, seed_summary


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


def test_seeds_by_hand():
    """Means 20, 30 and 40 of three seeds: 30 with deviation 10. Within them deviations 10, 0 and 20: 10."""
    runs = [scores(a=entry(10, 20, 30)), scores(a=entry(30, 30, 30)), scores(a=entry(20, 40, 60))]
    summary = seed_summary(runs)
    assert summary["runs"] == 3
    assert summary["tasks"]["a"]["metrics"]["accuracy"] == {
        "values": [20, 30, 40],
        "mean": 30,
        "seed_deviation": 10,
        "instruction_deviation": pytest.approx(10),
        "max": 40,
    }
    assert {key: summary["tasks"]["a"][key] for key in ("metric", "instances", "split")} == {
        "metric": "accuracy", "instances": 9, "split": "eval",
    }  # fmt: skip
    total = summary["zero_shot"]
    assert total["tasks"] == ["a"] and total["aggregated"] == {"values": [20, 30, 40], "mean": 30, "deviation": 10}
    assert total["sensitivity"]["values"] == [50, 0, 50]
    assert "trained" not in summary


def test_one_seed_and_one_instruction_have_no_deviation():
    summary = seed_summary([scores(a=entry(10))])
    metric = summary["tasks"]["a"]["metrics"]["accuracy"]
    assert metric["seed_deviation"] is metric["instruction_deviation"] is None
    assert summary["zero_shot"]["aggregated"]["deviation"] is None
    assert summary["zero_shot"]["sensitivity"] is None


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (scores(a=entry(1, 2), b=entry(1, 2)), "run 2 of a strategy differs from run 1 in tasks: a, b instead of a"),
        (scores(a=entry(1, 2, version=2)), "version of a: 2 instead of 1"),
        (scores(a=entry(1, 2, language="de")), "language of a: de instead of en"),
        (scores(a=entry(1, 2, mode="rank")), "mode of a: rank instead of generate"),
        (scores(a=entry(1, 2, instances=8)), "instances of a: 8 instead of 9"),
        (scores(a=entry(1, 2, 3)), "instructions of a"),
        (scores("typos", a=entry(1, 2)), "in conditions"),
    ],
)
def test_seeds_that_do_not_compare_are_an_error(other, message):
    with pytest.raises(ConfigError, match=message):
        seed_summary([scores(a=entry(1, 2)), other])
    with pytest.raises(ConfigError, match="no run"):
        seed_summary([])


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
