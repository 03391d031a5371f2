"""Natural Instructions: which tasks and instances are taken, how prompts read, and that nothing depends on workers."""

import json
from collections import Counter

import pytest
import torch
from PIL import Image

from ofa_mi import cli
from ofa_mi.data.dataset import DatasetOptions, MultiInstructDataset
from ofa_mi.data.encoding import PromptEncoder
from ofa_mi.data.regions import RegionCodec
from ofa_mi.data.transform import ImageTransform
from ofa_mi.data.vocabulary import Vocabulary
from ofa_mi.data_prep.imports import natural_instructions
from ofa_mi.data_prep.imports.natural_instructions import PAPER_TASKS, ImportOptions
from ofa_mi.data_prep.imports.natural_instructions.convert import sample
from ofa_mi.data_prep.imports.natural_instructions.release import read_task
from ofa_mi.errors import ConfigError, DataError
from ofa_mi.instances.instance import Instance
from ofa_mi.instances.open import open_store
from ofa_mi.instructions.prompt import TextSegment
from ofa_mi.instructions.registry import default_registry
from ofa_mi.instructions.rendering import render
from tests.golden.cases import build_model
from tests.models.helpers import SMALL

CAPITALS, COLOURS, SUMS, FRENCH = "task001_atlas_capital", "task002_paint_colour", "task050_sum", "task1100_en_fr"


def items(number, prefix="in"):
    return [{"id": f"{prefix}-{i}", "input": f"{prefix} {i}", "output": [f"out {i}"]} for i in range(number)]


def task_record(instances, **fields):
    """A task in the official format, with fields that the import does not read, too."""
    return {
        "Contributors": ["Somebody"],
        "Source": ["atlas"],
        "URL": [float("nan")],  # as some released files have it
        "Categories": ["Question Answering"],
        "Reasoning": [],
        "Definition": ["Name the capital of the country."],
        "Input_language": ["English"],
        "Output_language": ["English"],
        "Instruction_language": ["English"],
        "Domains": ["Geography"],
        "Positive Examples": [
            {"input": "Peru", "output": "Lima", "explanation": "Lima is the capital of Peru."},
            {"input": "Mali", "output": "Bamako", "explanation": ""},
        ],
        "Negative Examples": [{"input": "Chad", "output": "", "explanation": "There is no answer."}],
        "Instances": instances,
        "Instance License": ["Unknown"],
        **fields,
    }


def write_release(root, tasks, **lists):
    """Write ``tasks`` (name → record) and the lists of tasks below ``root``; return it."""
    (root / "tasks").mkdir(parents=True, exist_ok=True)
    (root / "splits" / "default").mkdir(parents=True, exist_ok=True)
    for name, record in tasks.items():
        (root / "tasks" / f"{name}.json").write_text(json.dumps(record, indent=4, ensure_ascii=False))
    (root / "tasks" / "README.md").write_text("not a task")
    for name, entries in lists.items():
        (root / "splits" / "default" / f"{name}_tasks.txt").write_text("".join(f"{entry}\n" for entry in entries))
    return root


@pytest.fixture
def release(tmp_path):
    tasks = {
        CAPITALS: task_record(items(300, "a")),
        COLOURS: task_record(items(50, "b"), Categories=["Paraphrasing"], Domains=["Art"]),
        SUMS: task_record(items(130, "c")),
        FRENCH: task_record(items(40, "d"), Output_language=["English", "French"]),
    }
    return write_release(tmp_path / "raw", tasks, train=[CAPITALS, COLOURS, FRENCH], test=[SUMS], excluded=[])


def read(out, split):
    path = out / f"{split}.jsonl"
    return [Instance.from_json(line, f"{path}:{n}") for n, line in enumerate(path.read_bytes().splitlines(), 1)]


def convert(release, out, workers=1, **options):
    return natural_instructions.convert(release, out, ImportOptions(**options), workers=workers)


def of_task(instances, name):
    return [instance.meta_data["id"] for instance in instances if instance.meta_data["task"] == name]


