"""`ofa-mi predict --input`."""

import argparse
import json
import re

import pytest
from PIL import Image

from ofa_mi.commands import predict
from ofa_mi.commands.predict_many import read_questions
from ofa_mi.decoding.predictor import Predictor
from ofa_mi.errors import ConfigError, DataError, OfaMiError
from tests.fuzzing import MUTATIONS, fuzz, mutate_bytes, mutate_json_lines

REGION = [10, 10, 40, 40]
QUESTIONS = [
    {"id": "a", "image": "image.png", "instruction": "what is in {region}?", "region": [REGION]},
    {"id": "b", "image": "image.png", "instruction": "is it red?", "options": ["yes", "no", REGION]},
    {"id": 3, "instruction": "what is red? {text}", "text": "a circle"},
    {"image": "photos/other.jpg", "instruction": "which region shows {text}?", "text": "it", "output": "region"},
    {"id": "e", "image": "photos/other.jpg"},
]


@pytest.fixture
def folder(image, tmp_path):
    """A file of questions, their images, and a checkpoint's file."""
    (tmp_path / "photos").mkdir()
    image.save(tmp_path / "image.png")
    image.rotate(90, expand=True).save(tmp_path / "photos" / "other.jpg")
    (tmp_path / "c.pt").write_bytes(b"weights")
    write(tmp_path, QUESTIONS)
    return tmp_path


def write(folder, questions):
    (folder / "questions.jsonl").write_text("".join(json.dumps(question) + "\n" for question in questions))


@pytest.fixture
def ask(predictor, folder, monkeypatch, capsys):
    """Run the command; gives what it prints. Every batch's size is noted in `ask.sizes`."""

    def load(path, **kinds):
        found = Predictor(predictor.model, predictor.encoder, predictor.transform, generation=kinds["generation"])
        answer = found.predict

        def noted(queries, mode):
            if len(run.sizes) == run.stop_at:
                raise KeyboardInterrupt
            run.sizes.append(len(queries))
            return answer(queries, mode)

        found.predict = noted
        return found

    monkeypatch.setattr(Predictor, "from_checkpoint", load)

    def run(*arguments):
        parser = argparse.ArgumentParser()
        predict.add_arguments(parser)
        run.sizes = []
        assert predict.run(parser.parse_args(["--checkpoint", str(folder / "c.pt"), "--max-len", "5", *arguments])) == 0
        return capsys.readouterr().out

    run.stop_at = None
    return run


def many(folder, name="answers.jsonl", *, source="questions.jsonl"):
    return "--input", str(folder / source), "--out", str(folder / name), "--instruction", "what does it show?"


def answers(folder, name="answers.jsonl"):
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def test_batches_answer_as_single_questions_do(ask, folder):
    out = ask(*many(folder), "--batch-size", "4")
    assert re.search(r"answered 5 questions in [\d.]+ s, [\d.]+ a second; 5 in all$", out.strip())
    assert ask.sizes == [4, 1]
    batched = answers(folder)
    assert [answer["id"] for answer in batched] == ["a", "b", "3", "4", "e"]
    assert batched[1]["options"] == ["yes", "no", "[10, 10, 40, 40]"]
    ask(*many(folder, "single.jsonl"), "--batch-size", "1")
    single = answers(folder, "single.jsonl")
    image = ("--image", str(folder / "image.png"))
    region = ("--region", *map(str, REGION))
    by_command = json.loads(ask(*image, "--instruction", "what is in {region}?", *region, "--json"))
    assert {name: batched[0][name] for name in ("text", "boxes", "prompt", "mode")} == {
        name: by_command[name] for name in ("text", "boxes", "prompt", "mode")
    }
    for one, other in zip(batched, single, strict=True):
        for name in ("score", "probability"):
            assert one.pop(name) == pytest.approx(other.pop(name), rel=1e-3)
        assert one == other


def test_probabilities(ask, folder):
    options = {"instruction": "is it red? {options}", "options": ["yes", "no", "red and green"]}
    write(folder, [{"image": "image.png"} | options, {"image": "photos/other.jpg"} | options])
    ask(*many(folder), "--mode", "rank")
    for answer in answers(folder):
        probabilities = answer["option_probabilities"]
        assert sum(probabilities) == pytest.approx(1) and len(probabilities) == 3
        best = max(range(3), key=answer["option_scores"].__getitem__)
        assert answer["text"] == answer["options"][best] and answer["probability"] == probabilities[best]
    ask(*many(folder, "free.jsonl"))
    assert all(0 < answer["probability"] <= 1 for answer in answers(folder, "free.jsonl"))


@pytest.mark.parametrize("torn", [b"", b'{"id": "3", "te'])
def test_a_killed_run_goes_on(ask, folder, torn):
    ask(*many(folder, "whole.jsonl"), "--batch-size", "2")
    ask.stop_at = 1
    with pytest.raises(KeyboardInterrupt):
        ask(*many(folder), "--batch-size", "2")
    path = folder / "answers.jsonl"
    first = path.read_bytes()
    assert first.count(b"\n") == 2, "what was answered is kept"
    path.write_bytes(first + torn)
    ask.stop_at = None
    out = ask(*many(folder), "--batch-size", "2")
    assert "answered 3 questions" in out and "5 in all" in out and ask.sizes == [2, 1]
    assert path.read_bytes() == (folder / "whole.jsonl").read_bytes()
    ask(*many(folder), "--batch-size", "2")
    assert ask.sizes == [] and path.read_bytes() == (folder / "whole.jsonl").read_bytes()


