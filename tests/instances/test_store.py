"""The store: checked once, read at random, safe in several processes."""

import json
import multiprocessing
import os
import pickle
import shutil

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from ofa_mi.errors import DataError
from ofa_mi.instances import sidecar, store
from ofa_mi.instances.instance import PIXELS_OPTION, Instance, is_blank
from ofa_mi.instances.open import open_store
from ofa_mi.instances.store import InstanceStore
from tests.instances.records import record, rewritten, with_image, write
from tests.processes import received


def no_building(*args):
    raise AssertionError("the index was built again")


def test_instances_are_read_as_they_were_written(folder):
    records = [with_image(i) if i % 2 else record(i) for i in range(50)]
    instances = InstanceStore(write(folder, records))
    assert len(instances) == 50 and instances.skipped == ()
    for i in (49, 0, 7, -1):
        assert instances[i] == Instance.from_record(records[i], f"{folder}/train.jsonl:{i % 50 + 1}")
    assert list(instances) == [instances[i] for i in range(50)]
    assert instances.task_names == ("task0", "task1", "task2")
    assert instances.task_ids.tolist() == [i % 3 for i in range(50)] and instances.task_ids.dtype == np.int32
    assert instances.has_image.tolist() == [bool(i % 2) for i in range(50)]
    with pytest.raises(IndexError):
        instances[50]


