"""The grammar of instructions: what it writes is right, varied and reproducible; the gate; and training's file."""

import json
import re
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ofa_mi import cli
from ofa_mi.errors import ConfigError, DataError
from ofa_mi.instructions.grammar import augment
from ofa_mi.instructions.grammar.files import read_extra
from ofa_mi.instructions.grammar.gate import LEAST_SHARED, MAX_ORDER, MAX_SHARED, Gate
from ofa_mi.instructions.grammar.phrases import KINDS, Phrases, check_inputs, patterns, phrases_of, read_phrases
from ofa_mi.instructions.grammar.sentences import Draw, Sentences, with_article
from ofa_mi.instructions.likeness import Index, order, perhaps_shared, shared_words, words
from ofa_mi.instructions.lint import alike_across_tasks, faults
from ofa_mi.instructions.registry import default_registry, load_registry, read_tasks
from ofa_mi.instructions.rendering import render
from ofa_mi.instructions.spec import MIN_INSTRUCTIONS, split_template
from tests.instructions.examples import example

DOCS = Path(__file__).parents[2] / "docs" / "instructions.md"
REGISTRY = default_registry()
TRAINED = [name for name in REGISTRY.select(["train"]) if not REGISTRY[name].own_instruction]
PRETRAINED = REGISTRY.select(["pretraining"])
PER_TASK = 100
FEW = ("grounded_captioning", "color_understanding", "region_caption_matching", "object_matching")


def written(result):
    found = {}
    for line in result.lines:
        found.setdefault(line.task, []).append(line.instruction)
    return found


def few(per_task=10, seed=1, tasks=FEW):
    return written(augment.generate(read_tasks(), tasks, read_phrases(), per_task=per_task, seed=seed))


@pytest.fixture(scope="module")
def hundred():
    """A hundred instructions of each training task."""
    return written(augment.generate(read_tasks(), TRAINED, read_phrases(), per_task=PER_TASK))


# -- what is written


def test_every_training_task_has_phrases_and_gets_its_number(hundred):
    assert set(read_phrases()) == {*TRAINED, *PRETRAINED}
    assert {name: len(texts) for name, texts in hundred.items()} == dict.fromkeys(TRAINED, PER_TASK)


def test_tasks_of_the_pre_training_have_phrases_too():
    texts = few(12, tasks=PRETRAINED)
    assert {name: len(set(found)) for name, found in texts.items()} == dict.fromkeys(PRETRAINED, 12)


def test_every_instruction_uses_every_input_once_and_renders(hundred):
    for name, texts in hundred.items():
        spec = REGISTRY[name]
        for text in texts:
            assert sorted(split_template(text)[1::2]) == sorted(spec.inputs), text
            render(spec, text, example(spec))


def test_the_linter_finds_nothing(hundred):
    assert [fault for name, texts in hundred.items() for text in texts for fault in faults(REGISTRY[name], text)] == []
    extended = [
        replace(spec, instructions=(*spec.instructions, *hundred.get(spec.name, ()))) for spec in REGISTRY.values()
    ]
    assert list(alike_across_tasks(extended, {spec.path for spec in extended})) == []


def test_no_two_of_a_task_are_alike(hundred):
    for name, texts in hundred.items():
        said = [words(text) for text in (*REGISTRY[name].instructions, *texts)]
        for i, j in perhaps_shared(said, MAX_SHARED):
            a, b = said[i], said[j]
            assert j < MIN_INSTRUCTIONS or shared_words(a, b) < MAX_SHARED or order(a, b) < MAX_ORDER, (a, b)


def test_the_first_ones_differ_most():
    """As the protocol's five do: they share less than 40 % of their words, or have them in another order."""
    for texts in few().values():
        for first, second in combinations(map(words, texts), 2):
            assert shared_words(first, second) < LEAST_SHARED or order(first, second) < LEAST_SHARED + 0.05


