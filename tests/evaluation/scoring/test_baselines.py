"""Tests of scores against chance and majority, beside distributions that are known exactly."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from ofa_mi.data.encoding import Answer
from ofa_mi.evaluation.predictions import read_predictions
from ofa_mi.evaluation.report import ReportOptions, build_report
from ofa_mi.evaluation.scoring.baselines import baseline_test, correct_tests
from ofa_mi.evaluation.scoring.resampling import ImageSums, mean_above_p
from ofa_mi.evaluation.scoring.scores import score_run
from ofa_mi.evaluation.scoring.tables import build_tables, format_table
from tests.evaluation.fake_study import make_images, write_run

IMAGES, INSTRUCTIONS = 40, 5


def by_image(scores, counts=None):
    """Mean scores of images, and of how many answers each is."""
    counts = np.ones(len(scores)) if counts is None else np.asarray(counts, dtype=float)
    return ImageSums(np.arange(len(scores)), np.asarray(scores, dtype=float) * counts, counts)


@pytest.mark.parametrize(
    ("n", "right", "level"),
    [
        (1, 1, 50),
        (2, 1, 50),
        (10, 7, 25),
        (100, 40, 25),
        (100, 10, 25),
        (100, 0, 25),
        (100, 100, 50),
        (200, 199, 95),
        (10_000, 5_000, 99),
    ]
    + [(10_000, right, 50) for right in (4_900, 5_000, 5_300, 9_000)],
)
def test_right_and_wrong_answers_have_the_binomial_p(n, right, level):
    p = mean_above_p(by_image([100] * right + [0] * (n - right)), level)
    assert p == pytest.approx(binom.sf(right - 1, n, level / 100), rel=1e-9)


def test_graded_scores_have_the_p_of_random_weights():
    """The definition, drawn: weights of the images and of one more, whose score is 0."""
    rng = np.random.default_rng(3)
    scores, counts = rng.uniform(0, 100, 8), rng.integers(1, 4, 8)
    weights = rng.standard_exponential((200_000, 9)) * [*counts, counts.max()]
    means = weights @ [*scores, 0] / weights.sum(axis=1)
    assert mean_above_p(by_image(scores, counts), 40) == pytest.approx(np.mean(means <= 40), abs=0.005)


def test_one_image_has_the_p_of_markovs_inequality():
    assert mean_above_p(by_image([80]), 20) == pytest.approx(20 / 80)


def test_levels_at_the_ends():
    assert mean_above_p(by_image([100, 100]), 100) == 1
    assert mean_above_p(by_image([0, 0]), 0) == 1
    assert mean_above_p(by_image([0, 1]), 0) == 0


@pytest.mark.parametrize("level", [0.25, 1 / 3, 0.5, 0.95])
def test_a_model_at_its_level_is_seldom_said_to_be_above(level):
    """Five instructions that share their answer about half of 100 images; 0.05 x 1.5 allows for 400 draws."""
    rng, p = np.random.default_rng(11), []
    for _ in range(400):
        shared, own = rng.random((100, 1)) < level, rng.random((100, INSTRUCTIONS)) < level
        scores = 100 * np.where(rng.random((100, 1)) < 0.5, shared, own)
        p.append(mean_above_p(by_image(scores.mean(axis=1)), 100 * level))
    p = np.array(p)
    assert np.mean(p < 0.05) <= 0.075 and np.mean(p < 0.01) <= 0.025


def test_answers_that_instructions_share_count_once():
    """Means over instructions that differ vary less, so they tell more; equal ones tell what one does."""
    rng = np.random.default_rng(5)
    right = (rng.random(100) < 0.65) * 100.0
    own = (rng.random((INSTRUCTIONS, 100)) < right.mean() / 100) * 100.0
    images = [range(100)] * INSTRUCTIONS
    alike = ImageSums.of(images, [[right] * INSTRUCTIONS]).over_instructions(0)
    differing = ImageSums.of(images, [own]).over_instructions(0)
    level = 50
    assert mean_above_p(alike, level) == pytest.approx(mean_above_p(by_image(right), level))
    assert mean_above_p(differing, level) < mean_above_p(alike, level) / 10


def test_instructions_weigh_the_same():
    """Of an instruction that answered two questions and one that answered one, the mean is that of their means."""
    sums = ImageSums.of([[0, 1], [0]], [[[100, 0], [100]]]).over_instructions(0)
    assert sums.sums.sum() / sums.counts.sum() == pytest.approx((50 + 100) / 2)


@pytest.mark.parametrize(
    ("chance", "majority", "level"),
    [(25, 40, 40), (50, 40, 50), (None, 40, 40), (25, None, 25), (float("nan"), 40, 40)],
)
def test_the_level_is_the_better_of_those_that_are_known(chance, majority, level):
    test = baseline_test(by_image([100.0] * 9 + [0]), {"mean": 90.0, "chance": chance, "majority": majority})
    assert test["level"] == level and test["difference"] == 90 - level
    assert test["p"] == pytest.approx(binom.sf(8, 10, level / 100), rel=1e-5)


@pytest.mark.parametrize("levels", [(None, None), (None, float("nan"))])
def test_without_a_level_there_is_no_test(levels):
    assert baseline_test(by_image([100.0]), dict(zip(("chance", "majority"), levels, strict=True), mean=100)) is None
    assert baseline_test(by_image([100.0]), {"mean": float("nan"), "chance": 50, "majority": None}) is None


def test_tasks_beside_the_benchmark_are_corrected_apart():
    p = {"a": 0.004, "b": 0.006, "c": 0.5, "apart": 0.009, "untested": None}
    tasks = {name: {"above_baseline": None if value is None else {"p": value}} for name, value in p.items()}
    assert correct_tests(tasks, ["apart"]) == {
        "above_baseline": {"alpha": 0.01, "above": 0, "of": 3},
        "above_baseline_apart": {"alpha": 0.01, "above": 1, "of": 1},
    }
    corrected = {name: task["above_baseline"]["p_holm"] for name, task in tasks.items() if task["above_baseline"]}
    assert corrected == pytest.approx({"a": 0.012, "b": 0.012, "c": 0.5, "apart": 0.009})
    assert correct_tests({"untested": {"above_baseline": None}}, []) == dict.fromkeys(
        ("above_baseline", "above_baseline_apart")
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Records of the nine evaluation tasks."""
    root = tmp_path_factory.mktemp("source")
    data = make_images(root / "data", IMAGES)
    return list(read_predictions(write_run(root / "run", data, "OFA", 1, per_task=IMAGES) / "predictions.jsonl"))


