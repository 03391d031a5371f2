"""What an epoch consists of: caps and temperature."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ofa_mi.data.mixture import Mixture
from ofa_mi.errors import ConfigError

TASK_IDS = st.lists(st.integers(0, 6), min_size=1, max_size=120).map(np.array)
TEMPERATURES = st.sampled_from([0.5, 1.5, 3.0, 100.0, float("inf")])
SEEDS = st.integers(0, 1000)


def mixture(task_ids, cap=0, temperature=1.0, seed=1):
    return Mixture(np.array(task_ids), cap=cap, temperature=temperature, seed=seed)


@settings(max_examples=40, deadline=None)
@given(TASK_IDS, SEEDS, st.integers(1, 50))
def test_without_cap_and_temperature_an_epoch_is_every_instance_once(task_ids, seed, epoch):
    assert sorted(mixture(task_ids, seed=seed).epoch(epoch)) == list(range(len(task_ids)))


@settings(max_examples=40, deadline=None)
@given(TASK_IDS, st.integers(1, 20), SEEDS)
def test_cap_chooses_the_same_instances_in_every_epoch(task_ids, cap, seed):
    capped = mixture(task_ids, cap=cap, seed=seed)
    first = capped.epoch(1)
    counts, all_counts = (np.bincount(ids, minlength=7) for ids in (task_ids[first], task_ids))
    assert (counts == np.minimum(all_counts, cap)).all()
    assert sorted(first) == sorted(capped.epoch(2)) and len(first) == capped.size


@settings(max_examples=60, deadline=None)
@given(TASK_IDS, st.integers(0, 20), TEMPERATURES, SEEDS, st.integers(1, 50))
def test_temperature_keeps_size_shares_and_even_repetition(task_ids, cap, temperature, seed, epoch):
    mixed = mixture(task_ids, cap=cap, temperature=temperature, seed=seed)
    indices = mixed.epoch(epoch)
    assert len(indices) == mixed.size == sum(np.minimum(np.bincount(task_ids), cap or np.inf))
    tasks, counts = np.unique(task_ids, return_counts=True)
    counts = np.minimum(counts, cap or counts.max())
    expected = counts ** (1 / temperature) / (counts ** (1 / temperature)).sum() * mixed.size
    drawn = np.bincount(task_ids[indices], minlength=7)[tasks]
    assert (np.abs(drawn - expected) < 1 + 1e-6).all()
    for members in mixed.members:
        times = np.bincount(indices, minlength=len(task_ids))[members]
        assert times.max() - times.min() <= 1


@settings(max_examples=20, deadline=None)
@given(TASK_IDS, TEMPERATURES, SEEDS, st.integers(1, 50))
def test_an_epoch_depends_on_seed_and_epoch_only(task_ids, temperature, seed, epoch):
    one, other = (mixture(task_ids, cap=5, temperature=temperature, seed=seed) for _ in range(2))
    one.epoch(epoch + 1)  # what was drawn before plays no part
    assert one.epoch(epoch).tolist() == other.epoch(epoch).tolist()


def test_infinite_temperature_gives_every_task_the_same_share():
    task_ids = np.repeat([3, 5, 9], [1000, 100, 10])
    drawn = task_ids[mixture(task_ids, temperature=float("inf")).epoch(1)]
    assert [int((drawn == task).sum()) for task in (3, 5, 9)] == [370, 370, 370]


def test_a_task_that_deserves_less_than_one_instance_is_drawn_now_and_then():
    mixed = mixture(np.repeat([0, 1], [50, 1]), temperature=0.5)
    assert 0 <= sum(50 in mixed.epoch(epoch) for epoch in range(2000)) - 2000 * 51 / 2501 + 30 <= 60


def test_epochs_of_a_downsampled_task_differ_and_are_shuffled():
    mixed = mixture(np.repeat([0, 1], [1000, 10]), temperature=float("inf"))
    first, second = mixed.epoch(1), mixed.epoch(2)
    assert set(first) != set(second)
    assert not np.all(np.diff(first) >= 0)


def test_another_seed_caps_to_other_instances():
    assert sorted(mixture([0] * 100, cap=10, seed=1).epoch(1)) != sorted(mixture([0] * 100, cap=10, seed=2).epoch(1))


def test_no_instances_make_an_empty_epoch():
    assert mixture(np.empty(0, dtype=np.int32)).epoch(1).tolist() == []


@pytest.mark.parametrize("options", [{"cap": -1}, {"temperature": 0}, {"temperature": float("nan")}])
def test_impossible_settings_are_errors(options):
    with pytest.raises(ConfigError, match=r"cap|temperature"):
        mixture([0, 1], **options)


def test_pools_have_their_share_of_every_epoch():
    task_ids = np.repeat([0, 1, 2, 3], [10, 30, 50, 10])
    pools = {"pools": {0: "text", 1: "text"}, "shares": {"text": 0.5}}
    mixed = Mixture(task_ids, cap=0, temperature=1.0, seed=1, **pools)
    counts = np.mean([np.bincount(task_ids[mixed.epoch(epoch)], minlength=4) for epoch in range(1, 9)], axis=0)
    assert mixed.size == 100 and np.allclose(counts, [12.5, 37.5, 41.67, 8.33], atol=0.6)
    even = Mixture(task_ids, cap=0, temperature=float("inf"), seed=1, **pools)
    assert np.bincount(task_ids[even.epoch(1)]).tolist() == [25, 25, 25, 25]


@pytest.mark.parametrize(
    ("pools", "shares", "message"),
    [
        ({0: "a"}, {"a": 1.0}, "leave nothing"),
        ({0: "a", 1: "b"}, {"a": 0.5, "b": 0.4}, "must add up to 1, not 0.9"),
        ({0: "a"}, {"b": 0.5}, "no instance of it"),
        ({0: "a"}, {"a": 0.0}, "above 0"),
    ],
)
def test_shares_that_cannot_be_are_refused(pools, shares, message):
    with pytest.raises(ConfigError, match=message):
        Mixture(np.array([0, 1]), cap=0, temperature=1.0, seed=1, pools=pools, shares=shares)