def test_questions_that_were_added_are_answered(ask, folder):
    ask(*many(folder))
    write(folder, [*QUESTIONS, {"id": "f", "instruction": "what?"}])
    ask(*many(folder))
    assert ask.sizes == [1] and answers(folder)[-1]["id"] == "f"


def test_answers_to_something_else_are_not_mixed_in(ask, folder):
    ask(*many(folder))
    for change in ("--max-len", "4"), ("--mode", "constrained"):
        with pytest.raises(ConfigError, match=r"answers\.jsonl:1: answers another question"):
            ask(*many(folder), *change)
    (folder / "c.pt").write_bytes(b"others")
    with pytest.raises(ConfigError, match="was given by another model"):
        ask(*many(folder))
    (folder / "c.pt").write_bytes(b"weights")
    write(folder, [QUESTIONS[0], QUESTIONS[1] | {"instruction": "is it green?"}])
    with pytest.raises(ConfigError, match=r"answers\.jsonl:2: answers another question"):
        ask(*many(folder))


def test_a_folder_of_images(ask, folder, image, caplog):
    image.save(folder / "photos" / "0.png")
    (folder / "photos" / "notes.txt").write_text("not an image")
    (folder / "photos" / ".hidden.png").write_bytes(b"")
    (folder / "photos" / "more").mkdir()
    image.save(folder / "photos" / "more" / "1.PNG")
    caplog.set_level("INFO")
    ask(*many(folder, source="photos"), "--options", "red", "blue", "--mode", "rank")
    found = answers(folder)
    assert [answer["id"] for answer in found] == ["0.png", "more/1.PNG", "other.jpg"] and ask.sizes == [3]
    assert all(answer["text"] in ("red", "blue") for answer in found)
    assert "1 files whose names do not end like those of images are left out" in caplog.text


def test_the_same_image_is_loaded_once(ask, folder, monkeypatch):
    from ofa_mi.commands import predict_many

    loaded = []
    load = predict_many.load_image
    monkeypatch.setattr(
        predict_many, "load_image", lambda path, **kinds: loaded.append(path.name) or load(path, **kinds)
    )
    monkeypatch.setattr(predict_many, "_size", lambda path, exact: Image.open(path).size)
    ask(*many(folder))
    assert loaded == ["image.png", "other.jpg"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"questions\.jsonl:1: not a question"),
        ('{"imag": "a.png"}', r"questions\.jsonl:1: not a question .*imag"),
        ('{"image": 5}', r"questions\.jsonl:1: not a question"),
        ('{"region": [[1, 2, 3]]}', r"questions\.jsonl:1: not a question"),
        ('{"image": "absent.png"}', r"questions\.jsonl:1: image .*absent\.png does not exist"),
        ('{"image": "c.pt"}', r"questions\.jsonl:1: image .*c\.pt is not an image"),
        ('{"options": ["a", " "]}', r"questions\.jsonl:1: --options: ' ' is empty"),
        ('{"options": ["a", [0, 0, 500, 5]], "image": "image.png"}', r"jsonl:1: --options: box .* outside the 100x80"),
        ('{"region": [[1, 2, 3, 4]]}', r"questions\.jsonl:1: --region needs an image"),
        ('{"instruction": "{text}?"}', r"questions\.jsonl:1: the instruction mentions {text}"),
        ('{"output": "picture"}', r"questions\.jsonl:1: not a question"),
        ('{"id": "x"}\n{"id": "x"}', r"questions\.jsonl:2: has the id 'x', which .*jsonl:1 has already"),
        ("\n", r"questions\.jsonl: holds no question"),
    ],
)
def test_a_question_that_cannot_be_asked_is_named_before_any_is_answered(ask, folder, line, message):
    (folder / "questions.jsonl").write_text(line)
    with pytest.raises(OfaMiError, match=message) as error:
        ask(*many(folder))
    assert "\n" not in str(error.value) and ask.sizes == [] and not (folder / "answers.jsonl").exists()


def test_options_that_do_not_go_together(ask, folder):
    for wrong, message in (
        ((*many(folder)[:2], "--instruction", "what?"), "--input and --out belong together"),
        (("--out", "a", "--instruction", "what?"), "--input and --out belong together"),
        ((*many(folder), "--image", "a.png"), "--image is for a single question"),
        ((*many(folder), "--draw", "a.png"), "--draw is for a single question"),
        (many(folder)[:4], r"jsonl:5: has no instruction; give it, or --instruction for all"),
        (("--image", str(folder / "image.png")), "--instruction is missing"),
    ):
        with pytest.raises(ConfigError, match=message):
            ask(*wrong)


def test_fuzz_questions(tmp_path):
    path = tmp_path / "questions.jsonl"

    def read(data):
        path.write_bytes(data)
        for question in read_questions(path):
            question.arguments(argparse.Namespace(image=None, options=None))

    def check(error):
        assert str(error).startswith(str(path)) and isinstance(error, DataError)

    examples = ["\n".join(map(json.dumps, QUESTIONS)).encode()]
    fuzz("questions", examples, [mutate_json_lines, mutate_bytes], read, count=MUTATIONS, check=check)
