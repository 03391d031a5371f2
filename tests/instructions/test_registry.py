"""The registry's schema and selections, users' own YAML, and the command that prints it."""

import argparse
import re
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from ofa_mi import cli
from ofa_mi.commands import tasks as command
from ofa_mi.errors import ConfigError
from ofa_mi.instances.instance import Instance
from ofa_mi.instructions.lint import lint
from ofa_mi.instructions.prompt import describe
from ofa_mi.instructions.registry import LANGUAGE_DIR, TASK_DIR, default_registry, load_registry
from ofa_mi.instructions.rendering import render, render_target
from ofa_mi.instructions.schema import read_yaml

DOCS = Path(__file__).parents[2] / "docs" / "instructions.md"
INSTRUCTIONS = [f"{word} the animal in {{region}}. {{options}}" for word in ("Name", "Tell", "Give", "Find", "Pick")]


def animals(**changes):
    """The content of a file with one task; a change to None leaves the key out."""
    task = {
        "description": "Name the animal in a region.",
        "split": "train",
        "sources": ["My Zoo"],
        "inputs": ["region", "options"],
        "output": "option",
        "metrics": ["accuracy"],
        "version": 1,
        "instructions": INSTRUCTIONS,
    }
    task = {key: value for key, value in (task | changes).items() if value is not None}
    return {"group": "animals", "tasks": {"animal_naming": task}}


def write(directory, content, name="animals.yaml"):
    text = content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False)
    (directory / name).write_text(text, encoding="utf-8")
    return directory


def test_users_add_a_task_without_python(tmp_path):
    registry = load_registry(write(tmp_path, animals()))
    task = registry["animal_naming"]
    assert len(registry) == len(default_registry()) + 1
    assert registry.groups()[-1] == task.group == "animals"
    assert not task.benchmark and task.release is None
    assert task.instruction_ids[0] == "animal_naming/1" and len(task.instruction_ids) == 5
    assert registry.select(["animals"]) == ("animal_naming",)
    assert "animal_naming" not in default_registry()


def test_a_task_may_wait_for_its_instructions(tmp_path):
    assert load_registry(write(tmp_path, animals(instructions=None)))["animal_naming"].instructions == ()


def test_a_task_whose_instances_bring_their_instruction_needs_one_template(tmp_path):
    content = animals(own_instruction=True, instructions=INSTRUCTIONS[:1])
    content["replace"] = {"natural_instructions": {"version": 2, "instructions": ["{context} {text}"]}}
    registry = load_registry(write(tmp_path, content))
    assert registry["animal_naming"].own_instruction and len(registry["animal_naming"].instructions) == 1
    assert registry["natural_instructions"].instructions == ("{context} {text}",)


def test_users_replace_the_instructions_of_a_task(tmp_path):
    texts = [f"{word} {{text}} {{options}}" for word in ("Is", "Was", "Does", "Did", "Can")]
    content = {"replace": {"nlvr": {"version": 2, "instructions": texts}}}
    task = load_registry(write(tmp_path, content))["nlvr"]
    assert (task.version, task.instructions, task.benchmark) == (2, tuple(texts), True)
    assert task.metrics == default_registry()["nlvr"].metrics


def documented(directory):
    """The YAML blocks of the documentation as files, and its instance."""
    text = DOCS.read_text(encoding="utf-8")
    for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)):
        write(directory, block, f"{number}.yaml")
    return Instance.from_json(re.search(r"```json\n(.*?)```", text, re.DOTALL)[1], "docs")