def test_last_line_needs_no_newline_and_a_file_may_be_empty(folder):
    assert len(InstanceStore(write(folder, [record(0), json.dumps(record(1)).encode()]))) == 2
    empty = InstanceStore(write(folder, [], "valid.jsonl"))
    assert len(empty) == 0 and empty.task_names == () and empty.has_image.tolist() == []


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 60), max_size=40), st.integers(1, 200), st.sampled_from([1, 2]))
def test_chunks_and_workers_change_nothing(tmp_path_factory, lengths, chunk_bytes, workers):
    """However the file is divided among workers, every line is read once and numbered right."""
    path = write(tmp_path_factory.mktemp("data"), [record(i, text="x" * n) for i, n in enumerate(lengths)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "CHUNK_BYTES", chunk_bytes)
        patch.setattr(store, "choose_workers", lambda *_, **__: workers if len(lengths) > 30 else 1)
        instances = InstanceStore(path)
    assert [instance.where for instance in instances] == [f"{path}:{i + 1}" for i in range(len(lengths))]
    assert [len("".join(instance.text)) for instance in instances] == lengths


# -- bad lines


def with_size(size):
    return record(9, image_path="image.png", image_size=size)


BAD_LINES = {
    "truncated": (b'{"unique_id": "a", "task_na\n', "not valid JSON, perhaps a truncated line"),
    "not UTF-8": (b'{"unique_id": "\xff"}\n', r"not UTF-8 \(byte 15"),
    "UTF-16": ('{"unique_id": "a"}'.encode("utf-16-le") + b"\n", "not valid JSON|not UTF-8"),
    "surrogate": (b'{"unique_id": "a\\uD83D", "task_name": "t", "target_txt": "x"}\n', "surrogate"),
    "blank": (b"\n", "is blank"),
    "white space": (b" \t\r\n", "is blank"),
    "byte order mark": (b"\xef\xbb\xbf\n", "is blank"),
    "not an object": (b"3\n", "expected a JSON object"),
    "deep": (b"[" * 100_000 + b"\n", "not valid JSON"),
    "huge number": (b'{"unique_id": ' + b"9" * 5000 + b"}\n", "not valid JSON"),
    "unknown field": (record(9, colour="red"), "unknown field 'colour'"),
    "no target": (record(9, target_txt=""), "target_txt is missing"),
    "blank target": (record(9, target_txt=" \u200b"), "target_txt is missing or empty"),
    "blank target beside a set": (record(9, target_txt=" ", target_set=["a"]), "target_txt is missing or empty"),
    "blank option in a set": (record(9, target_txt="", target_set=["a", " "]), "target_set holds an empty option"),
    "empty reference": (record(9, references=["a", ""]), "references holds the empty answer ''; leave it out"),
    "image of a huge size": (with_size([1 << 40, 1]), "is more than 134,217,728 pixels, the limit"),
    "size without an image": (record(9, image_size=[40, 30]), "image_path is missing"),
    "box outside": (with_image(9, text=[[0, 0, 41, 3]]), "outside the 40x30 image"),
    "box of a huge number": (with_image(9, text=[[0, 0, 10**400, 3]]), "expected text, a box"),
    "box in shares": (with_image(9, text=[[0.1, 0.2, 0.5, 1]]), "in pixels, not in shares of the image"),
    "box reversed": (with_image(9, text=[[5, 0, 3, 3]]), "empty or reversed"),
    "missing image": (record(9, image_path="no.png", image_size=[4, 4]), r"image .*no\.png does not exist"),
    "image above": (record(9, image_path="../image.png", image_size=[4, 4]), "outside the data directory"),
    "absolute image": (record(9, image_path="/etc/hostname", image_size=[4, 4]), "outside the data directory"),
    "null byte": (record(9, image_path="a\0b", image_size=[4, 4]), "outside the data directory"),
    "same id": (record(0, text="again"), r"instance 'id0': line 1 has the same unique_id"),
}


@pytest.mark.parametrize("line,message", BAD_LINES.values(), ids=BAD_LINES)
def test_a_bad_line_is_an_error_that_names_it_or_a_listed_skip(folder, line, message):
    path = write(folder, [record(0), record(1), line, with_image(3)])
    with pytest.raises(DataError, match=rf"^{path}:3: .*({message})") as error:
        InstanceStore(path)
    assert "\n" not in str(error.value)
    kept = InstanceStore(path, skip_bad=True)
    assert kept.skipped == (str(error.value),)
    assert [instance.where for instance in kept] == [f"{path}:{line}" for line in (1, 2, 4)]
    with pytest.raises(DataError, match=":3: "):  # an index that skips does not hide the error later
        InstanceStore(path)


def far_away(number, path):
    return record(number, image_path=path, image_size=[40, 30])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            with_image(1) | {"image_size": [2**40, 1]},
            r"image_size \[1099511627776, 1\] is more than 134,217,728 pixels",
        ),
        (with_image(1) | {"image_size": [10**4000, 30]}, r"image_size \[10+…0+, 30\] is more than"),
        (far_away(1, "a" * 300 + ".png"), r"image '\S+…a+\.png' does not exist"),
        (far_away(1, "a/" * 2000 + "a.png"), r"image '\S+…[a/]+\.png' does not exist"),
        (far_away(1, "a/" * 100_000), "image_path must have at most 4,096 bytes, found 'a/a/"),
        (far_away(1, "image.png/b.png"), r"image \S+/image\.png/b\.png does not exist"),
        (far_away(1, "a\0b.png"), r"image 'a\\x00b\.png' lies outside the data directory"),
        (
            record(1, meta_data={"a": json.loads("[" * 60 + "]" * 60)}),
            "meta_data must be nested at most 50 levels deep",
        ),
        (record(1, unique_id="x" * 100_000, task_name=5), r"instance 'x+…x+': task_name must be a non-empty string"),
        (b'{"unique_id": ' + b"[" * 100_000 + b"\n", r"not valid JSON, perhaps a truncated line \(maximum recursion"),
        (b'{"unique_id": ' + b"9" * 5000 + b"}\n", r"not valid JSON, perhaps a truncated line \(Exceeds the limit"),
    ],
)
def test_sizes_paths_and_values_without_measure_are_errors_or_skips(folder, line, message):
    path = write(folder, [record(0), line, record(2)])
    with pytest.raises(DataError, match=message) as caught:
        InstanceStore(path)
    assert str(caught.value).startswith(f"{path}:2: ") and len(str(caught.value)) < 700
    instances = InstanceStore(path, skip_bad=True)
    assert len(instances) == 2 and instances.skipped == (str(caught.value),)
    assert [i.unique_id for i in InstanceStore(path, skip_bad=True)] == ["id0", "id2"]  # from the index


