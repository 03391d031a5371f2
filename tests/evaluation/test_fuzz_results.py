"""Files of an evaluation, mutated: what reads them, and all that works with what was read, ends in our errors only.

Every reader is followed by what shows its content, since a value of a wrong type does its harm there.
"""

import json
import logging
import shutil

import pytest

from ofa_mi.document.html import to_html
from ofa_mi.document.markdown import to_markdown
from ofa_mi.errors import DataError
from ofa_mi.evaluation.asking import run as asking
from ofa_mi.evaluation.attention import analysis as attention_analysis
from ofa_mi.evaluation.attention import summary as attention_summary
from ofa_mi.evaluation.attention.plots import share_figure
from ofa_mi.evaluation.formats import read_comparison
from ofa_mi.evaluation.predictions import PredictionWriter, read_predictions, write_sorted
from ofa_mi.evaluation.report import ReportOptions, build_report
from ofa_mi.evaluation.report.examples import answer_text, score_pair, truth_text
from ofa_mi.evaluation.report.sections.attention import attention
from ofa_mi.evaluation.report.sections.seeds import comparisons
from ofa_mi.evaluation.report.sections.training import training
from ofa_mi.evaluation.report.study import Study, read_attention
from ofa_mi.evaluation.report.training import read_training_log
from ofa_mi.evaluation.scoring.comparison import compare_runs
from ofa_mi.evaluation.scoring.scores import score_run
from tests.evaluation.fake_study import make_images, write_log, write_run
from tests.fuzzing import fuzz, mutate_bytes, mutate_json, mutate_json_lines

