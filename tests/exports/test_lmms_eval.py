"""Tasks for lmms-eval: files as it reads them, by its own loader where it is installed, and this project's scores."""

import importlib.util
import json

import pytest
import yaml
from PIL import Image

from ofa_mi import cli
from ofa_mi.exports import lmms_eval_functions as functions


@pytest.fixture
def tasks(data, tmp_path):
    """Folder of the tasks of the two evaluation tasks whose instances the test split has."""
    lines = (data / "train.jsonl").read_text(encoding="utf-8").splitlines()
    with (data / "test.jsonl").open("a", encoding="utf-8") as file:
        file.write(lines[1] + "\n")
    assert cli.main(["tasks", "--lmms-eval", str(tmp_path / "tasks"), "--data", str(data)]) == 0
    return tmp_path / "tasks"


def documents(tasks, name):
    return [json.loads(line) for line in (tasks / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


class Loader(yaml.SafeLoader):
    pass


Loader.add_constructor("!function", lambda loader, node: ("function", loader.construct_scalar(node)))


def test_one_task_for_each_instruction(tasks, data, capsys):
    names = {f"{task}_{number}" for task in ("visual_entailment", "grounded_vqa") for number in range(1, 6)}
    assert {path.stem for path in tasks.glob("*.jsonl")} == names
    assert {path.stem for path in tasks.glob("*.yaml")} == {"multiinstruct"} | {f"multiinstruct_{n}" for n in names}
    group = yaml.safe_load((tasks / "multiinstruct.yaml").read_text())
    assert group["group"] == "multiinstruct" and set(group["task"]) == {f"multiinstruct_{name}" for name in names}
    task = yaml.load((tasks / "multiinstruct_grounded_vqa_2.yaml").read_text(), Loader)
    assert task["dataset_kwargs"] == {"data_files": {"test": str(tasks / "grounded_vqa_2.jsonl")}}
    assert task["doc_to_visual"] == ("function", "utils.doc_to_visual")
    assert [metric["metric"] for metric in task["metric_list"]] == ["region_accuracy"]
    questions = {documents(tasks, f"grounded_vqa_{number}")[0]["question"] for number in range(1, 6)}
    assert len(questions) == 5
    assert cli.main(["tasks", "--lmms-eval", str(tasks), "--data", str(data), "--regions", "thousandths"]) == 0
    assert "[125, 167, 258, 500]" in documents(tasks, "grounded_vqa_1")[0]["question"]  # written anew


def test_scores_are_those_of_this_project(tasks):
    (entailment,), (grounded,) = documents(tasks, "visual_entailment_1"), documents(tasks, "grounded_vqa_1")
    assert functions.scores(entailment, ["No."]) == {"accuracy": 100.0}
    assert functions.scores(entailment, ["yes"]) == functions.scores(entailment, []) == {"accuracy": 0.0}
    assert grounded["answer"] == "[8, 8, 16, 24]"
    assert functions.scores(grounded, ["The box is [8, 8, 16, 24]."]) == {"region_accuracy": 100.0}
    assert functions.scores(grounded, ["[1, 2, 30, 40]"]) == {"region_accuracy": 0.0}
    (image,) = functions.images(grounded, tasks)
    assert image.size == (64, 48) and functions.images({**grounded, "image": ""}, tasks) == []


def test_drawn_regions_are_numbers(data, tmp_path):
    (data / "test.jsonl").write_text((data / "train.jsonl").read_text(encoding="utf-8").splitlines()[1] + "\n")
    out = tmp_path / "tasks"
    assert cli.main(["tasks", "--lmms-eval", str(out), "--data", str(data), "--regions", "drawn"]) == 0
    (document,) = documents(out, "grounded_vqa_3")
    assert document["answer"] == "[2]" and functions.scores(document, ["region 2"]) == {"region_accuracy": 100.0}
    with Image.open(data / "images/2.jpg") as plain:
        assert functions.images(document, out)[0].tobytes() != plain.tobytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--lmms-eval", "OUT"), "--lmms-eval needs --data DATA"),
        (("--data", "DATA"), "--data is for --lmms-eval DIR"),
        (("--lmms-eval", "OUT", "--data", "EMPTY"), "holds no test.jsonl"),
        (("--lmms-eval", "DATA", "--data", "DATA"), "which no export has written; give a new folder"),
    ],
)
def test_what_cannot_be_written_is_one_line(data, tmp_path, capsys, options, message):
    (data / "notes.txt").write_text("mine")
    (tmp_path / "empty").mkdir()
    paths = {"OUT": tmp_path / "out", "DATA": data, "EMPTY": tmp_path / "empty"}
    before = sorted(data.rglob("*.*"))
    assert cli.main(["tasks", *(str(paths.get(word, word)) for word in options)]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert [path for path in sorted(data.rglob("*.*")) if ".ofa_mi" not in path.parts] == before


@pytest.mark.skipif(importlib.util.find_spec("lmms_eval") is None, reason="lmms-eval is not installed")
def test_lmms_evals_own_loader_reads_them(tasks, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    from lmms_eval.tasks import TaskManager, get_task_dict

    manager = TaskManager(include_path=str(tasks), include_defaults=False)
    assert len([name for name in manager.all_subtasks if name.startswith("multiinstruct_")]) == 10
    name = "multiinstruct_grounded_vqa_4"
    task = get_task_dict([name], manager)[name]
    (document,) = task.test_docs()
    assert task.doc_to_text(document) == document["question"] and task.doc_to_visual(document)[0].size == (64, 48)
    assert task.process_results(document, ["[8, 8, 16, 24]"]) == {"region_accuracy": 100.0}
    assert task.aggregation()["region_accuracy"]([100.0, 0.0]) == 50.0
