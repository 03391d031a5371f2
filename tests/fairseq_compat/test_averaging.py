"""``--store-ema``: what is averaged, that a resumed run averages on bit for bit, and that the average can be used."""

from argparse import Namespace

import pytest
import torch
from torch import nn

from ofa_mi import checkpoint, cli
from ofa_mi.errors import CheckpointError
from ofa_mi.fairseq_compat.averaging import Average

STORE = ("--store-ema", "--ema-decay", "0.5")


class Model(nn.Module):
    """A tied parameter, a statistic and a counter, as OFA has them."""

    def __init__(self, value, dtype=torch.float):
        super().__init__()
        self.first = nn.Embedding(2, 3, dtype=dtype)
        self.last = nn.Linear(3, 2, bias=False)
        self.last.weight = self.first.weight
        self.register_buffer("mean", torch.zeros(2, dtype=dtype))
        self.register_buffer("count", torch.tensor(0))
        self.set(value)

    def set(self, value):
        nn.init.constant_(self.first.weight, value)
        self.mean.fill_(2 * value)
        self.count.fill_(int(value))


def average(model, **options):
    settings = {"ema_decay": 0.75, "ema_fp32": False, "ema_seed_model": None, "ema_start_update": 0}
    return Average(model, Namespace(**settings | {"ema_update_freq": 1} | options))


@pytest.mark.parametrize("options", [{}, {"ema_fp32": True}], ids=str)
def test_each_tensor_is_averaged_once_and_a_counter_is_kept(options):
    model = Model(4.0)
    ema = average(model, **options)
    model.set(8.0)
    ema.step(model, 1)
    own = ema.get_model()
    assert own.first.weight.tolist() == [[5.0] * 3] * 2, "0.75 * 4 + 0.25 * 8, however many names it has"
    assert own.last.weight is own.first.weight
    assert own.mean.tolist() == [10.0, 10.0] and own.count.item() == 8
    assert all(torch.equal(own.state_dict()[name], value) for name, value in ema.fp32_params.items())


def test_single_precision_keeps_steps_that_half_precision_rounds_away():
    model = Model(1.0, torch.half)
    ema = average(model, ema_decay=0.9999, ema_fp32=True)
    model.set(2.0)
    for update in range(1, 101):
        ema.step(model, update)
    expected = 2 - 0.9999**100
    assert ema.fp32_params["last.weight"][0, 0].item() == pytest.approx(expected, abs=1e-5)
    assert ema.get_model().last.weight[0, 0].item() == pytest.approx(expected, abs=1e-3)


def test_updates_that_are_due_follow_from_their_number():
    model, changes = Model(0.0), []
    ema = average(model, ema_update_freq=3)
    for update in range(5, 11):  # as of a run that was resumed after update 4
        model.set(float(update))
        before = ema.get_model().mean.clone()
        ema.step(model, update)
        if not torch.equal(ema.get_model().mean, before):
            changes.append(update)
    assert changes == [6, 9]


def contents(path):
    state = checkpoint.read(path)
    return state["model"], state["extra_state"]["ema"]


@pytest.mark.parametrize("options", [(), ("--ema-fp32", "--ema-update-freq", "3")], ids=str)
def test_two_and_two_updates_are_four(run, tmp_path, options):
    store = (*STORE, *options, "--disable-validation")
    assert run(*store, "--max-update", "4", save_dir=tmp_path / "whole").status == 0
    assert run(*store, "--max-update", "2", save_dir=tmp_path / "parts").status == 0
    assert run(*store, "--max-update", "4", save_dir=tmp_path / "parts").status == 0
    whole, parts = (contents(tmp_path / name / "checkpoint_last.pt") for name in ("whole", "parts"))
    for one, other in zip(whole, parts, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)
    weights, averages = whole
    name = "encoder.layers.0.fc1.weight"
    assert not torch.equal(weights[name], averages[name])


def test_an_average_begins_with_the_weights_of_the_start(run, tmp_path):
    """fairseq deletes the weights that it then wants to begin with."""
    first = run("--max-update", "1", "--disable-validation", save_dir=tmp_path / "first").out / "checkpoint_last.pt"
    start = ("--finetune-from-model", str(first), "--lr", "0", "--max-update", "1", "--disable-validation")
    done = run(*STORE, *start)
    assert done.status == 0, done.error
    assert "holds no average (EMA): it begins with the checkpoint's weights" in done.log
    weights, averages = contents(done.out / "checkpoint_last.pt")
    name = "encoder.layers.0.fc1.weight"
    assert torch.equal(checkpoint.read(first)["model"][name], weights[name]) and torch.equal(
        weights[name], averages[name]
    )


@pytest.fixture
def averaged(run):
    """A checkpoint with an average."""
    return run(*STORE, "--max-update", "3", "--disable-validation").out / "checkpoint_last.pt"


def test_an_average_is_offered_and_used(averaged, tmp_path, capsys, caplog):
    weights, averages = contents(averaged)
    caplog.clear()
    loaded = checkpoint.load(averaged).model.state_dict()
    assert f"{averaged} also holds averaged weights (EMA): --weights ema uses them" in caplog.text
    assert all(torch.equal(loaded[name], weights[name]) for name in weights)
    caplog.clear()
    loaded = checkpoint.load(averaged, weights="ema").model.state_dict()
    assert not caplog.records
    assert all(torch.equal(loaded[name], averages[name]) for name in averages)

    converted = tmp_path / "ema.safetensors"
    assert cli.main(["checkpoint", "convert", str(averaged), str(converted), "--weights", "ema"]) == 0
    found = checkpoint.read(converted)
    assert all(torch.equal(found["model"][name], averages[name]) for name in averages)
    assert not checkpoint.has_average(found)
    capsys.readouterr()
    assert cli.main(["checkpoint", "info", str(averaged)]) == 0
    assert "averages      yes: --weights ema" in capsys.readouterr().out
    assert cli.main(["checkpoint", "convert", str(converted), str(tmp_path / "x.pt"), "--weights", "ema"]) == 2
    assert "holds no averaged weights (EMA)" in capsys.readouterr().err


