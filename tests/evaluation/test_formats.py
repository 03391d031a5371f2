"""Files of a run that contradict themselves, each with the line that a user sees."""

import json

import pytest

from ofa_mi.errors import ConfigError, DataError, OfaMiError
from ofa_mi.evaluation.formats import read_attention_file, read_comparison, read_measurement
from ofa_mi.evaluation.report.study import Run
from ofa_mi.evaluation.scoring.scores import read_scores
from tests.evaluation.fake_study import make_images, write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("formats")
    return write_run(root / "run", make_images(root, 1), "OFA", per_task=1, tasks=("nlvr",), instructions=2)


def changed(run, tmp_path, name, change):
    """A copy of the run with a changed file."""
    for file in ("scores.json", "run.json"):
        content = json.loads((run / file).read_bytes())
        if file == name:
            change(content)
        (tmp_path / file).write_text(json.dumps(content))
    return tmp_path


def metric(scores):
    return scores["tasks"]["nlvr"]["metrics"]["accuracy"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: metric(s).update(mean=None), r"Expected `float`, got `null` - at `\$\.tasks\[\.\.\.\]\.metrics"),
        (lambda s: metric(s).update(mean=float("nan")), "JSON is malformed"),
        (lambda s: metric(s).update(mean=1e300), "Expected `float` <= 1000000000000.0"),
        (lambda s: metric(s).update(interval=[1]), "Expected `array` of length >= 2"),
        (lambda s: metric(s).update(scores=[50.0]), "task nlvr: accuracy has 1 scores for 2 instructions"),
        (lambda s: metric(s).pop("chance"), "Object missing required field `chance`"),
        (lambda s: s["tasks"]["nlvr"].update(metric="iou"), "task nlvr: lacks its metric iou"),
        (lambda s: s["tasks"]["nlvr"].update(instructions=[1, 1]), "task nlvr: an instruction is there twice"),
        (lambda s: s["tasks"]["nlvr"]["metrics"].update(nonsense=metric(s)), "task nlvr: unknown metric nonsense"),
        (lambda s: s["zero_shot"].update(tasks=["iou"]), "zero_shot: names a task twice, or one that is not there"),
        (lambda s: s["zero_shot"].update(left_out={"iou": "a"}), "zero_shot: leaves out a task that it does not name"),
        (lambda s: s["conditions"].update(image="none!"), "Invalid enum value 'none!'"),
        (lambda s: s["conditions"].update(perturb="typos", prompt_style="task-name"), "perturb typos changes instr"),
        (lambda s: s.update(tasks=[]), r"Expected `object`, got `array` - at `\$\.tasks`"),
        (lambda s: s.update(rules=[1]), "was computed by the rules of another version"),
    ],
)
def test_a_file_of_scores_that_cannot_be_one_is_refused(run, tmp_path, change, message):
    with pytest.raises(OfaMiError, match=message) as error:
        read_scores(changed(run, tmp_path, "scores.json", change))
    assert str(tmp_path / "scores.json") in str(error.value) and f"`ofa-mi score {tmp_path}`" in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.update(settings=[]), r"Expected `object`, got `array` - at `\$\.settings`"),
        (lambda r: r["settings"].update(checkpoint=["a"]), r"settings: .*Expected `str \| null`, got `array`"),
        (
            lambda r: r["settings"]["options"].update(instructions="all"),
            "Expected `array.*` - at `..options.instructions`",
        ),
        (lambda r: r["notes"].update(data="here"), r"notes: .*Expected `array`, got `str` - at `\$\.data`"),
        (lambda r: r["notes"].update(data=["a\0b"]), "matching regex"),
        (lambda r: r["settings"].update(more=nested(40)), "nested more than 30 levels deep"),
    ],
)
def test_settings_that_cannot_be_those_of_a_run_are_refused(run, tmp_path, change, message):
    with pytest.raises(DataError, match=message) as error:
        Run.read(changed(run, tmp_path, "run.json", change))
    assert str(tmp_path / "run.json") in str(error.value)


def nested(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("name", ["scores.json", "run.json"])
@pytest.mark.parametrize("content", [b"", b"[", b"{}", b"\xff", b'{"a": "\\ud800"}', b"[" * 100_000, b'{"rules": NaN}'])
def test_what_is_no_json_of_a_run_is_refused(run, tmp_path, name, content):
    changed(run, tmp_path, "", None)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(OfaMiError, match=name):
        Run.read(tmp_path)


def test_keys_that_nobody_reads_are_no_obstacle_and_settings_keep_theirs(run, tmp_path):
    changed(run, tmp_path, "run.json", lambda content: content["settings"].update(new={"a": [1]}))
    assert Run.read(tmp_path).settings["new"] == {"a": [1]}
    changed(run, tmp_path, "scores.json", lambda content: content.update(new=1))
    assert Run.read(tmp_path).scores == read_scores(run)


def test_what_is_missing_is_said(run, tmp_path):
    with pytest.raises(ConfigError, match=r"scores\.json does not exist; run `ofa-mi score"):
        Run.read(tmp_path)
    with pytest.raises(DataError, match="cannot be read"):
        read_comparison(tmp_path)


@pytest.mark.parametrize("read", [read_comparison, read_attention_file, lambda path: read_measurement(path, "1")])
@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"a": 1, "b": 2}', '{"checkpoints": [], "instances": {}}'])
def test_other_files_are_refused(tmp_path, read, content):
    (tmp_path / "file.json").write_text(content)
    with pytest.raises(DataError, match=r"file\.json: (must be a file that `ofa-mi|is no measurement)"):
        read(tmp_path / "file.json")


def test_a_file_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("ofa_mi.utils.json_files.LARGEST", 1000)
    (tmp_path / "file.json").write_text("[" + " " * 2000)
    with pytest.raises(DataError, match=r"file\.json: must be a file that .*\(larger than 1,000 bytes\)"):
        read_comparison(tmp_path / "file.json")
