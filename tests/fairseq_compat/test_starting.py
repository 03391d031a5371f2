"""What is refused before a run begins: missing inputs, and options that would fail or be ignored later."""

import json
import os
import sys

import pytest
import torch
from fairseq.distributed import utils as distributed_utils
from omegaconf import OmegaConf

from ofa_mi import checkpoint, cli, precision
from ofa_mi.errors import ConfigError
from ofa_mi.fairseq_compat.starting import check_run
from ofa_mi.precision import on_cpu
from ofa_mi.tasks.multiinstruct import MultiInstructTask
from tests.fairseq_compat.conftest import write_data


def change(settings, **options):
    """Set `section__name` to a value; the settings."""
    for name, value in options.items():
        OmegaConf.update(settings, name.replace("__", "."), value, force_add=True)
    return settings


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: True)


# -- inputs

# Every option of training that names a file to read; those of the task and the model are among the next ones.
FILES = (
    "checkpoint__restore_file",
    "checkpoint__finetune_from_model",
    "checkpoint__continue_once",
    "ema__ema_seed_model",
    "common__quantization_config_path",
    "common_eval__path",
)


@pytest.mark.parametrize("option", FILES)
@pytest.mark.parametrize(("name", "reason"), [("absent.pt", "no such file"), (".", "is a folder")])
def test_a_file_that_is_named_must_exist(settings, tmp_path, option, name, reason):
    check_run(settings)
    (tmp_path / "there.pt").touch()
    check_run(change(settings, **{option: str(tmp_path / "there.pt")}))
    flag = "--" + option.partition("__")[2].replace("_", "-")
    with pytest.raises(ConfigError, match=rf"^{flag} .*: {reason}"):
        check_run(change(settings, **{option: str(tmp_path / name)}))


def test_only_the_default_start_may_be_absent(settings, tmp_path):
    change(settings, checkpoint__save_dir=str(tmp_path))
    check_run(change(settings, checkpoint__restore_file="checkpoint_last.pt"))
    with pytest.raises(ConfigError, match=r"--restore-file .*no such file"):
        check_run(change(settings, checkpoint__restore_file=str(tmp_path / "checkpoint_last.pt")))
    os.symlink(tmp_path / "moved.pt", tmp_path / "checkpoint_last.pt")  # the last checkpoint of a run that did begin
    with pytest.raises(ConfigError, match=r"--restore-file .*no such file"):
        check_run(change(settings, checkpoint__restore_file="checkpoint_last.pt"))


def test_the_name_of_a_start_has_the_runs_suffix(settings, tmp_path):
    change(settings, checkpoint__restore_file=str(tmp_path / "a.pt"), checkpoint__checkpoint_suffix="-x")
    (tmp_path / "a-x.pt").touch()
    check_run(settings)
    change(settings, distributed_training__ddp_backend="fully_sharded", distributed_training__use_sharded_state=True)
    with pytest.raises(ConfigError, match=r"a-x-shard0\.pt: no such file"):
        check_run(settings)


def test_an_address_is_left_to_fairseq(settings):
    check_run(change(settings, checkpoint__restore_file="s3://bucket/ofa.pt"))


