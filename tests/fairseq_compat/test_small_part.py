"""A run that tunes a small part: its checkpoints hold that part, it goes on, and the part is used with its base."""

import pytest
import torch

from ofa_mi import checkpoint, cli, small_part
from ofa_mi.errors import CheckpointError
from ofa_mi.fairseq_compat import small_part as of_runs

LORA = ("--lora-rank", "2", "--lora-alpha", "8")
ONE = ("--max-update", "2", "--disable-validation", "--lr", "0.05")


@pytest.fixture
def base(run, tmp_path):
    """A whole model, the start of the tunings."""
    return run(*ONE[:3], save_dir=tmp_path / "base").out / "checkpoint_last.pt"


def weights(path):
    return checkpoint.load(path).model.state_dict()


def logits(path):
    model = checkpoint.load(path).model
    generator = torch.Generator().manual_seed(0)
    source, target = (torch.randint(4, 50, (2, n), generator=generator) for n in (6, 3))
    with torch.no_grad():
        return model(source, None, target, torch.randn(2, 3, 32, 32, generator=generator))[0]


@pytest.mark.parametrize(
    ("options", "pattern"), [(LORA, "lora_"), (("--adapter", "--adapter-dim", "4"), "adapter"), (("--bitfit",), "bias")]
)
def test_only_the_small_part_is_saved_and_merging_keeps_the_logits(run, base, tmp_path, options, pattern):
    done = run(*ONE, "--finetune-from-model", str(base), *options, "--store-ema", save_dir=tmp_path / "small")
    assert done.status == 0, done.error
    assert "not in the checkpoint" not in done.log
    small = done.out / "checkpoint_last.pt"
    state = checkpoint.read(small)
    assert state["model"] and all(pattern in name for name in state["model"])
    assert state["model"].keys() == state["extra_state"]["ema"].keys()
    assert small.stat().st_size < base.stat().st_size / 4
    both = f"{base}+{small}"
    expected = logits(both)
    assert not torch.allclose(expected, logits(base), atol=1e-3)
    for name in ("merged.safetensors", "merged.pt"):
        assert cli.main(["checkpoint", "merge", str(base), str(small), str(tmp_path / name)]) == 0
        assert (logits(tmp_path / name) - expected).abs().max() <= 1e-5 * expected.abs().max()
        assert not any("lora_" in entry for entry in checkpoint.read(tmp_path / name)["model"])
    average = checkpoint.load(both, weights="ema").model.state_dict()
    assert cli.main(["checkpoint", "merge", "--weights", "ema", str(base), str(small), str(tmp_path / "ema.pt")]) == 0
    if pattern != "lora_":
        found = weights(tmp_path / "ema.pt")
        assert all(torch.equal(found[name], weight) for name, weight in average.items())


def test_a_run_that_goes_on_gives_what_one_without_a_stop_gives(run, base, tmp_path):
    start = ("--disable-validation", "--finetune-from-model", str(base), *LORA, "--store-ema", "--ema-fp32")
    whole = run(*start, "--max-update", "3", save_dir=tmp_path / "whole")
    part = run(*start, "--max-update", "1", save_dir=tmp_path / "part")
    moved = base.rename(tmp_path / "moved.pt")
    assert run(*start, "--max-update", "3", save_dir=tmp_path / "part").status == 2  # its base is not there
    moved.rename(base)
    part = run(*start, "--max-update", "3", save_dir=tmp_path / "part")
    states = [checkpoint.read(done.out / "checkpoint_last.pt") for done in (whole, part)]
    for key in ("model", "ema", "ema_fp32_params"):
        first, second = (state["model"] if key == "model" else state["extra_state"][key] for state in states)
        assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_what_does_not_belong_together_is_refused(run, base, tmp_path, capsys):
    other = run("--max-update", "1", "--disable-validation", "--seed", "5", save_dir=tmp_path / "other").out
    other = other / "checkpoint_last.pt"
    start = ("--finetune-from-model", str(base), *LORA)
    small = run(*ONE, *start, save_dir=tmp_path / "small").out / "checkpoint_last.pt"
    for path, message in (
        (small, "holds only the small part that a tuning of 'checkpoint_last.pt'"),
        (f"{other}+{small}", "has other weights"),
        (f"{base}+{other}", "is a whole model"),
        (f"{small}+{small}", "name both, as BASE+SMALL"),
        (f"{tmp_path / 'absent.pt'}+{small}", "absent.pt: no such file"),
    ):
        with pytest.raises(CheckpointError) as caught:
            checkpoint.load(path)
        assert message in str(caught.value)
    for options, save_dir, message in (
        ((), "small", "give the --lora-…, --adapter and --bitfit options of the run"),
        (("--finetune-from-model", str(base), "--adapter"), "small", "small part of another tuning"),
        (LORA, "new", "--lora-rank tunes a small part of a model: name the whole by --finetune-from-model"),
        (("--finetune-from-model", f"{base}+{small}"), "new", "`ofa-mi checkpoint merge` makes one of both"),
        (start, "other", "was trained as a whole"),
        ((*start, "--ddp-backend", "fully_sharded"), "new", "--ddp-backend fully_sharded"),
        (("--finetune-from-model", str(small)), "new", "is the small part of another tuning"),
    ):
        done = run("--max-update", "4", "--disable-validation", *options, save_dir=tmp_path / save_dir)
        assert done.status == 2 and message in done.error.splitlines()[-1], done.error
    assert cli.main(["checkpoint", "info", str(small)]) == 0
    assert "small part of 'checkpoint_last.pt', sha256 '" in capsys.readouterr().out
    assert cli.main(["checkpoint", "merge", str(base), str(small), str(tmp_path / "out.zip")]) == 2


def test_a_small_part_without_its_training_state_belongs_to_the_base_in_another_format(run, base, tmp_path):
    start = ("--finetune-from-model", str(base), *LORA)
    small = run(*ONE, *start, save_dir=tmp_path / "small").out / "checkpoint_last.pt"
    for source, name in ((base, "base.safetensors"), (small, "small.safetensors")):
        assert cli.main(["checkpoint", "convert", str(source), str(tmp_path / name)]) == 0
    both = f"{tmp_path / 'base.safetensors'}+{tmp_path / 'small.safetensors'}"
    assert torch.equal(logits(both), logits(f"{base}+{small}"))


def test_the_digest_is_of_the_weights_alone():
    weights = {"encoder.embed_tokens.weight": torch.ones(3, 2), "a.bias": torch.zeros(2, dtype=torch.bfloat16)}
    found = small_part.digest(weights)
    further = {"decoder.embed_tokens.weight": torch.ones(3, 2), "encoder.version": torch.tensor([3.0])}
    assert small_part.digest({**weights, **further, "encoder.token_rp_bucket": torch.ones(2)}) == found
    for other in ({"a.bias": torch.ones(2, dtype=torch.bfloat16)}, {"a.bias": torch.zeros(2)}, {"b": torch.zeros(())}):
        assert small_part.digest({**weights, **other}) != found


def test_options_are_those_that_make_a_tuning():
    from ofa_mi.models import Config

    assert not Config().tunes_part
    assert all(Config(**{name: 1}).tunes_part for name in of_runs.OPTIONS)
