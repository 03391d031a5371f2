"""Changed prompts, other images and no image: what is changed, and that nothing else is."""

import difflib
import json
import re
from collections import Counter
from dataclasses import replace

import pytest

from ofa_mi.errors import ConfigError
from ofa_mi.evaluation.asking.plan import EvaluationOptions
from ofa_mi.evaluation.asking.run import evaluate
from ofa_mi.evaluation.conditions import (
    PERTURBATIONS,
    Conditions,
    add_typos,
    exchange,
    reorder_options,
    templates,
    upper_case,
)
from ofa_mi.evaluation.predictions import read_predictions
from ofa_mi.evaluation.scoring.scores import condition_label
from ofa_mi.instances.instance import Instance
from ofa_mi.instructions.registry import default_registry
from ofa_mi.instructions.spec import split_template
from tests.evaluation.fake import COLOURS, FakePredictor, make_data

REGISTRY = default_registry()
NLVR = REGISTRY["nlvr"]


def run(data_dir, out, predictor=None, tasks=("eval",), **options):
    predictor = predictor or FakePredictor()
    scores = evaluate(predictor, [data_dir], out, EvaluationOptions(tasks=tasks, **options), progress=False)
    return scores, list(read_predictions(out / "predictions.jsonl"))


def test_unknown_values_and_combinations_that_cannot_work():
    for name in ("prompt_style", "perturb", "image"):
        with pytest.raises(ConfigError, match=rf"{name} must be one of .*, found 'x'"):
            Conditions(**{name: "x"})
    with pytest.raises(ConfigError, match="perturb typos changes instructions, and prompt style options-only has none"):
        Conditions(perturb="typos", prompt_style="options-only")
    assert Conditions(perturb="option-order", prompt_style="options-only", image="none").label == (
        "option-order, options-only, image none"
    )
    assert Conditions().label == ""
    with pytest.raises(ConfigError, match="needs mode generate"):
        EvaluationOptions(perturb="other-task", mode="rank")


# -- instructions


def test_typos_change_a_fifth_of_the_longer_words_by_one_letter_and_nothing_else():
    for spec in REGISTRY.values():
        for text in spec.instructions:
            changed = add_typos(text, seed=1, name="a")
            assert re.findall(r"\{\w+\}", changed) == re.findall(r"\{\w+\}", text)
            before, after = text.split(" "), changed.split(" ")
            pairs = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
            long = [word for word in before if "{" not in word and sum(map(str.isalpha, word)) >= 5]
            assert abs(len(pairs) - max(1, 0.2 * len(long))) <= 1 or not long, (text, changed)
            for word, wrong in pairs:
                assert abs(len(word) - len(wrong)) <= 1 and word[0] == wrong[0]
                assert difflib.SequenceMatcher(None, word, wrong, autojunk=False).ratio() > 0.7


def test_typos_depend_on_seed_and_name_alone():
    text = "Decide whether the following sentence describes {text} completely. {options}"
    assert add_typos(text, seed=1, name="a") == add_typos(text, seed=1, name="a")
    assert len({add_typos(text, seed=seed, name=name) for seed in range(5) for name in "ab"}) > 5
    assert add_typos("Is it so? {text}", seed=1, name="a") == "Is it so? {text}"  # no word is long enough


def test_upper_case_spares_the_placeholders():
    assert upper_case("Is “{text}” true? {options}") == "IS “{text}” TRUE? {options}"


def test_changed_templates_keep_braces_of_the_text():
    template = "Answer {{yes}} or {{no}}, whatever {text} {{says}}"
    assert upper_case(template) == "ANSWER {{YES}} OR {{NO}}, WHATEVER {text} {{SAYS}}"
    parts = split_template(add_typos(template, seed=1, name="a"))
    assert len(parts) == 3 and parts[0].count("{") == parts[0].count("}") == 2


def test_instructions_by_condition():
    def ids_and_texts(**conditions):
        return templates(NLVR, Conditions(**conditions), REGISTRY, seed=1)

    assert [t[2] for t in ids_and_texts()] == list(NLVR.instructions)
    assert ids_and_texts(prompt_style="options-only") == [(0, "nlvr/options-only", "{options}")]
    assert ids_and_texts(prompt_style="task-name") == [(0, "nlvr/task-name", "nlvr ; {text} {options}")]
    number, name, text = ids_and_texts(perturb="other-task")[2]
    assert (number, name) == (2, "nlvr/image_captioning-3")
    assert text == REGISTRY["image_captioning"].instructions[2] + " {text} {options}"
    captions = templates(REGISTRY["image_captioning"], Conditions(perturb="other-task"), REGISTRY, seed=1)
    assert captions[0] == (
        0,
        "image_captioning/visual_text_extraction-1",
        "Write down the text that appears in the image.",
    )