def test_nothing_happens_before_inputs_are_checked(settings, tmp_path):
    change(settings, checkpoint__restore_file=str(tmp_path / "absent.pt"), checkpoint__save_dir=str(tmp_path / "out"))
    with pytest.raises(ConfigError, match="no such file"):
        distributed_utils.call_main(settings, main=lambda cfg: pytest.fail("training has begun"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["absent.pt", "."])
def test_a_start_that_is_not_there_is_one_line_of_the_command(run, tmp_path, name):
    done = run("--restore-file", str(tmp_path / name))
    assert done.status == 2 and done.error.startswith("ofa-mi train: error: --restore-file")
    assert "\n" not in done.error and not done.out.exists()


@pytest.mark.parametrize(
    "options",
    [
        ("--bpe-dir", "ABSENT"),
        ("--instruction-dir", "ABSENT"),
        ("--instruction-language", "xx"),
        ("--extra-instructions", "ABSENT"),
        ("--tasks", "absent_task"),
        ("--exclude-tasks", "absent_task"),
        ("--task-shares", "nlvr=0.5"),  # a task that has a share, and no instance
        ("--train-subset", "absent"),
        ("--valid-subset", "valid,absent"),
        ("--log-file", "ABSENT/run.log"),
    ],
    ids=lambda options: options[0],
)
def test_what_the_task_is_to_read_must_exist(run, tmp_path, options):
    name, value = options
    done = run(name, value.replace("ABSENT", str(tmp_path / "absent")), "--max-update", "1")
    assert done.status == 2 and done.error.count("\n") == 0
    assert value.replace("ABSENT", str(tmp_path / "absent")).split("=")[0].split(",")[-1] in done.error


def test_a_data_directory_that_gives_nothing_does_not_count_as_empty(run, data, tmp_path):
    (tmp_path / "empty").mkdir()
    done = run("--max-update", "1", data=f"{data}:{tmp_path / 'empty'}")
    assert (done.status, done.error) == (
        2,
        f"ofa-mi train: error: {tmp_path / 'empty'}: holds neither train.jsonl nor valid.jsonl",
    )
    done = run("--max-update", "1", data=f"{data}:{tmp_path / 'absent'}")
    assert done.status == 2 and done.error.endswith("absent: no such data directory")


@pytest.mark.parametrize(
    "command",
    [
        "evaluate --checkpoint ABSENT --data DATA --out OUT",
        "predict --checkpoint ABSENT --instruction x",
        "predict --checkpoint ABSENT --instruction x --image ABSENT",
        "attention ABSENT --data DATA --out OUT",
        "checkpoint info ABSENT",
        "checkpoint convert ABSENT OUT.pt",
        "vocabulary DATA ABSENT --out OUT",
        "vocabulary DATA --instruction-dir ABSENT --out OUT",
        "tasks --instruction-dir ABSENT",
        "lint --instruction-dir ABSENT",
        "instructions augment --from ABSENT --out OUT",
        "instructions augment --per-task 1 --phrases ABSENT --out OUT",
        "instructions augment --per-task 1 --instruction-dir ABSENT --out OUT",
        "score ABSENT",
        "compare ABSENT ABSENT",
        "report ABSENT --out OUT",
        "data check DATA ABSENT --out OUT",
        "data check DATA --instruction-dir ABSENT --out OUT",
        "data build --raw ABSENT --out OUT --sources nlvr",
        "data natural-instructions --raw ABSENT --out OUT",
        "data import-release ABSENT --images ABSENT --out OUT",
    ],
)
def test_every_command_refuses_an_input_that_is_missing(tmp_path, data, capsys, command):
    absent, out = tmp_path / "absent", tmp_path / "out"
    words = [
        word.replace("ABSENT", str(absent)).replace("OUT", str(out)).replace("DATA", str(data))
        for word in command.split()
    ]
    assert cli.main(words) == cli.BAD_INPUT
    assert str(absent) in capsys.readouterr().err
    assert not absent.exists(), "nor makes it"


@pytest.mark.parametrize(
    "command",
    ["evaluate --checkpoint CHECKPOINT --data ABSENT --out OUT", "attention CHECKPOINT --data ABSENT --out OUT"],
)
def test_data_to_evaluate_must_exist(tmp_path, run, capsys, command):
    path = run("--max-update", "1", "--disable-validation").out / "checkpoint_last.pt"
    words = [
        word.replace("ABSENT", str(tmp_path / "absent")).replace("OUT", str(tmp_path)).replace("CHECKPOINT", str(path))
        for word in command.split()
    ]
    assert cli.main(words) == cli.BAD_INPUT
    assert str(tmp_path / "absent") in capsys.readouterr().err.splitlines()[-1]


# -- combinations, precisions, criterions


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"checkpoint__finetune_from_model": "FILE", "checkpoint__reset_meters": True}, "leave --reset-meters out"),
        ({"checkpoint__finetune_from_model": "FILE", "checkpoint__restore_file": "FILE"}, "both name a start"),
        ({"optimizer": None}, "--optimizer is missing: give --optimizer adam"),
        ({"dataset__batch_size": None}, "--batch-size is missing"),
        ({"common__fp16": True, "common__cpu": True}, "--fp16 needs a GPU, and --cpu leaves it out"),
        ({"common__fp16": True}, "--fp16 needs a GPU, and there is none"),
        (
            {"common__memory_efficient_bf16": True, "common__bf16": True, "common__cpu": True},
            "--memory-efficient-bf16 needs a GPU, and --cpu leaves it out: on a CPU leave .* out, or give --bf16",
        ),
        ({"common__memory_efficient_fp16": True, "common__fp16": True}, "--memory-efficient-fp16 needs a GPU"),
        ({"common__amp": True}, "--amp needs a GPU"),
        ({"ema__store_ema": True, "ema__ema_decay": 1.5}, "--ema-decay must lie in"),
        ({"ema__store_ema": True, "ema__ema_update_freq": 0}, "--ema-update-freq must be at least 1"),
        ({"ema__store_ema": True, "distributed_training__ddp_backend": "fully_sharded"}, "--store-ema does not work"),
        ({"task__uses_ema": True}, "--uses-ema validates with the average that --store-ema keeps"),
        ({"task__restrict_to_options": True}, "--restrict-to-options needs --criterion adjust_label_smoothed"),
        ({"criterion": {"_name": "ctc"}}, "--criterion ctc does not work with this task: use adjust_label_smoothed"),
        (
            {"criterion": {"_name": "label_smoothed_cross_entropy", "ignore_prefix_size": 1}},
            "--ignore-prefix-size is not supported",
        ),
    ],
    ids=str,
)
def test_options_that_cannot_work_are_one_line(settings, tmp_path, options, message):
    (tmp_path / "a.pt").touch()
    file = str(tmp_path / "a.pt")
    with pytest.raises(ConfigError, match=message) as error:
        check_run(change(settings, **{name: file if value == "FILE" else value for name, value in options.items()}))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("options", [{"common_eval__path": "FILE", "optimizer": None}, {"optimizer": {"_name": "nag"}}])
