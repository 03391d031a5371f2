"""Runs: every question once, the same file however the run went, and scores from that file alone."""

import csv
import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
from PIL import Image

from ofa_mi.data.dataset import DatasetOptions, MultiInstructDataset
from ofa_mi.data.encoding import Answer, PromptEncoder
from ofa_mi.data.regions import RegionCodec
from ofa_mi.data.transform import ImageTransform
from ofa_mi.data.vocabulary import Vocabulary
from ofa_mi.data_prep.check.checking import check
from ofa_mi.errors import ConfigError, DataError
from ofa_mi.evaluation import sensitivity
from ofa_mi.evaluation.asking.plan import EvaluationOptions
from ofa_mi.evaluation.asking.run import batches, evaluate
from ofa_mi.evaluation.metrics import Truth
from ofa_mi.evaluation.predictions import read_predictions
from ofa_mi.evaluation.scoring.scores import chance_level, majority_level, read_scores, score_run
from ofa_mi.instances.open import open_store
from ofa_mi.instructions.registry import default_registry
from ofa_mi.utils import progress
from tests.conftest import REPOSITORY
from tests.evaluation.fake import FakePredictor, make_data
from tests.evaluation.test_predictions import RECORD
from tests.instances.test_tsv import ROWS, write

ALL = EvaluationOptions(tasks=("all",), batch_size=7)


def score_records(directory, records):
    directory.mkdir(exist_ok=True)
    (directory / "predictions.jsonl").write_bytes(b"".join(record.to_json() for record in records))
    return score_run(directory)


def run(data_dir, out, options=ALL, predictor=None, **others):
    return evaluate(predictor or FakePredictor(), [data_dir], out, options, progress=False, **others)


def content(out):
    return {path.name: path.read_bytes() for path in out.iterdir() if path.name != "run.json"}


