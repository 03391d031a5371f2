"""The data card: its numbers, and that it shows text as text."""

import json
import re
from collections import Counter

import pytest

from ofa_mi.data_prep.check.checking import check
from ofa_mi.data_prep.check.counts import Tally, TaskCounts, quantiles
from ofa_mi.data_prep.check.scan import directory_names
from ofa_mi.errors import DataError
from ofa_mi.instructions.registry import default_registry

from .conftest import write_image


def card_of(directory, out=None, **options):
    out = out or directory / "card"
    check([directory], out, default_registry(), **options)
    return json.loads((out / "card.json").read_text())


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_numbers(make_directory, records):
    card = card_of(make_directory(records))
    assert card["instances"] == 5 and card["findings"]["counts"] == {}
    assert {split: n["instances"] for split, n in card["splits"].items()} == {"train": 2, "valid": 1, "test": 2}
    grounding = card["tasks"]["visual_grounding"]
    assert (grounding["instances"], grounding["images"], grounding["kind"]) == (2, 2, "train")
    assert grounding["target_tokens"] == {"mean": 5, "p50": 5, "p90": 5, "p99": 5, "max": 5}
    assert grounding["source_tokens"]["p50"] == 3 and grounding["source_tokens"]["max"] == 6
    assert "answers" not in grounding
    assert card["tasks"]["nlvr"]["answer_positions"] == {"2": [1, 0]}
    assert card["tasks"]["text_vqa"]["answers"] == {"different": 1, "commonest": {"exit": 1}}
    assert card["images"]["different"] == 4 and card["images"]["by_split"] == {"train": 2, "valid": 1, "test": 1}
    assert {guess["task"]: guess["verdict"] for guess in card["guess"]} == {
        "region_caption_matching": "too few",
        "nlvr": "too few",
    }
    assert len(card["examples"]) == 5


def test_the_same_data_give_the_same_card(make_directory, records, tmp_path):
    directory = make_directory(records)
    card_of(directory, tmp_path / "one", workers=1)
    card_of(directory, tmp_path / "two", workers=2)
    found = files_of(tmp_path / "one")
    assert found == files_of(tmp_path / "two")
    assert {"card.html", "card.md", "card.json", "pictures/nlvr-1.jpg"} <= set(found)


def test_text_of_the_data_is_shown_as_text(make_directory, records):
    records["train"][0]["text"] = "<script>alert('x')</script> & <img src=x>"
    records["test"][1]["target_txt"] = "a | b *c*"
    directory = make_directory(records)
    card_of(directory, with_guess=False)
    page = (directory / "card/card.html").read_text()
    assert "<script" not in page and "<img src=x" not in page
    assert "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt; &amp; &lt;img src=x&gt;" in page
    assert page.count("<img ") == page.count("src='data:image/jpeg;base64,") == 5 and "href" not in page
    markdown = (directory / "card/card.md").read_text()
    assert "<script" not in markdown and r"a \| b \*c\*" in markdown
    for picture in re.findall(r"\]\((\S+?)\)", markdown):
        assert (directory / "card" / picture).read_bytes()[:2] == b"\xff\xd8"


