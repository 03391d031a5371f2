"""`ofa-mi predict`."""

import argparse
import json
import re

import pytest
from PIL import Image

from ofa_mi.commands import predict, question
from ofa_mi.decoding.predictor import Predictor
from ofa_mi.errors import ConfigError, DataError, OfaMiError
from ofa_mi.instructions.prompt import OptionsSegment, RegionSegment, TextSegment


@pytest.fixture
def ask(predictor, image, tmp_path, monkeypatch, capsys):
    """Run the command on a picture of 100 x 80 pixels; gives its output and the arguments of the model's loader."""
    image.save(tmp_path / "image.png")
    loaded = {}

    def load(path, **kinds):
        loaded.update(path=path, **kinds)
        return Predictor(predictor.model, predictor.encoder, predictor.transform, generation=kinds["generation"])

    monkeypatch.setattr(Predictor, "from_checkpoint", load)

    def run(*arguments, with_image=True):
        parser = argparse.ArgumentParser()
        predict.add_arguments(parser)
        given = ["--image", str(tmp_path / "image.png")] if with_image else []
        args = parser.parse_args(["--checkpoint", "c.pt", *given, *arguments])
        assert predict.run(args) == 0
        return capsys.readouterr().out, loaded

    return run


def test_a_region_is_found_and_drawn(ask, tmp_path):
    out, loaded = ask(
        *("--instruction", "which region shows {text}?", "--text", "a red circle", "--output", "region"),
        *("--mode", "constrained", "--beam", "2", "--draw", str(tmp_path / "new" / "answer.png")),
    )
    box = json.loads(out)
    assert len(box) == 4 and loaded["path"] == "c.pt" and loaded["generation"].beam == 2
    assert Image.open(tmp_path / "new" / "answer.png").size == (480, 384)


def test_options_are_ranked(ask):
    out, _ = ask(
        *("--instruction", "what is in {region}?", "--region", "10", "10", "40", "40", "--mode", "rank", "--verbose"),
        *("--options", "Red circle", "[10, 10, 40, 40]"),
    )
    lines = out.splitlines()
    assert "prompt: what is in [10, 10, 40, 40]? [Options]: red circle||||[10, 10, 40, 40]" in lines
    scores = [float(line.split()[0]) for line in lines[-2:]]
    assert scores == sorted(scores, reverse=True)


def test_json(ask):
    out, _ = ask("--instruction", "is it red? {options}", "--options", "yes", "no", "--mode", "constrained", "--json")
    record = json.loads(out)
    assert record["text"] in ("yes", "no") and record["boxes"] == [] and record["options"] == ["yes", "no"]
    assert record["prompt"].count("[Options]") == 1


def test_without_an_image(ask):
    out, _ = ask("--instruction", "what is red?", with_image=False)
    assert out.endswith("\n")


def test_options_that_the_instruction_does_not_mention_are_appended():
    parser = argparse.ArgumentParser()
    predict.add_arguments(parser)
    args = parser.parse_args(["--checkpoint", "c", "--instruction", "red?", "--options", "yes", "no"])
    instance = question.question_instance(args, None)
    prompt = question.build_prompt("red?", instance, option_markers=False)
    assert OptionsSegment((("yes",), ("no",)), False) in prompt
    assert isinstance(prompt[0], TextSegment) and not any(isinstance(s, RegionSegment) for s in prompt)


def test_regions_that_the_instruction_does_not_mention_are_appended(ask):
    arguments = ("--region", "10", "10", "40", "40", "--options", "red", "blue", "--verbose")
    out, _ = ask("--instruction", "which colour has the region?", *arguments)
    assert "prompt: which colour has the region? [10, 10, 40, 40] [Options]: red||||blue" in out.splitlines()


