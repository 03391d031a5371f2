"""Training in bf16 on a CPU: under autocast, with weights and optimiser in fp32."""

import re

import pytest
import torch

from ofa_mi import checkpoint, precision


def losses(log):
    """Loss of every update."""
    return [float(loss) for loss in re.findall(r'"epoch": .*"loss": "([\d.]+)".*"num_updates"', log)]


@pytest.fixture
def trained(run, tmp_path, monkeypatch):
    """The log and the checkpoint of six updates, in either precision. Emulated where the processor lacks bf16."""
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: True)

    def train(*options, save_dir):
        options = ("--log-format", "json", "--log-interval", "1", "--seed", "5", *options)
        done = run("--max-update", "6", *options, save_dir=save_dir)
        assert done.status == 0, done.error
        return losses(done.log), checkpoint.read(done.out / "checkpoint_last.pt")

    return train


def test_losses_follow_those_of_single_precision(trained, tmp_path):
    """Within the rounding of bf16, which has 8 bits."""
    expected, single = trained(save_dir=tmp_path / "fp32")
    found, half = trained("--bf16", save_dir=tmp_path / "bf16")
    assert len(expected) == 6 and expected[-1] < expected[0]
    assert found == pytest.approx(expected, rel=2**-7)
    name = "decoder.layers.0.fc1.weight"
    assert not half["model"][name].equal(single["model"][name]), "nothing was computed in bf16"
    assert {w.dtype for w in half["model"].values() if w.is_floating_point()} == {torch.float32}
    moments = half["last_optimizer_state"]["state"].values()
    assert {state["exp_avg"].dtype for state in moments} == {torch.float32}


def test_a_run_goes_on_in_bf16(trained, tmp_path):
    _, whole = trained("--bf16", save_dir=tmp_path / "whole")
    trained("--bf16", "--max-update", "3", save_dir=tmp_path / "parts")
    _, parts = trained("--bf16", save_dir=tmp_path / "parts")
    assert all(parts["model"][name].equal(weight) for name, weight in whole["model"].items())
