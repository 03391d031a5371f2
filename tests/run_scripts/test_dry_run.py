"""What every script would run, under both profiles and with settings of the user's: nothing is trained here."""

import os
import re
import shlex
import subprocess

import pytest

from tests.conftest import REPOSITORY
from tests.run_scripts.helpers import (
    BEYOND,
    FOLDER,
    SCRIPTS,
    dry_run,
    error_of,
    option,
    options,
    printed_commands,
    run_script,
)

PROFILES = ("paper", "cpu")


def trainings(name, **settings):
    return [command for command in dry_run(name, **settings) if "train" in command and "--save-dir" in command]


def evaluations(name, **settings):
    return [command for command in dry_run(name, **settings) if command[:2] == ["ofa-mi", "evaluate"]]


# -- every script


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.*")), ids=lambda path: str(path.relative_to(FOLDER)))
def test_is_valid_bash(path):
    subprocess.run(["bash", "-n", str(path)], check=True)


@pytest.mark.parametrize("name", [*SCRIPTS, *BEYOND, "reproduce.sh", "slurm/reproduce.sh"])
def test_begins_with_what_it_shows_needs_and_costs(name):
    lines = (FOLDER / name).read_text().splitlines()
    assert lines[0] == "#!/usr/bin/env bash" and os.access(FOLDER / name, os.X_OK)
    comment = lines[: next(i for i, line in enumerate(lines) if line.startswith("source "))]
    for word in ("# Shows: ", "# Needs: ", "# Costs: "):
        assert sum(line.startswith(word) for line in comment) == 1, word
    assert any(f"bash run_scripts/{name}" in line for line in comment), "a command that runs it"


