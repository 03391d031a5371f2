"""The place in an epoch: any number of processes goes on from it with the same instances, and nothing else does."""

import logging

import pytest
import torch
from fairseq.data import iterators
from hypothesis import given, settings
from hypothesis import strategies as st

from ofa_mi.data.batches import EpochBatches, Origin
from ofa_mi.errors import ConfigError

ORIGIN = Origin(
    settings={"batch_size": "2", "seed": "1", "tasks": "a b"}, data=[["x/train.jsonl", "1"]], update_freq=[1]
)


class Numbers(torch.utils.data.Dataset):
    def __getitem__(self, index):
        return index


def epoch(batches=7, processes=1, rank=0, origin=ORIGIN, **named):
    """The batches of two instances each; the last one has one."""
    numbers = list(range(2 * batches - 1))
    found = EpochBatches(
        dataset=Numbers(),
        collate_fn=list,
        batch_sampler=[numbers[start : start + 2] for start in range(0, len(numbers), 2)],
        num_shards=processes,
        shard_id=rank,
        seed=3,
        epoch=1,
        **named,
    )
    found.origin = origin
    return found


def train(places, update_freq, updates=None):
    """Let every process take its updates, all if there is no number; the instances of each update of all, in order."""
    grouped = [iterators.GroupedIterator(place.next_epoch_itr(), update_freq) for place in places]
    found = []
    while updates is None or len(found) < updates:
        if not grouped[0].has_next():
            break
        parts = [next(each) for each in grouped]
        found.append([batch for step in zip(*parts, strict=True) for batch in step if batch])
    return found


def flat(updates):
    return [batch for update in updates for batch in update]


@given(
    batches=st.integers(1, 30),
    before=st.tuples(st.integers(1, 5), st.integers(1, 4)),
    then=st.tuples(st.integers(1, 5), st.integers(1, 4)),
    last=st.tuples(st.integers(1, 5), st.integers(1, 4)),
    updates=st.tuples(st.integers(1, 4), st.integers(1, 4)),
)
@settings(max_examples=60, deadline=None)
def test_any_processes_and_accumulation_go_on_with_the_same_instances(batches, before, then, last, updates):
    """Stopped twice, each time going on with other numbers: the batches are those of one process, in its order."""
    expected = flat(train([epoch(batches)], 1))
    found, state = [], None
    for (processes, update_freq), number in zip((before, then, last), (*updates, None), strict=True):
        places = [epoch(batches, processes, rank) for rank in range(processes)]
        if state is not None:
            for place in places:
                place.load_state_dict(state)
        found += flat(train(places, update_freq, number))
        states = [place.state_dict() for place in places]
        assert all(other == states[0] for other in states)
        state = states[0]
        if state["iterations_in_epoch"] == 0:
            break
        assert state["instances"] == sum(map(len, found)) and state["batches"] == len(found)
    assert found == expected
    assert (state["epoch"], state["batches"], state["instances"]) == (2, 0, 0)


def test_the_same_processes_take_the_same_batches_as_fairseq_gives_them():
    for rank in range(3):
        ours = epoch(8, 3, rank)
        theirs = iterators.EpochBatchIterator(
            Numbers(), list, ours.frozen_batches, seed=3, num_shards=3, shard_id=rank, epoch=1
        )
        assert list(ours.next_epoch_itr()) == list(theirs.next_epoch_itr())