def answered(root, source, right):
    """A run that answers a share of the images of each task rightly, under all instructions, and others not at all."""
    root.mkdir(parents=True)
    lines = []
    for record in source:
        share = right.get(record.task)
        if share is None:
            continue
        number = int(record.unique_id.rpartition("-")[2])
        answer = record.references[0] if number < share * IMAGES and record.references else "-"
        lines.append(replace(record, prediction=Answer(answer, ())).to_json())
    (root / "predictions.jsonl").write_bytes(b"".join(lines))
    return score_run(root)


def test_a_run_says_which_tasks_are_above_their_baseline(source, tmp_path):
    apart = [replace(r, task="color_matching", group="combination") for r in source if r.task == "nlvr"]
    trained = [replace(r, task="easy_vqa", split="train") for r in source if r.task == "nlvr"]
    right = {"nlvr": 1, "visual_entailment": 0, "color_matching": 1, "easy_vqa": 1}
    scores = answered(tmp_path / "run", [*source, *apart, *trained], right)
    nlvr = scores["tasks"]["nlvr"]
    metric, test = nlvr["metrics"]["accuracy"], nlvr["above_baseline"]
    assert test["level"] == max(metric["chance"], metric["majority"]) and test["difference"] == 100 - test["level"]
    assert test["p"] == pytest.approx((test["level"] / 100) ** IMAGES, rel=1e-5)  # all images right
    assert test["p_holm"] == pytest.approx(2 * test["p"])  # of two tasks
    for name in ("color_matching", "easy_vqa"):  # each in a family of its own
        assert scores["tasks"][name]["above_baseline"]["p_holm"] == test["p"]
    assert scores["tasks"]["visual_entailment"]["above_baseline"]["p"] > 0.99
    assert scores["zero_shot"]["above_baseline"] == {"alpha": 0.01, "above": 1, "of": 2}
    assert scores["zero_shot"]["above_baseline_apart"] == {"alpha": 0.01, "above": 1, "of": 1}
    assert scores["trained"]["above_baseline"] == {"alpha": 0.01, "above": 1, "of": 1}
    assert scores["trained"]["above_baseline_apart"] is None
    assert json.loads((tmp_path / "run" / "scores.json").read_text()) == scores


