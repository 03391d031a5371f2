"""WikiHow: the four ordering tasks, and that neither context nor text gives their answers away."""

import json
from collections import Counter, defaultdict

from ofa_mi.data_prep.source import NO_IMAGE, held_out
from tests.data_prep.sources.raw_tree import Picture, build_instances, of_task, write_raw

GUIDES = 30
NAMES = [f"{number}_fly-a-kite-{number}" for number in range(GUIDES)]


def guide(number, steps=5):
    return {
        "methods": [
            {
                "name": "Building" if number % 2 else None,
                "steps": [
                    {"headline": f"Step {letter} of {number}.", "img": f"method_0_step_{place}.jpg"}
                    for place, letter in enumerate("ABCDEFG"[:steps])
                ],
            },
            {"name": "Bad", "steps": [{"headline": "Same.", "img": None}, {"headline": "Same.", "img": None}]},
        ]
    }


def raw_folder(root):
    files = {}
    for number, name in enumerate(NAMES):
        files[f"wikihow/data/{name}/wikihow.json"] = guide(number)
        files |= {f"wikihow/data/{name}/image/method_0_step_{place}.jpg": Picture(32, 24) for place in range(5)}
    files["wikihow/data/99_no-methods/wikihow.json"] = {"title": "no methods"}
    files["wikihow/data/98_empty/other.txt"] = ""
    return write_raw(root, files)


def example_raw(root):
    """A raw folder from which every task is made."""
    return raw_folder(root)


def place_of(instance):
    return int(instance.image_path.rsplit("_", 1)[1].removesuffix(".jpg"))


def letter(text):
    return "ABCDEFG".index(text.split("Step ")[1][0])


def test_steps_and_their_order(tmp_path):
    built = build_instances(raw_folder(tmp_path / "raw"), tmp_path / "out", "wikihow")
    generation = of_task(built, "wikihow_next_step_generation")
    assert len(generation) == GUIDES * 4
    for instance in generation:
        place = place_of(instance)
        assert letter(instance.text[0]) == place and letter(instance.target[0]) == place + 1
        assert [letter(part[0]) for part in instance.context[1:]] == list(range(place))
        number = int(instance.context[0][0].split()[3].rstrip(":"))
        assert instance.context[0] == (f"fly a kite {number}" + (": Building" if number % 2 else ""),)
    for instance in of_task(built, "wikihow_next_step_selection"):
        place = place_of(instance)
        options = [letter(option[0]) for option in instance.options]
        assert letter(instance.target[0]) == place + 1 and place not in options and len(set(options)) == 4
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_bytes())
    assert manifest["dropped"]["wikihow"]["all tasks: a method whose steps are empty or repeat each other"] == GUIDES
    assert manifest["dropped"]["wikihow"]["all tasks: the guide's folder has no wikihow.json"] == 1


def test_steps_without_a_picture_are_counted_and_said_where_they_are_many(tmp_path, caplog):
    raw = raw_folder(tmp_path / "raw")
    for number, name in enumerate(NAMES):
        content = guide(number)
        for step in content["methods"][0]["steps"][:3]:
            step["img"] = None
        write_raw(raw, {f"wikihow/data/{name}/wikihow.json": content})
    built = build_instances(raw, tmp_path / "out", "wikihow")
    assert len(of_task(built, "wikihow_next_step_generation")) == GUIDES
    dropped = json.loads((tmp_path / "out" / "manifest.json").read_bytes())["dropped"]["wikihow"]
    assert dropped[f"wikihow_next_step_generation: {NO_IMAGE}"] == 3 * GUIDES
    assert dropped[f"wikihow_text_image_ordering: {NO_IMAGE}"] == 3 * GUIDES
    assert "wikihow: 90 of 120 candidates of wikihow_next_step_generation are left out" in caplog.text


def test_ordering_answers_are_true_and_do_not_follow_from_the_text(tmp_path):
    built = build_instances(raw_folder(tmp_path / "raw"), tmp_path / "out", "wikihow")
    for task, sign in (("wikihow_text_image_ordering", 1), ("wikihow_image_text_ordering", -1)):
        instances = of_task(built, task, "train")
        answers = Counter(instance.target[0] for instance in instances)
        assert answers["next"] == answers["previous"] > 20
        by_letter = defaultdict(set)
        for instance in instances:
            step = letter(instance.text[0])
            image_is_after = place_of(instance) - step == 1
            assert abs(place_of(instance) - step) == 1
            assert (instance.target[0] == "next") == (image_is_after == (sign == 1))
            by_letter[step].add(instance.target[0])
        assert all(found == {"next", "previous"} for found in by_letter.values())


def test_a_guide_is_in_one_split(tmp_path):
    built = build_instances(raw_folder(tmp_path / "raw"), tmp_path / "out", "wikihow")
    splits = {split: {i.image_path.split("/")[2] for i in built[split]} for split in ("train", "valid")}
    assert splits["train"] | splits["valid"] == set(NAMES) and not splits["train"] & splits["valid"]
    assert splits["valid"] == {name for name in NAMES if held_out(name)}