REGION = ("--region", "10", "10", "40", "40")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--instruction", "what is in {region}?"), "--region must be given once; found 0"),
        (("--instruction", "what is in {region}?", *REGION, *REGION), "given once; found 2"),
        (("--instruction", "{region_1} or {region_2}?", *REGION), "given twice; found 1"),
        (("--instruction", "{region_1}?", *REGION, *REGION), "only one of"),
        (("--instruction", "what is in {regions}?"), "at least once"),
        (("--instruction", "{text}?"), "give --text"),
        (("--instruction", "{options}?"), "give --options"),
        (("--instruction", "what?", "--text", "a"), "does not mention {text}"),
        (("--instruction", "{what}?"), "--instruction: unknown placeholder"),
        (("--instruction", "what?", "--mode", "rank"), "rank needs"),
        (("--instruction", "what?", "--output", "option"), "--output option needs"),
        (("--instruction", "what?", "--draw", "answer.txt"), "must end in .png"),
        (("--instruction", "what?", "--beam", "0"), "beam must be at least 1"),
        (("--instruction", "what?", "--max-len", "0"), "^max_len must be at least 1, the least length, not 0$"),
        (("--instruction", "what?", "--options", "a", " "), "--options: ' ' is empty"),
        (("--instruction", "what?", "--options", "[]", "a"), r"--options: '\[\]' is empty, which is no option"),
        (("--instruction", "what?", "--options", '[""]'), r"""--options: '\[""\]' is empty, which is no option"""),
        (("--instruction", "what?", "--options", '["", "\u200b "]', "b"), "is empty, which is no option"),
        (("--instruction", "what?", "--options", "a", "\u200b"), "--options: .* is empty"),
        (("--instruction", "what?", "--options", "a", "\udcff"), "--options: .* is not UTF-8"),
        (("--instruction", " "), "--instruction: ' ' is empty"),
        (("--instruction", "\udcff?"), "--instruction: .* is not UTF-8"),
        (("--instruction", "{text}?", "--text", ""), "--text: '' is empty"),
        (("--instruction", '{"a": 1}?'), "--instruction: a brace that is not part .* is written twice, {{ or }}"),
        (("--instruction", "word " * 5000), "a source has room for 1024"),
        (("--instruction", "what?", "--options", "[1, 2]"), "--options: expected text"),
        (("--instruction", "what?", "--options", "[0, 0, 500, 5]"), "--options: box .* outside the 100x80 image"),
        (("--instruction", "{region}?", "--region", "40", "10", "10", "40"), "--region: box .* reversed"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_input_is_one_clear_line(ask, arguments, message):
    with pytest.raises(OfaMiError, match=message) as error:
        ask(*arguments)
    assert "\n" not in str(error.value)
    parser = argparse.ArgumentParser()
    predict.add_arguments(parser)
    advised = set(re.findall(r"--[a-z-]++(?! of the training)", str(error.value)))
    assert advised <= set(parser._option_string_actions), "advice that this command cannot take"


def test_braces_of_the_instruction(ask):
    out, _ = ask("--instruction", "say {{yes}} or {text}", "--text", "{no}", "--verbose")
    assert "prompt: say {yes} or {no}" in out.splitlines()


@pytest.mark.parametrize("option", ["[1, 2", "[" * 100_000, "[a]", "[" + "9" * 5000 + "]"], ids=lambda text: text[:6])
def test_brackets_that_are_no_json_are_text(option):
    assert question.parse_option(option) == (option,)


def test_a_photo_is_turned_upright(ask, image, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # as phones store a picture that is to be turned by 90 degrees
    image.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "photo.png", exif=exif)  # 80 x 100, upright 100 x 80
    shown = ("--region", "0", "0", "100", "80", "--draw", str(tmp_path / "drawn.png"), "--json")
    question = ("--instruction", "what is in {region}?", *shown)
    stored, _ = ask(*question)
    turned, _ = ask(*question, "--image", str(tmp_path / "photo.png"), with_image=False)
    assert turned == stored, "the same answer, with the same score"
    width, height = Image.open(tmp_path / "drawn.png").size
    assert width > height
    with pytest.raises(DataError, match="outside the 100x80 image"):
        ask("--instruction", "what is in {region}?", "--region", "0", "0", "80", "100")


def test_what_needs_an_image_says_so(ask):
    for arguments in (("{region}?", *REGION), ("a?", "--draw", "b.png"), ("where?", "--output", "region")):
        with pytest.raises(ConfigError, match="give --image"):
            ask("--instruction", *arguments, with_image=False)
    with pytest.raises(DataError, match="give --image"):
        ask("--instruction", "which?", "--options", "[1, 2, 3, 4]", "no", with_image=False)


def test_a_missing_image_is_named(ask):
    with pytest.raises(DataError, match=r"nowhere\.png"):
        ask("--instruction", "what?", "--image", "nowhere.png", with_image=False)