def source(instance):
    """What the model reads, as one string."""
    spec = default_registry()[instance.task_name]
    assert len(spec.instructions) == 1 and spec.own_instruction
    prompt = render(spec, spec.instructions[0], instance)
    assert all(isinstance(segment, TextSegment) for segment in prompt)
    return "".join(segment.text for segment in prompt)


# -- tasks and instances


def test_training_instances_are_capped_and_validation_instances_held_out(release, tmp_path):
    manifest = convert(release, tmp_path / "out")
    train, valid = read(tmp_path / "out", "train"), read(tmp_path / "out", "valid")
    assert manifest["tasks"]["train"] == {CAPITALS: 100, COLOURS: 49}
    assert manifest["tasks"]["valid"] == {CAPITALS: 2, COLOURS: 1}
    assert manifest["counts"]["train"] == {"natural_instructions": 149} == Counter(i.task_name for i in train)
    assert manifest["counts"]["valid"] == {"natural_instructions": 3} == Counter(i.task_name for i in valid)
    assert sorted(of_task(train + valid, COLOURS)) == sorted(item["id"] for item in items(50, "b"))
    ids = of_task(train, CAPITALS)
    assert ids == sorted(ids, key=lambda name: int(name[2:])) and max(int(name[2:]) for name in ids) > 200
    assert not set(ids) & set(of_task(valid, CAPITALS))


def test_the_choice_depends_on_the_seed_and_the_task():
    cases = ((0, "a"), (0, "a"), (1, "a"), (0, "b"))
    draws = [sample(range(300), name, ImportOptions(seed=seed)) for seed, name in cases]
    assert draws[0] == draws[1]
    assert draws[0] != draws[2] and draws[0] != draws[3]
    everything = sample(range(300), "a", ImportOptions(max_per_task=0, valid_fraction=0.1))
    assert len(everything["valid"]) == 30 and sorted(everything["train"] + everything["valid"]) == list(range(300))


def test_instances_that_repeat_each_other_are_on_one_side(release, tmp_path, capsys):
    """Every input comes three times, with other white space and other answers; one comes 40 times."""
    repeated = [{"id": f"{i}", "input": f" in {i % 60}{' ' * (i // 60)}", "output": [f"out {i}"]} for i in range(180)]
    repeated += [{"id": f"often-{i}", "input": "often", "output": ["out"]} for i in range(40)]
    empty = [{"id": f"e{i}", "input": "", "output": [f"story {i // 2}"]} for i in range(40)]
    write_release(release, {CAPITALS: task_record(repeated), COLOURS: task_record(empty)})
    arguments = [
        "--raw",
        str(release),
        "--out",
        str(tmp_path / "out"),
        "--max-per-task",
        "0",
        "--valid-fraction",
        "0.1",
    ]
    assert cli.main(["data", "natural-instructions", *arguments]) == 0
    sides = {split: read(tmp_path / "out", split) for split in ("train", "valid")}
    for name, key, number, room in ((CAPITALS, "text", 220, 22), (COLOURS, "target", 40, 4)):
        train, valid = ([i for i in sides[split] if i.meta_data["task"] == name] for split in ("train", "valid"))
        assert len(train) + len(valid) == number and room - 3 < len(valid) <= room
        assert not {getattr(i, key) for i in train} & {getattr(i, key) for i in valid}
    manifest = json.loads((tmp_path / "out/manifest.json").read_bytes())
    assert manifest["repeated"] == {CAPITALS: 120 + 39, COLOURS: 20}
    assert "2 tasks with inputs that come again, 179 in all" in capsys.readouterr().out


def test_the_cap_is_filled_beside_groups(release, tmp_path):
    twice = [{"id": f"{i}", "input": f"in {i // 2}", "output": ["out"]} for i in range(300)]
    write_release(release, {CAPITALS: task_record(twice)})
    manifest = convert(release, tmp_path / "out", valid_fraction=0.05)
    assert manifest["tasks"]["train"][CAPITALS] == 100 and manifest["tasks"]["valid"][CAPITALS] == 4