def test_all_parts_of_the_tree_are_used(hundred):
    """Questions and commands; inputs in place, before and after; the answer's form named or not."""
    texts = hundred["region_caption_matching"]
    assert {text.count("?") > 0 for text in texts} == {True, False}
    assert {text.index("{region}") < text.index("{text}") for text in texts} == {True, False}
    assert any('the caption "{text}"' in text or 'the description "{text}"' in text for text in texts)
    assert any(re.match(r"(Caption|Description): ", text) for text in texts)
    assert any(re.search(r"(caption|description) is: \{text\}", text) for text in texts)
    assert any("yes or no" in text for text in texts) and any("yes" not in text for text in texts)
    assert len({text.split()[0] for text in texts}) > 20


def test_sentences_are_well_made(hundred):
    for texts in hundred.values():
        for text in texts:
            assert "<" not in text and "|" not in text and not re.search(r"\{(image|name|answer|phrase)", text), text
            assert not re.search(r"\b(a [aeio]|an [^aeiou])", text), text  # its nouns have no other vowels and sounds
            assert not re.search(r"\b(\w+) \1\b", text.lower()), text
            assert not re.search(r"[.?!] [a-z]", text), text


def test_same_seed_same_instructions_and_another_seed_others():
    assert few() == few()
    first, second = few(), few(seed=2)
    assert all(set(first[name]).isdisjoint(second[name]) for name in FEW)


@settings(max_examples=5, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30))
def test_fewer_are_the_first_of_more(one, other):
    small, large = few(min(one, other)), few(max(one, other))
    assert all(large[name][: len(small[name])] == small[name] for name in FEW)


def test_a_task_without_phrases_is_asked_for_by_its_description(tmp_path):
    tasks = read_tasks(animals(tmp_path))
    texts = written(augment.generate(tasks, ["animal_naming"], read_phrases(), per_task=20))["animal_naming"]
    assert sum("name the animal in a region" in text.lower() for text in texts) == 20
    assert all("{region}" in text and text.endswith(" {options}") for text in texts)


def test_the_phrases_of_the_documentation_work(tmp_path, capsys):
    block = re.search(r"```yaml phrases\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)[1]
    (tmp_path / "phrases.yaml").write_text(block)
    command = ["--per-task", "200", "--tasks", "animal_naming", "--instruction-dir", str(animals(tmp_path / "t"))]
    assert run(*command, "--show", "200", "--phrases", str(tmp_path / "phrases.yaml")) == 0
    out = capsys.readouterr().out
    assert all(words in out for words in ("which species lives in", "enclosure", "animals", "name of the animal"))


# -- phrases


def test_a_grammar_without_enough_is_one_line(monkeypatch):
    monkeypatch.setattr(augment, "SHARES", augment.SHARES[:1])
    monkeypatch.setattr(augment, "PATIENCE", (5,))
    table = {"grounded_captioning": Phrases(ask=("what is in {region}",))}
    with pytest.raises(
        ConfigError, match=r"task grounded_captioning: the grammar has \d+ instructions .* not 1000; ask"
    ):
        augment.generate(read_tasks(), ["grounded_captioning"], table, per_task=1000)


def test_phrases_that_never_make_a_good_sentence_end(monkeypatch):
    monkeypatch.setattr(augment, "PATIENCE", (5, 5, 5, 5))
    spec = replace(REGISTRY["image_captioning"], description="Describe the image that the image is.")
    with pytest.raises(ConfigError, match="the grammar has 0 instructions"):
        augment.generate({**read_tasks(), spec.name: spec}, [spec.name], {}, per_task=1)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"say": ["x"]}, "task 'mine': unknown key 'say'"),
        ({"do": "x"}, "task 'mine': do: must be a list of texts, found 'x'"),
        ({"base": "x"}, "task 'mine': base: must be one of question, found 'x'"),
        ({"base": ["question"]}, "task 'mine': base: must be one of question, found"),
        ({"options": "maybe"}, "task 'mine': options: must be a list of names or one of yes_no, verdict"),
        ({"names": {"a\n": ["x"]}}, "task 'mine': names: a name must be a word of letters, digits and _, found 'a\\n'"),
        ({"names": {1: ["x"]}}, "task 'mine': names: a name must be a word of letters, digits and _, found '1'"),
        ([], "task 'mine': must be a mapping"),
    ],
)
def test_a_bad_phrase_file_is_one_line(tmp_path, entry, message):
    path = tmp_path / "phrases.yaml"
    path.write_text(json.dumps({"tasks": {"mine": entry}}))
    with pytest.raises(ConfigError, match=f"^{re.escape(str(path))}: {re.escape(message)}"):
        read_phrases(path)