TASKS = ("grounded_vqa", "nlvr", "commonsense_vqa")
JSON = (mutate_json, mutate_json, mutate_json, mutate_bytes)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A scored run of three tasks with two instructions each."""
    root = tmp_path_factory.mktemp("fuzz")
    data = make_images(root / "data", 2)
    return write_run(root / "run", data, "OFA", per_task=2, tasks=TASKS, instructions=2)


@pytest.fixture
def copied(run, tmp_path):
    """Returns a copy of the run with another content of one file."""

    def copy(name, content, target="copy"):
        folder = shutil.copytree(run, tmp_path / target, dirs_exist_ok=True)
        (folder / name).write_bytes(content)
        return folder

    logging.disable(logging.WARNING)
    yield copy
    logging.disable(logging.NOTSET)


def shown(blocks):
    """Blocks as they are written."""
    for block in blocks:
        to_html(block)
        to_markdown(block)


def names(path):
    def check(error):
        assert str(path) in str(error), f"does not name {path.name}: {error}"

    return check


def test_fuzz_predictions(run, copied, tmp_path):
    path = tmp_path / "copy" / "predictions.jsonl"

    def read(content):
        copied("predictions.jsonl", content)
        for record in read_predictions(path):
            record.to_json()
            assert record.key and record.image_key and record.truth and record.conditions and record.language
            assert [answer_text(record), truth_text(record), score_pair(record)]
        write_sorted([path], tmp_path / "sorted")
        with PredictionWriter(path):
            pass

    content = (run / "predictions.jsonl").read_bytes()
    examples = [content, b"".join(content.splitlines(keepends=True)[:2])]
    fuzz("predictions", examples, [*JSON, mutate_json_lines, mutate_json_lines], read, check=names(path))


def test_fuzz_scoring(run, copied, tmp_path):
    """Predictions are scored, compared and shown."""

    def read(content):
        folder = copied("predictions.jsonl", content)
        score_run(folder)
        compare_runs(run, folder, permutations=50, replicates=50)
        build_report(ReportOptions(runs=[("OFA", folder)], examples=1), tmp_path / "report")

    fuzz("scoring", [(run / "predictions.jsonl").read_bytes()], [mutate_json_lines], read)


@pytest.mark.parametrize("name", ["scores.json", "run.json"])
def test_fuzz_reports(run, copied, tmp_path, name):
    data = run.parent / "data"
    blind = tmp_path / "blind"
    write_run(blind, data, "OFA", per_task=2, tasks=TASKS, instructions=2, condition=(("image", "none"),))
    other = write_run(tmp_path / "other", data, "TaskName", per_task=2, tasks=TASKS)

    def read(content):
        runs = [("OFA", copied(name, content)), ("OFA", blind), ("TaskName", other)]
        build_report(ReportOptions(runs=runs, examples=0, published=True), tmp_path / "report")

    fuzz(name, [(run / name).read_bytes()], JSON, read, check=names(tmp_path))


def test_fuzz_resumed_runs(run, copied):
    settings = json.loads((run / "run.json").read_bytes())["settings"]

    def read(content):
        asking._start_run(copied("run.json", content), settings, {})

    fuzz("run.json of a resumed run", [(run / "run.json").read_bytes()], JSON, read)


def test_fuzz_comparisons(run, tmp_path):
    shutil.copytree(run, tmp_path / "other")
    comparison = compare_runs(run, tmp_path / "other", permutations=50, replicates=50)
    path = tmp_path / "comparison.json"

    def read(content):
        path.write_bytes(content)
        shown(comparisons([read_comparison(path)], {str(run): "OFA"}))

    fuzz("comparisons", [json.dumps(comparison).encode()], JSON, read, check=names(path))


def measured(layers=2, patches=3):
    """What ``ofa-mi attention`` keeps of a checkpoint."""
    names = [{"task": task, "unique_id": str(n), "instruction_id": f"{task}/1"} for task in TASKS for n in range(2)]
    questions = [name | {"text_tokens": 5 + n, "shares": [0.25, 0.1 * n]} for n, name in enumerate(names)]
    maps = [names[0] | {"prompt": "where?", "attention": [[0.1] * patches] * layers}]
    settings = {"checkpoint": "0123", "seed": 1, "tasks": {"nlvr": {"version": 1, "instructions": ["a"]}}}
    return {
        **{"format": attention_summary.FORMAT, "settings": settings, "layers": layers, "patches": patches},
        **{"questions": questions, "heat_maps": maps},
    }


SELECTION = {"settings": {"seed": 1}, "text_only": 1}


def test_fuzz_measurements(tmp_path):
    path, good = tmp_path / "OFA.json", measured()

    def read(content):
        path.write_bytes(content)
        found = attention_analysis._read(path, good["settings"], 1)
        result = attention_summary.summarise({"a": good, "b": found}, {"a": path, "b": path}, **SELECTION)
        attention_summary.csv_table(result)
        share_figure(result["checkpoints"], "attention")

    fuzz("measurements", [json.dumps(good).encode()], JSON, read, check=names(path))


def test_fuzz_attention(run, tmp_path):
    path = tmp_path / "attention.json"
    checkpoints = {"OFA": measured(), "tuned": measured()}
    result = attention_summary.summarise(checkpoints, dict.fromkeys(checkpoints, path), **SELECTION)
    image = next((run.parent / "data" / "images").iterdir())
    shutil.copy(image, tmp_path / "1.png")
    result["heat_maps"] = [{"file": "1.png", "task": "nlvr", "unique_id": "1", "prompt": "where?"}]

    def read(content):
        path.write_bytes(content)
        shown(attention(Study(attention=[read_attention(path)])))

    fuzz("attention", [json.dumps(result).encode()], JSON, read, check=names(path))


def test_fuzz_logs(tmp_path):
    """A damaged entry costs nothing but itself: the only error is that there is no loss at all."""
    path = tmp_path / "log"
    content = write_log(path, updates=200).read_bytes()

    def read(content):
        path.write_bytes(content)
        log = read_training_log(path)
        shown(training(Study(logs=[("OFA", log), ("OFA", log)])))

    def check(error):
        assert "holds no loss" in str(error), "is not about the whole file"

    logging.disable(logging.WARNING)
    try:
        fuzz("logs", [content], [mutate_bytes, mutate_json_lines, mutate_entry], read, check=check)
    finally:
        logging.disable(logging.NOTSET)


def mutate_entry(content, random):
    """One change to the JSON behind the words of a line."""
    lines = content.split(b"\n")
    place = random.randrange(len(lines))
    start = max(lines[place].find(b"{"), 0)
    lines[place] = lines[place][:start] + mutate_json(lines[place][start:], random)
    return b"\n".join(lines)


def test_a_missing_measurement_of_a_heat_map_is_noticed(tmp_path):
    path = tmp_path / "OFA.json"
    path.write_text(json.dumps(measured()))
    with pytest.raises(DataError, match="holds 1 heat maps instead of 2"):
        attention_analysis._read(path, measured()["settings"], 2)