def test_a_test_task_is_its_first_hundred_instances(release, tmp_path):
    convert(release, tmp_path / "out")
    test = read(tmp_path / "out", "test")
    assert of_task(test, SUMS) == [f"c-{i}" for i in range(100)]
    assert {i.task_name for i in test} == {"natural_instructions_test"}
    convert(release, tmp_path / "all", eval_per_task=0)
    assert len(read(tmp_path / "all", "test")) == 130


def test_only_english_tasks_are_imported(release, tmp_path):
    tasks = {
        "task1101_fr_en": task_record(items(30), Input_language=["French"]),
        "task1102_en_de_words": task_record(items(30), Instruction_language=["German"]),
        "task1103_spelled": task_record(items(30), Input_language=["english "]),
    }
    write_release(release, tasks, train=[CAPITALS, FRENCH, *tasks], test=[SUMS, "task1101_fr_en"])
    manifest = convert(release, tmp_path / "out")
    assert manifest["not_english"] == [FRENCH, "task1102_en_de_words", "task1101_fr_en"]
    assert list(manifest["tasks"]["train"]) == [CAPITALS, "task1103_spelled"]
    assert list(manifest["tasks"]["test"]) == [SUMS]


def test_answers(tmp_path, release):
    instances = [
        {"id": "many", "input": "x", "output": ["  first ", "second", "first", "", "\u200b", "third"]},
        {"id": "none", "input": "y", "output": [" ", "\u200b"]},
        {"id": "later", "input": "z", "output": ["", "only"]},
        {"id": "input", "input": " \n", "output": ["something"]},
    ]
    write_release(release, {SUMS: task_record(instances)})
    manifest = convert(release, tmp_path / "out", eval_per_task=3)
    many, later = read(tmp_path / "out", "test")
    assert (many.target, many.references) == (("first",), ("second", "third"))
    assert (later.target, later.references) == (("only",), ())
    assert later.unique_id == f"natural_instructions-{SUMS}-2"
    assert manifest["no_answer"] == {SUMS: 1} and manifest["tasks"]["test"] == {SUMS: 2}
    convert(release, tmp_path / "all", eval_per_task=4)
    empty = read(tmp_path / "all", "test")[-1]
    assert empty.text == ("(empty)",)
    assert source(empty).endswith("Input: (empty) Output:")


def test_meta_data_tells_task_category_and_domain(release, tmp_path):
    convert(release, tmp_path / "out")
    found = next(i for i in read(tmp_path / "out", "valid") if i.meta_data["task"] == COLOURS)
    assert found.meta_data.pop("id").startswith("b-")
    assert found.meta_data == {"task": COLOURS, "categories": ["Paraphrasing"], "domains": ["Art"]}


# -- prompts


def prompt_of(release, out, **options):
    convert(release, out, **options)
    return source(read(out, "test")[7])


def test_the_definition_is_the_instruction(release, tmp_path):
    assert prompt_of(release, tmp_path / "a") == "Name the capital of the country. Input: c 7 Output:"
    write_release(release, {SUMS: task_record(items(9, "c"), Definition=[" Add the numbers. ", "Write digits."])})
    assert prompt_of(release, tmp_path / "b") == "Add the numbers. Write digits. Input: c 7 Output:"
    write_release(release, {SUMS: task_record(items(9, "c"), Definition="Add.")})
    assert prompt_of(release, tmp_path / "c") == "Add. Input: c 7 Output:"


def test_examples_follow_the_definition(release, tmp_path):
    assert prompt_of(release, tmp_path / "a", positive_examples=1) == (
        "Name the capital of the country. Positive example 1. Input: Peru Output: Lima Input: c 7 Output:"
    )
    assert prompt_of(release, tmp_path / "b", positive_examples=2, negative_examples=1, explanations=True) == (
        "Name the capital of the country. "
        "Positive example 1. Input: Peru Output: Lima Explanation: Lima is the capital of Peru. "
        "Positive example 2. Input: Mali Output: Bamako "
        "Negative example 1. Input: Chad Output: (empty) Explanation: There is no answer. "
        "Input: c 7 Output:"
    )


