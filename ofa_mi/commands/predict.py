"""``ofa-mi predict``: ask a model one question, or all of a file.

    ofa-mi predict --checkpoint C.pt --image street.jpg --instruction "what is in the region {region}?" \
        --region 10 20 200 180
    ofa-mi predict --checkpoint C.pt --image street.jpg --instruction "is it day or night?" --options day night
    ofa-mi predict --checkpoint C.pt --image street.jpg --instruction "which region does the text describe? {text}" \
        --text "a red car" --output region --mode constrained --draw answer.png
    ofa-mi predict --checkpoint C.pt --input questions.jsonl --out answers.jsonl
    ofa-mi predict --checkpoint C.pt --input photos --instruction "what does the image describe?" --out answers.jsonl
"""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

from ofa_mi.commands.options import (
    add_checkpoint_options,
    add_decoding_options,
    add_device_option,
    add_precision_option,
    add_weights_option,
    load_predictor,
    positive_number,
)
from ofa_mi.commands.question import (
    PICTURES,
    as_json,
    check_arguments,
    make_query,
    question_instance,
)
from ofa_mi.errors import ConfigError
from ofa_mi.instances.instance import Instance, plain
from ofa_mi.instructions.spec import OUTPUTS

if TYPE_CHECKING:  # imported where they are used: they take PyTorch
    from ofa_mi.decoding.predictor import Prediction

HELP = "answer an instruction about an image and draw the boxes of the answer, or answer a file of them"
BATCH = 16  # questions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    add_checkpoint_options(parser)
    add_weights_option(parser)
    add_device_option(parser)
    add_precision_option(parser)

    question = parser.add_argument_group("the question")
    question.add_argument(
        "--image",
        metavar="FILE",
        help="image that the question is about, turned upright if its EXIF data say how; regions are pixels of the "
        "upright image, as a viewer shows it",
    )
    question.add_argument(
        "--instruction",
        metavar="TEXT",
        help="what to do; {region}, {region_1}, {region_2}, {regions}, {options}, {text}, {question} and {context} "
        "stand for what the other options give; a brace itself is written twice, {{ or }}",
    )
    question.add_argument(
        "--options",
        nargs="+",
        metavar="OPTION",
        help="answers to choose from; '[x0, y0, x1, y1]' is a region. Without {options} in the instruction they are "
        "appended to it",
    )
    question.add_argument(
        "--region",
        nargs=4,
        type=float,
        action="append",
        metavar=("X0", "Y0", "X1", "Y1"),
        help="region in pixels of the image; repeat it for several. Without {region}, {region_1} and {region_2}, or "
        "{regions} in the instruction they are appended to it",
    )
    for name in ("text", "question", "context"):
        question.add_argument(f"--{name}", help=f"what {{{name}}} stands for")

    many = parser.add_argument_group("many questions")
    many.add_argument(
        "--input",
        metavar="PATH",
        help="file of questions, one JSON object a line (id, image, instruction, options, region, text, question, "
        "context, output; what a line leaves open is what the options above say), or a folder of images, each of "
        "which is asked the same",
    )
    many.add_argument(
        "--out", metavar="FILE", help="where the answers go, one JSON object a line; the same command goes on with it"
    )
    many.add_argument("--batch-size", type=positive_number, default=BATCH, help="questions per batch, at most")

    answer = parser.add_argument_group("the answer")
    answer.add_argument("--output", choices=OUTPUTS, help="kind of answer; default: option with --options, else text")
    add_decoding_options(answer)
    answer.add_argument("--draw", metavar="FILE", help="draw the boxes of question and answer on the image")
    answer.add_argument("--json", action="store_true", help="print the answer as one JSON object")
    answer.add_argument("--verbose", action="store_true", help="also print the prompt and the scores")


def run(args: argparse.Namespace) -> int:
    """Answer, print and draw; the exit status."""
    if args.input is not None or args.out is not None:
        from ofa_mi.commands.predict_many import answer_all

        return answer_all(args)
    if args.instruction is None:
        raise ConfigError("--instruction is missing: say what to do")
    check_arguments(args)
    from ofa_mi.instances.images import load_image

    image = load_image(Path(args.image), name="--image", upright=True) if args.image else None
    question_instance(args, image.size if image else None)  # its errors come before the model is loaded
    predictor = load_predictor(args)
    query, instance = make_query(args, image, predictor)
    (prediction,) = predictor.predict([query], args.mode)

    if args.json:
        print(json.dumps(as_json(prediction, query, predictor, args.mode), ensure_ascii=False))
    else:
        print("\n".join(report(prediction, predictor.encoder.describe(query.prompt), instance, args)))
    if args.draw:
        draw_answer(image, instance, prediction, Path(args.draw))
    return 0


def report(prediction: Prediction, prompt: str, instance: Instance, args: argparse.Namespace) -> list[str]:
    """Lines to print: the text, then one box per line; with ``--verbose`` what led to it."""
    options = list(map(plain, instance.options or ()))
    lines = [prediction.text] if prediction.text or not prediction.boxes else []
    lines += ["[" + ", ".join(f"{c:.1f}" for c in box) + "]" for box in prediction.boxes]
    if args.verbose:
        lines += [f"prompt: {prompt}", f"score: {prediction.score:.4f}"]
        ranked = sorted(zip(prediction.option_scores or (), options, strict=False), key=lambda pair: -pair[0])
        lines += [f"  {score:9.4f}  {option}" for score, option in ranked]
    return lines


def draw_answer(image, instance: Instance, prediction, path: Path) -> None:
    """Write the image with the boxes of question and answer, in the format that the file's name says."""
    from ofa_mi.document.drawing import draw_boxes
    from ofa_mi.utils.files import atomic_write

    buffer = io.BytesIO()
    draw_boxes(image, {"region": instance.regions, "predicted": prediction.boxes}).save(
        buffer, PICTURES[path.suffix.lower()]
    )
    atomic_write(path, buffer.getvalue())
