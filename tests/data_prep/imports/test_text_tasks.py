"""Generated text tasks: in the format that the import of Natural Instructions reads, and right."""

import json

import pytest

from ofa_mi import cli
from ofa_mi.data_prep.imports import natural_instructions, text_tasks
from ofa_mi.errors import ConfigError
from tests.data_prep.sources.raw_tree import read_instances


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("text_tasks")
    text_tasks.generate(out, instances=60)
    return out


def tasks(folder):
    return {path.stem: json.loads(path.read_bytes()) for path in sorted((folder / "tasks").glob("*.json"))}


def pairs(folder, name):
    (content,) = [content for key, content in tasks(folder).items() if key.endswith(f"_{name}")]
    return [(entry["input"], entry["output"][0]) for entry in content["Instances"]]


def test_outputs_are_right(folder):
    for given, answer in pairs(folder, "reverse_order"):
        assert given.split() == answer.split()[::-1]
    for given, answer in pairs(folder, "sort_words"):
        assert sorted(given.split()) == answer.split()
    for given, answer in pairs(folder, "count_words"):
        assert text_tasks.NUMBERS.index(answer) == len(given.split())
    for given, answer in pairs(folder, "follows"):
        first, second = (sentence.split()[-1] for sentence in given.rstrip(".").split(". "))
        assert (first == second) == (answer == "yes")
    for given, answer in pairs(folder, "find_food"):
        assert [word for word in given.split() if word in text_tasks.FOODS] == [answer]


def test_inputs_are_different_and_examples_are_no_instances(folder):
    for name, content in tasks(folder).items():
        inputs = [entry["input"] for entry in content["Instances"]]
        assert len(inputs) == len(set(inputs)) >= 7, name
        assert len(content["Positive Examples"]) == 3
        assert not {example["input"] for example in content["Positive Examples"]} & set(inputs)


def test_yes_and_no_are_about_as_frequent(folder):
    for name in ("follows", "same_meaning"):
        answers = [answer for _, answer in pairs(folder, name)]
        assert 0.3 < answers.count("yes") / len(answers) < 0.7


def test_the_import_reads_them(folder, tmp_path):
    natural_instructions.convert(folder, tmp_path / "out", natural_instructions.ImportOptions())
    train, test = (read_instances(tmp_path / "out" / f"{split}.jsonl") for split in ("train", "test"))
    assert {i.task_name for i in train} == {"natural_instructions"}
    assert {i.task_name for i in test} == {"natural_instructions_test"}
    held_out = {entry.definition for entry in text_tasks.TASKS if entry.held_out}
    assert {i.context[0][0] for i in test} == held_out and not {i.context[0][0] for i in train} & held_out


def test_the_same_bytes_again_and_bad_numbers_are_refused(folder, tmp_path, capsys):
    assert cli.main(["data", "text-tasks", "--out", str(tmp_path), "--instances", "60"]) == 0
    assert f"instances of {len(text_tasks.TASKS)} tasks" in capsys.readouterr().out
    for path in (folder / "tasks").iterdir():
        assert path.read_bytes() == (tmp_path / "tasks" / path.name).read_bytes()
    with pytest.raises(ConfigError, match="--instances 0"):
        text_tasks.generate(tmp_path, instances=0)