def test_tasks_with_fewer_examples_are_listed(release, tmp_path):
    assert convert(release, tmp_path / "a", negative_examples=1)["lacks_examples"] == []
    assert convert(release, tmp_path / "b", negative_examples=2)["lacks_examples"] == [CAPITALS, COLOURS, SUMS]


# -- splits


def test_without_a_list_all_other_tasks_train(release, tmp_path):
    (release / "splits" / "default" / "train_tasks.txt").unlink()
    write_release(release, {}, excluded=[COLOURS, "task777_elsewhere"])
    manifest = convert(release, tmp_path / "a")
    assert list(manifest["tasks"]["train"]) == [CAPITALS]
    assert manifest["train_from"] == "all that no list holds out, for want of train_tasks.txt"
    (release / "splits" / "default" / "excluded_tasks.txt").unlink()
    assert list(convert(release, tmp_path / "b")["tasks"]["train"]) == [CAPITALS, COLOURS]


def test_own_test_tasks_and_official_ones_never_train(release, tmp_path):
    write_release(release, {}, train=[CAPITALS, COLOURS, SUMS])
    manifest = convert(release, tmp_path / "out", test_tasks=("2", COLOURS))
    assert list(manifest["tasks"]["test"]) == [COLOURS]
    assert list(manifest["tasks"]["train"]) == [CAPITALS]


def test_the_papers_test_tasks(release, tmp_path):
    assert len(set(PAPER_TASKS)) == 20 and PAPER_TASKS[-1] == 50
    names = [f"task{number:03d}_x" for number in sorted(PAPER_TASKS) if number != 50]
    write_release(release, {name: task_record(items(3)) for name in names}, test=[SUMS, "task060_y", *names])
    assert list(convert(release, tmp_path / "a", test_tasks="paper")["tasks"]["test"]) == [SUMS, *names]
    with pytest.raises(DataError, match=r"1 of the 21 test tasks have no file \(task060_y\); .*--allow-missing"):
        convert(release, tmp_path / "b")
    (release / "tasks" / f"{names[3]}.json").unlink()
    with pytest.raises(DataError, match=rf"1 of the 20 test tasks have no file \({names[3]}\)"):
        convert(release, tmp_path / "b", test_tasks="paper")
    manifest = convert(release, tmp_path / "b", test_tasks="paper", allow_missing=True)
    assert manifest["missing"] == [names[3]] and len(manifest["tasks"]["test"]) == 19