def test_another_limit_of_pixels_makes_the_index_again(folder, monkeypatch):
    path = write(folder, [record(0), with_image(1)])
    monkeypatch.setenv(PIXELS_OPTION, "1199")
    with pytest.raises(DataError, match="is more than 1,199 pixels, the limit"):
        InstanceStore(path)
    assert len(InstanceStore(path, skip_bad=True)) == 1
    monkeypatch.setenv(PIXELS_OPTION, "1200")
    assert len(InstanceStore(path, skip_bad=True)) == 2


@pytest.mark.parametrize("workers", [1, 2])
def test_a_line_without_end_is_one_bad_line(folder, monkeypatch, workers):
    """It is never read as a whole, whatever the part of the file in which it begins."""
    monkeypatch.setattr(store, "CHUNK_BYTES", 5000)
    monkeypatch.setattr("ofa_mi.instances.lines.MAX_LINE_READ", 3000)
    monkeypatch.setattr("ofa_mi.instances.lines.SKIP_BYTES", 700)
    monkeypatch.setattr("ofa_mi.instances.instance.MAX_LINE", 2000)
    lines = [record(0), record(1, text="x" * 2500), record(2), record(3, text="x" * 40_000), record(4)]
    instances = InstanceStore(write(folder, lines), skip_bad=True, workers=workers)
    assert [i.unique_id for i in instances] == ["id0", "id2", "id4"]
    assert [s.partition(": ")[0][-2:] for s in instances.skipped] == [":2", ":4"]
    assert all("has more than 2,000 bytes" in reason for reason in instances.skipped)
    whole = InstanceStore(write(folder, [record(0, text="x" * 20_000)], "valid.jsonl"), skip_bad=True)
    assert len(whole) == 0 and len(whole.skipped) == 1


def test_a_file_of_bad_lines_only_is_refused_even_if_they_may_be_left_out(folder, monkeypatch):
    monkeypatch.setattr(store, "MOST_SKIPPED", 10)
    monkeypatch.setattr(store, "CHUNK_BYTES", 5)
    path = write(folder, [record(0), *[b"\n"] * 10, record(1)])
    assert len(InstanceStore(path, skip_bad=True).skipped) == 10
    path = write(folder, [record(0), *[b"\n"] * 50, record(1)])
    with pytest.raises(DataError, match=r"more than 10 bad lines, the last of them .*train\.jsonl:12: is blank"):
        InstanceStore(path, skip_bad=True)


def test_skips_are_listed_in_the_order_of_the_file(folder):
    path = write(folder, [record(0), record(0), b"x\n", record(0), record(1), b"\n", record(2)])
    skipped = InstanceStore(path, skip_bad=True).skipped
    assert [int(line[len(str(path)) + 1 :].split(":")[0]) for line in skipped] == [2, 3, 4, 6]


BLANK = [
    "",
    " \t\n",
    "\u00a0\u3000",
    "\u200b",
    "\ufeff",
    "\u00ad",
    "\u2060\u200d",
    "\ufe0f",
    "\u3164",
    "\u2800",
    "\x00\x1f",
]


@pytest.mark.parametrize("text", BLANK, ids=ascii)
def test_what_shows_nothing_is_no_answer(text):
    assert is_blank(text) and is_blank((text,)) and is_blank((text, text))
    assert not is_blank(f"{text}.{text}") and not is_blank((text, (0, 0, 1, 1)))
    with pytest.raises(DataError, match="here:1: instance 'id1': references holds the empty answer"):
        Instance.from_record(record(1, references=["yes", text]), "here:1")


@pytest.mark.parametrize("text", ["0", "-", "£", "日本", "é", "\U0001f44d\ufe0f", "\ue000"], ids=ascii)
def test_what_shows_something_is_an_answer(text):
    assert not is_blank(text)
    assert Instance.from_record(record(1, target_txt=text, references=[text]), "").references == (text,)


@pytest.mark.parametrize(
    "confidence", ["high", "1", -1, -0.5, True, None, [1], float("nan"), float("inf"), 10**400, 1e39]
)
def test_confidence_is_checked_when_the_file_is_opened(folder, confidence):
    path = write(folder, [record(0), record(1, meta_data={"confidence": confidence})])
    with pytest.raises(DataError, match=rf"{path}:2: instance 'id1': confidence in meta_data must be a number from 0"):
        InstanceStore(path)
    assert len(InstanceStore(path, skip_bad=True)) == 1


