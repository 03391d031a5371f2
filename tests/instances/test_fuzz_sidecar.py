"""Indexes, mutated: whatever lies in the place of one, the instances are those of the data file."""

import json

import numpy as np
import pytest

from ofa_mi.instances import sidecar
from ofa_mi.instances.store import InstanceStore
from tests.fuzzing import fuzz, mutate_bytes, mutate_json


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("OFA_MI_CACHE", str(tmp_path / "cache"))
    records = [{"unique_id": f"id{n}", "task_name": f"task{n % 2}", "target_txt": "yes", "text": "a"} for n in range(4)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return InstanceStore(tmp_path / "train.jsonl")


def mutate_signed(content, random):
    """A change to the rows or to what is kept with them, and the checksum that goes with it, as no damage has."""
    try:
        place = content.index(b"\n") + 1
        rows, record = bytearray(content[place:-8]), b""
        cut = rows.rindex(b'{"key"')
        rows, record = rows[:cut], bytes(rows[cut:])
    except ValueError:
        return mutate_bytes(content, random)
    if random.random() < 0.5:
        at = random.randrange(len(rows))
        rows[at] ^= 1 << random.randrange(8)
    else:
        record = mutate_json(record, random)
    return content[:place] + rows + record + sidecar.checksum(np.frombuffer(rows, np.uint8), record)


def test_fuzz_index(store):
    (index,) = (store.root / sidecar.FOLDER).glob("*.index.npy")
    good, expected = index.read_bytes(), list(store)

    def read(content):
        index.write_bytes(content)
        assert list(InstanceStore(store.path, skip_bad=True)) == expected

    fuzz("index", [good], [mutate_bytes], read)


def test_fuzz_index_with_a_checksum_that_fits(store):
    """Nothing tells another task or line of the file from the right one, but nothing outside the file is read."""
    (index,) = (store.root / sidecar.FOLDER).glob("*.index.npy")

    def read(content):
        index.write_bytes(content)
        found = InstanceStore(store.path, skip_bad=True)
        assert len(found.task_ids) == len(found.has_image) == len(found) and found.skipped is not None
        assert all(0 <= task < len(found.task_names) for task in found.task_ids)
        list(found)

    fuzz("index with a fitting checksum", [index.read_bytes()], [mutate_signed], read)
