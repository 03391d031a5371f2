"""Runs of a whole study without a model: nine evaluation tasks, strategies of a given skill, seeds."""

import json
import random
from dataclasses import dataclass, replace

from PIL import Image, ImageDraw

from ofa_mi.data.encoding import Answer
from ofa_mi.evaluation.predictions import Record
from ofa_mi.evaluation.report.published import TASKS
from ofa_mi.evaluation.scoring.scores import score_run, summarise
from ofa_mi.evaluation.scoring.tables import build_tables

WORDS = ("red", "green", "blue", "orange", "cup", "kite", "dog", "street", "two", "left", "small", "wooden")
COLOURS = ("#c0392b", "#27ae60", "#2980b9", "#e67e22")
OPTIONS = {
    "visual_entailment": ("yes", "not sure", "no"),
    "visual_spatial_reasoning": ("yes", "no"),
    "nlvr": ("yes", "no"),
    "disaster_type_classification": ("fire", "flood", "earthquake", "hurricane", "landslide", "not disaster"),
    "commonsense_vqa": ("because he is cold", "because he wants tea", "he waits for a bus", "she is late for work"),
}
SIZES = ((320, 240), (240, 320), (400, 120), (90, 90))


@dataclass(frozen=True)
class Fake:
    """A strategy that knows an answer with a probability that depends on the instruction.

    Attributes:
        skill: Mean probability.
        spread: How far instructions lie apart.
        settings: Changes of ``settings["options"]``.
    """

    skill: float
    spread: float = 0.1
    settings: tuple = ()


STRATEGIES = {
    "OFA": Fake(0.15, 0.25),
    "TaskName": Fake(0.4, 0.0, (("prompt_style", "task-name"),)),
    "MultiInstruct": Fake(0.62, 0.08),
    "NaturalInstruct": Fake(0.3, 0.2, (("option_markers", False),)),
    "MixedInstruct": Fake(0.66, 0.05),
    "SeqInstruct": Fake(0.64, 0.06),
}


def make_images(root, per_task=6):
    """Images of ``per_task`` instances of every task, under ``root/images``."""
    (root / "images").mkdir(parents=True, exist_ok=True)
    for task in TASKS:
        for number in range(per_task):
            rng = random.Random(f"{task} {number}")
            size = SIZES[number % len(SIZES)]
            image = Image.new("RGB", size, "#dfe6e9")
            pen = ImageDraw.Draw(image)
            for box, colour in zip(_boxes(rng, size), COLOURS, strict=True):
                pen.rectangle(box, fill=colour)
            image.save(root / "images" / f"{task}-{number}.png")
    return root


def write_run(root, data, name, seed=1, *, per_task=6, tasks=tuple(TASKS), fake=None, condition=(), instructions=5):
    """Write and score a run directory ``root``; returns it."""
    fake = fake or STRATEGIES[name]
    root.mkdir(parents=True)
    conditions = {"prompt_style": "instruction", "perturb": "none", "image": "given"}
    conditions |= {key: value for key, value in fake.settings if key in conditions} | dict(condition)
    number = 1 if conditions["prompt_style"] != "instruction" else instructions
    with (root / "predictions.jsonl").open("wb") as file:
        for task in sorted(tasks):
            for instruction in range(number):
                for instance in range(per_task):
                    file.write(_record(task, instance, instruction, f"{name} {seed}", fake, conditions).to_json())
    options = {"mode": "generate", "option_markers": True, "max_instances": per_task, "instructions": None, "seed": 1}
    settings = {
        "checkpoint": f"{name}-{seed}-0123456789abcdef",
        "data": ["fedcba9876543210"],
        "options": options | conditions | dict(fake.settings),
        "instruction_language": "en",
        "generation": {"beam": 1, "lenpen": 1.0, "max_len": 64},
    }
    notes = {"checkpoint": f"runs/{name}/{seed}.pt", "data": [str(data)], "ofa_mi": "1", "torch": "2", "python": "3.11"}
    (root / "run.json").write_text(json.dumps({"settings": settings, "notes": notes}))
    score_run(root)
    return root


def write_study(root, seeds=2, per_task=6):
    """Runs of all strategies; ``(name, directory)`` of each, as a report takes them."""
    data = make_images(root / "data", per_task)
    runs = []
    for name in STRATEGIES:
        for seed in range(1, seeds + 1):
            runs.append((name, write_run(root / "runs" / f"{name}-{seed}", data, name, seed, per_task=per_task)))
    return runs


