"""The linter: each rule finds what breaks it, all findings come at once, and versions are kept honest."""

import json
import re
from collections import Counter
from dataclasses import replace

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ofa_mi import cli
from ofa_mi.errors import ConfigError
from ofa_mi.instructions import lint as linter
from ofa_mi.instructions.likeness import order, shared_words, sharing, words
from ofa_mi.instructions.lint import lint
from ofa_mi.instructions.registry import default_registry
from ofa_mi.instructions.versions import task_hash
from tests.instructions import plain_lint

GOOD = [
    "Which animal is in the region {region}? {options}",
    "Name the creature at {region} by choosing an option. {options}",
    "A visitor of the zoo points at {region} and asks what lives there. Tell them. {options}",
    "Look at fur, feathers or scales inside {region}, and decide on the species. {options}",
    "{region} is where it stands. Pick its name from the list. {options}",
]
GERMAN = [
    "Welches Tier ist im Bereich {region} zu sehen? {options}",
    "Benenne das Wesen bei {region} mit einer der Antworten. {options}",
    "Eine Besucherin des Zoos zeigt auf {region} und fragt, wer dort wohnt. Sag es ihr. {options}",
    "Achte auf Fell, Federn oder Schuppen in {region} und bestimme die Art. {options}",
    "{region} ist sein Gehege. Such seinen Namen aus der Liste heraus. {options}",
]
EXAMPLE = {
    "image_size": [640, 480],
    "region": [[10, 20, 300, 400]],
    "options": ["zebra", "okapi"],
    "target_txt": "okapi",
}


def zoo(**changes):
    task = {
        "description": "Name the animal in a region. region is the region; options are names of animals.",
        "split": "train",
        "sources": ["My Zoo"],
        "inputs": ["region", "options"],
        "output": "option",
        "metrics": ["accuracy"],
        "version": 1,
        "example": EXAMPLE,
        "instructions": GOOD,
    }
    task = {key: value for key, value in (task | changes).items() if value is not None}
    return {"group": "animals", "tasks": {"animal_naming": task}}


def german(**changes):
    task = {"version": 1, "translates": 1, "instructions": GERMAN}
    return {"language": "de", "tasks": {"animal_naming": task | changes}}


