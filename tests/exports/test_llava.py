"""Conversations: every instruction or one, regions in every form, images beside them."""

import json

import pytest
from PIL import Image

from ofa_mi import cli
from ofa_mi.instructions.registry import load_registry


def export(data, out, *options):
    return cli.main(["data", "export", "--to", "llava", *options, str(data), str(out)])


def conversations(out, split="train"):
    return json.loads((out / f"{split}.json").read_text(encoding="utf-8"))


def test_all_instructions_as_llava_reads_them(data, tmp_path, capsys):
    out = tmp_path / "out"
    assert export(data, out) == 0
    registry, found = load_registry(), conversations(out)
    counts = [len(registry[name].instructions) for name in ("visual_grounding", "grounded_vqa", "easy_vqa")]
    assert len(found) == sum(counts) and len({entry["id"] for entry in found}) == sum(counts)
    assert f"{sum(counts)} conversations of train" in capsys.readouterr().out
    first = found[0]
    assert first["id"] == "a/1#1" and first["image"] == "images/deep/1.png"
    assert [turn["from"] for turn in first["conversations"]] == ["human", "gpt"]
    question, answer = (turn["value"] for turn in first["conversations"])
    assert question.startswith("<image>\n") and question.count("<image>") == 1 and "ein roter Drachen 🪁" in question
    assert "pixels of the image, which is 40 wide and 30 high" in question and answer == "[4, 3, 20, 15]"
    assert "image" not in found[-1] and "<image>" not in found[-1]["conversations"][0]["value"]
    for name in ("deep/1.png", "2.jpg"):
        assert (out / "images" / name).read_bytes() == (data / "images" / name).read_bytes()
    sets = json.loads((out / "croissant.json").read_text())["recordSet"]
    assert [entry["@id"] for entry in sets] == ["train", "test"]


def test_one_instruction_at_random_depends_on_the_seed_alone(data, tmp_path):
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2"), ("d", "3"), ("e", "4")):
        assert export(data, tmp_path / name, "--instructions", "random", "--seed", seed) == 0
    found = [[entry["id"] for entry in conversations(tmp_path / name)] for name in "abcde"]
    assert all([name.split("#")[0] for name in ids] == ["a/1", "a/2", "a/3"] for ids in found)
    assert found[0] == found[1] and len(set(map(tuple, found))) > 1


def test_text_of_an_instance_is_no_place_of_an_image(data, tmp_path):
    content = (data / "test.jsonl").read_text(encoding="utf-8").replace("it rains", "it <image> rains")
    (data / "test.jsonl").write_text(content, encoding="utf-8")
    assert export(data, tmp_path / "out") == 0
    asked = conversations(tmp_path / "out", "test")[0]["conversations"][0]["value"]
    assert asked.startswith("<image>\n") and asked.count("<image>") == 1 and "it < image> rains" in asked


def test_regions_in_thousandths(data, tmp_path):
    assert export(data, tmp_path / "out", "--regions", "thousandths", "--instructions", "random") == 0
    question, answer = (turn["value"] for turn in conversations(tmp_path / "out")[1]["conversations"])
    assert "[16, 42, 469, 833]" in question and answer == "[125, 167, 258, 500]"


def test_drawn_regions_are_on_the_image_and_answers_are_their_numbers(data, tmp_path, capsys):
    assert export(data, tmp_path / "out", "--regions", "drawn") == 2  # visual_grounding asks for a box of its own
    assert "--regions drawn cannot write its regions" in capsys.readouterr().err
    lines = (data / "train.jsonl").read_text(encoding="utf-8").splitlines()
    (data / "train.jsonl").write_text("\n".join(lines[1:]) + "\n", encoding="utf-8")
    assert export(data, tmp_path / "out", "--regions", "drawn", "--instructions", "random") == 0
    entry = conversations(tmp_path / "out")[0]
    assert entry["conversations"][1]["value"] == "[2]" and entry["image"].startswith("images/drawn/")
    with Image.open(tmp_path / "out" / entry["image"]) as drawn, Image.open(data / "images/2.jpg") as plain:
        assert drawn.tobytes() != plain.resize(drawn.size).tobytes()
    assert conversations(tmp_path / "out", "test")[0]["image"] == "images/2.jpg"


def test_what_cannot_be_exported_is_one_line(data, tmp_path, capsys):
    assert export(tmp_path, tmp_path / "out") == 2
    assert "holds none of train.jsonl, valid.jsonl, test.jsonl" in capsys.readouterr().err
    (data / "images/2.jpg").unlink()
    assert export(data, tmp_path / "out") == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("markers", ["on", "off"])
def test_option_markers(data, tmp_path, markers):
    assert export(data, tmp_path / "out", "--option-markers", markers) == 0
    asked = conversations(tmp_path / "out", "test")[0]["conversations"][0]["value"]
    assert ("yes||||no||||maybe" in asked) == (markers == "on") and ("yes, no, maybe" in asked) == (markers == "off")
