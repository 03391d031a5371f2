"""What makes right answers or scores doubtful is said, where a run begins and where it is scored."""

import json
from dataclasses import replace

import pytest

from ofa_mi.data.encoding import Answer
from ofa_mi.evaluation.asking.plan import EvaluationOptions
from ofa_mi.evaluation.asking.run import evaluate
from ofa_mi.evaluation.scoring.scores import score_run
from ofa_mi.evaluation.scoring.tables import format_table
from ofa_mi.instances.doubts import LEAST, doubts
from tests.evaluation.fake import FakePredictor
from tests.evaluation.test_predictions import RECORD
from tests.instances.test_tsv import IMAGES, write

DUMMIES = "look like dummies, as they stand in OFA's vqa_test.tsv"
TEXT = replace(RECORD, task="text_vqa", perturb="none", options=None, target_boxes=(), target_set=None, answers=())


def score(directory, records):
    (directory / "predictions.jsonl").write_bytes(b"".join(record.to_json() for record in records))
    return score_run(directory)


@pytest.mark.parametrize(
    ("instances", "answers", "repeating", "found"),
    [
        (LEAST, {"yes": LEAST}, 0, [DUMMIES]),
        (LEAST - 1, {"yes": LEAST - 1}, LEAST - 1, []),
        (LEAST, {"yes": LEAST - 1, "no": 1}, 0, []),
        (LEAST, {"yes": LEAST - 1}, 0, []),  # the other one has no text
        (LEAST, {}, 0, []),
        (LEAST, None, LEAST // 2 + 1, ["look like the answers of annotators"]),
        (LEAST, None, LEAST // 2, []),
    ],
)
def test_what_is_doubted(instances, answers, repeating, found):
    said = list(doubts(instances, answers, repeating))
    assert len(said) == len(found) and all(text in sentence for text, sentence in zip(found, said, strict=True))


def test_the_dummy_answers_of_ofas_test_file_are_said(tmp_path, caplog):
    """https://github.com/OFA-Sys/OFA/issues/168: every answer of the file is "yes"."""
    rows = [(str(i), "9", f"what is thing {i}?", "1.0|!+yes", "", IMAGES[0]) for i in range(LEAST)]
    write(tmp_path / "vqa_test.tsv", *rows)
    options = EvaluationOptions(tasks=("all",), instructions=(0,))
    scores = evaluate(FakePredictor(), [tmp_path], tmp_path / "run", options, progress=False)
    assert f"open_domain_vqa: the right answer of all {LEAST} instances is 'yes': these {DUMMIES}" in caplog.text
    (remark,) = scores["tasks"]["open_domain_vqa"]["remarks"]
    assert DUMMIES in remark and f"run: open_domain_vqa: {remark}." in format_table({"run": scores})


def test_annotators_answers_in_the_place_of_references_are_said(tmp_path):
    """As data of earlier versions have them."""
    records = [
        replace(
            TEXT,
            unique_id=str(i),
            references=(f"brand {i}", f"brand {i}", f"Brand {i}.", "nokia"),
            scores={"rouge_l": 0},
        )
        for i in range(LEAST)
    ]
    (remark,) = score(tmp_path, records)["tasks"]["text_vqa"]["remarks"]
    assert f"{LEAST} of {LEAST} instances" in remark and "must be made again" in remark


def test_what_rouge_l_cannot_tokenise_is_counted_and_said(tmp_path):
    texts = [("\ue000", "\ue000"), ("\ue000", "red"), ("blue", "\x07"), ("£", "£"), ("日本", "日本"), ("", "red")]
    records = [
        replace(TEXT, unique_id=str(i), prediction=Answer(given), references=(right,), scores={"rouge_l": 0})
        for i, (given, right) in enumerate(texts)
    ]
    scores = score(tmp_path, records)
    assert scores["tasks"]["text_vqa"]["metrics"]["rouge_l"]["mean"] == 50
    (remark,) = scores["tasks"]["text_vqa"]["remarks"]
    assert remark.startswith("3 answers, or what is right, hold no letter, digit or symbol")
    assert f"run: text_vqa: {remark}." in format_table({"run": scores})
    assert score(tmp_path, records[3:])["tasks"]["text_vqa"]["remarks"] == []


def test_a_run_whose_predictions_equal_its_targets_scores_100(tmp_path):
    texts = ["日本", "Привет мир", "+", "£", "größe", "two dogs"]
    records = [
        replace(
            TEXT, unique_id=str(i), prediction=Answer(text), references=(text,), scores={"rouge_l": 0, "accuracy": 0}
        )
        for i, text in enumerate(texts)
    ]
    metrics = score(tmp_path, records)["tasks"]["text_vqa"]["metrics"]
    assert metrics["rouge_l"]["mean"] == metrics["accuracy"]["mean"] == 100


def test_silence_is_wrong_in_an_old_file_of_predictions(tmp_path):
    record = json.loads(replace(TEXT, prediction=Answer(""), references=("a dog", ""), scores={"rouge_l": 0}).to_json())
    del record["answers"]
    record["scores"] = {"rouge_l": 100.0, "accuracy": 100.0, "chrf": 100.0}
    (tmp_path / "predictions.jsonl").write_text(json.dumps(record) + "\n")
    metrics = score_run(tmp_path)["tasks"]["text_vqa"]["metrics"]
    assert [metric["mean"] for metric in metrics.values()] == [0, 0, 0]