def test_there_is_a_script_for_every_experiment():
    found = {str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.sh")}
    shared = {
        "env.sh",
        "experiment.sh",
        "pretrain/curriculum.sh",
        "profiles/paper.sh",
        "profiles/cpu.sh",
        "profiles/quickstart.sh",
        "profiles/instraug.sh",
    }
    others = {"reproduce.sh", "slurm/reproduce.sh", "quickstart.sh", "test.sh"}
    others |= {"analysis/cpu_speed.sh", "analysis/factors.sh", "gpu_check.sh"}
    assert found - shared == {*SCRIPTS, *BEYOND, *others}


def test_speed_is_measured_by_precision_and_processes(tmp_path):
    commands = [
        command for command in dry_run("analysis/cpu_speed.sh", OUT=tmp_path, PRECISION="bf16") if "train" in command
    ]
    assert [("--bf16" in command, command[0]) for command in commands] == [
        (False, "ofa-mi"), (True, "ofa-mi"), (False, "torchrun"), (True, "torchrun"),
    ]  # fmt: skip


def test_a_point_of_the_curve_is_as_many_updates_as_its_instances_make(tmp_path):
    commands = dry_run(
        "ablation/presentations.sh",
        OUT=tmp_path,
        PROFILE="cpu",
        SEEDS="1",
        PRESENTATIONS="100 900",
        BATCH_SIZE=16,
        GLOBAL_BATCH=32,
    )
    trained = [command for command in commands if "train" in command[:2]]
    assert [option(command, "--max-update") for command in trained] == ["3", "28"]
    evaluated = [command for command in commands if command[:2] == ["ofa-mi", "evaluate"]]
    assert [("valid" in command, option(command, "--out").split("/")[-3:]) for command in evaluated] == [
        (trained_tasks, [f"presentations-{count}", "seed1", name])
        for count in (100, 900)
        for trained_tasks, name in ((False, "zero_shot"), (True, "trained"))
    ]


def test_a_point_of_more_instructions_adds_generated_ones_and_nothing_else(tmp_path):
    settings = {"OUT": tmp_path, "PROFILE": "cpu", "SEEDS": "1 2", "INSTRUCTION_CURVE": "5 20"}
    commands = dry_run("beyond/instructions.sh", **settings)
    folder = f"{tmp_path}/instructions/20"
    assert commands[0] == ["ofa-mi", "instructions", "augment", "--per-task", "15", "--out", folder]
    five, _, twenty, _ = (command for command in commands if "train" in command[:2])
    file = f"{folder}/instructions.jsonl"
    assert option(twenty, "--extra-instructions") == file and "--extra-instructions" not in five
    assert [word for word in twenty if word not in five] == [
        "--extra-instructions", file, f"{tmp_path}/checkpoints/instructions-20/seed1"
    ]  # fmt: skip
    assert [word for word in five if word not in twenty] == [
        "--num-instructions", "5", f"{tmp_path}/checkpoints/instructions-5/seed1"
    ]  # fmt: skip
    (tmp_path / "instructions/20").mkdir(parents=True)
    (tmp_path / "instructions/20/manifest.json").touch()
    assert dry_run("beyond/instructions.sh", **settings) == commands[1:], "made once"


def test_every_training_can_have_extra_instructions(tmp_path):
    for name in ("finetune/multiinstruct.sh", "transfer/mixed.sh"):
        (command,) = trainings(name, OUT=tmp_path, EXTRA_INSTRUCTIONS="more/instructions.jsonl")
        assert option(command, "--extra-instructions") == "more/instructions.jsonl"


def test_every_factor_adds_its_options_to_those_of_the_base(tmp_path):
    commands = dry_run("analysis/factors.sh", OUT=tmp_path, SEEDS="1", PRECISION="fp32")
    trained = {option(c, "--save-dir").split("/")[-2]: c for c in commands if "train" in c}
    assert len(trained) == 15
    tail = len(["--batch-size", "64", "--update-freq", "1"]) + len(rest_of(trained["base"]))
    recipe = trained["base"][:-tail]
    for name, command in trained.items():
        added = command[len(recipe) : -tail]
        assert command[: len(recipe)] == recipe, name
        assert (added == []) == (name == "base"), name
    error = error_of("analysis/factors.sh", OUT=tmp_path, FACTORS="tower")
    assert error.startswith("FACTORS: tower is none of ")


def rest_of(command):
    """How a training is run, after what it does."""
    return command[command.index("--num-workers") :]


def test_profiles_set_the_same_values_but_for_the_size_of_generated_data():
    names = [
        {line.split(":=")[0].removeprefix(': "${') for line in (FOLDER / f"profiles/{p}.sh").read_text().splitlines()}
        for p in PROFILES
    ]
    paper, cpu = ({name for name in found if name.isupper()} for found in names)
    assert cpu - paper == {"SCENES", "TEXT_INSTANCES"} and paper <= cpu


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", [*SCRIPTS, *BEYOND])
def test_dry_run_prints_commands_and_makes_nothing(name, profile, tmp_path):
    printed = printed_commands(name, profile, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    # Of another precision, batch or option nobody would know from results: a change of these files is to be meant
    # (python -m tests.run_scripts.helpers writes them again).
    expected = (REPOSITORY / f"tests/run_scripts/commands/{profile}.txt").read_text()
    assert f"# {name}\n{printed}# " in f"{expected}# "
    commands = [shlex.split(line) for line in printed.splitlines()]
    assert all(command[0] in ("ofa-mi", "torchrun") for command in commands)
    assert commands or (name, profile) == ("data/prepare.sh", "paper")


# -- the paper's settings


def test_instraugs_profile_is_its_setting(tmp_path):
    settings = {"OUT": tmp_path, "PROFILE": "instraug", "CHECKPOINT": "ofa_large.pt", "DATA": "mi"}
    (command,) = trainings("finetune/multiinstruct.sh", **settings)
    expected = {
        "--nproc-per-node": "4",
        "--arch": "ofa_large",
        "--batch-size": "4",
        "--update-freq": "4",
        "--lr": "1e-5",
        "--end-lr": "8e-6",
        "--warmup-ratio": "0",
        "--max-epoch": "4",
        "--max-src-length": "1024",
        "--max-tgt-length": "30",
        "--patch-image-size": "480",
        "--label-smoothing": "0.1",
        "--encoder-drop-path-rate": "0.1",
        "--decoder-drop-path-rate": "0.1",
        "--ema-decay": "0.9999",
        "--optimizer": "adam",
    }
    assert {name: option(command, name) for name in expected} == expected
    flags = ("--store-ema", "--ema-fp32", "--freeze-encoder-embedding", "--freeze-decoder-embedding")
    assert all(command.count(flag) == 1 for flag in flags)
    tuned = evaluations("evaluate/zero_shot.sh", **settings, MODELS="MultiInstruct")
    assert [option(command, "--weights") for command in tuned] == ["ema"] * len(tuned) != []
    assert all("--weights" not in command for command in evaluations("evaluate/untuned.sh", **settings))


def test_a_small_part_is_evaluated_with_its_base(tmp_path):
    settings = {"OUT": tmp_path, "CHECKPOINT": "ofa_large.pt", "DATA": "mi", "TRAIN_OPTIONS": "--lora-rank 8"}
    (command,) = trainings("finetune/multiinstruct.sh", **settings)
    assert option(command, "--lora-rank") == "8"
    tuned = evaluations("evaluate/zero_shot.sh", **settings, MODELS="MultiInstruct")
    both = f"ofa_large.pt+{tmp_path}/checkpoints/MultiInstruct/seed1/checkpoint_last.pt"
    assert {option(command, "--checkpoint") for command in tuned} == {both}
    untuned = evaluations("evaluate/untuned.sh", **settings)
    assert {option(command, "--checkpoint") for command in untuned} == {"ofa_large.pt"}


def test_charts_are_written_beside_the_checkpoints_and_are_no_part_of_the_recipe(tmp_path):
    plain, charted = (
        trainings("finetune/multiinstruct.sh", OUT=tmp_path, PROFILE="cpu", SEEDS="1 2", **settings)
        for settings in ({}, {"TENSORBOARD": 1, "WANDB_PROJECT": "tuning"})
    )
    for seed, (before, after) in enumerate(zip(plain, charted, strict=True), start=1):
        folder = f"{tmp_path}/checkpoints/MultiInstruct/seed{seed}"
        added = [word for word in rest_of(after) if word not in rest_of(before)]
        assert added == ["--tensorboard-logdir", f"{folder}/tensorboard", "--wandb-project", "tuning"]
        assert after[: after.index("--num-workers")] == before[: before.index("--num-workers")]


def test_paper_profile_is_the_papers_setting(tmp_path):
    (command,) = trainings("finetune/multiinstruct.sh", OUT=tmp_path, CHECKPOINT="ofa_large.pt", DATA="mi")
    assert command[:7] == ["torchrun", "--standalone", "--nproc-per-node", "8", "-m", "ofa_mi.cli", "train"]
    expected = {
        "--arch": "ofa_large",
        "--max-src-length": "1024",
        "--max-tgt-length": "512",
        "--batch-size": "8",
        "--update-freq": "1",
        "--lr": "1e-5",
        "--max-epoch": "3",
        "--max-update": "0",
        "--adam-betas": "(0.9,0.999)",
        "--tasks": "train",
        "--finetune-from-model": "ofa_large.pt",
        "--save-dir": f"{tmp_path}/checkpoints/MultiInstruct/seed1",
    }
    assert options(command, *expected) == expected
    assert "--fp16" in command and "mi" in command
    assert "--option-markers" not in command and "--prompt-style" not in command  # on, and instructions


def test_strategies_differ_in_what_the_paper_says_only(tmp_path):
    settings = {"OUT": tmp_path, "CHECKPOINT": "ofa.pt", "DATA": "mi", "NI_DATA": "ni"}
    (multi,) = trainings("finetune/multiinstruct.sh", **settings)
    (name,) = trainings("transfer/task_name.sh", **settings)
    (text,) = trainings("transfer/natural_instructions.sh", **settings)
    (mixed,) = trainings("transfer/mixed.sh", **settings)

    def difference(other):
        return [word for word in other if word not in multi and not word.startswith(str(tmp_path))]

    assert difference(name) == ["--prompt-style", "task-name"]
    assert difference(text) == ["ni", "natural_instructions"] and option(text, "--tasks") == "natural_instructions"
    assert difference(mixed) == ["mi:ni"] and option(mixed, "--tasks") == "train"
    (mixed,) = trainings("transfer/mixed.sh", RATIO="0.25", **settings)
    assert option(mixed, "--task-shares") == "natural_instructions=0.25"


def test_sequential_starts_from_the_text_only_model_anew(tmp_path):
    settings = {"OUT": tmp_path, "CHECKPOINT": "ofa.pt", "DATA": "mi", "NI_DATA": "ni", "SEEDS": "4"}
    first, second = trainings("transfer/sequential.sh", **settings)
    assert [first] == trainings("transfer/natural_instructions.sh", **settings)
    assert option(first, "--finetune-from-model") == "ofa.pt"
    assert option(second, "--finetune-from-model") == f"{option(first, '--save-dir')}/checkpoint_last.pt"
    assert option(second, "--save-dir") == f"{tmp_path}/checkpoints/SeqInstruct/seed4"
    (multi,) = trainings("finetune/multiinstruct.sh", **settings)
    changed = [(a, b) for a, b in zip(second, multi, strict=True) if a != b]
    assert len(changed) == 2, "but for the model and the folder it is finetune/multiinstruct.sh"
    assert not [word for word in second if word.startswith(("--restore-file", "--reset"))]


def test_every_strategy_is_evaluated_as_it_was_trained(tmp_path):
    runs = evaluations("evaluate/zero_shot.sh", PROFILE="cpu", OUT=tmp_path, SEEDS="3")
    found = {option(run, "--checkpoint").split("/")[-3]: run for run in runs}
    assert list(found) == ["TaskName", "MultiInstruct", "NaturalInstruct", "MixedInstruct", "SeqInstruct"]
    assert option(found["TaskName"], "--prompt-style") == "task-name"
    assert option(found["NaturalInstruct"], "--option-markers") == "off"
    for name in ("TaskName", "MultiInstruct", "MixedInstruct", "SeqInstruct"):
        assert "--option-markers" not in found[name] and option(found[name], "--max-instances") == "60"
        assert option(found[name], "--out") == f"{tmp_path}/evaluation/{name}/seed3/zero_shot"
        assert ("--prompt-style" in found[name]) == (name == "TaskName")


def test_natural_instructions_are_evaluated_without_markers(tmp_path):
    runs = evaluations("evaluate/natural_instructions.sh", PROFILE="cpu", OUT=tmp_path, SEEDS="1 2")
    assert len(runs) == 8
    for run in runs:
        assert options(run, "--tasks", "--option-markers", "--max-instances", "--data") == {
            "--tasks": "natural_instructions_test",
            "--option-markers": "off",
            "--max-instances": "300",
            "--data": f"{tmp_path}/data/text",
        }


def test_untuned_model_is_evaluated_on_both(tmp_path):
    images, text = evaluations("evaluate/untuned.sh", PROFILE="cpu", OUT=tmp_path, CHECKPOINT="c.pt")
    assert option(images, "--checkpoint") == option(text, "--checkpoint") == "c.pt"
    assert option(text, "--tasks") == "natural_instructions_test" and "eval" in images


def test_robustness_runs_one_condition_each(tmp_path):
    runs = evaluations("evaluate/robustness.sh", PROFILE="cpu", OUT=tmp_path)
    conditions = [run[run.index("eval") + 1 : run.index("--max-instances")] for run in runs]
    assert conditions == [
        ["--image", "none"],
        ["--image", "shuffled"],
        ["--prompt-style", "options-only", "--image", "none"],
        ["--perturb", "option-order"],
        ["--perturb", "typos"],
        ["--perturb", "paraphrase"],
        ["--perturb", "other-task"],
    ]


def test_instruction_counts_are_those_of_the_paper(tmp_path):
    found = trainings("ablation/num_instructions.sh", OUT=tmp_path, SEEDS="1 2")
    assert [option(command, "--num-instructions") for command in found] == ["1", "1", "2", "2", "3", "3", "4", "4"]
    (mixed, _) = trainings("transfer/mixed.sh", OUT=tmp_path, SEEDS="1 2")
    added = [word for word in found[0] if word not in mixed]
    assert added == ["--num-instructions", f"{tmp_path}/checkpoints/num_instructions-1/seed1"]


def test_task_groups_are_added_in_the_papers_order(tmp_path):
    from ofa_mi.instructions.registry import default_registry

    registry, before = default_registry(), set()
    for command in trainings("ablation/task_groups.sh", OUT=tmp_path):
        words = option(command, "--tasks").split(","), option(command, "--exclude-tasks").split(",")
        tasks = set(registry.select(*words))
        assert before < tasks and all(registry[task].split == "train" and registry[task].benchmark for task in tasks)
        added = {registry[task].group for task in tasks - before}
        before = tasks
        if len(before) < 20:
            assert added == {"vqa", "image_understanding"}
    # Then region understanding, which makes it MultiInstruct.
    rest = {registry[task].group for task in registry.select(["train"], ["group:extra", "natural_instructions"])} - {
        registry[task].group for task in before
    }
    assert rest == {"region_understanding"}


def test_pretraining_is_a_curriculum_from_scratch_and_one_seed(tmp_path):
    stages = trainings("pretrain/small.sh", PROFILE="cpu", OUT=tmp_path, SEEDS="1 2 3")
    folders = [f"{tmp_path}/checkpoints/{name}/seed1" for name in ("pretrained-1", "pretrained-2", "pretrained")]
    assert [option(command, "--save-dir") for command in stages] == folders
    assert "--finetune-from-model" not in stages[0]
    assert [option(command, "--finetune-from-model") for command in stages[1:]] == [
        f"{folder}/checkpoint_last.pt" for folder in folders[:2]
    ]
    from ofa_mi.instructions.registry import default_registry

    registry = default_registry()
    for command, updates in zip(stages, ("250", "250", "500"), strict=True):
        assert options(command, "--num-instructions", "--max-update", "--arch") == {
            "--num-instructions": "1",
            "--max-update": updates,
            "--arch": "ofa_nano",
        }
        excluded = option(command, "--exclude-tasks").split(",") if "--exclude-tasks" in command else []
        tasks = registry.select(option(command, "--tasks").split(","), excluded)
        shares = dict(share.split("=") for share in option(command, "--task-shares").split(","))
        assert set(shares) <= set(tasks) and sum(map(float, shares.values())) < 1
        assert all(registry[task].split == "train" for task in tasks)


def test_pretraining_on_tasks_of_your_own_is_one_stage(tmp_path):
    (command,) = trainings("pretrain/small.sh", PROFILE="cpu", OUT=tmp_path, PRETRAIN_TASKS="image_captioning")
    assert option(command, "--tasks") == "image_captioning" and "--task-shares" not in command
    assert option(command, "--save-dir") == f"{tmp_path}/checkpoints/pretrained/seed1"
    assert option(command, "--max-update") == "1000"


def test_attention_compares_with_the_untuned_model(tmp_path):
    (command,) = dry_run("analysis/attention.sh", OUT=tmp_path, CHECKPOINT="ofa.pt", SEEDS="2 3")
    assert command[:4] == [
        *("ofa-mi", "attention", "OFA=ofa.pt"),
        f"NaturalInstruct={tmp_path}/checkpoints/NaturalInstruct/seed2/checkpoint_last.pt",
    ]


def test_report_is_made_of_what_there_is(tmp_path):
    for run in ("OFA/seed1/zero_shot", "MixedInstruct/seed1/zero_shot", "MixedInstruct/seed2/zero_shot"):
        (tmp_path / "evaluation" / run).mkdir(parents=True)
        (tmp_path / "evaluation" / run / "scores.json").touch()
    (tmp_path / "evaluation/num_instructions-1/seed1/zero_shot").mkdir(parents=True)
    (command,) = dry_run("report.sh", OUT=tmp_path, TITLE="A title")
    base = f"{tmp_path}/evaluation"
    assert command[2:] == [
        *("--published", "--title", "A title", f"OFA={base}/OFA/seed1/zero_shot"),
        *(f"MixedInstruct={base}/MixedInstruct/seed1/zero_shot", f"MixedInstruct={base}/MixedInstruct/seed2/zero_shot"),
        *("--ablation", f"num_instructions=1:{base}/num_instructions-1/seed1/zero_shot"),
        *("--ablation", f"num_instructions=5:{base}/MixedInstruct/seed1/zero_shot"),
        *("--ablation", f"num_instructions=5:{base}/MixedInstruct/seed2/zero_shot"),
        *("--ablation", f"task_groups=+ text-only:{base}/MixedInstruct/seed1/zero_shot"),
        *("--ablation", f"task_groups=+ text-only:{base}/MixedInstruct/seed2/zero_shot"),
        *("--out", f"{tmp_path}/report"),
    ]


def test_quickstart_trains_and_evaluates_as_the_experiments_do(tmp_path):
    settings = {"OUT": tmp_path / "out", "TUNE_UPDATES": 7, "EVAL_INSTANCES": 5, "PRECISION": "fp32", "SCENES": 9}
    *data, tuning, one, _, _, last, report = dry_run("quickstart.sh", **settings)
    assert [command[:3] for command in data] == [["ofa-mi", "data", "scenes"], ["ofa-mi", "data", "easy-vqa"]]
    assert option(data[0], "--train-scenes") == "9" and not (tmp_path / "out").exists()
    expected = {
        "--max-update": "7",
        "--batch-size": "64",
        "--nproc-per-node": "2",
        "--lr": "7e-4",
        "--label-smoothing": "0",
        "--log-interval": "25",
        "--exclude-tasks": "region_area",
        "--finetune-from-model": "nano",
        "--save-dir": f"{tmp_path}/out/tuned",
    }
    assert options(tuning, *expected) == expected
    assert options(one, "--checkpoint", "--out", "--max-instances", "--beam", "--max-len", "--shard") == {
        "--checkpoint": "nano",
        "--out": f"{tmp_path}/out/evaluation/untuned",
        "--max-instances": "5",
        "--beam": "2",
        "--max-len": "24",
        "--shard": "0/2",
    }
    assert option(last, "--checkpoint") == f"{tmp_path}/out/tuned/checkpoint_last.pt"
    assert option(report, "--out") == f"{tmp_path}/out"
    scratch = dry_run("quickstart.sh", **settings, FROM_SCRATCH=1, PRETRAIN_UPDATES=8)
    *stages, last = (command for command in scratch if "--save-dir" in command)
    folders = [f"{tmp_path}/out/{name}" for name in ("pretrained-1", "pretrained-2", "pretrained")]
    for folder, updates, stage in zip(folders, "224", stages, strict=True):
        assert options(stage, "--max-update", "--lr", "--save-dir", "--num-instructions", "--max-tgt-length") == {
            "--max-update": updates,
            "--lr": "1.2e-3",
            "--save-dir": folder,
            "--num-instructions": "1",
            "--max-tgt-length": "96",
        }
    for before, command in zip(folders, [*stages[1:], last], strict=True):
        assert option(command, "--finetune-from-model") == f"{before}/checkpoint_last.pt"
    assert option(last, "--lr") == "7e-4" and option(last, "--max-update") == "7"
    assert all("--bpe-dir" not in command for command in scratch[-6:])


# -- settings of the user's


def test_any_value_can_be_set(tmp_path):
    settings = {"ARCH": "ofa_base", "LR": "3e-5", "MAX_UPDATE": 7, "SEEDS": "5 6", "PATCH_IMAGE_SIZE": 256}
    commands = trainings("finetune/multiinstruct.sh", OUT=tmp_path, **settings)
    assert [option(command, "--seed") for command in commands] == ["5", "6"]
    expected = {"--arch": "ofa_base", "--lr": "3e-5", "--max-update": "7", "--patch-image-size": "256"}
    assert options(commands[0], *expected) == expected


@pytest.mark.parametrize(
    ("settings", "freq"),
    [
        ({"GPUS": 1}, "8"),
        ({"GPUS": 4}, "2"),
        ({"GPUS": 8, "BATCH_SIZE": 2}, "4"),
        ({"GPUS": 4, "NODES": 2, "MASTER_ADDR": "a"}, "1"),
        ({"GPUS": 2, "GLOBAL_BATCH": 128}, "8"),
        ({"GPUS": 3, "UPDATE_FREQ": 3}, "3"),
    ],
)
def test_accumulation_fills_the_effective_batch(settings, freq, tmp_path):
    (command,) = trainings("finetune/multiinstruct.sh", OUT=tmp_path, **settings)
    assert option(command, "--update-freq") == freq


def test_launch_of_one_process_many_and_several_nodes(tmp_path):
    (one,) = trainings("finetune/multiinstruct.sh", OUT=tmp_path, GPUS=1)
    assert one[:2] == ["ofa-mi", "train"] and option(one, "--distributed-world-size") == "1" and "--cpu" not in one
    settings = {"GPUS": 4, "NODES": 2, "NODE_RANK": 1, "MASTER_ADDR": "node7", "MASTER_PORT": 1234}
    (two,) = trainings("finetune/multiinstruct.sh", OUT=tmp_path, **settings)
    launch = "torchrun --nnodes 2 --node-rank 1 --nproc-per-node 4 --master-addr node7 --master-port 1234"
    assert two[: two.index("train") + 1] == [*launch.split(), "-m", "ofa_mi.cli", "train"]
    parts = evaluations("evaluate/untuned.sh", OUT=tmp_path, **settings)[:4]
    assert [option(part, "--shard") for part in parts] == ["4/8", "5/8", "6/8", "7/8"]
    assert [option(part, "--device") for part in parts] == ["cuda:0", "cuda:1", "cuda:2", "cuda:3"]
    (alone, _) = evaluations("evaluate/untuned.sh", OUT=tmp_path, GPUS=1)
    assert "--shard" not in alone and "--device" not in alone


@pytest.mark.parametrize(
    ("settings", "present", "absent"),
    [
        ({"PRECISION": "bf16"}, ["--bf16"], ["--fp16"]),
        ({"PRECISION": "fp32"}, [], ["--bf16", "--fp16"]),
        ({}, ["--fp16"], ["--bf16", "--checkpoint-activations", "--ddp-backend"]),
        ({"CHECKPOINT_ACTIVATIONS": 1}, ["--checkpoint-activations"], []),
        ({"FSDP": 1}, ["--ddp-backend", "fully_sharded"], []),
    ],
)
def test_precision_checkpointing_and_sharding(settings, present, absent, tmp_path):
    (command,) = trainings("finetune/multiinstruct.sh", OUT=tmp_path, **settings)
    assert set(present) <= set(command) and not set(absent) & set(command)


def test_commands_can_be_pasted(tmp_path):
    out = tmp_path / "a folder; it's"
    done = run_script("report.sh", DRY_RUN=1, OUT=out)
    echoed = subprocess.run(["bash", "-c", f"printf '%s\\n' {done.stdout}"], capture_output=True, text=True, check=True)
    assert echoed.stdout.splitlines()[-1] == f"{out}/report"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"PROFILE": "laptop"}, "PROFILE=laptop: there is no such file in run_scripts/profiles; take paper or cpu"),
        ({"PROFILE": "../env"}, "PROFILE=../env: there is no such file"),
        ({"GPUS": "many"}, "GPUS=many: must be a whole number"),
        ({"SEEDS": "1,2"}, "SEEDS=1,2: must be whole numbers with a space between them"),
        ({"JOBS": "0"}, "JOBS=0: must be at least 1"),
        ({"PRECISION": "fp8"}, "PRECISION=fp8: must be fp32, fp16 or bf16"),
        ({"PROFILE": "cpu", "PRECISION": "fp16"}, "PRECISION=fp16 needs a GPU; on a CPU take bf16 or fp32"),
        ({"DRY_RUN": "yes"}, "DRY_RUN=yes: must be 0 or 1"),
        ({"GPUS": "3"}, "GLOBAL_BATCH=64 is no multiple of BATCH_SIZE=8 x 3 processes"),
        ({"NODES": "2"}, "NODES=2: set MASTER_ADDR to the host of node 0, and NODE_RANK"),
        ({"FSDP": "1", "PRECISION": "bf16"}, "FSDP=1: fairseq's sharding does fp16 or fp32, not bf16"),
        ({"RATIO": "1.5"}, "RATIO=1.5: must be a share between 0 and 1, or all"),
        ({"RATIO": "0.0"}, "RATIO=0.0: must be a share between 0 and 1, or all"),
        ({"MAX_EPOCH": "0"}, "MAX_EPOCH and MAX_UPDATE are 0: set one of them"),
    ],
)
def test_impossible_value_is_one_line(settings, message, tmp_path):
    assert error_of("finetune/multiinstruct.sh", OUT=tmp_path / "out", **settings).startswith(message)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("evaluate/zero_shot.sh", {"MODELS": "Mixed"}, "MODELS: Mixed is none of TaskName MultiInstruct"),
        ("evaluate/robustness.sh", {"CONDITIONS": "typo"}, "CONDITIONS: typo is none of "),
        (
            "ablation/presentations.sh",
            {"PRESENTATIONS": "0"},
            "PRESENTATIONS=0: must be whole numbers from 1 with a space between them",
        ),
        (
            "beyond/instructions.sh",
            {"INSTRUCTION_CURVE": "5,20"},
            "INSTRUCTION_CURVE=5,20: must be whole numbers from 1 with a space between them",
        ),
        ("ablation/num_instructions.sh", {"INSTRUCTION_COUNTS": "6"}, "INSTRUCTION_COUNTS=6: must be of 1 2 3 4"),
        ("ablation/task_groups.sh", {"POINTS": "0"}, "POINTS=0: must be of 1 2 3 4"),
        ("pretrain/small.sh", {"PROFILE": "paper"}, "PRETRAIN_UPDATES=0: set a number of updates, or CHECKPOINT"),
        ("data/prepare.sh", {"SCENES": "few"}, "SCENES=few: must be a whole number from 1"),
    ],
)
def test_impossible_value_of_a_script_is_one_line(name, settings, message, tmp_path):
    assert error_of(name, **{"PROFILE": "cpu", "OUT": tmp_path, **settings}).startswith(message)