def many_tasks(number, runs=("untuned", "tuned")):
    """The zero-shot table of strategies on a number of tasks, from scores alone."""
    metric = {"scores": [18.0, 22.0], "mean": 20.0, "max": 22.0, "deviation": 8**0.5, "chance": 25.0, "majority": 33.3}
    task = {"group": "zoo", "split": "eval", "version": 1, "metric": "accuracy", "instances": 100}
    task |= {"instructions": [0, 1], "metrics": {"accuracy": metric}}
    tasks = {f"identification_of_animal_{place}": task for place in range(number)}
    (table,) = build_tables({run: {"tasks": tasks, "zero_shot": summarise(tasks)} for run in runs})
    return table


def write_log(path, updates=400, scale=5.0):
    """A log of fairseq-train."""
    rng = random.Random(scale)
    lines = []
    for update in range(10, updates + 1, 10):
        loss = scale / (1 + update / 80) + 0.1 * rng.random()
        lines.append(f'| train_inner | {{"loss": "{loss:.3f}", "num_updates": "{update}"}}')
        if update % 100 == 0:
            lines.append(
                f'| valid | {{"valid_loss": "{loss + 0.3:.3f}", "valid_score": "{60 - 8 * loss:.2f}", '
                f'"valid_num_updates": "{update}"}}'
            )
    path.write_text("\n".join(lines) + "\n")
    return path


def _record(task, number, instruction, who, fake, conditions):
    truth_rng = random.Random(f"{task} {number}")
    size = SIZES[number % len(SIZES)]
    boxes = _boxes(truth_rng, size)
    options, target_boxes, regions = None, (), ()
    if task == "grounded_vqa":
        options = tuple((tuple(map(float, box)),) for box in boxes)
        target, target_boxes = "", (options[truth_rng.randrange(4)][0],)
        prompt = f"Which region answers: where is the {truth_rng.choice(WORDS)}?"
    elif task in OPTIONS:
        options = tuple((text,) for text in OPTIONS[task])
        target = truth_rng.choice(OPTIONS[task])
        prompt = (
            f"Does <the text> “{' '.join(truth_rng.sample(WORDS, 4))}” fit? [Options]: {'||||'.join(OPTIONS[task])}"
        )
        regions = (tuple(map(float, boxes[0])),) if task == "commonsense_vqa" else ()
    else:
        target = " ".join(truth_rng.sample(WORDS, truth_rng.randrange(2, 6)))
        prompt = f"Answer in a few words: {' '.join(truth_rng.sample(WORDS, 5))}?"
    if conditions["image"] != "given":
        fake = replace(fake, skill=fake.skill * 0.6)
    answer = _answer(
        random.Random(f"{who} {task} {number} {instruction} {conditions}"), fake, instruction, target, options
    )
    if task == "grounded_vqa":
        box = answer if isinstance(answer, tuple) else target_boxes[0]
        prediction = Answer("", (tuple(c + 2.0 for c in box),))
    else:
        prediction = Answer(answer, ())
    metrics = [TASKS[task], *(["accuracy"] if task == "commonsense_vqa" else [])]
    single = conditions["prompt_style"] != "instruction"
    return Record(
        unique_id=f"{task}-{number}",
        task=task,
        task_version=1,
        group="commonsense",
        split="eval",
        subset=None,
        instruction=instruction,
        instruction_id=f"{task}/{'task-name' if single else instruction + 1}",
        prompt=prompt,
        mode="generate",
        prompt_style=conditions["prompt_style"],
        perturb=conditions["perturb"],
        image=conditions["image"],
        data_dir=0,
        image_path=f"images/{task}-{number}.png",
        image_size=size,
        regions=regions,
        options=options,
        prediction=prediction,
        references=(target,) if target else (),
        target_boxes=target_boxes,
        target_set=None,
        scores=dict.fromkeys(metrics, 0.0),
        option_scores=None,
    )


def _answer(rng, fake, instruction, target, options):
    """The target, an option, or words of it in another order."""
    if rng.random() < fake.skill + fake.spread * (instruction - 2) / 2:
        return target or None
    if options is not None:
        (choice,) = rng.choice(options)
        return choice
    return " ".join(rng.sample([*WORDS, *target.split()], 3))


def _boxes(rng, size):
    width, height = size
    boxes = []
    for quarter in range(4):
        left, top = (quarter % 2) * width // 2, (quarter // 2) * height // 2
        x, y = left + rng.randrange(2, width // 6), top + rng.randrange(2, height // 6)
        boxes.append((x, y, x + rng.randrange(width // 6, width // 3), y + rng.randrange(height // 6, height // 3)))
    return boxes