def test_confidence():
    assert Instance.from_record(record(1), "").confidence == 1
    assert Instance.from_record(record(1, meta_data={"confidence": 0}), "").confidence == 0
    assert Instance.from_record(record(1, meta_data={"confidence": 0.3}), "").confidence == 0.3


@pytest.mark.parametrize("end", ["\n", "\r\n\r\n", " \n\t\n", "\n" * 10000, ""])
@pytest.mark.parametrize("chunk_bytes", [1 << 24, 50])
def test_blank_lines_at_the_end_are_nothing(folder, monkeypatch, end, chunk_bytes):
    monkeypatch.setattr(store, "CHUNK_BYTES", chunk_bytes)
    instances = InstanceStore(write(folder, [record(0), record(1), end.encode()]))
    assert [instance.unique_id for instance in instances] == ["id0", "id1"]


@pytest.mark.parametrize("content", [b"", b"\n", b" \r\n\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\r\n"])
def test_a_file_of_nothing_is_empty(folder, content):
    assert len(InstanceStore(write(folder, [content]))) == 0


def test_a_byte_order_mark_is_no_part_of_the_first_line(folder):
    lines = [json.dumps(record(i)).encode() + b"\r\n" for i in range(3)]
    first = InstanceStore(write(folder, [b"\xef\xbb\xbf", *lines]))
    joined = InstanceStore(write(folder, [lines[0], b"\xef\xbb\xbf", *lines[1:]], "valid.jsonl"))  # cat a.jsonl b.jsonl
    for instances in (first, joined):
        assert [instance.unique_id for instance in instances] == ["id0", "id1", "id2"]


def test_empty_parts_of_a_context_are_none(folder):
    (instance,) = InstanceStore(write(folder, [record(0, context=["", "a dog", " ", [""]])]))
    assert instance.context == (("a dog",),)


def test_equal_hashes_are_not_equal_ids(folder, monkeypatch):
    monkeypatch.setattr(store, "hash64", lambda unique_id: 7)
    assert len(InstanceStore(write(folder, [record(i) for i in range(20)]))) == 20
    with pytest.raises(DataError, match=r"train\.jsonl:3: .*line 2 has the same"):
        InstanceStore(write(folder, [record(0), record(1), record(1)]))


def test_links_must_not_leave_the_directory_but_the_directory_may_be_one(folder, tmp_path):
    shutil.move(folder / "image.png", tmp_path / "image.png")
    (folder / "image.png").symlink_to(tmp_path / "image.png")
    path = write(folder, [with_image(0)])
    with pytest.raises(DataError, match=r"train\.jsonl:1: instance 'id0': image 'image.png' lies outside"):
        InstanceStore(path)
    shutil.copy(tmp_path / "image.png", folder / "real.png")
    write(folder, [with_image(0) | {"image_path": "real.png"}])
    (tmp_path / "link").symlink_to(folder)
    instances = InstanceStore(tmp_path / "link" / "train.jsonl")
    assert instances.image_file(instances[0]) == (folder / "real.png").resolve()


def test_no_file_no_store(folder):
    with pytest.raises(DataError, match=r"nothing\.jsonl: cannot be read"):
        InstanceStore(folder / "nothing.jsonl")


# -- images


def test_images_are_checked_when_they_are_read(folder):
    instances = InstanceStore(write(folder, [with_image(0)]))
    assert instances.load_image(instances[0]).size == (40, 30)
    Image.new("RGB", (41, 30)).save(folder / "image.png")
    with pytest.raises(DataError, match=r"train\.jsonl:1: instance 'id0': image .*image\.png is 41x30, but"):
        instances.load_image(instances[0])


# -- sidecars


def test_the_index_is_built_once_and_again_when_the_file_changes(folder, monkeypatch):
    path = write(folder, [record(i) for i in range(5)])
    InstanceStore(path)
    with monkeypatch.context() as patch:
        patch.setattr(InstanceStore, "_build_index", no_building)
        assert len(InstanceStore(path)) == len(InstanceStore(path, skip_bad=True)) == 5
    status = path.stat()
    write(folder, [record(i) for i in (0, 1, 2, 4, 3)])  # as many bytes, and as old
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert [instance.unique_id for instance in InstanceStore(path)] == ["id0", "id1", "id2", "id4", "id3"]


