"""Reports: complete in one file, the same every time, honest about seeds, and safe whatever text a data set holds."""

import csv
import json
import re
import shutil
import statistics
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from ofa_mi.errors import ConfigError, DataError
from ofa_mi.evaluation.predictions import read_predictions
from ofa_mi.evaluation.report import ReportOptions, build_report, sections
from ofa_mi.evaluation.report.examples import MAX_BYTES, choose_examples, image_bytes, is_right, score_pair
from ofa_mi.evaluation.report.published import (
    AGGREGATED,
    INSTRAUG,
    INSTRAUG_AVERAGES,
    INSTRAUG_MEANS,
    PAPER,
    SENSITIVITY,
    PaperRow,
    paper_rows,
)
from ofa_mi.evaluation.report.sections.results import MOST_TASKS, paper_table
from ofa_mi.evaluation.report.sections.training import training
from ofa_mi.evaluation.report.study import Study, read_curves, read_strategies
from ofa_mi.evaluation.report.training import Curve, read_training_log
from ofa_mi.evaluation.scoring.scores import read_scores, score_run, summarise
from ofa_mi.evaluation.scoring.tables import build_tables, format_table
from tests.evaluation.fake_study import Fake, make_images, many_tasks, write_log, write_run, write_study

LOG = """\
2026-01-01 | INFO | fairseq.tasks | {not json
2026-01-01 | INFO | train_inner | {"epoch": 1, "update": 0.5, "loss": "5.5", "num_updates": "10"}
2026-01-01 | INFO | train_inner | {"epoch": 1, "update": 1.0, "loss": "9.9", "num_updates": "20"}
2026-01-01 | INFO | valid | {"epoch": 1, "valid_loss": "4.5", "valid_score": "12.5", "valid_num_updates": "20"}
2026-01-01 | INFO | train_inner | {"epoch": 1, "update": 1.0, "loss": "5.0", "num_updates": "20"}
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Options of a report with everything in it: six strategies, two seeds, two conditions, two ablations."""
    root = tmp_path_factory.mktemp("study")
    runs = write_study(root, seeds=2, per_task=4)
    data = root / "data"
    blind = [write_run(root / f"blind{n}", data, "MultiInstruct", n, per_task=4, condition=BLIND) for n in (1, 2)]
    runs += [("MultiInstruct", directory) for directory in blind]
    ablations = []
    for number in (5, 1):
        run = write_run(root / f"n{number}", data, f"n{number}", per_task=4, fake=Fake(0.1 * number))
        ablations.append(("num_instructions", str(number), run))
    for place, group in enumerate(("image understanding", "+ grounding")):
        run = write_run(root / f"g{place}", data, f"g{place}", per_task=4, fake=Fake(0.3 + 0.2 * place))
        ablations.append(("task_groups", group, run))
    return ReportOptions(
        runs=runs,
        ablations=ablations,
        published=True,
        logs=[("tuning", write_log(root / "a.log")), ("tuning", write_log(root / "b.log", scale=4))],
        title="A <b>title",
        notes=["a & b"],
        examples=1,
    )


BLIND = (("image", "none"),)


@pytest.fixture(scope="module")
def page(study, tmp_path_factory):
    return build_report(study, tmp_path_factory.mktemp("report"))


class Page(HTMLParser):
    """Collects what a page refers to, and checks that elements are closed in order."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self, text):
        super().__init__()
        self.references, self.open, self.tags, self.ids = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.ids += [value for name, value in attributes if name == "id"]
        self.references += [value for name, value in attributes if name in ("src", "href", "xlink:href", "action")]
        assert not any(name.startswith("on") for name, _ in attributes)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def numbers(page):
    """The CSV's values by the columns that tell them apart."""
    with page.with_name("report.csv").open() as file:
        return {
            tuple(value for name, value in row.items() if name != "value"): row["value"] for row in csv.DictReader(file)
        }


def value(found, **wanted):
    """The one value of the CSV whose columns are as wanted, and otherwise empty."""
    columns = ("source", "strategy", "seed", "condition", "curve", "place", "section", "task", "metric", "instruction")
    key = (*(str(wanted.get(name, "")) for name in columns), wanted["quantity"])
    return float(found[key])