def test_images_in_common_are_found_by_content(make_directory, records):
    directory = make_directory(records)
    content = (directory / "images/4.png").read_bytes()
    (directory / "images/copy.png").write_bytes(content)
    records["train"][1]["image_path"] = "images/copy.png"
    write_image(directory / "other/4.png", "black")  # the same name and size, another content
    records["train"][0]["image_path"] = "other/4.png"
    records["valid"][0]["image_path"] = "images/copy.png"
    for split, found in records.items():
        (directory / f"{split}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in found))
    images = card_of(directory, with_guess=False)["images"]
    assert (images["paths"], images["different"]) == (3, 2)
    pairs = {(p["first"], p["second"]): (p["shared"], p["same_path"]) for p in images["splits"]}
    assert pairs == {("train", "valid"): (1, 1), ("train", "test"): (1, 0), ("valid", "test"): (1, 0)}
    assert images["training_and_evaluation"]["shared"] == 1
    assert {e["task"]: (e["images"], e["shared"], e["tasks"]) for e in images["evaluation_tasks"]} == {
        "nlvr": (1, 1, {"visual_grounding": 1}),
        "text_vqa": (1, 1, {"visual_grounding": 1}),
    }
    evaluated, trained = images["training_and_evaluation"]["examples"][0]
    assert evaluated == {"line": "test.jsonl:1", "task": "nlvr", "image": "images/4.png"}
    assert trained == {"line": "train.jsonl:2", "task": "visual_grounding", "image": "images/copy.png"}


def test_large_images_differ_in_the_middle(make_directory, records):
    directory = make_directory(records)
    head = (directory / "images/1.png").read_bytes()
    for number, middle in ((1, b"a"), (2, b"b")):
        (directory / f"images/{number}.png").write_bytes(head + bytes(50_000) + middle + bytes(50_000))
    assert card_of(directory, with_guess=False)["images"]["different"] == 4
    (directory / "images/2.png").write_bytes((directory / "images/1.png").read_bytes())
    assert card_of(directory, with_guess=False)["images"]["different"] == 3


def test_manifest_is_shown_and_compared(make_directory, records):
    directory = make_directory(records)
    counts = {"train": {"visual_grounding": 1, "region_caption_matching": 2, "nlvr": 0}}
    manifest = {"converter": "by hand", "version": 3, "settings": {"seed": 5}, "complete": True, "counts": counts}
    (directory / "manifest.json").write_text(json.dumps(manifest))
    card = card_of(directory, with_guess=False)
    assert card["manifests"]["data"]["settings"] == {"seed": 5}
    assert card["findings"]["first"] == [
        {
            "kind": "manifest",
            "where": "manifest.json",
            "message": "says 2 instances of region_caption_matching in train, the file holds 1",
        }
    ]
    assert "by hand" in (directory / "card/card.html").read_text()
    (directory / "manifest.json").write_text(json.dumps({**manifest, "complete": False}))
    assert "was interrupted" in card_of(directory, with_guess=False)["findings"]["first"][0]["message"]
    (directory / "manifest.json").write_text("[")
    assert "is not a manifest" in card_of(directory, with_guess=False)["findings"]["first"][0]["message"]


def test_pictures_of_an_earlier_card_go_and_nothing_else(make_directory, records):
    directory = make_directory(records)
    card_of(directory, with_guess=False)
    pictures = directory / "card/pictures"
    (pictures / "mine.jpg").write_bytes(b"")
    records["test"].pop(0)
    (directory / "test.jsonl").write_text(json.dumps(records["test"][0]) + "\n")
    card_of(directory, with_guess=False)
    assert not (pictures / "nlvr-1.jpg").exists()
    assert (pictures / "mine.jpg").exists() and (pictures / "text_vqa-1.jpg").exists()


def test_a_file_that_is_no_card_is_not_overwritten(make_directory, records, tmp_path):
    (tmp_path / "card.json").write_text('{"a": 1}')
    with pytest.raises(DataError, match="is not a data card"):
        card_of(make_directory(records), tmp_path, with_guess=False)
    assert (tmp_path / "card.json").read_text() == '{"a": 1}'


def test_bad_instances_do_not_become_examples(make_directory, records):
    records["test"][0]["target_txt"] = "perhaps"
    (record := records["test"][1])["image_path"] = "images/none.png"
    examples = card_of(make_directory(records), with_guess=False)["examples"]
    assert {e["task"] for e in examples} == {"visual_grounding", "region_caption_matching"}
    assert record["unique_id"] not in {e["unique_id"] for e in examples}


def test_files_without_instances(make_directory):
    card = card_of(make_directory({"train": [], "test": []}))
    assert card["instances"] == 0 and card["guess"] == [] and card["findings"]["counts"] == {}


def test_a_folder_that_cannot_be_made_is_one_line(make_directory, records, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="give another --out"):
        card_of(make_directory(records), tmp_path / "file" / "card")


def test_directories_of_the_same_name_are_told_apart(tmp_path):
    paths = [tmp_path / "a/data", tmp_path / "b/data", tmp_path / "c"]
    assert list(directory_names(paths).values()) == [str(paths[0]), str(paths[1]), "c"]


def test_quantiles():
    assert quantiles(Counter({1: 98, 7: 1, 50: 1})) == {"mean": 1.55, "p50": 1, "p90": 1, "p99": 7, "max": 50}
    assert quantiles(Counter({4: 1, 2: 1})) == {"mean": 3, "p50": 2, "p90": 4, "p99": 4, "max": 4}
    assert quantiles(Counter()) == {}


def test_a_tally_gives_up_in_any_order():
    parts = [["a", "b"], ["b", "c"], ["d", "e"]]
    for order in (parts, parts[::-1]):
        tally = Tally(4)
        for part in order:
            other = Tally(4)
            other.add(part)
            tally.merge(other)
        assert tally.counts is None
    small = Tally(4)
    small.add(["a", "b", "a"])
    assert small.counts == {"a": 2, "b": 1}


def test_labels_are_fixed_only_if_they_come_again():
    counts = TaskCounts()
    counts.offered.add(["yes", "no"] * 20)
    counts.answers.add(["yes"] * 12 + ["no"] * 8)
    assert counts.labels() == {"no": (8, 20), "yes": (12, 20)}
    few = TaskCounts()
    few.offered.add(["yes", "no"] * 3)
    assert few.labels() is None
