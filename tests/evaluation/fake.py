"""A data directory of drawn scenes and a predictor that answers from a seed, for tests of everything around a model."""

import json
import random
import zlib

from PIL import Image, ImageDraw

from ofa_mi.decoding.beam import GenerationConfig
from ofa_mi.decoding.predictor import Prediction
from ofa_mi.instances.instance import plain
from ofa_mi.instructions.prompt import OptionsSegment, RegionSegment

COLOURS = ("red", "green", "blue", "orange")
SIZE = (120, 90)
TASKS = (
    "nlvr",
    "visual_entailment",
    "grounded_vqa",
    "visual_text_extraction",
    "color_understanding",
    "visual_grounding",
)


def make_data(root, per_task=8, tasks=TASKS):
    """Write ``root/test.jsonl`` with ``per_task`` instances of each task, and its images."""
    (root / "images").mkdir(parents=True)
    lines = [json.dumps(_instance(root, task, i)) for task in tasks for i in range(per_task)]
    (root / "test.jsonl").write_text("\n".join(lines) + "\n")
    return root


def _instance(root, task, number):
    rng = random.Random(f"{task} {number}")
    boxes = [_box(rng, left) for left in (0, 40, 80)]
    colours = rng.sample(COLOURS, 3)
    image = Image.new("RGB", SIZE, "white")
    pen = ImageDraw.Draw(image)
    for box, colour in zip(boxes, colours, strict=True):
        pen.rectangle([box[0], box[1], box[2] - 1, box[3] - 1], fill=colour)
    path = f"images/{task}-{number}.png"
    image.save(root / path)
    yes_no = {
        "text": f"there is a {colours[0]} square",
        "options": ["yes", "no"],
        "target_txt": rng.choice(["yes", "no"]),
    }
    fields = {
        "nlvr": yes_no,
        "visual_entailment": {**yes_no, "options": ["yes", "not sure", "no"]},
        "grounded_vqa": {
            "question": f"which square is {colours[1]}?",
            "options": [list(box) for box in boxes],
            "target_txt": list(boxes[1]),
        },
        "visual_text_extraction": {"target_txt": " ".join(colours)},
        "color_understanding": {
            "question": "which colour is left?",
            "options": list(COLOURS),
            "target_txt": colours[0],
        },
        "visual_grounding": {"text": f"the {colours[2]} square", "target_txt": list(boxes[2])},
    }
    common = {"unique_id": f"{task}-{number}", "task_name": task, "image_path": path, "image_size": list(SIZE)}
    return {**common, **fields[task]}


def _box(rng, left):
    x, y = left + rng.randrange(4, 10), rng.randrange(5, 40)
    return x, y, x + rng.randrange(15, 26), y + rng.randrange(20, 45)


class FakePredictor:
    """Answers from a hash of the prompt; sometimes right.

    Attributes:
        asked: Number of questions so far.
        batches: Names of the questions of every batch.
        images: The image of every question.
    """

    def __init__(self, fail_after=None):
        self.fail_after = fail_after
        self.generation, self.precision = GenerationConfig(), "fp32"
        self.encoder, self.option_markers, self.text_case = self, True, "keep"
        self.asked, self.batches, self.modes, self.images = 0, [], [], []

    def describe(self, prompt):
        """Stands in for the encoder's."""
        parts = []
        for segment in prompt:
            if isinstance(segment, RegionSegment):
                parts.append(plain((segment.box,)))
            elif isinstance(segment, OptionsSegment):
                parts.append(" [Options]: " + "||||".join(map(plain, segment.options)))
            else:
                parts.append(segment.text)
        return "".join(parts).lower()

    def predict(self, queries, mode):
        """Deterministic answers that look like a mediocre model's."""
        self.batches.append([query.name for query in queries])
        self.modes.append(mode)
        return [self._answer(query, mode) for query in queries]

    def _answer(self, query, mode):
        if self.fail_after is not None and self.asked >= self.fail_after:
            raise KeyboardInterrupt
        self.asked += 1
        self.images.append(query.image)
        assert query.image is None or query.image.size == query.image_size
        rng = random.Random(zlib.crc32((query.name.split(": ")[-1] + self.describe(query.prompt)).encode()))
        scores = tuple(rng.random() for _ in query.options) if mode == "rank" else None
        if query.options:
            choice = rng.choice(query.options)
        elif query.output == "region":
            x, y = rng.randrange(60), rng.randrange(40)
            choice = ((x, y, x + 30, y + 35),)
        else:
            choice = (" ".join(rng.sample(COLOURS, 3)),)
        text = " ".join(piece for piece in choice if isinstance(piece, str))
        boxes = tuple(tuple(c + 0.5 for c in piece) for piece in choice if not isinstance(piece, str))
        return Prediction(text, boxes, (), -1.0, scores)
