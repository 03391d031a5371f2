"""Instructions in other languages: packaged German, users' own, and what happens where there are none."""

from itertools import product

import pytest
import yaml

from ofa_mi.errors import ConfigError
from ofa_mi.instructions.likeness import order, shared_words, words
from ofa_mi.instructions.lint import MAX_ORDER, MAX_SHARED, OPENING
from ofa_mi.instructions.registry import default_registry, load_registry
from tests.instructions.test_packaged_tasks import EVALUATION

TEXTS = [f"{word} {{text}} {{options}}" for word in ("Est-ce", "Dis", "Juge", "Vois", "Crois")]


def french(**changes):
    task = {"version": 1, "translates": 1, "instructions": TEXTS} | changes
    return {"language": "fr", "tasks": {"nlvr": {key: value for key, value in task.items() if value is not None}}}


def write(directory, content, name="fr.yaml"):
    directory.mkdir(exist_ok=True)
    (directory / name).write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    return directory


def test_german_is_there_for_the_evaluation_tasks():
    english, german = default_registry(), load_registry(language="de")
    assert (english.language, german.language) == ("en", "de")
    assert list(german) == list(english)
    translated = {name for name, task in german.items() if task.instructions and not task.own_instruction}
    assert translated == EVALUATION
    for name in EVALUATION:
        assert english[name].languages == german[name].languages == ("en", "de", "en-x-reworded")
        assert len(german[name].instructions) == 5
        assert not set(german[name].instructions) & set(english[name].instructions)
        assert german[name].example == english[name].example and german[name].metrics == english[name].metrics
    assert german["nlvr"].instruction_ids[0] == "nlvr/de/1" and english["nlvr"].instruction_ids[0] == "nlvr/1"


def test_reworded_instructions_are_there_for_the_evaluation_tasks_and_unlike_the_others():
    english, reworded = default_registry(), load_registry(language="en-x-reworded")
    tasks = {name for name, task in reworded.items() if task.instructions and not task.own_instruction}
    assert tasks == EVALUATION | set(english.select(["combination"]))
    for name in tasks:
        assert len(reworded[name].instructions) == 5
        for first, second in product(map(words, english[name].instructions), map(words, reworded[name].instructions)):
            assert shared_words(first, second) < MAX_SHARED and order(first, second) < MAX_ORDER, (first, second)
            assert first[:OPENING] != second[:OPENING]


def test_using_a_task_without_the_language_names_those_it_has():
    german = load_registry(language="de")
    german["nlvr"].check_instructions()
    with pytest.raises(ConfigError, match="task counting has no instructions in language 'de', only in en"):
        german["counting"].check_instructions()
    own = german["natural_instructions_test"]
    own.check_instructions()  # its instances bring the instruction, and its language
    assert own.instruction_ids == ("natural_instructions_test/1",)


def test_users_add_and_replace_a_language(tmp_path):
    registry = load_registry(write(tmp_path, french()), language="fr")
    assert registry["nlvr"].instructions == tuple(TEXTS)
    assert registry["nlvr"].languages == ("en", "de", "en-x-reworded", "fr") and registry["nlvr"].version == 1
    assert registry["text_vqa"].instructions == ()
    other = write(tmp_path / "other", french(version=2, instructions=TEXTS[::-1]))
    assert load_registry(tmp_path, other, language="fr")["nlvr"].instructions == tuple(TEXTS[::-1])
    with pytest.raises(ConfigError, match="task nlvr: version: must be above 1, the version that it replaces"):
        load_registry(tmp_path, write(tmp_path / "same", french()))
    assert load_registry(tmp_path)["nlvr"] != registry["nlvr"], "English is the default"


def test_a_language_file_may_come_before_the_tasks_that_it_translates(tmp_path):
    task = default_registry()["nlvr"]
    fields = {"split": "eval", "sources": ["x"], "inputs": ["text", "options"], "output": "option", "version": 3}
    fields |= {"metrics": ["accuracy"], "description": "x", "instructions": list(task.instructions)}
    write(tmp_path, {"group": "mine", "tasks": {"mine": fields}}, "z.yaml")
    content = french(translates=3)
    write(tmp_path, {"language": "fr", "tasks": {"mine": content["tasks"]["nlvr"]}}, "a.yaml")
    assert load_registry(tmp_path, language="fr")["mine"].instruction_ids[4] == "mine/fr/5"


def test_a_language_that_no_task_has_is_an_error():
    with pytest.raises(ConfigError, match="in language 'sv'; there are de, en, en-x-reworded"):
        load_registry(language="sv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (french(translates=None), "task nlvr: translates: is missing"),
        (french(translates=9), "task nlvr: translates: the task is at version 1 only"),
        (french(group="x"), "task nlvr: unknown key 'group'"),
        (french(instructions=TEXTS[:4]), "task nlvr: instructions: has 4"),
        (french(instructions=[*TEXTS, "Dis-le. {options}"]), r"instruction 6: uses the input \{text\} 0 times"),
        ({"language": "fr", "tasks": {"nlvrr": {}}}, r"no such task \(did you mean nlvr\?\)"),
        ({"language": "fr", "tasks": {}}, "has no tasks"),
        ({"language": "fr"}, "tasks: is missing"),
        ({"language": "fr", "group": "a", "tasks": {}}, "unknown key 'group'"),
        ({"language": "en", "tasks": {}}, "language: English instructions stand with their task"),
        ({"language": "French", "tasks": {}}, "language: must be a code such as de"),
        ({"language": False, "tasks": {}}, "language: must be a code such as de"),
    ],
)
def test_a_malformed_language_file_is_an_error_that_names_it(tmp_path, content, message):
    with pytest.raises(ConfigError, match=message) as error:
        load_registry(write(tmp_path, content))
    assert str(error.value).startswith(str(tmp_path / "fr.yaml"))