def test_a_report_is_one_file_that_loads_nothing(page):
    text = page.read_text()
    parsed = Page(text)
    assert not {"link", "iframe", "object", "form"} & set(parsed.tags)
    assert parsed.tags.count("script") == 1 and "script-src 'sha256-" in text
    images = [reference for reference in parsed.references if not reference.startswith("#")]
    assert images and all(reference.startswith("data:image/jpeg;base64,") for reference in images)
    assert {reference[1:] for reference in parsed.references if reference.startswith("#")} <= set(parsed.ids)
    assert len(parsed.ids) == len(set(parsed.ids))
    assert "url(" not in text and "@import" not in text


def test_a_report_has_all_sections_in_order(page):
    text = page.read_text()
    assert "A &lt;b&gt;title" in text and "a &amp; b" in text
    ids = re.findall(r"<h2 id='(\w+)'>", text)
    assert ids == [
        *("results", "seeds", "sensitivity", "ablations", "instructions", "robustness", "training", "examples"),
        *("settings", "caveats", "missing"),
    ]
    assert "run <code>ofa-mi attention</code>" in text[text.index("id='missing'") :]
    markdown = page.with_name("report.md").read_text()
    assert "- Attention: run `ofa-mi attention`, and give its file by --attention" in markdown
    for title in re.findall(r"<h2 id='\w+'>([^<]+)</h2>", text):
        assert f"\n## {title}\n" in markdown


def test_figures_are_well_formed_described_and_stand_in_files(page):
    svgs = re.findall(r'<svg [^>]*class="chart".*?</svg>', page.read_text(), re.DOTALL)
    names = re.findall(r"!\[[^]]*\]\(plots/([^)]+)\)", page.with_name("report.md").read_text())
    assert len(svgs) == len(names) == len(set(names)) == len(list(page.with_name("plots").iterdir()))
    for svg, name in zip(svgs, names, strict=True):
        element = ElementTree.fromstring(svg)
        assert element[0].text and element[1].text
        assert not re.search("(fill|stroke): ?#", svg)  # colours come from the style sheet alone
        file = page.with_name("plots") / name
        assert "prefers-color-scheme: dark" in file.read_text()
        assert ElementTree.parse(file).getroot().get("viewBox") == element.get("viewBox")


def test_a_report_is_the_same_every_time(page, study, tmp_path):
    build_report(study, tmp_path)
    for file in page.parent.rglob("*.*"):
        assert (tmp_path / file.relative_to(page.parent)).read_bytes() == file.read_bytes()


def test_seeds_are_averaged_and_both_deviations_shown(page, study):
    both = [read_scores(directory) for name, directory in study.runs if name == "MixedInstruct"]
    (table,) = build_tables({"MixedInstruct": both})
    (row,) = [row for row in table.rows if row.task == "nlvr"]
    cells = [scores["tasks"]["nlvr"]["metrics"]["accuracy"] for scores in both]
    assert row.cells[0].mean == pytest.approx(statistics.fmean(cell["mean"] for cell in cells))
    assert row.cells[0].deviation == pytest.approx(statistics.fmean(cell["deviation"] for cell in cells))
    assert row.cells[0].max == pytest.approx(statistics.fmean(cell["max"] for cell in cells))
    assert row.cells[0].seed_deviation == pytest.approx(statistics.stdev(cell["mean"] for cell in cells))
    totals = [scores["zero_shot"]["aggregated"] for scores in both]
    assert table.aggregated[0].value == pytest.approx(statistics.fmean(totals))
    assert table.aggregated[0].seed_deviation == pytest.approx(statistics.stdev(totals))
    cell = f"{row.cells[0].mean:.2f} ± {row.cells[0].deviation:.2f} (max {row.cells[0].max:.2f})"
    assert f"{cell} (seeds ± {row.cells[0].seed_deviation:.2f})" in page.with_name("report.md").read_text()
    assert f"[seeds ± {row.cells[0].seed_deviation:.2f}]" in format_table({"MixedInstruct": both})