def write(directory, content, name="zoo.yaml"):
    directory.mkdir(exist_ok=True)
    (directory / name).write_text(yaml.safe_dump(content, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return directory


def changed(number, text):
    return {"instructions": [*GOOD[: number - 1], text, *GOOD[number:]]}


def test_a_good_task_has_no_findings(tmp_path):
    write(tmp_path, german(), "de.yaml")
    assert lint(write(tmp_path, zoo())) == []


def test_braces_of_the_text_are_no_placeholders(tmp_path):
    assert lint(write(tmp_path, zoo(**changed(2, GOOD[1].replace(" {options}", " Answer {{name}}. {options}"))))) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (changed(3, "Tell me now what sort of beast that is. {options}"), "3: uses the input {region} 0 times"),
        (changed(2, "Say at {place} and {region}. {options}"), "2: unknown placeholder '{place}'"),
        (changed(4, "Name it at {region}, and then at {region}. {options}"), "4: uses the input {region} 2 times"),
        ({"instructions": GOOD[:4]}, "instructions: has 4, the evaluation protocol needs 5"),
        ({"instructions": None}, "task animal_naming: has no instructions; write 5"),
        (changed(2, "Which beast is in the region {region}? {options}"), "2: shares 71% of its words with"),
        (changed(5, GOOD[0]), "5: repeats instruction 1"),
        (changed(5, "Which animal is said to be able to eat grass, leaves or hay near {region} today? {options}"),
         "5: opens with the same 3 words as instruction 1"),
        ({"instructions": ["Name " + text[0].lower() + text[1:] for text in GOOD]}, "have 1 different first words"),
        (changed(2, "Decide between an okapi and its neighbor at {region}. {options}"), "2: names the answer 'okapi'"),
        ({"labels": ["great ape", "zebra"], **changed(2, "Say how great the beast at {region} is. {options}")},
         "2: has the word 'great' of the answer 'great ape'"),
        (changed(2, "Choose {options} for the beast that stands at {region}."), "2: must end with a space and"),
        (changed(2, "Which {{okapi}} is it that the region {region} shows? {options}"), "2: names the answer 'okapi'"),
        (changed(2, "{{beast}} is a word for what {region} shows. {options}"), "2: must begin with a capital letter"),
        (changed(2, "Choose a name for the beast at {region}} there. {options}"), "2: a brace that is not part of a"),
        (changed(2, "Choose a name for the beast at {region} [Options]: {options}"), "2: writes [Options]: or ||||"),
        (changed(2, "choose a name for the beast at {region}. {options}"), "2: must begin with a capital letter"),
        (changed(2, "Choose a name for  the beast at {region}. {options}"), "2: has two spaces or a line break"),
        (changed(2, "Choose a name for the beast at {region} . {options}"), "2: has a space before a punctuation mark"),
        (changed(2, 'Choose a "name for the beast at {region}. {options}'), "2: has a quotation mark without its part"),
        (changed(2, "Choose a näme for the beast at {region}. {options}"), "2: has characters that are not ASCII"),
        (changed(2, "Name {region} well. {options}"), "2: has 2 words; 4 to 40 are good to read"),
        (changed(2, "Which tokens of the dataset fit the beast at {region}? {options}"), "2: speaks of dataset"),
        ({"example": None}, "task animal_naming: has no example"),
        ({"example": EXAMPLE | {"question": "Who?"}}, "example: has question, which is not an input of the task"),
        ({"example": EXAMPLE | {"target_txt": "lion"}}, "target_txt is not one of the options"),
        ({"example": EXAMPLE | {"region": [[0, 0, 700, 9]]}}, "box [0, 0, 700, 9] reaches outside"),
        ({"example": EXAMPLE | {"colour": "red"}}, "example: unknown key 'colour'"),
    ],
)  # fmt: skip
def test_every_rule_finds_what_breaks_it(tmp_path, changes, message):
    found = [str(finding) for finding in lint(write(tmp_path, zoo(**changes)))]
    assert any(message in line for line in found), found
    for line in found:
        assert line.startswith(f"{tmp_path / 'zoo.yaml'}: task animal_naming") and "\n" not in line


def test_all_findings_come_at_once_and_the_command_fails(tmp_path, capsys):
    texts = [*GOOD[:2], "Tell me what it is. {options}", GOOD[3], "Name {wrong} at {region}. {options}"]
    content = zoo(instructions=texts)
    content["tasks"]["other"] = {"split": "test"}
    assert cli.main(["lint", "--instruction-dir", str(write(tmp_path, content))]) == 1
    out = capsys.readouterr().out
    for place in ("animal_naming: instruction 3: ", "animal_naming: instruction 5: ", "other: description: is missing"):
        assert f"{tmp_path / 'zoo.yaml'}: task {place}" in out
    assert out.splitlines()[-1] == "3 findings"
    assert cli.main(["lint", "--instruction-dir", str(write(tmp_path, zoo()))]) == 0
    assert capsys.readouterr().out == "0 findings\n"


def test_a_file_that_cannot_be_read_is_a_finding_among_others(tmp_path):
    (tmp_path / "a.yaml").write_text("group: 'animals\n")
    found = [
        str(finding) for finding in lint(write(tmp_path, zoo(**changed(2, "choose {region} and a name. {options}"))))
    ]
    assert len(found) == 2
    assert "a.yaml" in found[0] and "not valid YAML" in found[0]


def test_an_instruction_of_another_task_is_found_again(tmp_path):
    taken = default_registry()["grounded_object_attribute_identification"].instructions[1]
    (finding,) = lint(write(tmp_path, zoo(**changed(2, taken.replace("located", "placed")))))
    assert str(finding).endswith(
        "instruction 2: is nearly that of grounded_object_attribute_identification, instruction 2"
    )


