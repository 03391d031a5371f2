"""Two runs side by side: planted differences are found, none is not, and what does not compare is said."""

from dataclasses import replace

import numpy as np
import pytest

from ofa_mi.data.encoding import Answer
from ofa_mi.errors import DataError
from ofa_mi.evaluation.scoring.comparison import compare_runs, format_comparison
from tests.evaluation.test_predictions import RECORD

BASE = replace(
    RECORD,
    perturb="none",
    options=(("yes",), ("no",)),
    references=("yes",),
    target_boxes=((0, 0, 100, 1),),
    target_set=None,
    option_scores=None,
)


def write(directory, records):
    directory.mkdir(parents=True)
    (directory / "predictions.jsonl").write_bytes(b"".join(record.to_json() for record in records))
    return directory


def task(right, *, name="nlvr", instructions=(0,), start=0, **changes):
    """Records of a task: ``right`` gives for every instance its score, or one score per instruction."""
    records = []
    for number, scores in enumerate(right, start=start):
        for instruction, score in zip(instructions, np.broadcast_to(scores, len(instructions)), strict=True):
            changed = {
                "unique_id": f"{number:03}",
                "task": name,
                "instruction": instruction,
                "instruction_id": f"{name}/{instruction + 1}",
                "image_path": f"{name}-{number}.png",
                "prediction": Answer("yes", ((0, 0, float(score), 1),)),
                "scores": {"mean_iou": -1.0},  # which nobody may believe
            }
            records.append(replace(BASE, **(changed | changes)))
    return records


def compare(tmp_path, a, b, **options):
    return compare_runs(write(tmp_path / "a", a), write(tmp_path / "b", b), **options)


def test_a_planted_difference_is_found_in_the_task_that_has_it(tmp_path):
    rng = np.random.default_rng(1)
    noise = {name: 100.0 * (rng.random(80) < 0.5) for name in ("nlvr", "text_vqa")}
    better = np.maximum(noise["nlvr"], 100.0 * (rng.random(80) < 0.4))
    alike = rng.permutation(noise["text_vqa"])
    a = task(noise["nlvr"]) + task(noise["text_vqa"], name="text_vqa")
    b = task(better) + task(alike, name="text_vqa")
    result = compare(tmp_path, a, b)
    tasks = result["zero_shot"]["tasks"]
    nlvr = tasks["nlvr"]
    assert nlvr["difference"] == pytest.approx(np.mean(better - noise["nlvr"])) == nlvr["b"] - nlvr["a"]
    assert nlvr["p"] < nlvr["p_holm"] < 0.01 and 0 < nlvr["interval"][0] < nlvr["difference"] < nlvr["interval"][1]
    assert tasks["text_vqa"]["difference"] == 0 and tasks["text_vqa"]["p"] > 0.9
    low, high = tasks["text_vqa"]["interval"]
    assert low < 0 < high
    total = result["zero_shot"]["aggregated"]
    assert total["difference"] == pytest.approx(nlvr["difference"] / 2)
    assert result["remarks"] == [] and result["not_compared"] == {}


def test_a_run_does_not_differ_from_itself(tmp_path):
    records = task([[0, 100], [100, 100], [100, 0]], instructions=(0, 1))
    section = compare(tmp_path, records, records)["zero_shot"]
    nlvr, total = section["tasks"]["nlvr"], section["aggregated"]
    for values in (nlvr, total):
        assert values["a"] == values["b"] == pytest.approx(200 / 3)
        assert (values["difference"], values["interval"], values["p"]) == (0, [0, 0], 1)
    assert section["sensitivity"]["difference"] == 0 and section["sensitivity"]["interval"] == [0, 0]


def test_p_of_few_images_by_hand(tmp_path):
    """Four images, B right and A wrong about all: 2 of 16 sign flips are as extreme."""
    nlvr = compare(tmp_path, task([0] * 4), task([100] * 4))["zero_shot"]["tasks"]["nlvr"]
    assert nlvr["difference"] == 100 and nlvr["p"] == nlvr["p_holm"] == pytest.approx(2 / 16, abs=0.01)


def test_sensitivity_is_compared_without_p(tmp_path):
    """Means 10, 20 and 30 over instructions in A: 50; equal ones in B: 0."""
    a = task([[0, 20, 40], [20, 20, 20]], instructions=(0, 1, 2))
    b = task([[20, 20, 20], [30, 30, 30]], instructions=(0, 1, 2))
    result = compare(tmp_path, a, b)["zero_shot"]["sensitivity"]
    assert (result["a"], result["b"], result["difference"]) == (pytest.approx(50), 0, pytest.approx(-50))
    assert "p" not in result and result["interval"][1] < 0
    # A single instruction has no sensitivity.
    other = write(tmp_path / "c", task([20, 30]))
    result = compare_runs(tmp_path / "a", other)
    assert result["zero_shot"]["sensitivity"] is None
    assert result["remarks"] == ["nlvr: the instructions are 1, 2, 3 in A and 1 in B."]
    assert result["zero_shot"]["tasks"]["nlvr"]["a"] == pytest.approx(20)