@pytest.mark.parametrize("name", ["\t", "", "é\n", "two words"])
def test_a_base_has_a_name_that_a_message_can_quote(tmp_path, name):
    path = tmp_path / "phrases.yaml"
    path.write_text(json.dumps({"bases": {name: {"answer": ["x"]}}}))
    with pytest.raises(ConfigError, match="bases: a name must be a word") as error:
        read_phrases(path)
    assert str(error.value).isprintable()


def test_phrases_speak_of_the_inputs_of_their_task_only():
    table = read_phrases()
    for name in (*TRAINED, *PRETRAINED):
        check_inputs(REGISTRY[name], phrases_of(REGISTRY[name], table))
    spec = REGISTRY["grounded_captioning"]
    with pytest.raises(ConfigError, match=r"phrases of grounded_captioning: '\{text\}' is none of its inputs"):
        check_inputs(spec, Phrases(ask=("what is {text}",)))


def test_every_kind_of_phrase_has_frames_that_hold_it():
    frames = patterns()["frames"]
    assert set(frames) == {*KINDS, "whether"}
    assert all(frame.count("{phrase}") == 1 for kind in frames.values() for frame in kind)


def test_inputs_are_written_out_as_they_are_named():
    draw = Draw("1")
    phrases = Phrases(ask=('is "{text}" in {region}',), names={"region": ("frame",)}, options="yes_no")
    sentences = Sentences(REGISTRY["object_region_matching"], phrases)
    texts = [text for text in (sentences.compose("ask", draw) for _ in range(200)) if text]
    assert all(text.count('"{text}"') == 1 for text in texts), "a quoted input stays in its place"
    named = {found for text in texts for found in re.findall(r"(?:the|this|that|following|a) frame", text)}
    assert {"the frame", "this frame", "following frame", "a frame"} <= named
    assert with_article("image") == "an image" and with_article("box") == "a box"


# -- the gate


def test_index_finds_all_that_are_alike_and_the_gate_measures_them():
    texts = [words(text) for spec in REGISTRY.values() for text in spec.instructions][:150]
    index, found = Index(0.4), set()
    for place, said in enumerate(texts):
        found |= {(other, place) for other in index.perhaps_shared(said) if shared_words(texts[other], said) >= 0.4}
        index.add(said)
    pairs = {(i, j) for j in range(len(texts)) for i in range(j) if shared_words(texts[i], texts[j]) >= 0.4}
    assert found == pairs


@pytest.mark.parametrize(
    ("task", "text", "kind", "reason"),
    [
        ("no_such_task", "Say what is in it.", "unknown task", "there is no task 'no_such_task'"),
        ("nlvr", 'Is "{text}" right? {options}', "no training task", "nlvr is held out"),
        ("natural_instructions", "{context} {text}", "no training task", "bring their own instruction"),
        ("visual_grounding", "Find the region.", "placeholders", "must use each input once and nothing else: {text}"),
        ("visual_grounding", "Find {text} and {image}.", "placeholders", "unknown placeholder '{image}'"),
        ("visual_grounding", "find the place of this: {text}", "form or answer", "must begin with a capital letter"),
        ("easy_vqa", "Is it the circle that is meant? {question}", "form or answer", "names the answer 'circle'"),
        ("visual_grounding", 'Find the region of the image that is described as "{text}".', "alike",
         "is nearly visual_grounding/1"),
        ("image_captioning", "Say in a single sentence who is in the photo and what they do.", "alike another task's",
         "is nearly flickr8k_captioning/1"),
        ("object_detection", "Answer the question by choosing one of these regions of the image. {question} {options}",
         "alike another task's", "is nearly grounded_vqa/1"),
    ],
)  # fmt: skip
def test_the_gate_refuses(task, text, kind, reason):
    refusal = Gate(read_tasks()).refusal(task, text)
    assert refusal.kind == kind and reason in refusal.reason