def test_csv_holds_the_numbers_of_every_seed_and_of_the_paper(page, study):
    found = numbers(page)
    directories = [directory for name, directory in study.runs if name == "SeqInstruct"]
    for seed, directory in enumerate(directories, start=1):
        scores = read_scores(directory)
        line = {"source": "here", "strategy": "SeqInstruct", "seed": seed, "condition": "plain", "section": "zero_shot"}
        total = scores["zero_shot"]["sensitivity"]
        assert value(found, **line, quantity="sensitivity") == pytest.approx(total, abs=1e-4)
        for task, entry in scores["tasks"].items():
            place = {**line, "task": task, "metric": entry["metric"]}
            for instruction, score in enumerate(entry["metrics"][entry["metric"]]["scores"], start=1):
                assert value(found, **place, instruction=instruction, quantity="score") == pytest.approx(
                    score, abs=1e-4
                )
    line = {"source": "paper", "strategy": "SeqInstruct", "condition": "plain", "section": "zero_shot"}
    assert value(found, **line, quantity="aggregated") == pytest.approx(47.83, abs=0.005)
    assert value(found, **line, task="nlvr", metric="accuracy", quantity="deviation") == 0.66
    blind = {
        "source": "here",
        "strategy": "MultiInstruct",
        "seed": 2,
        "condition": "image none",
        "section": "zero_shot",
    }
    assert 0 < value(found, **blind, quantity="aggregated") < 100
    curve = {"condition": "plain", "curve": "num_instructions", "place": 5, "section": "zero_shot"}
    assert value(found, source="paper", **curve, quantity="aggregated") == 47.82
    assert 0 < value(found, source="here", seed=1, **curve, quantity="aggregated") < 100


def test_the_papers_totals_are_those_it_prints():
    for name, total in AGGREGATED.items():
        assert PaperRow.of(name).aggregated == pytest.approx(total, abs=0.006)
    for name, total in SENSITIVITY.items():
        assert PaperRow.of(name).sensitivity == pytest.approx(total, abs=0.006)
    assert PaperRow.of("TaskName").sensitivity is None


def test_the_second_set_of_published_rows_has_the_averages_that_it_prints():
    off = {"MultiInstruct, 564 K, augmented": 45.45, "MultiInstruct, 564 K, augmented, best variant": 46.97}
    for name, means in INSTRAUG_MEANS.items():
        assert sum(means) / 9 == pytest.approx(off.get(name, INSTRAUG_AVERAGES[name]), abs=0.011), name
    rows = paper_rows(True)
    assert len(rows) == 12 and paper_rows(False) == {}
    row = rows["InstrAug: MultiInstruct, 564 K"]
    assert (row.aggregated, row.sensitivity, row.source) == (None, None, INSTRAUG)
    assert row.cells["commonsense_vqa", "accuracy"].mean == 26.84 and ("commonsense_vqa", "rouge_l") not in row.cells
    assert set(row.cells) < set(rows["MultiInstruct"].cells)


def test_the_second_set_stands_in_page_and_csv_without_totals(page):
    text = page.read_text()
    assert text.count(INSTRAUG) >= 6 and "MultiInstruct, 564 K, augmented, best variant" in text and "46.78" in text
    line = {"source": "InstrAug", "strategy": "InstrAug: OFA", "condition": "plain", "section": "zero_shot"}
    found = numbers(page)
    assert value(found, **line, task="nlvr", metric="accuracy", quantity="mean") == 53.98
    assert {key[-1] for key in found if key[0] == "InstrAug"} == {"mean"}


def test_the_papers_rows_are_marked_and_only_there_if_asked_for(page, study, tmp_path):
    text = page.read_text()
    assert text.count("paper, OFA-large") >= 6 and "45.29" in text
    out = build_report(replace(study, published=False, ablations=(), examples=0), tmp_path)
    assert "OFA-large" not in out.read_text() and "45.29" not in out.read_text()


def test_another_section_is_one_file(study, tmp_path, monkeypatch):
    (tmp_path / "number_of_runs.py").write_text(
        "from ofa_mi.document.blocks import Paragraph\n"
        "from ofa_mi.evaluation.report.section import Section\n"
        "def count(study):\n"
        "    runs = [run for strategy in study.strategies for run in strategy.runs]\n"
        "    return [Paragraph(f'{len(runs)} runs in all')] if len(runs) > 1 else []\n"
        "SECTION = Section(15, 'Runs', 'runs', count, 'give several')\n"
    )
    monkeypatch.setattr(sections, "__path__", [*sections.__path__, str(tmp_path)])
    page = build_report(replace(study, runs=study.runs[:2], ablations=(), examples=0), tmp_path / "two")
    text = page.read_text()
    assert (
        text.index("id='results'")
        < text.index("<h2 id='runs'>Runs</h2>\n<p>2 runs in all</p>")
        < text.index("id='seeds'")
    )
    assert "<a href='#runs'>Runs</a>" in text and "## Runs\n\n2 runs in all" in page.with_name("report.md").read_text()
    page = build_report(replace(study, runs=study.runs[:1], ablations=(), examples=0), tmp_path / "one")
    assert "- Runs: give several" in page.with_name("report.md").read_text()