def test_settings_without_a_note_of_a_tpu_start(settings, tmp_path, options):
    """fairseq-validate has no optimiser, and only Adam's settings have the note that is cleared on a CPU."""
    (tmp_path / "a.pt").touch()
    file, started = str(tmp_path / "a.pt"), []
    change(settings, **{name: file if value == "FILE" else value for name, value in options.items()})
    settings.common.cpu = settings.common.tpu = True
    distributed_utils.call_main(settings, started.append)
    assert started == [settings] and not settings.common.tpu


@pytest.mark.parametrize(("cpu", "gpu", "expected"), [(True, True, True), (False, True, False), (False, False, True)])
def test_a_run_computes_on_the_cpu_as_told_or_for_want_of_a_gpu(settings, monkeypatch, cpu, gpu, expected):
    """The task asks with its own settings, so that it computes in bf16 itself where fairseq does not."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    change(settings, common__cpu=cpu, common__tpu=True, task__cpu=cpu, task__bf16=True)
    assert on_cpu(settings.common) == on_cpu(settings.task) == expected
    assert MultiInstructTask.setup_task(settings.task).precision == ("bf16" if expected else "fp32")


def test_a_training_without_arch_is_one_line_of_the_command(data, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", [])
    assert cli.main(["train", str(data), "--task", "multiinstruct", "--optimizer", "adam", "--batch-size", "4"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "error: --arch is missing: give the size of the model, one of ofa_nano, ofa_tiny" in line


def test_a_gpu_has_every_precision(settings, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    check_run(change(settings, common__fp16=True))
    with pytest.raises(ConfigError, match="--cpu leaves it out"):
        check_run(change(settings, common__cpu=True))


def test_half_precision_is_no_place_for_an_average(settings, monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    check_run(change(settings, common__fp16=True, ema__store_ema=True, ema__ema_fp32=True))
    assert not caplog.records
    check_run(change(settings, ema__ema_fp32=False))
    assert "--store-ema without --ema-fp32" in caplog.text


def test_bf16_on_a_cpu_that_lacks_it_is_one_line_of_the_command(run, monkeypatch):
    """fairseq turns --tpu on with it."""
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: False)
    assert run("--bf16").error == (
        "ofa-mi train: error: --bf16: this processor does not compute in bf16 (AVX-512 BF16, AMX or SVE); take fp32"
    )


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--criterion", "cross_entropy"),
        ("--criterion", "label_smoothed_cross_entropy", "--label-smoothing", "0.1", "--report-accuracy"),
    ],
    ids=str,
)
def test_fairseqs_criterions_train_and_validate(run, options):
    done = run("--max-update", "2", "--valid-metrics", "off", *options)
    assert done.status == 0, done.error
    assert (done.out / "checkpoint_best.pt").exists()


# -- the best checkpoint

OURS = ("--criterion", "adjust_label_smoothed_cross_entropy")


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (OURS, "easy_vqa, loss, nll_loss, score"),
        ((*OURS, "--report-accuracy"), "accuracy, easy_vqa, loss, nll_loss, score"),
        ((*OURS, "--valid-metrics", "off"), "loss, nll_loss"),
        ((), "easy_vqa, loss, ppl, score"),
    ],
    ids=str,
)
def test_best_metric_must_be_one_that_validation_reports(run, options, names):
    done = run("--max-update", "1", *options, "--best-checkpoint-metric", "bleu")
    assert done.status == 2
    assert done.error == f"ofa-mi train: error: --best-checkpoint-metric bleu: validation on valid reports {names}"
    assert "begin training epoch" not in done.log


def test_every_validation_set_must_report_it(run, data, tmp_path):
    folder = write_data(tmp_path)
    other = {"unique_id": "1", "task_name": "text_vqa", "question": "what?", "target_txt": "white"}
    (folder / "other.jsonl").write_text(json.dumps(other) + "\n")
    wanted = ("--best-checkpoint-metric", "easy_vqa", "--maximize-best-checkpoint-metric")
    done = run(*wanted, "--valid-subset", "valid,other", data=folder)
    assert done.status == 2 and "validation on other reports loss, ppl, score, text_vqa" in done.error


@pytest.mark.parametrize("options", [("loss", "--maximize-best-checkpoint-metric"), ("score",)], ids=str)
def test_the_worst_checkpoint_is_not_the_best(run, options):
    done = run("--max-update", "1", *OURS, "--best-checkpoint-metric", *options)
    assert done.status == 2 and "the worst checkpoint would be kept" in done.error


@pytest.mark.parametrize("metric", ["score", "easy_vqa", "accuracy"])
def test_a_metric_chooses_the_best_checkpoint(run, metric):
    wanted = ("--best-checkpoint-metric", metric, "--maximize-best-checkpoint-metric", "--report-accuracy")
    done = run("--max-update", "1", *OURS, *wanted)
    assert done.status == 0, done.error
    assert checkpoint.read(done.out / "checkpoint_best.pt")["extra_state"]["best"] >= 0
