"""The protocol's arithmetic, against the paper's published numbers and against cases worked out by hand."""

import logging
import math

import pytest

from ofa_mi.errors import ConfigError
from ofa_mi.evaluation import TaskScores, aggregated, inter_task_sensitivity, sensitivity, sensitivity_report
from ofa_mi.evaluation.report.published import (
    AGGREGATED,
    COMMONSENSE_ACCURACY,
    MODELS,
    NATURAL_INSTRUCTIONS,
    SENSITIVITY,
)


@pytest.mark.parametrize(("model", "expected"), AGGREGATED.items())
def test_published_aggregated_scores(model, expected):
    means = {task: cell.mean for task, cell in MODELS[model].items()}
    means["natural_instructions"] = NATURAL_INSTRUCTIONS[model]
    assert round(aggregated(means), 2) == expected


@pytest.mark.parametrize(("model", "expected"), SENSITIVITY.items())
def test_published_sensitivity(model, expected):
    assert round(sensitivity(MODELS[model]), 2) == expected


def test_published_cells_need_the_sample_deviation():
    """No scores from 0 to max have a population deviation above sqrt(mean x (max - mean)); a cell exceeds it."""
    cell = MODELS["NaturalInstruct"]["visual_text_extraction"]
    largest = math.sqrt(cell.mean * (cell.max - cell.mean))
    assert largest < cell.deviation < largest * math.sqrt(5 / 4)


def test_max_is_never_below_mean():
    cells = [cell for row in MODELS.values() for cell in row.values()] + list(COMMONSENSE_ACCURACY.values())
    assert all(cell.max >= cell.mean for cell in cells)


def test_summary_by_hand():
    summary = TaskScores.of([10, 20, 30])
    assert (summary.mean, summary.max, summary.deviation) == (20, 30, 10)
    assert TaskScores.of([7]) == TaskScores(7, None, 7)


def test_sensitivity_of_scores_by_hand():
    # deviations 10 and 0 over means 20 and 5: (50 + 0) / 2
    assert sensitivity({"a": [10, 20, 30], "b": [5, 5]}) == pytest.approx(25)
    assert sensitivity({"a": TaskScores(20, 10), "b": [5, 5]}) == pytest.approx(25)


def test_two_scores_are_scores_and_not_mean_and_deviation():
    assert sensitivity({"a": (20.0, 10.0)}) == pytest.approx(100 * math.sqrt(50) / 15)


def test_tasks_without_a_ratio_are_left_out_and_named(caplog):
    scores = {"a": [10, 20, 30], "zero": [0, 0, 0], "single": [50]}
    with caplog.at_level(logging.WARNING):
        assert sensitivity(scores) == pytest.approx(50)
    assert "zero: its mean is 0" in caplog.text
    assert "single: it has one instruction only" in caplog.text
    report = sensitivity_report(scores)
    assert report.tasks == {"a": pytest.approx(50)}
    assert set(report.left_out) == {"zero", "single"}
    assert math.isnan(sensitivity({"zero": [0, 0]}))


def test_mean_and_deviation_as_they_stand_in_scores_json():
    entry = {"scores": [10, 20, 30], "mean": 20, "max": 30, "deviation": 10, "chance": None}
    assert sensitivity({"a": entry, "b": {"mean": 5.0, "deviation": 0.0}}) == pytest.approx(25)
    assert set(sensitivity_report({"a": {"mean": 5.0, "deviation": None}}).left_out) == {"a"}


@pytest.mark.parametrize("value", [[], [1.0, math.nan], ["x"], "12", 3.0, {"mean": 1.0}, {"mean": 1, "deviation": "x"}])
def test_what_is_not_a_list_of_scores_is_an_error_naming_the_task(value):
    with pytest.raises(ConfigError, match=r"^bad: "):
        sensitivity({"bad": value})


def test_aggregated_of_nothing_is_an_error():
    assert aggregated({"a": 1.0, "b": 2.0}) == 1.5
    with pytest.raises(ConfigError):
        aggregated({})


def test_inter_task_sensitivity_by_hand():
    """A task that loses all of its score, one that loses nothing, one that gains a quarter: (100 + 0 - 25) / 3."""
    own = {"follows": 60.0, "ignores": 50.0, "gains": 40.0, "zero": 0.0, "own only": 10.0}
    report = inter_task_sensitivity(
        own, {"follows": 0.0, "ignores": 50.0, "gains": 50.0, "zero": 5.0, "other only": 1.0}
    )
    assert report.tasks == pytest.approx({"follows": 100.0, "ignores": 0.0, "gains": -25.0})
    assert report.value == pytest.approx(25.0)
    assert report.left_out == {
        "zero": "its mean is 0",
        "own only": "it was not run under another task's instructions",
        "other only": "it was not run under its own instructions",
    }
    assert math.isnan(inter_task_sensitivity({}, {}).value)


def test_a_model_that_ignores_instructions_has_no_sensitivity_of_either_kind():
    deaf = {"a": [50.0, 50.0], "b": [20.0, 20.0]}
    assert sensitivity(deaf) == 0
    assert inter_task_sensitivity({"a": 50.0, "b": 20.0}, {"a": 50.0, "b": 20.0}).value == 0