def test_forms_of_an_answer_may_be_named(tmp_path):
    changes = changed(2, "Is there a beast at {region}, yes or no, or are you not sure? {options}")
    example = EXAMPLE | {"options": ["yes", "no", "not sure"], "target_txt": "no"}
    assert lint(write(tmp_path, zoo(example=example, labels=["yes", "no", "not sure"], **changes))) == []


def test_measures():
    a, b = words('Say "{text}" in {region}, Ärzte!'), words("say in Ärzte")
    assert a == ("say", "in", "ärzte") == b
    assert shared_words(("a", "b"), ("b", "c")) == pytest.approx(1 / 3)
    assert order(("a", "b", "c", "d"), ("b", "c")) == pytest.approx(2 * 2 / 6)
    assert shared_words((), ()) == 0


def test_a_change_without_a_new_version_is_found_and_not_recorded(tmp_path):
    versions = tmp_path / "versions.json"
    write(tmp_path, zoo())
    write(tmp_path, german(), "de.yaml")
    assert lint(tmp_path) == [], "a directory without the file is not checked"
    assert lint(tmp_path, update=True) == []
    recorded = json.loads(versions.read_text())
    assert set(recorded) == {"animal_naming", "animal_naming/de"}
    assert recorded["animal_naming"]["version"] == 1 and re.fullmatch("[0-9a-f]{16}", recorded["animal_naming"]["hash"])

    other = changed(2, "Which beast would you say that {region} belongs to? {options}")
    write(tmp_path, zoo(**other))
    for update in (False, True):  # --update does not overwrite what should have a new version
        (finding,) = lint(tmp_path, update=update)
        assert "task animal_naming: version: the task or its instructions have changed" in str(finding)
        assert json.loads(versions.read_text()) == recorded

    write(tmp_path, zoo(version=2, **other))
    found = [str(finding) for finding in lint(tmp_path)]
    assert len(found) == 2
    assert any("task animal_naming: version 2 is not recorded; run `ofa-mi lint --update`" in line for line in found)
    assert any("in de: translates version 1 of the task, which is at 2" in line for line in found)
    write(tmp_path, german(translates=2), "de.yaml")
    assert lint(tmp_path, update=True) == [] == lint(tmp_path)
    assert json.loads(versions.read_text())["animal_naming"]["version"] == 2

    write(tmp_path, zoo(version=1))
    write(tmp_path, german(), "de.yaml")
    (finding,) = lint(tmp_path, update=True)
    assert "version: is 1, but was 2 before" in str(finding)


def test_tasks_that_are_gone_and_damaged_files_are_told(tmp_path):
    write(tmp_path, zoo())
    versions = tmp_path / "versions.json"
    versions.write_text('{"lion": {"version": 1, "hash": "0"}}')
    found = [str(finding) for finding in lint(tmp_path)]
    assert f"{versions}: task lion does not exist any more; `ofa-mi lint --update` removes it" in found
    assert lint(tmp_path, update=True) == []
    assert list(json.loads(versions.read_text())) == ["animal_naming"]
    versions.write_text("[]")
    with pytest.raises(ConfigError, match="not a file of versions"):
        lint(tmp_path)


def test_nothing_is_recorded_while_a_file_breaks_the_schema(tmp_path):
    write(tmp_path, zoo(split="test"))
    assert lint(tmp_path, update=True)
    assert not (tmp_path / "versions.json").exists()


def test_the_hash_covers_what_changes_scores_and_nothing_else(tmp_path):
    def hash_of(**changes):
        from ofa_mi.instructions.registry import load_registry

        return task_hash(load_registry(write(tmp_path, zoo(**changes)))["animal_naming"])

    first = hash_of()
    assert first == hash_of(description="Something else.", split="eval", version=7, labels=["lion"])
    assert first != hash_of(metrics=["rouge_l"])
    assert first != hash_of(instructions=[*GOOD[::-1]])
    assert first != hash_of(instructions=[*GOOD, "And what would you call the one at {region} then? {options}"])


