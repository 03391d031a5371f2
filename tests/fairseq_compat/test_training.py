"""A run that diverges, and a run that is resumed with less data, end in one line that says what to do."""

from ofa_mi.fairseq_compat.training import why_diverged
from tests.fairseq_compat.conftest import write_data


def test_divergence_is_one_line_of_what_to_try(run):
    done = run("--lr", "1e30", "--clip-norm", "0", "--max-update", "4", "--disable-validation")
    assert done.status == 2
    (line,) = done.error.splitlines()
    assert line.startswith(
        "ofa-mi train: error: training diverged in update 2: gradients are Nan/Inf. Try a lower --lr"
    )
    assert "--clip-norm 1.0" in line and line.endswith(f"{done.out / 'crash.pt'} holds the state before it")
    assert (done.out / "crash.pt").exists()


def test_advice_fits_the_settings(settings):
    class Trainer:
        cfg = settings

        def get_num_updates(self):
            return 6

    settings.common.fp16, settings.optimization.clip_norm = True, 1.0
    scale = FloatingPointError("Minimum loss scale reached (0.0001). Your loss is probably exploding. Try lowering ...")
    line = why_diverged(scale, Trainer())
    assert line.startswith(
        "training diverged in update 7: Minimum loss scale reached (0.0001). Try a lower --lr than 0.25"
    )
    assert "--bf16 in place of --fp16" in line and "--clip-norm" not in line
    ranks = FloatingPointError(
        "Fatal error: gradients are inconsistent between workers. Try --ddp-backend=legacy_ddp.\n---"
    )
    assert why_diverged(ranks, Trainer()).endswith("legacy_ddp.")


def test_resuming_after_the_data_shrank(run, tmp_path):
    folder = write_data(tmp_path)
    short = ("--disable-validation", "--max-epoch", "2")
    assert run(*short, "--max-update", "3", data=folder).status == 0
    write_data(folder, train=8)
    done = run(*short, data=folder)
    assert done.status == 2
    assert "cannot resume within epoch 1: " in done.error and "\n" not in done.error
    assert f"{folder / 'train.jsonl'} has changed since the checkpoint was written; restore that, or give" in done.error
    done = run(*short, "--reset-dataloader", data=folder)
    assert done.status == 0, done.error