def test_an_image_that_appears_is_no_longer_skipped(folder):
    path = write(folder, [with_image(0), record(1, image_path="late.png", image_size=[40, 30])])
    assert len(InstanceStore(path, skip_bad=True)) == 1
    shutil.copy(folder / "image.png", folder / "late.png")
    late = InstanceStore(path, skip_bad=True)
    assert len(late) == 2 and late.skipped == ()


def test_an_outdated_index_that_cannot_be_replaced_is_passed_over(folder, monkeypatch):
    path = write(folder, [with_image(0), record(1, image_path="late.png", image_size=[40, 30])])
    assert len(InstanceStore(path, skip_bad=True)) == 1
    shutil.copy(folder / "image.png", folder / "late.png")
    monkeypatch.setattr(os, "access", lambda place, mode: os.fspath(place) != str(folder / sidecar.FOLDER))
    assert len(InstanceStore(path, skip_bad=True)) == 2


@pytest.mark.parametrize("damage", [b"", b"no array", None])
def test_a_damaged_index_is_built_again(folder, damage):
    path = write(folder, [record(i) for i in range(5)])
    InstanceStore(path)
    (index,) = (folder / sidecar.FOLDER).glob("*.index.npy")
    index.write_bytes(index.read_bytes()[:-20] if damage is None else damage)
    assert len(InstanceStore(path)) == 5


def changed(**values):
    def change(rows):
        for name, value in values.items():
            rows[name][1] = value
        return rows

    return change


@pytest.mark.parametrize(
    "damage",
    [
        *({"rows": changed(**{name: value})} for name, value in (("offset", -1), ("offset", 10**6), ("offset", 0))),
        *({"rows": changed(**{name: value})} for name, value in (("length", -1), ("length", 2**31 - 1), ("line", 0))),
        *(
            {"rows": changed(**{name: value})}
            for name, value in (("task", -1), ("task", 9), ("width", -1), ("width", 3))
        ),
        {"rows": lambda rows: rows[None]},
        {"rows": lambda rows: rows["offset"]},
        {"rows": lambda rows: np.asfortranarray(np.stack([rows, rows]))},
        {"task_names": "abc"},
        {"skipped": [1]},
        {"missing_images": None},
    ],
)
def test_an_index_that_cannot_be_one_of_its_file_is_built_again(folder, damage):
    path = write(folder, [record(i) for i in range(5)])
    expected = list(InstanceStore(path))
    (index,) = (folder / sidecar.FOLDER).glob("*.index.npy")
    good = index.read_bytes()
    rewritten(index)
    assert index.read_bytes() == good
    rewritten(index, **damage)
    assert list(InstanceStore(path)) == expected and index.read_bytes() == good


def test_a_flipped_bit_anywhere_in_an_index_is_noticed(folder):
    path = write(folder, [record(i) for i in range(3)])
    InstanceStore(path)
    (index,) = (folder / sidecar.FOLDER).glob("*.index.npy")
    good = index.read_bytes()
    for place in range(len(good)):
        index.write_bytes(good[:place] + bytes([good[place] ^ 4]) + good[place + 1 :])
        assert [instance.unique_id for instance in InstanceStore(path)] == ["id0", "id1", "id2"]
        assert index.read_bytes() == good, f"byte {place}"


def test_an_index_never_holds_python_objects(folder):
    path = write(folder, [record(0)])
    InstanceStore(path)
    (index,) = (folder / sidecar.FOLDER).glob("*.index.npy")
    np.save(index, np.array([print], dtype=object), allow_pickle=True)
    assert len(InstanceStore(path)) == 1


def test_a_directory_that_cannot_be_written_uses_the_cache(folder, tmp_path):
    (folder / sidecar.FOLDER).write_text("in the way")
    path = write(folder, [record(0)])
    assert len(InstanceStore(path)) == 1
    assert list((tmp_path / "cache").glob("*/train.jsonl.index.npy"))
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(DataError, match="set OFA_MI_CACHE"):
        InstanceStore(path)