def test_paraphrases_are_the_second_set_and_have_their_version(data_dir, tmp_path):
    scores, records = run(data_dir, tmp_path / "run", tasks=("nlvr",), perturb="paraphrase")
    assert {r.instruction_id for r in records} == {f"nlvr/en-x-reworded/{i}" for i in range(1, 6)}
    assert {r.language for r in records} == {"en"} == {scores["tasks"]["nlvr"]["language"]}
    with pytest.raises(ConfigError, match="color_understanding has no instructions in language 'en-x-reworded'"):
        run(data_dir, tmp_path / "other", tasks=("color_understanding",), perturb="paraphrase")


@pytest.mark.parametrize("perturb", [name for name in PERTURBATIONS if name != "option-order"])
def test_only_the_prompt_changes(data_dir, tmp_path, perturb):
    _, normal = run(data_dir, tmp_path / "normal")
    _, records = run(data_dir, tmp_path / "run", perturb=perturb)
    assert [record.key for record in records] == [record.key for record in normal]
    for a, b in zip(normal, records, strict=True):
        assert (a.options, a.references, a.target_boxes) == (b.options, b.references, b.target_boxes)
    same = sum(a.prompt == b.prompt for a, b in zip(normal, records, strict=True))
    # The fake describes its prompts in lower case.
    assert same == (len(normal) if perturb in ("none", "upper-case") else 0)


def test_upper_case_needs_a_model_that_keeps_case(data_dir, tmp_path):
    predictor = FakePredictor()
    predictor.text_case = "lower"
    with pytest.raises(ConfigError, match="this model reads all text in lower case"):
        run(data_dir, tmp_path / "run", predictor, perturb="upper-case")
    assert not (tmp_path / "run").exists()


# -- options


def test_another_order_of_options_is_one_of_all_the_others_evenly():
    instances = [Instance(str(i), "t", options=(("a",), ("b",), ("c",)), target=("a",)) for i in range(3000)]
    orders = Counter("".join(option[0] for option in reorder_options(one, seed=1).options) for one in instances)
    assert set(orders) == {"acb", "bac", "bca", "cab", "cba"}
    assert all(abs(count - 600) < 100 for count in orders.values())
    two = replace(instances[0], options=(("yes",), ("no",)))
    assert reorder_options(two, seed=1).options == (("no",), ("yes",))
    for options in (None, (("a",),), (("a",), ("a",))):
        same = replace(two, options=options)
        assert reorder_options(same, seed=1) is same


def test_option_order_is_the_same_under_every_instruction_and_leaves_tasks_without_options_out(
    data_dir, tmp_path, caplog
):
    caplog.set_level("INFO", "ofa_mi")
    scores, records = run(data_dir, tmp_path / "run", tasks=("all",), perturb="option-order")
    assert "option-order: left out are" in caplog.text and "visual_text_extraction (it has no options)" in caplog.text
    assert set(scores["tasks"]) == {"color_understanding", "grounded_vqa", "nlvr", "visual_entailment"}
    orders = {}
    for record in records:
        orders.setdefault((record.task, record.unique_id), set()).add(record.options)
    assert all(len(found) == 1 for found in orders.values())
    assert {found for (task, _), (found,) in orders.items() if task == "nlvr"} == {(("no",), ("yes",))}
    given = tuple((colour,) for colour in COLOURS)
    colours = [found for (task, _), (found,) in orders.items() if task == "color_understanding"]
    assert given not in colours and all(sorted(order) == sorted(given) for order in colours)
    with pytest.raises(ConfigError, match=r"cannot be asked of visual_text_extraction \(it has no options\)"):
        run(data_dir, tmp_path / "other", tasks=("nlvr", "visual_text_extraction"), perturb="option-order")


def test_options_only(data_dir, tmp_path):
    scores, records = run(data_dir, tmp_path / "run", prompt_style="options-only", instructions=(3,))
    assert set(scores["tasks"]) == {"grounded_vqa", "nlvr", "visual_entailment"}
    assert {r.prompt for r in records if r.task == "nlvr"} == {" [options]: yes||||no"}
    assert {r.instruction_id for r in records if r.task == "nlvr"} == {"nlvr/options-only"}


# -- images