@pytest.fixture(scope="module")
def finished(data_dir, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "finished"
    run(data_dir, out)
    return out


def test_every_instance_is_answered_once_under_every_instruction(finished):
    records = list(read_predictions(finished / "predictions.jsonl"))
    assert len(records) == 6 * 8 * 5
    assert [record.key for record in records] == sorted({record.key for record in records})
    assert {record.instruction_id for record in records if record.task == "nlvr"} == {f"nlvr/{i}" for i in range(1, 6)}


def test_scores_are_the_protocols(finished):
    scores = json.loads((finished / "scores.json").read_text())
    assert scores["zero_shot"]["tasks"] == ["grounded_vqa", "nlvr", "visual_entailment", "visual_text_extraction"]
    assert scores["trained"]["tasks"] == ["color_understanding", "visual_grounding"]
    nlvr = scores["tasks"]["nlvr"]
    records = [r for r in read_predictions(finished / "predictions.jsonl") if r.task == "nlvr"]
    right = [sum(r.prediction.text == r.references[0] for r in records if r.instruction == i) for i in range(5)]
    assert nlvr["metrics"]["accuracy"]["scores"] == pytest.approx([100 * count / 8 for count in right])
    primary = {t: scores["tasks"][t]["metrics"][scores["tasks"][t]["metric"]] for t in scores["zero_shot"]["tasks"]}
    assert scores["zero_shot"]["sensitivity"] == pytest.approx(
        sensitivity({t: m["scores"] for t, m in primary.items()})
    )
    assert scores["zero_shot"]["aggregated"] == pytest.approx(sum(m["mean"] for m in primary.values()) / 4)


def test_chance_and_majority(finished):
    tasks = json.loads((finished / "scores.json").read_text())["tasks"]
    assert tasks["nlvr"]["metrics"]["accuracy"]["chance"] == 50
    assert tasks["visual_entailment"]["metrics"]["accuracy"]["chance"] == pytest.approx(100 / 3)
    assert tasks["grounded_vqa"]["metrics"]["region_accuracy"]["chance"] == pytest.approx(100 / 3)
    assert tasks["grounded_vqa"]["metrics"]["region_accuracy"]["majority"] is None
    for metric in tasks["visual_grounding"]["metrics"].values():
        assert metric["chance"] is metric["majority"] is None
    assert tasks["visual_text_extraction"]["metrics"]["rouge_l"]["chance"] is None
    truths = [r.references[0] for r in read_predictions(finished / "predictions.jsonl") if r.task == "nlvr"]
    majority = 100 * max(map(truths.count, ("yes", "no"))) / len(truths)
    assert tasks["nlvr"]["metrics"]["accuracy"]["majority"] == pytest.approx(majority)


def test_an_image_is_known_by_its_content_or_as_a_photo_and_not_by_its_path(tmp_path):
    """Two copies of a file, a photo of MSCOCO in the folders of two data sets, and one that is like no other."""
    paths = ("a.png", "copies/b.png", "coco/000000000139.png", "visual_genome/5.png", "other.png")
    paths = tuple(path.replace("139.png", "139.jpg").replace("5.png", "5.jpg") for path in paths)
    for number, path in enumerate(paths):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        Image.new("RGB", (40, 30), "red" if number < 2 else (number, 0, 0)).save(tmp_path / path)
    lines = [
        {
            "unique_id": str(number),
            "task_name": "easy_vqa",
            "question": "what?",
            "target_txt": "red",
            "image_path": path,
            "image_size": [40, 30],
            "meta_data": {"coco_id": 139} if "genome" in path else {},
        }
        for number, path in enumerate(paths)
    ]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    scores = run(tmp_path, tmp_path / "run")
    photos = [record.photo for record in read_predictions(tmp_path / "run" / "predictions.jsonl")]
    assert scores["bootstrap"]["images"] == scores["tasks"]["easy_vqa"]["images"] == 3
    assert photos[0] == photos[1] != photos[4] and photos[0].startswith("sha256 ")
    assert photos[2] == photos[3] == "coco 139"
    hidden = run(tmp_path, tmp_path / "hidden", replace(ALL, image="none"))
    assert hidden["bootstrap"]["images"] == 3, "whatever is shown"


def test_the_majority_counts_spellings_of_one_answer_together():
    truths = [Truth((text,)) for text in ("no", "no", "Yes", "yes.", "y\u200bes")]
    assert majority_level("accuracy", truths) == 60


def test_chance_by_another_metric_than_accuracy():
    """ROUGE-L of "a b" with "a b" is 1, of "a c" with it 1/2 and of "d" with it 0."""
    truth = Truth(("a b",), options=(("a b",), ("a c",), ("d",)))
    assert chance_level("rouge_l", [truth]) == pytest.approx(50)
    assert chance_level("accuracy", [truth]) == pytest.approx(100 / 3)
    assert chance_level("bleu", [truth]) is None


def test_csv_has_a_line_per_task_and_metric(finished):
    rows = list(csv.DictReader((finished / "scores.csv").open()))
    tasks = json.loads((finished / "scores.json").read_text())["tasks"]
    assert [(row["task"], row["metric"]) for row in rows] == [(t, m) for t in tasks for m in tasks[t]["metrics"]]
    assert float(rows[0]["instruction_5"]) == pytest.approx(
        tasks[rows[0]["task"]]["metrics"][rows[0]["metric"]]["scores"][4], abs=1e-4
    )


def test_scoring_again_gives_the_same_bytes(finished, tmp_path):
    out = shutil.copytree(finished, tmp_path / "copy")
    (out / "scores.json").unlink()
    score_run(out)
    assert content(out) == content(finished)


def test_scores_by_other_rules_are_refused(finished, tmp_path):
    out = shutil.copytree(finished, tmp_path / "copy")
    scores = read_scores(out)
    for changed in ({**scores, "rules": 1}, {key: value for key, value in scores.items() if key != "rules"}):
        (out / "scores.json").write_text(json.dumps(changed))
        with pytest.raises(
            ConfigError, match=r"copy/scores\.json: .* another version .* run `ofa-mi score .*copy` first"
        ):
            read_scores(out)
    score_run(out)
    assert read_scores(out) == scores


def test_scores_come_from_the_predictions_and_not_from_what_was_stored(finished, tmp_path):
    (tmp_path / "predictions.jsonl").write_bytes(
        b"".join(
            replace(record, scores=dict.fromkeys(record.scores, 1.0)).to_json()
            for record in read_predictions(finished / "predictions.jsonl")
        )
    )
    score_run(tmp_path)
    assert content(tmp_path) == content(finished)


@pytest.mark.parametrize("fail_after", [0, 1, 50, 200])
def test_a_stopped_run_goes_on_and_gives_the_same_files(data_dir, finished, tmp_path, fail_after):
    with pytest.raises(KeyboardInterrupt):
        run(data_dir, tmp_path / "run", predictor=FakePredictor(fail_after=fail_after))
    path = tmp_path / "run" / "predictions.jsonl"
    there = path.read_bytes().count(b"\n")
    with path.open("ab") as file:
        file.write(b'{"unique_id": "nl')
    predictor = FakePredictor()
    run(data_dir, tmp_path / "run", predictor=predictor)
    assert predictor.asked == 240 - there
    assert content(tmp_path / "run") == content(finished)


def test_a_finished_run_asks_nothing(data_dir, finished, tmp_path):
    out = shutil.copytree(finished, tmp_path / "copy")
    run(data_dir, out, predictor=FakePredictor(fail_after=0))
    assert content(out) == content(finished)


def test_shards_give_what_one_process_gives(data_dir, finished, tmp_path):
    shards = [replace(ALL, shard=i, num_shards=3) for i in range(3)]
    predictors = [FakePredictor() for _ in shards]
    results = [run(data_dir, tmp_path / "run", s, p) for s, p in zip(shards, predictors, strict=True)]
    assert results[0] is results[1] is None
    assert results[2] == json.loads((finished / "scores.json").read_text())
    assert sum(predictor.asked for predictor in predictors) == 240
    for name, expected in content(finished).items():
        assert (tmp_path / "run" / name).read_bytes() == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mode": "rank"}, r"options\.mode is 'generate' there and 'rank' now"),
        ({"tasks": ("eval",)}, r"options\.tasks"),
        ({"instructions": (0,)}, r"options\.instructions"),
    ],
)
def test_another_run_in_the_same_directory_is_refused(data_dir, finished, change, message):
    with pytest.raises(ConfigError, match=message):
        run(data_dir, finished, replace(ALL, **change))