def test_interrupted_building_leaves_nothing(folder, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "save", interrupt)
    with pytest.raises(KeyboardInterrupt):
        InstanceStore(write(folder, [record(0)]))
    assert not list((folder / sidecar.FOLDER).glob("*.npy*"))


# -- processes


def test_a_digest_tells_the_instances_wherever_they_lie(folder, tmp_path):
    first = InstanceStore(write(folder, [record(i) for i in range(4)])).digest
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(folder, elsewhere, ignore=shutil.ignore_patterns(sidecar.FOLDER))
    assert InstanceStore(elsewhere / "train.jsonl").digest == first
    text = (elsewhere / "train.jsonl").read_bytes()
    (elsewhere / "train.jsonl").write_bytes(text.rstrip(b"\n"))
    assert InstanceStore(elsewhere / "train.jsonl").digest == first, "an end of line is no change"
    lines = text.splitlines(keepends=True)
    (elsewhere / "train.jsonl").write_bytes(b"".join([lines[1], lines[0], *lines[2:]]))
    assert InstanceStore(elsewhere / "train.jsonl").digest != first


def test_a_store_works_in_other_processes(folder):
    path = write(folder, [with_image(i) for i in range(200)])
    instances = InstanceStore(path)
    expected = [instance.unique_id for instance in instances]
    copy = received(pickle.dumps(instances))
    assert copy[199] == instances[199] and copy.task_ids.tolist() == instances.task_ids.tolist()
    assert len(pickle.dumps(instances)) < 2000  # the index is not part of it
    with multiprocessing.get_context("fork").Pool(2) as pool:  # they share the open file
        assert pool.map(_reader(instances), list(range(200)) * 3) == expected * 3


class _reader:
    def __init__(self, instances):
        self.instances = instances

    def __call__(self, i):
        return self.instances[i].unique_id


def test_a_copy_of_a_file_that_has_changed_is_refused(folder):
    path = write(folder, [record(i) for i in range(3)])
    copy = pickle.dumps(InstanceStore(path))
    write(folder, [record(i) for i in range(4)])
    InstanceStore(path)
    with pytest.raises(DataError, match="changed while it was in use"):
        received(copy)


def _open(path, queue):
    queue.put(len(InstanceStore(path)))


def test_processes_that_open_a_new_file_at_once_agree(folder):
    path = write(folder, [record(i) for i in range(300)])
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    processes = [context.Process(target=_open, args=(path, queue)) for _ in range(4)]
    for process in processes:
        process.start()
    assert [queue.get(timeout=60) for _ in processes] == [300] * 4
    for process in processes:
        process.join()


def test_opening_a_split(folder):
    assert open_store(folder, "train") is None
    write(folder, [record(0)])
    assert isinstance(open_store(folder, "train"), InstanceStore)


def test_the_public_releases_lines_say_what_they_lack(shared_data):
    """Its regions are strings and its image sizes are missing: a converter must read it, not the store."""
    with pytest.raises(DataError, match=r"train\.jsonl:1: instance .*unknown field 'prompt'"):
        Instance.from_json((shared_data / "release/train.jsonl").read_bytes().splitlines()[0], "train.jsonl:1")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ["image_path", "image_size", "region", "options", "question", "text", "context", "target_txt", "target_set"]


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([*FIELDS, "references", "answers", "meta_data", "unique_id", "task_name"]), JSON, max_size=4
    )
)
@example({"context": "two words", "question": ["", [1, 2, 3, 4]]})
def test_any_record_is_an_instance_or_a_data_error(fields):
    try:
        instance = Instance.from_json(json.dumps(record(1) | fields), "here:1")
    except DataError as error:
        assert str(error).startswith("here:1: ")
    else:
        assert Instance.from_record(instance.to_record(), "here:1") == instance
        texts = [instance.question, instance.text, instance.target, *instance.context, *(instance.options or ())]
        assert all(isinstance(text, tuple) and "" not in text for text in texts)


@pytest.mark.parametrize("context", ["two words", ["two words"]])
def test_a_context_of_one_text_may_be_written_without_a_list(context):
    assert Instance.from_record(record(1, context=context), "").context == (("two words",),)
