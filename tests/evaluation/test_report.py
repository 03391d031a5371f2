"""Reports: complete in one file, the same every time, and safe whatever text a data set holds."""

import csv
import json
import re
import shutil
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from ofa_mi.errors import ConfigError, DataError
from ofa_mi.evaluation.examples import choose_examples, example_image, is_right
from ofa_mi.evaluation.plots import Curve, read_training_log
from ofa_mi.evaluation.predictions import read_predictions
from ofa_mi.evaluation.report import build_report, format_table
from ofa_mi.evaluation.runner import EvaluationOptions, evaluate
from ofa_mi.evaluation.scoring import read_scores, score_run, summarise
from ofa_mi.evaluation.tables import build_tables
from tests.evaluation.fake import FakePredictor

LOG = """\
2026-01-01 | INFO | fairseq.tasks | {not json
2026-01-01 | INFO | train_inner | {"epoch": 1, "update": 0.5, "loss": "5.5", "num_updates": "10"}
2026-01-01 | INFO | train_inner | {"epoch": 1, "update": 1.0, "loss": "9.9", "num_updates": "20"}
2026-01-01 | INFO | valid | {"epoch": 1, "valid_loss": "4.5", "valid_score": "12.5", "valid_num_updates": "20"}
2026-01-01 | INFO | train_inner | {"epoch": 1, "update": 1.0, "loss": "5.0", "num_updates": "20"}
"""


