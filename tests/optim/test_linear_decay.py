"""The learning rate from the first update to the last, for runs that end by updates or by epochs."""

from types import SimpleNamespace

import pytest

from ofa_mi.errors import ConfigError
from ofa_mi.optim.linear_decay import LinearDecayConfig, LinearDecaySchedule


class Optimizer:
    """What a schedule needs of an optimizer."""

    lr = None

    def set_lr(self, lr):
        self.lr = lr

    def get_lr(self):
        return self.lr


def schedule(**options):
    settings = {"lr": [0.5], "warmup_ratio": 0.0, "end_lr": 0.0, "max_epoch": 0, "max_update": 0, **options}
    return LinearDecaySchedule(SimpleNamespace(**settings), Optimizer())


@pytest.fixture(autouse=True)
def any_optimizer(monkeypatch):
    """fairseq accepts its own optimizers only."""
    monkeypatch.setattr("fairseq.optim.lr_scheduler.fairseq_lr_scheduler.FairseqOptimizer", Optimizer)


def test_rises_and_falls_in_lines():
    one = schedule(max_update=10, warmup_ratio=0.2)
    rates = [one.step_update(n) for n in range(12)]
    assert rates == pytest.approx(
        [0.5 * x for x in (1 / 3, 2 / 3, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8, 0, 0)]
    )


def test_falls_to_another_end():
    one = schedule(max_update=10, warmup_ratio=0.2, end_lr=0.1)
    rates = [one.step_update(n) for n in (1, 2, 6, 10, 12)]
    assert rates == pytest.approx([0.5 * 2 / 3, 0.5, 0.3, 0.1, 0.1])


def test_without_warmup_the_first_update_has_the_full_rate():
    assert schedule(max_update=4).optimizer.get_lr() == 0.5


@pytest.mark.parametrize(
    ("options", "update_freq", "total"),
    [
        ({"max_epoch": 3}, [1], 21),
        ({"max_epoch": 3}, [2], 12),  # an epoch of 7 batches ends with an update of one batch
        ({"max_epoch": 3}, [4, 1], 2 + 7 + 7),
        ({"max_epoch": 3, "max_update": 5}, [1], 5),
        ({"max_epoch": 3, "max_update": 50}, [1], 21),
        ({"max_update": 50}, [1], 50),
    ],
)
def test_the_end_of_the_run(options, update_freq, total):
    one = schedule(**options)
    one.set_epoch_length(7, update_freq)
    assert one.total == total
    assert one.step_update(total - 1) == pytest.approx(0.5 / total) and one.step_update(total) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "--max-epoch or --max-update"),
        ({"max_update": 5, "warmup_ratio": 1.0}, "--warmup-ratio must be"),
        ({"max_update": 5, "end_lr": 0.6}, r"--end-lr must be from 0 to --lr 0\.5, found 0\.6"),
        ({"max_update": 5, "lr": [0.1, 0.2]}, "takes one learning rate, found 2"),
    ],
)
def test_impossible_settings_are_errors(options, message):
    with pytest.raises(ConfigError, match=message):
        schedule(**options)


def test_the_share_of_warmup_is_documented():
    assert LinearDecayConfig.__dataclass_fields__["warmup_ratio"].metadata["help"]