def test_the_examples_of_the_documentation_work_without_python(tmp_path, capsys):
    instance = documented(tmp_path)
    registry = load_registry(tmp_path)
    assert registry["visual_spatial_reasoning"].version == 2
    task = registry["animal_naming"]
    prompt = re.search(r"```text\n(.*?)\n```", DOCS.read_text(encoding="utf-8"), re.DOTALL)[1]
    assert describe(render(task, task.instructions[0], instance)) == prompt
    assert describe(render_target(task, instance)) == "okapi"

    assert cli.main(["lint", "--instruction-dir", str(tmp_path)]) == 0, capsys.readouterr().out
    assert cli.main(["tasks", "--show", "animal_naming", "--instruction-dir", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert f"    animal_naming/1  {prompt}\n" in shown and "  target  okapi" in shown
    arguments = ["--instruction-language", "fr", "--instruction-dir", str(tmp_path)]
    assert cli.main(["tasks", "--show", "image_captioning", *arguments]) == 0
    assert "    image_captioning/fr/1  Décris cette image en une phrase.\n" in capsys.readouterr().out


def test_the_findings_of_the_documentation_are_the_linters(tmp_path):
    documented(tmp_path)
    path = tmp_path / "0.yaml"
    broken = path.read_text(encoding="utf-8")
    broken = broken.replace("points at {region} and asks", "points and asks").replace("the creature", "the okapi")
    path.write_text(broken, encoding="utf-8")
    found = {str(finding).replace(str(path), "my_tasks/animals.yaml") for finding in lint(tmp_path)}
    example = DOCS.read_text(encoding="utf-8").split("## Check them")[1]
    assert set(re.search(r"```text\n(.*?)\n```", example, re.DOTALL)[1].splitlines()) == found


def test_the_page_of_tasks_is_up_to_date(capsys):
    assert cli.main(["tasks", "--markdown"]) == 0
    page = capsys.readouterr().out
    assert page == DOCS.with_name("tasks.md").read_text(encoding="utf-8"), (
        "run `ofa-mi tasks --markdown > docs/tasks.md`"
    )
    for name, task in default_registry().items():
        section = page.split(f"\n### {name}\n")[1].split("\n## ")[0].split("\n### ")[0]
        assert task.description in section
        assert all(f"{i}. `{text}`" in section for i, text in enumerate(task.instructions, start=1))
        assert f"target: {describe(render_target(task, task.example))}\n" in section
        assert f"\n| [{name}](#{name}) | " in page


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colour": 1}, "unknown key 'colour'"),
        ({"instruction": []}, r"unknown key 'instruction' \(did you mean instructions or own_instruction\?\)"),
        ({"split": "test"}, "split: must be one of train, eval, found 'test'"),
        ({"split": None}, "split: is missing"),
        ({"description": 3}, "description: must be text"),
        ({"sources": []}, "sources: must be a list with at least one entry"),
        ({"release": 7}, "release: must be text"),
        ({"inputs": ["region", "option"]}, r"inputs: unknown name 'option' \(did you mean options"),
        ({"inputs": ["region", *["options"] * 900]}, "inputs: names something twice: options$"),
        ({"inputs": ["region", "region_1", "options"]}, "inputs: regions are either"),
        ({"inputs": ["region"]}, "inputs: must contain options, because output is option"),
        ({"inputs": ["region", "options", "text"]}, r"instruction 1: uses the input \{text\} 0 times"),
        ({"inputs": ["options"]}, r"instruction 1: uses \{region\}, which is not one of the task's inputs"),
        ({"output": "number"}, "output: must be one of text, option"),
        ({"output": ["text"]}, "output: must be one of text, option"),
        ({"metrics": ["acuracy"]}, r"metrics: unknown name 'acuracy' \(did you mean accuracy"),
        ({"metrics": []}, "metrics: must be a list with at least one entry"),
        ({"version": 0}, "version: must be a whole number from 1 to 1,000,000,000, found 0"),
        ({"version": True}, "version: must be a whole number"),
        ({"instructions": INSTRUCTIONS[:4]}, "instructions: has 4, the evaluation protocol needs 5"),
        ({"own_instruction": "yes"}, "own_instruction: must be true or false, found 'yes'"),
        ({"instructions": [*INSTRUCTIONS, 3]}, "instructions: number 6: must be text"),
        ({"instructions": [*INSTRUCTIONS, INSTRUCTIONS[0].upper().lower()]}, "instruction 6: repeats instruction 1"),
        ({"instructions": [*INSTRUCTIONS, "{place} {region} {options}"]}, "6: unknown placeholder '.place.'"),
        ({"instructions": [*INSTRUCTIONS, "In { {region} {options}"]}, "instruction 6: a brace that is not part"),
        ({"instructions": [*INSTRUCTIONS, "{region} {region} {options}"]}, r"uses the input \{region\} 2 times"),
        ({"instructions": "Name it."}, "instructions: must be a list"),
    ],
)  # fmt: skip
def test_an_error_names_file_task_and_key(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message) as error:
        load_registry(write(tmp_path, animals(**changes)))
    assert str(error.value).startswith(f"{tmp_path / 'animals.yaml'}: task animal_naming: ")
    assert "\n" not in str(error.value)


