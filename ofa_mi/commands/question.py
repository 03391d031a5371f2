"""One question as ``ofa-mi predict`` asks it: its options, checked, and the instance, prompt and query made of them."""

from __future__ import annotations

import argparse
import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ofa_mi.errors import ConfigError, DataError, shown
from ofa_mi.geometry import check_box
from ofa_mi.instances.instance import Instance, Text, is_blank, plain, text_from_json
from ofa_mi.instructions.own import own_task
from ofa_mi.instructions.rendering import render
from ofa_mi.instructions.spec import split_template

if TYPE_CHECKING:  # imported where they are used: they take PyTorch
    from PIL import Image

    from ofa_mi.decoding.predictor import Prediction, Predictor, Query

NAME = "the question"  # what error messages call it
PICTURES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
REGION_PLACEHOLDERS = {"region": 1, "region_1": 2, "region_2": 2}  # regions that each of them needs


def check_arguments(args: argparse.Namespace) -> None:
    """Refuse combinations that cannot work, before anything is loaded.

    Raises:
        ConfigError: Names the option and what to do.
    """
    _check_texts(args)
    used = placeholders(args.instruction)
    if args.draw and Path(args.draw).suffix.lower() not in PICTURES:
        raise ConfigError(f"--draw {args.draw}: the name must end in {', '.join(PICTURES)}")
    regions = args.region or []
    if (args.region or args.draw) and not args.image:
        raise ConfigError(f"{'--region' if args.region else '--draw'} needs an image; give --image")
    for name in sorted(used):
        if name.startswith("region"):
            _check_regions(name, used, len(regions))
        elif getattr(args, name) is None:
            raise ConfigError(f"the instruction mentions {{{name}}}; give --{name}")
    for name in ("text", "question", "context"):
        if getattr(args, name) is not None and name not in used:
            raise ConfigError(f"--{name} is given, but the instruction does not mention {{{name}}}")
    if args.mode == "rank" and not args.options:
        raise ConfigError("--mode rank needs answers to choose from; give --options")
    if args.output in ("option", "options") and not args.options:
        raise ConfigError(f"--output {args.output} needs answers to choose from; give --options")
    if args.output in ("region", "regions", "labeled_regions") and not args.image:
        raise ConfigError(f"--output {args.output} needs an image; give --image")


def _check_texts(args: argparse.Namespace) -> None:
    """Refuse texts that say nothing, or that are not Unicode and could be neither encoded nor printed."""
    given = {name: getattr(args, name) for name in ("instruction", "text", "question", "context")}
    texts = [(name, text) for name, text in given.items() if text is not None]
    for name, text in [*texts, *(("options", option) for option in args.options or ())]:
        if is_blank(text):
            raise ConfigError(f"--{name}: {shown(text)} is empty")
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise ConfigError(f"--{name}: {shown(text)} is not UTF-8")


def _check_regions(name: str, used: set[str], count: int) -> None:
    needed = REGION_PLACEHOLDERS.get(name)
    if not count or needed not in (None, count):
        times = "at least once" if needed is None else "once" if needed == 1 else "twice"
        raise ConfigError(f"the instruction mentions {{{name}}}, so --region must be given {times}; found {count}")
    if needed == 2 and not {"region_1", "region_2"} <= used:
        raise ConfigError("two regions are given, but the instruction mentions only one of {region_1} and {region_2}")


def placeholders(instruction: str) -> set[str]:
    """Names of the placeholders in an instruction; ConfigError for an unknown one, or a stray brace."""
    try:
        return set(split_template(instruction)[1::2])
    except ConfigError as error:
        raise ConfigError(f"--instruction: {error}") from None


def question_instance(args: argparse.Namespace, image_size: tuple[int, int] | None) -> Instance:
    """The command line's inputs as an instance.

    Raises:
        DataError: A box is not inside the image, or an option is not what it should be.
    """
    instance = Instance(
        unique_id=NAME,
        task_name="predict",
        image_path=args.image,
        image_size=image_size,
        regions=tuple(map(tuple, args.region or ())),
        options=tuple(map(parse_option, args.options)) if args.options else None,
        question=(args.question,) if args.question else (),
        text=(args.text,) if args.text else (),
        context=((args.context,),) if args.context else (),
    )
    boxes = [
        ("--options", piece) for option in instance.options or () for piece in option if not isinstance(piece, str)
    ]
    for flag, box in [*(("--region", box) for box in instance.regions), *boxes]:
        if image_size is None:
            raise DataError(f"{flag}: box {list(box)} without an image; give --image")
        check_box(box, image_size, flag)
    return instance


def parse_option(text: str) -> Text:
    """An option as rich text: a JSON list is a region or a mixture of text and regions, all else is text.

    Raises:
        DataError: A list holds something else, or the option is empty.
    """
    option: Text = (text,)
    if text.startswith("["):
        with contextlib.suppress(ValueError, RecursionError):  # not JSON: text that begins with a bracket
            option = text_from_json(json.loads(text), _bad_option)
    if is_blank(option):
        raise DataError(f"--options: {shown(text)} is empty, which is no option")
    return option


def _bad_option(message: str):
    raise DataError(f"--options: {message}")


def build_prompt(instruction: str, instance: Instance, *, option_markers: bool):
    """Fill the instruction; regions and then options that it does not mention are appended."""
    spec = own_task(instruction, instance)
    return render(spec, spec.instructions[0], instance, option_markers=option_markers)


def make_query(
    args: argparse.Namespace, image: Image.Image | None, predictor: Predictor, name: str = NAME
) -> tuple[Query, Instance]:
    """The question of checked arguments for a model, and its inputs.

    Raises:
        DataError: A box is not inside the image, or an option is not what it should be.
    """
    from ofa_mi.decoding.predictor import Query

    instance = question_instance(args, image.size if image else None)
    prompt = build_prompt(args.instruction, instance, option_markers=predictor.option_markers)
    output = args.output or ("option" if args.options else "text")
    return Query(prompt, image, instance.image_size, instance.options, output, name), instance


def as_json(prediction: Prediction, query: Query, predictor: Predictor, mode: str) -> dict[str, Any]:
    """An answer as a JSON object."""
    return {
        "text": prediction.text,
        "boxes": [[round(c, 2) for c in box] for box in prediction.boxes],
        "score": prediction.score,
        "probability": prediction.probability,
        "option_scores": prediction.option_scores,
        "option_probabilities": prediction.option_probabilities,
        "options": [plain(option) for option in query.options] if query.options else None,
        "prompt": predictor.encoder.describe(query.prompt),
        "mode": mode,
    }