# -- everything, and Slurm


@pytest.mark.parametrize("profile", ["paper", pytest.param("cpu", marks=pytest.mark.slow)])
def test_reproduce_runs_every_script_in_order(profile, tmp_path):
    settings = {"PROFILE": profile, "OUT": tmp_path, "SEEDS": "1 2"}
    if profile == "cpu":  # whose default is the shipped model, which nothing has to make
        assert not any("pretrained" in " ".join(command) for command in dry_run("reproduce.sh", **settings))
        settings["CHECKPOINT"] = tmp_path / "checkpoints/pretrained/seed1/checkpoint_last.pt"
    commands = dry_run("reproduce.sh", **settings)
    single = {name: dry_run(name, **settings) for name in SCRIPTS if name != "pretrain/small.sh" or profile == "cpu"}
    joined = [" ".join(command) for command in commands]
    for name, expected in single.items():
        assert all(" ".join(command) in joined for command in expected), name
    assert set(joined) == {" ".join(command) for expected in single.values() for command in expected}
    places = [joined.index(" ".join(single[name][0])) for name in ("transfer/mixed.sh", "evaluate/zero_shot.sh")]
    assert places == sorted(places) and commands[-1][:2] == ["ofa-mi", "report"]


@pytest.fixture
def slurm(tmp_path):
    """A PATH with a Slurm of two nodes: `srun` runs the command once per node, `sbatch` prints its arguments."""
    programs = {
        "scontrol": "printf 'node3\\nnode4\\n'",
        "srun": '[[ "$1" == --kill-on-bad-exit=1 ]] && shift\nfor i in 0 1; do SLURM_NODEID=$i "$@"; done',
        "sbatch": f'echo "$@" >> {tmp_path}/jobs\nwc -l < {tmp_path}/jobs',
    }
    for name, code in programs.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/usr/bin/env bash\n{code}\n")
        path.chmod(0o755)
    variables = {
        "SLURM_SUBMIT_DIR": REPOSITORY,
        "SLURM_JOB_NUM_NODES": 2,
        "SLURM_GPUS_ON_NODE": 4,
        "SLURM_JOB_NODELIST": "node[3-4]",
        "SLURM_JOB_ID": 20007,
    }
    return {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "OUT": tmp_path / "out"}, variables