def test_a_file_from_elsewhere_passes_the_same_gate(tmp_path, capsys):
    good = {"task": "visual_grounding", "instruction": "Point at whatever these words were written about: {text}"}
    again = good | {"instruction": "Point at whatever these words are written about: {text}"}
    held_out = {"task": "nlvr", "instruction": 'True or false? "{text}" {options}'}
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in (good, again, held_out)))
    assert run("--from", str(path), "--out", str(tmp_path / "out"), "--show", "5") == 1
    out = capsys.readouterr().out.splitlines()
    assert out[:3] == [
        f"visual_grounding: {good['instruction']}",
        "1 instructions of 1 tasks",
        "2 lines refused (alike: 1, no training task: 1)",
    ]
    assert "mine.jsonl:2: task visual_grounding: is nearly " in out[3]
    assert (tmp_path / "out/instructions.jsonl").read_text() == json.dumps(
        good | {"origin": "mine.jsonl"}, separators=(",", ":")
    ) + "\n"
    refused = [json.loads(line) for line in (tmp_path / "out/refused.jsonl").read_text().splitlines()]
    assert [line["instruction"] for line in refused] == [again["instruction"], held_out["instruction"]]
    assert refused[1]["place"].endswith("mine.jsonl:3") and "held out" in refused[1]["reason"]
    # What has been let in passes again, and keeps its origin.
    assert run("--from", str(tmp_path / "out/instructions.jsonl"), "--out", str(tmp_path / "again")) == 0
    assert (tmp_path / "again/instructions.jsonl").read_bytes() == (tmp_path / "out/instructions.jsonl").read_bytes()
    assert not (tmp_path / "again/refused.jsonl").exists()


# -- the command


def run(*arguments):
    return cli.main(["instructions", "augment", *arguments])


def animals(folder):
    """A task of a user's."""
    instructions = [
        "Which animal is in the region {region}? {options}",
        "Pick the creature at {region} from the list. {options}",
        "A visitor of the zoo points at {region} and asks what lives there. Tell them. {options}",
        "Look at fur, feathers or scales inside {region}, and decide on the species. {options}",
        "{region} is where it stands. Its name is among these. {options}",
    ]
    task = {"description": "Name the animal in a region. region is the region.", "split": "train", "sources": ["Zoo"]}
    task |= {"inputs": ["region", "options"], "output": "option", "metrics": ["accuracy"], "version": 1}
    folder.mkdir(exist_ok=True)
    content = {"group": "zoo", "tasks": {"animal_naming": task | {"instructions": instructions}}}
    (folder / "zoo.yaml").write_text(yaml.safe_dump(content))
    return folder