def test_single_precision_is_used_where_there_is_some(tmp_path):
    """As OFA's own training saves it: `ema` in the model's precision, `ema_fp32_params` in single."""
    file = tmp_path / "a.pt"
    file.write_bytes(bytes(100))  # an average of more than its bytes would be refused
    extra = {"ema": {"a": torch.zeros(1).half()}, "ema_fp32_params": {"a": torch.ones(1)}}
    state = {"model": {"a": torch.zeros(1)}, "extra_state": extra}
    checkpoint.select_weights(state, "ema", file)
    assert state["model"]["a"].item() == 1
    del extra["ema_fp32_params"]
    checkpoint.select_weights(state, "ema", file)
    assert state["model"]["a"].dtype is torch.half
    extra["ema"] = {"a": 3}
    with pytest.raises(CheckpointError, match="no tensor"):
        checkpoint.select_weights(state, "ema", file)


@pytest.mark.parametrize("command", ["predict", "evaluate", "attention"])
def test_commands_take_the_weights_that_are_asked_for(command, averaged, tmp_path, data, monkeypatch):
    seen = []

    class Stop(Exception):
        pass

    def load(path, *, bpe_dir=None, weights="model"):
        seen.append(weights)
        raise Stop

    monkeypatch.setattr(checkpoint, "load", load)
    data.joinpath("test.jsonl").write_bytes((data / "valid.jsonl").read_bytes())
    images = tmp_path / "data"
    images.mkdir()
    arguments = {
        "predict": ["predict", "--checkpoint", str(averaged), "--instruction", "what?"],
        "evaluate": ["evaluate", "--checkpoint", str(averaged), "--data", str(data), "--out", str(tmp_path / "o")],
        "attention": ["attention", str(averaged), "--data", str(with_image(images)), "--out", str(tmp_path / "o")],
    }[command]
    if command != "predict":
        arguments += ["--tasks", "easy_vqa"]
    for extra, expected in (([], "model"), (["--weights", "ema"], "ema")):
        with pytest.raises(Stop):
            cli.main([*arguments, *extra])
        assert seen.pop() == expected


def with_image(folder):
    from PIL import Image

    Image.new("RGB", (40, 30), "white").save(folder / "a.png")
    line = '{"unique_id": "1", "task_name": "easy_vqa", "question": "what colour?", "target_txt": "white", '
    (folder / "test.jsonl").write_text(f'{line}"image_path": "a.png", "image_size": [40, 30]}}\n')
    return folder


def test_a_run_is_not_continued_with_other_weights(averaged, data, tmp_path, capsys):
    data.joinpath("test.jsonl").write_bytes((data / "valid.jsonl").read_bytes())
    arguments = ["evaluate", "--checkpoint", str(averaged), "--data", str(data), "--out", str(tmp_path / "o")]
    arguments += ["--tasks", "easy_vqa", "--max-len", "2", "--beam", "1", "--instructions", "1"]
    assert cli.main([*arguments, "--weights", "ema"]) == 0
    assert cli.main([*arguments, "--weights", "ema"]) == 0
    capsys.readouterr()
    assert cli.main(arguments) == 2
    assert "holds a run with other settings: checkpoint is" in capsys.readouterr().err


def test_a_seed_model_gives_its_average_or_one_line(averaged, run, tmp_path):
    seed = ("--store-ema", "--max-update", "1", "--disable-validation", "--ema-seed-model")
    done = run(*seed, str(averaged), "--ema-decay", "1", save_dir=tmp_path / "seeded")
    name = "encoder.layers.0.fc1.weight"
    assert torch.equal(contents(done.out / "checkpoint_last.pt")[1][name], contents(averaged)[1][name])
    plain = tmp_path / "plain.pt"
    checkpoint.save(checkpoint.portable(checkpoint.read(averaged)), plain)
    done = run(*seed, str(plain), save_dir=tmp_path / "none")
    assert done.status == 2 and "plain.pt: holds no averaged weights" in done.error


def test_validation_with_the_average(run, tmp_path):
    """At a decay of 1 the average stays the start, whose loss is validated."""
    frozen = (
        "--store-ema",
        "--ema-decay",
        "1",
        "--ema-start-update",
        "0",
        "--max-update",
        "4",
        "--valid-metrics",
        "on",
    )
    first = run(*frozen, "--lr", "1e-2").out / "checkpoint_last.pt"
    used = run(*frozen, "--lr", "1e-2", "--uses-ema", save_dir=tmp_path / "used")
    values = [checkpoint.read(path)["extra_state"]["val_loss"] for path in (first, used.out / "checkpoint_last.pt")]
    assert values[0] < values[1] - 0.1
    a, b = (checkpoint.read(path)["model"] for path in (first, used.out / "checkpoint_last.pt"))
    assert all(torch.equal(a[name], b[name]) for name in a), "what is trained is the same"