def test_runs_of_one_name_are_seeds_parts_or_conditions(study, tmp_path):
    data = make_images(tmp_path / "data", 2)
    first = write_run(tmp_path / "first", data, "OFA", per_task=2, tasks=("nlvr", "text_vqa"))
    second = write_run(tmp_path / "second", data, "OFA", per_task=2, tasks=("visual_dialogue",))
    blind = write_run(tmp_path / "blind", data, "OFA", per_task=2, tasks=("nlvr",), condition=BLIND)
    (strategy,) = read_strategies([("OFA", first), ("OFA", second), ("OFA", blind)])
    (seed,) = strategy.seeds
    assert list(seed.scores["tasks"]) == seed.scores["zero_shot"]["tasks"] == ["nlvr", "text_vqa", "visual_dialogue"]
    means = [task["metrics"][task["metric"]]["mean"] for task in seed.scores["tasks"].values()]
    assert seed.scores["zero_shot"]["aggregated"] == pytest.approx(statistics.fmean(means))
    assert list(strategy.changed) == ["image none"]
    with pytest.raises(ConfigError, match=r"both 'OFA', ran the same checkpoint on the same task \(nlvr\)"):
        read_strategies([("OFA", first), ("OFA", first)])
    # The paper's TaskName has no instructions, and is none the less a plain run.
    assert [len(s.seeds) for s in read_strategies([run for run in study.runs if run[0] == "TaskName"])] == [2]


def test_curves_are_in_the_order_of_their_axis(study):
    curves = read_curves(study.ablations)
    assert [[point.place for point in curve.points] for curve in curves] == [
        ["1", "5"],
        ["image understanding", "+ grounding"],
    ]
    blind = next(directory for name, directory in study.runs if directory.name == "blind1")
    with pytest.raises(ConfigError, match="is a run with image none; give a plain one"):
        read_curves([("num_instructions", "1", blind)])


def test_groups_are_in_the_papers_order_whichever_are_there(study, tmp_path):
    points = [point for point in study.ablations if point[0] == "task_groups"]
    build_report(ReportOptions(ablations=points[::-1], published=True), tmp_path)
    table = (tmp_path / "report.md").read_text().partition("| groups of training tasks |")[2]
    places = [line.split("|")[1].strip() for line in table.splitlines()[2:] if line.startswith("|")]
    assert places[:3] == ["image understanding", "+ grounding", "+ matching, miscellaneous"]


def test_what_the_image_contributes(page, study):
    plain, blind = (
        statistics.fmean(
            read_scores(directory)["zero_shot"]["aggregated"]
            for name, directory in study.runs
            if name == "MultiInstruct" and directory.name.startswith("blind") == is_blind
        )
        for is_blind in (False, True)
    )
    section = page.with_name("report.md").read_text().partition("## What the image contributes")[2]
    assert f"| {plain:.2f} | {blind:.2f} | {blind - plain:+.2f} |" in section


def test_differences_in_settings_are_said(page):
    section = page.with_name("report.md").read_text().partition("## What does not compare")[2]
    assert (
        "Different styles of prompts: instruction (OFA, MultiInstruct" in section and "task-name (TaskName)" in section
    )
    assert "false (NaturalInstruct)" in section


