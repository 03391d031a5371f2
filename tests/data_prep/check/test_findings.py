"""Every kind of defect is found once, on its line, with a message that says what it is."""

import json

import pytest
from PIL import Image

from ofa_mi.commands.data.check import summary
from ofa_mi.data_prep.check.checking import check
from ofa_mi.data_prep.check.findings import KINDS, Findings
from ofa_mi.data_prep.check.images import check_images
from ofa_mi.data_prep.check.scan import data_files, scan
from ofa_mi.errors import DataError
from ofa_mi.instances.open import open_store
from ofa_mi.instances.store import InstanceStore
from ofa_mi.instructions.registry import default_registry
from tests.instances.test_tsv import IMAGES, ROWS, write

from .conftest import write_image


def findings_of(directory, keep=10):
    found = scan(data_files([directory]), default_registry(), keep=keep)
    check_images(found)
    return found.findings


def test_a_sound_directory_has_none(make_directory, records):
    assert len(findings_of(make_directory(records))) == 0


NOT_FOUND = "image images/5.png does not exist"
CHANGES = {
    "field": ({"txet": "x"}, "schema", "unknown field 'txet'"),
    "box": ({"region": [[2, 3, 41, 25]]}, "box", "reaches outside the 40x30 image"),
    "empty box": ({"region": [[2, 3, 2, 25]]}, "box", "empty or reversed"),
    "box in shares": ({"region": [[0.1, 0.2, 0.5, 0.9]]}, "box", "boxes are in pixels, not in shares of the image"),
    "box of a pixel": ({"region": [[0, 0, 1, 1]]}, "box", "boxes are in pixels, not in shares of the image"),
    "task": ({"task_name": "region_captoin_matching"}, "task", "unknown task 'region_captoin_matching'"),
    "missing input": ({"text": None}, "inputs", "text is missing"),
    "two regions": ({"region": [[2, 3, 20, 25], [1, 1, 2, 2]]}, "inputs", "exactly one region, region has 2"),
    "answer": ({"target_txt": "perhaps"}, "target", "not one of the options"),
    "same options": ({"options": ["yes", "no", "No."]}, "options", "options 2 and 3 are the same to a metric"),
    "one option": ({"options": ["yes"]}, "options", "has one option"),
    "empty option": ({"options": ["yes", "no", " "]}, "options", "option 3 is empty"),
    "control character": ({"text": "a bell\x07"}, "text", "control character '\\x07'"),
    "next line": ({"text": "a\x85b"}, "text", "control character '\\x85'"),
    "separator": ({"text": "one||||two"}, "text", "'||||', which marks options"),
    "marker in capitals": ({"text": "[OPTIONS]: a"}, "text", "'[OPTIONS]:', which marks options"),
    "empty reference": ({"references": ["a", "\u200b"]}, "schema", "references holds the empty answer"),
    "confidence": ({"meta_data": {"confidence": None}}, "schema", "confidence in meta_data must be a number from 0"),
    "invisible": ({"text": "\u200b"}, "text", "text is nothing but white space"),
    "white space": ({"text": "\n "}, "text", "text is nothing but white space"),
    "without an image": (
        {"task_name": "image_text_matching", "region": [], "image_path": None, "image_size": None},
        "inputs",
        "has no image, which image_text_matching asks about",
    ),
    "id": ({"unique_id": "b"}, "id", "train.jsonl:1 has the same unique_id"),
    "no image": ({"image_path": "images/5.png"}, "image", NOT_FOUND),
    "outside": ({"image_path": "../data2/1.png"}, "image", "lies outside the data directory"),
    "size": ({"image_size": [41, 30]}, "image", "images/1.png is 40x30, but image_size says 41x30"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_each_defect_is_found(make_directory, records, change):
    fields, kind, message = CHANGES[change]
    records["train"][0].update(fields)
    findings = findings_of(make_directory(records))
    assert findings.counts == {kind: 1}
    (finding,) = findings
    assert message in finding.message
    assert (finding.file, finding.line) == (0, 2 if kind == "id" else 1)


def test_line_breaks_and_tabs_are_white_space(make_directory, records):
    records["train"][0]["text"] = "two\n\tlines"
    assert len(findings_of(make_directory(records))) == 0


@pytest.mark.parametrize("line", ['{"unique_id": "x', "", '{"unique_id": "\\ud800"}'])
def test_a_line_that_is_no_json_is_counted_in(make_directory, records, line):
    records["train"].insert(0, line)
    records["train"][1]["target_txt"] = "perhaps"
    findings = findings_of(make_directory(records))
    assert [(f.kind, f.line) for f in findings] == [("line", 1), ("target", 2)]


def test_blank_lines_and_a_byte_order_mark_mean_to_the_check_what_they_mean_to_training(make_directory, records):
    records["train"] += ["", " ", ""]
    directory = make_directory(records)
    path = directory / "train.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(findings_of(directory)) == 0
    assert len(InstanceStore(path)) == len(records["train"]) - 3
    path.write_bytes(b"\n" + path.read_bytes())
    (finding,) = findings_of(directory)
    assert (finding.kind, finding.line) == ("line", 1) and "is blank" in finding.message


def test_grey_levels_that_cannot_be_used_are_found_by_the_header(make_directory, records):
    directory = make_directory(records)
    Image.new("F", (40, 30)).save(directory / "images/1.png", "TIFF")
    (finding,) = findings_of(directory)
    assert finding.kind == "image" and "images/1.png holds floating-point grey levels" in finding.message


def test_a_region_that_the_task_does_not_take(make_directory, records):
    records["test"][1]["region"] = [[1, 1, 5, 5]]
    (finding,) = findings_of(make_directory(records))
    assert finding.kind == "inputs" and "text_vqa takes no region, region has 1" in finding.message


def test_evaluation_tasks_in_train_and_ids_across_splits(make_directory, records):
    records["train"].append(records["test"][0])
    findings = findings_of(make_directory(records))
    assert findings.counts == {"split": 1, "id": 1}
    assert [(f.kind, f.file, f.line) for f in findings] == [("split", 0, 3), ("id", 2, 1)]
    assert "train.jsonl:3 has the same unique_id" in findings.of("id")[0].message


def test_a_training_task_in_test_is_no_finding(make_directory, records):
    records["test"].append({**records["train"][1], "unique_id": "f"})
    assert len(findings_of(make_directory(records))) == 0


def test_every_repeated_id_names_the_first(make_directory, records):
    first = records["train"][1]
    records["train"] += [first, first]
    findings = findings_of(make_directory(records))
    assert [(f.line, f.message.split(": ")[1][:13]) for f in findings] == [(3, "train.jsonl:2"), (4, "train.jsonl:2")]


def test_images_that_cannot_be_read(make_directory, records):
    directory = make_directory(records)
    (directory / "images/1.png").write_bytes(b"no image")
    (directory / "images/2.png").write_bytes((directory / "images/2.png").read_bytes()[:20])
    messages = [finding.message for finding in findings_of(directory)]
    assert [m.split(": ")[0] for m in messages] == ["instance 'a'", "instance 'b'"]
    assert all("is not an image that can be read" in m or "is truncated or corrupt" in m for m in messages)


def test_an_image_is_named_once_for_each_wrong_size(make_directory, records):
    for record in records["test"]:
        record["image_size"] = [50, 50]
    directory = make_directory(records)
    findings = findings_of(directory)
    assert [(f.kind, f.file, f.line) for f in findings] == [("image", 2, 1)]
    write_image(directory / "images/4.png", "white", (50, 50))
    assert len(findings_of(directory)) == 0


def test_right_answers_that_cannot_be_are_found_in_evaluation_splits_only(make_directory, records, tmp_path):
    (text,) = [record for record in records["test"] if record["task_name"] == "text_vqa"]
    trained = {**text, "task_name": "open_domain_vqa"}
    for split, record in (("train", trained), ("test", text)):
        records[split] += [{**record, "unique_id": f"{split}{i}", "references": ["exit", "out"]} for i in range(20)]
    directory = make_directory(records)
    result = check([directory], tmp_path / "card", default_registry(), with_guess=False)
    found = result.findings
    assert found.counts == {"answers": 2}
    dummies, annotators = found.of("answers")
    assert "text_vqa: the right answer of all 21 instances is 'exit'" in dummies.message
    assert "text_vqa: the references of 20 of 21 instances repeat" in annotators.message
    assert (dummies.file, dummies.line) == (annotators.file, annotators.line) == (2, 0)
    assert {finding["where"] for finding in result.record["findings"]["first"]} == {"test.jsonl"}
    assert next(summary(result, tmp_path / "card")).startswith(f"{directory / 'test.jsonl'}: text_vqa: the right")


def test_many_findings_are_capped_and_counted(make_directory, records):
    bad = [{**records["train"][0], "unique_id": f"x{n}", "target_txt": "perhaps"} for n in range(30)]
    records["train"] += bad
    findings = findings_of(make_directory(records), keep=4)
    assert findings.counts == {"target": 30} and len(findings) == 30
    assert [f.line for f in findings] == [3, 4, 5, 6]


def test_parts_of_a_file_are_put_together(make_directory, records, monkeypatch):
    records["train"] = [
        {**records["train"][n % 2], "unique_id": f"x{n}", **({"text": "a||||b"} if n % 7 == 0 else {})}
        for n in range(60)
    ]
    records["train"][50]["unique_id"] = "x3"
    directory = make_directory(records)
    results = []
    for size, workers in ((1 << 22, 1), (100, 1), (700, 2)):
        monkeypatch.setattr("ofa_mi.data_prep.check.scan.CHUNK_BYTES", size)
        found = scan(data_files([directory]), default_registry(), keep=100, workers=workers)
        counts = {key: value.record() for key, value in found.counts.items()}
        results.append((list(found.findings), counts, found.lines, found.rows.tolist(), found.tasks))
    assert results[0][2] == [60, 1, 2] and len(results[0][0]) == 10
    assert [f.line for f in results[0][0]] == [1, 8, 15, 22, 29, 36, 43, 50, 57, 51]
    assert results[0] == results[1] == results[2]


def test_the_kept_findings_do_not_depend_on_how_they_came():
    parts = [Findings(2), Findings(2)]
    for line in (1, 2, 3):
        parts[0].add("text", 0, line, "first")
        parts[1].add("text", 0, line, lambda: "second")
    total = Findings(4)
    total.extend(parts[0], 0)
    total.extend(parts[1], 10)
    assert total.counts["text"] == 6
    assert [f.line for f in total] == [1, 2, 11, 12]
    assert set(total.kinds()) <= set(KINDS)


def test_directories_without_instances(tmp_path):
    with pytest.raises(DataError, match="no such data directory"):
        data_files([tmp_path / "none"])
    with pytest.raises(DataError, match=r"holds no train\.jsonl"):
        data_files([tmp_path])


def test_every_jsonl_is_read_in_order(make_directory, records):
    directory = make_directory({**records, "extra": [json.dumps({**records["test"][0], "unique_id": "z"})]})
    assert [file.split for file in data_files([directory])] == ["train", "valid", "test", "extra"]
    assert [file.name for file in data_files([directory, directory])][:1] == ["data/train.jsonl"]


def test_text_only_tasks_need_no_image(make_directory, records):
    fields = {"task_name": "natural_instructions", "context": ["Add."], "text": "1 2", "target_txt": "3"}
    records["train"].append({"unique_id": "n", **fields})
    assert len(findings_of(make_directory(records))) == 0


def test_turned_images_are_reported_and_explain_a_wrong_size(make_directory, records, tmp_path):
    records["train"][1]["image_size"] = [30, 40]
    records["train"][1]["target_txt"] = [1, 1, 9, 9]
    directory = make_directory(records)
    for name, orientation in (("1", 3), ("2", 6)):
        exif = Image.Exif()
        exif[0x0112] = orientation
        with Image.open(directory / f"images/{name}.png") as image:
            image.save(directory / f"images/{name}.png", exif=exif)
    result = check([directory], tmp_path / "card", default_registry(), with_guess=False)
    (finding,) = result.findings
    assert "is 40x30, but image_size says 30x40" in finding.message and "EXIF orientation, 6," in finding.message
    turned = result.record["images"]["turned"]
    assert turned["images"] == 2
    assert [(use["line"], use["image"]) for use in turned["examples"]] == [
        ("train.jsonl:1", "images/1.png"),
        ("train.jsonl:2", "images/2.png"),
    ]
    assert "EXIF orientation" in (tmp_path / "card/card.md").read_text()
    assert any("EXIF orientation, which is not applied: 2" in line for line in summary(result, tmp_path / "card"))


# -- OFA's own files


@pytest.fixture
def tsv_directory(tmp_path):
    """A folder of OFA's files: training and validation data of two kinds."""
    directory = tmp_path / "ofa"
    directory.mkdir()
    write(directory / "vqa_train.tsv", *ROWS["vqa"])
    write(directory / "refcoco_val.tsv", *ROWS["refcoco"])
    return directory


def test_ofas_own_files_are_read(tsv_directory, tmp_path):
    result = check([tsv_directory], tmp_path / "card", default_registry(), examples=1)
    assert len(result.findings) == 0
    assert result.record["files"] == {"vqa_train.tsv": 2, "refcoco_val.tsv": 2}
    assert {split: numbers["instances"] for split, numbers in result.record["splits"].items()} == {
        "train": 2,
        "valid": 2,
    }
    assert result.record["images"]["different"] == 2 and result.record["images"]["splits"][0]["shared"] == 2
    assert {example["picture_name"] for example in result.record["examples"]} == {
        "open_domain_vqa-1.jpg",
        "referring_expression_grounding-1.jpg",
    }


def test_their_bad_lines_are_findings(tsv_directory):
    good = ROWS["vqa"][0]
    rows = [good[:4], (*good[:5], "no base64!"), (*good[:5], "aGVsbG8="), (*good[:3], "no|!+0.6", *good[4:]), good]
    write(tsv_directory / "vqa_train.tsv", *rows)
    write(tsv_directory / "refcoco_val.tsv", (*ROWS["refcoco"][0][:3], "0.1,0.1,0.5,0.9", IMAGES[0]))
    findings = findings_of(tsv_directory)
    assert [(f.kind, f.file, f.line) for f in findings] == [
        ("line", 0, 1),
        ("schema", 0, 4),
        ("box", 1, 1),
        ("image", 0, 2),
        ("image", 0, 3),
    ]


def test_blank_rows_and_a_byte_order_mark_in_them(tsv_directory):
    path = tsv_directory / "vqa_train.tsv"
    content = path.read_bytes()
    path.write_bytes(b"\xef\xbb\xbf" + content + b"\n \n")
    assert len(findings_of(tsv_directory)) == 0
    assert len(open_store(tsv_directory, "train")) == 2
    path.write_bytes(b"\n" + content.replace(b"wearing", b"\xff", 1))
    assert [(f.kind, f.line) for f in findings_of(tsv_directory)] == [("line", 1), ("line", 2)]


def test_what_a_cell_says_does_not_make_the_kind(tsv_directory):
    good = ROWS["vqa"][0]
    write(tsv_directory / "vqa_train.tsv", (*good[:3], "is blank, not UTF-8: box [ (image)", *good[4:]))
    assert [f.kind for f in findings_of(tsv_directory)] == ["schema"]


def test_the_same_files_are_checked_that_training_opens(tsv_directory, make_directory, records):
    directory = make_directory(records)
    write(directory / "vqa_train.tsv", *ROWS["vqa"])
    assert [file.name for file in data_files([directory])] == ["train.jsonl", "valid.jsonl", "test.jsonl"]
    write(tsv_directory / "caption_train.tsv", *ROWS["caption"])
    with pytest.raises(DataError, match="several files hold the split train"):
        data_files([tsv_directory])