HOSTILE = {
    "brackets": ("[" * 100_000, ":1: not valid YAML: nested more than 50 levels deep"),
    "braces": ('{"a":' * 100_000, ":1: not valid YAML: nested more than 50 levels deep"),
    "dashes": ("- " * 100_000, ":1: not valid YAML: nested more than 50 levels deep"),
    "indentation": (
        "".join(f"{' ' * i}a:\n" for i in range(500)),
        ":51: not valid YAML: nested more than 50 levels deep",
    ),
    "brackets behind quotes": ('["]", ' * 100_000, ":1: not valid YAML: nested more than 50 levels deep"),
    "aliases": (
        "a: &a [x, x]\n" + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in pairwise("abcdefghij")),
        ":1: not valid YAML: anchors and aliases",
    ),
    "merged aliases": ("a: &a {x: 1}\nb: &b {<<: [*a, *a]}\nc: {<<: [*b, *b]}\n", ":1: not valid YAML: anchors"),
    "merged key": ("<<: {group: a}\n", ": unknown key '<<'"),
    "tag": ("group: !!python/name:os.system\n", ":1: not valid YAML: tags (!) are not read"),
    "tag of a number": ("group: !!int x\n", ":1: not valid YAML: tags (!) are not read"),
    "date that is none": ("group: 2001-99-99\n", ": has neither tasks nor replace"),
    "long number": (f"group: {'9' * 5000}\ntasks: {{a: {{}}}}\n", ": group: must be lower-case letters"),
    "hexadecimal number": (f"tasks: 0x{'f' * 5000}\n", ": tasks: must be a mapping, found '0xff"),
    "sixties": (f"tasks: {'1:' * 100_000}1\n", ": tasks: must be a mapping, found '1:1:"),
    "long key": (f"{'x' * 900}: 1\n", ": unknown key 'xxx"),
    "long name": (f"group: {'a' * 100_000}\ntasks: {{a: {{}}}}\n", ": group: must be lower-case letters"),
    "list for a mapping": ("tasks: [" + "a, " * 10_000 + "]\n", ": tasks: must be a mapping, found ['a', "),
    "control character": ("group: \x1b[2J\n", ": not valid YAML: control characters are not allowed"),
    "many values": ("- a\n" * 70_000, ":60000: not valid YAML: more than 60,000 values; divide it into several files"),
    "many bytes": ("#" * (3 << 20), ": is larger than 2,097,152 bytes"),
}


@pytest.mark.parametrize(("content", "message"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_is_one_short_line(tmp_path, content, message):
    """Each of these once killed the process, hung it, ended in a traceback, or filled the screen."""
    with pytest.raises(ConfigError, match=re.escape(f"animals.yaml{message}")) as error:
        load_registry(write(tmp_path, content))
    assert len(str(error.value)) < 500 and str(error.value).isprintable()


def test_what_looks_like_a_date_is_text(tmp_path):
    labels = animals(labels=["2001-01-01"], output="text", inputs=["region"], instructions=None)
    content = yaml.safe_dump(labels).replace("'2001-01-01'", "2001-01-01")
    assert load_registry(write(tmp_path, content))["animal_naming"].labels == ("2001-01-01",)


def test_the_packaged_files_mean_what_any_reader_of_yaml_reads():
    for path in [*TASK_DIR.glob("*.yaml"), *LANGUAGE_DIR.rglob("*.yaml")]:
        assert read_yaml(path) == yaml.safe_load(path.read_text(encoding="utf-8"))


def test_a_small_limit_of_pixels_leaves_the_tasks_as_they_are(tmp_path, monkeypatch):
    """The image of an example does not exist."""
    monkeypatch.setenv("OFA_MI_MAX_IMAGE_PIXELS", "100")
    example = {"image_size": [640, 480], "region": [[1, 2, 3, 4]], "options": ["a", "b"], "target_txt": "a"}
    assert load_registry(write(tmp_path, animals(example=example)))["animal_naming"].example.image_size == (640, 480)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file: must be a mapping"),
        ("group: animals\n", "has neither tasks nor replace"),
        ("group: animals\ntasks: [a]\n", "tasks: must be a mapping"),
        ("groups: animals\n", "unknown key 'groups'"),
        ("tasks: {a: {}}\n", "group: must be lower-case"),
        ("group: train\ntasks: {a: {}}\n", "group: train is a reserved word"),
        ("group: animals\ntasks: {Big Cat: {}}\n", "task 'Big Cat': name: must be lower-case"),
        ("group: animals\nbenchmark: true\ntasks: {a: {}}\n", "benchmark: only the packaged tasks"),
        ("group: animals\ntasks: {nlvr: {}}\n", "task nlvr: duplicate"),
        ("group: animals\ntasks: {a: {}, a: {}}\n", "animals.yaml:2: not valid YAML: duplicate key 'a'"),
        ("group: 'animals\n", "not valid YAML"),
        ("replace: {nlvrr: {}}\n", r"task nlvrr: replace: no such task \(did you mean nlvr\?\)"),
        ("replace: {nlvr: {version: 1, instructions: []}}\n", "task nlvr: version: must be above 1"),
        ("replace: {nlvr: {version: 2}}\n", "task nlvr: instructions: is missing"),
        ("!!python/object/apply:os.getcwd []\n", "not valid YAML"),
    ],
)
def test_a_malformed_file_is_an_error_that_names_it(tmp_path, content, message):
    with pytest.raises(ConfigError, match=message) as error:
        load_registry(write(tmp_path, content))
    assert str(error.value).startswith(str(tmp_path / "animals.yaml"))