def test_another_checkpoint_in_the_same_directory_is_refused(data_dir, tmp_path):
    options = EvaluationOptions(tasks=("nlvr",))
    for name in "ab":
        (tmp_path / name).write_text(name)
    run(data_dir, tmp_path / "run", options, checkpoint=tmp_path / "a")
    with pytest.raises(ConfigError, match="checkpoint is"):
        run(data_dir, tmp_path / "run", options, checkpoint=tmp_path / "b")


def test_questions_about_one_instance_come_together_and_batches_are_full(data_dir, tmp_path):
    predictor = FakePredictor()
    run(data_dir, tmp_path, EvaluationOptions(tasks=("nlvr",), batch_size=10), predictor)
    assert list(map(len, predictor.batches)) == [10] * 4
    assert all(len({name.split(" under ")[0] for name in batch}) == 2 for batch in predictor.batches)


def test_batches_go_from_long_to_short(tmp_path):
    """The padding of a batch is what its questions lack to the longest; sorted, little of it is left."""
    data = make_data(tmp_path / "data", per_task=12, tasks=("nlvr",))
    lines = [json.loads(line) for line in (data / "test.jsonl").read_text().splitlines()]
    for number, line in enumerate(lines):
        line["text"] = "word " * (1 + 50 * (number * 7 % 12))  # in no order
    (data / "test.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    predictor = FakePredictor()
    run(data, tmp_path / "run", EvaluationOptions(tasks=("nlvr",), batch_size=5), predictor)
    asked = [int(name.split("nlvr-")[1].split("'")[0]) * 7 % 12 for batch in predictor.batches for name in batch]
    assert asked == sorted(asked, reverse=True)


@pytest.mark.slow
def test_a_killed_process_loses_no_more_than_a_batch(data_dir, finished, tmp_path):
    """Killed for good, in the middle of a batch; all batches before are in the file, and the run goes on."""
    code = f"""
import os, signal
from tests.evaluation.fake import FakePredictor
from tests.evaluation.asking.test_run import ALL, run
class Killed(FakePredictor):
    def predict(self, queries, mode):
        if len(self.batches) == 11:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().predict(queries, mode)
run({str(data_dir)!r}, {str(tmp_path / "run")!r}, predictor=Killed())
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True)
    assert result.returncode == -signal.SIGKILL, result.stderr.decode()
    assert (tmp_path / "run" / "predictions.jsonl").read_bytes().count(b"\n") == 11 * 5  # whole instances
    run(data_dir, tmp_path / "run")
    assert content(tmp_path / "run") == content(finished)


def test_two_runs_give_the_same_files(data_dir, finished, tmp_path):
    run(data_dir, tmp_path / "again", replace(ALL, batch_size=3))
    assert content(tmp_path / "again") == content(finished)


def test_progress_shows_answers(data_dir, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress, "INTERVAL", 0)
    evaluate(FakePredictor(), [data_dir], tmp_path, EvaluationOptions(tasks=("nlvr",)))
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("nlvr: ")]
    assert lines[-1].startswith("nlvr: 100% (40/40 answers)") and len(lines) <= 10


def test_scores_by_subset(data_dir, tmp_path):
    lines = [json.loads(line) for line in (data_dir / "test.jsonl").read_text().splitlines()]
    lines = [line for line in lines if line["task_name"] in ("nlvr", "visual_text_extraction")]
    for number, line in enumerate(lines[:-1]):  # the last one belongs to none
        line["meta_data"] = {"subset": "easy" if number % 3 else "hard", "task": "not this"}
    data = tmp_path / "data"
    shutil.copytree(data_dir, data, ignore=shutil.ignore_patterns("test*"))
    (data / "test.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    scores = run(data, tmp_path / "run")
    records = list(read_predictions(tmp_path / "run" / "predictions.jsonl"))
    for name, metric, counts in (("nlvr", "accuracy", (5, 3)), ("visual_text_extraction", "rouge_l", (5, 2))):
        subsets = scores["tasks"][name]["subsets"]
        assert list(subsets) == ["easy", "hard"]
        for subset, count in zip(subsets, counts, strict=True):
            values = [r.scores[metric] for r in records if r.task == name and r.subset == subset]
            assert subsets[subset] == {"instances": count, "mean": pytest.approx(sum(values) / len(values))}


def test_natural_instructions_are_broken_down_by_their_tasks(tmp_path):
    lines = [
        {
            "unique_id": f"{number}",
            "task_name": "natural_instructions_test",
            "context": ["Say red, green or blue."],
            "text": str(number),
            "target_txt": "red green",
            "meta_data": {"task": name, "categories": ["x"]},
        }
        for number, name in enumerate(["task190_snli", "task050_multirc", "task190_snli"])
    ]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    task = run(tmp_path, tmp_path / "run")["tasks"]["natural_instructions_test"]
    assert {name: subset["instances"] for name, subset in task["subsets"].items()} == {
        "task050_multirc": 1,
        "task190_snli": 2,
    }
    means = [subset["mean"] for subset in task["subsets"].values()]
    assert (means[0] + 2 * means[1]) / 3 == pytest.approx(task["metrics"]["rouge_l"]["mean"])
    assert task["images"] == 3, "without an image, every instance is resampled by itself"


def test_intervals_are_those_of_the_images(data_dir, tmp_path):
    """Two images; both answers about one are right under every instruction, those about the other are wrong."""
    right = replace(RECORD, target_boxes=(), references=("yes",), scores={"accuracy": 0.0})
    scores = score_records(
        tmp_path,
        [
            replace(
                right,
                unique_id=f"{image}{question}",
                instruction=i,
                image_path=f"{image}.png",
                prediction=Answer("yes" if image == "a" else "no"),
            )
            for i in range(2)
            for image in "ab"
            for question in range(2)
        ],
    )
    task = scores["tasks"]["nlvr"]
    assert (task["instances"], task["images"], task["metrics"]["accuracy"]["mean"]) == (4, 2, 50)
    # The share of one of two weights is even between 0 and 1.
    assert task["metrics"]["accuracy"]["interval"] == pytest.approx([2.5, 97.5], abs=1.5)
    assert scores["zero_shot"]["aggregated_interval"] == task["metrics"]["accuracy"]["interval"]
    assert scores["zero_shot"]["sensitivity_interval"] == [0, 0]


def test_no_interval_where_there_is_nothing_to_resample(tmp_path):
    base = replace(RECORD, target_boxes=(), prediction=Answer("a small cat"), references=("a small cat sat",))
    one = score_records(tmp_path / "one", [replace(base, unique_id=name, scores={"accuracy": 0.0}) for name in "ab"])
    assert one["tasks"]["nlvr"]["images"] == 1
    assert one["tasks"]["nlvr"]["metrics"]["accuracy"]["interval"] is None
    assert one["zero_shot"]["aggregated_interval"] is one["zero_shot"]["sensitivity_interval"] is None
    corpus = score_records(
        tmp_path / "corpus",
        [replace(base, unique_id=n, image_path=n, scores={"bleu": 0.0, "rouge_l": 0.0}) for n in "ab"],
    )
    metrics = corpus["tasks"]["nlvr"]["metrics"]
    assert metrics["bleu"]["interval"] is None and metrics["rouge_l"]["interval"] is not None
    assert corpus["tasks"]["nlvr"]["subsets"]["part"]["mean"] == pytest.approx(metrics["bleu"]["mean"])
    assert corpus["zero_shot"]["aggregated_interval"] is None


def test_answers_under_other_conditions_do_not_belong_to_a_run(tmp_path):
    with pytest.raises(DataError, match=r"predictions\.jsonl:2: was asked under other conditions"):
        score_records(tmp_path, [RECORD, replace(RECORD, unique_id="b", perturb="none")])


def test_a_subset_of_instances_is_the_same_whatever_else_is_evaluated(data_dir, tmp_path):
    def ids(out, task):
        return {r.unique_id for r in read_predictions(out / "predictions.jsonl") if r.task == task}

    run(data_dir, tmp_path / "one", EvaluationOptions(tasks=("nlvr",), max_instances=3))
    run(data_dir, tmp_path / "all", EvaluationOptions(tasks=("all",), max_instances=3))
    run(data_dir, tmp_path / "more", EvaluationOptions(tasks=("nlvr",), max_instances=5))
    assert len(ids(tmp_path / "one", "nlvr")) == 3
    assert ids(tmp_path / "one", "nlvr") == ids(tmp_path / "all", "nlvr") < ids(tmp_path / "more", "nlvr")


def test_ranking_ranks_what_has_one_option_as_its_answer(data_dir, tmp_path):
    run(data_dir, tmp_path, EvaluationOptions(tasks=("nlvr", "visual_grounding"), mode="rank"))
    records = list(read_predictions(tmp_path / "predictions.jsonl"))
    assert {(r.task, r.mode, r.option_scores is None) for r in records} == {
        ("nlvr", "rank", False),
        ("visual_grounding", "constrained", True),
    }


def test_task_name_prompts(data_dir, tmp_path):
    scores = run(data_dir, tmp_path, EvaluationOptions(tasks=("nlvr",), prompt_style="task-name"))
    records = list(read_predictions(tmp_path / "predictions.jsonl"))
    assert len(records) == 8
    assert records[0].prompt.startswith("nlvr ;")
    assert scores["zero_shot"]["sensitivity"] is None
    assert "nlvr" in scores["zero_shot"]["left_out"]


def test_choice_of_instructions(data_dir, tmp_path):
    run(data_dir, tmp_path / "run", EvaluationOptions(tasks=("nlvr",), instructions=(4, 1)))
    assert {r.instruction_id for r in read_predictions(tmp_path / "run" / "predictions.jsonl")} == {"nlvr/2", "nlvr/5"}
    with pytest.raises(ConfigError, match="nlvr has 5 instructions, no number 6"):
        run(data_dir, tmp_path / "other", EvaluationOptions(tasks=("nlvr",), instructions=(5,)))


def test_a_task_with_its_own_instruction_is_run_once_and_counts(data_dir, tmp_path):
    data = tmp_path / "ni"
    data.mkdir()
    line = {
        "unique_id": "task050-1",
        "task_name": "natural_instructions_test",
        "context": ["Answer yes or no."],
        "text": "Is it so?",
        "target_txt": "no",
    }
    (data / "test.jsonl").write_text(json.dumps(line) + "\n")
    options = EvaluationOptions(tasks=("nlvr", "natural_instructions_test"), instructions=(1, 2))
    scores = evaluate(FakePredictor(), [data_dir, data], tmp_path / "run", options, progress=False)
    records = list(read_predictions(tmp_path / "run" / "predictions.jsonl"))
    (record,) = (r for r in records if r.task == "natural_instructions_test")
    assert (record.instruction_id, record.prompt) == (
        "natural_instructions_test/1", "answer yes or no. input: is it so? output:",
    )  # fmt: skip
    means = [scores["tasks"][name]["metrics"][metric]["mean"] for name, metric in
             (("nlvr", "accuracy"), ("natural_instructions_test", "rouge_l"))]  # fmt: skip
    assert scores["zero_shot"]["aggregated"] == pytest.approx(sum(means) / 2)
    assert "one instruction" in scores["zero_shot"]["left_out"]["natural_instructions_test"]


def test_tasks_without_instances_are_an_error_if_they_are_named(data_dir, tmp_path):
    with pytest.raises(ConfigError, match="no data directory holds an instance of text_vqa"):
        run(data_dir, tmp_path, EvaluationOptions(tasks=("nlvr", "text_vqa")))
    with pytest.raises(ConfigError, match="no instance of temporal_ordering"):
        run(data_dir, tmp_path, EvaluationOptions(tasks=("temporal_ordering",)))


def test_bad_instances_are_found_before_the_first_question(tmp_path):
    data = make_data(tmp_path / "data", per_task=2, tasks=("nlvr", "visual_grounding"))
    lines = (data / "test.jsonl").read_text().splitlines()
    bad = json.loads(lines[3]) | {"target_txt": "left"}
    (data / "test.jsonl").write_text("\n".join([*lines[:3], json.dumps(bad)]) + "\n")
    predictor = FakePredictor()
    with pytest.raises(DataError, match=r"test\.jsonl:4: .*target_txt must be one box"):
        run(data, tmp_path / "run", predictor=predictor)
    assert predictor.asked == 0


def test_an_answer_that_is_none_of_its_options_is_the_same_error_everywhere(tmp_path):
    data = make_data(tmp_path / "data", per_task=1, tasks=("color_understanding",))
    record = json.loads((data / "test.jsonl").read_text())
    lettered = {"options": ["A. red", "B. blue"], "target_txt": "A"}
    (data / "test.jsonl").write_text(json.dumps(record | lettered) + "\n")
    name = "color_understanding"
    message = f"instance '{name}-0': target_txt is not one of the options of this {name} instance"
    predictor = FakePredictor()
    with pytest.raises(DataError) as evaluated:
        run(data, tmp_path / "run", EvaluationOptions(tasks=("color_understanding",)), predictor=predictor)
    assert predictor.asked == 0 and not (tmp_path / "run").exists()
    regions = RegionCodec(num_bins=1000, max_image_size=512, patch_image_size=32)
    encoder = PromptEncoder(Vocabulary.load(), regions, max_src_length=256, max_tgt_length=32, text_case="lower")
    dataset = MultiInstructDataset(
        [open_store(data, "test")],
        default_registry(),
        encoder,
        ImageTransform(32),
        DatasetOptions(tasks=("color_understanding",)),
    )
    with pytest.raises(DataError) as trained:
        dataset[0]
    assert str(evaluated.value) == str(trained.value) == f"{data / 'test.jsonl'}:1: {message}"
    (finding,) = check([data], tmp_path / "card", default_registry(), with_guess=False).findings
    assert (finding.kind, finding.line, finding.message) == ("target", 1, message)


def test_one_instance_in_two_data_directories_is_an_error(data_dir, tmp_path):
    with pytest.raises(DataError, match="has the same unique_id as"):
        evaluate(FakePredictor(), [data_dir, data_dir], tmp_path, ALL, progress=False)


def test_ofas_own_files_are_evaluated_where_they_lie(tmp_path):
    write(tmp_path / "caption_test.tsv", *ROWS["caption"])
    scores = run(tmp_path, tmp_path / "run")
    assert scores["tasks"]["image_captioning"]["instances"] == 2
    with pytest.raises(DataError, match=r"holds no valid\.jsonl"):
        run(tmp_path, tmp_path / "other", EvaluationOptions(split="valid"))


@pytest.mark.parametrize(
    ("sizes", "size", "expected"),
    [
        ([5, 5, 5, 5], 16, [15, 5]),
        ([5, 5], 5, [5, 5]),
        ([5, 5], 4, [4, 1, 4, 1]),
        ([1, 1, 1], 2, [2, 1]),
        ([3, 12, 2], 8, [3, 8, 6]),
        ([], 4, []),
    ],
)
def test_questions_about_one_instance_share_a_batch(sizes, size, expected):
    """So that its image is encoded once."""
    questions = [
        SimpleNamespace(store=0, instance=SimpleNamespace(unique_id=str(number)))
        for number, n in enumerate(sizes)
        for _ in range(n)
    ]
    found = list(batches(questions, size))
    assert [len(batch) for batch in found] == expected
    assert [question for batch in found for question in batch] == questions