@pytest.mark.parametrize("n", [0, 2, 3])
@pytest.mark.parametrize("skip", [False, True])
def test_accumulation_counts_what_is_left(n, skip):
    left = iterators.CountingIterator(iter(range(n, 9)), start=n, total=9)
    groups = iterators.GroupedIterator(left, 4, skip_remainder_batch=skip)
    found = list(groups)
    assert [item for group in found for item in group] == list(range(n, 9))[: (9 - n) // 4 * 4 if skip else None]
    assert len(groups) == groups.n and not left.has_next()


def test_the_count_goes_on_where_it_was():
    place = epoch(9, 2)
    train([place], 1, 2)  # 4 of 9 batches are done by two processes
    single = epoch(9)
    single.load_state_dict(place.state_dict())
    iterator = single.next_epoch_itr()
    assert (iterator.n, len(iterator), len(list(iterator))) == (4, 9, 5)


def changed(**fields):
    return Origin(**{"settings": ORIGIN.settings, "data": ORIGIN.data, "update_freq": [1], **fields})


OTHERS = [
    (changed(settings={**ORIGIN.settings, "batch_size": "4"}), "--batch-size is 4, and was 2"),
    (changed(settings={**ORIGIN.settings, "seed": "2"}), "--seed is 2, and was 1"),
    (changed(settings={**ORIGIN.settings, "tasks": "a c"}), "--tasks and --exclude-tasks choose otherwise about b, c"),
    (changed(data=[["y/train.jsonl", "2"]]), "y/train.jsonl has changed since the checkpoint was written"),
    (changed(data=[*ORIGIN.data, ["y/train.jsonl", "2"]]), "there are 2 files of training data, and were 1"),
]


@pytest.mark.parametrize(("origin", "message"), OTHERS)
def test_other_batches_are_refused_within_an_epoch_and_told_at_its_beginning(origin, message, caplog):
    place = epoch()
    train([place], 1, 2)
    with pytest.raises(ConfigError) as error:
        epoch(origin=origin).load_state_dict(place.state_dict())
    assert str(error.value).startswith(f"cannot resume within epoch 1: {message}; restore that, or give --reset-datal")
    assert "\n" not in str(error.value)
    train([place], 1)
    other = epoch(origin=origin)
    other.load_state_dict(place.state_dict())
    assert f"resuming at the beginning of epoch 2: {message}" in caplog.text and other.epoch == 2


def test_a_moved_file_is_the_same():
    place = epoch()
    train([place], 1, 2)
    moved = epoch(origin=changed(data=[["elsewhere/train.jsonl", "1"]]))
    moved.load_state_dict(place.state_dict())
    assert moved.next_epoch_itr().n == 2


def test_what_no_setting_says_shows_in_the_batches():
    place = epoch()
    train([place], 1, 2)
    other = epoch()
    other._frozen_batches = other.frozen_batches[::-1]
    with pytest.raises(ConfigError, match="its batches are others now"):
        other.load_state_dict(place.state_dict())
    shorter = epoch(2)
    with pytest.raises(ConfigError, match="2 of its batches are done, and now it has 2"):
        shorter.load_state_dict(place.state_dict())


def test_a_schedule_that_changes_is_told_once(caplog):
    caplog.set_level(logging.WARNING)
    place = epoch(processes=2, origin=changed(update_freq=[2]))
    train([place], 2, 1)
    for rank in range(2):
        epoch(processes=2, rank=rank).load_state_dict(place.state_dict())
    assert caplog.text.count("an update is made of 2 batches now, and was of 4") == 1
    caplog.clear()
    epoch(origin=changed(update_freq=[4])).load_state_dict(place.state_dict())
    assert not caplog.text, "as many batches as before"


def test_groups_depend_on_the_number_of_processes():
    place = epoch(processes=2, grouped_shuffling=True)
    train([place], 1, 2)
    with pytest.raises(ConfigError, match="--grouped-shuffling mixes the batches of 1 processes otherwise than of 2"):
        epoch(grouped_shuffling=True).load_state_dict(place.state_dict())


def test_a_place_from_before_places_were_kept():
    place = epoch(processes=2)
    train([place], 1, 2)
    old = {name: place.state_dict()[name] for name in ("version", "epoch", "iterations_in_epoch", "shuffle")}
    same = epoch(processes=2)
    same.load_state_dict(old)
    assert same.next_epoch_itr().n == 2
    one = epoch()
    one.load_state_dict({**old, "processes": 2})  # which its settings tell
    assert one.next_epoch_itr().n == 4