def test_a_file_that_is_not_utf8_and_an_empty_or_missing_directory_are_errors(tmp_path):
    with pytest.raises(ConfigError, match="holds no"):
        load_registry(tmp_path)
    with pytest.raises(ConfigError, match="does not exist"):
        load_registry(tmp_path / "nowhere")
    (tmp_path / "bad.yaml").write_bytes(b"group: \xff")
    (tmp_path / "folder" / "x.yaml").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"x\.yaml: cannot be read"):
        load_registry(tmp_path / "folder")
    with pytest.raises(ConfigError, match=r"bad\.yaml: not UTF-8"):
        load_registry(tmp_path)


def test_select_takes_tasks_groups_and_splits_in_the_order_of_the_registry():
    registry = default_registry()
    evaluation = registry.select(["eval"])
    assert len(evaluation) == 20
    assert registry.select(["all"]) == tuple(registry)
    pretraining = registry.select(["pretraining"])
    assert len(pretraining) == 17 and pretraining[:3] == ("dense_detection", "dense_captioning", "dense_grounding")
    assert set(registry.select(["train"])) == set(registry) - set(evaluation) - set(pretraining)
    assert set(registry.select(["train", "pretraining"])) == set(registry) - set(evaluation)
    assert registry.select(["nlvr", "counting", "nlvr"]) == tuple(n for n in registry if n in ("nlvr", "counting"))
    assert registry.select(["vqa"], exclude=["eval"]) == (
        "open_domain_vqa", "visual7w_vqa", "compositional_vqa", "outside_knowledge_vqa",
    )  # fmt: skip


def test_a_name_of_both_a_task_and_its_group_means_the_task():
    registry = default_registry()
    assert registry.select(["image_text_matching"]) == ("image_text_matching",)
    assert len(registry.select(["group:image_text_matching"])) == 3


@pytest.mark.parametrize(
    ("include", "exclude", "message"),
    [
        (["nlvrr"], [], r"unknown task or group 'nlvrr' \(did you mean nlvr\?\)"),
        (["group:comonsense"], [], "did you mean commonsense"),
        (["all"], ["visual_dialog"], "did you mean visual_dialogue"),
        (["group:nlvr"], [], "unknown task or group"),
        (["nlvr"], ["eval"], "no task is selected by nlvr without eval"),
        ([], [], "no task is selected by an empty list"),
    ],
)
def test_select_explains_what_is_wrong(include, exclude, message):
    with pytest.raises(ConfigError, match=message):
        default_registry().select(include, exclude)


def test_an_unknown_task_is_an_error_with_close_matches():
    with pytest.raises(ConfigError, match=r"unknown task 'grounded_vqaa' \(did you mean grounded_vqa"):
        default_registry()["grounded_vqaa"]
    assert default_registry().get("grounded_vqaa") is None


def run_command(*arguments):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(arguments))


def test_the_command_lists_every_task(capsys):
    assert run_command() == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["group", "task", "split", "inputs", "output", "metric", "instructions"]
    assert [line.split()[1] for line in lines[1:-2]] == list(default_registry())
    assert lines[-1] == "100 tasks, 20 of them for evaluation only"


def test_the_command_lists_groups_and_shows_one_task(capsys, tmp_path):
    run_command("--group", "commonsense", "extra")
    assert "15 tasks, 6 of them" in capsys.readouterr().out
    run_command("--show", "animal_naming", "--instruction-dir", str(write(tmp_path, animals())))
    shown = capsys.readouterr().out
    assert shown.startswith("animal_naming\n") and all(text in shown for text in INSTRUCTIONS)
    with pytest.raises(ConfigError, match="did you mean commonsense"):
        run_command("--group", "comonsense")