def test_slurm_starts_torchrun_on_every_node(slurm):
    settings, variables = slurm
    script = FOLDER / "slurm" / "experiment.sbatch"
    environment = {**settings, **variables, "DRY_RUN": "1", "SLURM_ARRAY_TASK_ID": "3"}
    done = subprocess.run(
        ["bash", str(script), "transfer/mixed.sh"],
        env={key: str(value) for key, value in environment.items()},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    first, second = (line.split() for line in done.stdout.splitlines())
    assert options(first, "--nnodes", "--node-rank", "--nproc-per-node", "--master-addr", "--master-port") == {
        "--nnodes": "2",
        "--node-rank": "0",
        "--nproc-per-node": "4",
        "--master-addr": "node3",
        "--master-port": "20007",
    }
    assert option(second, "--node-rank") == "1" and option(second, "--seed") == "3"
    assert [a for a, b in zip(first, second, strict=True) if a != b] == ["0"]


def test_slurm_script_that_does_not_exist(slurm):
    settings, variables = slurm
    environment = {key: str(value) for key, value in {**settings, **variables}.items()}
    command = ["bash", str(FOLDER / "slurm" / "experiment.sbatch"), "transfer/none.sh"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and "run_scripts/transfer/none.sh does not exist" in done.stderr


def test_slurm_jobs_wait_for_what_they_need(slurm, tmp_path):
    settings, _ = slurm
    done = subprocess.run(
        ["bash", str(FOLDER / "slurm" / "reproduce.sh"), "--gpus-per-node=4"],
        env={
            **{key: str(value) for key, value in settings.items()},
            "SEEDS": "1 2",
            "OFA_MI_PYTHON": os.sys.executable,
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    jobs = [line.split() for line in (tmp_path / "jobs").read_text().splitlines()]
    by_script = {job[-1]: (str(number), job) for number, job in enumerate(jobs, start=1)}
    assert set(by_script) == set(SCRIPTS) - {"data/prepare.sh", "pretrain/small.sh"}

    def needs(name):
        return {word.split(":", 1)[1] for word in by_script[name][1] if word.startswith("--dependency=afterok")}

    number = {name: found[0] for name, found in by_script.items()}
    assert needs("transfer/sequential.sh") == {number["transfer/natural_instructions.sh"]}
    assert needs("finetune/multiinstruct.sh") == set()
    (last,) = needs("report.sh")
    assert number["evaluate/zero_shot.sh"] in last.split(":") and number["analysis/attention.sh"] in last.split(":")
    assert all("--gpus-per-node=4" in job for job in jobs)
    assert "--array=1,2" in by_script["transfer/mixed.sh"][1]


# -- documentation


def test_every_value_is_documented_with_its_defaults():
    rows = [
        line.split("|") for line in (REPOSITORY / "docs/experiments.md").read_text().splitlines() if line[:3] == "| `"
    ]
    documented = {row[1].strip(): (row[3].strip(), row[4].strip()) for row in rows if len(row) == 6}
    values = [
        dict(re.findall(r'^: "\$\{(\w+):=(.*?)\}"', (FOLDER / f"profiles/{profile}.sh").read_text(), re.MULTILINE))
        for profile in PROFILES
    ]
    for name in {**values[0], **values[1]}:
        expected = tuple(f"`{found[name].replace('$', '')}`" if name in found else "-" for found in values)
        assert documented[f"`{name}`"] == expected


def test_every_script_is_documented():
    text = (REPOSITORY / "docs/experiments.md").read_text()
    assert [name for name in (*SCRIPTS, *BEYOND, "reproduce.sh") if f"`{name}`" not in text] == []