def test_text_of_a_data_set_cannot_become_markup(study, tmp_path):
    _, origin = study.runs[0]
    out = tmp_path / "run"
    out.mkdir()
    (out / "run.json").write_bytes((origin / "run.json").read_bytes())
    record = next(read_predictions(origin / "predictions.jsonl"))
    bad = replace(record, prompt="<script>alert(1)</script> | **x**", unique_id="'><script>", references=("<i>",))
    (out / "predictions.jsonl").write_bytes(bad.to_json())
    score_run(out)
    page = build_report(ReportOptions(runs=[("<script>'\"", out)]), tmp_path / "report")
    parsed = Page(page.read_text())
    assert parsed.tags.count("script") == 1 and "alert" not in parsed.tags
    assert "&lt;script&gt;alert(1)" in page.read_text()
    markdown = page.with_name("report.md").read_text()
    assert "<script>" not in markdown and "\\| \\*\\*x\\*\\*" in markdown


def test_examples_follow_their_rules(study):
    with_instructions = ("OFA", "MultiInstruct")
    runs = [run for run in study.runs if run[0] in with_instructions and not run[1].name.startswith("blind")]
    examples = choose_examples(read_strategies(runs), count=1)
    scores = {}
    for name in with_instructions:  # of several seeds the first is shown
        first = next(directory for other, directory in runs if other == name)
        for record in read_predictions(first / "predictions.jsonl"):
            scores.setdefault(record.task, {}).setdefault(record.key, []).append(score_pair(record)[0])
    for task, questions in scores.items():
        chosen = {example.kind: example for example in examples if example.record.task == task}
        assert len({example.record.unique_id for example in chosen.values()}) == len(chosen)
        assert {"random", "best", "worst"} <= set(chosen)
        assert all(list(example.answers) == list(with_instructions) for example in chosen.values())
        shown = {chosen["random"].record.unique_id}
        gaps = {key: max(pair) - min(pair) for key, pair in questions.items() if key[2] not in shown}
        if "differ" in chosen:
            assert gaps[chosen["differ"].record.key] == max(gaps.values())
            shown.add(chosen["differ"].record.unique_id)
        means = {key: statistics.fmean(pair) for key, pair in questions.items() if key[2] not in shown}
        assert means[chosen["best"].record.key] == max(means.values())
        left = {key: mean for key, mean in means.items() if key[2] != chosen["best"].record.unique_id}
        assert left[chosen["worst"].record.key] == min(left.values())
    again = choose_examples(read_strategies(runs), count=2)
    assert {e.record.key for e in examples if e.kind == "random"} <= {e.record.key for e in again if e.kind == "random"}
    assert choose_examples(read_strategies(runs), count=0) == []


def test_a_strategy_without_instructions_stands_beside_those_with_them(study):
    runs = [run for run in study.runs if run[0] in ("OFA", "TaskName")]
    examples = choose_examples(read_strategies(runs), count=2)
    assert all(list(example.answers) == ["OFA", "TaskName"] for example in examples)
    assert len({example.record.instruction for example in examples}) > 1
    assert all(example.answers["TaskName"].unique_id == example.record.unique_id for example in examples)
    alone = choose_examples(read_strategies([run for run in runs if run[0] == "TaskName"]), count=1)
    assert {example.record.prompt_style for example in alone} == {"task-name"}


def test_a_wrong_option_is_wrong_however_similar_it_is(study):
    record = next(read_predictions(study.runs[0][1] / "predictions.jsonl"))
    assert not is_right(replace(record, scores={"rouge_l": 75.0, "accuracy": 0.0}))
    assert is_right(replace(record, scores={"rouge_l": 75.0}))


def test_images_are_small_and_from_the_data_directory_only(study, tmp_path):
    strategies = read_strategies(study.runs[:1])
    example = next(e for e in choose_examples(strategies, count=1) if e.record.image_path is not None)
    assert 0 < len(image_bytes(example)) <= MAX_BYTES
    data = tmp_path / "inside"
    data.mkdir()
    shutil.copy(f"{example.data_dirs[0]}/{example.record.image_path}", tmp_path / "outside.png")
    for path in (str(tmp_path / "outside.png"), "../outside.png"):
        escaping = replace(example, record=replace(example.record, image_path=path), data_dirs=(str(data),))
        assert image_bytes(escaping) is None
    gone = replace(example, data_dirs=(str(data),))
    assert image_bytes(gone) is None