def test_one_language_alone_and_its_own_findings(tmp_path):
    write(tmp_path, zoo(**changed(2, "lower {region} case text here. {options}")))
    write(tmp_path, german(instructions=[*GERMAN[:4], "Nenne mir das Tier „von {region}. {options}"]), "de.yaml")
    place = f"{tmp_path / 'de.yaml'}: task animal_naming in de: instruction 5"
    assert [str(finding) for finding in lint(tmp_path, language="de")] == [
        f"{place}: has a quotation mark without its partner"
    ]
    (finding,) = lint(tmp_path, language="en")
    assert "zoo.yaml" in str(finding)
    assert len(lint(tmp_path)) == 2


# -- the search for pairs that are alike


def findings_both_ways(*directories):
    """As the linter finds them, and with every pair measured."""
    found = lint(*directories)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linter, "_alike_within", plain_lint.alike_within)
        patch.setattr(linter, "alike_across_tasks", plain_lint.alike_across_tasks)
        return found, lint(*directories)


@pytest.mark.parametrize("strictness", [1, 0.4])
def test_the_packaged_instructions_have_the_findings_of_all_pairs(monkeypatch, strictness):
    for name in ("MAX_SHARED", "MAX_ORDER", "MAX_SHARED_ACROSS", "MAX_ORDER_ACROSS"):
        monkeypatch.setattr(linter, name, getattr(linter, name) * strictness)
    found, plain = findings_both_ways()
    assert found == plain
    assert bool(found) == (strictness < 1)
    if strictness < 0.5:
        assert all(any(said in line.message for line in found) for said in ("shares", "in the order", "is nearly"))


# Few words, so that many pairs are alike; repeated ones, none at all, and the shortest that are alike.
SENTENCES = st.lists(st.sampled_from("abcdefgh"), max_size=14).map(
    lambda said: " ".join(["{region}", *said, "{options}"])
)


@given(
    st.lists(st.lists(SENTENCES, min_size=1, max_size=25, unique=True), min_size=1, max_size=6),
    st.fixed_dictionaries(
        dict.fromkeys(("MAX_SHARED", "MAX_ORDER", "MAX_SHARED_ACROSS"), st.sampled_from([0.2, 0.45]))
    ),
)
@settings(max_examples=60, deadline=None)
def test_random_instructions_have_the_findings_of_all_pairs(tasks, thresholds):
    task = default_registry()["visual_spatial_reasoning"]
    specs = [
        replace(task, name=f"task_{number}", path=f"{number % 3}.yaml", instructions=tuple(instructions))
        for number, instructions in enumerate(tasks)
    ]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in thresholds.items():
            patch.setattr(linter, name, value)
        for spec in specs:
            numbered = [*enumerate(spec.instructions, start=1)]
            assert [*linter._alike_within(spec, numbered)] == [*plain_lint.alike_within(spec, numbered)]
        judged = {"0.yaml", "2.yaml"}
        assert [*linter.alike_across_tasks(specs, judged)] == [*plain_lint.alike_across_tasks(specs, judged)]


BAGS = st.lists(st.lists(st.integers(0, 5), max_size=9), max_size=30)


@given(BAGS, st.sampled_from([0.1, 0.225, 2 / 7, 0.4, 0.5]))
@settings(max_examples=200, deadline=None)
def test_bags_that_share_enough_are_those_whose_items_are_counted_one_by_one(bags, share):
    def shares(first, second):
        common = (Counter(first) & Counter(second)).total()
        return common >= share * (len(first) + len(second)) - 1e-9

    assert list(sharing(bags, share)) == [
        (i, j) for j in range(len(bags)) for i in range(j) if shares(bags[i], bags[j])
    ]