def test_a_metric_over_the_corpus_is_not_tested(source, tmp_path):
    bleu = [replace(record, scores={"bleu": 0.0, "rouge_l": 0.0}) for record in source]
    scores = answered(tmp_path / "run", bleu, {"text_vqa": 1})
    assert scores["tasks"]["text_vqa"]["metrics"]["bleu"]["majority"] is not None
    assert scores["tasks"]["text_vqa"]["above_baseline"] is None
    assert scores["zero_shot"]["above_baseline"] is None
    assert "chance and majority" not in format_table({"run": scores})


def test_tables_mark_what_is_above(source, tmp_path):
    apart = [replace(r, task="color_matching", group="combination") for r in source if r.task == "nlvr"]
    records = [*source, *apart]
    good = answered(tmp_path / "good", records, {"nlvr": 1, "visual_entailment": 0, "color_matching": 1})
    bad = answered(tmp_path / "bad", records, {"nlvr": 0, "visual_entailment": 0, "color_matching": 1})
    table = format_table({"good": good, "bad": bad})
    (line,) = (line for line in table.splitlines() if line.startswith("nlvr"))
    assert "100.00* ± 0.00 (100.00)" in line and "0.00 ± 0.00 (0.00)" in line
    (remark,) = (line for line in table.splitlines() if line.startswith("*"))
    assert remark == (
        "* above the better of chance and majority (p < 0.01, one-sided, over images, corrected for the number of "
        "tasks): good 1 of 2, bad 0 of 2; beside the benchmark good 1 of 1, bad 1 of 1."
    )
    # One strategy of two seeds is above only where both are.
    (both,) = build_tables({"both": [good, bad]})
    assert {row.task: row.cells[0].above for row in both.rows} == {
        "nlvr": False,
        "visual_entailment": False,
        "color_matching": True,
    }
    assert "majority in every seed (p < 0.01" in both.remarks[0] and "both 0 of 2" in both.remarks[0]
    # A file that an earlier version wrote has no tests, and gets no mark.
    for task in good["tasks"].values():
        del task["above_baseline"]
    (old,) = build_tables({"old": good})
    assert all(row.cells[0].above is None for row in old.rows) and "above" not in " ".join(old.remarks)


def test_reports_mark_what_is_above(tmp_path):
    data = make_images(tmp_path / "data", IMAGES)
    run = write_run(tmp_path / "run", data, "OFA", 1, per_task=IMAGES)
    records = list(read_predictions(run / "predictions.jsonl"))
    (run / "predictions.jsonl").unlink()
    settings = (run / "run.json").read_text()
    answered(tmp_path / "good", records, {"nlvr": 1, "visual_entailment": 0})
    (tmp_path / "good" / "run.json").write_text(settings)
    build_report(ReportOptions(runs=[("good", tmp_path / "good")], examples=0), tmp_path / "report")
    page, text, numbers = (
        (tmp_path / "report" / name).read_text() for name in ("index.html", "report.md", "report.csv")
    )
    assert "<b>100.00*</b>" in page and "<b>0.00</b>" in page and "<b>0.00*</b>" not in page
    assert r"100.00\* ± 0.00" in text
    for shown in (page, text):
        assert "above the better of chance and majority" in shown and "good 1 of 2" in shown
    rows = list(csv.DictReader(io.StringIO(numbers)))
    found = {row["task"]: float(row["value"]) for row in rows if row["quantity"] == "baseline_p_holm"}
    assert found["nlvr"] < 0.01 and found["visual_entailment"] > 0.99