def test_noisy_images_are_made_smaller_until_they_fit(study, tmp_path):
    example = next(iter(choose_examples(read_strategies(study.runs[:1]), count=1)))
    noise = np.random.default_rng(1).integers(0, 256, (700, 900, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    noisy = replace(example, record=replace(example.record, image_path="noise.png"), data_dirs=(str(tmp_path),))
    assert 0 < len(image_bytes(noisy)) <= MAX_BYTES


def test_significance_is_shown_with_the_names_of_the_strategies(study, tmp_path):
    runs = {
        name: next(directory for other, directory in study.runs if other == name) for name in ("OFA", "SeqInstruct")
    }
    values = {"metric": "accuracy", "instances": 4, "a": 40.0, "b": 52.5, "difference": 12.5, "interval": [1.0, 20.0]}
    total = {"a": 30.0, "b": 28.0, "difference": -2.0, "interval": None, "p": 0.4}
    comparison = {
        **{side: {"run": str(directory)} for side, directory in zip("ab", runs.values(), strict=True)},
        "remarks": ["A remark."],
        "not_compared": {"text_vqa": "other instances"},
        "zero_shot": {
            "tasks": {"nlvr": {**values, "p": 0.0004, "p_holm": 0.0036}},
            "aggregated": total,
            "sensitivity": None,
        },
    }
    (tmp_path / "c.json").write_text(json.dumps(comparison))
    options = ReportOptions(runs=list(runs.items()), comparisons=[tmp_path / "c.json"], examples=0)
    markdown = build_report(options, tmp_path / "out").with_name("report.md").read_text()
    section = markdown.partition("### SeqInstruct against OFA")[2]
    assert (
        "| nlvr (accuracy, n = 4) | 40.00 | 52.50 | +12.50 [+1.00, +20.00]".replace("[", "\\[").replace("]", "\\]")
        in section
    )
    assert "&lt; 0.001 | **0.004** |" in section
    assert "| 30.00 | 28.00 | -2.00 | 0.400 | - |" in section
    assert "A remark." in section and "Not compared: text\\_vqa (other instances)." in section


def test_attention_by_layer_and_over_images(study, tmp_path):
    def layers(*means):
        return [{"layer": i, "mean": mean, "standard_error": 0.01} for i, mean in enumerate(means, start=1)]

    def checkpoint(name, difference, *means):
        share = {"mean": statistics.fmean(means), "standard_error": None}
        values = {"share": share, "by_layer": layers(*means), "uniform": 0.6, "instances": 3}
        return {"name": name, **values, "difference": difference, "tasks": {"nlvr": values, "text_vqa": values}}

    folder = tmp_path / "attention"
    (folder / "heat_maps").mkdir(parents=True)
    Image.new("RGB", (800, 300), "white").save(folder / "heat_maps" / "1.png")
    Image.new("RGB", (800, 300), "white").save(tmp_path / "outside.png")
    shown = {"task": "nlvr", "unique_id": "n-1", "instruction_id": "nlvr/1", "prompt": "Is <it>?"}
    ratio = {"to": "OFA", "share": {"mean": -0.2, "standard_error": None, "ratio": 0.5}}
    analysis = {
        "checkpoints": [checkpoint("OFA", None, 0.5, 0.3), checkpoint("NaturalInstruct", ratio, 0.25, 0.15)],
        "instances": {"with_image": 3, "text_only_left_out": 2, "questions": 3},
        "heat_maps": [{"file": file, **shown} for file in ("heat_maps/1.png", "heat_maps/2.png", "../outside.png")],
    }
    (folder / "attention.json").write_text(json.dumps(analysis))
    page = build_report(ReportOptions(attention=[folder / "attention.json"]), tmp_path / "out")
    text, markdown = page.read_text(), page.with_name("report.md").read_text()
    Page(text)
    assert text.count("<img class='map'") == 1 and "Is &lt;it&gt;?" in text
    assert "2 heat maps are not there any more." in markdown
    assert "| 1 | 50.0 ± 1.0 | 25.0 ± 1.0 |" in markdown and "| mean | 40.0 | 20.0 |" in markdown
    assert "| ratio (to OFA) | - | 0.50 |" in markdown
    assert "2 instances without an image are left out" in markdown
    assert (page.with_name("plots") / "attention.svg").exists()
    (folder / "attention.json").write_text("[]")
    with pytest.raises(DataError, match=r"attention\.json: must be a file that `ofa-mi attention` wrote"):
        build_report(ReportOptions(attention=[folder / "attention.json"]), tmp_path / "out")


def test_scores_of_parts_of_a_task(study, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(study.runs[0][1], out)
    scores = read_scores(out)
    scores["tasks"]["nlvr"]["subsets"] = {
        "easy": {"instances": 3, "mean": 80.0},
        "hard": {"instances": 1, "mean": 12.5},
    }
    (out / "scores.json").write_text(json.dumps(scores))
    page = build_report(ReportOptions(runs=[("OFA", out)], examples=0), tmp_path / "out")
    markdown = page.with_name("report.md").read_text()
    assert "| easy (n = 3) | 80.00 |" in markdown and "| hard (n = 1) | 12.50 |" in markdown


def test_one_run_without_anything_else_says_what_is_missing(study, tmp_path):
    page = build_report(ReportOptions(runs=study.runs[:1]), tmp_path)
    missing = page.read_text().partition("id='missing'")[2]
    for what in ("Ablations", "Attention", "Training", "What the image contributes"):
        assert what in missing
    assert "One seed only: OFA" in page.read_text()


def test_an_ablation_alone_is_a_report(study, tmp_path):
    page = build_report(ReportOptions(ablations=study.ablations), tmp_path)
    assert re.findall(r"<h2 id='(\w+)'>", page.read_text())[0] == "ablations"


def test_what_is_not_a_run_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="ofa-mi score"):
        build_report(ReportOptions(runs=[("a", tmp_path)]), tmp_path / "out")
    with pytest.raises(ConfigError, match="at least one run"):
        build_report(ReportOptions(), tmp_path / "out")
    (tmp_path / "c.json").write_text('{"a": 1}')
    with pytest.raises(DataError, match=r"c\.json: must be a file that `ofa-mi compare` wrote"):
        build_report(ReportOptions(ablations=[], runs=[], attention=["x"], comparisons=[tmp_path / "c.json"]), tmp_path)


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
    assert "Totals do not compare: some runs were evaluated on other tasks than the others." in remarks
    assert "a: scores do not compare, since some runs were evaluated on other numbers of instances than" in remarks
    assert [row.cells[1] is None for row in table.rows] == [False, True]

    # What a caveat is hangs on no word of it, such as the name of a run.
    (table,) = build_tables({"compare": scores(10, ["a", "b"]), "two": scores(10, ["a", "b"])})
    assert table.remarks == table.notes and all("compare: not counted" in note for note in table.notes[:1])

    few = scores(20, ["a"])
    (table,) = build_tables({"one": scores(10, ["a", "b"]), "two": few, "three": few})
    assert table.remarks[-2:] == (
        "Totals do not compare: one was evaluated on other tasks than the others.",
        "a: scores do not compare, since one was evaluated on other numbers of instances than the others.",
    )


def test_tasks_beside_the_benchmark_are_in_no_total_and_named():
    def entry(mean, **changes):
        metric = {"scores": [mean - 1, mean + 1], "mean": mean, "max": mean + 1, "deviation": 2**0.5}
        task = {"group": "commonsense", "split": "eval", "version": 1, "metric": "accuracy", "instances": 9}
        metrics = {"accuracy": metric | {"chance": None, "majority": None}}
        return task | {"instructions": [0, 1], "metrics": metrics} | changes

    tasks = {
        "damage_severity_classification": entry(10.0, group="extra"),
        "natural_instructions_test": entry(20.0, group="natural_instructions"),
        "color_matching": entry(90.0, group="combination"),
        "nlvr": entry(60.0),
        "zoo": entry(40.0, group="animals"),
    }
    total = summarise(tasks)
    assert total["tasks"] == list(tasks) and total["aggregated"] == 40.0
    assert total["not_aggregated"] == ["damage_severity_classification", "color_matching"]
    assert total["sensitivity"] == pytest.approx(100 * 2**0.5 * (1 / 20 + 1 / 60 + 1 / 40) / 3)
    (table,) = build_tables({"one": {"tasks": tasks, "zero_shot": total}})
    assert (
        "one: beside the benchmark, so in neither total: damage_severity_classification, color_matching."
        in table.remarks
    )
    assert table.counted == ((3, 3),) and len(table.rows) == 5

    only_extra = summarise({"damage_severity_classification": entry(10.0, group="extra")})
    assert only_extra["aggregated"] is only_extra["sensitivity"] is None
    trained = summarise({"easy_vqa": entry(70.0, group="extra", split="train")})
    assert trained["aggregated"] == 70.0 and trained["not_aggregated"] == []


def test_more_tasks_than_fit_a_page_are_in_rows():
    few, many = (paper_table(many_tasks(number), {}) for number in (MOST_TASKS, 16))
    assert few.columns[:2] == ("Strategy", "Aggregated") and len(few.columns) == 3 + MOST_TASKS
    assert many.columns == ("Task", "untuned", "tuned", "chance", "majority")
    assert [row.cells[0].text for row in many.rows[:3]] == ["Aggregated", "Sensitivity", "identification of animal 0"]
    assert len(many.rows) == 2 + 16 and many.rows[2].cells[0].below == ("accuracy", "n = 100")
    as_columns = [[row.cells[place].line for row in few.rows] for place in (1, 2, 3)]
    assert [[cell.line for cell in row.cells[1:]] for row in many.rows[:3]] == as_columns
    with_paper = paper_table(many_tasks(16, ["MultiInstruct"]), paper_rows(True))
    assert with_paper.columns[1:3] == ("MultiInstruct", f"MultiInstruct\n{PAPER}")
    strategies = [f"strategy {number}" for number in range(20)]
    wide = paper_table(many_tasks(16, strategies), {})
    assert wide.columns[0] == "Strategy", "turned, it would be wider still"


def test_training_log(tmp_path):
    (tmp_path / "log").write_text(LOG)
    log = read_training_log(tmp_path / "log")
    curves = log.curves
    assert log.left_out == 0
    # The run was resumed before update 20, so the later line counts.
    assert curves["loss"]["training"] == Curve((10, 20), (5.5, 5.0))
    assert curves["loss"]["validation"] == Curve((20,), (4.5,))
    assert curves["score"] == {"validation": Curve((20,), (12.5,))}
    (tmp_path / "log").write_text("nothing here")
    with pytest.raises(DataError, match="holds no loss"):
        read_training_log(tmp_path / "log")


@pytest.mark.parametrize(
    "entry",
    [
        '{"epoch": 1, "loss": "5.',
        '"loss": "5.5", "num_updates": "30"}',
        '{"loss": null, "num_updates": "30"}',
        '{"loss": "nan", "num_updates": "30"}',
        '{"loss": 1e999, "num_updates": "30"}',
        '{"loss": "1e300", "num_updates": "30"}',
        '{"loss": [5.5], "num_updates": "30"}',
        '{"loss": ' + "9" * 400 + ', "num_updates": "30"}',
        '{"loss": "5.5", "num_updates": "inf"}',
        '{"loss": "' + "9" * 5000 + '", "num_updates": "30"}',
        '{"loss": "5.5", "num_updates": "30", "x": ' + "[" * 100_000,
        '{"loss": "5.5", "num_updates": "30", "x": "\\ud800"}',
        '{"valid_score": true, "valid_num_updates": "20"}',
    ],
)
def test_a_damaged_entry_of_a_log_is_left_out_and_counted(tmp_path, caplog, entry):
    (tmp_path / "log").write_text(f"{LOG}2026-01-01 | INFO | train_inner | {entry}\n")
    log = read_training_log(tmp_path / "log")
    assert log.left_out == 1 and log.curves["loss"]["training"] == Curve((10, 20), (5.5, 5.0))
    assert "log: 1 entries of the log are left out: damaged" in caplog.text
    figures, remark = training(Study(logs=[("tuning", log)]))
    assert figures.blocks and remark.text.startswith("tuning: 1 entries of the log are left out")


def test_a_log_without_an_end_of_line_does_not_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("ofa_mi.evaluation.report.training.LONGEST_LINE", 200)
    (tmp_path / "log").write_text(LOG + "x" * 1000 + '{"loss": "5.5", "num_updates": "30"}' + "y" * 1000)
    assert read_training_log(tmp_path / "log").left_out == 1


def test_settings_of_every_run_are_listed(page, study):
    settings = page.with_name("report.md").read_text().partition("## Settings and versions")[2]
    for _, directory in study.runs:
        assert str(directory).replace("_", "\\_") in settings
    assert json.loads((study.runs[0][1] / "run.json").read_text())["settings"]["checkpoint"][:12] in settings
