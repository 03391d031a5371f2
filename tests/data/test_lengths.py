"""Lengths in tokens: what counts, and that it is counted once."""

import json
import os
import shutil

import numpy as np
import pytest

from ofa_mi.data import lengths
from ofa_mi.data.encoding import PromptEncoder
from ofa_mi.data.lengths import count_tokens, token_lengths
from ofa_mi.data.regions import RegionCodec
from ofa_mi.data.transform import ImageTransform
from ofa_mi.data.vocabulary import Vocabulary
from ofa_mi.instances import sidecar
from ofa_mi.instances.instance import Instance
from ofa_mi.instances.store import InstanceStore
from ofa_mi.instructions.prompt import text_segments
from tests.fuzzing import fuzz, mutate_bytes
from tests.instances.records import record, rewritten, with_image, write


def no_counting(*args):
    raise AssertionError("the tokens were counted again")


def test_a_file_may_be_empty(folder):
    empty = InstanceStore(write(folder, [], "valid.jsonl"))
    assert [part.tolist() for part in token_lengths(empty, Vocabulary.load())] == [[], []]


def test_fuzz_token_lengths(folder, gpt2):
    store = InstanceStore(write(folder, [record(number) for number in range(4)]))
    expected = [part.tolist() for part in token_lengths(store, gpt2)]
    (stored,) = (folder / sidecar.FOLDER).glob("*.lengths-*.npy")

    def read(content):
        stored.write_bytes(content)
        assert [part.tolist() for part in token_lengths(store, gpt2)] == expected

    fuzz("token lengths", [stored.read_bytes()], [mutate_bytes], read)


@pytest.mark.parametrize("change", [lambda n: n[:1], lambda n: n[0], lambda n: n.astype(np.int64), lambda n: n[:, :2]])
def test_damaged_token_lengths_are_counted_again(folder, change):
    instances, vocabulary = InstanceStore(write(folder, [record(i) for i in range(5)])), Vocabulary.load()
    expected = [part.tolist() for part in token_lengths(instances, vocabulary)]
    (stored,) = (folder / sidecar.FOLDER).glob("*.lengths-*.npy")
    rewritten(stored, lambda numbers: np.ascontiguousarray(change(numbers)))
    assert [part.tolist() for part in token_lengths(instances, vocabulary)] == expected


def test_token_lengths_are_counted_once_for_each_vocabulary(folder, gpt2, bytes_only, monkeypatch):
    path = write(folder, [with_image(i, options=["a", [1, 2, 3, 4]], question="What is it?") for i in range(20)])
    instances = InstanceStore(path)
    source, target = token_lengths(instances, gpt2)
    assert source.dtype == target.dtype == np.int32 and source.shape == target.shape == (20,)
    assert list(zip(source, target, strict=True)) == [count_tokens(instance, gpt2) for instance in instances]
    other = Vocabulary.load(bytes_only)
    assert token_lengths(instances, other)[0].sum() > source.sum()
    monkeypatch.setattr(lengths, "count_all", no_counting)
    assert token_lengths(InstanceStore(path), gpt2)[0].tolist() == source.tolist()


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_tokens_are_counted_alike_by_any_number_of_workers(folder, gpt2, monkeypatch, workers):
    monkeypatch.setattr(lengths, "CHUNK_ROWS", 7)  # 20 instances: a last part that is not full, more workers than parts
    lines = [with_image(i, text="so " * i, options=["a", "b " * (i % 3 + 1)], target_txt="a") for i in range(20)]
    instances = InstanceStore(write(folder, lines), workers=workers)
    source, target = token_lengths(instances, gpt2)
    assert list(zip(source, target, strict=True)) == [count_tokens(instance, gpt2) for instance in instances]


def test_the_tokens_of_many_instances_are_counted_in_processes_however_small_their_file(folder, gpt2, monkeypatch):
    monkeypatch.setattr(lengths, "CHUNK_ROWS", 4)
    monkeypatch.setattr(lengths, "MANY_ROWS", 10)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    asked = []

    def in_processes(function, items, workers):
        asked.append(workers)
        return map(function, items)

    few = InstanceStore(write(folder, [record(i) for i in range(9)]))
    many = InstanceStore(write(folder, [record(i) for i in range(10)], "valid.jsonl"))
    monkeypatch.setattr(lengths, "ordered_map", in_processes)
    assert [len(token_lengths(instances, gpt2)[0]) for instances in (few, many)] == [9, 10]
    assert asked == [1, 2]


def test_what_counts_as_tokens(gpt2):
    def count(**fields):
        return count_tokens(Instance.from_record(with_image(0, **fields), ""), gpt2)

    region = 4  # of with_image
    assert count() == (region, 2)
    assert count(question="What is it?") == (region + 4, 2)
    assert count(text=["a", [1, 2, 3, 4]], context=["b", "c"]) == (region + 1 + 4 + 2, 2)
    marker, separator = len(gpt2.encode(" [Options]:")), len(gpt2.encode("||||"))
    assert count(options=["yes", [1, 2, 3, 4]]) == (region + marker + separator + 5, 2)
    assert count(target_txt="", target_set=["yes", "no"]) == (region, 2 + separator + 1)


def test_real_photos_and_boxes_go_all_the_way(shared_data, folder, gpt2):
    """COCO's objects: stored, read, encoded, decoded to boxes within half a bin, and their pixels."""
    coco = json.loads((shared_data / "coco/annotations/instances.json").read_text())
    names = {category["id"]: category["name"] for category in coco["categories"]}
    photos = {photo["id"]: photo for photo in sorted(coco["images"], key=lambda photo: photo["id"])[:4]}
    records = []
    for thing in coco["annotations"]:
        if (photo := photos.get(thing["image_id"])) is not None:
            x, y, width, height = thing["bbox"]
            image = {"image_path": photo["file_name"], "image_size": [photo["width"], photo["height"]]}
            box = [x, y, min(x + width, photo["width"]), min(y + height, photo["height"])]
            records.append(record(thing["id"], text=names[thing["category_id"]], target_txt=box, **image))
    for photo in photos.values():
        shutil.copy(shared_data / "coco/images" / photo["file_name"], folder)
    instances = InstanceStore(write(folder, records))
    encoder = PromptEncoder(gpt2, RegionCodec(patch_image_size=480))
    assert len(instances) == len(records) > 10
    for instance in instances:
        target = encoder.target(text_segments(instance.target, truncatable=False), instance.image_size)
        (box,) = encoder.decode(target, instance.image_size).boxes
        assert box == pytest.approx(instance.target[0], abs=0.5 / 937 * max(instance.image_size) + 1e-3)
    pixels = ImageTransform(96)(instances.load_image(instances[0]))
    assert pixels.shape == (3, 96, 96) and pixels.std() > 0.1