def test_the_command_writes_marks_and_shows(tmp_path, capsys):
    assert (
        run("--per-task", "3", "--tasks", "vqa", "--exclude-tasks", "eval", "--out", str(tmp_path), "--show", "2") == 0
    )
    out = capsys.readouterr().out.splitlines()
    lines = [json.loads(line) for line in (tmp_path / "instructions.jsonl").read_text().splitlines()]
    assert len(lines) == 12 and {line["origin"] for line in lines} == {"grammar"}
    assert out[0].split(": ", 1) in [[line["task"], line["instruction"]] for line in lines]
    assert out[2] == "12 instructions of 4 tasks"
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert (manifest["per_task"], manifest["seed"], manifest["instructions"]) == (3, 1, 12)
    assert manifest["tasks"] == ["open_domain_vqa", "visual7w_vqa", "compositional_vqa", "outside_knowledge_vqa"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--per-task", "5"], "give --out DIR to write the instructions, --show N to read some, or both"),
        (["--per-task", "0", "--show", "1"], "--per-task 0: must be at least 1"),
        (["--per-task", "1", "--show", "-1"], "--show -1: must be at least 0"),
        (["--per-task", "2", "--show", "1", "--tasks", "nlvr"], "nlvr is held out; generated instructions are for"),
        (["--per-task", "2", "--show", "1", "--tasks", "nlwr"], "unknown task or group 'nlwr' (did you mean nlvr"),
        (["--from", "absent.jsonl", "--show", "1"], "absent.jsonl: cannot be read (No such file or directory)"),
        (
            ["--from", "absent.jsonl", "--show", "1", "--seed", "2"],
            "--tasks, --exclude-tasks, --seed and --phrases are",
        ),
    ],
)
def test_bad_arguments_are_one_line(arguments, message, capsys):
    assert run(*arguments) == cli.BAD_INPUT
    error = capsys.readouterr().err
    assert error.startswith(f"ofa-mi instructions: error: {message}") and error.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"task": "nlvr"}', 'not {"task": …, "instruction": …} (Object missing required field `instruction`)'),
        ("[", 'not {"task": …, "instruction": …} ('),
        (
            '{"task": "nlvr", "instruction": "x", "say": 1}',
            'not {"task": …, "instruction": …} (Object contains unknown',
        ),
    ],
)
def test_a_line_that_is_none_is_named(tmp_path, line, message, capsys):
    path = tmp_path / "mine.jsonl"
    path.write_text(f"\n{line}\n")
    assert run("--from", str(path), "--show", "1") == cli.BAD_INPUT
    assert f"{path}:2: {message}" in capsys.readouterr().err


# -- training's file


GROUNDING = {"task": "visual_grounding", "instruction": "Point at this: {text}", "origin": "grammar"}


def extra(tmp_path, *lines, registry=REGISTRY):
    path = tmp_path / "extra.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return read_extra(path, registry)


def test_extra_instructions_come_behind_those_of_a_task(tmp_path):
    found = extra(tmp_path, GROUNDING)
    registry = found.added_to(REGISTRY)
    own = REGISTRY["visual_grounding"].instructions
    assert registry["visual_grounding"].instructions == (*own, "Point at this: {text}")
    assert registry["nlvr"] is not None and registry["nlvr"] == REGISTRY["nlvr"]
    assert REGISTRY["visual_grounding"].instructions == own, "the registry itself stays as it is"
    assert str(found).endswith(f"extra.jsonl ({found.name}): 1 extra instructions of 1 tasks")
    assert found.name == extra(tmp_path, GROUNDING).name != extra(tmp_path, GROUNDING | {"origin": "x"}).name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "visual_groundin"}, "extra.jsonl:1: unknown task 'visual_groundin' (did you mean visual_grounding"),
        ({"origin": ""}, "extra.jsonl:1: has no origin; let the file pass `ofa-mi instructions augment --from` first"),
        (
            {"task": "nlvr", "instruction": "{text} {options}"},
            "extra.jsonl:1: nlvr is held out; generated instructions",
        ),
        ({"instruction": "Point at it."}, "extra.jsonl:1: does not use the inputs of visual_grounding once each"),
        ({"instruction": "Point at {it}."}, "extra.jsonl:1: unknown placeholder '{it}'"),
        (
            {"instruction": REGISTRY["visual_grounding"].instructions[0]},
            "extra.jsonl:1: repeats an instruction of visual_grounding",
        ),
    ],
)
def test_what_training_cannot_use_is_refused(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        extra(tmp_path, GROUNDING | changes)


def test_a_file_of_nothing_and_another_language_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="holds no instruction"):
        extra(tmp_path)
    with pytest.raises(ConfigError, match="generated instructions are English; they cannot be added to those in de"):
        extra(tmp_path, GROUNDING, registry=load_registry(language="de"))
    with pytest.raises(DataError, match=r"absent\.jsonl: cannot be read"):
        read_extra(Path(tmp_path / "absent.jsonl"), REGISTRY)
