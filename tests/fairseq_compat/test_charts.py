"""Charts of a training: written offline, with scores of tasks under names of their own."""

import importlib.util
import sys
from types import ModuleType

import pytest
from fairseq.logging import progress_bar

from ofa_mi.errors import ConfigError
from ofa_mi.fairseq_compat import charts

SHORT = ("--max-update", "2", "--validate-interval-updates", "2")


def test_tensorboard_holds_losses_and_scores(run, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    done = run(*SHORT, "--tensorboard-logdir", str(tmp_path / "charts"))
    assert done.status == 0, done.error
    for writer in vars(progress_bar)["_tensorboard_writers"].values():
        writer.close()
    vars(progress_bar)["_tensorboard_writers"].clear()
    found = {}
    for tag in ("train", "valid"):
        events = accumulator.EventAccumulator(str(tmp_path / "charts" / tag)).Reload()
        found[tag] = {name: events.Scalars(name) for name in events.Tags()["scalars"]}
    assert {"loss", "score/easy_vqa", "score/mean"} <= found["valid"].keys()
    assert "easy_vqa" not in found["valid"] and {"loss", "lr", "gnorm"} <= found["train"].keys()
    assert [event.step for event in found["valid"]["score/easy_vqa"]][-1] == 2
    assert 0 <= found["valid"]["score/easy_vqa"][-1].value <= 100


def test_weights_and_biases_is_told_the_same(run, monkeypatch):
    logged, wandb = {}, ModuleType("wandb")
    wandb.__spec__ = importlib.util.spec_from_loader("wandb", None)
    wandb.init = lambda **settings: logged.update(settings)
    wandb.log = lambda values, step: logged.update(values)
    wandb.config = type("Config", (), {"update": staticmethod(lambda config: None)})
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.setattr(progress_bar, "wandb", wandb)
    done = run(*SHORT, "--wandb-project", "tuning")
    assert done.status == 0, done.error
    assert logged["project"] == "tuning"
    assert {"valid/score/easy_vqa", "valid/score/mean", "valid/loss", "train/loss", "train/lr"} <= logged.keys()


def test_charts_without_their_library_are_refused(settings, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    charts.check(settings.common)
    for name, message in (
        ("tensorboard_logdir", "needs tensorboard: pip install"),
        ("wandb_project", "pip install wandb"),
    ):
        with pytest.raises(ConfigError, match=message):
            charts.check(type("Common", (), {"tensorboard_logdir": None, "wandb_project": None, name: "x"}))


def test_names_of_other_values_stay():
    charts.remember({"nlvr"})
    assert charts.chart_names({"loss": 1, "nlvr": 2, "score": 3}) == {"loss": 1, "score/nlvr": 2, "score/mean": 3}
    charts.remember(set())