@pytest.fixture(scope="module")
def runs(data_dir, tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    for name, mode in (("untuned", "generate"), ("tuned", "constrained")):
        options = EvaluationOptions(tasks=("all",), mode=mode)
        evaluate(FakePredictor(), [data_dir], root / name, options, progress=False)
    # The same fake answers in both would make a dull comparison: the tuned run gets every entailment right.
    path = root / "tuned" / "predictions.jsonl"
    records = [_right(r) if r.task == "visual_entailment" else r for r in read_predictions(path)]
    path.write_bytes(b"".join(record.to_json() for record in records))
    score_run(root / "tuned")
    return {name: root / name for name in ("untuned", "tuned")}


def _right(record):
    return replace(record, prediction=replace(record.prediction, text=record.references[0]))


@pytest.fixture(scope="module")
def report(runs, tmp_path_factory):
    root = tmp_path_factory.mktemp("report")
    (root / "log").write_text(LOG)
    build_report(
        runs, root / "report.html", title="A <b>title", notes=["a & b"], training_curves={"tuning": root / "log"}
    )
    return root / "report.html"


class Page(HTMLParser):
    """Collects what a page refers to, and checks that elements are closed in order."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self, text):
        super().__init__()
        self.references, self.open, self.tags = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.references += [value for name, value in attributes if name in ("src", "href", "xlink:href", "action")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_a_report_is_one_file_that_loads_nothing(report):
    page = Page(report.read_text())
    assert not {"script", "link", "iframe"} & set(page.tags)
    assert page.references
    assert all(ref.startswith("data:image/jpeg;base64,") or ref.startswith("#") for ref in page.references)
    assert "url(http" not in report.read_text()


def test_a_report_shows_runs_tasks_and_examples(report):
    text = report.read_text()
    assert "A &lt;b&gt;title" in text
    assert "a &amp; b" in text
    assert (
        text.index("Zero-shot tasks") < text.index("Trained tasks") < text.index("Training<") < text.index("Examples<")
    )
    assert text.count("<svg") == 4  # two kinds of tasks, loss and score
    assert text.count("<img") == sum(
        text.count(f"<dt>{task}/")
        for task in (
            "nlvr",
            "visual_entailment",
            "grounded_vqa",
            "visual_text_extraction",
            "color_understanding",
            "visual_grounding",
        )
    )


def test_plots_are_well_formed_and_take_the_pages_ink(report):
    for svg in re.findall(r"<svg.*?</svg>", report.read_text(), re.DOTALL):
        element = ElementTree.fromstring(svg)
        assert "width" not in element.attrib
        assert "currentColor" in svg
        used = set(re.findall(r'xlink:href="#([^"]+)"|url\(#([^)]+)\)', svg))
        defined = set(re.findall(r' id="([^"]+)"', svg))
        assert {a or b for a, b in used} <= defined


def test_a_report_is_the_same_every_time(report, runs, tmp_path):
    build_report(
        runs,
        tmp_path / "report.html",
        title="A <b>title",
        notes=["a & b"],
        training_curves={"tuning": report.with_name("log")},
    )
    for suffix in (".html", ".md", ".csv"):
        assert (tmp_path / f"report{suffix}").read_bytes() == report.with_suffix(suffix).read_bytes()


def test_csv_and_markdown_hold_the_scores(report, runs):
    scores = read_scores(runs["tuned"])
    rows = {(r["run"], r["task"], r["metric"]): r for r in csv.DictReader(report.with_suffix(".csv").open())}
    for task, entry in scores["tasks"].items():
        for metric, values in entry["metrics"].items():
            assert float(rows["tuned", task, metric]["mean"]) == pytest.approx(values["mean"], abs=1e-4)
    aggregated = [r for r in csv.DictReader(report.with_suffix(".csv").open()) if r["task"] == "(aggregated)"]
    assert [(r["run"], r["section"]) for r in aggregated] == [
        (run, section) for section in ("zero_shot", "trained") for run in ("untuned", "tuned")
    ]
    mean = scores["zero_shot"]["aggregated"]
    assert f"{mean:.2f}" in report.with_suffix(".md").read_text()
    assert f"{mean:.2f}" in format_table({"tuned": scores})


def test_text_of_a_data_set_cannot_become_markup(runs, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    (out / "run.json").write_bytes((runs["tuned"] / "run.json").read_bytes())
    record = next(read_predictions(runs["tuned"] / "predictions.jsonl"))
    bad = replace(record, prompt="<script>alert(1)</script>", unique_id="'><script>", references=("<i>",))
    (out / "predictions.jsonl").write_bytes(bad.to_json())
    score_run(out)
    build_report({"<script>": out}, tmp_path / "report.html")
    page = Page((tmp_path / "report.html").read_text())
    assert "script" not in page.tags
    assert "i" not in page.tags


def test_examples_are_as_many_right_as_wrong_and_do_not_depend_on_the_other_tasks(runs):
    examples = choose_examples(runs, count=2)
    for task in {example.record.task for example in examples}:
        chosen = [example for example in examples if example.record.task == task]
        expected = (
            [True, True] if task == "visual_entailment" else [False, False] if task == "visual_grounding" else None
        )
        assert [e.right for e in chosen] == (expected or sorted((e.right for e in chosen), reverse=True))
        assert all(e.right == is_right(e.record) and list(e.answers) == ["untuned", "tuned"] for e in chosen)
    fewer = choose_examples(runs, count=1)
    assert {example.record.key for example in fewer} < {example.record.key for example in examples}


def test_a_wrong_option_is_wrong_however_similar_it_is(runs):
    record = next(read_predictions(runs["tuned"] / "predictions.jsonl"))
    assert not is_right(replace(record, scores={"rouge_l": 75.0, "accuracy": 0.0}))
    assert is_right(replace(record, scores={"rouge_l": 75.0}))


def test_a_report_can_be_made_without_the_images(runs, tmp_path):
    run = json.loads((runs["tuned"] / "run.json").read_text())
    run["notes"]["data"] = [str(tmp_path / "gone")]
    (tmp_path / "tuned").mkdir()
    for path in runs["tuned"].iterdir():
        (tmp_path / "tuned" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "tuned" / "run.json").write_text(json.dumps(run))
    build_report({"tuned": tmp_path / "tuned"}, tmp_path / "report.html")
    assert "<img" not in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("absolute", [True, False])
def test_a_report_shows_no_image_from_outside_the_data_directory(runs, data_dir, tmp_path, absolute):
    (example, *_) = (e for e in choose_examples(runs, count=1) if e.record.image_path is not None)
    assert example_image(example, [data_dir]) is not None
    (tmp_path / "inside").mkdir()
    shutil.copy(data_dir / example.record.image_path, tmp_path / "outside.png")
    path = str(tmp_path / "outside.png") if absolute else "../outside.png"
    escaping = replace(example, record=replace(example.record, image_path=path))
    assert example_image(escaping, [tmp_path / "inside"]) is None


def test_what_is_not_a_run_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="ofa-mi score"):
        build_report({"a": tmp_path}, tmp_path / "report.html")
    with pytest.raises(ConfigError, match="at least one run"):
        build_report({}, tmp_path / "report.html")


def test_runs_that_do_not_compare_are_said_not_to():
    metric = {"scores": [0.0, 0.0], "mean": 0.0, "max": 0.0, "deviation": 0.0, "chance": None, "majority": None}

    def scores(instances, tasks):
        entry = {
            "group": "g",
            "split": "eval",
            "version": 1,
            "metric": "accuracy",
            "instances": instances,
            "instructions": [0, 1],
            "metrics": {"accuracy": metric},
        }
        total = {"tasks": tasks, "aggregated": 0.0, "sensitivity": None, "left_out": {tasks[0]: "its mean is 0"}}
        return {"tasks": dict.fromkeys(tasks, entry), "zero_shot": total}

    (table,) = build_tables({"one": scores(10, ["a", "b"]), "two": scores(20, ["a"])})
    remarks = " ".join(table.remarks)
    assert "one: not counted for sensitivity: a (its mean is 0)." in remarks
    assert "not evaluated on the same tasks" in remarks
    assert "a: the runs were evaluated on different numbers of instances" in remarks
    assert [row.cells[1] is None for row in table.rows] == [False, True]


def test_tasks_beside_the_benchmark_are_in_no_total_and_named():
    def entry(mean, **changes):
        metric = {"scores": [mean - 1, mean + 1], "mean": mean, "max": mean + 1, "deviation": 2**0.5}
        task = {"group": "commonsense", "split": "eval", "version": 1, "metric": "accuracy", "instances": 9}
        metrics = {"accuracy": metric | {"chance": None, "majority": None}}
        return task | {"instructions": [0, 1], "metrics": metrics} | changes

    tasks = {
        "damage_severity_classification": entry(10.0, group="extra"),
        "natural_instructions_test": entry(20.0, group="natural_instructions"),
        "nlvr": entry(60.0),
        "zoo": entry(40.0, group="animals"),
    }
    total = summarise(tasks)
    assert total["tasks"] == list(tasks) and total["aggregated"] == 40.0
    assert total["not_aggregated"] == ["damage_severity_classification"]
    assert total["sensitivity"] == pytest.approx(100 * 2**0.5 * (1 / 20 + 1 / 60 + 1 / 40) / 3)
    (table,) = build_tables({"one": {"tasks": tasks, "zero_shot": total}})
    assert "one: beside the benchmark, so in neither total: damage_severity_classification." in table.remarks
    assert table.counted == ((3, 3),) and len(table.rows) == 4

    only_extra = summarise({"damage_severity_classification": entry(10.0, group="extra")})
    assert only_extra["aggregated"] is only_extra["sensitivity"] is None
    trained = summarise({"easy_vqa": entry(70.0, group="extra", split="train")})
    assert trained["aggregated"] == 70.0 and trained["not_aggregated"] == []


def test_training_log(tmp_path):
    (tmp_path / "log").write_text(LOG)
    curves = read_training_log(tmp_path / "log")
    # The run was resumed before update 20, so the later line counts.
    assert curves["loss"]["training"] == Curve((10, 20), (5.5, 5.0))
    assert curves["loss"]["validation"] == Curve((20,), (4.5,))
    assert curves["score"] == {"validation": Curve((20,), (12.5,))}
    (tmp_path / "log").write_text("nothing here")
    with pytest.raises(DataError, match="holds no loss"):
        read_training_log(tmp_path / "log")