def test_what_does_not_compare_is_said(tmp_path):
    a = [
        *task([0, 100], name="version"),
        *task([0, 100], name="alone"),
        *task([0, 100], name="metric"),
        *task([0, 100], name="apart"),
        *task([0, 100], name="changed"),
        *task([0, 100], name="corpus", scores={"bleu": 1.0}),
        *task([0, 100], name="good"),
    ]
    b = [
        *task([0, 100], name="version", task_version=2),
        *task([0, 100], name="metric", scores={"rouge_l": 1.0}),
        *task([0, 100], name="apart", start=2),
        *task([0, 100], name="changed", references=("no",)),
        *task([0, 100], name="corpus", scores={"bleu": 1.0}),
        *task([0, 100], name="good"),
    ]
    result = compare(tmp_path, a, b)
    assert list(result["zero_shot"]["tasks"]) == ["good"]
    assert result["not_compared"] == {
        "alone": "only run A has it",
        "apart": "the runs have no instance in common",
        "changed": "2 of 2 instances have other options or another right answer in B: other data",
        "corpus": "bleu is computed over all answers together, so instances have no scores to compare",
        "metric": "its metric is mean_iou in A and rouge_l in B",
        "version": "A answered version 1 of the task and B version 2",
    }
    text = format_comparison(result)
    assert "version: not compared: A answered version 1 of the task and B version 2." in text


def test_remarks_on_what_compares_with_care(tmp_path):
    a = task([0, 100, 100], instructions=(0, 1)) + task([100], start=3)  # the last one under one instruction only
    b = task([100, 0], instructions=(0, 1), mode="rank", perturb="option-order", options=(("no",), ("yes",)))
    result = compare(tmp_path, a, [replace(r, instruction_id=f"nlvr/de/{r.instruction + 1}") for r in b])
    assert result["zero_shot"]["tasks"]["nlvr"]["instances"] == 2
    assert result["b"]["conditions"]["perturb"] == "option-order"
    assert result["remarks"] == [
        "The runs were asked under different conditions: A as usual, B option-order.",
        "nlvr: the instructions are in en in A and in de in B.",
        "nlvr: answers are decoded in mode generate in A and rank in B; a mode may tell what an answer looks like.",
        "nlvr: 2 instances are left out, which not both runs answered under all their instructions.",
    ]
    assert result["remarks"][0] in format_comparison(result)


@pytest.mark.parametrize("group", ["extra", "combination"])
def test_totals_leave_out_groups_apart_and_trained_tasks_stand_apart(tmp_path, group):
    rows = [0, 100, 0, 100, 0, 0, 100, 100, 0, 0]
    a = task(rows) + task(rows, name="more", group=group) + task(rows, name="old", split="train", group="extra")
    b = (
        task(rows)
        + task([100] * 10, name="more", group=group)
        + task([100] * 10, name="old", split="train", group="extra")
    )
    result = compare(tmp_path, a, b)
    assert set(result["zero_shot"]["tasks"]) == {"nlvr", "more"} and set(result["trained"]["tasks"]) == {"old"}
    assert result["zero_shot"]["aggregated"]["difference"] == 0 and result["zero_shot"]["aggregated"]["p"] == 1
    assert result["trained"]["aggregated"]["difference"] == 60


def test_only_tasks_of_the_extra_group(tmp_path):
    records = task([0, 100], group="extra")
    section = compare(tmp_path, records, records)["zero_shot"]
    assert section["aggregated"] is None and section["sensitivity"] is None


def test_comparing_twice_gives_the_same(tmp_path):
    rng = np.random.default_rng(2)
    a, b = (task(rng.integers(0, 100, (30, 5)).astype(float), instructions=range(5)) for _ in range(2))
    first = compare(tmp_path, a, b)
    assert first == compare_runs(tmp_path / "a", tmp_path / "b")
    assert first != compare_runs(tmp_path / "a", tmp_path / "b", seed=2)


def test_a_single_image_has_no_interval(tmp_path):
    result = compare(tmp_path, task([0, 100], image_path="i.png"), task([100, 100], image_path="i.png"))["zero_shot"]
    assert result["tasks"]["nlvr"]["interval"] is result["aggregated"]["interval"] is None
    assert result["tasks"]["nlvr"]["p"] == 1


@pytest.mark.parametrize(
    "change", [{"mode": "rank"}, {"task_version": 2}, {"scores": {"iou": 1.0}}, {"perturb": "typos"}]
)
def test_a_run_that_contradicts_itself_is_an_error(tmp_path, change):
    with pytest.raises(DataError, match=r"a/predictions\.jsonl:2: .* earlier lines"):
        compare(tmp_path, task([0]) + task([0], start=1, **change), task([0, 0]))


def test_an_empty_run_is_an_error(tmp_path):
    with pytest.raises(DataError, match="holds no prediction"):
        compare(tmp_path, task([0]), [])