def test_every_image_is_exchanged_for_another_one():
    images = [f"{i}.jpg" for i in range(50)]
    others = exchange(images, seed=1, name="t")
    assert sorted(others) == sorted(others.values()) == sorted(images)
    assert all(image != other for image, other in others.items())
    assert others == exchange(images, seed=1, name="t")
    assert others != exchange(images, seed=2, name="t") and others != exchange(images, seed=1, name="u")
    with pytest.raises(ConfigError, match="task t has one image only"):
        exchange(images[:1], seed=1, name="t")


def colours_of(image):
    return tuple(sorted({colour for _, colour in image.getcolors()}))


def test_images_by_condition(data_dir, tmp_path):
    shown = {}
    for image in ("given", "none", "gray", "shuffled"):
        predictor = FakePredictor()
        _, records = run(data_dir, tmp_path / image, predictor, tasks=("nlvr",), image=image)
        assert len(records) == 40 and {r.image for r in records} == {image}
        assert {r.image_path for r in records} == {f"images/nlvr-{i}.png" for i in range(8)}
        names = [name.split("'")[1] for batch in predictor.batches for name in batch]
        shown[image] = dict(zip(names, predictor.images, strict=True))
    assert set(shown["none"].values()) == {None}
    assert all(colours_of(image) == ((128, 128, 128),) for image in shown["gray"].values())
    given, shuffled = ({name: image.tobytes() for name, image in shown[key].items()} for key in ("given", "shuffled"))
    assert sorted(given.values()) == sorted(shuffled.values())
    assert all(given[name] != shuffled[name] for name in given)


def test_images_are_exchanged_alike_by_shards_and_under_every_instruction(data_dir, tmp_path):
    def pairs(shard, num_shards):
        predictor = FakePredictor()
        options = EvaluationOptions(tasks=("nlvr",), image="shuffled", shard=shard, num_shards=num_shards)
        evaluate(predictor, [data_dir], tmp_path / f"{num_shards}", options, progress=False)
        names = [name.split("'")[1] for batch in predictor.batches for name in batch]
        return {(name, image.tobytes()) for name, image in zip(names, predictor.images, strict=True)}

    whole = pairs(0, 1)
    assert len(whole) == 8
    assert pairs(0, 2) | pairs(1, 2) == whole


def test_one_image_cannot_be_exchanged(tmp_path):
    data = make_data(tmp_path / "data", per_task=1, tasks=("nlvr",))
    predictor = FakePredictor()
    with pytest.raises(ConfigError, match="nlvr has one image only"):
        run(data, tmp_path / "run", predictor, image="shuffled")
    assert predictor.asked == 0


def test_text_only_tasks_are_left_out_where_nothing_would_change(tmp_path):
    line = {
        "unique_id": "1",
        "task_name": "natural_instructions_test",
        "context": ["Say no."],
        "text": "a",
        "target_txt": "no",
    }
    (tmp_path / "test.jsonl").write_text(json.dumps(line) + "\n")
    for conditions, reason in (
        ({"image": "none"}, "its instances have no image"),
        ({"perturb": "typos"}, "its instances bring their own instruction"),
        ({"perturb": "option-order"}, "it has no options"),
    ):
        with pytest.raises(ConfigError, match=rf"natural_instructions_test \({reason}\); choose other --tasks"):
            run(tmp_path, tmp_path / "run", **conditions)


# -- marks


def test_conditions_are_recorded_everywhere_and_another_run_in_the_directory_is_refused(data_dir, tmp_path):
    conditions = {"prompt_style": "instruction", "perturb": "typos", "image": "gray"}
    scores, records = run(data_dir, tmp_path / "run", tasks=("nlvr",), perturb="typos", image="gray")
    assert scores["conditions"] == conditions and condition_label(scores) == "typos, image gray"
    assert {(r.prompt_style, r.perturb, r.image) for r in records} == {tuple(conditions.values())}
    settings = json.loads((tmp_path / "run" / "run.json").read_text())["settings"]
    assert {name: settings["options"][name] for name in conditions} == conditions
    recorded = settings["tasks"]["nlvr"]["instructions"]
    assert recorded["0"] == add_typos(NLVR.instructions[0], seed=1, name="nlvr/1") != NLVR.instructions[0]
    for change, message in (
        ({"perturb": "none"}, r"options\.perturb is 'typos' there and 'none' now"),
        ({"image": "given"}, r"options\.image is 'gray' there and 'given' now"),
        ({"seed": 2}, r"options\.seed is 1 there and 2 now"),
    ):
        with pytest.raises(ConfigError, match=message):
            run(data_dir, tmp_path / "run", **({"tasks": ("nlvr",), "perturb": "typos", "image": "gray"} | change))
