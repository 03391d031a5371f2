"""`ofa-mi vocabulary`."""

import argparse
import json

import pytest
from PIL import Image

from ofa_mi.commands import vocabulary as command
from ofa_mi.data.encoding import PromptEncoder
from ofa_mi.data.regions import RegionCodec
from ofa_mi.data.vocabulary import Vocabulary
from ofa_mi.errors import ConfigError, DataError
from ofa_mi.instances.store import InstanceStore
from ofa_mi.instructions.registry import default_registry
from ofa_mi.instructions.rendering import render, render_target

RECORDS = [
    {"task_name": "open_domain_vqa", "question": "Why is the Zebra striped?", "target_txt": "Camouflage"},
    {"task_name": "visual7w_vqa", "question": "What?", "options": ["chartreuse", "red"], "target_txt": "red"},
    {"task_name": "grounded_captioning", "region": [[1, 2, 3, 4]], "target_txt": "a marmalade cat"},
]


@pytest.fixture
def data(tmp_path):
    directory = tmp_path / "data"
    directory.mkdir()
    Image.new("RGB", (40, 30)).save(directory / "image.png")
    image = {"image_path": "image.png", "image_size": [40, 30]}
    lines = [json.dumps({"unique_id": str(i), **image, **record}) + "\n" for i, record in enumerate(RECORDS * 5)]
    (directory / "train.jsonl").write_text("".join(lines))
    return directory


def run(*arguments):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(argument) for argument in arguments]))


@pytest.mark.parametrize("min_count", [1, 3])
def test_prompts_take_as_many_tokens_as_with_the_full_vocabulary(data, tmp_path, gpt2, capsys, min_count):
    assert run("--out", tmp_path / "bpe", "--min-count", min_count, data) == 0
    compact = Vocabulary.load(tmp_path / "bpe")
    assert f"{len(compact.symbols):,} of 50,257 text tokens" in capsys.readouterr().out
    assert len(compact.symbols) < 5000
    small, full = (PromptEncoder(v, RegionCodec(patch_image_size=512)) for v in (compact, gpt2))
    for instance in InstanceStore(data / "train.jsonl"):
        spec = default_registry()[instance.task_name]
        for instruction in spec.instructions:
            prompt = render(spec, instruction, instance)
            # options and texts occurred under each of the five instructions
            assert len(small.source(prompt, (40, 30))) == len(full.source(prompt, (40, 30)))
        target = render_target(spec, instance)
        assert len(small.target(target, (40, 30))) == len(full.target(target, (40, 30)))


def test_instructions_in_another_language(tmp_path, capsys):
    directory = tmp_path / "data"
    directory.mkdir()
    line = {"unique_id": "1", "task_name": "text_vqa", "question": "Which shop?", "target_txt": "Bakery"}
    (directory / "train.jsonl").write_text(json.dumps(line) + "\n")
    full = Vocabulary.load()
    for language, known in (("en", False), ("de", True)):
        run("--out", tmp_path / language, "--instruction-language", language, directory)
        vocabulary = Vocabulary.load(tmp_path / language)
        for word in (" überhaupt", " aufnahme"):
            assert (len(vocabulary.encode(word)) == len(full.encode(word))) == known
    (directory / "train.jsonl").write_text(json.dumps(line | {"task_name": "open_domain_vqa"}) + "\n")
    with pytest.raises(ConfigError, match="task open_domain_vqa has no instructions in language 'de', only in en"):
        run("--out", tmp_path / "other", "--instruction-language", "de", directory)


def test_a_directory_without_a_train_split_is_named(tmp_path):
    with pytest.raises(DataError, match=r"empty: holds no train\.jsonl"):
        (tmp_path / "empty").mkdir()
        run("--out", tmp_path / "bpe", tmp_path / "empty")