def test_missing_files_are_one_clear_line(release, tmp_path):
    with pytest.raises(
        DataError, match=r"missing; get it from https://github.com/allenai/natural-instructions/archive"
    ):
        convert(tmp_path, tmp_path / "out")
    with pytest.raises(DataError, match="1 of the 1 test tasks have no file, so none is left"):
        convert(release, tmp_path / "out", test_tasks=("task999",), allow_missing=True)
    write_release(release, {}, test=["tsk1"])
    with pytest.raises(DataError, match=r"test_tasks.txt:1: 'tsk1' is not the name of a task"):
        convert(release, tmp_path / "out")
    (release / "splits" / "default" / "test_tasks.txt").unlink()
    with pytest.raises(DataError, match=r"test_tasks.txt: cannot be read"):
        convert(release, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", ["natural_instructions/natural-instructions-2.8", "natural_instructions"])
def test_the_raw_folder_of_all_data_sets_will_do(release, tmp_path, place):
    folder = tmp_path / "sources" / place
    folder.parent.mkdir(parents=True)
    release.rename(folder)
    assert convert(tmp_path / "sources", tmp_path / "out")["counts"]["test"] == {"natural_instructions_test": 100}


# -- files


def test_output_does_not_depend_on_workers(release, tmp_path):
    for workers in (1, 3):
        convert(release, tmp_path / str(workers), workers=workers, positive_examples=1)
    for name in ("train.jsonl", "valid.jsonl", "test.jsonl", "manifest.json"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "3" / name).read_bytes()


def test_finished_output_is_kept_and_other_settings_are_refused(release, tmp_path):
    manifest = convert(release, tmp_path / "out")
    before = (tmp_path / "out" / "train.jsonl").stat().st_mtime_ns
    assert convert(release, tmp_path / "out", allow_missing=True) == manifest
    assert (tmp_path / "out" / "train.jsonl").stat().st_mtime_ns == before
    with pytest.raises(DataError, match=r"max_per_task 100, now 10\); delete the folder or give another --out"):
        convert(release, tmp_path / "out", max_per_task=10)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_that_stops_leaves_no_half_file_and_can_be_repeated(release, tmp_path, workers):
    good = (release / "tasks" / f"{SUMS}.json").read_bytes()
    (release / "tasks" / f"{SUMS}.json").write_bytes(good[:-100])
    with pytest.raises(DataError, match=rf"{SUMS}.json: not in the official format"):
        convert(release, tmp_path / "out", workers=workers)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["manifest.json"]
    (release / "tasks" / f"{SUMS}.json").write_bytes(good)
    assert convert(release, tmp_path / "out")["complete"] and len(read(tmp_path / "out", "test")) == 100


def test_malformed_tasks_name_file_and_field(tmp_path):
    path = tmp_path / "task001_x.json"
    for change, message in (
        ({"Instances": [{"input": "a", "output": "b"}]}, r"task001_x.json.*`\$.Instances\[0\].output`"),
        ({"Input_language": "English"}, r"Input_language"),
    ):
        path.write_text(json.dumps(task_record([]) | change))
        with pytest.raises(DataError, match=message):
            read_task(path)
    record = task_record([])
    del record["Definition"]
    path.write_text(json.dumps(record))
    with pytest.raises(DataError, match="missing required field `Definition`"):
        read_task(path)


def test_debris_of_bad_conversions_is_removed_and_counted(release, tmp_path):
    instances = [
        {"id": "half", "input": "half \ud83d", "output": ["y\x80"]},
        {"id": "good", "input": "a\tb \U0001f600", "output": ["caf\u00e9\r\n"]},
        {"id": "only", "input": "z", "output": ["\x85\x07"]},
    ]
    record = task_record(instances, Definition=["Do\x00 it.", "\x99"])
    (release / "tasks" / f"{SUMS}.json").write_text(json.dumps(record))
    manifest = convert(release, tmp_path / "out")
    half, good = read(tmp_path / "out", "test")
    assert (half.text, half.target, half.context) == (("half",), ("y",), (("Do it.",),))
    assert (good.text, good.target) == (("a\tb \U0001f600",), ("caf\u00e9",))
    assert manifest["repaired"] == {SUMS: 1} and manifest["no_answer"] == {SUMS: 1}


def test_a_task_without_a_definition_is_an_error(release, tmp_path):
    write_release(release, {SUMS: task_record(items(3), Definition=[" "])})
    with pytest.raises(DataError, match=rf"{SUMS}.json: Definition is empty"):
        convert(release, tmp_path / "out")


def test_options_are_checked():
    with pytest.raises(ConfigError, match="--eval-per-task -1: must be at least 0"):
        ImportOptions(eval_per_task=-1)
    with pytest.raises(ConfigError, match="--valid-fraction 1"):
        ImportOptions(valid_fraction=1)
    with pytest.raises(ConfigError, match="add --positive-examples or --negative-examples"):
        ImportOptions(explanations=True)


def test_command(release, tmp_path, capsys):
    command = ["data", "natural-instructions", "--raw", str(release), "--out", str(tmp_path / "out")]
    assert cli.main([*command, "--test-tasks", "papers"]) == 2
    assert "--test-tasks papers: is neither official nor paper nor a file of names" in capsys.readouterr().err
    (tmp_path / "mine.txt").write_text(f"task002\n{SUMS}\n")
    assert cli.main([*command, "--test-tasks", str(tmp_path / "mine.txt"), "--max-per-task", "20", "--seed", "3"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"{tmp_path}/out/train.jsonl: 20 instances of 1 tasks"
    assert printed[3:] == [
        "training tasks: 1, listed in train_tasks.txt",
        "test tasks: 2",
        f"1 tasks left out, not in English: {FRENCH}",
    ]


# -- the released files


@pytest.fixture(scope="module")
def imported(shared_data, tmp_path_factory):
    out = tmp_path_factory.mktemp("natural_instructions")
    options = ImportOptions(allow_missing=True, positive_examples=2, negative_examples=1, explanations=True)
    return out, natural_instructions.convert(shared_data, out, options)


def test_real_tasks(imported, shared_data):
    out, manifest = imported
    counts = {split: sum(tasks.values()) for split, tasks in manifest["counts"].items()}
    assert counts == {"train": 18_905, "valid": 386, "test": 400}
    assert len(manifest["tasks"]["train"]) == 193 and len(manifest["missing"]) == 115
    assert manifest["not_english"] == [] and manifest["no_answer"] == {}
    assert manifest["repaired"] == {"task1437_doqa_cooking_question_generation": 3}
    instances = [instance for split in counts for instance in read(out, split)]
    assert len({instance.unique_id for instance in instances}) == 19_691
    assert all(source(instance).endswith(f"Input: {instance.text[0]} Output:") for instance in instances)
    title = read_task(
        shared_data / "natural_instructions" / "tasks" / "task219_rocstories_title_answer_generation.json"
    )
    test = [i for i in instances if i.meta_data["task"].startswith("task219_")]
    assert [i.text[0] for i in test] == [item.input.strip() for item in title.instances[:100]]
    assert all(i.context[0] == (title.definition[0].strip(),) for i in test)


def test_papers_tasks_in_the_real_list(shared_data, tmp_path):
    with pytest.raises(DataError, match=r"18 of the 20 test tasks have no file \(task1624_disfl_qa_question_yesno_"):
        convert(shared_data, tmp_path / "out", test_tasks="paper")
    manifest = convert(shared_data, tmp_path / "out", test_tasks="paper", allow_missing=True)
    present = ["task393_plausible_result_generation", "task670_ambigqa_question_generation"]
    assert manifest["tasks"]["test"] == dict.fromkeys(present, 100)
    assert len(manifest["missing"]) == 18 and all("_" in name for name in manifest["missing"])  # all numbers are known
    assert not any(name.startswith(("task121_", "task219_")) for name in manifest["tasks"]["train"])


# -- batches


def test_the_image_tower_runs_for_the_images_of_a_mixed_batch_only(release, tmp_path, monkeypatch):
    """Two text-only instances and one with an image: the tower sees one image, and with black images three."""
    convert(release, tmp_path / "ni")
    (tmp_path / "mi").mkdir()
    Image.new("RGB", (40, 30), "red").save(tmp_path / "mi" / "red.png")
    record = {"unique_id": "q", "task_name": "easy_vqa", "image_path": "red.png", "image_size": [40, 30]}
    record |= {"question": "what colour?", "target_txt": "red"}
    (tmp_path / "mi" / "train.jsonl").write_text(json.dumps(record) + "\n")
    encoder = PromptEncoder(
        Vocabulary.load(), RegionCodec(num_bins=1000, max_image_size=512, patch_image_size=32), max_src_length=64
    )
    stores = [open_store(tmp_path / name, "train") for name in ("mi", "ni")]
    model = build_model("ofa_nano", len(encoder.vocabulary), **SMALL).eval()
    seen = []
    tower = model.encoder.embed_images.forward
    monkeypatch.setattr(model.encoder.embed_images, "forward", lambda x: seen.append(len(x)) or tower(x))
    for black_image, images in ((False, 1), (True, 3)):
        options = DatasetOptions(tasks=("easy_vqa", "natural_instructions"), black_image=black_image)
        dataset = MultiInstructDataset(stores, default_registry(), encoder, ImageTransform(32), options)
        batch = dataset.collater([dataset[index] for index in (0, 1, 2)])
        with torch.no_grad():
            logits, _ = model(**{k: v for k, v in batch["net_input"].items() if k != "output_mask"})
        assert logits.isfinite().all() and seen.pop() == images and not seen
